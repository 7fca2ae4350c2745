//! One finding, and how findings look.

use serde::Serialize;

use crate::error::{Failure, one_line};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warn,
    Fail,
}

/// One finding with its next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub area: &'static str,
    pub level: Level,
    pub finding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(area: &'static str, finding: impl Into<String>) -> Self {
        Self { area, level: Level::Ok, finding: finding.into(), next: None }
    }

    /// It works, and should be looked after.
    pub fn warn(area: &'static str, finding: impl Into<String>, next: impl Into<String>) -> Self {
        Self { area, level: Level::Warn, finding: finding.into(), next: Some(next.into()) }
    }

    /// It does not work.
    pub fn fail(area: &'static str, finding: impl Into<String>, next: impl Into<String>) -> Self {
        Self { area, level: Level::Fail, finding: finding.into(), next: Some(next.into()) }
    }

    /// A command's own error as a finding.
    pub fn failed(area: &'static str, failure: &Failure) -> Self {
        Self::fail(area, failure.what(), failure.hint())
    }
}

/// One line a finding, its next step below it.
pub fn render(checks: &[Check], colour: bool) -> String {
    let width = checks.iter().map(|check| check.area.len()).max().unwrap_or(0);
    let mut out = String::new();
    for check in checks {
        let (word, code) = match check.level {
            Level::Ok => ("ok  ", "32"),
            Level::Warn => ("warn", "33"),
            Level::Fail => ("fail", "31"),
        };
        let word = if colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() };
        out.push_str(&format!("{word}  {:width$}  {}\n", check.area, one_line(&check.finding)));
        if let Some(next) = &check.next {
            out.push_str(&format!("      {:width$}  -> {}\n", "", one_line(next)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_line_up_with_their_next_step_below() {
        let checks = [Check::ok("pcscd", "answers"), Check::fail("card", "none", "plug one in")];
        let expected = "ok    pcscd  answers\nfail  card   none\n             -> plug one in\n";
        assert_eq!(render(&checks, false), expected);
        assert!(render(&checks, true).starts_with("\u{1b}[32mok  \u{1b}[0m"));
    }
}
