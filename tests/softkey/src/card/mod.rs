//! The card itself: everything a YubiKey's PIV applet remembers, and which function answers which instruction. Its OpenPGP
//! applet is [`openpgp`].
//!
//! Follows SP 800-73-4 part 2 and Yubico's published PIV extensions. Knows nothing of readers, sockets or time-outs:
//! [`crate::key`] decides when a touch has been given and hands complete commands to [`Card::perform`].

pub mod apdu;
mod attestation;
mod info;
mod keys;
mod management;
mod objects;
mod openpgp;
mod references;
#[cfg(test)]
mod tests;
pub mod tlv;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use apdu::{CONDITIONS, Command, INS_UNKNOWN, NOT_FOUND, OK, Sw};
pub use attestation::Authority;
pub use keys::SlotKey;
pub use management::ManagementKey;
pub use references::Reference;

/// A firmware version: major, minor, patch.
pub type Firmware = (u8, u8, u8);

/// How long a touch is remembered under the touch policy "cached".
pub const TOUCH_CACHE: Duration = Duration::from_secs(15);

const PIV: &[u8] = &[0xa0, 0x00, 0x00, 0x03, 0x08];
const MANAGEMENT: &[u8] = &[0xa0, 0x00, 0x00, 0x05, 0x27, 0x47, 0x11, 0x17];
const OTP: &[u8] = &[0xa0, 0x00, 0x00, 0x05, 0x27, 0x20, 0x01];

/// An answer: data and a status word.
pub struct Answer {
    pub data: Vec<u8>,
    pub sw: Sw,
}

impl Answer {
    pub fn data(data: Vec<u8>) -> Self {
        Self { data, sw: OK }
    }
}

impl From<Sw> for Answer {
    fn from(sw: Sw) -> Self {
        Self { data: Vec::new(), sw }
    }
}

/// What a card did, for tests to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Complete commands received.
    pub commands: u64,
    /// Operations with a private key in a slot, successful ones only: agreements and signatures.
    pub private_key_operations: u64,
    /// ECDH operations among them.
    pub key_agreements: u64,
    /// ECDSA operations among them.
    pub signatures: u64,
    /// VERIFY commands that carried a PIN, right or wrong.
    pub pin_attempts: u64,
    /// Attempts at the PUK, right or wrong.
    pub puk_attempts: u64,
    /// Attempts to authenticate with the management key, right or wrong.
    pub management_attempts: u64,
    /// Commands that waited for a touch.
    pub touches_wanted: u64,
    /// VERIFY commands of the OpenPGP applet that carried the user's PIN, right or wrong.
    pub openpgp_pin_attempts: u64,
    /// Operations with the OpenPGP applet's decryption key.
    pub decipherments: u64,
    /// Times the card lost power or was reset.
    pub power_losses: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Applet {
    Piv,
    Management,
    Otp,
    OpenPgp,
}

/// What is gone when the power goes.
#[derive(Default)]
struct Session {
    applet: Option<Applet>,
    pin_verified: bool,
    /// The command just before this one was a successful VERIFY.
    pin_fresh: bool,
    management_authenticated: bool,
    challenge: Option<management::Challenge>,
    last_touch: Option<Instant>,
    openpgp: openpgp::Verified,
}

/// One software YubiKey.
pub struct Card {
    pub serial: u32,
    pub firmware: Firmware,
    pub pin: Reference,
    pub puk: Reference,
    pub management: ManagementKey,
    pub slots: BTreeMap<u8, SlotKey>,
    pub objects: BTreeMap<Vec<u8>, Vec<u8>>,
    pub authority: Authority,
    openpgp: openpgp::OpenPgp,
    pub counters: Counters,
    session: Session,
}

impl Card {
    pub fn new(
        serial: u32,
        firmware: Firmware,
        pin: Reference,
        puk: Reference,
        management: ManagementKey,
    ) -> Self {
        let authority = Authority::new();
        let mut objects = BTreeMap::new();
        objects.insert(objects::ATTESTATION_CERTIFICATE.to_vec(), authority.stored_certificate());
        Self {
            serial,
            firmware,
            pin,
            puk,
            management,
            slots: BTreeMap::new(),
            objects,
            authority,
            openpgp: openpgp::OpenPgp::factory(),
            counters: Counters::default(),
            session: Session::default(),
        }
    }

    /// The power went, or the card was reset: nothing verified is remembered.
    pub fn power_loss(&mut self) {
        self.counters.power_losses += 1;
        self.session = Session::default();
    }

