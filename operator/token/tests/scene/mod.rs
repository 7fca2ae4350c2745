//! A scene: a private pcscd with software keys, and the test's own body as a client of it, in a process of its own.
//!
//! The smart card library remembers its first socket for the life of a process, so each test runs twice: once as the stage
//! (starts the reader, plugs the keys in) and, started by that, once as the client. The client asks the stage for what
//! hands do - pull, insert, touch - and for what only a software key tells, over its standard input and output.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::Duration,
};

use touchseal_softkey::{At, Fault, Reader, ReaderError, SoftKey, Touch};
use touchseal_token::Pin;

const MARK: &str = "@@ ";
const CLIENT: &str = "TOUCHSEAL_SCENE_CLIENT";

/// The client's line to the stage.
pub struct Hands(());

/// Runs `client` as a client of a reader with these keys; the first two are plugged in.
pub fn scene(keys: impl FnOnce() -> Vec<SoftKey>, client: impl FnOnce(&Hands)) {
    play(Reader::start, keys, client);
}

/// Runs `client` as a client of a smart card service without any reader.
pub fn scene_without_reader(client: impl FnOnce(&Hands)) {
    play(Reader::start_without_slots, Vec::new, client);
}

fn play(
    start: fn() -> Result<Reader, ReaderError>,
    keys: impl FnOnce() -> Vec<SoftKey>,
    client: impl FnOnce(&Hands),
) {
    if env::var_os(CLIENT).is_some() {
        return client(&Hands(()));
    }
    let keys = keys();
    let mut reader = start().unwrap();
    for (slot, key) in keys.iter().enumerate().take(2) {
        reader.insert(slot, key).unwrap();
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let mut child = Command::new(env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CLIENT, "1")
        .env("PCSCLITE_CSOCK_NAME", reader.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = child.stdin.take().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.strip_prefix(MARK) {
            Some(wish) => writeln!(answers, "{}", serve(&mut reader, &keys, wish)).unwrap(),
            None => said = said + &line + "\n",
        }
    }
    let status = child.wait().unwrap();
    let log: Vec<_> = keys.iter().flat_map(SoftKey::log).collect();
    assert!(status.success() && said.contains("1 passed"), "client of {name}:\n{said}\nAPDUs: {log:#?}");
}

impl Hands {
    fn ask(&self, wish: &str) -> String {
        print!("\n{MARK}{wish}\n");
        std::io::stdout().flush().unwrap();
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "the stage is gone");
        answer.trim().to_owned()
    }

    fn number(&self, wish: &str) -> u64 {
        self.ask(wish).parse().unwrap()
    }

    pub fn pull(&self, slot: usize) {
        self.ask(&format!("pull {slot}"));
    }

    /// Plugs key number `key` into a slot.
    pub fn insert(&self, slot: usize, key: usize) {
        self.ask(&format!("insert {slot} {key}"));
    }

    /// The key becomes another one without the reader noticing.
    pub fn change_serial(&self, key: usize, serial: u32) {
        self.ask(&format!("serial {key} {serial}"));
    }

    pub fn stop_service(&self) {
        self.ask("stop");
    }

    pub fn never_touch(&self, key: usize) {
        self.ask(&format!("touch {key} never"));
    }

    pub fn touch_after(&self, key: usize, millis: u64) {
        self.ask(&format!("touch {key} {millis}"));
    }

    /// The next command with this instruction: the key leaves the reader before it.
    pub fn pull_at(&self, key: usize, ins: u8) {
        self.ask(&format!("fault {key} {ins} pull"));
    }

    /// The next command with this instruction is answered with this status word.
    pub fn answer_at(&self, key: usize, ins: u8, sw: u16) {
        self.ask(&format!("fault {key} {ins} {sw}"));
    }

    /// The card misbehaves at the n-th command from now on, the next one being 0.
    pub fn fault(&self, key: usize, n: u64, how: &str) {
        self.ask(&format!("fault-at {key} {n} {how}"));
    }

    /// Forgets faults that were not met.
    pub fn behave(&self, key: usize) {
        self.ask(&format!("behave {key}"));
    }

    /// Commands the card was sent so far.
    pub fn commands(&self, key: usize) -> u64 {
        self.number(&format!("commands {key}"))
    }

    /// Private-key operations so far.
    pub fn private_key_operations(&self, key: usize) -> u64 {
        self.number(&format!("private {key}"))
    }

    /// PINs presented so far, right or wrong.
    pub fn pin_attempts(&self, key: usize) -> u64 {
        self.number(&format!("attempts {key}"))
    }

    /// Times the card was reset or lost power so far.
    pub fn power_losses(&self, key: usize) -> u64 {
        self.number(&format!("losses {key}"))
    }

    pub fn pin_tries_left(&self, key: usize) -> u64 {
        self.number(&format!("tries {key}"))
    }

    /// The private scalar in a slot.
    pub fn scalar(&self, key: usize, slot: u8) -> Vec<u8> {
        self.bytes(&format!("scalar {key} {slot}"))
    }

    /// The management key, its algorithm first.
    pub fn management_key(&self, key: usize) -> Vec<u8> {
        self.bytes(&format!("management {key}"))
    }

    fn bytes(&self, wish: &str) -> Vec<u8> {
        let hex = self.ask(wish);
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }
}

