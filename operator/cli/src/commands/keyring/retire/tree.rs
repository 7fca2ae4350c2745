//! The tree's side: every document and every file of creation rules below the folders named, and the namespaces they may be
//! of. Read before anything is derived, so that each namespace is derived once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use touchseal_sops::Document;

use super::need::{Need, Own, Why};
use crate::documents::{self, Candidate, DocumentFile, Reading};
use crate::error::Failure;
use crate::{creation_rules, files, local_keys};

const MAX_RULES_BYTES: u64 = 1024 * 1024;

/// What is in the tree.
pub struct Survey {
    /// Those whose recipients are to be looked for.
    pub namespaces: BTreeSet<String>,
    documents: Vec<Found>,
    rules: Vec<(String, String)>,
    unreadable: Vec<Need>,
}

struct Found {
    place: String,
    groups: Vec<Vec<String>>,
    /// A manifest names its namespace.
    known: bool,
}

/// Reads it. Nothing is opened.
pub fn survey(tree: &[PathBuf], keyring: &str, namespaces: BTreeSet<String>) -> Result<Survey, Failure> {
    let mut survey = Survey { namespaces, documents: Vec::new(), rules: Vec::new(), unreadable: Vec::new() };
    for candidate in documents::find(tree)? {
        if is_rules(&candidate.path) {
            survey.rules(&candidate.path, keyring);
            continue;
        }
        // A folder was named, or a file: neither has to hold documents.
        match (Candidate { named: false, ..candidate.clone() }).read(None) {
            Ok(Reading::Documents(file)) => survey.file(&file, keyring),
            Ok(Reading::Other) => {}
            Ok(Reading::Doubtful) => {
                survey.unreadable(&candidate.path, "it holds what sops writes, but is no document")
            }
            Err(problem) => survey.unreadable(&candidate.path, &problem.of_its_file()),
        }
    }
    Ok(survey)
}

impl Survey {
    /// What stands in the way.
    pub fn needs(&self, own: &Own) -> Vec<Need> {
        let documents = self.documents.iter().filter_map(|found| {
            Some(Need { why: own.judge(&found.groups, found.known)?, place: found.place.clone() })
        });
        let rules = self
            .rules
            .iter()
            .filter_map(|(place, text)| Some(Need { why: own.in_rules(text)?, place: place.clone() }));
        documents.chain(rules).chain(self.unreadable.iter().cloned()).collect()
    }

    /// The same where not all recipients are known: that none of those known is a document's says nothing of it.
    pub fn told(&self, own: &Own) -> Vec<Need> {
        self.needs(own).into_iter().filter(|need| need.why != Why::NoNamespace).collect()
    }

    fn file(&mut self, file: &DocumentFile, keyring: &str) {
        for (index, inside) in file.documents().iter().enumerate() {
            let place = match file.documents().len() {
                1 => file.path().display().to_string(),
                _ => format!("{} ({})", file.path().display(), inside.name),
            };
            let document = match file.document(index) {
                Ok(document) => document,
                Err(problem) => {
                    let problem = crate::error::chain(&problem);
                    self.unreadable.push(Need { place, why: Why::Unreadable { problem } });
                    continue;
                }
            };
            match &inside.namespace {
                Some(namespace) => drop(self.namespaces.insert(namespace.clone())),
                None => self.namespaces.extend(local_keys::likely_namespaces(file.path(), keyring)),
            }
            self.documents.push(Found {
                place,
                groups: groups(&document),
                known: inside.namespace.is_some(),
            });
        }
    }

    fn rules(&mut self, path: &Path, keyring: &str) {
        match files::read_text(path, MAX_RULES_BYTES) {
            Ok(text) => {
                self.namespaces.extend(creation_rules::namespaces(&text, keyring));
                self.rules.push((path.display().to_string(), text));
            }
            Err(problem) => self.unreadable(path, &crate::error::chain(&problem)),
        }
    }

    fn unreadable(&mut self, path: &Path, problem: &str) {
        let why = Why::Unreadable { problem: problem.to_owned() };
        self.unreadable.push(Need { place: path.display().to_string(), why });
    }
}

fn is_rules(path: &Path) -> bool {
    matches!(path.file_name().and_then(|name| name.to_str()), Some(".sops.yaml" | ".sops.yml"))
}

fn groups(document: &Document) -> Vec<Vec<String>> {
    let groups = document.metadata().groups().iter();
    groups.map(|group| group.age().iter().map(|key| key.recipient().to_owned()).collect()).collect()
}