    /// Whether this command waits for a touch before it is performed.
    pub fn wants_touch(&self, command: &Command) -> bool {
        self.session.applet == Some(Applet::Piv)
            && command.ins == 0x87
            && self.touch_policy_of(command).is_some_and(|policy| match policy {
                keys::TOUCH_ALWAYS => true,
                keys::TOUCH_CACHED => self.session.last_touch.is_none_or(|at| at.elapsed() >= TOUCH_CACHE),
                _ => false,
            })
    }

    /// The person touched the key.
    pub fn touched(&mut self) {
        self.session.last_touch = Some(Instant::now());
    }

    /// Performs one complete command.
    pub fn perform(&mut self, command: &Command) -> Answer {
        self.counters.commands += 1;
        let fresh = std::mem::take(&mut self.session.pin_fresh);
        if command.ins == 0xa4 {
            return self.select(command);
        }
        match self.session.applet {
            Some(Applet::Piv) => self.piv(command, fresh),
            Some(Applet::OpenPgp) => self.openpgp(command),
            Some(Applet::Management) if command.ins == 0x1d => self.read_config(),
            Some(Applet::Otp) if (command.ins, command.p1) == (0x01, 0x10) => {
                Answer::data(self.serial.to_be_bytes().to_vec())
            }
            Some(_) => INS_UNKNOWN.into(),
            None => CONDITIONS.into(),
        }
    }

    fn piv(&mut self, command: &Command, fresh: bool) -> Answer {
        match command.ins {
            0x20 => self.verify(command),
            0x24 => self.change_reference(command),
            0x2c => self.reset_retry(command),
            0x47 => self.generate(command),
            0x87 if command.p2 == management::SLOT => self.authenticate_management(command),
            0x87 => self.use_private_key(command, fresh),
            0xcb => self.get_data(command),
            0xdb => self.put_data(command),
            0xf7 if self.at_least((5, 3, 0)) => self.metadata(command),
            0xf8 if self.at_least((5, 0, 0)) => Answer::data(self.serial.to_be_bytes().to_vec()),
            0xf9 if self.at_least((4, 3, 0)) => self.attest(command),
            0xfa => self.set_retries(command),
            0xfb => self.reset(),
            0xfd => Answer::data(vec![self.firmware.0, self.firmware.1, self.firmware.2]),
            0xfe => self.import(command),
            0xff => self.set_management_key(command),
            _ => INS_UNKNOWN.into(),
        }
    }

    fn select(&mut self, command: &Command) -> Answer {
        let known = [
            (PIV, Applet::Piv),
            (MANAGEMENT, Applet::Management),
            (OTP, Applet::Otp),
            (openpgp::AID, Applet::OpenPgp),
        ];
        let Some((_, applet)) = known.into_iter().find(|(aid, _)| command.data.starts_with(aid)) else {
            return NOT_FOUND.into();
        };
        let last_touch = self.session.last_touch;
        self.session = Session { applet: Some(applet), last_touch, ..Session::default() };
        Answer::data(match applet {
            Applet::Piv => info::piv_properties(),
            Applet::Management => info::management_banner(self.firmware).into_bytes(),
            Applet::OpenPgp => Vec::new(),
            Applet::Otp => vec![self.firmware.0, self.firmware.1, self.firmware.2, 0, 0, 0, 0],
        })
    }

    fn at_least(&self, firmware: Firmware) -> bool {
        self.firmware >= firmware
    }

    /// RESET: only when both the PIN and the PUK are blocked; afterwards the card is as from the factory.
    fn reset(&mut self) -> Answer {
        if !self.pin.blocked() || !self.puk.blocked() {
            return CONDITIONS.into();
        }
        let counters = self.counters;
        let authority = std::mem::take(&mut self.authority);
        let openpgp = std::mem::replace(&mut self.openpgp, openpgp::OpenPgp::factory());
        let management = ManagementKey::factory(self.firmware);
        *self = Self::new(
            self.serial,
            self.firmware,
            Reference::factory_pin(),
            Reference::factory_puk(),
            management,
        );
        self.objects.insert(objects::ATTESTATION_CERTIFICATE.to_vec(), authority.stored_certificate());
        (self.counters, self.authority, self.openpgp) = (counters, authority, openpgp);
        self.session.applet = Some(Applet::Piv);
        OK.into()
    }
}