fn serve(reader: &mut Reader, keys: &[SoftKey], wish: &str) -> String {
    let words: Vec<&str> = wish.split(' ').collect();
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    let key = || &keys[number(1) as usize];
    match words[0] {
        "pull" => reader.pull(number(1) as usize).unwrap(),
        "insert" => reader.insert(number(1) as usize, &keys[number(2) as usize]).unwrap(),
        "serial" => key().set_serial(number(2) as u32),
        "stop" => reader.stop_service(),
        "touch" if words[2] == "never" => key().set_touch(Touch::No),
        "touch" => key().set_touch(Touch::Late(Duration::from_millis(number(2)))),
        "fault" => {
            let fault = if words[3] == "pull" { Fault::PullBefore } else { Fault::Status(number(3) as u16) };
            key().plan(At::Instruction(number(2) as u8, 0), fault);
        }
        "fault-at" => key().plan(At::Command(number(2)), fault(words[3])),
        "behave" => key().clear_plan(),
        "commands" => return key().log().len().to_string(),
        "private" => return key().counters().private_key_operations.to_string(),
        "attempts" => return key().counters().pin_attempts.to_string(),
        "losses" => return key().counters().power_losses.to_string(),
        "tries" => return key().pin_tries_left().to_string(),
        "scalar" => return hex(&key().private_scalar(number(2) as u8).unwrap()),
        "management" => {
            let (algorithm, bytes) = key().management_key();
            return hex(&[&[algorithm], bytes.as_slice()].concat());
        }
        other => panic!("unknown wish {other}"),
    }
    "done".into()
}

/// `pull`, `pull-after`, `slow` or a status word.
fn fault(word: &str) -> Fault {
    match word {
        "pull" => Fault::PullBefore,
        "pull-after" => Fault::PullAfter,
        "slow" => Fault::Delay(Duration::from_millis(200)),
        status => Fault::Status(u16::from_str_radix(status, 16).unwrap()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A PIN that is not the factory's.
pub const PIN: &str = "hunter42";

pub fn pin(text: &str) -> Pin {
    Pin::new(text.as_bytes().to_vec().into()).unwrap()
}

/// A key that is ready to be enrolled: PIN and PUK changed, gives up on touches after a moment.
pub fn ready(serial: u32, firmware: (u8, u8, u8)) -> SoftKey {
    let (major, minor, patch) = firmware;
    let builder = SoftKey::builder(serial).firmware(major, minor, patch).pin(PIN).puk("87654321");
    builder.touch_timeout(Duration::from_millis(300)).build().unwrap()
}

pub const OLD: (u8, u8, u8) = (5, 4, 3);
pub const NEW: (u8, u8, u8) = (5, 7, 1);
