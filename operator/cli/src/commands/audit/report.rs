//! How an audit is told: a table for people, everything for programs, notes of what could not be looked at.

use jiff::Timestamp;
use serde::Serialize;

use super::finding::{Finding, Where};
use super::pieces::Unjudged;
use super::repository::Scanned;
use crate::error::one_line;
use crate::output::Table;
use crate::terminal;

/// References that are named in a table; all are in the other formats.
const NAMED: usize = 3;

/// Everything, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it was looked: every value named here was in use and public at this moment.
    pub audited_at: Timestamp,
    pub repository: String,
    pub objects: usize,
    pub commits: usize,
    /// The clone has the whole history.
    pub complete: bool,
    /// How many values were looked for.
    pub judged: usize,
    pub findings: Vec<Finding>,
    pub not_judged: Vec<NotJudged>,
    /// Documents that did not open, and why.
    pub not_opened: Vec<NotOpened>,
    /// Objects that are too large, or damaged.
    pub not_read: Vec<String>,
}

/// A value that was not looked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotJudged {
    pub key: String,
    pub why: &'static str,
    /// So many parts of a value; `None`: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<usize>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotOpened {
    pub document: String,
    pub why: String,
}

impl NotJudged {
    pub const fn new(key: String, why: Unjudged) -> NotJudged {
        NotJudged { key, why: why.words(), parts: None }
    }
}

/// One row a key, or wide one a place.
pub fn table(findings: &[Finding], wide: bool) -> String {
    let mut headings = vec!["KEY", "SINCE", "COMMIT", "AUTHOR", "WHERE", "IN"];
    if wide {
        headings.push("STILL IN");
    }
    let mut table = Table::new(&headings);
    for finding in findings {
        let shown = if wide { finding.places.len() } else { 1 };
        for place in finding.places.iter().take(shown) {
            let mut cells = row(finding, place);
            if !wide && finding.places.len() > 1 {
                cells[4] = format!("{} and {} more", cells[4], finding.places.len() - 1);
            }
            if wide {
                cells.push(named(&finding.still_in, usize::MAX));
            }
            table.cells(cells);
        }
    }
    table.render()
}

fn row(finding: &Finding, place: &Where) -> Vec<String> {
    let lines: Vec<String> = finding.lines.iter().map(usize::to_string).collect();
    let key = match lines.as_slice() {
        [] => finding.key.clone(),
        [one] => format!("{}, line {one}", finding.key),
        several => format!("{}, lines {}", finding.key, several.join(" ")),
    };
    let (mut date, mut commit, mut author) = (String::new(), String::new(), String::new());
    if let Some(since) = &place.commit {
        date = since.date.map(|date| date.strftime("%Y-%m-%d").to_string()).unwrap_or_default();
        commit = since.commit.chars().take(10).collect();
        author = since.author.clone();
    }
    let references = match finding.references.is_empty() {
        true => "no branch or tag".to_owned(),
        false => named(&finding.references, NAMED),
    };
    vec![key, date, commit, author, place.shown(), references]
}

fn named(names: &[String], most: usize) -> String {
    let mut text = names.iter().take(most).map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    if names.len() > most {
        text.push_str(&format!(" and {} more", names.len() - most));
    }
    text
}

/// What was not looked at, and what could not be known, on stderr: that nothing was found is no promise about these.
pub fn notes(report: &Report, scanned: &Scanned) {
    let whole: Vec<&NotJudged> = report.not_judged.iter().filter(|one| one.parts.is_none()).collect();
    for why in [Unjudged::Short, Unjudged::Simple, Unjudged::Public].map(Unjudged::words) {
        let names: Vec<String> =
            whole.iter().filter(|one| one.why == why).map(|one| one.key.clone()).collect();
        if !names.is_empty() {
            say(&format!("{why}, and not looked for: {}", named(&names, usize::MAX)));
        }
    }
    for one in &report.not_judged {
        if let Some(parts) = one.parts {
            let parts = are(parts, "part");
            say(&format!("of {} {parts} too short, too simple or comments, and not looked for", one.key));
        }
    }
    if scanned.pointers > 0 {
        say("files kept by git LFS are not in the repository and were not looked into");
    }
    if scanned.submodules > 0 {
        say("submodules are repositories of their own: audit each of them");
    }
    if let Some(first) = scanned.large.first() {
        say(&format!("{} too large to be looked into, such as {first}", are(scanned.large.len(), "object")));
    }
    if !report.complete {
        terminal::say(
            "warning: this clone has not the whole history: what is not found here may be public all the same",
        );
    }
    for one in &report.not_opened {
        terminal::say(&one_line(&format!("warning: {}: {}", one.document, one.why)));
    }
}

fn say(note: &str) {
    terminal::say(&one_line(&format!("note: {note}")));
}

fn are(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun} is") } else { format!("{count} {noun}s are") }
}
