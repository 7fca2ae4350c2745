//! The vectors in `tests/vectors/keyring`: read here, and written by the ignored test at the end.
//!
//! Each file under `refused/` has one fault and names the layer that must refuse it and the reason. The directory is
//! listed, so a file that is added is a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use touchseal_crds::keyring::KeyringSpec;

use crate::canonical::canonical;
use crate::derive::{DigestKey, NamespaceIdentity, verify_key, wrapping_identity};
use crate::id::KeyringId;
use crate::manifest::{VerifiedManifest, verify};
use crate::master::MasterKey;
use crate::open::OpenKeyring;
use crate::pin::{Pin, PinCheck};
use crate::release::Offer;
use crate::testkit::{SoftHolder, alice, bob};

mod quorum;
mod write;

/// `keyring.json`: every secret of a keyring of three generations and what follows from it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Keyring {
    id: String,
    fingerprint: String,
    holders: Vec<HolderSecret>,
    generations: Vec<Generation>,
    /// The three manifests, oldest first, are `manifest-1.json` to `manifest-3.json`; these are their pins.
    pins: Vec<Pin>,
    session: SessionOffer,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HolderSecret {
    name: String,
    /// P-256 scalar, hexadecimal.
    secret: String,
    recipient: String,
    /// The four bytes of a stanza's tag, hexadecimal.
    tag: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Generation {
    number: u32,
    master: String,
    verify_key: String,
    /// Recipient the next older live master is wrapped to.
    wrapping_recipient: String,
    namespaces: Vec<Namespace>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Namespace {
    name: String,
    identity: String,
    recipient: String,
    /// HMAC over the parts "key" and "value", hexadecimal.
    digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SessionOffer {
    session_key: String,
    nonce: String,
    audience: String,
}

/// `refused/*.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Refused {
    /// The fault, in words.
    fault: String,
    /// `parse`, `verify` or `pin`: the layer that must refuse; the layers before it must not.
    layer: String,
    /// What it must say: `ManifestError::reason`, or the condition reason of the pin's mismatch.
    reason: String,
    /// What the reader remembers, for the layer `pin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<Pin>,
    manifest: serde_json::Value,
}

#[derive(Deserialize)]
struct Canonical {
    input: String,
    canonical: String,
}

#[test]
fn canonical_json_is_what_python_writes() {
    let vectors: Vec<Canonical> = read("canonical.json");
    assert!(vectors.len() >= 8);
    for vector in vectors {
        let value = serde_json::from_str(&vector.input).unwrap();
        assert_eq!(canonical(&value).unwrap(), vector.canonical);
    }
}

#[test]
fn derivations_are_pinned() {
    let keyring: Keyring = read("keyring.json");
    let id = KeyringId::parse(&keyring.id).unwrap();
    for generation in &keyring.generations {
        let master = master_of(generation);
        assert_eq!(crate::bytes::encode_base64(&verify_key(&master, &id).unwrap()), generation.verify_key);
        let wrapping = wrapping_identity(&master, &id).unwrap().to_public().to_string();
        assert_eq!(wrapping, generation.wrapping_recipient);
        for namespace in &generation.namespaces {
            let identity = NamespaceIdentity::derive(&master, &id, &namespace.name).unwrap();
            assert_eq!(identity.recipient(), namespace.recipient);
            assert_eq!(identity_text(&identity), namespace.identity);
            let digest =
                DigestKey::derive(&master, &id, &namespace.name).unwrap().digest(&[b"key", b"value"]);
            assert_eq!(hex::encode(digest), namespace.digest);
        }
    }
    for holder in &keyring.holders {
        let key: crate::PivPublicKey = holder.recipient.parse().unwrap();
        assert_eq!(hex::encode(key.tag()), holder.tag);
    }
    let offer = Offer::parse(&keyring.session.session_key, &keyring.session.nonce).unwrap();
    assert_eq!(offer.audience(&id), keyring.session.audience);
}

#[test]
fn the_manifests_verify_follow_each_other_and_open_for_every_holder() {
    let keyring: Keyring = read("keyring.json");
    let manifests: Vec<VerifiedManifest> = manifests();
    for (manifest, pin) in manifests.iter().zip(&keyring.pins) {
        assert_eq!(manifest.fingerprint().to_string(), keyring.fingerprint);
        assert_eq!(manifest.pin(), *pin);
        for mut holder in holders() {
            let open = OpenKeyring::open(manifest, holder.release_master(manifest)).unwrap();
            for number in open.generations() {
                let pinned = master_of(&keyring.generations[number as usize - 1]);
                assert!(open.masters().of(number).unwrap().equals_in_constant_time(&pinned));
            }
        }
    }
    for pair in manifests.windows(2) {
        assert_eq!(pair[0].pin().check(&pair[1]), PinCheck::Newer(pair[1].pin()));
    }
}

#[test]
fn every_fault_is_refused_by_its_layer_and_no_other() {
    let directory = directory().join("refused");
    let mut reasons = BTreeSet::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let vector: Refused = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let (layer, reason) = refusal(&vector);
        assert_eq!((layer, reason.as_str()), (vector.layer.as_str(), vector.reason.as_str()), "{name}");
        reasons.insert(format!("{layer} {reason}"));
    }
    // Every reason a manifest can be refused for has a file; TooLarge is made by the test below.
    let expected = [
        "parse Unknown",
        "pin FingerprintChanged",
        "pin ManifestForked",
        "pin ManifestRolledBack",
        "verify ActiveState",
        "verify DuplicateHolder",
        "verify DuplicateVerifyKey",
        "verify Endorsement",
        "verify Generation",
        "verify GenerationNumber",
        "verify Holder",
        "verify Id",
        "verify NoGenerations",
        "verify NoHolders",
        "verify Quorum",
        "verify Revision",
        "verify Signature",
        "verify Version",
    ];
    assert_eq!(reasons.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_worked_on() {
    let good = manifests().remove(0).spec().clone();
    let mut holders = good.clone();
    holders.holders = vec![good.holders[0].clone(); 65];
    let mut generations = good.clone();
    generations.generations = vec![good.generations[0].clone(); 1025];
    let mut wrapped = good.clone();
    wrapped.generations = vec![good.generations[0].clone(); 20];
    for generation in &mut wrapped.generations {
        generation.wrapped = Some("x".repeat(65_000));
    }
    for spec in [holders, generations, wrapped] {
        assert_eq!(verify(&spec).unwrap_err().reason(), "TooLarge");
    }
}

/// The first layer that refuses, and its reason.
fn refusal(vector: &Refused) -> (&'static str, String) {
    let Ok(spec) = serde_json::from_value::<KeyringSpec>(vector.manifest.clone()) else {
        return ("parse", "Unknown".to_owned());
    };
    let manifest = match verify(&spec) {
        Ok(manifest) => manifest,
        Err(error) => return ("verify", error.reason().to_owned()),
    };
    match vector.pin.as_ref().map(|pin| pin.check(&manifest)) {
        Some(PinCheck::Refused(why)) => ("pin", why.reason().to_string()),
        _ => ("nobody", String::new()),
    }
}

fn manifests() -> Vec<VerifiedManifest> {
    (1..=3).map(|n| verify(&read::<KeyringSpec>(&format!("manifest-{n}.json"))).unwrap()).collect()
}

fn holders() -> [SoftHolder; 2] {
    [alice(), bob()]
}

fn master_of(generation: &Generation) -> MasterKey {
    MasterKey::fill_with(|bytes| hex::decode_to_slice(&generation.master, bytes)).unwrap()
}

fn identity_text(identity: &NamespaceIdentity) -> String {
    use age::secrecy::ExposeSecret;
    identity.identity().to_string().expose_secret().to_owned()
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/keyring")
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&fs::read_to_string(directory().join(name)).unwrap()).unwrap()
}
