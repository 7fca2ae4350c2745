//! PIN and PUK: tries left, VERIFY, CHANGE REFERENCE DATA. A wrong value is sent once, never again.

use super::{
    metadata::{self, Known},
    sw, tlv,
    wire::{Command, Wire},
};
use crate::{
    error::TokenError,
    pin::{LastTry, Pin},
};

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    Pin,
    Puk,
}

impl Reference {
    fn code(self) -> u8 {
        match self {
            Self::Pin => 0x80,
            Self::Puk => 0x81,
        }
    }

    fn blocked(self, serial: u32) -> TokenError {
        match self {
            Self::Pin => TokenError::PinBlocked { serial },
            Self::Puk => TokenError::PukBlocked { serial },
        }
    }

    fn wrong(self, serial: u32, tries_left: u8) -> TokenError {
        match (self, tries_left) {
            (_, 0) => self.blocked(serial),
            (Self::Pin, _) => TokenError::WrongPin { serial, tries_left },
            (Self::Puk, _) => TokenError::WrongPuk { serial, tries_left },
        }
    }
}

/// Tries left, without spending one. The PUK's are known from firmware 5.3 on only.
pub fn tries_left(wire: &Wire<'_>, reference: Reference) -> Result<Option<u8>, TokenError> {
    const OPERATION: &str = "read the tries left";
    if let Known::Present(metadata) = metadata::read(wire, reference.code())? {
        return Ok(metadata.tries_left);
    }
    if reference == Reference::Puk {
        return Ok(None);
    }
    // VERIFY without data asks; it compares nothing.
    let answer =
        wire.ask(&Command { operation: OPERATION, ins: 0x20, p1: 0, p2: reference.code(), data: &[] })?;
    match (answer.sw, sw::tries(answer.sw)) {
        (_, Some(left)) => Ok(Some(left)),
        (sw::BLOCKED, _) => Ok(Some(0)),
        (status, _) => Err(wire.refused(OPERATION, status)),
    }
}

/// Tries there are when none is spent, if the card tells.
pub fn tries_of(wire: &Wire<'_>, reference: Reference) -> Result<Option<u8>, TokenError> {
    match metadata::read(wire, reference.code())? {
        Known::Present(metadata) => Ok(metadata.tries_of),
        Known::Empty | Known::Unsupported => Ok(None),
    }
}

/// Whether it is the one from the factory, if the card tells.
pub fn is_default(wire: &Wire<'_>, reference: Reference) -> Result<Option<bool>, TokenError> {
    match metadata::read(wire, reference.code())? {
        Known::Present(metadata) => Ok(metadata.is_default),
        Known::Empty | Known::Unsupported => Ok(None),
    }
}

/// Refuses to spend a try that must not be spent: none left, or the last one without consent.
/// Protects against software that locks a person out of their own card.
pub fn may_try(wire: &Wire<'_>, reference: Reference, consent: LastTry) -> Result<(), TokenError> {
    let serial = wire.serial;
    match (tries_left(wire, reference)?, consent, reference) {
        (Some(0), _, _) => Err(reference.blocked(serial)),
        (Some(1), LastTry::Refuse, Reference::Pin) => Err(TokenError::LastTry { serial }),
        (Some(1), LastTry::Refuse, Reference::Puk) => Err(TokenError::LastPukTry { serial }),
        _ => Ok(()),
    }
}

/// Presents the PIN, once. Call [`may_try`] before.
pub fn verify(wire: &Wire<'_>, pin: &Pin) -> Result<(), TokenError> {
    const OPERATION: &str = "verify the PIN";
    let reference = Reference::Pin;
    let command =
        Command { operation: OPERATION, ins: 0x20, p1: 0, p2: reference.code(), data: pin.padded() };
    conclude(wire, OPERATION, reference, wire.ask(&command)?.sw)
}

/// Changes the PIN or the PUK, presenting the old one once.
pub fn change(
    wire: &Wire<'_>,
    reference: Reference,
    old: &Pin,
    new: &Pin,
    consent: LastTry,
) -> Result<(), TokenError> {
    const OPERATION: &str = "change the PIN or PUK";
    may_try(wire, reference, consent)?;
    let data = tlv::join(&[old.padded(), new.padded()]);
    let command = Command { operation: OPERATION, ins: 0x24, p1: 0, p2: reference.code(), data: &data };
    conclude(wire, OPERATION, reference, wire.ask(&command)?.sw)
}

fn conclude(
    wire: &Wire<'_>,
    operation: &'static str,
    reference: Reference,
    status: u16,
) -> Result<(), TokenError> {
    match (status, sw::tries(status)) {
        (sw::OK, _) => Ok(()),
        (_, Some(left)) => Err(reference.wrong(wire.serial, left)),
        (sw::BLOCKED, _) => Err(reference.blocked(wire.serial)),
        _ => Err(wire.refused(operation, status)),
    }
}
