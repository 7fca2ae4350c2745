//! Where a PIN comes from: the terminal, or a file descriptor for scripts. Never arguments, never the environment:
//! both can be read by others.

use std::io::Read;

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

/// Why no PIN came from the descriptor.
#[derive(Debug, thiserror::Error)]
pub enum PinFdError {
    /// It could not be read.
    #[error("read the PIN from file descriptor {0}")]
    Read(u32, #[source] std::io::Error),
    /// It held nothing.
    #[error("read the PIN from file descriptor {0}: it is empty")]
    Empty(u32),
    /// It held more than a PIN.
    #[error("read the PIN from file descriptor {0}: more than one line, or too long for a PIN")]
    NotAPin(u32),
    /// A YubiKey did not do its part with it.
    #[error("use the PIN of file descriptor {0} again: the YubiKey failed with it before")]
    Refused(u32),
    /// It is another YubiKey's.
    #[error("use the PIN of file descriptor {0}: it is that of YubiKey {1}, not of {2}")]
    OtherCard(u32, u32, u32),
}

impl Explain for PinFdError {
    fn hint(&self) -> String {
        match self {
            Self::Read(fd, _) => format!("open it in the shell: touchseal ... --pin-fd {fd} {fd}< FILE"),
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
                return Err(PinFdError::OtherCard(fd, of, serial).into());
            }
            (None, Some(fd)) if self.refused => return Err(PinFdError::Refused(fd).into()),
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

fn from_fd(fd: u32) -> Result<Zeroizing<Vec<u8>>, PinFdError> {
    #[cfg(unix)]
    if fd == 0 {
        return one_line(fd, &mut StandardInput);
    }
    let path =
        if cfg!(target_os = "linux") { format!("/proc/self/fd/{fd}") } else { format!("/dev/fd/{fd}") };
    let mut file = std::fs::File::open(path).map_err(|error| PinFdError::Read(fd, error))?;
    one_line(fd, &mut file)
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

fn one_line(fd: u32, input: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, PinFdError> {
    // One byte more than allowed tells a longer input; filled in place, so that nothing is left in a smaller buffer.
    let mut bytes = Zeroizing::new(vec![0; MAX_BYTES + 1]);
    let mut filled = 0;
    while filled < bytes.len() {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PinFdError::Read(fd, error)),
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
        0 => Err(PinFdError::Empty(fd)),
        _ if filled > MAX_BYTES || bytes[..end].contains(&b'\n') => Err(PinFdError::NotAPin(fd)),
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
        one_line(3, &mut &text[..]).map(|pin| pin.to_vec()).map_err(|error| error.to_string())
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

    #[test]
    fn no_message_holds_what_was_read() {
        let error = read(b"hunter22\nhunter22").unwrap_err();
        assert!(!error.contains("hunter22"), "{error}");
    }
}
