//! What only the whole tree tells: documents and rules held against who is known to be whose, names that collide, files that
//! generators are fed with, keyrings that are not those known here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use touchseal_crds::keyring::GenerationState;

use super::document::Doc;
use super::facts::{Fact, Facts, Source};
use super::finding::{Finding, Place, listed, shown};
use super::piece::{Object, OfRules, Piece};
use super::rules::Rule;

/// What came out.
#[derive(Debug, Default)]
pub struct Judged {
    pub findings: Vec<Finding>,
    /// Places of documents that could be anybody's, as far as can be told without a key.
    pub unchecked: Vec<String>,
    /// Their namespaces, where those are known.
    pub namespaces: BTreeSet<String>,
}

/// Holds everything against everything.
pub fn judge(pieces: &[Piece], facts: &Facts) -> Judged {
    let mut judged = Judged::default();
    for piece in pieces {
        for document in &piece.documents {
            judged.document(piece, document, facts);
        }
        for rule in &piece.rules {
            judged.rule(piece, rule, facts);
        }
    }
    judged.collisions(pieces);
    judged.fed(pieces);
    judged
}

impl Judged {
    fn find(&mut self, piece: &Piece, place: Place, rule: Rule, message: &str) {
        self.findings.push(Finding::new(&piece.source.shown, place, rule, message));
    }

    fn document(&mut self, piece: &Piece, document: &Doc, facts: &Facts) {
        let label = &document.label;
        let of_home = |fact: &&Fact| {
            document.namespace.as_ref().is_none_or(|home| fact.namespace == *home)
                && document.keyring.as_ref().is_none_or(|keyring| fact.keyring == *keyring)
        };
        let known = || document.recipients.iter().flat_map(|one| facts.of_recipient(one));
        let ours: Vec<&Fact> = known().filter(of_home).collect();
        let mut checked = !ours.is_empty();
        if let Some(found) = generation(&ours) {
            self.find(piece, document.place, found.0, &format!("{label}{}", found.1));
        }
        if let (Some(home), true) = (&document.namespace, ours.is_empty() && !document.recipients.is_empty())
        {
            let others: BTreeSet<&str> = known().map(|fact| fact.namespace.as_str()).collect();
            let best = facts.of_namespace(home).filter(|_| document.in_manifest || document.named.is_none());
            let message = match (others.first(), best) {
                (Some(other), _) if *other != home => {
                    Some(format!("{label}encrypted for namespace {}, not for {}", shown(other), shown(home)))
                }
                (_, Some(source)) => {
                    let said = said_by(source);
                    Some(format!(
                        "{label}not encrypted to any recipient of namespace {}, by {said}",
                        shown(home)
                    ))
                }
                _ => None,
            };
            if let Some(message) = message {
                checked = true;
                self.find(piece, document.place, Rule::WrongNamespace, &message);
            }
        }
        if let Some((rule, named)) = &document.named {
            checked = true;
            let missing: Vec<String> =
                named.iter().filter(|one| !document.recipients.contains(one)).cloned().collect();
            if !missing.is_empty() {
                let message = format!("{label}not encrypted to {}, as {rule} says", listed(&missing));
                self.find(piece, document.place, Rule::OutOfStep, &message);
            }
        }
        if !checked {
            if piece.source.chosen {
                self.unchecked.push(piece.source.shown.clone());
                self.namespaces.extend(document.namespace.clone());
            }
            return;
        }
        let is_other = |one: &&String| {
            let named = document.named.as_ref().is_some_and(|(_, named)| named.contains(one));
            !named && !facts.of_recipient(one).iter().any(|fact| of_home(&fact))
        };
        // Where none is the namespace's own, that was said already.
        if !ours.is_empty() || document.named.is_some() {
            let others: Vec<String> = document.recipients.iter().filter(is_other).cloned().collect();
            self.foreign(piece, document.place, label, (&others, facts, Source::Rule), "can read it");
        }
    }

    fn foreign(
        &mut self,
        piece: &Piece,
        place: Place,
        label: &str,
        (others, facts, least): (&[String], &Facts, Source),
        can: &str,
    ) {
        for other in others {
            let whose = match facts.of_recipient(other).iter().find(|fact| fact.source >= least) {
                Some(fact) => format!("namespace {}", shown(&fact.namespace)),
                None => "nobody known here".to_owned(),
            };
            let message = format!("{label}{} {can}, and is {whose}", shown(other));
            self.find(piece, place, Rule::ForeignRecipient, &message);
        }
    }

