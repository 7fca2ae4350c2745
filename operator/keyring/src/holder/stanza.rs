//! The `piv-p256` stanza: wrapping a master to holders, and opening it with exactly one private-key operation.
//!
//! Format of age-plugin-yubikey 0.5 (its src/format.rs): arguments are the base64 tag and the base64 compressed
//! ephemeral point, the body is ChaCha20-Poly1305(HKDF-SHA256(ikm = shared x, salt = ephemeral | holder, info =
//! "piv-p256"), zero nonce, file key).

use std::cell::RefCell;
use std::collections::HashSet;

use age::{DecryptError, EncryptError};
use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::secrecy::ExposeSecret;
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Tag};
use hkdf::Hkdf;
use p256::ecdh::EphemeralSecret;
use rand_core::OsRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{COMPRESSED_POINT_BYTES, PivPublicKey, TAG_BYTES};
use crate::agefile;
use crate::master::MasterKey;

const STANZA_TAG: &str = "piv-p256";
const ZERO_NONCE: [u8; 12] = [0; 12];
const AEAD_TAG_BYTES: usize = 16;

/// Why a master was not wrapped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WrapError {
    /// Nobody to wrap it to: it could never be opened again.
    #[error("wrap the master key: there is no holder")]
    NoHolder,
    /// age refused.
    #[error("wrap the master key: {0}")]
    Age(String),
}

/// Why a master was not opened. `E` is the error of the card operation, handed back as it came.
#[derive(Debug, thiserror::Error)]
pub enum UnwrapError<E> {
    /// The card operation failed.
    #[error("use the holder's key")]
    Token(E),
    /// The file holds no stanza for this holder: another YubiKey, or one that was never enrolled.
    #[error("open the wrapped master key: it is not wrapped to this holder's key")]
    NotAHolder,
    /// The holder's stanza does not open: the file was damaged, or the tag of another key collides with this one's.
    #[error("open the wrapped master key: the holder's part does not decrypt")]
    WrongSecret,
    /// Not an armored age file with one master key in it.
    #[error("open the wrapped master key: not an age file of one master key")]
    Malformed,
}

/// Wraps the master to every holder: one armored age file.
pub fn wrap<K: age::Recipient>(master: &MasterKey, holders: &[K]) -> Result<String, WrapError> {
    if holders.is_empty() {
        return Err(WrapError::NoHolder);
    }
    let recipients: Vec<_> = holders.iter().map(|holder| holder as &dyn age::Recipient).collect();
    agefile::seal(master, &recipients).map_err(|error| WrapError::Age(error.to_string()))
}

/// A private-key operation: the compressed ephemeral point in, the 32-byte x coordinate of the shared point out.
pub type Ecdh<'a, E> = dyn FnMut(&[u8; COMPRESSED_POINT_BYTES]) -> Result<Zeroizing<[u8; 32]>, E> + 'a;

/// Opens an armored age file as `holder`.
///
/// `ecdh` is called once, for the first stanza that names this holder's key, and not at all when there is none.
pub fn unwrap<E>(
    armored: &str,
    holder: &PivPublicKey,
    ecdh: &mut Ecdh<'_, E>,
) -> Result<MasterKey, UnwrapError<E>> {
    let identity = HolderIdentity { holder, operation: RefCell::new(Operation::Ready(ecdh)) };
    let opened = agefile::open(armored, &identity);
    match (identity.operation.into_inner(), opened) {
        (Operation::Failed(error), _) => Err(UnwrapError::Token(error)),
        (_, Ok(master)) => Ok(master),
        (_, Err(DecryptError::NoMatchingKeys)) => Err(UnwrapError::NotAHolder),
        (_, Err(DecryptError::DecryptionFailed | DecryptError::InvalidMac)) => Err(UnwrapError::WrongSecret),
        (_, Err(_)) => Err(UnwrapError::Malformed),
    }
}

