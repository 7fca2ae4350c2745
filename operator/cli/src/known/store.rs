//! The file behind the memory, and the question that precedes a new line in it.

use std::path::PathBuf;

use touchseal_keyring::VerifiedManifest;
use touchseal_keyring::pin::PinMismatch;

use super::{Entry, Verdict, judge, newer_known, remember};
use crate::error::{Exit, Explain, Failure};
use crate::files::{self, Existing, FileError};
use crate::terminal;

const MAX_BYTES: u64 = 1024 * 1024;

/// The file of known keyrings.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// Why a keyring was not accepted, or the file not used.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// Nowhere to keep it.
    #[error("find the file of known keyrings: neither XDG_CONFIG_HOME nor HOME is set")]
    NoHome,
    /// It could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line is not ours.
    #[error("read {}: line {line} is not an entry", .path.display())]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
    /// The keyring is not the accepted one.
    #[error("KEYRING {keyring} HAS CHANGED{at}: {mismatch} (accepted as {accepted})")]
    Changed {
        keyring: String,
        at: String,
        mismatch: Box<PinMismatch>,
        accepted: String,
        path: PathBuf,
        line: usize,
    },
    /// A person looked at an unknown keyring and said no, or nobody was there to ask.
    #[error("keyring {keyring} is not known{at}, and its fingerprint {fingerprint} was not confirmed")]
    NotConfirmed { keyring: String, at: String, fingerprint: String },
    /// The same, of a keyring that has the name of a known one.
    #[error(
        "keyring {keyring}{at} is not the one known by this name: its fingerprint {fingerprint} was not confirmed in place of {pinned}"
    )]
    NamesakeNotConfirmed { keyring: String, at: String, fingerprint: String, pinned: String },
}

impl Explain for KnownError {
    fn hint(&self) -> String {
        match self {
            Self::NoHome => "set HOME, or XDG_CONFIG_HOME to a directory that keeps its files".to_owned(),
            Self::File(error) => error.hint(),
            Self::Line { line, .. } => format!("correct or remove line {line} of that file"),
            Self::Changed { path, line, mismatch, .. }
                if matches!(**mismatch, PinMismatch::RolledBack { .. }) =>
            {
                format!(
                    "bring the newest manifest (git pull, then apply it); only if it was put back on purpose, remove line \
                 {line} of {}",
                    path.display()
                )
            }
            Self::Changed { path, line, .. } => format!(
                "somebody may be trying to have you encrypt to a key of theirs: ask whoever keeps the keyring; only if \
                 it was replaced on purpose, remove line {line} of {}",
                path.display()
            ),
            Self::NotConfirmed { .. } => {
                "compare it with what `touchseal keyring create` printed, then confirm on a \
                                          terminal or with --yes"
                    .to_owned()
            }
            Self::NamesakeNotConfirmed { .. } => {
                "ask whoever keeps the keyring whether there are two of this name; if so, confirm it on a terminal: \
                 --yes does not answer this"
                    .to_owned()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Changed { .. } | Self::NotConfirmed { .. } | Self::NamesakeNotConfirmed { .. } => {
                Exit::Refused
            }
            _ => Exit::Failed,
        }
    }
}

impl Store {
    /// Opens the person's own file; a missing one is empty.
    pub fn open() -> Result<Self, KnownError> {
        Self::at(file("known_keyrings").ok_or(KnownError::NoHome)?)
    }

