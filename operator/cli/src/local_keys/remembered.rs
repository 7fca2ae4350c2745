//! Recipients seen in an open keyring, kept beside the known keyrings: who may only write needs no YubiKey for it, and a
//! tree that needs nothing done is told so without a touch. Public data, bound to the key generation it was derived from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use touchseal_crds::RecipientSpec;
use touchseal_crds::keyring::GenerationState;
use touchseal_crds::recipient::GenerationRecipient;
use touchseal_keyring::{Fingerprint, VerifiedManifest};

use crate::files::{self, Existing};
use crate::known;

const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    /// The keyring, by what a person compares.
    keyring: Fingerprint,
    namespace: String,
    generation: u32,
    /// The generation's verify key, lower-case hexadecimal: another master has another one.
    verify_key: String,
    recipient: String,
}

/// The file `known_recipients`. Reading and writing it is a convenience: what fails is as if nothing were known.
/// It is written when this is dropped.
pub struct Remembered {
    path: Option<PathBuf>,
    lines: Vec<Line>,
    /// What this run adds.
    new: Vec<Line>,
}

impl Remembered {
    /// The person's own file.
    pub fn open() -> Self {
        Self::at(known::file("known_recipients"))
    }

    fn at(path: Option<PathBuf>) -> Self {
        let lines = path.as_deref().map(read).unwrap_or_default();
        Self { path, lines, new: Vec::new() }
    }

    /// A namespace's recipients of every live generation of the manifest; `None` unless all are known.
    pub fn of(&self, manifest: &VerifiedManifest, namespace: &str) -> Option<RecipientSpec> {
        let live =
            manifest.spec().generations.iter().rev().filter(|one| one.state != GenerationState::Retired);
        let generations = live
            .map(|one| {
                let line = self
                    .ours(manifest)
                    .find(|line| line.namespace == namespace && line.generation == one.number)?;
                let (generation, state) = (one.number, one.state);
                Some(GenerationRecipient { generation, state, recipient: line.recipient.clone() })
            })
            .collect::<Option<Vec<_>>>()?;
        let newest = generations.first()?;
        let (recipient, key_generation) = (newest.recipient.clone(), newest.generation);
        Some(RecipientSpec { recipient, key_generation, generations })
    }

    /// The namespaces that any of these recipients is of.
    pub fn namespaces<'r>(
        &self,
        manifest: &VerifiedManifest,
        recipients: impl Iterator<Item = &'r str>,
    ) -> Vec<String> {
        let recipients: Vec<&str> = recipients.collect();
        let mut found: Vec<String> = self
            .ours(manifest)
            .filter(|line| recipients.contains(&line.recipient.as_str()))
            .map(|line| line.namespace.clone())
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// Whatever any keyring said of a namespace.
    pub fn ever(&self, namespace: &str) -> Vec<String> {
        let lines = self.lines.iter().filter(|line| line.namespace == namespace);
        lines.map(|line| line.recipient.clone()).collect()
    }

    /// All that is remembered of this keyring.
    pub fn every(&self, manifest: &VerifiedManifest) -> Vec<(String, u32, String)> {
        let told = |line: &Line| (line.namespace.clone(), line.generation, line.recipient.clone());
        self.ours(manifest).map(told).collect()
    }

    /// Every namespace of this keyring.
    pub fn known(&self, manifest: &VerifiedManifest) -> Vec<String> {
        let mut found: Vec<String> = self.ours(manifest).map(|line| line.namespace.clone()).collect();
        found.sort();
        found.dedup();
        found
    }

    /// Adds what the open keyring said.
    pub fn remember(&mut self, manifest: &VerifiedManifest, namespace: &str, spec: &RecipientSpec) {
        let new = spec.generations.iter().filter_map(|one| {
            Some(Line {
                keyring: manifest.fingerprint(),
                namespace: namespace.to_owned(),
                generation: one.generation,
                verify_key: hex(manifest.verify_key(one.generation)?),
                recipient: one.recipient.clone(),
            })
        });
        let new: Vec<Line> = new.filter(|line| !self.lines.contains(line)).collect();
        self.new.extend(new.iter().cloned());
        self.lines.extend(new);
    }

    /// The lines of this very keyring's generations.
    fn ours<'a>(&'a self, manifest: &VerifiedManifest) -> impl Iterator<Item = &'a Line> {
        let keyring = manifest.fingerprint();
        self.lines.iter().filter(move |line| {
            line.keyring == keyring
                && manifest.verify_key(line.generation).is_some_and(|key| hex(key) == line.verify_key)
        })
    }

    fn write(&self) {
        let Some(path) = &self.path else { return };
        let folder = path.parent().inspect(|folder| drop(std::fs::create_dir_all(folder)));
        // Two runs at once keep each other's lines: one reads and writes after the other, and adds only what is new. Where
        // folders cannot be locked, the last one wins.
        let lock = folder.and_then(|folder| std::fs::File::open(folder).ok());
        let _ = lock.as_ref().map(std::fs::File::lock);
        let mut lines = read(path);
        for line in &self.new {
            if !lines.contains(line) {
                lines.push(line.clone());
            }
        }
        let lines = lines.iter().filter_map(|line| serde_json::to_string(line).ok());
        let text: String = lines.map(|line| line + "\n").collect();
        if let Err(error) = files::write(path, &text, Existing::Replace, true) {
            tracing::debug!(%error, "recipients are not remembered");
        }
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        if !self.new.is_empty() {
            self.write();
        }
    }
}

