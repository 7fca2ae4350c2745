//! The keyring's parsers: a manifest from anybody verifies only if a keyring's owner wrote it, and texts that name keys.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::LazyLock;

use touchseal_crds::KeyringSpec;
use touchseal_keyring::{KeyringId, Offer, PivPublicKey, holder, manifest};
use zeroize::Zeroizing;

use super::Target;
use crate::known;

/// As the API server gives it.
pub const MANIFEST: Target = Target {
    name: "manifest",
    run: |input| {
        if let Ok(spec) = serde_json::from_slice::<KeyringSpec>(input) {
            verify(&spec);
        }
    },
    vectors: || files().into_iter().map(|(_, bytes)| bytes).collect(),
};

/// As the command line reads it from a file.
pub const MANIFEST_YAML: Target = Target {
    name: "manifest-yaml",
    run: |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        if let Ok(spec) = serde_saphyr::from_str::<KeyringSpec>(text) {
            verify(&spec);
        }
    },
    vectors: || files().into_iter().map(|(_, bytes)| bytes).chain([YAML.to_vec()]).collect(),
};

/// Recipients, ids, offers, wrapped masters.
pub const TEXTS: Target = Target { name: "keyring-texts", run: texts, vectors: text_seeds };

const YAML: &[u8] = b"version: 1\nid: 00112233445566778899aabbccddeeff\nrevision: 2\nholders:\n  - {name: alice, kind: Piv, serial: 1, slot: '82', recipient: x}\ngenerations:\n  - number: 1\n    state: Active\n    createdAt: \"2026-01-02T03:04:05Z\"\n    verifyKey: x\n    wrapped: |\n      -----BEGIN AGE ENCRYPTED FILE-----\nsignature: x\n";

fn files() -> Vec<(String, Vec<u8>)> {
    let folders = [known::vectors("keyring"), known::vectors("keyring").join("refused")];
    let mut found = Vec::new();
    for entry in folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("the vectors")) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        // A refused vector holds its manifest beside what is expected of it.
        let inner = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
        let inner = inner.and_then(|file| file.get("spec").or(file.get("manifest")).map(ToString::to_string));
        match inner {
            Some(text) => found.push((name, text.into_bytes())),
            None if name.starts_with("manifest-") => found.push((name, bytes)),
            None => {}
        }
    }
    found.sort();
    assert!(found.len() > 3, "no manifests among the vectors");
    found
}

/// The digests of what verifies among the vectors. Some of them are keyrings of somebody else's.
fn verified() -> &'static HashSet<[u8; 32]> {
    static VERIFIED: LazyLock<HashSet<[u8; 32]>> = LazyLock::new(|| {
        let specs = files().into_iter().filter_map(|(_, bytes)| serde_json::from_slice(&bytes).ok());
        let all: HashSet<[u8; 32]> =
            specs.filter_map(|spec: KeyringSpec| Some(*manifest::verify(&spec).ok()?.digest())).collect();
        assert!(all.len() >= 3, "the vectors do not verify");
        all
    });
    &VERIFIED
}

fn verify(spec: &KeyringSpec) {
    match manifest::verify(spec) {
        Ok(manifest) => {
            assert!(verified().contains(manifest.digest()), "verifies, and nobody signed it");
            let _ = (manifest.fingerprint().to_string(), manifest.pin(), manifest.holders().count());
        }
        Err(error) => {
            assert!(error.to_string().len() < 1000, "a message of {} bytes", error.to_string().len())
        }
    }
}

fn texts(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(key) = PivPublicKey::from_recipient(text) {
        assert_eq!(
            PivPublicKey::from_recipient(&key.to_recipient()).ok().as_ref(),
            Some(&key),
            "another key comes back"
        );
    }
    if let Ok(id) = KeyringId::parse(text) {
        assert_eq!(id.to_string(), text, "an id is written in one way only");
    }
    let (one, two) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(offer) = Offer::parse(one, two) {
        assert_eq!(
            (offer.session_key().as_str(), offer.nonce()),
            (one, two),
            "an offer is written in one way only"
        );
    }
    let mut operations = 0;
    let opened = holder::unwrap::<Infallible>(text, alice(), &mut |_| {
        operations += 1;
        Ok(Zeroizing::new([7; 32]))
    });
    assert!(operations <= 1, "more than one private-key operation");
    assert!(opened.is_err(), "opens without the private key");
}

fn alice() -> &'static PivPublicKey {
    static ALICE: LazyLock<PivPublicKey> = LazyLock::new(|| {
        let (_, bytes) = files().into_iter().find(|(name, _)| name == "manifest-2.json").expect("the vector");
        let spec: KeyringSpec = serde_json::from_slice(&bytes).expect("a spec");
        PivPublicKey::from_recipient(&spec.holders[0].recipient).expect("a recipient")
    });
    &ALICE
}

fn text_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (_, bytes) in files() {
        let Ok(spec) = serde_json::from_slice::<KeyringSpec>(&bytes) else { continue };
        seeds.extend(spec.holders.into_iter().map(|holder| holder.recipient.into_bytes()));
        seeds.extend(
            spec.generations.into_iter().filter_map(|generation| generation.wrapped).map(String::into_bytes),
        );
        seeds.push(spec.id.into_bytes());
    }
    seeds.push(std::fs::read(known::vectors("keyring").join("stock-age.txt")).expect("the vector"));
    seeds.push(b"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n000102030405060708090a0b0c0d0e0f".to_vec());
    seeds.sort();
    seeds.dedup();
    seeds
}
