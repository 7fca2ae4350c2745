//! [`Reader`]: a private pcscd with two slots to plug software keys into. Several readers live side by side.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    key::SoftKey,
    link::Slot,
    service::{Service, find_pcscd},
    status,
};

/// Clients such as ykman recognise a YubiKey by this name.
const NAME: &str = "Yubico YubiKey OTP+FIDO+CCID";
const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a key is plugged in that is not seen.
const PLUGS: u32 = 4;
const ATTEMPTS: usize = 8;
const POLL: Duration = Duration::from_millis(5);

/// Why the test reader does not work.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// No pcscd on this machine.
    #[error("find pcscd: neither $PCSCD nor /usr/sbin/pcscd is a program (Debian: apt-get install pcscd)")]
    NoPcscd,
    /// The virtual reader driver is not installed.
    #[error("find the virtual reader driver {DRIVER} (Debian: apt-get install vsmartcard-vpcd)")]
    NoDriver,
    /// No two neighbouring ports to be had.
    #[error("find two free neighbouring ports for the virtual reader")]
    NoPorts,
    /// The machine refused something.
    #[error("{0}")]
    Io(&'static str, #[source] io::Error),
    /// pcscd ended or did not come to see what it should in time; its messages.
    #[error("wait for pcscd to see {what}; pcscd said: {messages}")]
    NotSeen { what: &'static str, messages: String },
    /// There are two slots, 0 and 1.
    #[error("use slot {0} of a reader with slots 0 and 1")]
    NoSuchSlot(usize),
}

/// A private pcscd with two slots. Everything ends when it is dropped.
pub struct Reader {
    // Dropped in this order: the keys leave, pcscd ends, its files go.
    slots: Vec<Slot>,
    service: Option<Service>,
    directory: TempDir,
}

impl Reader {
    /// Starts pcscd and waits until it answers with both slots.
    ///
    /// # Errors
    /// When pcscd or its driver are missing, or pcscd does not come up.
    pub fn start() -> Result<Self, ReaderError> {
        let pcscd = find_pcscd().ok_or(ReaderError::NoPcscd)?;
        if !Path::new(DRIVER).is_file() {
            return Err(ReaderError::NoDriver);
        }
        // Another program may take a port between our look and the driver's: then look again.
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match Self::start_on(&pcscd, Some(free_ports()?)) {
                Err(error @ ReaderError::NotSeen { .. }) => last = Some(error),
                done => return done,
            }
        }
        Err(last.unwrap_or(ReaderError::NoPorts))
    }

    /// Starts pcscd without any reader, for tests of what clients say then. Keys cannot be plugged in.
    ///
    /// # Errors
    /// When pcscd is missing or does not come up.
    pub fn start_without_slots() -> Result<Self, ReaderError> {
        Self::start_on(&find_pcscd().ok_or(ReaderError::NoPcscd)?, None)
    }

    fn start_on(pcscd: &Path, port: Option<u16>) -> Result<Self, ReaderError> {
        let directory = tempfile::Builder::new()
            .prefix("softkey-")
            .tempdir()
            .map_err(|error| ReaderError::Io("make a directory for pcscd", error))?;
        let config = directory.path().join("reader.conf.d");
        let description = port.map(|port| {
            format!(
                "FRIENDLYNAME \"{NAME}\"\nDEVICENAME /dev/null:{port}\nLIBPATH {DRIVER}\nCHANNELID {port}\n"
            )
        });
        fs::create_dir(&config)
            .and_then(|()| fs::write(config.join("softkey"), description.unwrap_or_default()))
            .map_err(|error| ReaderError::Io("write the reader's description", error))?;
        let slots: Vec<Slot> = port.into_iter().flat_map(|port| [port, port + 1]).map(Slot::new).collect();
        let wanted = slots.len();
        let mut reader = Self { slots, service: None, directory };
        let service = Service::start(pcscd, &config, &reader.socket(), &reader.messages_file());
        reader.service = Some(service.map_err(|error| ReaderError::Io("start pcscd", error))?);
        reader.wait("its slots", |slots| slots.len() == wanted)?;
        Ok(reader)
    }

    /// The value for `PCSCLITE_CSOCK_NAME` in the environment of a client.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("pcscd.comm")
    }

    /// The socket of a pcscd that is not running: for tests of that case, without starting one.
    pub fn no_service() -> PathBuf {
        PathBuf::from("/nonexistent/softkey/pcscd.comm")
    }

    /// Plugs a key into slot 0 or 1 and waits until pcscd's clients see it. A key already there is pulled first.
    ///
    /// # Errors
    /// When the slot does not exist or pcscd does not see the key.
    pub fn insert(&self, slot: usize, key: &SoftKey) -> Result<(), ReaderError> {
        let place = self.slot(slot)?;
        if place.is_plugged() {
            self.pull(slot)?;
        }
        // The driver now and then does not take up a card that comes right after another went; plugged in anew it does.
        let mut attempt = 1;
        loop {
            place.plug(key).map_err(|error| ReaderError::Io("plug in a key", error))?;
            let seen = self.wait("the key that was plugged in", |slots| {
                slots.get(slot).is_some_and(|slot| slot.present)
            });
            if seen.is_ok() || attempt == PLUGS {
                return seen;
            }
            attempt += 1;
        }
    }

    /// Pulls the key from a slot and waits until pcscd's clients see it gone.
    ///
    /// # Errors
    /// When the slot does not exist or pcscd goes on seeing the key.
    pub fn pull(&self, slot: usize) -> Result<(), ReaderError> {
        self.slot(slot)?.pull();
        self.wait("the key pulled", |slots| slots.get(slot).is_some_and(|slot| !slot.present))
    }

    /// Ends pcscd, for tests of what clients say then.
    pub fn stop_service(&mut self) {
        self.service = None;
    }

    /// What pcscd wrote to its output.
    pub fn messages(&self) -> String {
        fs::read_to_string(self.messages_file()).unwrap_or_default()
    }

    fn messages_file(&self) -> PathBuf {
        self.directory.path().join("pcscd.log")
    }

    fn slot(&self, slot: usize) -> Result<&Slot, ReaderError> {
        self.slots.get(slot).ok_or(ReaderError::NoSuchSlot(slot))
    }

    fn wait(
        &self,
        what: &'static str,
        seen: impl Fn(&[status::SlotState]) -> bool,
    ) -> Result<(), ReaderError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if status::slots(&self.socket()).is_ok_and(|slots| seen(&slots)) {
                return Ok(());
            }
            let ended = self.service.as_ref().is_none_or(Service::has_ended)
                || self.messages().contains("Could not initialize connection");
            if ended || Instant::now() >= deadline {
                return Err(ReaderError::NotSeen { what, messages: self.messages() });
            }
            std::thread::sleep(POLL);
        }
    }
}

/// The first of two neighbouring free ports below the range that outgoing connections use.
fn free_ports() -> Result<u16, ReaderError> {
    let free = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    (0..256)
        .map(|attempt: u16| 20_000 + (RandomState::new().hash_one(attempt) % 6_000) as u16 * 2)
        .find(|&port| free(port) && free(port + 1))
        .ok_or(ReaderError::NoPorts)
}
