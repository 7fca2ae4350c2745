//! What no program can go below: one X25519, one HKDF and one ChaCha20-Poly1305 for the data key, and one AES-256-GCM
//! for each value of the document, with its path as additional data. No parsing, no base64, no MAC, no printing. Runs on
//! values of the same lengths under a key of its own, by the same RustCrypto and dalek crates our engine stands on.

use std::path::Path;

use aes_gcm::aead::generic_array::typenum::U32;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce, Tag};
use chacha20poly1305::ChaCha20Poly1305;
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::corpus::values_of;
use crate::worker::{Contestant, Failure, Work};

type Gcm = AesGcm<Aes256, U32>;

pub struct Floor;

const DATA_KEY: [u8; 32] = [7; 32];
const INFO: &[u8] = b"age-encryption.org/v1/X25519";

struct Wrapped {
    secret: StaticSecret,
    public: PublicKey,
    share: PublicKey,
    sealed: [u8; 32],
    tag: Tag,
}

struct Sealed {
    path: String,
    nonce: [u8; 32],
    data: Vec<u8>,
    tag: Tag,
}

impl Contestant for Floor {
    fn prepare(&self, _: &str, path: &Path) -> Result<Work, Failure> {
        let wrapped = wrap()?;
        let gcm = Gcm::new(&DATA_KEY.into());
        let values = values_of(path)?
            .into_iter()
            .enumerate()
            .map(|(index, (path, text))| seal(&gcm, index, path, text.into_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        let longest = values.iter().map(|value| value.data.len()).max().unwrap_or_default();
        let mut buffer = vec![0; longest];
        Ok(Box::new(move || {
            let gcm = Gcm::new((&*unwrap(&wrapped)?).into());
            for value in &values {
                let plain = buffer.get_mut(..value.data.len()).ok_or("too short a buffer")?;
                plain.copy_from_slice(&value.data);
                let nonce = Nonce::<U32>::from_slice(&value.nonce);
                gcm.decrypt_in_place_detached(nonce, value.path.as_bytes(), plain, &value.tag)
                    .map_err(|_| "a value does not open")?;
            }
            Ok(Zeroizing::default())
        }))
    }
}

fn wrap() -> Result<Wrapped, Failure> {
    let (secret, ephemeral) = (StaticSecret::from([1; 32]), StaticSecret::from([2; 32]));
    let (public, share) = (PublicKey::from(&secret), PublicKey::from(&ephemeral));
    let mut sealed = DATA_KEY;
    let tag = chacha(ephemeral.diffie_hellman(&public).as_bytes(), &share, &public)?
        .encrypt_in_place_detached(&[0; 12].into(), b"", &mut sealed)
        .map_err(|_| "cannot wrap the data key")?;
    Ok(Wrapped { secret, public, share, sealed, tag })
}

fn unwrap(wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let shared = wrapped.secret.diffie_hellman(&wrapped.share);
    let mut key = Zeroizing::new(wrapped.sealed);
    chacha(shared.as_bytes(), &wrapped.share, &wrapped.public)?
        .decrypt_in_place_detached(&[0; 12].into(), b"", &mut *key, &wrapped.tag)
        .map_err(|_| "the data key does not open")?;
    Ok(key)
}

fn chacha(shared: &[u8], share: &PublicKey, public: &PublicKey) -> Result<ChaCha20Poly1305, Failure> {
    let salt = [share.to_bytes(), public.to_bytes()].concat();
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(Some(&salt), shared).expand(INFO, &mut key).map_err(|_| "too long a key")?;
    Ok(ChaCha20Poly1305::new(&key.into()))
}

fn seal(gcm: &Gcm, index: usize, path: String, mut data: Vec<u8>) -> Result<Sealed, Failure> {
    let mut nonce = [0; 32];
    nonce[..8].copy_from_slice(&(index as u64).to_be_bytes());
    let tag = gcm
        .encrypt_in_place_detached(Nonce::<U32>::from_slice(&nonce), path.as_bytes(), &mut data)
        .map_err(|_| "cannot seal a value")?;
    Ok(Sealed { path, nonce, data, tag })
}
