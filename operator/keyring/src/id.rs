//! Names of a keyring that people and signatures use: its id and its fingerprint.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Length of a keyring id in bytes.
pub const KEYRING_ID_BYTES: usize = 16;
const FINGERPRINT_LABEL: &[u8] = b"touchseal/v1/fingerprint\n";
const FINGERPRINT_PREFIX: &str = "SHA256:";

/// `spec.id`: 16 random bytes, written as 32 lower-case hexadecimal digits. Salt of every derivation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyringId([u8; KEYRING_ID_BYTES]);

impl KeyringId {
    /// A fresh id.
    pub fn generate() -> Self {
        let mut id = [0; KEYRING_ID_BYTES];
        OsRng.fill_bytes(&mut id);
        Self(id)
    }

    /// An id of known bytes.
    pub const fn from_bytes(bytes: [u8; KEYRING_ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// Exactly 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let mut id = [0; KEYRING_ID_BYTES];
        hex::decode_to_slice(text, &mut id).map_err(|_| ParseIdError::KeyringId)?;
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ParseIdError::KeyringId);
        }
        Ok(Self(id))
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; KEYRING_ID_BYTES] {
        &self.0
    }
}

/// What a person compares: SHA-256 over the id and the first generation's verify key. Stable over rotations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of the keyring `id` whose first generation has the Ed25519 public key `first_verify_key`.
    pub fn of(id: &KeyringId, first_verify_key: &[u8; 32]) -> Self {
        let hash =
            Sha256::new().chain_update(FINGERPRINT_LABEL).chain_update(id.0).chain_update(first_verify_key);
        Self(hash.finalize().into())
    }
}

/// Text that is not an id or a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Not a keyring id.
    #[error("keyring id is not 32 lower-case hexadecimal digits")]
    KeyringId,
    /// Not a fingerprint.
    #[error("fingerprint is not SHA256: followed by 43 base64 characters")]
    Fingerprint,
}

impl fmt::Display for KeyringId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyringId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyringId({self})")
    }
}

impl FromStr for KeyringId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::parse(text)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FINGERPRINT_PREFIX}{}", BASE64_STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let encoded = text.strip_prefix(FINGERPRINT_PREFIX).ok_or(ParseIdError::Fingerprint)?;
        let bytes = BASE64_STANDARD_NO_PAD.decode(encoded).map_err(|_| ParseIdError::Fingerprint)?;
        bytes.try_into().map(Self).map_err(|_| ParseIdError::Fingerprint)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_lower_case_hex_of_sixteen_bytes_only() {
        let id = KeyringId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "00", &"0".repeat(31), &"0".repeat(33), &"A".repeat(32), &"g".repeat(32)] {
            assert_eq!(KeyringId::parse(bad), Err(ParseIdError::KeyringId), "{bad}");
        }
    }

    #[test]
    fn fingerprints_read_back_what_they_print() {
        let fingerprint = Fingerprint::of(&KeyringId::from_bytes([1; 16]), &[2; 32]);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert_ne!(fingerprint, Fingerprint::of(&KeyringId::from_bytes([1; 16]), &[3; 32]));
        assert_ne!(fingerprint, Fingerprint::of(&KeyringId::from_bytes([2; 16]), &[2; 32]));
        assert_eq!("SHA256:AA".parse::<Fingerprint>(), Err(ParseIdError::Fingerprint));
    }
}
