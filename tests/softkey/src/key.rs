//! [`SoftKey`]: one software YubiKey in a person's hand: to configure, to plug in, to touch or not, to ask what it did.
//!
//! All state is in memory and shared by the clones of the handle. Between [`crate::link`] (bytes from the reader) and
//! [`crate::card`] (what a command means); touches and planned faults happen here.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    builder::Builder,
    card::{
        Answer, Card, Counters,
        apdu::{Chaining, Command, Parsed, SECURITY_STATUS},
    },
    fault::{At, Fault, Plan},
    log::Entry,
};

/// What the person does when the key waits for a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Touches at once.
    Yes,
    /// Never touches: the key gives up after its time-out.
    No,
    /// Touches after this long (too late when that is longer than the time-out).
    Late(Duration),
}

struct Inside {
    card: Card,
    chaining: Chaining,
    log: Vec<Entry>,
    faults: Plan,
    touch: Touch,
    touch_timeout: Duration,
    waiting: bool,
}

/// A software YubiKey. Test equipment: it protects nothing. Clones are handles to the same key.
#[derive(Clone)]
pub struct SoftKey(Arc<Mutex<Inside>>);

/// What goes back to the reader.
pub(crate) enum Reaction {
    Answer(Vec<u8>),
    Gone,
}

impl SoftKey {
    /// Starts configuring a key with this serial number: firmware 5.4.3, PIN 123456, touched at once.
    pub fn builder(serial: u32) -> Builder {
        Builder::new(serial)
    }

    pub(crate) fn assemble(card: Card, touch: Touch, touch_timeout: Duration) -> Self {
        let chaining = Chaining::default();
        let (log, faults, waiting) = (Vec::new(), Plan::default(), false);
        Self(Arc::new(Mutex::new(Inside { card, chaining, log, faults, touch, touch_timeout, waiting })))
    }

    /// The serial number.
    pub fn serial(&self) -> u32 {
        self.inside().card.serial
    }

    /// From now on this is another key, without the reader having noticed an exchange.
    pub fn set_serial(&self, serial: u32) {
        self.inside().card.serial = serial;
    }

    /// Changes what the person does at the next touch, also while the key is waiting for one.
    pub fn set_touch(&self, touch: Touch) {
        self.inside().touch = touch;
    }

    /// Whether the key is waiting for a touch right now.
    pub fn waits_for_touch(&self) -> bool {
        self.inside().waiting
    }

    /// Plans a fault.
    pub fn plan(&self, at: At, fault: Fault) {
        self.inside().faults.add(at, fault);
    }

    /// Forgets all planned faults.
    pub fn clear_plan(&self) {
        self.inside().faults.clear();
    }

    /// What the key did so far.
    pub fn counters(&self) -> Counters {
        self.inside().card.counters
    }

    /// PIN tries left.
    pub fn pin_tries_left(&self) -> u8 {
        self.inside().card.pin.left
    }

    /// The commands so far; those that carry secrets without their data.
    pub fn log(&self) -> Vec<Entry> {
        self.inside().log.clone()
    }

    /// The public key in a slot, 65 bytes uncompressed.
    pub fn public_key(&self, slot: u8) -> Option<Vec<u8>> {
        self.inside().card.slots.get(&slot).map(crate::card::SlotKey::point)
    }

    /// The private scalar in a slot (32 bytes): something no YubiKey tells, for tests that compute the other side.
    pub fn private_scalar(&self, slot: u8) -> Option<[u8; 32]> {
        self.inside().card.slots.get(&slot).map(|key| key.secret.to_bytes().into())
    }

    /// A key of this private scalar in a slot, as if the card had made it, to be used with PIN and touch: a YubiKey out of test
    /// vectors. False where there is no such key.
    pub fn put_private_scalar(&self, slot: u8, scalar: &[u8; 32]) -> bool {
        self.inside().card.put(slot, scalar)
    }

