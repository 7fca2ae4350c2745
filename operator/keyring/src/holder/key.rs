//! What a master is wrapped to for one holder, by the kind of their key.
//!
//! A PIV holder's own key is wrapped to. A PGP key does one thing, opening PGP messages, and only the person's GnuPG has it: so for
//! each key generation such a holder has an age identity of their own, which lies in the manifest as a message to their PGP key. The
//! master is wrapped to that identity: nobody who edits a manifest, an operator least of all, needs GnuPG or the PGP key for it.

use std::collections::HashSet;

use age::secrecy::ExposeSecret;
use age_core::format::{FileKey, Stanza};
use touchseal_crds::keyring::{Holder, HolderKind, PgpKey};
use zeroize::Zeroizing;

use super::{HolderKeyError, PivPublicKey, UnwrapError};
use crate::agefile;
use crate::master::MasterKey;
use crate::scrub::scrubbed;

/// What stands for a PIV slot where the key is the OpenPGP applet's.
pub const OPENPGP_SLOT: &str = "OpenPGP";
/// Longest PGP public key and message that a manifest holds.
const MAX_KEY_BYTES: usize = 16 * 1024;
const MAX_MESSAGE_BYTES: usize = 8 * 1024;
const KEY_BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const MESSAGE_BEGIN: &str = "-----BEGIN PGP MESSAGE-----";

/// A holder's key, as far as it is public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HolderKey {
    /// A key in a PIV slot.
    Piv(PivPublicKey),
    /// The identity behind a PGP key.
    Pgp(age::x25519::Recipient),
}

impl HolderKey {
    /// The key of a holder's entry.
    ///
    /// # Errors
    /// The recipient is not one of its kind, in the one form it is written in.
    pub fn of(holder: &Holder) -> Result<Self, HolderKeyError> {
        let (key, text) = match holder.kind {
            HolderKind::Piv => {
                let key = PivPublicKey::from_recipient(&holder.recipient)?;
                let text = key.to_recipient();
                (Self::Piv(key), text)
            }
            HolderKind::Pgp => {
                let key: age::x25519::Recipient =
                    holder.recipient.parse().map_err(|_| HolderKeyError::Recipient)?;
                let text = key.to_string();
                (Self::Pgp(key), text)
            }
        };
        if text == holder.recipient { Ok(key) } else { Err(HolderKeyError::Recipient) }
    }

    /// The key in a PIV slot, if that is its kind.
    pub const fn piv(&self) -> Option<&PivPublicKey> {
        match self {
            Self::Piv(key) => Some(key),
            Self::Pgp(_) => None,
        }
    }
}

impl age::Recipient for HolderKey {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        match self {
            Self::Piv(key) => key.wrap_file_key(file_key),
            Self::Pgp(key) => key.wrap_file_key(file_key),
        }
    }
}

/// Whether a PGP holder's entry has the shape of one. What is in the message only its holder can tell.
pub(crate) fn is_pgp_entry(key: &PgpKey) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    matches!(key.fingerprint.len(), 40 | 64)
        && key.fingerprint.bytes().all(hex)
        && key.public_key.len() <= MAX_KEY_BYTES
        && key.public_key.starts_with(KEY_BEGIN)
        && key.identity.len() <= MAX_MESSAGE_BYTES
        && key.identity.starts_with(MESSAGE_BEGIN)
}

/// A new age identity for a holder by PGP: its recipient, and the text (`AGE-SECRET-KEY-1...`) to encrypt to their PGP key.
pub fn new_identity() -> (String, Zeroizing<String>) {
    scrubbed(|| {
        let identity = Box::new(age::x25519::Identity::generate());
        let text = identity.to_string();
        (identity.to_public().to_string(), Zeroizing::new(text.expose_secret().to_owned()))
    })
}

/// The recipient of what was in a holder's message, if an age identity was.
pub fn recipient_of(identity: &[u8]) -> Option<String> {
    scrubbed(|| Some(parse(identity)?.to_public().to_string()))
}

/// Opens an armored age file as a holder by PGP, with what was in their message.
///
/// # Errors
/// It is another identity than the holder's, or opens nothing of this file.
pub fn unwrap_as(
    armored: &str,
    holder: &Holder,
    identity: &[u8],
) -> Result<MasterKey, UnwrapError<std::convert::Infallible>> {
    scrubbed(|| {
        let identity = parse(identity).ok_or(UnwrapError::Malformed)?;
        if identity.to_public().to_string() != holder.recipient {
            return Err(UnwrapError::NotAHolder);
        }
        agefile::open(armored, &*identity).map_err(|_| UnwrapError::WrongSecret)
    })
}

fn parse(identity: &[u8]) -> Option<Box<age::x25519::Identity>> {
    std::str::from_utf8(identity).ok()?.trim_end().parse().map(Box::new).ok()
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
