//! Where a PIN comes from: the terminal, a file descriptor for scripts, or a guarded file where nobody is there to type
//! it. Never arguments, never the environment: both can be read by others.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::{Explain, Failure};
use crate::terminal::{self, TerminalError};

const MAX_BYTES: usize = 64;

/// `--pin-fd`.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct PinArgs {
    /// Read the PIN from this open file descriptor instead of the terminal: --pin-fd 3 3< <(pass yubikey); where a quorum
    /// is opened at one laptop, all its YubiKeys have that PIN
    #[arg(long, value_name = "FD")]
    pub pin_fd: Option<u32>,
    /// Go on although a wrong PIN would block the card: only one try is left
    #[arg(long)]
    pub allow_last_pin_try: bool,
}

/// What a PIN is read from.
#[derive(Clone, Debug)]
pub enum Place {
    Descriptor(u32),
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor(fd) => write!(f, "file descriptor {fd}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// Why no PIN came from there.
#[derive(Debug, thiserror::Error)]
pub enum PinReadError {
    /// It could not be read.
    #[error("read the PIN from {0}")]
    Read(Place, #[source] std::io::Error),
    /// It held nothing.
    #[error("read the PIN from {0}: it is empty")]
    Empty(Place),
    /// It held more than a PIN.
    #[error("read the PIN from {0}: more than one line, or too long for a PIN")]
    NotAPin(Place),
    /// It is no file, or everybody may read or change it.
    #[error("read the PIN from {0}: {1}")]
    Open(Place, &'static str),
    /// A YubiKey did not do its part with it.
    #[error("use the PIN of file descriptor {0} again: the YubiKey failed with it before")]
    Refused(u32),
    /// It is another YubiKey's.
    #[error("use the PIN of file descriptor {0}: it is that of YubiKey {1}, not of {2}")]
    OtherCard(u32, u32, u32),
}

impl Explain for PinReadError {
    fn hint(&self) -> String {
        match self {
            Self::Read(Place::Descriptor(fd), _) => {
                format!("open it in the shell: touchseal ... --pin-fd {fd} {fd}< FILE")
            }
            Self::Read(Place::File(_), _) => {
                "put the PIN into a file of its own that this user can read".to_owned()
            }
            Self::Open(..) => {
                "leave it to its owner: chmod 0400; in a pod: defaultMode 0400 and fsGroup".to_owned()
            }
            Self::Refused(_) | Self::OtherCard(..) => {
                "do it in several runs: --keyring chooses one keyring".to_owned()
            }
            Self::Empty(_) | Self::NotAPin(_) => "write the PIN as the one line of that file".to_owned(),
        }
    }
}

/// Where the PIN of a command comes from. It is asked for (or read) once a YubiKey, and never presented again after a
/// YubiKey did not take it.
#[derive(Debug)]
pub struct PinSource {
    fd: Option<u32>,
    shared: bool,
    held: Option<(u32, Zeroizing<Vec<u8>>)>,
    refused: bool,
    /// The person said yes to spending the last try.
    pub allow_last_try: bool,
}

impl PinSource {
    /// What the flags say.
    pub const fn new(args: &PinArgs) -> Self {
        Self {
            fd: args.pin_fd,
            shared: false,
            held: None,
            refused: false,
            allow_last_try: args.allow_last_pin_try,
        }
    }

    /// The PIN of YubiKey `serial` as it is in a file now. Others must not be able to read or change that.
    pub fn from_file(serial: u32, path: &Path) -> Result<Self, PinReadError> {
        let pin = from_file(path)?;
        Ok(Self {
            held: Some((serial, pin)),
            ..Self::new(&PinArgs { pin_fd: None, allow_last_pin_try: false })
        })
    }

    /// The PIN on the descriptor is that of every YubiKey of this command.
    pub fn shared(args: &PinArgs) -> Self {
        Self { shared: true, ..Self::new(args) }
    }

    /// From here on the PIN on the descriptor is that of every YubiKey.
    pub const fn share(&mut self) {
        self.shared = true;
    }

    /// Nobody is asked on the terminal.
    pub const fn is_fd(&self) -> bool {
        self.fd.is_some()
    }

    /// The PIN of YubiKey `serial`, without its line end.
    pub fn read(&mut self, serial: u32, prompt: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let pin = match (self.held.take(), self.fd) {
            (Some((of, pin)), None) if of == serial => pin,
            (Some((of, pin)), Some(_)) if of == serial || self.shared => pin,
            (Some((of, pin)), Some(fd)) => {
                self.held = Some((of, pin));
                return Err(PinReadError::OtherCard(fd, of, serial).into());
            }
            (None, Some(fd)) if self.refused => return Err(PinReadError::Refused(fd).into()),
            (None, Some(fd)) => from_fd(fd)?,
            (_, None) => terminal::ask_hidden("the PIN", prompt)?,
        };
        Ok(self.held.insert((serial, pin)).1.clone())
    }

    /// The YubiKey did not do its part: what is held may be the wrong PIN.
    pub fn reject(&mut self) {
        self.held = None;
        self.refused = true;
    }
}

/// A new secret, typed twice.
pub fn new_secret(what: &'static str, prompt: &str) -> Result<Zeroizing<Vec<u8>>, TerminalError> {
    loop {
        let first = terminal::ask_hidden(what, &format!("{prompt}: "))?;
        let second = terminal::ask_hidden(what, &format!("{prompt} again: "))?;
        if first == second {
            return Ok(first);
        }
        terminal::say("they differ; type both again");
    }
}

fn from_fd(fd: u32) -> Result<Zeroizing<Vec<u8>>, PinReadError> {
    let place = Place::Descriptor(fd);
    #[cfg(unix)]
    if fd == 0 {
        return one_line(place, &mut StandardInput);
    }
    let path =
        if cfg!(target_os = "linux") { format!("/proc/self/fd/{fd}") } else { format!("/dev/fd/{fd}") };
    match std::fs::File::open(path) {
        Ok(mut file) => one_line(place, &mut file),
        Err(error) => Err(PinReadError::Read(place, error)),
    }
}

fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, PinReadError> {
    let place = Place::File(path.to_owned());
    let opened = std::fs::File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, mut file) = match opened {
        Ok(opened) => opened,
        Err(error) => return Err(PinReadError::Read(place, error)),
    };
    if !metadata.is_file() {
        return Err(PinReadError::Open(place, "it is not a file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A group may read it: that is how a pod that does not run as root gets at a mounted Secret.
        if metadata.permissions().mode() & 0o027 != 0 {
            return Err(PinReadError::Open(place, "others can read or change it"));
        }
    }
    one_line(place, &mut file)
}

/// Standard input without the library's buffer, which would keep the PIN. Works for sockets, too, which have no path.
#[cfg(unix)]
struct StandardInput;

#[cfg(unix)]
impl Read for StandardInput {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Ok(rustix::io::read(rustix::stdio::stdin(), buffer)?)
    }
}

fn one_line(place: Place, input: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, PinReadError> {
    // One byte more than allowed tells a longer input; filled in place, so that nothing is left in a smaller buffer.
    let mut bytes = Zeroizing::new(vec![0; MAX_BYTES + 1]);
    let mut filled = 0;
    while filled < bytes.len() {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PinReadError::Read(place, error)),
        }
    }
    let mut end = filled;
    if end > 0 && bytes[end - 1] == b'\n' {
        end -= 1;
    }
    if end > 0 && bytes[end - 1] == b'\r' {
        end -= 1;
    }
    match end {
        0 => Err(PinReadError::Empty(place)),
        _ if filled > MAX_BYTES || bytes[..end].contains(&b'\n') => Err(PinReadError::NotAPin(place)),
        _ => {
            bytes.truncate(end);
            Ok(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<u8>, String> {
        one_line(Place::Descriptor(3), &mut &text[..])
            .map(|pin| pin.to_vec())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_line_end_is_no_part_of_the_pin() {
        for text in [&b"123456"[..], b"123456\n", b"123456\r\n"] {
            assert_eq!(read(text), Ok(b"123456".to_vec()));
        }
        assert!(read(b"").is_err() && read(b"\n").is_err());
        assert!(read(b"123456\n654321\n").is_err(), "two lines");
        assert!(read(&[b'1'; MAX_BYTES + 1]).is_err(), "too long");
    }

    fn source(fd: Option<u32>, held: Option<(u32, &[u8])>) -> PinSource {
        let mut source = PinSource::new(&PinArgs { pin_fd: fd, allow_last_pin_try: false });
        source.held = held.map(|(serial, pin)| (serial, Zeroizing::new(pin.to_vec())));
        source
    }

    #[test]
    fn a_pin_that_failed_is_not_presented_again() {
        let mut once = source(Some(3), Some((1, b"123456")));
        assert_eq!(*once.read(1, "").unwrap(), b"123456");
        assert_eq!(*once.read(1, "").unwrap(), b"123456", "for the next keyring on the same YubiKey");
        once.reject();
        assert!(once.read(1, "").unwrap_err().what().contains("failed with it before"));
    }

    #[test]
    fn a_pin_is_presented_to_one_yubikey_unless_it_is_said_to_be_shared() {
        let mut one = source(Some(3), Some((1, b"123456")));
        assert!(one.read(2, "").unwrap_err().what().contains("YubiKey 1, not of 2"));
        assert_eq!(*one.read(1, "").unwrap(), b"123456");
        one.shared = true;
        assert_eq!(*one.read(2, "").unwrap(), b"123456");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_or_change_holds_no_pin() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        std::fs::write(&path, "739152\n").unwrap();
        let read = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            PinSource::from_file(1, &path)
        };
        for good in [0o400, 0o600, 0o440, 0o640] {
            let mut source = read(good).unwrap();
            assert_eq!(*source.read(1, "").unwrap(), b"739152", "{good:o}");
        }
        for bad in [0o444, 0o660, 0o602, 0o604, 0o601] {
            let failure = Failure::from(read(bad).unwrap_err());
            assert!(failure.what().contains("others can") && !failure.what().contains("739"), "{failure}");
        }
        assert!(PinSource::from_file(1, dir.path()).is_err(), "a folder");
    }

    #[test]
    fn no_message_holds_what_was_read() {
        let error = read(b"hunter22\nhunter22").unwrap_err();
        assert!(!error.contains("hunter22"), "{error}");
    }
}