    /// The current management key's algorithm and bytes, for tests that look for it where it must not be.
    pub fn management_key(&self) -> (u8, Vec<u8>) {
        let inside = self.inside();
        (inside.card.management.algorithm, inside.card.management.bytes.clone())
    }

    /// The content of a data object (what tag 53 holds), by its three-byte tag.
    pub fn object(&self, tag: [u8; 3]) -> Option<Vec<u8>> {
        self.inside().card.objects.get(tag.as_slice()).cloned()
    }

    /// The tags of all data objects.
    pub fn object_tags(&self) -> Vec<[u8; 3]> {
        let inside = self.inside();
        inside.card.objects.keys().filter_map(|tag| tag.as_slice().try_into().ok()).collect()
    }

    /// Puts a data object in place as a factory or another program would have.
    pub fn set_object(&self, tag: [u8; 3], content: &[u8]) {
        self.inside().card.objects.insert(tag.to_vec(), content.to_vec());
    }

    /// The DER certificate of the key's own attestation authority.
    pub fn attestation_authority(&self) -> Vec<u8> {
        self.inside().card.authority.certificate().to_vec()
    }

    pub(crate) fn power_loss(&self) {
        let mut inside = self.inside();
        inside.card.power_loss();
        inside.chaining.clear();
    }

    /// One APDU from the reader. `present` says whether the key is still plugged in, asked while it waits.
    pub(crate) fn transmit(&self, raw: &[u8], present: &dyn Fn() -> bool) -> Reaction {
        let (command, fault) = {
            let mut inside = self.inside();
            let command = match inside.chaining.accept(raw) {
                Parsed::Whole(command) if command.ins == 0xc0 => {
                    return Reaction::Answer(inside.chaining.more());
                }
                Parsed::Whole(command) => command,
                Parsed::Part => return Reaction::Answer(vec![0x90, 0x00]),
                Parsed::Refused(sw) => return Reaction::Answer(sw.to_be_bytes().to_vec()),
            };
            inside.log.push(Entry::new(command.ins, command.p1, command.p2, &command.data));
            let fault = inside.faults.due(command.ins);
            (command, fault)
        };
        match fault {
            Some(Fault::PullBefore) => return Reaction::Gone,
            Some(Fault::Status(sw)) => return self.reply(sw.into()),
            Some(Fault::Delay(time)) => {
                wait(Instant::now() + time, present, || false);
                if !present() {
                    return Reaction::Gone;
                }
            }
            Some(Fault::PullAfter) | None => {}
        }
        let Some(touched) = self.touch_if_wanted(&command, present) else { return Reaction::Gone };
        let answer = if touched { self.inside().card.perform(&command) } else { SECURITY_STATUS.into() };
        match fault {
            Some(Fault::PullAfter) => Reaction::Gone,
            _ => self.reply(answer),
        }
    }

    fn reply(&self, answer: Answer) -> Reaction {
        let mut inside = self.inside();
        if let Some(entry) = inside.log.last_mut() {
            entry.sw = answer.sw;
        }
        Reaction::Answer(inside.chaining.answer(answer.data, answer.sw))
    }

    /// Waits for a touch when the command wants one: given or not, or `None` when the key was pulled meanwhile.
    fn touch_if_wanted(&self, command: &Command, present: &dyn Fn() -> bool) -> Option<bool> {
        let timeout = {
            let mut inside = self.inside();
            if !inside.card.wants_touch(command) {
                return Some(true);
            }
            inside.card.counters.touches_wanted += 1;
            inside.waiting = true;
            inside.touch_timeout
        };
        let start = Instant::now();
        let touched = wait(start + timeout, present, || match self.inside().touch {
            Touch::Yes => true,
            Touch::No => false,
            Touch::Late(after) => start.elapsed() >= after,
        });
        let mut inside = self.inside();
        inside.waiting = false;
        if touched {
            inside.card.touched();
        }
        (touched || present()).then_some(touched)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until `done`, the deadline, or the key's removal; says whether it was `done`.
fn wait(deadline: Instant, present: &dyn Fn() -> bool, done: impl Fn() -> bool) -> bool {
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline || !present() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