fn read(path: &Path) -> Vec<Line> {
    let text = files::read_text(path, MAX_BYTES).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
impl Remembered {
    /// One without a file.
    pub(super) fn nowhere() -> Self {
        Self::at(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;
    use touchseal_keyring::{OpenKeyring, manifest};

    const TIME: &str = "2026-01-01T00:00:00Z";

    fn keyring() -> (VerifiedManifest, OpenKeyring) {
        let (spec, open) = manifest::create(vec![holder("anna", 1)], TIME).unwrap();
        (manifest::verify(&spec).unwrap(), open)
    }

    #[test]
    fn what_was_seen_is_known_in_the_next_run_and_of_that_generation_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("touchseal/known_recipients");
        let (first, open) = keyring();
        let spec = open.recipient_spec("shop").unwrap();
        let mut memory = Remembered::at(Some(path.clone()));
        assert_eq!(memory.of(&first, "shop"), None);
        memory.remember(&first, "shop", &spec);
        drop(memory);
        let mut again = Remembered::at(Some(path));
        assert_eq!(again.of(&first, "shop"), Some(spec.clone()));
        assert_eq!(again.of(&first, "chat"), None);
        assert_eq!(again.known(&first), ["shop"]);
        assert_eq!(again.namespaces(&first, [spec.recipient.as_str()].into_iter()), ["shop"]);

        let (rotated, opened) = manifest::rotate(&first, &open, TIME).unwrap();
        let rotated = manifest::verify(&rotated).unwrap();
        assert_eq!(again.of(&rotated, "shop"), None, "the new generation is not known");
        assert_eq!(
            again.namespaces(&rotated, [spec.recipient.as_str()].into_iter()),
            ["shop"],
            "the old one is"
        );
        again.remember(&rotated, "shop", &opened.recipient_spec("shop").unwrap());
        assert_eq!(again.of(&rotated, "shop"), Some(opened.recipient_spec("shop").unwrap()));
        assert_eq!(again.of(&keyring().0, "shop"), None, "another keyring");
    }

    #[test]
    fn two_runs_at_once_keep_each_others_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("touchseal/known_recipients");
        let (manifest, open) = keyring();
        let namespaces: Vec<String> = (0..16).map(|number| format!("n{number}")).collect();
        let both = std::sync::Barrier::new(namespaces.len());
        std::thread::scope(|scope| {
            for namespace in &namespaces {
                scope.spawn(|| {
                    let mut memory = Remembered::at(Some(path.clone()));
                    memory.remember(&manifest, namespace, &open.recipient_spec(namespace).unwrap());
                    both.wait();
                });
            }
        });
        let known = Remembered::at(Some(path)).known(&manifest);
        assert_eq!(known.len(), namespaces.len(), "{known:?}");
    }

    #[test]
    fn a_line_of_a_forged_generation_counts_for_nothing() {
        let (manifest, open) = keyring();
        let mut memory = Remembered::at(None);
        memory.remember(&manifest, "shop", &open.recipient_spec("shop").unwrap());
        memory.lines[0].verify_key = hex(&[7; 32]);
        assert_eq!(memory.of(&manifest, "shop"), None);
    }
}
