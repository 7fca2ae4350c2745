//! Results on stdout: tables for people, JSON and YAML for programs.

mod table;

pub use table::Table;

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::error::{Exit, Failure, is_direction};

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For people, with more columns.
    Wide,
    /// One JSON value.
    Json,
    /// One YAML document.
    Yaml,
    /// Names only, one a line, as kubectl takes them.
    Name,
    /// One SARIF 2.1.0 log, as code hosts take them; of lint only.
    Sarif,
}

impl Format {
    /// As it is written after `-o`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Wide => "wide",
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Name => "name",
            Self::Sarif => "sarif",
        }
    }
}

/// Refuses a format that the command has no answer for.
pub fn allow(format: Format, allowed: &[Format]) -> Result<(), Failure> {
    if format == Format::Table || allowed.contains(&format) {
        return Ok(());
    }
    let names: Vec<_> = allowed.iter().map(|f| f.as_str()).collect();
    let hint =
        if names.is_empty() { "leave -o out".to_owned() } else { format!("use -o {}", names.join("|")) };
    Err(Failure::usage(format!("-o {} does not apply to this command", format.as_str()), hint))
}

/// `value` as JSON or YAML text with a line feed at its end; YAML for every other format.
pub fn machine<T: Serialize>(format: Format, value: &T) -> Result<String, Failure> {
    let written = match format {
        Format::Json => serde_json::to_string_pretty(value).map(|text| unsteered(&text) + "\n"),
        _ => crate::yaml::to_string(value),
    };
    written.map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("write the result: {error}"),
            "this is a bug in touchseal: please report it",
        )
    })
}

/// JSON without characters that would turn a line around where it is shown: the same to who reads it.
fn unsteered(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        if is_direction(c) || ('\u{7f}'..='\u{9f}').contains(&c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Writes to stdout. A reader that has gone away (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("write to stdout: {error}"), "look at where stdout goes"))
        }
        _ => Ok(()),
    }
}

/// Prints what is secret: past the library's buffer, which would keep a copy. A reader that has gone away is no failure.
pub fn print_secret(bytes: &[u8]) -> std::io::Result<()> {
    #[cfg(unix)]
    let copy = std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned();
    #[cfg(windows)]
    let copy = std::os::windows::io::AsHandle::as_handle(&std::io::stdout()).try_clone_to_owned();
    let mut stdout = std::fs::File::from(copy?);
    match stdout.write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Whether stdout takes colours: a terminal, and nobody objects (<https://no-color.org>).
pub fn colour() -> bool {
    let objects = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    std::io::stdout().is_terminal() && !objects && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_steers_a_terminal_and_every_reader_gets_it_back() {
        let value = "a\u{202e}b\u{1b}c\u{9b}\u{7f}";
        for format in [Format::Json, Format::Yaml] {
            let text = machine(format, &[value]).unwrap();
            assert!(
                text.trim().chars().all(|c| !c.is_control() && !is_direction(c) || c == '\n'),
                "{text:?}"
            );
            assert_eq!(crate::yaml::from_str::<Vec<String>>(&text).unwrap(), [value]);
        }
    }

    #[test]
    fn a_format_without_an_answer_is_a_usage_error() {
        assert!(allow(Format::Table, &[]).is_ok());
        assert!(allow(Format::Json, &[Format::Json]).is_ok());
        let refused = allow(Format::Name, &[Format::Json, Format::Yaml]).unwrap_err();
        assert_eq!((refused.exit(), refused.hint()), (Exit::Usage, "use -o json|yaml"));
    }
}
