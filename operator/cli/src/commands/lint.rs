//! `touchseal lint`: what in a tree is exposed or will not open, told without a key and without a cluster. Reads the whole
//! repository, tells of the paths that were named, changes nothing.

mod document;
mod facts;
mod finding;
mod judge;
mod piece;
mod plain;
mod rules;
mod sarif;
mod templates;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::args::Global;
use crate::creation_rules::{Chosen, Config};
use crate::error::{Exit, Explain, Failure, one_line};
use crate::known::{self, Entry, Store, Verdict};
use crate::local_keys;
use crate::output::{self, Format};
use crate::terminal;

use facts::Facts;
use finding::{Finding, Told, shown};
use piece::{Piece, Words};
use rules::Rule;
use tree::Tree;

#[derive(clap::Args, Debug)]
pub struct LintArgs {
    /// Files and folders [default: the folder it is run in]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A rule that is not to be followed; may be given several times (docs/lint.md lists them)
    #[arg(long, value_name = "RULE")]
    skip: Vec<Rule>,
    /// Look into files, too, that .gitignore names: they may be in git all the same
    #[arg(long)]
    no_ignore: bool,
}

/// Why the tree could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LintError {
    #[error("look at {}", .0.display())]
    Path(PathBuf, #[source] std::io::Error),
    #[error("read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    #[error("list the files")]
    Walk(#[source] ignore::Error),
}

impl Explain for LintError {
    fn hint(&self) -> String {
        "check the path and its permissions; nothing was told of any file".to_owned()
    }
}

/// Everything, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'r> {
    files: usize,
    findings: Vec<Told<'r>>,
    /// How many more there are that a comment says are meant.
    allowed: usize,
    /// Documents of which nobody here can say whether they are for the right namespace.
    not_checked: &'r [String],
    /// Too large to be looked into.
    not_read: &'r [String],
}

/// Runs it.
pub fn run(args: &LintArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml, Format::Sarif])?;
    let here = [PathBuf::from(".")];
    let tree = Tree::of(if args.paths.is_empty() { &here } else { &args.paths })?;
    let (words, cached) = (Words::default(), Cached::default());
    let read = tree.read(args.no_ignore, |source, bytes| piece::of(source, bytes, &words, &cached))?;
    let mut pieces = read.results;
    known_keyrings(&mut pieces)?;
    let facts = Facts::of(&pieces, &local_keys::every_remembered);
    let judged = judge::judge(&pieces, &facts);
    let (findings, allowed) = told(&pieces, judged.findings, &args.skip);
    let text = match global.output {
        Format::Table => lines(&findings),
        Format::Sarif => output::machine(Format::Json, &sarif::log(&findings, &tree))?,
        format => output::machine(
            format,
            &Report {
                files: read.files,
                findings: findings.iter().map(Finding::told).collect(),
                allowed,
                not_checked: &judged.unchecked,
                not_read: &read.large,
            },
        )?,
    };
    output::print(&text)?;
    notes(&judged.unchecked, &judged.namespaces.into_iter().collect::<Vec<_>>(), &read.large, allowed);
    conclude(&findings, read.files)
}

/// The findings in chosen files that are neither skipped nor meant, in order, and how many were meant.
fn told(pieces: &[Piece], judged: Vec<Finding>, skip: &[Rule]) -> (Vec<Finding>, usize) {
    let chosen: BTreeMap<&str, &Piece> = pieces
        .iter()
        .filter(|piece| piece.source.chosen)
        .map(|piece| (piece.source.shown.as_str(), piece))
        .collect();
    let own = pieces.iter().flat_map(|piece| piece.findings.clone());
    let mut findings: Vec<Finding> = own
        .chain(judged)
        .filter(|finding| chosen.contains_key(finding.file.as_str()) && !skip.contains(&finding.rule))
        .collect();
    findings.sort();
    findings.dedup();
    let before = findings.len();
    findings.retain(|finding| {
        let meant = |(line, rules): &(usize, Vec<Rule>)| {
            (*line == finding.line || line + 1 == finding.line) && rules.contains(&finding.rule)
        };
        let piece = chosen.get(finding.file.as_str());
        !(finding.rule.may_be_allowed() && piece.is_some_and(|piece| piece.allowed.iter().any(meant)))
    });
    let allowed = before - findings.len();
    (findings, allowed)
}

/// Keyrings that are not what this laptop accepted under their name, or older.
fn known_keyrings(pieces: &mut [Piece]) -> Result<(), Failure> {
    // Who keeps nothing knows nothing: in a CI job there may be no home.
    let entries: Vec<Entry> = match known::file("known_keyrings") {
        Some(_) => Store::open()?.into_entries(),
        None => Vec::new(),
    };
    for piece in pieces {
        let mut changed = Vec::new();
        for (place, name, manifest) in &piece.keyrings {
            if let Verdict::Changed { line, mismatch } = known::judge(&entries, None, name, manifest) {
                changed.push((
                    *place,
                    format!("Keyring {}: {mismatch} (line {line} of known_keyrings)", shown(name)),
                ));
            }
        }
        for (place, message) in changed {
            piece.find(place, Rule::KeyringChanged, &message);
        }
    }
    Ok(())
}

