//! The vectors of a quorum: `quorum.json` with its `manifest-quorum.json`, and faults under `refused/quorum-*`. Written by
//! the ignored test at the end; the other vectors stay as they are.

use serde::{Deserialize, Serialize};
use touchseal_crds::keyring::KeyringSpec;

use super::write::{write, write_refused};
use super::{KeyringId, MasterKey, OpenKeyring, read, verify};
use crate::share::{self, Share};
use crate::testkit::{ID, master, quorum, resign, trio};

/// `quorum.json`: the secrets behind `manifest-quorum.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Quorum {
    id: String,
    quorum: usize,
    /// Hexadecimal.
    master: String,
    /// In the manifest's order.
    shares: Vec<Opened>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Opened {
    holder: String,
    /// P-256 scalar, hexadecimal.
    secret: String,
    index: u32,
    /// The 32 bytes that the holder's age file holds, hexadecimal.
    share: String,
    /// SHA-256, base64.
    commitment: String,
}

#[test]
fn shares_are_recognised_and_any_two_give_the_master() {
    let vector: Quorum = read("quorum.json");
    let manifest = verify(&read::<KeyringSpec>("manifest-quorum.json")).unwrap();
    assert_eq!((manifest.id().to_string(), manifest.quorum()), (vector.id, Some(vector.quorum)));
    for (opened, (holder, entry)) in vector.shares.iter().zip(manifest.shares()) {
        assert_eq!((&opened.holder, opened.index), (&holder.name, entry.index));
        assert_eq!(opened.commitment, entry.commitment);
    }
    let share = |place: usize| -> Share {
        let bytes = MasterKey::fill_with(|bytes| hex::decode_to_slice(&vector.shares[place].share, bytes));
        let share = Share::recognise(&manifest, trio()[place].serial, bytes.unwrap()).unwrap();
        let from_the_card = trio()[place].share(&manifest);
        assert!(share.bytes().equals_in_constant_time(from_the_card.bytes()), "holder {place}");
        share
    };
    for (one, two) in [(0, 1), (2, 0), (1, 2)] {
        let combined = share::combine(&[share(one), share(two)]).unwrap();
        assert_eq!(hex::encode(combined.expose()), vector.master);
        OpenKeyring::open_with_shares(&manifest, vec![share(two), share(one)]).unwrap();
    }
    assert_eq!(KeyringId::parse(&manifest.id().to_string()).unwrap(), ID);
}

#[test]
#[ignore = "writes the vectors of a quorum"]
fn write_quorum_vectors() {
    let (manifest, open) = quorum();
    let shares = trio().into_iter().zip(manifest.shares()).map(|(mut holder, (_, entry))| Opened {
        holder: holder.name.to_owned(),
        secret: hex::encode(holder.secret_bytes()),
        index: entry.index,
        share: hex::encode(holder.share(&manifest).bytes().expose()),
        commitment: entry.commitment.clone(),
    });
    let vector = Quorum {
        id: ID.to_string(),
        quorum: 2,
        master: hex::encode(open.masters().active().expose()),
        shares: shares.collect(),
    };
    write("quorum.json", &vector);
    write("manifest-quorum.json", manifest.spec());

    let refuse = |name: &str, reason: &str, fault: &str, change: &dyn Fn(&mut KeyringSpec)| {
        let mut spec = manifest.spec().clone();
        change(&mut spec);
        resign(&mut spec, &ID, &master(1));
        write_refused(&format!("quorum-{name}"), "verify", reason, fault, None, &spec);
    };
    refuse("one", "Quorum", "a quorum of one", &|spec| spec.quorum = Some(1));
    refuse("too-many", "Quorum", "a quorum of four of three holders", &|spec| spec.quorum = Some(4));
    refuse("one-yubikey", "Quorum", "two holders of a quorum are on one YubiKey", &|spec| {
        spec.holders[1].serial = spec.holders[0].serial;
    });
    refuse("without-shares", "Generation", "a quorum without shares", &|spec| {
        spec.generations[0].shares.clear();
    });
    refuse(
        "wrapped-whole",
        "Generation",
        "a quorum, and the master wrapped whole beside the shares",
        &|spec| {
            spec.generations[0].wrapped = Some(spec.generations[0].shares[0].wrapped.clone());
        },
    );
    refuse("shares-without", "Generation", "shares without a quorum", &|spec| {
        spec.quorum = None;
        spec.generations[0].wrapped = Some(spec.generations[0].shares[0].wrapped.clone());
    });
    refuse("share-missing", "Generation", "a holder without a share", &|spec| {
        spec.generations[0].shares.pop();
    });
    refuse("index-twice", "Generation", "two shares at one place", &|spec| {
        spec.generations[0].shares[1].index = 1;
    });
    refuse("anothers-share", "Generation", "a share in another holder's place", &|spec| {
        spec.generations[0].shares[1].holder = "carol".to_owned();
    });
    refuse("commitment-short", "Generation", "a commitment of 3 bytes", &|spec| {
        spec.generations[0].shares[1].commitment = "AAAA".to_owned();
    });
    // Not signed anew: what a git writer can do.
    let mut spec = manifest.spec().clone();
    spec.quorum = Some(3);
    let fault = "the quorum was changed after signing";
    write_refused("quorum-changed", "verify", "Signature", fault, None, &spec);
    let mut spec = manifest.spec().clone();
    spec.generations[0].shares[0].commitment = spec.generations[0].shares[1].commitment.clone();
    let fault = "a commitment was changed after signing";
    write_refused("quorum-commitment-changed", "verify", "Signature", fault, None, &spec);
}
