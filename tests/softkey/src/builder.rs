//! Configuring a [`SoftKey`] before it exists.

use std::time::Duration;

use crate::{
    card::{Card, Firmware, ManagementKey, Reference},
    key::{SoftKey, Touch},
};

/// A key that was configured in a way no YubiKey can be.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// PIN or PUK of the wrong length.
    #[error("PIN and PUK of a software key must be 6 to 8 bytes")]
    ReferenceLength,
    /// The management key does not fit its algorithm.
    #[error("management key of a software key does not fit its algorithm")]
    ManagementKey,
}

/// Configures a [`SoftKey`]; what is left alone is as from the factory.
pub struct Builder {
    serial: u32,
    firmware: Firmware,
    pin: Option<Vec<u8>>,
    puk: Option<Vec<u8>>,
    management: Option<(u8, Vec<u8>)>,
    tries: (u8, u8),
    touch: Touch,
    touch_timeout: Duration,
}

impl Builder {
    pub(crate) fn new(serial: u32) -> Self {
        Self {
            serial,
            firmware: (5, 4, 3),
            pin: None,
            puk: None,
            management: None,
            tries: (3, 3),
            touch: Touch::Yes,
            touch_timeout: Duration::from_secs(15),
        }
    }

    /// Firmware version; 5.7.0 and later start with an AES-192 management key, earlier with 3DES.
    pub fn firmware(mut self, major: u8, minor: u8, patch: u8) -> Self {
        self.firmware = (major, minor, patch);
        self
    }

    /// The PIN, 6 to 8 bytes (factory: 123456).
    pub fn pin(mut self, pin: &str) -> Self {
        self.pin = Some(pin.into());
        self
    }

    /// The PUK, 6 to 8 bytes (factory: 12345678).
    pub fn puk(mut self, puk: &str) -> Self {
        self.puk = Some(puk.into());
        self
    }

    /// The management key and its algorithm: 03 3DES, 08, 0A and 0C AES-128, AES-192 and AES-256.
    pub fn management_key(mut self, algorithm: u8, key: &[u8]) -> Self {
        self.management = Some((algorithm, key.to_vec()));
        self
    }

    /// How many tries PIN and PUK have (factory: 3 each).
    pub fn tries(mut self, pin: u8, puk: u8) -> Self {
        self.tries = (pin, puk);
        self
    }

    /// What the person does when the key waits for a touch (default: touches at once).
    pub fn touch(mut self, touch: Touch) -> Self {
        self.touch = touch;
        self
    }

    /// How long the key waits for a touch (a real one: 15 s, the default here too).
    pub fn touch_timeout(mut self, timeout: Duration) -> Self {
        self.touch_timeout = timeout;
        self
    }

    /// Makes the key.
    ///
    /// # Errors
    /// When PIN, PUK or management key cannot be those of a YubiKey.
    pub fn build(self) -> Result<SoftKey, BuildError> {
        let reference = |mut reference: Reference, value: Option<Vec<u8>>, tries| {
            reference.set_tries(tries);
            match value {
                Some(value) if !(6..=8).contains(&value.len()) => Err(BuildError::ReferenceLength),
                Some(value) => {
                    reference.set(&value);
                    Ok(reference)
                }
                None => Ok(reference),
            }
        };
        let management = match self.management {
            Some((algorithm, key)) => {
                ManagementKey::new(algorithm, &key, false).ok_or(BuildError::ManagementKey)?
            }
            None => ManagementKey::factory(self.firmware),
        };
        let pin = reference(Reference::factory_pin(), self.pin, self.tries.0)?;
        let puk = reference(Reference::factory_puk(), self.puk, self.tries.1)?;
        let card = Card::new(self.serial, self.firmware, pin, puk, management);
        Ok(SoftKey::assemble(card, self.touch, self.touch_timeout))
    }
}