impl age::Recipient for PivPublicKey {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let secret = EphemeralSecret::random(&mut OsRng);
        let ephemeral = PivPublicKey::from_sec1(&secret.public_key().to_sec1_bytes())
            .map_err(|e| EncryptError::Io(std::io::Error::other(e)))?;
        let shared = secret.diffie_hellman(self.public_key());
        let mut body = Zeroizing::new([0_u8; FILE_KEY_BYTES]);
        body.copy_from_slice(file_key.expose_secret());
        let tag = cipher(shared.raw_secret_bytes(), ephemeral.compressed(), self.compressed())
            .and_then(|cipher| {
                cipher.encrypt_in_place_detached(&ZERO_NONCE.into(), b"", body.as_mut_slice()).ok()
            })
            .ok_or_else(|| EncryptError::Io(std::io::Error::other("encrypt the file key")))?;
        let stanza = Stanza {
            tag: STANZA_TAG.to_owned(),
            args: vec![
                BASE64_STANDARD_NO_PAD.encode(self.tag()),
                BASE64_STANDARD_NO_PAD.encode(ephemeral.compressed()),
            ],
            body: [body.as_slice(), tag.as_slice()].concat(),
        };
        Ok((vec![stanza], HashSet::new()))
    }
}

/// The one private-key operation of a ceremony: it is there to be used once.
enum Operation<'a, E> {
    Ready(&'a mut Ecdh<'a, E>),
    Used,
    Failed(E),
}

struct HolderIdentity<'a, E> {
    holder: &'a PivPublicKey,
    operation: RefCell<Operation<'a, E>>,
}

impl<E> age::Identity for HolderIdentity<'_, E> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if stanza.tag != STANZA_TAG {
            return None;
        }
        let [tag, ephemeral] = stanza.args.as_slice() else {
            return Some(Err(DecryptError::InvalidHeader));
        };
        if decode::<TAG_BYTES>(tag) != Some(self.holder.tag()) {
            return None;
        }
        Some(self.open_own(ephemeral, &stanza.body))
    }
}

impl<E> HolderIdentity<'_, E> {
    fn open_own(&self, ephemeral: &str, body: &[u8]) -> Result<FileKey, DecryptError> {
        // An off-curve point never reaches the card.
        let ephemeral = decode::<COMPRESSED_POINT_BYTES>(ephemeral)
            .and_then(|bytes| PivPublicKey::from_sec1(&bytes).ok())
            .ok_or(DecryptError::InvalidHeader)?;
        let (sealed, tag) = body.split_at_checked(FILE_KEY_BYTES).ok_or(DecryptError::InvalidHeader)?;
        if tag.len() != AEAD_TAG_BYTES {
            return Err(DecryptError::InvalidHeader);
        }
        let shared = match self.operation.replace(Operation::Used) {
            Operation::Ready(ecdh) => ecdh(ephemeral.compressed()).map_err(|error| {
                self.operation.replace(Operation::Failed(error));
                DecryptError::KeyDecryptionFailed
            })?,
            // age stops at the first stanza that answers; this holds whatever it does.
            Operation::Used | Operation::Failed(_) => return Err(DecryptError::DecryptionFailed),
        };
        let cipher = cipher(shared.as_slice(), ephemeral.compressed(), self.holder.compressed())
            .ok_or(DecryptError::DecryptionFailed)?;
        FileKey::try_init_with_mut(|file_key| {
            file_key.copy_from_slice(sealed);
            cipher
                .decrypt_in_place_detached(
                    &ZERO_NONCE.into(),
                    b"",
                    file_key.as_mut_slice(),
                    Tag::from_slice(tag),
                )
                .map_err(|_| DecryptError::DecryptionFailed)
        })
    }
}

fn cipher(shared: &[u8], ephemeral: &[u8], holder: &[u8]) -> Option<ChaCha20Poly1305> {
    let salt = [ephemeral, holder].concat();
    let mut key = Zeroizing::new([0_u8; 32]);
    Hkdf::<Sha256>::new(Some(&salt), shared).expand(STANZA_TAG.as_bytes(), key.as_mut_slice()).ok()?;
    Some(ChaCha20Poly1305::new((&*key).into()))
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64_STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}