    fn at(path: PathBuf) -> Result<Self, KnownError> {
        if !path.exists() {
            return Ok(Self { path, entries: Vec::new() });
        }
        let text = files::read_text(&path, MAX_BYTES)?;
        let entries = text
            .lines()
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_str(line).map_err(|source| KnownError::Line {
                    path: path.clone(),
                    line: index + 1,
                    source,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { path, entries })
    }

    /// What is remembered, for somebody who remembers more and writes nothing down.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Lets a known manifest pass, asks about an unknown one, stops at a changed one. `yes` answers the question about
    /// an unknown keyring; it says nothing about a changed one, nor about one that has the name of a known one.
    pub fn accept(
        &mut self,
        server: Option<&str>,
        keyring: &str,
        manifest: &VerifiedManifest,
        yes: bool,
    ) -> Result<(), Failure> {
        self.accept_with(server, keyring, manifest, yes, &mut |question| Ok(terminal::confirm(question)?))
    }

    fn accept_with(
        &mut self,
        server: Option<&str>,
        keyring: &str,
        manifest: &VerifiedManifest,
        yes: bool,
        ask: &mut dyn FnMut(&str) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let at = server.map(|server| format!(" on {server}")).unwrap_or_default();
        let name = keyring.to_owned();
        match judge(&self.entries, server, keyring, manifest) {
            Verdict::Known => {}
            Verdict::Advanced(entry) | Verdict::Introduced(entry) => self.remember(entry)?,
            Verdict::Changed { line, mismatch } => {
                let (path, mismatch) = (self.path.clone(), Box::new(mismatch));
                let accepted = self.place(line);
                return Err(KnownError::Changed { keyring: name, at, mismatch, accepted, path, line }.into());
            }
            Verdict::Unknown(entry) => {
                let fingerprint = entry.pin.fingerprint.to_string();
                terminal::say(&format!(
                    "Keyring {keyring}{at} is not known. Its fingerprint is\n  {fingerprint}"
                ));
                if !yes && !matches!(ask("Is this the fingerprint its creator told you?"), Ok(true)) {
                    return Err(KnownError::NotConfirmed { keyring: name, at, fingerprint }.into());
                }
                self.introduce(entry)?;
            }
            Verdict::Namesake { entry, line, pinned } => {
                let (fingerprint, pinned) = (entry.pin.fingerprint.to_string(), pinned.to_string());
                let place = self.place(line);
                terminal::say(&format!(
                    "WARNING: ANOTHER KEYRING IS KNOWN BY THE NAME {keyring}.\n\
                     Keyring {keyring}{at} has the fingerprint\n  {fingerprint}\n\
                     but {place} has\n  {pinned}\n\
                     Unless there really are two keyrings of this name, somebody has swapped it: answer no."
                ));
                let question = "Are there two keyrings of this name, and is the first fingerprint what its creator told you?";
                if !matches!(ask(question), Ok(true)) {
                    let refused = KnownError::NamesakeNotConfirmed { keyring: name, at, fingerprint, pinned };
                    return Err(refused.into());
                }
                self.introduce(entry)?;
            }
        }
        if let Some(newer) = newer_known(&self.entries, manifest) {
            terminal::say(&format!(
                "note: keyring {keyring}{at} is at revision {}, and revision {} of it is known already: bring the \
                 newest manifest (git pull, then apply it)",
                manifest.spec().revision,
                newer.pin.revision
            ));
        }
        Ok(())
    }

    /// Whether this keyring would be taken without a question.
    pub fn knows(&self, server: Option<&str>, keyring: &str, manifest: &VerifiedManifest) -> bool {
        let verdict = judge(&self.entries, server, keyring, manifest);
        matches!(verdict, Verdict::Known | Verdict::Advanced(_) | Verdict::Introduced(_))
    }

    /// A line of the file, in words.
    fn place(&self, line: usize) -> String {
        match line.checked_sub(1).and_then(|index| self.entries.get(index)) {
            Some(Entry { server: Some(server), keyring, .. }) => format!("keyring {keyring} on {server}"),
            Some(Entry { keyring, .. }) => format!("the file of keyring {keyring}"),
            None => format!("line {line}"),
        }
    }

    fn introduce(&mut self, entry: Entry) -> Result<(), KnownError> {
        self.remember(entry)?;
        terminal::say(&format!("remembered in {}", self.path.display()));
        Ok(())
    }

    /// Remembers a manifest that was just made here.
    pub fn remember_created(&mut self, keyring: &str, manifest: &VerifiedManifest) -> Result<(), KnownError> {
        self.remember(Entry::of(None, keyring, manifest))
    }

    fn remember(&mut self, entry: Entry) -> Result<(), KnownError> {
        let entries = remember(std::mem::take(&mut self.entries), entry);
        let mut text = String::new();
        for (index, entry) in entries.iter().enumerate() {
            let line = serde_json::to_string(entry).map_err(|source| KnownError::Line {
                path: self.path.clone(),
                line: index + 1,
                source,
            })?;
            text.push_str(&line);
            text.push('\n');
        }
        self.entries = entries;
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| FileError::Write(self.path.clone(), error))?;
        }
        Ok(files::write(&self.path, &text, Existing::Replace, true)?)
    }
}

/// The place of a file that this program remembers things in.
pub fn file(name: &str) -> Option<PathBuf> {
    Some(default_folder(&|name| std::env::var_os(name).map(PathBuf::from))?.join(name))
}

