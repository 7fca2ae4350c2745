//! The management key: needed to make keys and write objects. Known by default, or kept on the card behind the PIN.
//!
//! The way ykman and age-plugin-yubikey do it: a random key in the printed-information object (`88 { 89 key }`), readable
//! with the PIN only, and a flag in the admin data (`80 { 81 flags }`). A card with the default key is moved to that. The
//! management key has no retry counter, so trying one spends nothing.

use std::fmt;

use aes::{
    Aes128, Aes192, Aes256,
    cipher::{BlockDecrypt, BlockEncrypt, KeyInit, generic_array::GenericArray},
};
use des::TdesEde3;
use p256::elliptic_curve::{
    rand_core::{OsRng, RngCore},
    subtle::ConstantTimeEq,
};
use zeroize::Zeroizing;

use super::{
    metadata::{self, Known},
    objects, sw, tlv,
    wire::{Command, Wire},
};
use crate::error::TokenError;

const REFERENCE: u8 = 0x9b;
const FACTORY: [u8; 24] = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8];
const FLAG_PROTECTED: u8 = 0x02;

/// A management key: 16, 24 or 32 bytes, as the card's algorithm wants.
pub struct ManagementKey(Zeroizing<Vec<u8>>);

impl ManagementKey {
    /// Takes its raw bytes.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for ManagementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManagementKey([redacted])")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    TripleDes,
    Aes128,
    Aes192,
    Aes256,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::TripleDes, Self::Aes128, Self::Aes192, Self::Aes256];

    fn code(self) -> u8 {
        match self {
            Self::TripleDes => 0x03,
            Self::Aes128 => 0x08,
            Self::Aes192 => 0x0a,
            Self::Aes256 => 0x0c,
        }
    }

    fn key_length(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::TripleDes | Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// One block through the cipher; `None` when key or block have the wrong length.
    fn block(self, key: &[u8], block: &[u8], encrypt: bool) -> Option<Vec<u8>> {
        fn run<C: BlockEncrypt + BlockDecrypt + KeyInit>(
            key: &[u8],
            block: &[u8],
            encrypt: bool,
        ) -> Option<Vec<u8>> {
            let cipher = C::new_from_slice(key).ok()?;
            let mut block = GenericArray::from_exact_iter(block.iter().copied())?;
            if encrypt {
                cipher.encrypt_block(&mut block)
            } else {
                cipher.decrypt_block(&mut block)
            }
            Some(block.to_vec())
        }
        match self {
            Self::TripleDes => run::<TdesEde3>(key, block, encrypt),
            Self::Aes128 => run::<Aes128>(key, block, encrypt),
            Self::Aes192 => run::<Aes192>(key, block, encrypt),
            Self::Aes256 => run::<Aes256>(key, block, encrypt),
        }
    }
}

/// Authenticates with the given key, or else with the PIN-protected or the default one; a default key is replaced by a
/// random one protected by the PIN. Needs the PIN verified.
pub fn unlock(wire: &Wire<'_>, given: Option<&ManagementKey>) -> Result<(), TokenError> {
    let serial = wire.serial;
    let algorithm = algorithm(wire)?;
    if let Some(ManagementKey(key)) = given {
        if key.len() != algorithm.key_length() {
            return Err(TokenError::BadManagementKey { serial });
        }
        return match authenticate(wire, algorithm, key)? {
            true => Ok(()),
            false => Err(TokenError::ManagementKeyUnknown { serial }),
        };
    }
    let printed = objects::get(wire, objects::PRINTED)?;
    let stored = printed.as_ref().and_then(|content| tlv::find(tlv::find(content, 0x88)?, 0x89));
    if let Some(key) = stored.filter(|key| key.len() == algorithm.key_length())
        && authenticate(wire, algorithm, key)?
    {
        return Ok(());
    }
    if algorithm.key_length() != FACTORY.len() || !authenticate(wire, algorithm, &FACTORY)? {
        return Err(TokenError::ManagementKeyUnknown { serial });
    }
    if printed.as_ref().is_some_and(|content| tlv::find(content, 0x88).is_none()) {
        return Err(TokenError::ForeignObject { serial });
    }
    protect(wire, algorithm)
}

