//! ISO 7816-4 commands as they arrive on the wire (short and extended), command chaining and response chaining.

/// A status word.
pub type Sw = u16;

pub const OK: Sw = 0x9000;
pub const WRONG_LENGTH: Sw = 0x6700;
pub const SECURITY_STATUS: Sw = 0x6982;
pub const BLOCKED: Sw = 0x6983;
pub const CONDITIONS: Sw = 0x6985;
pub const WRONG_DATA: Sw = 0x6a80;
pub const NOT_FOUND: Sw = 0x6a82;
pub const NO_SPACE: Sw = 0x6a84;
pub const WRONG_P1P2: Sw = 0x6a86;
pub const REFERENCE_NOT_FOUND: Sw = 0x6a88;
pub const INS_UNKNOWN: Sw = 0x6d00;
pub const CLA_UNKNOWN: Sw = 0x6e00;

/// `63Cx`: wrong, with so many tries left.
pub fn tries_left(tries: u8) -> Sw {
    0x63c0 | Sw::from(tries.min(15))
}

/// One complete command, chained parts joined.
#[derive(Clone)]
pub struct Command {
    pub ins: u8,
    pub p1: u8,
    pub p2: u8,
    pub data: Vec<u8>,
}

/// What to make of the bytes of one command APDU.
pub enum Parsed {
    /// A whole command.
    Whole(Command),
    /// A part of a chained command; more follow.
    Part,
    /// Not a command this card understands.
    Refused(Sw),
}

/// Joins chained command parts and splits long answers.
#[derive(Default)]
pub struct Chaining {
    parts: Vec<u8>,
    pending: Vec<u8>,
}

const MOST_CHAINED: usize = 16 * 1024;
const SHORT_ANSWER: usize = 256;

impl Chaining {
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Reads one APDU.
    pub fn accept(&mut self, raw: &[u8]) -> Parsed {
        let [cla, ins, p1, p2, body @ ..] = raw else { return Parsed::Refused(WRONG_LENGTH) };
        if cla & !0x10 != 0 {
            return Parsed::Refused(CLA_UNKNOWN);
        }
        let Some(data) = data_field(body) else { return Parsed::Refused(WRONG_LENGTH) };
        if self.parts.len() + data.len() > MOST_CHAINED {
            self.parts.clear();
            return Parsed::Refused(NO_SPACE);
        }
        self.parts.extend_from_slice(data);
        if cla & 0x10 != 0 {
            return Parsed::Part;
        }
        Parsed::Whole(Command { ins: *ins, p1: *p1, p2: *p2, data: std::mem::take(&mut self.parts) })
    }

    /// The bytes to send for an answer: at most 256 of data, the rest kept for GET RESPONSE.
    pub fn answer(&mut self, data: Vec<u8>, sw: Sw) -> Vec<u8> {
        self.pending = data;
        self.next(sw)
    }

    /// GET RESPONSE.
    pub fn more(&mut self) -> Vec<u8> {
        self.next(OK)
    }

    fn next(&mut self, last: Sw) -> Vec<u8> {
        let rest = self.pending.split_off(self.pending.len().min(SHORT_ANSWER));
        let mut out = std::mem::replace(&mut self.pending, rest);
        let sw = match self.pending.len() {
            0 => last,
            left => 0x6100 | left.min(0xff) as Sw,
        };
        out.extend(sw.to_be_bytes());
        out
    }
}

/// The data field of the part after the header; `None` when the lengths do not add up.
fn data_field(body: &[u8]) -> Option<&[u8]> {
    match body {
        [] | [_] | [0, _, _] => Some(&[]),
        [0, high, low, rest @ ..] => {
            let length = usize::from(*high) << 8 | usize::from(*low);
            rest.get(..length).filter(|_| matches!(rest.len() - length, 0 | 2))
        }
        [length, rest @ ..] => {
            let length = usize::from(*length);
            rest.get(..length).filter(|_| rest.len() - length <= 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(chaining: &mut Chaining, raw: &[u8]) -> Command {
        match chaining.accept(raw) {
            Parsed::Whole(command) => command,
            _ => panic!("not whole"),
        }
    }

    #[test]
    fn chained_parts_are_joined() {
        let mut chaining = Chaining::default();
        assert!(matches!(chaining.accept(&[0x10, 0xdb, 0x3f, 0xff, 2, 1, 2]), Parsed::Part));
        assert_eq!(whole(&mut chaining, &[0, 0xdb, 0x3f, 0xff, 1, 3]).data, [1, 2, 3]);
        assert_eq!(whole(&mut chaining, &[0, 0xdb, 0x3f, 0xff, 1, 9]).data, [9]);
    }

    #[test]
    fn short_and_extended_lengths() {
        let mut chaining = Chaining::default();
        assert!(whole(&mut chaining, &[0, 0xfd, 0, 0]).data.is_empty());
        assert!(whole(&mut chaining, &[0, 0xfd, 0, 0, 0]).data.is_empty());
        assert_eq!(whole(&mut chaining, &[0, 1, 0, 0, 2, 7, 8, 0]).data, [7, 8]);
        assert_eq!(whole(&mut chaining, &[0, 1, 0, 0, 0, 0, 2, 7, 8]).data, [7, 8]);
        assert!(matches!(chaining.accept(&[0, 1, 0, 0, 5, 1]), Parsed::Refused(WRONG_LENGTH)));
        assert!(matches!(chaining.accept(&[0x80, 1, 0, 0]), Parsed::Refused(CLA_UNKNOWN)));
    }

    #[test]
    fn long_answers_come_in_pieces() {
        let mut chaining = Chaining::default();
        let first = chaining.answer(vec![5; 300], OK);
        assert_eq!((first.len(), &first[256..]), (258, &[0x61, 44][..]));
        let last = chaining.more();
        assert_eq!((last.len(), &last[44..]), (46, &[0x90, 0x00][..]));
    }
}
