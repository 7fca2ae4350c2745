//! A master key as an armored age file, to any recipients and from any identity.
//!
//! Header, stanzas and header MAC are age's. The payload is written here (age v1, "Payload": one ChaCha20-Poly1305
//! chunk of the STREAM construction), because age's own writer keeps the plaintext in a 64 KiB buffer that it frees
//! without overwriting it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::master::MasterKey;
use crate::scrub::scrubbed;

/// First line of an armored age file.
pub(crate) const ARMOR_BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
/// Longest armored file that is looked at.
pub(crate) const MAX_ARMORED_BYTES: usize = 65_536;
const NONCE_BYTES: usize = 16;
/// STREAM nonce of a first and only chunk: counter 0, last-chunk flag 1.
const ONLY_CHUNK: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Encrypts the master to the recipients; the answer is armored text.
pub(crate) fn seal(master: &MasterKey, recipients: &[&dyn age::Recipient]) -> Result<String, EncryptError> {
    scrubbed(|| {
        let file_key = RefCell::new(None);
        let overheard: Vec<_> = recipients
            .iter()
            .map(|recipient| Overhear { recipient: *recipient, file_key: &file_key })
            .collect();
        let encryptor = Encryptor::with_recipients(overheard.iter().map(|r| r as &dyn age::Recipient))?;
        let mut file = Vec::new();
        drop(encryptor.wrap_output(&mut file)?);
        let file_key = file_key.take().ok_or(EncryptError::MissingRecipients)?;
        let nonce = file.len().checked_sub(NONCE_BYTES).and_then(|at| file.get(at..)).unwrap_or_default();

        let mut key = Zeroizing::new([0_u8; 32]);
        Hkdf::<Sha256>::new(Some(nonce), file_key.as_slice())
            .expand(b"payload", key.as_mut_slice())
            .map_err(|_| alarm("derive the payload key"))?;
        let mut chunk = master.duplicate();
        let tag = ChaCha20Poly1305::new((&*key).into())
            .encrypt_in_place_detached(&ONLY_CHUNK.into(), b"", chunk.expose_mut())
            .map_err(|_| alarm("encrypt the payload"))?;
        file.extend_from_slice(chunk.expose());
        file.extend_from_slice(&tag);

        let mut armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        armored.write_all(&file)?;
        String::from_utf8(armored.finish()?).map_err(|_| alarm("armor the file"))
    })
}

/// Decrypts an armored age file that holds exactly one master.
pub(crate) fn open(armored: &str, identity: &dyn age::Identity) -> Result<MasterKey, DecryptError> {
    if armored.len() > MAX_ARMORED_BYTES || !armored.starts_with(ARMOR_BEGIN) {
        return Err(DecryptError::InvalidHeader);
    }
    scrubbed(|| {
        let decryptor = Decryptor::new_buffered(ArmoredReader::new(armored.as_bytes()))?;
        let mut payload = decryptor.decrypt(std::iter::once(identity))?;
        let master = MasterKey::fill_with(|bytes| payload.read_exact(bytes))?;
        match payload.read(&mut [0])? {
            0 => Ok(master),
            _ => Err(DecryptError::DecryptionFailed),
        }
    })
}

fn alarm(operation: &'static str) -> EncryptError {
    EncryptError::Io(std::io::Error::other(operation))
}

/// Passes the file key on to the real recipient and keeps a copy for the payload.
struct Overhear<'a> {
    recipient: &'a dyn age::Recipient,
    file_key: &'a RefCell<Option<Zeroizing<Vec<u8>>>>,
}

impl age::Recipient for Overhear<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        self.file_key.replace(Some(Zeroizing::new(file_key.expose_secret().to_vec())));
        self.recipient.wrap_file_key(file_key)
    }
}
