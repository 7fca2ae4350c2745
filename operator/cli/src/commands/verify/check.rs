//! One document: what can be said of it without a key, and what only a key tells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use touchseal_crds::RecipientSpec;
use touchseal_sops::Document;

use super::Row;
use crate::args::Global;
use crate::creation_rules::{ChooseError, Chosen, Config};
use crate::documents::DocumentFile;
use crate::error::{Failure, chain};
use crate::local_keys::Identities;

/// How documents of this run are checked.
pub struct Check<'k> {
    keys: &'k mut Identities,
    decrypt: bool,
    /// A keyring was named: every document is to be of it.
    named: bool,
    /// One that is known here was found: what names a key of it, and what no rule is for, is held against it.
    found: bool,
    namespace: Option<String>,
    /// What documents of a namespace should be encrypted to; `None` where that is not known.
    expected: BTreeMap<String, Option<RecipientSpec>>,
    /// Creation rules by folder; `None` where there are none, else why they cannot be read.
    rules: BTreeMap<PathBuf, Result<Option<Config>, String>>,
}

impl<'k> Check<'k> {
    /// A keyring counts if it was named, is known here, or was opened: else nobody is asked about one that lies around.
    pub fn new(
        keys: &'k mut Identities,
        decrypt: bool,
        named: bool,
        global: &Global,
    ) -> Result<Self, Failure> {
        if named {
            keys.keyring()?;
        }
        let found = !named && keys.take_known();
        let namespace = global.namespace.clone();
        Ok(Self { keys, decrypt, named, found, namespace, expected: BTreeMap::new(), rules: BTreeMap::new() })
    }

    /// # Errors
    /// What would be the same for every other document: the YubiKey, the PIN, the keyring.
    pub fn document(&mut self, file: &DocumentFile, index: usize) -> Result<Row, Failure> {
        let place = &file.documents()[index];
        let mut row = Row {
            file: file.path().display().to_string(),
            document: file.is_manifest().then(|| place.name.clone()),
            format: Some(place.format.to_string()),
            ..Row::default()
        };
        match file.namespace(index, self.namespace.as_deref()) {
            Ok(namespace) => row.namespace = namespace.map(str::to_owned),
            Err(problem) => {
                row.problems.push(chain(&problem));
                return Ok(row);
            }
        }
        let document = match place.parse() {
            Ok(document) => document,
            Err(problem) => {
                row.problems.push(chain(&problem));
                return Ok(row);
            }
        };
        row.recipients = document.age_recipients().map(str::to_owned).collect();
        row.last_modified = Some(document.metadata().last_modified().to_owned());
        if row.recipients.is_empty() {
            row.problems.push("it is encrypted to no age recipient: Touchseal cannot open it".to_owned());
            return Ok(row);
        }
        let opened_by = if self.decrypt { self.open(file, index, &document, &mut row)? } else { Vec::new() };
        if row.problems.is_empty() && !document.metadata().has_mac() {
            row.problems.push("it has no MAC: anybody could have changed it".to_owned());
        }
        if row.namespace.is_none()
            && let [only] = self.keys.known_namespaces(row.recipients.iter().map(String::as_str)).as_slice()
        {
            row.namespace = Some(only.clone());
        }
        let expected = self.expected(row.namespace.as_deref())?;
        let counts = self.named || self.keys.opened_keyring();
        if let Some(expected) = expected.as_ref().filter(|_| counts) {
            row.recipients_checked = true;
            compare(&mut row, expected, &opened_by);
            return Ok(row);
        }
        match self.rule(file) {
            Ok(Some(rule)) => {
                row.recipients_checked = true;
                follow(&mut row, &rule);
                if let Some((keyring, namespace)) = &rule.written_for {
                    let told = self.keys.told_recipients(keyring, namespace)?;
                    hold(&mut row, &rule, &told);
                }
            }
            // Beside a keyring that was merely found there may be another one, whose documents it says nothing of.
            Ok(None) => {
                if let Some(expected) = expected.filter(|spec| lists_one_of(&row.recipients, spec)) {
                    row.recipients_checked = true;
                    compare(&mut row, &expected, &opened_by);
                }
            }
            Err(problem) => row.problems.push(problem),
        }
        Ok(row)
    }