fn lines(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let Finding { file, line, column, rule, message } = finding;
        format!("{}:{line}:{column}: {}: {message}\n    {}\n", one_line(file), rule.id(), rule.next())
    };
    findings.iter().map(line).collect()
}

/// What was not looked at, and what could not be known, on stderr: no finding is no promise about these.
fn notes(unchecked: &[String], namespaces: &[String], large: &[String], allowed: usize) {
    if let Some(first) = large.first() {
        let more = and_more(large.len());
        terminal::say(&format!("note: {}{more} too large to be looked into", one_line(first)));
    }
    if allowed > 0 {
        terminal::say(&format!("note: {allowed} more, which comments say are meant"));
    }
    if let Some(first) = unchecked.first() {
        let more = and_more(unchecked.len());
        let of = match namespaces {
            [] => "the recipients they should have".to_owned(),
            names => format!("the recipients of {}", finding::listed(names)),
        };
        terminal::say(&format!(
            "note: whether {}{more} encrypted for the right namespace could not be checked: {of} are not known here; \
             write them into creation rules (touchseal recipients -f KEYRING --for NAMESPACE --sops-yaml)",
            one_line(first)
        ));
    }
}

fn and_more(count: usize) -> String {
    match count {
        1 => " is".to_owned(),
        count => format!(" and {} more are", count - 1),
    }
}

fn conclude(findings: &[Finding], files: usize) -> Result<(), Failure> {
    if findings.is_empty() {
        terminal::say(&format!("nothing found in {}", counted(files, "file")));
        return Ok(());
    }
    let mut places: Vec<&str> = findings.iter().map(|finding| finding.file.as_str()).collect();
    places.dedup();
    let what =
        format!("lint found {} in {}", counted(findings.len(), "problem"), counted(places.len(), "file"));
    let hint = "what to do is below each; what is meant is said in a comment beside it: # touchseal-lint: allow RULE";
    Err(Failure::new(Exit::Found, what, hint))
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The rules of each folder, read once.
#[derive(Default)]
struct Cached(Mutex<BTreeMap<PathBuf, Option<Arc<Config>>>>);

impl piece::Rules for Cached {
    /// Rules that cannot be read are told of at their own place.
    fn of(&self, path: &Path) -> Option<(Chosen, bool)> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let config = {
            let mut known = self.0.lock().ok()?;
            match known.get(folder) {
                Some(known) => known.clone(),
                None => {
                    let read = Config::of(path, None).ok().flatten().map(Arc::new);
                    known.insert(folder.to_owned(), read.clone());
                    read
                }
            }
        }?;
        let picks = config.picks(path).ok()?;
        Some((config.choose_beside_pgp(path).ok().flatten()?, picks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use finding::Place;

    /// Neither a comment nor somebody else's file hides what is broken or forged.
    #[test]
    fn a_comment_allows_what_may_be_meant_and_nothing_else() {
        let (words, nobody) = (Words::default(), Cached::default());
        let text = format!(
            "# touchseal-lint: allow {}\napiVersion: touchseal.dev/v1alpha1\nkind: EncryptedSecret\nspec: {{documents: []}}\n",
            Rule::ALL.iter().map(|rule| rule.id()).collect::<Vec<_>>().join(" ")
        );
        let look = |chosen| {
            let source = tree::Source { path: "/nowhere/a.yaml".into(), shown: "a.yaml".to_owned(), chosen };
            let mut piece = piece::of(&source, text.as_bytes(), &words, &nobody).unwrap();
            piece.findings.clear();
            Rule::ALL.iter().for_each(|rule| piece.find(Place::line(2), *rule, "x"));
            piece.find(Place::line(4), Rule::PlaintextSecret, "x");
            piece
        };
        let (findings, allowed) = told(&[look(true)], Vec::new(), &[Rule::Mac]);
        let left: Vec<Rule> = findings.iter().filter(|one| one.line == 2).map(|one| one.rule).collect();
        let meant: Vec<Rule> =
            Rule::ALL.iter().copied().filter(|rule| !rule.may_be_allowed() && *rule != Rule::Mac).collect();
        let mut sorted = meant.clone();
        sorted.sort();
        assert_eq!(left, sorted);
        assert!(findings.iter().any(|one| one.line == 4), "further below it counts for nothing");
        assert_eq!(allowed, Rule::ALL.iter().filter(|rule| rule.may_be_allowed()).count());
        assert_eq!(told(&[look(false)], Vec::new(), &[]).0, [], "what was not named is not told of");
        for rule in [Rule::WrongNamespace, Rule::KeyringInvalid, Rule::KeyringChanged, Rule::NotCiphertext] {
            assert!(!rule.may_be_allowed(), "{}", rule.id());
        }
    }
}
