//! What a master key yields: HKDF-SHA256(ikm = master, salt = keyring id, info = label), 32 bytes each (RFC 5869).
//!
//! A namespace's identity opens what was encrypted for that namespace and nothing else; that is why a document copied
//! into another namespace stays closed.

use std::fmt;

use bech32::{Bech32, Hrp};
use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::bytes::prefix;
use crate::id::KeyringId;
use crate::locked::Locked;
use crate::master::MasterKey;
use crate::scrub::scrubbed;

const NAMESPACE_LABEL: &[u8] = b"touchseal/v1/namespace/";
const DIGEST_LABEL: &[u8] = b"touchseal/v1/digest/";
const MANIFEST_LABEL: &[u8] = b"touchseal/v1/manifest";
const PREVIOUS_LABEL: &[u8] = b"touchseal/v1/previous";
const AGE_SECRET_KEY_HRP: &str = "age-secret-key-";

/// Why nothing was derived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeriveError {
    /// The name is not one Kubernetes accepts for a namespace (RFC 1123 label), so nothing may be encrypted for it.
    #[error("derive for a namespace: {0:?} is not a namespace name")]
    Namespace(String),
    /// Alarm: HKDF or bech32 refused 32 bytes, which they never do.
    #[error("derive {0}: the library refused a 32-byte key")]
    Library(&'static str),
}

/// The age identity of one namespace under one key generation.
pub struct NamespaceIdentity {
    identity: Box<age::x25519::Identity>,
    recipient: String,
}

impl NamespaceIdentity {
    /// The identity of `namespace` (an RFC 1123 label).
    pub fn derive(master: &MasterKey, id: &KeyringId, namespace: &str) -> Result<Self, DeriveError> {
        check_namespace(namespace)?;
        let identity = age_identity(master, id, &[NAMESPACE_LABEL, namespace.as_bytes()])?;
        let recipient = identity.to_public().to_string();
        Ok(Self { identity, recipient })
    }

    /// The private half, for decryption.
    pub fn identity(&self) -> &age::x25519::Identity {
        &self.identity
    }

    /// The public half, `age1...`.
    pub fn recipient(&self) -> &str {
        &self.recipient
    }
}

impl fmt::Debug for NamespaceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamespaceIdentity({})", self.recipient)
    }
}

/// Key of the digests by which a namespace's plaintexts are compared without being kept.
pub struct DigestKey(Locked);

impl DigestKey {
    /// The digest key of `namespace` (an RFC 1123 label).
    pub fn derive(master: &MasterKey, id: &KeyringId, namespace: &str) -> Result<Self, DeriveError> {
        check_namespace(namespace)?;
        expand(master, id, &[DIGEST_LABEL, namespace.as_bytes()]).map(Self)
    }

    /// HMAC-SHA256 over the parts, each preceded by its 4-byte big-endian length, so that no two lists collide.
    pub fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        scrubbed(|| {
            // RFC 2104: a key shorter than the 64-byte block is padded with zeros.
            let mut block = Zeroizing::new([0_u8; 64]);
            block[..32].copy_from_slice(self.0.expose());
            let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
            for part in parts {
                mac.update(&prefix(part));
                mac.update(part);
            }
            mac.finalize().into_bytes().into()
        })
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

/// The Ed25519 key that signs manifests and endorses the next generation. Boxed: it zeroizes itself where it lies.
pub(crate) fn signing_key(master: &MasterKey, id: &KeyringId) -> Result<Box<SigningKey>, DeriveError> {
    let seed = expand(master, id, &[MANIFEST_LABEL])?;
    Ok(scrubbed(|| Box::new(SigningKey::from_bytes(seed.expose()))))
}

/// The Ed25519 public key by which a master is recognised: `generations[].verifyKey`, raw.
pub fn verify_key(master: &MasterKey, id: &KeyringId) -> Result<[u8; 32], DeriveError> {
    Ok(signing_key(master, id)?.verifying_key().to_bytes())
}

/// The age identity that the next older live master is wrapped to.
pub(crate) fn wrapping_identity(
    master: &MasterKey,
    id: &KeyringId,
) -> Result<Box<age::x25519::Identity>, DeriveError> {
    age_identity(master, id, &[PREVIOUS_LABEL])
}

fn expand(master: &MasterKey, id: &KeyringId, info: &[&[u8]]) -> Result<Locked, DeriveError> {
    let mut secret = Locked::zeroed();
    scrubbed(|| {
        Hkdf::<Sha256>::new(Some(id.as_bytes()), master.expose()).expand_multi_info(info, secret.expose_mut())
    })
    .map_err(|_| DeriveError::Library("a key"))?;
    Ok(secret)
}

/// age takes a secret as bech32 text only; the text lives in one buffer that never grows and is zeroized.
fn age_identity(
    master: &MasterKey,
    id: &KeyringId,
    info: &[&[u8]],
) -> Result<Box<age::x25519::Identity>, DeriveError> {
    const ALARM: DeriveError = DeriveError::Library("an age identity");
    let secret = expand(master, id, info)?;
    scrubbed(|| {
        let hrp = Hrp::parse(AGE_SECRET_KEY_HRP).map_err(|_| ALARM)?;
        let mut text = Zeroizing::new(String::with_capacity(128));
        bech32::encode_upper_to_fmt::<Bech32, _>(&mut *text, hrp, secret.expose()).map_err(|_| ALARM)?;
        text.parse().map(Box::new).map_err(|_| ALARM)
    })
}

/// RFC 1123 label: 1 to 63 of `a-z0-9-`, not at the ends `-`. Anything else could never be a namespace.
fn check_namespace(namespace: &str) -> Result<(), DeriveError> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let shape = (1..=63).contains(&namespace.len())
        && namespace.bytes().all(inner)
        && !namespace.starts_with('-')
        && !namespace.ends_with('-');
    if shape { Ok(()) } else { Err(DeriveError::Namespace(namespace.chars().take(64).collect())) }
}

#[cfg(test)]
#[path = "derive_tests.rs"]
mod tests;
