//! What a person reads when something fails: `error:` says what failed, `hint:` what to do next. Never a secret value.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// Exit codes, as `--help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// It failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Refused for safety: a changed fingerprint, a forged proof, the last PIN try.
    Refused = 3,
    /// Timed out waiting.
    TimedOut = 4,
    /// Lint or an audit found something.
    Found = 5,
}

/// An error that knows what to do about it. Its source is not repeated in its text.
pub trait Explain: Error {
    /// What to do next: one line, no capital at the start, no full stop at the end.
    fn hint(&self) -> String;

    /// The exit code it ends the program with.
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// An explained error at the end of its way.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    what: String,
    hint: String,
    exit: Exit,
}

impl Failure {
    /// A failure of its own, where no error type tells more.
    pub fn new(exit: Exit, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into(), exit }
    }

    /// A command line that makes no sense.
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, hint)
    }

    /// The exit code.
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// What failed.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do next.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// The same once more, for the next thing that fails of it.
    pub fn again(&self) -> Self {
        Self { what: self.what.clone(), hint: self.hint.clone(), exit: self.exit }
    }

    /// Writes the two lines.
    pub fn print(&self, to: &mut dyn Write) -> std::io::Result<()> {
        writeln!(to, "error: {}", one_line(&self.what))?;
        writeln!(to, "hint: {}", one_line(&self.hint))
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { hint: error.hint(), exit: error.exit(), what: chain(&error) }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The texts of an error and its sources, joined. A source whose text the outer one already ends with is left out:
/// not every library keeps the two apart.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = inner.source();
    }
    text
}

/// Text from outside (an API server's message, a file name) stays on its line and does not steer the terminal.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            '\n' | '\r' | '\t' => {
                if !line.ends_with(' ') {
                    line.push(' ');
                }
            }
            c if c.is_control() || is_direction(c) => line.push('\u{fffd}'),
            c => line.push(c),
        }
    }
    line
}

/// Characters that make a line look like another: separators, and directions of writing.
pub const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_turns_its_line_around() {
        assert_eq!(one_line("a\u{202e}lmay.b\u{2069}"), "a\u{fffd}lmay.b\u{fffd}");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("read the file x")]
    struct Outer(#[source] std::io::Error);

    impl Explain for Outer {
        fn hint(&self) -> String {
            "look whether it exists".to_owned()
        }
    }

    #[test]
    fn a_failure_is_two_lines_whatever_its_text() {
        let failure = Failure::from(Outer(std::io::Error::other("no\nsuch \u{1b}[31mfile")));
        let mut out = Vec::new();
        failure.print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "error: read the file x: no such \u{fffd}[31mfile\nhint: look whether it exists\n");
        assert_eq!(failure.exit(), Exit::Failed);
    }
}
