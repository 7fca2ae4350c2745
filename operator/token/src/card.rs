//! [`Card`]: one YubiKey, and the transaction each operation runs in.
//!
//! A transaction begins by selecting PIV (which forgets any verified PIN) and making sure that the serial number is still
//! the one that was opened. One in which a PIN was verified ends with a reset of the card, so that no other program can go
//! on with it.

use std::fmt;

use pcsc::{Disposition, Protocols, ShareMode, Transaction};

use crate::{
    error::TokenError,
    open::{Identity, identify},
    pin::{LastTry, Pin},
    piv::{
        certificate,
        metadata::{self, Known},
        objects,
        references::{self, Reference},
        sw,
        wire::{Command, Wire, service_error},
    },
    slot::{Slot, SlotKey},
};

/// A firmware version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Firmware {
    /// Major version.
    pub major: u8,
    /// Minor version.
    pub minor: u8,
    /// Patch version.
    pub patch: u8,
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What is known of a YubiKey that is plugged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardInfo {
    /// Serial number, as printed on it.
    pub serial: u32,
    /// Firmware version.
    pub firmware: Firmware,
    /// The reader's name.
    pub reader: String,
    /// PIN tries left, if the card tells.
    pub pin_tries_left: Option<u8>,
}

/// Certificates about a key that was generated on the card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// About the key in the slot; DER.
    pub key: Vec<u8>,
    /// About the card's own attestation key, which signed `key`; DER.
    pub card: Option<Vec<u8>>,
}

/// An open YubiKey.
pub struct Card {
    card: pcsc::Card,
    info: CardInfo,
}

/// What an operation works with: the card in its transaction.
pub(crate) struct Session<'t> {
    pub wire: Wire<'t>,
    /// A PIN was presented: reset the card afterwards.
    pub spoiled: bool,
}

impl Card {
    pub(crate) fn new(card: pcsc::Card, info: CardInfo) -> Self {
        Self { card, info }
    }

    /// What was known of it when it was opened.
    pub fn info(&self) -> &CardInfo {
        &self.info
    }

    /// Its serial number.
    pub fn serial(&self) -> u32 {
        self.info.serial
    }

    /// PIN tries left now, without spending one.
    ///
    /// # Errors
    /// When the card cannot be asked.
    pub fn pin_tries_left(&mut self) -> Result<Option<u8>, TokenError> {
        self.session(|session| references::tries_left(&session.wire, Reference::Pin))
    }

    /// How many tries the PIN has when none is spent. Not known before firmware 5.3.
    ///
    /// # Errors
    /// When the card cannot be asked.
    pub fn pin_tries_of(&mut self) -> Result<Option<u8>, TokenError> {
        self.session(|session| references::tries_of(&session.wire, Reference::Pin))
    }

    /// Whether the PIN is the factory's 123456, without spending a try. Not known before firmware 5.3.
    ///
    /// # Errors
    /// When the card cannot be asked.
    pub fn pin_is_default(&mut self) -> Result<Option<bool>, TokenError> {
        self.session(|session| references::is_default(&session.wire, Reference::Pin))
    }

    /// Whether the PUK is the factory's 12345678, without spending a try. Not known before firmware 5.3.
    ///
    /// # Errors
    /// When the card cannot be asked.
    pub fn puk_is_default(&mut self) -> Result<Option<bool>, TokenError> {
        self.session(|session| references::is_default(&session.wire, Reference::Puk))
    }

    /// Changes the PIN. The old one is presented once.
    ///
    /// # Errors
    /// When the new one is the factory's, the old one is wrong, or the last try would be spent without consent.
    pub fn change_pin(&mut self, old: &Pin, new: &Pin, consent: LastTry) -> Result<(), TokenError> {
        if new.is_factory_pin() {
            return Err(TokenError::DefaultPin { serial: self.serial() });
        }
        self.change(Reference::Pin, old, new, consent)
    }

    /// Changes the PUK. The old one is presented once.
    ///
    /// # Errors
    /// When the new one is the factory's, the old one is wrong, or the last try would be spent without consent.
    pub fn change_puk(&mut self, old: &Pin, new: &Pin, consent: LastTry) -> Result<(), TokenError> {
        if new.is_factory_puk() {
            return Err(TokenError::DefaultPuk { serial: self.serial() });
        }
        self.change(Reference::Puk, old, new, consent)
    }

    fn change(&mut self, which: Reference, old: &Pin, new: &Pin, consent: LastTry) -> Result<(), TokenError> {
        self.session(|session| {
            session.spoiled = true;
            references::change(&session.wire, which, old, new, consent)
        })
    }

    /// All P-256 keys in the retired slots, lowest slot first.
    ///
    /// # Errors
    /// When the card cannot be read.
    pub fn keys(&mut self) -> Result<Vec<SlotKey>, TokenError> {
        self.session(|session| {
            let keys: Result<Vec<_>, _> = Slot::all().map(|slot| session.key(slot)).collect();
            Ok(keys?.into_iter().flatten().collect())
        })
    }

    /// The P-256 key in a slot, if there is one.
    ///
    /// # Errors
    /// When the card cannot be read.
    pub fn key(&mut self, slot: Slot) -> Result<Option<SlotKey>, TokenError> {
        self.session(|session| session.key(slot))
    }

