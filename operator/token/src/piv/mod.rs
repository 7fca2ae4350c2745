//! The PIV application as commands and answers; knows cards only as something that answers APDUs.

pub mod certificate;
pub mod management;
pub mod metadata;
pub mod objects;
pub mod references;
pub mod tlv;
pub mod wire;

/// PIV's application identifier, without the version at its end.
pub const PIV: &[u8] = &[0xa0, 0x00, 0x00, 0x03, 0x08];
/// Yubico's OTP applet, which tells the serial number on firmware 4.
pub const OTP: &[u8] = &[0xa0, 0x00, 0x00, 0x05, 0x27, 0x20, 0x01];
/// P-256 (SP 800-78-4 table 6-2).
pub const P256: u8 = 0x11;

/// Status words with a meaning here (SP 800-73-4 part 2, table 6).
pub mod sw {
    pub const OK: u16 = 0x9000;
    pub const SECURITY_STATUS: u16 = 0x6982;
    pub const BLOCKED: u16 = 0x6983;
    pub const CONDITIONS: u16 = 0x6985;
    pub const NOT_FOUND: u16 = 0x6a82;
    pub const REFERENCE_NOT_FOUND: u16 = 0x6a88;
    pub const INS_UNKNOWN: u16 = 0x6d00;
    pub const CLA_UNKNOWN: u16 = 0x6e00;

    /// The tries left in a `63Cx`.
    pub fn tries(sw: u16) -> Option<u8> {
        (sw & 0xfff0 == 0x63c0).then_some((sw & 0x0f) as u8)
    }
}
