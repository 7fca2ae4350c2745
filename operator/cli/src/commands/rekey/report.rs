//! What became of every document: a table for people, all of it for programs.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use touchseal_crds::RecipientSpec;

use super::plan::{Keys, Plan};
use crate::error::{Failure, one_line};
use crate::output::{self, Format, Table};
use crate::terminal;

/// What was done about a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    UpToDate,
    Rekeyed,
    /// With a new data key.
    Rotated,
    /// `--dry-run`.
    WouldChange,
    Failed,
}

/// One document.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub file: String,
    pub document: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub before: Vec<String>,
    pub after: Vec<String>,
    /// Recipients that nobody asked for and that stayed.
    pub kept: Vec<String>,
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Before and after for people: `shop/2` is namespace shop's of key generation 2.
    #[serde(skip)]
    words: (String, String),
}

impl Row {
    pub fn new(path: &Path, document: &str, namespace: Option<&str>) -> Self {
        Self {
            file: path.display().to_string(),
            document: document.to_owned(),
            namespace: namespace.map(str::to_owned),
            before: Vec::new(),
            after: Vec::new(),
            kept: Vec::new(),
            action: Action::UpToDate,
            error: None,
            hint: None,
            words: (String::new(), String::new()),
        }
    }

    /// Adds who it was and is encrypted to.
    pub fn describe(&mut self, before: &Keys, plan: &Plan, own: Option<&RecipientSpec>) {
        let namespace = self.namespace.clone().unwrap_or_default();
        let words = |keys: &Keys| {
            let group = |group: &Vec<String>| {
                group.iter().map(|one| word(one, &namespace, own)).collect::<Vec<_>>().join(" ")
            };
            keys.groups.iter().map(group).collect::<Vec<_>>().join(" | ")
        };
        self.words = (words(before), words(&plan.after));
        self.before = before.groups.iter().flatten().cloned().collect();
        self.after = plan.after.groups.iter().flatten().cloned().collect();
        self.kept = plan.kept.clone();
    }

    pub fn done(self, action: Action) -> Self {
        Self { action, ..self }
    }

    pub fn failed(self, failure: &Failure) -> Self {
        let (error, hint) = (Some(failure.what().to_owned()), Some(failure.hint().to_owned()));
        let words = (self.words.0.clone(), self.words.0);
        Self { action: Action::Failed, error, hint, after: self.before.clone(), words, ..self }
    }
}

/// Prints them, those of a file together.
pub fn print(rows: &mut [Row], format: Format) -> Result<(), Failure> {
    rows.sort_by(|one, other| one.file.cmp(&other.file));
    match format {
        Format::Json | Format::Yaml => return output::print(&output::machine(format, &rows)?),
        wide => output::print(&table(rows, wide == Format::Wide))?,
    }
    for row in rows.iter() {
        if let Some(error) = &row.error {
            let document =
                if row.document.is_empty() { String::new() } else { format!(" ({})", row.document) };
            terminal::say(&format!("{}{document}: {error}", row.file));
        }
    }
    let touched = rows.iter().filter(|row| row.action != Action::UpToDate);
    let others: BTreeSet<&str> = touched.flat_map(|row| &row.kept).map(String::as_str).collect();
    if !others.is_empty() {
        // Whoever can write the document can write what moves the cursor.
        let others: Vec<_> = others.into_iter().map(one_line).collect();
        terminal::say(&format!(
            "other recipients stay (--drop-others takes them away): {}",
            others.join(", ")
        ));
    }
    terminal::say(&summary(rows));
    Ok(())
}

/// Documents that are right as they are fill no table unless they are asked for.
fn table(rows: &[Row], wide: bool) -> String {
    let mut table = Table::new(&["FILE", "DOCUMENT", "BEFORE", "AFTER", "ACTION"]);
    for row in rows.iter().filter(|row| wide || row.action != Action::UpToDate) {
        let (before, after) = row.words.clone();
        table.row([row.file.clone(), row.document.clone(), before, after, said(row.action).to_owned()]);
    }
    table.render()
}

fn summary(rows: &[Row]) -> String {
    let count = |action| rows.iter().filter(|row| row.action == action).count();
    let parts: Vec<String> =
        [Action::Rekeyed, Action::Rotated, Action::WouldChange, Action::UpToDate, Action::Failed]
            .into_iter()
            .map(|action| (action, count(action)))
            .filter(|(_, count)| *count > 0)
            .map(|(action, count)| format!("{count} {}", said(action)))
            .collect();
    match parts.as_slice() {
        [] => "no documents were found".to_owned(),
        parts => {
            let opened = if count(Action::WouldChange) > 0 {
                "; none was opened: whether they are whole, the run tells"
            } else {
                ""
            };
            format!("documents: {}{opened}", parts.join(", "))
        }
    }
}

const fn said(action: Action) -> &'static str {
    match action {
        Action::UpToDate => "up to date",
        Action::Rekeyed => "rekeyed",
        Action::Rotated => "encrypted anew",
        Action::WouldChange => "would change",
        Action::Failed => "failed",
    }
}

fn word(recipient: &str, namespace: &str, own: Option<&RecipientSpec>) -> String {
    let generations = own.into_iter().flat_map(|own| &own.generations);
    let mut own = generations.filter(|one| one.recipient == recipient);
    match (own.next(), recipient.char_indices().nth(12)) {
        (Some(one), _) => format!("{namespace}/{}", one.generation),
        (None, Some((at, _))) => format!("{}...", &recipient[..at]),
        (None, None) => recipient.to_owned(),
    }
}
