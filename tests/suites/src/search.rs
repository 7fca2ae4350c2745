//! Looking for a secret where it must not be, in the forms in which software leaks bytes: raw, hexadecimal, base64.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use memchr::memmem::Finder;
use sha2::Sha256;
use touchseal_keyring::KeyringId;
use x25519_dalek::{PublicKey, StaticSecret};

/// Something to look for.
#[derive(Clone)]
pub struct Needle {
    /// What errors call it.
    pub name: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Needle {
    /// All forms of `bytes`, which must be long enough not to occur by chance.
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Needle {
        assert!(bytes.len() >= 12, "too short to look for");
        let mut forms = vec![
            ("raw", bytes.to_vec()),
            ("hexadecimal", hex::encode(bytes).into_bytes()),
            ("hexadecimal", hex::encode_upper(bytes).into_bytes()),
        ];
        for offset in 0..3 {
            forms.push(("base64", aligned(&STANDARD_NO_PAD, bytes, offset)));
            forms.push(("url-safe base64", aligned(&URL_SAFE_NO_PAD, bytes, offset)));
        }
        forms.sort();
        forms.dedup_by(|a, b| a.1 == b.1);
        Needle { name: name.into(), forms }
    }

    /// These very bytes only.
    pub fn raw(name: impl Into<String>, bytes: &[u8]) -> Needle {
        Needle { name: name.into(), forms: vec![("raw", bytes.to_vec())] }
    }

    /// The bytes of a key in two halves, for memory: what is freed loses its beginning, and half a key is a leak.
    pub fn halves(name: &str, key: &[u8; 32]) -> [Needle; 2] {
        [
            Needle::raw(format!("first half of {name}"), &key[..16]),
            Needle::raw(format!("second half of {name}"), &key[16..]),
        ]
    }

    /// The forms that stand in `haystack`, and where.
    pub fn find_in(&self, haystack: &[u8]) -> Vec<String> {
        let found = self.forms.iter().filter_map(|(form, bytes)| {
            let at = Finder::new(bytes).find(haystack)?;
            Some(format!("{} ({form}) at {at:#x}", self.name))
        });
        found.collect()
    }
}

/// All that `needles` leave in `haystack`.
pub fn find(needles: &[Needle], haystack: &[u8]) -> Vec<String> {
    needles.iter().flat_map(|needle| needle.find_in(haystack)).collect()
}

/// 32 bytes derived from a master, by the documented formula and not by the code under test.
pub fn derived(master: &[u8; 32], id: &KeyringId, info: &str) -> [u8; 32] {
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(Some(id.as_bytes()), master).expand(info.as_bytes(), &mut out).unwrap();
    out
}

/// The secret key of an X25519 public key (RFC 7748), where it lies in `memory` at a multiple of eight as what a box holds
/// does: a key looks random, whatever bytes it has.
pub fn secret_of(public: &[u8; 32], memory: &[u8]) -> Option<[u8; 32]> {
    let places = (0..memory.len().saturating_sub(31)).step_by(8);
    let mut candidates = places.filter_map(|at| <[u8; 32]>::try_from(&memory[at..at + 32]).ok());
    candidates.find(|bytes| {
        looks_random(bytes) && PublicKey::from(&StaticSecret::from(*bytes)).as_bytes() == public
    })
}

/// Cheap to say: text and zeros are most of a process's memory. Of 32 random bytes 30 differ, fewer than 20 practically never.
fn looks_random(bytes: &[u8; 32]) -> bool {
    let mut seen = [false; 256];
    bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    !bytes.is_ascii() && seen.iter().filter(|seen| **seen).count() >= 20
}

/// What of base64 is the same whatever stands around `bytes`, if they begin `offset` bytes into a group of three.
fn aligned(engine: &impl base64::Engine, bytes: &[u8], offset: usize) -> Vec<u8> {
    let encoded = engine.encode([&[0; 2][..offset], bytes].concat());
    let begin = if offset == 0 { 0 } else { offset + 1 };
    let end = (offset + bytes.len()) * 8 / 6;
    encoded.as_bytes()[begin..end].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn a_secret_is_found_whatever_bytes_it_has() {
        for round in 0..64_usize {
            let mut secret: [u8; 32] = rand::random();
            // One key in 128 has a zero at one of two given places, so zeros are planted.
            secret[round % 32] = 0;
            secret[(round * 7 + 3) % 32] = 0;
            let public = PublicKey::from(&StaticSecret::from(secret)).to_bytes();
            let memory = [&[0; 64][..], &secret, b"some text that follows it in memory"].concat();
            assert_eq!(secret_of(&public, &memory), Some(secret));
            assert_eq!(secret_of(&public, &memory[..95]), None, "cut short");
        }
    }

    #[test]
    fn every_form_is_found_at_every_alignment() {
        let secret = b"\xff\xfe not to be found \x00\x01";
        let needle = Needle::new("it", secret);
        for before in 0..6 {
            for after in 0..6 {
                let around = [&vec![b'a'; before], &secret[..], &vec![b'z'; after]].concat();
                for text in [
                    around.clone(),
                    hex::encode(&around).into_bytes(),
                    STANDARD.encode(&around).into_bytes(),
                    URL_SAFE_NO_PAD.encode(&around).into_bytes(),
                ] {
                    assert!(!needle.find_in(&text).is_empty(), "{before} {after}");
                }
            }
        }
        assert!(needle.find_in(b"\xff\xfe not to be found \x00\x02").is_empty());
    }
}