/// Replaces the default key. The new one is stored before it is set: whenever the card is pulled, either the default or
/// the stored key opens it, and the next run tries both.
fn protect(wire: &Wire<'_>, algorithm: Algorithm) -> Result<(), TokenError> {
    let mut key = Zeroizing::new(vec![0; algorithm.key_length()]);
    OsRng.fill_bytes(&mut key);
    objects::put(wire, objects::PRINTED, &tlv::element(0x88, &tlv::element(0x89, &key)))?;
    let data = tlv::join(&[&[algorithm.code(), REFERENCE, key.len() as u8], &key]);
    let operation = "set the management key";
    wire.expect(&Command { operation, ins: 0xff, p1: 0xff, p2: 0xff, data: &data })?;
    let old = objects::get(wire, objects::ADMIN_DATA)?;
    let old = old.as_deref().and_then(|content| tlv::find(content, 0x80)).unwrap_or_default();
    objects::put(wire, objects::ADMIN_DATA, &tlv::element(0x80, &with_protected_flag(old)))
}

/// The admin data with the "protected" flag, without the salt of a PIN-derived key, everything else kept.
fn with_protected_flag(old: &[u8]) -> Zeroizing<Vec<u8>> {
    let flags = tlv::find(old, 0x81).and_then(|flags| flags.first()).copied().unwrap_or(0);
    let mut new = tlv::element(0x81, &[flags | FLAG_PROTECTED]);
    for (tag, value) in tlv::each(old).filter(|(tag, _)| !matches!(tag, 0x81 | 0x82)) {
        new.extend_from_slice(&tlv::element(tag as u8, value));
    }
    new
}

fn algorithm(wire: &Wire<'_>) -> Result<Algorithm, TokenError> {
    match metadata::read(wire, REFERENCE)? {
        Known::Present(metadata) => Algorithm::ALL
            .into_iter()
            .find(|algorithm| Some(algorithm.code()) == metadata.algorithm)
            .ok_or_else(|| wire.nonsense("read the management key's algorithm")),
        Known::Empty | Known::Unsupported => Ok(Algorithm::TripleDes),
    }
}

/// Mutual authentication (SP 800-73-4 part 2, appendix A.1): both sides prove that they know the key.
fn authenticate(wire: &Wire<'_>, algorithm: Algorithm, key: &[u8]) -> Result<bool, TokenError> {
    const OPERATION: &str = "authenticate with the management key";
    let command =
        |data| Command { operation: OPERATION, ins: 0x87, p1: algorithm.code(), p2: REFERENCE, data };
    let nonsense = || wire.nonsense(OPERATION);
    let answer = wire.expect(&command(&[0x7c, 2, 0x80, 0]))?;
    let witness = tlv::find(&answer, 0x7c).and_then(|t| tlv::find(t, 0x80)).ok_or_else(nonsense)?;
    let witness = algorithm.block(key, witness, false).ok_or_else(nonsense)?;
    let mut challenge = vec![0; witness.len()];
    OsRng.fill_bytes(&mut challenge);
    let template = tlv::join(&[&tlv::element(0x80, &witness), &tlv::element(0x81, &challenge)]);
    let answer = wire.ask(&command(&tlv::element(0x7c, &template)))?;
    match answer.sw {
        sw::OK => {}
        sw::SECURITY_STATUS => return Ok(false),
        status => return Err(wire.refused(OPERATION, status)),
    }
    let response = tlv::find(&answer.data, 0x7c).and_then(|t| tlv::find(t, 0x82)).ok_or_else(nonsense)?;
    let expected = algorithm.block(key, &challenge, true).ok_or_else(nonsense)?;
    Ok(expected.ct_eq(response).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_data_keeps_what_it_does_not_know() {
        let old = [0x81, 1, 0x01, 0x82, 2, 5, 5, 0x83, 1, 9];
        assert_eq!(with_protected_flag(&old).as_slice(), [0x81, 1, 0x03, 0x83, 1, 9]);
        assert_eq!(with_protected_flag(&[]).as_slice(), [0x81, 1, 0x02]);
    }

    #[test]
    fn wrong_lengths_are_refused_not_panicked_on() {
        assert_eq!(Algorithm::Aes192.block(&FACTORY, &[0; 8], true), None);
        assert_eq!(Algorithm::Aes256.block(&FACTORY, &[0; 16], true), None);
        assert_eq!(Algorithm::TripleDes.block(&FACTORY, &[0; 8], true).map(|block| block.len()), Some(8));
    }
}