/// `$XDG_CONFIG_HOME/touchseal`, else below `~/.config` (Windows: `%APPDATA%`).
fn default_folder(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|path| path.is_absolute());
    let config = set("XDG_CONFIG_HOME")
        .or_else(|| if cfg!(windows) { set("APPDATA") } else { None })
        .or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(config.join("touchseal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;
    use touchseal_keyring::manifest;

    fn keyring() -> VerifiedManifest {
        let (spec, _) = manifest::create(vec![holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap();
        manifest::verify(&spec).unwrap()
    }

    #[test]
    fn what_was_confirmed_is_remembered_in_a_private_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("touchseal").join("known_keyrings");
        let manifest = keyring();
        let mut store = Store::at(path.clone()).unwrap();
        let refused = store.accept_with(None, "main", &manifest, false, &mut |_| Ok(false)).unwrap_err();
        assert_eq!(refused.exit(), Exit::Refused);
        assert!(!path.exists(), "a refused keyring must not be remembered");
        store.accept_with(None, "main", &manifest, false, &mut |_| Ok(true)).unwrap();
        let mut again = Store::at(path).unwrap();
        again.accept_with(None, "main", &manifest, false, &mut |_| panic!("asked twice")).unwrap();
    }

    #[test]
    fn yes_never_accepts_a_changed_keyring() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::at(dir.path().join("known_keyrings")).unwrap();
        store.accept(Some("https://s"), "main", &keyring(), true).unwrap();
        let changed = store.accept(Some("https://s"), "main", &keyring(), true).unwrap_err();
        assert_eq!(changed.exit(), Exit::Refused);
        assert!(
            changed.what().contains("HAS CHANGED") && changed.hint().contains("remove line 1"),
            "{changed:?}"
        );
    }

    #[test]
    fn yes_never_accepts_a_swapped_file_nor_an_older_revision_under_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::at(dir.path().join("known_keyrings")).unwrap();
        let (spec, open) = manifest::create(vec![holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap();
        let first = manifest::verify(&spec).unwrap();
        let second = manifest::add_holder(&first, &open, holder("ben", 2)).unwrap();
        store.remember_created("main", &first).unwrap();
        store.remember_created("main", &manifest::verify(&second).unwrap()).unwrap();
        let mut refused = |server, name, manifest: &VerifiedManifest| {
            store.accept_with(server, name, manifest, true, &mut |_| panic!("asked")).unwrap_err()
        };
        for failure in [refused(None, "main", &keyring()), refused(Some("https://s"), "other", &first)] {
            assert_eq!(failure.exit(), Exit::Refused);
            assert!(failure.what().contains("accepted as the file of keyring main"), "{failure:?}");
            assert!(failure.hint().contains("remove line 1"), "{failure:?}");
        }
    }

    #[test]
    fn yes_does_not_answer_for_a_namesake_and_a_person_sees_both_fingerprints() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_keyrings");
        let mut store = Store::at(path.clone()).unwrap();
        let (ours, theirs) = (keyring(), keyring());
        store.remember_created("prod", &ours).unwrap();
        let before = std::fs::read_to_string(&path).unwrap();
        let mut asked = 0;
        let refused = store
            .accept_with(Some("https://s"), "prod", &theirs, true, &mut |_| {
                asked += 1;
                Ok(false)
            })
            .unwrap_err();
        assert_eq!((asked, refused.exit()), (1, Exit::Refused));
        for fingerprint in [ours.fingerprint(), theirs.fingerprint()] {
            assert!(refused.what().contains(&fingerprint.to_string()), "{refused:?}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
        store.accept_with(Some("https://s"), "prod", &theirs, false, &mut |_| Ok(true)).unwrap();
        store.accept_with(Some("https://s"), "prod", &theirs, false, &mut |_| panic!("asked twice")).unwrap();
    }

    #[test]
    fn a_damaged_file_is_named_and_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_keyrings");
        std::fs::write(&path, "{}\n").unwrap();
        assert!(matches!(Store::at(path), Err(KnownError::Line { line: 1, .. })));
    }

    #[test]
    fn relative_directories_are_not_used() {
        let path = |xdg: &'static str, home: &'static str| {
            default_folder(&|name| match name {
                "XDG_CONFIG_HOME" => Some(PathBuf::from(xdg)),
                "HOME" => Some(PathBuf::from(home)),
                _ => None,
            })
        };
        assert_eq!(path("/c", "/h"), Some("/c/touchseal".into()));
        assert_eq!(path("relative", "/h"), Some("/h/.config/touchseal".into()));
        assert_eq!(path("", ""), None);
    }
}