    /// A rule that was written for a namespace.
    fn rule(&mut self, piece: &Piece, rule: &OfRules, facts: &Facts) {
        let Some((keyring, namespace)) = &rule.chosen.written_for else { return };
        let named: Vec<&String> = rule.chosen.groups.iter().flatten().collect();
        let label = format!("rule for namespace {}: ", shown(namespace));
        let is_home = |fact: &&Fact| fact.namespace == *namespace && fact.keyring == *keyring;
        let told = |one: &&String| facts.better_than_rules(one).into_iter().any(|fact| is_home(&fact));
        let ours: Vec<&Fact> =
            named.iter().flat_map(|one| facts.better_than_rules(one)).filter(is_home).collect();
        if let Some(found) = generation(&ours) {
            self.find(piece, rule.place, found.0, &format!("{label}{}", found.1));
        }
        let other_home =
            named.iter().flat_map(|one| facts.better_than_rules(one)).find(|fact| !is_home(fact));
        let best = facts.of_namespace(namespace).filter(|source| *source > Source::Rule);
        match (ours.is_empty(), other_home, best) {
            (false, ..) => {
                let others: Vec<String> =
                    named.iter().filter(|one| !told(one)).map(|one| (*one).clone()).collect();
                // A rule is no witness of itself: it says of all in it that they are its namespace.
                let known = (&*others, facts, Source::Published);
                self.foreign(piece, rule.place, &label, known, "will read what it encrypts");
            }
            (true, Some(fact), _) => {
                let message = format!("{label}its recipient is that of namespace {}", shown(&fact.namespace));
                self.find(piece, rule.place, Rule::WrongNamespace, &message);
            }
            (true, None, Some(source)) => {
                let said = said_by(source);
                let message = format!("{label}it names no recipient of that namespace, by {said}");
                self.find(piece, rule.place, Rule::WrongNamespace, &message);
            }
            (true, None, None) if named.len() > 1 => {
                let message = format!("{label}it names {} recipients, and a namespace has one", named.len());
                self.find(piece, rule.place, Rule::ForeignRecipient, &message);
            }
            (true, None, None) => {}
        }
    }

    /// Two objects collide if they would be in one cluster: in one folder, or with a recipient in common, for recipients are
    /// a keyring's, and a keyring is a cluster's.
    fn collisions(&mut self, pieces: &[Piece]) {
        let objects =
            || pieces.iter().flat_map(|piece| piece.objects.iter().map(move |object| (piece, object)));
        let (mut by_name, mut by_target) = (Named::new(), Named::new());
        for (piece, object) in objects().filter(|(_, object)| !object.name.is_empty()) {
            by_name.entry((&object.namespace, &object.name)).or_default().push((piece, object));
            by_target.entry((&object.namespace, &object.target)).or_default().push((piece, object));
        }
        for (((namespace, name), group), is_name) in
            by_name.into_iter().map(|one| (one, true)).chain(by_target.into_iter().map(|one| (one, false)))
        {
            for (index, (piece, object)) in group.iter().enumerate() {
                let collides = |(other, its): &&(&Piece, &Object)| {
                    (is_name || its.name != object.name) && same_cluster(piece, object, other, its)
                };
                let Some((other, its)) = group.iter().take(index).find(collides) else { continue };
                let place = format!("{}:{}", other.source.shown, its.place.line);
                let of =
                    namespace.as_ref().map(|one| format!(" in namespace {}", shown(one))).unwrap_or_default();
                let message = if is_name {
                    format!("EncryptedSecret {}{of} is in {place}, too", shown(name))
                } else {
                    let (one, two) = (shown(&object.name), shown(&its.name));
                    format!(
                        "EncryptedSecret {one} makes Secret {}{of}, and so does {two} in {place}",
                        shown(name)
                    )
                };
                self.find(piece, object.place, Rule::NameCollision, &message);
            }
        }
    }

    /// Files of the tree that a generator makes Secrets of, and that are no documents.
    fn fed(&mut self, pieces: &[Piece]) {
        let documents: BTreeSet<&Path> = pieces
            .iter()
            .filter(|piece| !piece.documents.is_empty())
            .map(|piece| piece.source.path.as_path())
            .collect();
        for piece in pieces {
            for (place, path) in &piece.fed {
                let path = normal(path);
                if documents.contains(path.as_path()) || !path.is_file() || path.is_symlink() {
                    continue;
                }
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let message =
                    format!("a secretGenerator is fed with {}, which is not encrypted", shown(&name));
                self.find(piece, *place, Rule::PlaintextGenerator, &message);
            }
        }
    }
}

/// Objects by the namespace they name, and a name.
type Named<'p> = BTreeMap<(&'p Option<String>, &'p str), Vec<(&'p Piece, &'p Object)>>;

/// What is to be said of the newest generation among these.
fn generation(facts: &[&Fact]) -> Option<(Rule, String)> {
    let newest = facts.iter().filter(|fact| fact.generation.is_some()).max_by_key(|fact| fact.generation)?;
    let number = newest.generation?;
    let keyring = shown(&newest.keyring);
    match newest.state? {
        GenerationState::Active => None,
        GenerationState::Retiring => {
            let message = format!(
                "encrypted to key generation {number} of keyring {keyring}, and a newer one is in use"
            );
            Some((Rule::OlderGeneration, message))
        }
        GenerationState::Retired => {
            let message =
                format!("encrypted to key generation {number} of keyring {keyring}, which is retired");
            Some((Rule::RetiredGeneration, message))
        }
    }
}

const fn said_by(source: Source) -> &'static str {
    match source {
        Source::Remembered => "what this laptop remembers of the keyring",
        Source::Published => "the Recipient objects of the tree",
        Source::Rule => "the creation rules",
    }
}

fn same_cluster(piece: &Piece, object: &Object, other: &Piece, its: &Object) -> bool {
    let folder = |piece: &Piece| piece.source.path.parent().map(Path::to_owned);
    let shared = object.recipients.iter().any(|one| its.recipients.contains(one));
    folder(piece) == folder(other) || (object.namespace.is_some() && shared)
}

/// Without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            std::path::Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
