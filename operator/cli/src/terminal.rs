//! The person at the terminal: questions, hidden input, and whether there is a terminal at all.
//!
//! Everything said here goes to the terminal or stderr, never to stdout: that is for results.

#[cfg(unix)]
mod hidden_unix;
#[cfg(windows)]
mod hidden_windows;

#[cfg(unix)]
use hidden_unix as hidden;
#[cfg(windows)]
use hidden_windows as hidden;

use std::io::{BufRead, IsTerminal, Write};

use zeroize::Zeroizing;

use crate::error::{Exit, Explain};

/// Longest hidden input taken: PINs and PUKs have at most 8 characters.
const MAX_HIDDEN: usize = 64;

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// There is no terminal to ask on.
    #[error("ask for {0}: there is no terminal")]
    None(&'static str),
    /// Ctrl-C or end of input.
    #[error("ask for {0}: cancelled")]
    Cancelled(&'static str),
    /// More was typed than any PIN has.
    #[error("ask for {0}: too long")]
    TooLong(&'static str),
    /// The terminal failed.
    #[error("ask for {0}")]
    Io(&'static str, #[source] std::io::Error),
}

impl Explain for TerminalError {
    fn hint(&self) -> String {
        match self {
            Self::None("the PIN") => {
                "run it in a terminal, or pass the PIN on a file descriptor with --pin-fd".into()
            }
            Self::None(_) => {
                "run it in a terminal, or answer beforehand with the flags that --help lists".into()
            }
            Self::Cancelled(_) => "nothing was changed; run the command again when ready".into(),
            Self::TooLong(_) => "PINs and PUKs have 6 to 8 characters".into(),
            Self::Io(..) => "run it in another terminal".into(),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// Reads one line without showing it. `what` names it in messages: "the PIN".
pub fn ask_hidden(what: &'static str, prompt: &str) -> Result<Zeroizing<Vec<u8>>, TerminalError> {
    hidden::read_line(prompt, MAX_HIDDEN).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotConnected => TerminalError::None(what),
        std::io::ErrorKind::Interrupted => TerminalError::Cancelled(what),
        std::io::ErrorKind::InvalidData => TerminalError::TooLong(what),
        _ => TerminalError::Io(what, error),
    })
}

/// Asks a yes-or-no question; only `yes` or `y` is a yes.
pub fn confirm(question: &str) -> Result<bool, TerminalError> {
    const WHAT: &str = "a confirmation";
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(TerminalError::None(WHAT));
    }
    let mut stderr = std::io::stderr();
    let mut answer = String::new();
    write!(stderr, "{question} [y/N] ")
        .and_then(|()| stderr.flush())
        .map_err(|e| TerminalError::Io(WHAT, e))?;
    stdin.lock().read_line(&mut answer).map_err(|e| TerminalError::Io(WHAT, e))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Tells the person something, on stderr.
pub fn say(text: &str) {
    // Nobody reads a closed stderr; the command's result does not depend on it.
    let _ = writeln!(std::io::stderr(), "{text}");
}
