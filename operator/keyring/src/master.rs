//! The master key of one key generation: 32 random bytes, in one place from birth to zeroization.

use std::fmt;

use rand_core::{OsRng, RngCore};
use subtle::ConstantTimeEq;

use crate::locked::Locked;

/// Length of a master key in bytes.
pub const MASTER_KEY_BYTES: usize = 32;

/// A master key. Moving it moves a pointer; its bytes stay in one place and are overwritten on drop.
///
/// No `Clone`, no `PartialEq`, no serialisation: the few places that need one of them say so by name.
pub struct MasterKey(Locked);

impl MasterKey {
    /// A fresh master from the operating system's generator.
    pub fn generate() -> Self {
        let mut key = Self::zeroed();
        OsRng.fill_bytes(key.expose_mut());
        key
    }

    /// A master whose bytes `fill` writes in place; an error of `fill` is returned and the buffer zeroized.
    pub fn fill_with<E>(fill: impl FnOnce(&mut [u8; MASTER_KEY_BYTES]) -> Result<(), E>) -> Result<Self, E> {
        let mut key = Self::zeroed();
        fill(key.expose_mut())?;
        Ok(key)
    }

    /// A second box with the same bytes, for an operation that consumes its input (sealing in place).
    pub fn duplicate(&self) -> Self {
        let mut key = Self::zeroed();
        key.expose_mut().copy_from_slice(self.expose());
        key
    }

    /// Whether both hold the same bytes, in constant time.
    pub fn equals_in_constant_time(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }

    /// The bytes, for derivation and sealing inside this crate.
    pub(crate) fn expose(&self) -> &[u8; MASTER_KEY_BYTES] {
        self.0.expose()
    }

    /// The bytes, for encryption and decryption in place inside this crate.
    pub(crate) fn expose_mut(&mut self) -> &mut [u8; MASTER_KEY_BYTES] {
        self.0.expose_mut()
    }

    pub(crate) fn zeroed() -> Self {
        Self(Locked::zeroed())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let key = MasterKey::fill_with(|bytes| {
            bytes.fill(0xAB);
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(format!("{key:?}"), "MasterKey(..)");
    }

    #[test]
    fn two_generated_keys_differ_and_a_duplicate_does_not() {
        let (one, two) = (MasterKey::generate(), MasterKey::generate());
        assert!(!one.equals_in_constant_time(&two));
        assert!(one.equals_in_constant_time(&one.duplicate()));
    }

    #[test]
    fn a_failed_fill_is_the_callers_error() {
        assert_eq!(MasterKey::fill_with(|_| Err("no bytes")).map(|_| ()), Err("no bytes"));
    }
}
