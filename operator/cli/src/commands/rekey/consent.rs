//! The question before anything is wrapped for recipients that nothing vouches for. Whoever can write to the tree can write
//! a rule with a recipient of their own, copy another namespace's document into theirs, or list themselves in a document:
//! its recipients are not authenticated, and a new data key would be theirs. A holder who rekeys the tree must not open it
//! to them. A namespace's own recipient is vouched for by the keyring, if the document opens with that namespace's key; one
//! whose identity is at hand is the person's own.

use std::collections::BTreeMap;

use super::survey::{FileJob, Job};
use crate::error::{Exit, Failure, one_line};
use crate::terminal;

/// Asks once for all files; `accepted` answers beforehand.
pub fn ask(files: &[FileJob], accepted: bool) -> Result<(), Failure> {
    confirm(&coming(files), accepted)
}

/// What [`ask`] would ask about.
pub fn tell(files: &[FileJob]) {
    let coming = coming(files);
    if !coming.is_empty() {
        terminal::say(&format!(
            "These recipients would be asked about, nothing vouches for them:\n{}",
            lines(&coming)
        ));
    }
}

/// Asks about recipients and where they come to.
pub fn confirm(coming: &BTreeMap<&str, Vec<String>>, accepted: bool) -> Result<(), Failure> {
    if coming.is_empty() || accepted {
        return Ok(());
    }
    terminal::say(&format!(
        "These recipients will be able to read documents, and nothing vouches for them:\n{}",
        lines(coming)
    ));
    match terminal::confirm("Do you know whose they are?") {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Failure::new(
            Exit::Refused,
            format!("add recipients to documents: {} not confirmed", counted(coming.len(), "recipient")),
            "nothing was written; compare them, then confirm on a terminal or with --accept-others",
        )),
    }
}

fn coming(files: &[FileJob]) -> BTreeMap<&str, Vec<String>> {
    let mut coming: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for file in files {
        for (job, recipient) in
            file.jobs.iter().flat_map(|job| unvouched(job).into_iter().map(move |one| (job, one)))
        {
            coming.entry(recipient).or_default().push(place(file, job) + &known(job, recipient));
        }
    }
    coming
}

fn lines(coming: &BTreeMap<&str, Vec<String>>) -> String {
    let lines: String = coming.iter().map(|(recipient, places)| line(recipient, places)).collect();
    lines.trim_end().to_owned()
}

fn line(recipient: &str, places: &[String]) -> String {
    // Both may hold what moves the cursor: a line that was printed stays printed.
    let (recipient, first) = (one_line(recipient), one_line(places.first().map_or("", String::as_str)));
    match places.len() {
        1 => format!("  {recipient}\n    in {first}\n"),
        several => format!("  {recipient}\n    in {}, such as {first}\n", counted(several, "document")),
    }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn place(file: &FileJob, job: &Job) -> String {
    let path = file.path().display();
    if file.file.is_manifest() { format!("{path} ({})", job.row.document) } else { path.to_string() }
}

/// Where it is the namespace's own: that it is, and why it is asked about all the same.
fn known(job: &Job, recipient: &str) -> String {
    match &job.namespace {
        Some((namespace, own)) if own == recipient => format!(
            " (known as namespace {namespace}'s own; asked because a key of your own opens the document)"
        ),
        _ => String::new(),
    }
}

/// The recipients that something is wrapped for, but for the own one of a namespace whose key opens the document, and for
/// the person's.
fn unvouched(job: &Job) -> Vec<&str> {
    let own = job.namespace.as_ref().filter(|_| !job.stock).map(|(_, own)| own.as_str());
    let held = |one: &str| job.held.as_ref().is_some_and(|held| held.recipients().any(|mine| mine == one));
    let everybody = job.plan.after.groups.iter().flatten().filter(|_| job.anew);
    let mut found: Vec<&str> = job.plan.added.iter().chain(everybody).map(String::as_str).collect();
    found.retain(|one| Some(*one) != own && !held(one));
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_named_once_with_where_it_comes_to() {
        assert_eq!(line("age1x", &["a.yaml".to_owned()]), "  age1x\n    in a.yaml\n");
        let several = ["a.yaml".to_owned(), "b.yaml (app.yaml)".to_owned()];
        assert_eq!(line("age1x", &several), "  age1x\n    in 2 documents, such as a.yaml\n");
    }

    #[test]
    fn no_line_is_hidden_by_what_a_rule_or_a_file_is_called() {
        let shown = line("b\u{1b}[2A\u{1b}[J\nall is well", &["a\u{1b}[1A.yaml".to_owned()]);
        assert!(!shown.contains('\u{1b}') && shown.lines().count() == 2, "{shown:?}");
    }
}
