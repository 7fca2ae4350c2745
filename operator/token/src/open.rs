//! Which YubiKeys are there, and opening the one that is meant. Only looks: no PIN, no keys, nothing reset.

use std::ffi::CString;

use pcsc::{Context, Disposition, Error, Protocols, Scope, ShareMode};

use crate::{
    card::{Card, CardInfo, Firmware},
    error::TokenError,
    piv::{
        OTP, PIV,
        references::{Reference, tries_left},
        wire::{Command, Wire, service_error},
    },
};

/// The oldest firmware with attestation.
const OLDEST: Firmware = Firmware { major: 4, minor: 3, patch: 0 };

/// Which card to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one with this serial number.
    Serial(u32),
    /// The only one there is.
    Only,
}

/// All YubiKeys that are plugged in. Empty when there are readers but no YubiKey in them.
///
/// # Errors
/// When there is no smart card service or no reader, or another program holds the only candidate.
pub fn cards() -> Result<Vec<CardInfo>, TokenError> {
    let found = Found::look()?;
    match (found.cards.is_empty(), found.busy) {
        (true, Some(reader)) => Err(TokenError::Busy { reader }),
        _ => Ok(found.cards.into_iter().map(|card| card.info().clone()).collect()),
    }
}

impl Card {
    /// Opens a YubiKey.
    ///
    /// # Errors
    /// When it is not there, when there is more than one to choose from, or another program holds it.
    pub fn open(which: Which) -> Result<Self, TokenError> {
        let Found { mut cards, busy, too_old } = Found::look()?;
        let present: Vec<u32> = cards.iter().map(Card::serial).collect();
        let wanted = match which {
            Which::Serial(serial) => cards.iter().position(|card| card.serial() == serial),
            Which::Only if cards.len() > 1 => return Err(TokenError::SeveralCards { serials: present }),
            Which::Only => (!cards.is_empty()).then_some(0),
        };
        match (wanted, busy, which, too_old) {
            (Some(position), _, _, _) => Ok(cards.swap_remove(position)),
            (None, Some(reader), _, _) => Err(TokenError::Busy { reader }),
            (None, None, Which::Serial(wanted), _) if !present.is_empty() => {
                Err(TokenError::WrongCard { wanted, present })
            }
            (None, None, _, Some(firmware)) => Err(TokenError::UnsupportedFirmware { firmware }),
            (None, None, _, None) => Err(TokenError::NoCard),
        }
    }
}

/// What a card in a reader is.
pub(crate) enum Identity {
    /// A YubiKey that can be used.
    YubiKey {
        /// Serial number.
        serial: u32,
        /// Firmware version.
        firmware: Firmware,
    },
    /// A YubiKey whose firmware is too old.
    TooOld(Firmware),
    /// Something else.
    Other,
}

/// Selects PIV and asks for version and serial number.
pub(crate) fn identify(wire: &Wire<'_>) -> Result<Identity, TokenError> {
    let select = |aid| {
        let command = Command { operation: "select an application", ins: 0xa4, p1: 4, p2: 0, data: aid };
        wire.ask(&command).map(|answer| answer.is_ok())
    };
    let ask = |ins, p1| {
        let command = Command { operation: "identify the card", ins, p1, p2: 0, data: &[] };
        wire.ask(&command)
    };
    if !select(PIV)? {
        return Ok(Identity::Other);
    }
    let version = ask(0xfd, 0)?;
    let &[major, minor, patch] = version.data.as_slice() else { return Ok(Identity::Other) };
    let firmware = Firmware { major, minor, patch };
    if firmware < OLDEST {
        return Ok(Identity::TooOld(firmware));
    }
    // Firmware 4 tells its serial number in the OTP application only.
    let serial = if major >= 5 {
        ask(0xf8, 0)?
    } else {
        if !select(OTP)? {
            return Ok(Identity::Other);
        }
        let serial = ask(0x01, 0x10)?;
        if !select(PIV)? {
            return Ok(Identity::Other);
        }
        serial
    };
    match <[u8; 4]>::try_from(serial.data.as_slice()) {
        Ok(bytes) if serial.is_ok() => Ok(Identity::YubiKey { serial: u32::from_be_bytes(bytes), firmware }),
        _ => Ok(Identity::Other),
    }
}

struct Found {
    cards: Vec<Card>,
    busy: Option<String>,
    too_old: Option<Firmware>,
}

impl Found {
    fn look() -> Result<Self, TokenError> {
        const OPERATION: &str = "look for YubiKeys";
        let failed = |error| service_error(OPERATION, error, 0);
        let context = Context::establish(Scope::User).map_err(failed)?;
        let readers = match context.list_readers_owned() {
            Ok(readers) if readers.is_empty() => return Err(TokenError::NoReader),
            Err(Error::NoReadersAvailable) => return Err(TokenError::NoReader),
            listed => listed.map_err(failed)?,
        };
        let mut found = Self { cards: Vec::new(), busy: None, too_old: None };
        for reader in readers {
            found.look_into(&context, &reader)?;
        }
        Ok(found)
    }

    fn look_into(&mut self, context: &Context, reader: &CString) -> Result<(), TokenError> {
        let name = || reader.to_string_lossy().into_owned();
        let mut card = match context.connect(reader, ShareMode::Shared, Protocols::ANY) {
            Ok(card) => card,
            Err(Error::SharingViolation) => {
                self.busy = Some(name());
                return Ok(());
            }
            Err(error @ (Error::NoService | Error::ServiceStopped)) => {
                return Err(service_error("connect to a card", error, 0));
            }
            // No card, or one that does not answer: not a YubiKey in working order.
            Err(_) => return Ok(()),
        };
        match card.transaction().map_err(|error| service_error("connect to a card", error, 0)).and_then(
            |transaction| {
                let mut wire = Wire::new(&transaction, 0);
                let identity = identify(&wire)?;
                let Identity::YubiKey { serial, .. } = identity else { return Ok((identity, None)) };
                wire.serial = serial;
                Ok((identity, tries_left(&wire, Reference::Pin)?))
            },
        ) {
            Ok((Identity::YubiKey { serial, firmware }, pin_tries_left)) => {
                let info = CardInfo { serial, firmware, reader: name(), pin_tries_left };
                self.cards.push(Card::new(card, info));
            }
            Ok((Identity::TooOld(firmware), _)) => {
                self.too_old = Some(firmware);
                drop(card.disconnect(Disposition::LeaveCard));
            }
            Ok((Identity::Other, _)) => drop(card.disconnect(Disposition::LeaveCard)),
            Err(TokenError::NoService) => return Err(TokenError::NoService),
            // It went away or misbehaved while it was looked at: as good as not there.
            Err(_) => drop(card.disconnect(Disposition::LeaveCard)),
        }
        Ok(())
    }
}