    /// The card's certificates about a key, if it was generated on the card.
    ///
    /// # Errors
    /// When the card cannot be read.
    pub fn attestation(&mut self, slot: Slot) -> Result<Option<Attestation>, TokenError> {
        self.session(|session| {
            let Some(key) = session.attest(slot)? else { return Ok(None) };
            let object = objects::get(&session.wire, objects::ATTESTATION_CERTIFICATE)?;
            let card = object.and_then(|object| certificate::der_in_object(&object).map(<[u8]>::to_vec));
            Ok(Some(Attestation { key, card }))
        })
    }

    /// Runs one operation in a transaction of its own.
    pub(crate) fn session<T>(
        &mut self,
        work: impl FnOnce(&mut Session<'_>) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        const OPERATION: &str = "begin work with the card";
        let serial = self.serial();
        // A reset since the last operation (ours included) is no harm: nothing is remembered between operations.
        let reset = matches!(self.card.transaction(), Err(pcsc::Error::ResetCard));
        if reset {
            self.card
                .reconnect(ShareMode::Shared, Protocols::ANY, Disposition::LeaveCard)
                .map_err(|error| service_error(OPERATION, error, serial))?;
        }
        let transaction = self.card.transaction().map_err(|error| service_error(OPERATION, error, serial))?;
        let (result, spoiled) = run(&transaction, serial, work);
        let end = if spoiled { Disposition::ResetCard } else { Disposition::LeaveCard };
        // The work is done or has failed with a better reason; a card gone by now changes neither.
        drop(transaction.end(end));
        result
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Card").field("info", &self.info).finish_non_exhaustive()
    }
}

fn run<T>(
    transaction: &Transaction<'_>,
    serial: u32,
    work: impl FnOnce(&mut Session<'_>) -> Result<T, TokenError>,
) -> (Result<T, TokenError>, bool) {
    let mut session = Session { wire: Wire::new(transaction, serial), spoiled: false };
    let result = match identify(&session.wire) {
        Ok(Identity::YubiKey { serial: now, .. }) if now == serial => work(&mut session),
        Ok(Identity::YubiKey { serial: now, .. }) => {
            Err(TokenError::WrongCard { wanted: serial, present: vec![now] })
        }
        Ok(Identity::TooOld(firmware)) => Err(TokenError::UnsupportedFirmware { firmware }),
        Ok(Identity::Other) => Err(TokenError::SessionLost { serial }),
        Err(error) => Err(error),
    };
    (result, session.spoiled)
}

impl Session<'_> {
    /// The P-256 key in a slot. Firmware 5.3 and later tells all itself; before, the certificate tells, and for those not
    /// made by age-plugin-yubikey the attestation tells the policies.
    pub fn key(&self, slot: Slot) -> Result<Option<SlotKey>, TokenError> {
        let known = metadata::read(&self.wire, slot.reference())?;
        if known == Known::Empty {
            return Ok(None);
        }
        let object = objects::get(&self.wire, slot.object())?;
        let told =
            object.as_deref().and_then(|object| certificate::read(certificate::der_in_object(object)?));
        let (point, mut policies) = match (&known, &told) {
            (Known::Present(metadata), _) if metadata.is_p256() => (metadata.point, metadata.policies),
            (Known::Unsupported, Some(told)) => (told.point, told.policies),
            _ => return Ok(None),
        };
        let Some(public_key) = point.and_then(|point| compress(&point)) else { return Ok(None) };
        let listed_by_age = told.as_ref().is_some_and(|told| told.listed_by_age);
        if known == Known::Unsupported && !listed_by_age {
            let attested = self.attest(slot)?.and_then(|der| certificate::read(&der));
            policies = attested.map_or((None, None), |attested| attested.policies);
        }
        Ok(Some(SlotKey {
            slot,
            public_key,
            pin_policy: policies.0,
            touch_policy: policies.1,
            name: told.and_then(|told| told.name),
            listed_by_age,
        }))
    }

    /// Whether a key or a certificate is in a slot.
    pub fn is_occupied(&self, slot: Slot) -> Result<bool, TokenError> {
        let key = match metadata::read(&self.wire, slot.reference())? {
            Known::Present(_) => true,
            Known::Empty => false,
            Known::Unsupported => self.attest(slot)?.is_some(),
        };
        Ok(key || objects::get(&self.wire, slot.object())?.is_some())
    }

    fn attest(&self, slot: Slot) -> Result<Option<Vec<u8>>, TokenError> {
        let operation = "attest a key";
        let answer =
            self.wire.ask(&Command { operation, ins: 0xf9, p1: slot.reference(), p2: 0, data: &[] })?;
        // What a card says of an empty slot and of an imported key differs by firmware.
        Ok((answer.sw == sw::OK).then(|| answer.data.to_vec()))
    }
}

/// The compressed form of an uncompressed point, if it is on the curve.
pub(crate) fn compress(point: &[u8]) -> Option<[u8; 33]> {
    use p256::elliptic_curve::sec1::ToEncodedPoint;
    let key = p256::PublicKey::from_sec1_bytes(point).ok()?;
    key.to_encoded_point(true).as_bytes().try_into().ok()
}
