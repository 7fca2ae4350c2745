//! PIN and PUK: retry counters, VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER and Yubico's SET RETRIES.

use super::{
    Answer, Card,
    apdu::{
        BLOCKED, Command, OK, REFERENCE_NOT_FOUND, SECURITY_STATUS, Sw, WRONG_DATA, WRONG_P1P2, tries_left,
    },
};

pub const PIN: u8 = 0x80;
pub const PUK: u8 = 0x81;
const LENGTH: usize = 8;

/// A PIN or PUK as the card keeps it: padded to eight bytes with FF, and a retry counter.
#[derive(Clone)]
pub struct Reference {
    value: [u8; LENGTH],
    factory: [u8; LENGTH],
    pub tries: u8,
    pub left: u8,
}

impl Reference {
    pub fn factory_pin() -> Self {
        Self::new(padded(b"123456"), padded(b"123456"), 3)
    }

    pub fn factory_puk() -> Self {
        Self::new(padded(b"12345678"), padded(b"12345678"), 3)
    }

    fn new(value: [u8; LENGTH], factory: [u8; LENGTH], tries: u8) -> Self {
        Self { value, factory, tries, left: tries }
    }

    /// Sets the value (at most eight bytes of it are kept).
    pub fn set(&mut self, value: &[u8]) {
        self.value = padded(value);
        self.left = self.tries;
    }

    pub fn set_tries(&mut self, tries: u8) {
        (self.tries, self.left) = (tries, tries);
    }

    pub fn blocked(&self) -> bool {
        self.left == 0
    }

    pub fn is_default(&self) -> bool {
        self.value == self.factory
    }

    /// Compares; a wrong value costs a try, the right one restores all.
    fn attempt(&mut self, value: &[u8]) -> Result<(), Sw> {
        if self.blocked() {
            return Err(BLOCKED);
        }
        if self.value == value {
            self.left = self.tries;
            return Ok(());
        }
        self.left -= 1;
        Err(if self.blocked() { BLOCKED } else { tries_left(self.left) })
    }
}

fn padded(value: &[u8]) -> [u8; LENGTH] {
    let mut out = [0xff; LENGTH];
    for (to, from) in out.iter_mut().zip(value) {
        *to = *from;
    }
    out
}

fn well_formed(value: &[u8]) -> bool {
    let digits = value.iter().take_while(|&&byte| byte != 0xff).count();
    value.len() == LENGTH && digits >= 6 && value[digits..].iter().all(|&byte| byte == 0xff)
}

impl Card {
    pub(super) fn verify(&mut self, command: &Command) -> Answer {
        match (command.p1, command.p2, command.data.len()) {
            (0xff, PIN, 0) => {
                self.session.pin_verified = false;
                OK.into()
            }
            (0x00, PIN, 0) if self.session.pin_verified => OK.into(),
            (0x00, PIN, 0) if self.pin.blocked() => BLOCKED.into(),
            (0x00, PIN, 0) => tries_left(self.pin.left).into(),
            (0x00, PIN, LENGTH) => {
                self.counters.pin_attempts += 1;
                let verdict = self.pin.attempt(&command.data);
                (self.session.pin_verified, self.session.pin_fresh) = (verdict.is_ok(), verdict.is_ok());
                verdict.err().unwrap_or(OK).into()
            }
            (0x00, PIN, _) => WRONG_DATA.into(),
            (0x00, _, _) => REFERENCE_NOT_FOUND.into(),
            _ => WRONG_P1P2.into(),
        }
    }

    pub(super) fn change_reference(&mut self, command: &Command) -> Answer {
        let Some((old, new)) = halves(command) else { return WRONG_DATA.into() };
        let reference = match command.p2 {
            PIN => {
                self.counters.pin_attempts += 1;
                &mut self.pin
            }
            PUK => {
                self.counters.puk_attempts += 1;
                &mut self.puk
            }
            _ => return REFERENCE_NOT_FOUND.into(),
        };
        match reference.attempt(old) {
            Ok(()) if well_formed(new) => {
                reference.set(new);
                OK.into()
            }
            Ok(()) => WRONG_DATA.into(),
            Err(sw) => sw.into(),
        }
    }

    pub(super) fn reset_retry(&mut self, command: &Command) -> Answer {
        let Some((puk, new)) = halves(command) else { return WRONG_DATA.into() };
        if command.p2 != PIN {
            return REFERENCE_NOT_FOUND.into();
        }
        self.counters.puk_attempts += 1;
        match self.puk.attempt(puk) {
            Ok(()) if well_formed(new) => {
                self.pin.set(new);
                OK.into()
            }
            Ok(()) => WRONG_DATA.into(),
            Err(sw) => sw.into(),
        }
    }

    /// SET RETRIES needs both the management key and the PIN, and puts both references back to their defaults.
    pub(super) fn set_retries(&mut self, command: &Command) -> Answer {
        if !self.session.management_authenticated || !self.session.pin_verified {
            return SECURITY_STATUS.into();
        }
        if command.p1 == 0 || command.p2 == 0 {
            return WRONG_P1P2.into();
        }
        (self.pin, self.puk) = (Reference::factory_pin(), Reference::factory_puk());
        self.pin.set_tries(command.p1);
        self.puk.set_tries(command.p2);
        OK.into()
    }
}

/// The old and the new value; the old one is tried first, whatever the new one looks like.
fn halves(command: &Command) -> Option<(&[u8], &[u8])> {
    (command.p1 == 0 && command.data.len() == 2 * LENGTH).then(|| command.data.split_at(LENGTH))
}
