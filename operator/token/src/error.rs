//! [`TokenError`]: what can go wrong with a card, in two lines for people: what failed (`Display`), what to do next ([`TokenError::help`]).

use crate::{card::Firmware, slot::Slot};

/// What failed, and with which card. No variant carries anything secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The system's smart card service is not there.
    #[error("the smart card service (pcscd) is not running")]
    NoService,
    /// No reader at all: a YubiKey brings its own.
    #[error("no smart card reader is connected")]
    NoReader,
    /// Readers, but no YubiKey in any.
    #[error("no YubiKey is plugged in")]
    NoCard,
    /// Another program holds the card exclusively.
    #[error("another program holds the card in {reader}")]
    Busy {
        /// The reader's name.
        reader: String,
    },
    /// Several cards, none chosen.
    #[error("{} YubiKeys are plugged in: {}", serials.len(), list(serials))]
    SeveralCards {
        /// Their serial numbers.
        serials: Vec<u32>,
    },
    /// The wanted card is not among those present.
    #[error("YubiKey {wanted} is not plugged in, but {} is", list(present))]
    WrongCard {
        /// The serial number asked for.
        wanted: u32,
        /// Those present.
        present: Vec<u32>,
    },
    /// The key's policy wants the PIN and none was given.
    #[error("the key in slot {slot} of YubiKey {serial} needs the PIN")]
    PinRequired {
        /// The card.
        serial: u32,
        /// The slot.
        slot: Slot,
    },
    /// A wrong PIN; it has cost a try and was not tried again.
    #[error("wrong PIN for YubiKey {serial}, {} left", tries(*tries_left))]
    WrongPin {
        /// The card.
        serial: u32,
        /// Tries left now.
        tries_left: u8,
    },
    /// One try left and no consent to spend it: nothing was sent to the card.
    #[error("YubiKey {serial} has one try left for its PIN, and it was not spent")]
    LastTry {
        /// The card.
        serial: u32,
    },
    /// No tries left.
    #[error("the PIN of YubiKey {serial} is blocked")]
    PinBlocked {
        /// The card.
        serial: u32,
    },
    /// A wrong PUK; it has cost a try.
    #[error("wrong PUK for YubiKey {serial}, {} left", tries(*tries_left))]
    WrongPuk {
        /// The card.
        serial: u32,
        /// Tries left now.
        tries_left: u8,
    },
    /// One try left for the PUK and no consent to spend it.
    #[error("YubiKey {serial} has one try left for its PUK, and it was not spent")]
    LastPukTry {
        /// The card.
        serial: u32,
    },
    /// The PUK is blocked.
    #[error("the PUK of YubiKey {serial} is blocked")]
    PukBlocked {
        /// The card.
        serial: u32,
    },
    /// The PIN is still the one from the factory (or the new one would be).
    #[error("YubiKey {serial} has the default PIN")]
    DefaultPin {
        /// The card.
        serial: u32,
    },
    /// The PUK is still the one from the factory: whoever holds the card could set a new PIN.
    #[error("YubiKey {serial} has the default PUK")]
    DefaultPuk {
        /// The card.
        serial: u32,
    },
    /// Nobody touched the card in time.
    #[error("YubiKey {serial} was not touched in time")]
    TouchTimedOut {
        /// The card.
        serial: u32,
    },
    /// The card was pulled.
    #[error("YubiKey {serial} was removed while it was working")]
    Removed {
        /// The card.
        serial: u32,
    },
    /// Another program or applet took the card over in the middle.
    #[error("another program took over YubiKey {serial} in the middle")]
    SessionLost {
        /// The card.
        serial: u32,
    },
    /// No key in the slot.
    #[error("slot {slot} of YubiKey {serial} holds no P-256 key")]
    SlotEmpty {
        /// The card.
        serial: u32,
        /// The slot.
        slot: Slot,
    },
    /// A key or certificate is in the slot already.
    #[error("slot {slot} of YubiKey {serial} is in use")]
    SlotOccupied {
        /// The card.
        serial: u32,
        /// The slot.
        slot: Slot,
    },
    /// All twenty retired slots are in use.
    #[error("all retired slots of YubiKey {serial} are in use")]
    NoFreeSlot {
        /// The card.
        serial: u32,
    },
    /// Neither the default nor a PIN-protected management key opens the card.
    #[error("the management key of YubiKey {serial} is not known")]
    ManagementKeyUnknown {
        /// The card.
        serial: u32,
    },
    /// The object that would hold the PIN-protected management key holds something else.
    #[error("YubiKey {serial} keeps other data where its management key would be stored")]
    ForeignObject {
        /// The card.
        serial: u32,
    },
    /// A YubiKey too old for what is needed.
    #[error("a YubiKey with firmware {firmware} is not supported")]
    UnsupportedFirmware {
        /// Its firmware.
        firmware: Firmware,
    },
    /// The other side's public key is no point on P-256.
    #[error("the peer's public key is not a point on P-256")]
    BadPeer,
    /// A certificate name nobody can read.
    #[error("a key's name must be 1 to 64 characters without control characters")]
    BadName,
    /// A management key whose length does not fit the card's algorithm.
    #[error("the given management key is not one YubiKey {serial} can have")]
    BadManagementKey {
        /// The card.
        serial: u32,
    },
    /// The card's answer makes no sense.
    #[error("{operation}: YubiKey {serial} gave an answer that makes no sense")]
    Answer {
        /// The card.
        serial: u32,
        /// What was asked of it.
        operation: &'static str,
    },
    /// The card refused for a reason not told apart here.
    #[error("{operation}: YubiKey {serial} refused with status {status:04x}")]
    Status {
        /// The card.
        serial: u32,
        /// What was asked of it.
        operation: &'static str,
        /// ISO 7816-4 status word.
        status: u16,
    },
    /// The smart card service refused for a reason not told apart here.
    #[error("{operation}: the smart card service failed: {source}")]
    Service {
        /// What was asked of it.
        operation: &'static str,
        /// Its reason.
        #[source]
        source: pcsc::Error,
    },
}

