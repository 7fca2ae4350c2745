//! GET METADATA (Yubico, firmware 5.3 and later): what a slot, the PIN, the PUK or the management key is, without spending a try.

use super::{
    P256, sw, tlv,
    wire::{Command, Wire},
};
use crate::{
    error::TokenError,
    slot::{PinPolicy, TouchPolicy},
};

const OPERATION: &str = "read what the card says about a key";

/// What the card says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub algorithm: Option<u8>,
    pub policies: (Option<PinPolicy>, Option<TouchPolicy>),
    /// Uncompressed point of a P-256 key.
    pub point: Option<[u8; 65]>,
    pub is_default: Option<bool>,
    pub tries_left: Option<u8>,
    /// Tries there are when none is spent.
    pub tries_of: Option<u8>,
}

impl Metadata {
    pub fn is_p256(&self) -> bool {
        self.algorithm == Some(P256)
    }
}

/// What there is to know about a key reference.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// The firmware is too old to say.
    Unsupported,
    /// There is nothing.
    Empty,
    /// This.
    Present(Metadata),
}

/// Asks about a key reference.
pub fn read(wire: &Wire<'_>, reference: u8) -> Result<Known, TokenError> {
    let answer = wire.ask(&Command { operation: OPERATION, ins: 0xf7, p1: 0, p2: reference, data: &[] })?;
    match answer.sw {
        sw::OK => Ok(Known::Present(parse(&answer.data))),
        sw::REFERENCE_NOT_FOUND => Ok(Known::Empty),
        sw::INS_UNKNOWN => Ok(Known::Unsupported),
        status => Err(wire.refused(OPERATION, status)),
    }
}

fn parse(data: &[u8]) -> Metadata {
    let mut metadata = Metadata::default();
    for (tag, value) in tlv::each(data) {
        match (tag, value) {
            (0x01, &[algorithm]) => metadata.algorithm = Some(algorithm),
            (0x02, &[pin, touch]) => {
                metadata.policies = (PinPolicy::from_code(pin), TouchPolicy::from_code(touch));
            }
            (0x04, value) => metadata.point = tlv::find(value, 0x86).and_then(|point| point.try_into().ok()),
            (0x05, &[default]) => metadata.is_default = Some(default != 0),
            (0x06, &[of, left]) => (metadata.tries_of, metadata.tries_left) = (Some(of), Some(left)),
            _ => {}
        }
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_knows_and_skips_the_rest() {
        let metadata = parse(&[1, 1, 0x11, 2, 2, 2, 3, 3, 1, 1, 5, 1, 0, 6, 2, 3, 1, 0x0f, 1, 7]);
        assert!(metadata.is_p256());
        assert_eq!(metadata.policies, (Some(PinPolicy::Once), Some(TouchPolicy::Cached)));
        assert_eq!((metadata.is_default, metadata.tries_left, metadata.point), (Some(false), Some(1), None));
        assert_eq!(metadata.tries_of, Some(3));
        assert_eq!(parse(&[1, 9]), Metadata::default());
    }
}
