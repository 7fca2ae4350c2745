//! The APDU log: what was sent to the card and how it answered, for tests to read.
//!
//! PIN, PUK and key material never enter the log: commands that carry them are recorded with their length only.

use std::{fmt, time::Instant};

/// One command and its answer.
#[derive(Clone)]
pub struct Entry {
    /// When it arrived.
    pub at: Instant,
    /// Instruction byte.
    pub ins: u8,
    /// First parameter.
    pub p1: u8,
    /// Second parameter.
    pub p2: u8,
    /// Length of the command's data.
    pub length: usize,
    /// The command's data, unless the instruction carries secrets.
    pub data: Option<Vec<u8>>,
    /// The answer's status word; 0 when the card was gone before it answered.
    pub sw: u16,
}

impl Entry {
    pub(crate) fn new(ins: u8, p1: u8, p2: u8, data: &[u8]) -> Self {
        let secret = carries_secrets(ins) || is_printed_object(ins, data) || is_import(ins, data);
        Self {
            at: Instant::now(),
            ins,
            p1,
            p2,
            length: data.len(),
            data: (!secret).then(|| data.to_vec()),
            sw: 0,
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x} {:02x}{:02x} ", self.ins, self.p1, self.p2)?;
        match &self.data {
            Some(data) => data.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?,
            None => write!(f, "[{} bytes withheld]", self.length)?,
        }
        write!(f, " -> {:04x}", self.sw)
    }
}

/// VERIFY, CHANGE REFERENCE, RESET RETRY, IMPORT and SET MANAGEMENT KEY.
fn carries_secrets(ins: u8) -> bool {
    matches!(ins, 0x20 | 0x24 | 0x2c | 0xfe | 0xff)
}

/// PUT DATA of the PIN-protected object that may hold the management key.
fn is_printed_object(ins: u8, data: &[u8]) -> bool {
    ins == 0xdb && data.starts_with(&[0x5c, 0x03, 0x5f, 0xc1, 0x09])
}

/// PUT DATA of an OpenPGP key.
fn is_import(ins: u8, data: &[u8]) -> bool {
    ins == 0xdb && data.first() == Some(&0x4d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_do_not_enter_the_log() {
        let entry = Entry::new(0x20, 0, 0x80, b"424242\xff\xff");
        assert_eq!(format!("{entry:?}"), "20 0080 [8 bytes withheld] -> 0000");
        assert!(entry.data.is_none());
        assert!(Entry::new(0xdb, 0x3f, 0xff, &[0x5c, 3, 0x5f, 0xc1, 9, 0x53, 0]).data.is_none());
        assert!(Entry::new(0xdb, 0x3f, 0xff, &[0x4d, 2, 0xb8, 0]).data.is_none());
        assert!(Entry::new(0xcb, 0x3f, 0xff, &[0x5c]).data.is_some());
    }
}
