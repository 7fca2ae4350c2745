//! One finding and its place. Its words name keys, files and recipients, and never hold a value.

use serde::Serialize;

use super::rules::{Level, Rule};
use crate::error::one_line;

/// Longest name of a key or an object in a message.
const SHOWN: usize = 80;

/// What was found, where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file, as it is shown.
    pub file: String,
    /// From 1; what concerns a whole file is on its first line.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub rule: Rule,
    pub message: String,
}

/// A finding as it is written for programs.
#[derive(Debug, Serialize)]
pub struct Told<'f> {
    #[serde(flatten)]
    finding: &'f Finding,
    level: Level,
    next: &'static str,
}

/// A place in a file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Finding {
    pub fn new(file: &str, place: Place, rule: Rule, message: &str) -> Finding {
        let message = one_line(message);
        Finding { file: file.to_owned(), line: place.line, column: place.column, rule, message }
    }

    pub const fn told(&self) -> Told<'_> {
        Told { finding: self, level: self.rule.level(), next: self.rule.next() }
    }
}

impl Place {
    /// Of what concerns a whole file.
    pub const FIRST: Place = Place { line: 1, column: 1 };

    /// A line of which no more is known.
    pub const fn line(line: usize) -> Place {
        Place { line: if line == 0 { 1 } else { line }, column: 1 }
    }

    /// The place of a byte.
    pub fn of(text: &str, offset: usize) -> Place {
        let before = text.get(..offset).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Place { line, column: before[start..].chars().count() + 1 }
    }
}

/// A name out of a file, cut to a readable length.
pub fn shown(name: &str) -> String {
    let mut shown: String = one_line(name).chars().take(SHOWN).collect();
    if name.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

/// Some names, the first of them.
pub fn listed(names: &[String]) -> String {
    const FIRST: usize = 5;
    let mut text = names.iter().take(FIRST).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if names.len() > FIRST {
        text.push_str(&format!(" and {} more", names.len() - FIRST));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_lines_and_characters() {
        let text = "ä: 1\nö: ß x\n";
        assert_eq!(Place::of(text, 0), Place::FIRST);
        let at = text.find('x').unwrap();
        assert_eq!(Place::of(text, at), Place { line: 2, column: 6 });
        assert_eq!(Place::of(text, 1_000), Place::FIRST, "no such byte");
    }

    #[test]
    fn no_name_steers_the_terminal_or_fills_it() {
        let message = format!("key {}", shown(&format!("a\u{1b}[2J\n{}", "x".repeat(500))));
        let finding = Finding::new("f", Place::FIRST, Rule::Mac, &message);
        assert!(finding.message.starts_with("key a\u{fffd}[2J x"), "{}", finding.message);
        assert!(finding.message.chars().count() < 100);
        let names: Vec<String> = (0..9).map(|number| number.to_string()).collect();
        assert_eq!(listed(&names), "0, 1, 2, 3, 4 and 4 more");
    }
}