    /// The recipients whose keys opened it.
    fn open(
        &mut self,
        file: &DocumentFile,
        index: usize,
        document: &Document,
        row: &mut Row,
    ) -> Result<Vec<String>, Failure> {
        let scope = file.scope(index, self.namespace.as_deref())?;
        let opener = match self.keys.for_document(document, scope) {
            Ok(opener) => opener,
            Err(failure) => {
                if let Some(at_every_document) = self.keys.failure() {
                    return Err(at_every_document);
                }
                row.problems.push(failure.what().to_owned());
                return Ok(Vec::new());
            }
        };
        match document.decrypt_with(&opener) {
            Ok(plain) => {
                row.opened = true;
                Ok(plain.opened_by().map(str::to_owned).collect())
            }
            Err(problem) => {
                row.problems.push(problem.to_string());
                Ok(Vec::new())
            }
        }
    }

    fn expected(&mut self, namespace: Option<&str>) -> Result<Option<RecipientSpec>, Failure> {
        let counts = self.named || self.found || self.keys.opened_keyring();
        let Some(namespace) = namespace.filter(|_| counts) else { return Ok(None) };
        if let Some(known) = self.expected.get(namespace) {
            return Ok(known.clone());
        }
        // Without --decrypt no YubiKey is asked for.
        let spec = if self.decrypt && self.keys.opened_keyring() {
            Some(self.keys.recipients(namespace)?)
        } else {
            self.keys.known_recipients(namespace)?
        };
        self.expected.insert(namespace.to_owned(), spec.clone());
        Ok(spec)
    }

    /// The creation rule of a plain file; `None` where none is for it, or only sops itself can follow it.
    ///
    /// # Errors
    /// Rules that cannot be read, in words: what they ask for is unknown, which is no reason to pass.
    fn rule(&mut self, file: &DocumentFile) -> Result<Option<Chosen>, String> {
        if file.is_manifest() {
            return Ok(None);
        }
        let folder = file.path().parent().unwrap_or(Path::new("")).to_owned();
        let config =
            self.rules.entry(folder).or_insert_with(|| Config::of(file.path(), None).map_err(|e| chain(&e)));
        let Some(config) = config.as_ref().map_err(Clone::clone)? else { return Ok(None) };
        match config.choose_beside_pgp(file.path()) {
            Err(ChooseError::NoRule { .. } | ChooseError::OtherKeys { .. }) => Ok(None),
            chosen => chosen.map_err(|e| chain(&e)),
        }
    }
}

/// A rule that was written for a namespace names its recipient alone: of several, all but the known one are others.
fn hold(row: &mut Row, rule: &Chosen, told: &[String]) {
    let named: Vec<&String> = rule.groups.iter().flatten().collect();
    if told.is_empty() && named.len() < 2 {
        return;
    }
    let others = named.into_iter().filter(|one| row.recipients.contains(one) && !told.contains(one));
    row.other_recipients.extend(others.cloned());
}

/// Whom the rule of a file on its own names must be able to open it; others are told of.
fn follow(row: &mut Row, rule: &Chosen) {
    for wanted in rule.groups.iter().flatten().filter(|wanted| !row.recipients.contains(wanted)) {
        row.problems
            .push(format!("it is not encrypted to {wanted}, as {} says: touchseal rekey", rule.place));
    }
    let named = |one: &&String| rule.groups.iter().flatten().any(|wanted| wanted == *one);
    row.other_recipients = row.recipients.iter().filter(|one| !named(one)).cloned().collect();
}

fn lists_one_of(recipients: &[String], spec: &RecipientSpec) -> bool {
    spec.generations.iter().any(|own| recipients.contains(&own.recipient))
}

/// The Active generation's recipient must be among the document's. An older one opens it still, until it is retired.
fn compare(row: &mut Row, expected: &RecipientSpec, opened_by: &[String]) {
    let namespace = row.namespace.clone().unwrap_or_default();
    let newest = expected.generations.iter().find(|own| row.recipients.contains(&own.recipient));
    row.key_generation = newest.map(|own| own.generation);
    let ours = |one: &&String| expected.generations.iter().any(|own| own.recipient == **one);
    row.other_recipients = row.recipients.iter().filter(|one| !ours(one)).cloned().collect();
    match newest {
        None => row.problems.push(format!("it is not encrypted for namespace {namespace}")),
        Some(own) if own.recipient != expected.recipient => row.problems.push(format!(
            "it is encrypted to key generation {}, and {} is in use: move it with touchseal rekey",
            own.generation, expected.key_generation
        )),
        Some(own) => {
            // What a document lists is not authenticated; what really opened it is.
            let ours = |by: &String| expected.generations.iter().any(|own| own.recipient == *by);
            if opened_by.iter().any(ours) && !opened_by.contains(&own.recipient) {
                row.problems
                    .push(format!("it lists key generation {}, but opens with an older one", own.generation));
            }
        }
    }
}
