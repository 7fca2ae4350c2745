//! After the keys are dropped, no copy of a master is left in this process; and no operation leaves one on its way.
//!
//! One test in a process of its own: what it looks for must not be held by a neighbour. The needle is kept masked, and
//! both halves of a key are looked for, because an allocator overwrites the beginning of what it gets back.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of a test fail it by panicking")]

use std::convert::Infallible;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use p256::elliptic_curve::sec1::ToEncodedPoint;
use touchseal_crds::keyring::{Holder, HolderKind, KeyringSpec};
use touchseal_keyring::manifest::{add_holder, create_from, retire, rotate, set_quorum, verify};
use touchseal_keyring::scrub::scrubbed;
use touchseal_keyring::{
    DigestKey, KeyringId, MasterKey, NamespaceIdentity, OpenKeyring, PivPublicKey, Session, Share,
    VerifiedManifest, holder, seal_release, seal_share,
};
use zeroize::{Zeroize, Zeroizing};

const TIME: &str = "2026-01-02T03:04:05Z";
const MASK: u8 = 0x5a;
const HALF: usize = 16;
const CHUNK: usize = 1 << 20;

#[test]
fn only_the_boxes_that_are_alive_hold_a_master() {
    let mut masked = Vec::with_capacity(32);
    let master = MasterKey::fill_with(|bytes| {
        File::open("/dev/urandom").and_then(|mut random| random.read_exact(bytes)).map(|()| {
            masked.extend(bytes.iter().map(|byte| byte ^ MASK));
        })
    })
    .unwrap();
    let probe = Probe { masked };
    probe.step(1, "generating", || ());
    let wrapped = probe.step(1, "wrapping", || holder::wrap(&master, &[public(1), public(2)]).unwrap());
    assert!(wrapped.starts_with("-----BEGIN AGE"));
    scrubbing(&probe);

    // Creation and the first holder's side, where this master is the Active one.
    let id = KeyringId::generate();
    let (spec, open) =
        probe.step(1, "creating", || create_from(id, master, vec![entry("alice", 1)], TIME).unwrap());
    let first = probe.step(1, "verifying", || verify(&spec).unwrap());
    derivations(&probe, &open);
    releases(&probe, &first, &open);
    quorum(&probe, &first, &open);
    let unwrapped = probe.step(2, "unwrapping as a holder", || unwrap(&first));
    let again = probe.step(2, "opening", || OpenKeyring::open(&first, unwrapped).unwrap());
    probe.step(1, "dropping", || again.seal());

    // Edits; then this master is a Retiring one, wrapped to a newer one.
    let third = edits(&probe, open, &first);
    let third = verify(&third).unwrap();
    let newest = probe.step(0, "unwrapping the newest", || unwrap(&third));
    let open = probe.step(1, "opening the chain", || OpenKeyring::open(&third, newest).unwrap());
    derivations(&probe, &open);
    let reopened = probe.step(2, "reopening", || open.reopen(&third).unwrap());
    probe.step(1, "dropping", || drop(reopened));
    probe.step(0, "sealing", || open.seal());
}

/// A copy on the stack stays there until the stack is scrubbed: the search would have found one.
fn scrubbing(probe: &Probe) {
    probe.step(2, "spilling on the stack", || probe.spill());
    probe.step(1, "spilling and scrubbing", || scrubbed(|| probe.spill()));
}

fn derivations(probe: &Probe, open: &OpenKeyring) {
    let identities = probe.step(1, "deriving identities", || open.namespace("shop").unwrap());
    for (generation, identity) in identities {
        let recipient: age::x25519::Recipient = identity.recipient().parse().unwrap();
        let file = age::encrypt(&recipient, b"data key").unwrap();
        assert_eq!(age::decrypt(identity.identity(), &file).unwrap(), b"data key");
        let key =
            probe.step(1, "deriving a digest key", || open.digest_key("shop", generation).unwrap().unwrap());
        key.digest(&[b"key", b"value"]);
    }
    probe.step(1, "deriving recipients", || open.recipient_spec("shop").unwrap());
}

fn releases(probe: &Probe, manifest: &VerifiedManifest, open: &OpenKeyring) {
    let session = Session::generate();
    let release =
        probe.step(1, "sealing a release", || seal_release(open, session.offer(), "alice", 1).unwrap());
    let master = probe.step(2, "opening a release", || session.open_release(manifest, &release).unwrap());
    let id = *manifest.id();
    probe.step(2, "deriving apart", || {
        let key = DigestKey::derive(&master, &id, "shop").unwrap();
        (NamespaceIdentity::derive(&master, &id, "shop").unwrap(), key)
    });
    let copy = probe.step(3, "duplicating", || master.duplicate());
    assert!(copy.equals_in_constant_time(&master));
    probe.step(1, "dropping", || drop((master, copy)));
}

/// Splitting leaves no copy of the master, releasing shares makes none, and combining makes the one that is served.
fn quorum(probe: &Probe, first: &VerifiedManifest, open: &OpenKeyring) {
    let two = verify(&add_holder(first, open, entry("bob", 2)).unwrap()).unwrap();
    let reopened = probe.step(2, "reopening", || open.reopen(&two).unwrap());
    let spec = probe.step(2, "splitting", || set_quorum(&two, &reopened, Some(2)).unwrap());
    probe.step(1, "dropping", || drop(reopened));
    let split = verify(&spec).unwrap();
    let session = Session::generate();
    let shares: Vec<Share> = [(1, "alice"), (2, "bob")]
        .map(|(seed, name)| {
            let wrapped = split.wrapped_for(&entry(name, seed)).unwrap();
            let share = Share::recognise(&split, u32::from(seed), unwrap_as(seed, wrapped)).unwrap();
            let release = seal_share(&share, split.id(), session.offer()).unwrap();
            probe.step(1, "releasing a share", || session.open_share(&split, &release).unwrap())
        })
        .into();
    let combined = probe.step(2, "combining", || OpenKeyring::open_with_shares(&split, shares).unwrap());
    probe.step(1, "dropping", || combined.seal());
}

