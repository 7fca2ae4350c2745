//! [`Pin`]: a PIN or PUK on its way to the card: parsed at the door, zeroized, never shown.

use std::fmt;

use zeroize::Zeroizing;

const SHORTEST: usize = 6;
const LONGEST: usize = 8;
const PADDING: u8 = 0xff;

/// A PIN or PUK: 6 to 8 bytes. Not clonable, so that there is one copy to wipe.
pub struct Pin(Box<Zeroizing<[u8; LONGEST]>>);

/// Why some bytes are no PIN. Carries nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinFormat {
    /// Fewer than 6 bytes.
    #[error("PIN is shorter than 6 characters")]
    TooShort,
    /// More than 8 bytes. A touched key types a one-time password of 44 characters: the usual reason.
    #[error("PIN is longer than 8 characters")]
    TooLong,
    /// The card pads with this byte, so it cannot be part of a PIN.
    #[error("PIN contains the byte FF, which the card uses as padding")]
    Padding,
}

/// Whether the last try before the card blocks the PIN may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastTry {
    /// Refuse with [`crate::TokenError::LastTry`].
    Refuse,
    /// The person said yes to exactly this.
    Allow,
}

impl Pin {
    /// Takes the bytes of a PIN or PUK as typed, without a line end.
    ///
    /// # Errors
    /// When they cannot be one.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, PinFormat> {
        match bytes.len() {
            0..SHORTEST => return Err(PinFormat::TooShort),
            SHORTEST..=LONGEST => {}
            _ => return Err(PinFormat::TooLong),
        }
        if bytes.contains(&PADDING) {
            return Err(PinFormat::Padding);
        }
        let mut pin = Self(Box::new(Zeroizing::new([PADDING; LONGEST])));
        for (to, from) in pin.0.iter_mut().zip(bytes.iter()) {
            *to = *from;
        }
        Ok(pin)
    }

    /// The eight bytes the card expects.
    pub(crate) fn padded(&self) -> &[u8; LONGEST] {
        &self.0
    }

    pub(crate) fn is_factory_pin(&self) -> bool {
        self.padded() == b"123456\xff\xff"
    }

    pub(crate) fn is_factory_puk(&self) -> bool {
        self.padded() == b"12345678"
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(bytes: &[u8]) -> Result<Pin, PinFormat> {
        Pin::new(Zeroizing::new(bytes.to_vec()))
    }

    #[test]
    fn six_to_eight_bytes() {
        assert_eq!(pin(b"12345").unwrap_err(), PinFormat::TooShort);
        assert_eq!(pin(b"123456789").unwrap_err(), PinFormat::TooLong);
        assert_eq!(pin(b"12345\xff").unwrap_err(), PinFormat::Padding);
        assert_eq!(pin(b"424242").unwrap().padded(), b"424242\xff\xff");
        assert_eq!(pin(b"42424242").unwrap().padded(), b"42424242");
    }

    #[test]
    fn is_not_shown() {
        assert_eq!(format!("{:?}", pin(b"424242").unwrap()), "Pin([redacted])");
    }
}
