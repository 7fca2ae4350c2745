//! Results on stdout: tables for people, JSON and YAML for programs.

mod table;

pub use table::Table;

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::error::{Exit, Failure};

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
        Format::Json => serde_json::to_string_pretty(value).map(|mut text| {
            text.push('\n');
            text
        }),
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
    fn a_format_without_an_answer_is_a_usage_error() {
        assert!(allow(Format::Table, &[]).is_ok());
        assert!(allow(Format::Json, &[Format::Json]).is_ok());
        let refused = allow(Format::Name, &[Format::Json, Format::Yaml]).unwrap_err();
        assert_eq!((refused.exit(), refused.hint()), (Exit::Usage, "use -o json|yaml"));
    }
}
