//! The question before an edit puts values into git that nobody would see there: what of a document is encrypted is said in
//! it, where the MAC does not cover it. Whoever can write the file can have it name no more than the keys it has; then it opens as
//! before, and what a holder adds stays in plain text. The creation rule of the file can vouch for what it says.

use touchseal_sops::{Document, Path, Selector};

use crate::creation_rules::Config;
use crate::documents::{DocumentFile, Opened};
use crate::error::{Exit, Failure};
use crate::terminal;

/// Asks once for all documents that changed; `accepted` answers beforehand.
pub fn ask(
    file: &DocumentFile,
    opened: &[(usize, Opened)],
    changed: &[(usize, Document)],
    accepted: bool,
) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for (index, after) in changed {
        let Some((_, before)) = opened.iter().find(|(one, _)| one == index) else { continue };
        let new = beyond(&before.document, after)?;
        if new.is_empty() || accepted || is_told(file, after.metadata().selector()) {
            continue;
        }
        lines.push(format!("{}, by its {}:", file.label(*index), after.metadata().selector().field()));
        lines.extend(new.iter().map(shown));
    }
    if lines.is_empty() {
        return Ok(());
    }
    terminal::say(&format!("These would be in the file in plain text, and were not:\n{}", lines.join("\n")));
    match terminal::confirm("Are they meant to be?") {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Failure::new(
            Exit::Refused,
            format!("edit {}: values in plain text not confirmed", file.path().display()),
            "nothing was written; see in git who changed what the document encrypts, or confirm on a terminal or with --accept-plain",
        )),
    }
}

fn beyond(before: &Document, after: &Document) -> Result<Vec<Path>, Failure> {
    let (before, after) = (before.exposure(), after.exposure());
    before.and_then(|before| Ok(after?.beyond(&before))).map_err(|error| {
        Failure::new(Exit::Failed, format!("edit: {error}"), "change what the document encrypts with sops")
    })
}

/// Whether somebody said so: sops by itself, or the file's own creation rule. That of a manifest is not about its documents.
fn is_told(file: &DocumentFile, selector: &Selector) -> bool {
    if *selector == Selector::default() {
        return true;
    }
    let rules = || Config::of(file.path(), None).ok()??.selection(file.path()).ok()?;
    !file.is_manifest() && rules().is_some_and(|rules| rules.selector == *selector)
}

fn shown(path: &Path) -> String {
    match path.to_string() {
        path if path.is_empty() => "  a comment at the top".to_owned(),
        path => format!("  {path}"),
    }
}