/// Both ways to do it.
const SET_YOUR_OWN: &str =
    "set one of your own: creating a keyring and enrolling ask for one, and so does ykman piv access";

impl TokenError {
    /// What a person can do next: one line.
    pub fn help(&self) -> String {
        match self {
            Self::NoService => "start it (systemctl start pcscd.socket), or install it (package pcscd)".into(),
            Self::NoReader | Self::NoCard => {
                "plug the YubiKey in; if it is, check that its CCID interface is on (ykman config usb)".into()
            }
            Self::Busy { .. } => {
                "close what uses it; for GnuPG: gpgconf --kill scdaemon, then try again".into()
            }
            Self::SeveralCards { serials } => {
                format!("choose one with --serial, for instance --serial {}", serials.first().unwrap_or(&0))
            }
            Self::WrongCard { wanted, .. } => {
                format!("plug in YubiKey {wanted}, or choose another with --serial")
            }
            Self::PinRequired { .. } => "try again and give the PIN".into(),
            Self::WrongPin { .. } => "check which YubiKey this is, then try again with its PIN".into(),
            Self::LastTry { .. } => {
                "another wrong PIN blocks it: be sure of the PIN and consent to spending the last try, or set a new PIN \
                 with the PUK (ykman piv access unblock-pin)"
                    .into()
            }
            Self::PinBlocked { .. } => "set a new PIN with the PUK: ykman piv access unblock-pin".into(),
            Self::WrongPuk { .. } => "check which YubiKey this is, then try again with its PUK".into(),
            Self::LastPukTry { .. } => "another wrong PUK blocks it: be sure of it and consent first".into(),
            Self::PukBlocked { .. } => {
                "the PIN still works; a PUK can be set again only by resetting PIV, which destroys its keys".into()
            }
            Self::DefaultPin { .. } => format!("{SET_YOUR_OWN} change-pin"),
            Self::DefaultPuk { .. } => format!("{SET_YOUR_OWN} change-puk"),
            Self::TouchTimedOut { .. } => "try again and touch the YubiKey when it blinks".into(),
            Self::Removed { .. } => "plug it in again, leave it in, and try again".into(),
            Self::SessionLost { .. } => "close other programs that use the YubiKey and try again".into(),
            Self::SlotEmpty { .. } => "check the slot and the serial number; enrol this YubiKey if it is new".into(),
            Self::SlotOccupied { .. } => {
                "leave the slot out to use the next free one, or say that its key may be destroyed".into()
            }
            Self::NoFreeSlot { .. } => "name a slot whose key may be destroyed, or use another YubiKey".into(),
            Self::ManagementKeyUnknown { .. } => {
                "give the management key, or store it on the card: ykman piv access change-management-key --protect".into()
            }
            Self::ForeignObject { .. } => {
                "protect the management key yourself (ykman piv access change-management-key) and give it".into()
            }
            Self::UnsupportedFirmware { .. } => "use a YubiKey with firmware 4.3 or later".into(),
            Self::BadPeer => "the file is damaged or made for something else: get it again".into(),
            Self::BadName => "choose another name".into(),
            Self::BadManagementKey { .. } => "check its length: 24 bytes for 3DES and AES-192".into(),
            Self::Answer { .. } | Self::Status { .. } | Self::Service { .. } => {
                "unplug the YubiKey, plug it in and try again; if it stays so, report this message".into()
            }
        }
    }
}

fn list(serials: &[u32]) -> String {
    serials.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn tries(left: u8) -> String {
    if left == 1 { "1 try".into() } else { format!("{left} tries") }
}
