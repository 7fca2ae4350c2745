//! One sops document: what its form and its selector tell without a key.

use touchseal_sops::{Document, Inspection, ParseError, Path, Selector};

use super::finding::{Place, listed, shown};
use super::piece::Piece;
use super::rules::Rule;
use crate::creation_rules::Chosen;
use crate::documents::{DocumentFile, InPlace};
use crate::error::chain;

/// What is compared with what others say.
#[derive(Debug)]
pub struct Doc {
    pub place: Place,
    /// Offset of its first byte.
    pub start: usize,
    /// The document, for messages: empty for a file on its own.
    pub label: String,
    /// Its manifest names it, or the rule of its file was written for it.
    pub namespace: Option<String>,
    /// The keyring that the rule was written for.
    pub keyring: Option<String>,
    pub recipients: Vec<String>,
    /// Whom the rule of a file on its own names; `None` without a rule.
    pub named: Option<(String, Vec<String>)>,
    pub in_manifest: bool,
}

/// Looks at it, and leaves it in the piece.
pub fn look(
    piece: &mut Piece,
    text: &str,
    file: &DocumentFile,
    index: usize,
    inside: &InPlace,
    chosen: Option<&Chosen>,
) {
    let in_manifest = file.is_manifest();
    let chosen = chosen.filter(|_| !in_manifest);
    let place = if in_manifest { Place::of(text, inside.start) } else { Place::FIRST };
    let label = if in_manifest { format!("document {}: ", shown(&inside.name)) } else { String::new() };
    let document = match inside.parse() {
        Ok(document) => document,
        Err(ParseError::NotEncrypted | ParseError::Empty) if in_manifest => {
            let message = format!("{label}it is not encrypted");
            return piece.find(place, Rule::PlaintextDocument, &message);
        }
        Err(problem) => {
            let place = on_line(place, in_manifest, problem.line().unwrap_or_default());
            return piece.find(place, Rule::DocumentMalformed, &format!("{label}{}", chain(&problem)));
        }
    };
    let within = |path: &Path| on_line(place, in_manifest, path.line());
    match document.inspect() {
        Ok(found) => form(piece, &document, &found, &label, place, chosen, &within),
        Err(problem) => piece.find(place, Rule::DocumentMalformed, &format!("{label}{problem}")),
    }
    let recipients: Vec<String> = document.age_recipients().map(str::to_owned).collect();
    if in_manifest && recipients.is_empty() {
        piece.find(place, Rule::NoAgeRecipient, &format!("{label}it is encrypted to no age recipient"));
    }
    let written_for = chosen.and_then(|chosen| chosen.written_for.clone());
    let (keyring, namespace) = written_for.unzip();
    piece.documents.push(Doc {
        place,
        start: inside.start,
        label,
        namespace: file.documents().get(index).and_then(|one| one.namespace.clone()).or(namespace),
        keyring,
        recipients,
        named: chosen.map(|rule| (rule.place.clone(), rule.groups.iter().flatten().cloned().collect())),
        in_manifest,
    });
}

/// A line of a document, 0 where it is not known; those of one in a manifest are counted from its own first.
fn on_line(place: Place, in_manifest: bool, line: u32) -> Place {
    match line {
        0 => place,
        line => Place::line(line as usize + if in_manifest { place.line - 1 } else { 0 }),
    }
}

fn form(
    piece: &mut Piece,
    document: &Document,
    found: &Inspection,
    label: &str,
    place: Place,
    chosen: Option<&Chosen>,
    within: &dyn Fn(&Path) -> Place,
) {
    if let Some(first) = found.open.first() {
        let keys: Vec<String> = found.open.iter().map(|path| path.keys().to_owned()).collect();
        let message = format!("{label}not encrypted, though its selector says so: {}", listed(&keys));
        piece.find(within(first), Rule::NotCiphertext, &message);
    }
    if !found.mac {
        let missing =
            if document.metadata().has_mac() { "its MAC is no ciphertext" } else { "it has no MAC" };
        piece.find(place, Rule::Mac, &format!("{label}{missing}"));
    }
    if !found.damaged_keys.is_empty() {
        let recipients = listed(&found.damaged_keys);
        piece.find(
            place,
            Rule::DataKey,
            &format!("{label}the data key wrapped for {recipients} is no age file"),
        );
    }
    let coverage = document.coverage();
    let selector = document.metadata().selector();
    if coverage.encrypted == 0 && coverage.clear > 0 {
        let message = format!("{label}its {} fits none of its {} values", selector.field(), coverage.clear);
        return piece.find(place, Rule::NothingEncrypted, &message);
    }
    let is_told =
        *selector == Selector::default() || chosen.is_some_and(|rule| rule.rules.selector == *selector);
    let of_secret = |path: &&Path| {
        ["data", "stringData"].iter().any(|field| {
            path.keys().strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let is_secret = is_secret(&found.clear);
    // Of a Secret only the values are secret, and those always.
    let clear: Vec<&Path> = match is_secret {
        true => found.clear.iter().filter(of_secret).collect(),
        false if is_told => Vec::new(),
        false => found.clear.iter().collect(),
    };
    let Some(first) = clear.first() else { return };
    let keys: Vec<String> = clear.iter().map(|path| path.keys().to_owned()).collect();
    let by = selector.field();
    let (rule, message) = match is_secret {
        true => (Rule::PlaintextSecret, format!("{label}left in plain text by its {by}: {}", listed(&keys))),
        false => (Rule::ClearValue, format!("{label}left in the clear by its {by}: {}", listed(&keys))),
    };
    piece.find(within(first), rule, &message);
}

/// A Secret manifest encrypted as Flux and KSOPS expect it has kind and apiVersion in the clear.
fn is_secret(clear: &[Path]) -> bool {
    let has = |key: &str| clear.iter().any(|path| path.keys() == key);
    has("kind") && has("apiVersion")
}
