//! Holders: the YubiKey keys a keyring can be opened with, compatible with age-plugin-yubikey; by PGP in [`key`].
//!
//! A PIV holder's recipient is `age1yubikey1...`, bech32 over the compressed P-256 point; its stanza is `piv-p256`. So stock
//! `age` with `age-plugin-yubikey` opens the same file.

mod key;
mod stanza;
#[cfg(test)]
mod tests;

pub(crate) use key::is_pgp_entry;
pub use key::{HolderKey, OPENPGP_SLOT, new_identity, recipient_of, unwrap_as};
pub use stanza::{Ecdh, UnwrapError, WrapError, unwrap, wrap};

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use p256::PublicKey;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use sha2::{Digest, Sha256};

/// Length of a compressed SEC1 P-256 point.
pub const COMPRESSED_POINT_BYTES: usize = 33;
/// Length of the tag by which a stanza names its key.
pub const TAG_BYTES: usize = 4;
const RECIPIENT_HRP: &str = "age1yubikey";

/// The P-256 public key of one PIV slot, a valid point by construction.
#[derive(Clone, PartialEq, Eq)]
pub struct PivPublicKey {
    key: PublicKey,
    compressed: [u8; COMPRESSED_POINT_BYTES],
}

/// Why something is not the public key of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HolderKeyError {
    /// Not bech32 with the prefix `age1yubikey`, or `age` for a PGP key's.
    #[error("holder recipient is not age1yubikey1... text, or age1... of a PGP key")]
    Recipient,
    /// Not a point on P-256.
    #[error("holder key is not a point on P-256")]
    Point,
}

impl PivPublicKey {
    /// From SEC1 bytes, compressed (33) or uncompressed (65) as a card or certificate holds them.
    pub fn from_sec1(bytes: &[u8]) -> Result<Self, HolderKeyError> {
        let key = PublicKey::from_sec1_bytes(bytes).map_err(|_| HolderKeyError::Point)?;
        let compressed =
            key.to_encoded_point(true).as_bytes().try_into().map_err(|_| HolderKeyError::Point)?;
        Ok(Self { key, compressed })
    }

    /// From `age1yubikey1...`.
    pub fn from_recipient(text: &str) -> Result<Self, HolderKeyError> {
        if text.len() > 128 {
            return Err(HolderKeyError::Recipient);
        }
        let parsed = CheckedHrpstring::new::<Bech32>(text).map_err(|_| HolderKeyError::Recipient)?;
        let bytes: Vec<u8> = parsed.byte_iter().collect();
        if parsed.hrp().as_str() != RECIPIENT_HRP || bytes.len() != COMPRESSED_POINT_BYTES {
            return Err(HolderKeyError::Recipient);
        }
        Self::from_sec1(&bytes)
    }

    /// `age1yubikey1...`, as age-plugin-yubikey prints it.
    pub fn to_recipient(&self) -> String {
        // Both calls refuse only what a constant prefix and 33 bytes are not.
        Hrp::parse(RECIPIENT_HRP)
            .ok()
            .and_then(|hrp| bech32::encode::<Bech32>(hrp, &self.compressed).ok())
            .unwrap_or_default()
    }

    /// The compressed SEC1 point.
    pub const fn compressed(&self) -> &[u8; COMPRESSED_POINT_BYTES] {
        &self.compressed
    }

    /// The first four bytes of SHA-256 of the compressed point: how a stanza names its key.
    pub fn tag(&self) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&Sha256::digest(self.compressed)[..TAG_BYTES]);
        tag
    }

    pub(crate) fn public_key(&self) -> &PublicKey {
        &self.key
    }
}

impl FromStr for PivPublicKey {
    type Err = HolderKeyError;
    fn from_str(text: &str) -> Result<Self, HolderKeyError> {
        Self::from_recipient(text)
    }
}

impl fmt::Display for PivPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_recipient())
    }
}

impl fmt::Debug for PivPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PivPublicKey({self})")
    }
}
