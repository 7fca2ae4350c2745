//! Retired key slots and what is known of the key in one.

use std::fmt;

/// One of the twenty retired key-management slots, 82 to 95 (SP 800-73-4 part 1, table 4b).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    const FIRST: u8 = 0x82;
    const LAST: u8 = 0x95;

    /// The slot with this key reference, if it is a retired one.
    pub fn new(reference: u8) -> Option<Self> {
        (Self::FIRST..=Self::LAST).contains(&reference).then_some(Self(reference))
    }

    /// All twenty, lowest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::FIRST..=Self::LAST).map(Self)
    }

    /// The key reference, 0x82 to 0x95.
    pub fn reference(self) -> u8 {
        self.0
    }

    /// age-plugin-yubikey's number for it: 1 to 20.
    pub fn number(self) -> u8 {
        self.0 - Self::FIRST + 1
    }

    /// The tag of the data object that holds its certificate: 5FC10D to 5FC120.
    pub(crate) fn object(self) -> [u8; 3] {
        [0x5f, 0xc1, 0x0d + (self.0 - Self::FIRST)]
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// When the card wants the PIN before it uses a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinPolicy {
    /// Never.
    Never,
    /// Once a session.
    Once,
    /// Immediately before each use.
    Always,
}

/// When the card wants a touch before it uses a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchPolicy {
    /// Never.
    Never,
    /// For each use.
    Always,
    /// Once, then not for 15 seconds.
    Cached,
}

impl PinPolicy {
    /// Yubico's number for it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Never => 1,
            Self::Once => 2,
            Self::Always => 3,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Never, Self::Once, Self::Always].into_iter().find(|policy| policy.code() == code)
    }
}

impl TouchPolicy {
    /// Yubico's number for it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Never => 1,
            Self::Always => 2,
            Self::Cached => 3,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Never, Self::Always, Self::Cached].into_iter().find(|policy| policy.code() == code)
    }
}

/// A P-256 key in a retired slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotKey {
    /// Where it is.
    pub slot: Slot,
    /// Its public key, SEC 1 compressed.
    pub public_key: [u8; 33],
    /// When it wants the PIN, if the card tells.
    pub pin_policy: Option<PinPolicy>,
    /// When it wants a touch, if the card tells.
    pub touch_policy: Option<TouchPolicy>,
    /// The common name in its certificate.
    pub name: Option<String>,
    /// Whether age-plugin-yubikey takes the certificate for one of its own (and so lists the key).
    pub listed_by_age: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retired_slots_only() {
        assert_eq!(Slot::new(0x81), None);
        assert_eq!(Slot::new(0x96), None);
        assert_eq!(Slot::all().count(), 20);
        let last = Slot::new(0x95).unwrap();
        assert_eq!((last.number(), last.object(), last.to_string()), (20, [0x5f, 0xc1, 0x20], "95".into()));
    }
}