fn edits(probe: &Probe, open: OpenKeyring, first: &VerifiedManifest) -> KeyringSpec {
    let spec = probe.step(1, "adding a holder", || add_holder(first, &open, entry("bob", 2)).unwrap());
    let manifest = verify(&spec).unwrap();
    let reopened = probe.step(2, "reopening", || open.reopen(&manifest).unwrap());
    probe.step(1, "dropping", || drop(open));
    let (spec, rotated) = probe.step(2, "rotating", || rotate(&manifest, &reopened, TIME).unwrap());
    probe.step(1, "dropping", || drop(reopened));
    let (spec, twice) =
        probe.step(2, "rotating", || rotate(&verify(&spec).unwrap(), &rotated, TIME).unwrap());
    let retired = probe.step(2, "retiring", || retire(&verify(&spec).unwrap(), &twice, 2).unwrap());
    probe.step(0, "dropping", || drop((rotated, twice)));
    retired
}

fn unwrap(manifest: &VerifiedManifest) -> MasterKey {
    unwrap_as(1, manifest.active_wrapped())
}

fn unwrap_as(seed: u8, wrapped: &str) -> MasterKey {
    let key = secret(seed);
    holder::unwrap(wrapped, &public(seed), &mut |point| {
        let point = p256::PublicKey::from_sec1_bytes(point).unwrap();
        let shared = p256::ecdh::diffie_hellman(key.to_nonzero_scalar(), point.as_affine());
        Ok::<_, Infallible>(Zeroizing::new((*shared.raw_secret_bytes()).into()))
    })
    .unwrap()
}

fn secret(seed: u8) -> p256::SecretKey {
    p256::SecretKey::from_slice(&[seed; 32]).unwrap()
}

fn public(seed: u8) -> PivPublicKey {
    PivPublicKey::from_sec1(secret(seed).public_key().to_encoded_point(true).as_bytes()).unwrap()
}

fn entry(name: &str, seed: u8) -> Holder {
    Holder {
        name: name.to_owned(),
        kind: HolderKind::Piv,
        serial: u32::from(seed),
        slot: "82".to_owned(),
        recipient: public(seed).to_recipient(),
        pgp: None,
        pin_policy: None,
        touch_policy: None,
    }
}

/// The key that is looked for.
struct Probe {
    masked: Vec<u8>,
}

impl Probe {
    /// Runs one operation and counts the copies there are after it: the boxes alive and not one more.
    fn step<R>(&self, alive: usize, what: &str, operation: impl FnOnce() -> R) -> R {
        let result = deep_down(operation);
        let found = copies(&self.masked);
        assert_eq!(found.len(), 2 * alive, "halves of a key after {what}: {found:#?}");
        result
    }

    /// Leaves the key in a dead frame, as hash functions do.
    #[inline(never)]
    fn spill(&self) {
        let mut frame = [0; 32];
        for (byte, hidden) in frame.iter_mut().zip(&self.masked) {
            *byte = hidden ^ MASK;
        }
        black_box(&frame);
    }
}

/// Far below the frames of the search, which would otherwise overwrite what the operation left on the stack.
#[inline(never)]
fn deep_down<R>(operation: impl FnOnce() -> R) -> R {
    let mut between = [0_u8; 128 * 1024];
    black_box(&mut between);
    let result = black_box(operation)();
    black_box(&mut between);
    result
}

/// Where in this process's writable memory either half of the masked key stands in the clear.
fn copies(masked: &[u8]) -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut memory = File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0; CHUNK];
    let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + CHUNK as u64;
    let mut found = Vec::new();
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        if !rest.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        // The buffer is not read into itself: what it shows would be found again.
        for part in [start..end.min(own.start), start.max(own.end)..end] {
            for address in copies_in(part, masked, &mut memory, &mut buffer) {
                found.push(format!("{address} in {:?}", rest.rsplit(' ').next().unwrap_or_default()));
            }
        }
    }
    // What lies where chunks overlap is met twice.
    found.sort();
    found.dedup();
    found
}

fn copies_in(part: Range<u64>, masked: &[u8], memory: &mut File, buffer: &mut [u8]) -> Vec<String> {
    let (mut at, mut found) = (part.start, Vec::new());
    while at < part.end {
        let length = CHUNK.min((part.end - at) as usize);
        let chunk = &mut buffer[..length];
        memory.seek(SeekFrom::Start(at)).and_then(|_| memory.read_exact(chunk)).unwrap();
        for (index, half) in masked.chunks(HALF).enumerate() {
            let positions = matches(chunk, half);
            found.extend(positions.map(|position| format!("half {index} at {:x}", at + position as u64)));
        }
        // Chunks overlap, or a key across a border would be missed.
        at += (length - if length == CHUNK { HALF } else { 0 }) as u64;
    }
    buffer.zeroize();
    found
}

fn matches<'a>(memory: &'a [u8], masked: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = masked[0] ^ MASK;
    memory
        .windows(masked.len())
        .enumerate()
        .filter(move |(_, window)| window[0] == first)
        .filter(move |(_, window)| window.iter().zip(masked).all(|(byte, hidden)| byte ^ MASK == *hidden))
        .map(|(position, _)| position)
}
