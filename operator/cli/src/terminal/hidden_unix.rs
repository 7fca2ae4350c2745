//! Hidden input on Unix, read byte by byte from the controlling terminal into one zeroized buffer.
//!
//! Ctrl-C arrives as a character while the prompt is up, so the terminal is always put back before the program ends.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const DELETE: u8 = 127;

/// Errors: `NotFound` without a terminal, `Interrupted` on Ctrl-C and Ctrl-D, `InvalidData` beyond `max` bytes.
pub fn read_line(prompt: &str, max: usize) -> Result<Zeroizing<Vec<u8>>> {
    let tty = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| Error::from(ErrorKind::NotFound))?;
    let mut hidden = Hidden::start(tty)?;
    hidden.tty.write_all(prompt.as_bytes())?;
    let line = collect(&mut hidden.tty, max);
    hidden.tty.write_all(b"\n")?;
    line
}

fn collect(input: &mut dyn Read, max: usize) -> Result<Zeroizing<Vec<u8>>> {
    // Never grows beyond its capacity: a reallocation would leave a copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(max));
    let mut byte = Zeroizing::new([0_u8; 1]);
    let mut too_long = false;
    loop {
        if input.read(&mut byte[..])? == 0 {
            return Err(ErrorKind::Interrupted.into());
        }
        match byte[0] {
            b'\r' | b'\n' if too_long => return Err(ErrorKind::InvalidData.into()),
            b'\r' | b'\n' => return Ok(line),
            CTRL_C | CTRL_D => return Err(ErrorKind::Interrupted.into()),
            BACKSPACE | DELETE => drop(line.pop()),
            CTRL_U => line.clear(),
            _ if line.len() == max => too_long = true,
            other => line.push(other),
        }
    }
}

/// The terminal with echo, line editing and signals off until dropped.
struct Hidden {
    tty: File,
    before: Termios,
}

impl Hidden {
    fn start(tty: File) -> Result<Self> {
        let before = tcgetattr(&tty)?;
        let mut during = before.clone();
        during.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(&tty, OptionalActions::Flush, &during)?;
        Ok(Self { tty, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(&self.tty, OptionalActions::Now, &self.before) {
            tracing::warn!(%error, "the terminal could not be put back; type: stty sane");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> std::result::Result<Vec<u8>, ErrorKind> {
        collect(&mut &bytes[..], 8).map(|line| line.to_vec()).map_err(|e| e.kind())
    }

    #[test]
    fn a_line_is_edited_as_in_any_password_prompt() {
        assert_eq!(typed(b"123456\nrest"), Ok(b"123456".to_vec()));
        assert_eq!(typed(b"129\x7f3\r"), Ok(b"123".to_vec()));
        assert_eq!(typed(b"wrong\x15right\n"), Ok(b"right".to_vec()));
        assert_eq!(typed(b"12\x03\n"), Err(ErrorKind::Interrupted));
        assert_eq!(typed(b"12"), Err(ErrorKind::Interrupted));
        assert_eq!(typed(b"123456789\n"), Err(ErrorKind::InvalidData));
    }
}
