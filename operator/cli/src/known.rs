//! Keyrings this person has accepted, as ssh remembers hosts: `$XDG_CONFIG_HOME/touchseal/known_keyrings`, one JSON
//! object a line. Stops a keyring that somebody swapped for one whose master they know: it verifies by itself.

mod store;

pub use store::{Store, file};

use serde::{Deserialize, Serialize};
use touchseal_keyring::pin::PinMismatch;
use touchseal_keyring::{Fingerprint, Pin, PinCheck, VerifiedManifest};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// URL of the API server the keyring was seen on; absent for one seen as a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Name it was seen under.
    pub keyring: String,
    /// Its id: another keyring of the same id is no other keyring but a forged beginning of this one. Absent in lines
    /// written before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What was accepted.
    pub pin: Pin,
}

impl Entry {
    /// What is to be remembered of a manifest.
    pub fn of(server: Option<&str>, keyring: &str, manifest: &VerifiedManifest) -> Self {
        Self {
            server: server.map(str::to_owned),
            keyring: keyring.to_owned(),
            id: Some(manifest.id().to_string()),
            pin: manifest.pin(),
        }
    }

    /// One place holds one keyring: a name on an API server, or a name among the files.
    fn is_place(&self, server: Option<&str>, keyring: &str) -> bool {
        self.server.as_deref() == server && self.keyring == keyring
    }

    fn is_same_keyring(&self, other: &Self) -> bool {
        self.pin.fingerprint == other.pin.fingerprint || (self.id.is_some() && self.id == other.id)
    }
}

/// What memory says to a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Accepted before, as it is.
    Known,
    /// Accepted before; remember this newer state of it.
    Advanced(Entry),
    /// Accepted before elsewhere, and not older than there: remember this place, too.
    Introduced(Entry),
    /// Never seen: a person must compare the fingerprint. The entry is what to remember then.
    Unknown(Entry),
    /// Never seen, while another keyring is known by this name elsewhere (the line counts from 1): a person must
    /// compare both fingerprints, and nothing said beforehand answers for them.
    Namesake { entry: Entry, line: usize, pinned: Fingerprint },
    /// Not what was accepted. Never acceptable without editing the file. The line counts from 1.
    Changed { line: usize, mismatch: PinMismatch },
}

/// Holds a manifest against everything that is remembered: of its name and, under whatever name, of its keyring. Whoever
/// applies an older revision or a fork of a known keyring chooses the name to do it under.
/// `server` is `None` for a manifest read from a file.
pub fn judge(entries: &[Entry], server: Option<&str>, keyring: &str, manifest: &VerifiedManifest) -> Verdict {
    let present = Entry::of(server, keyring, manifest);
    let same_fingerprint = |entry: &Entry| entry.pin.fingerprint == present.pin.fingerprint;
    let changed = |index: usize, mismatch| Verdict::Changed { line: index + 1, mismatch };

    let mut here = entries.iter().enumerate().filter(|(_, entry)| entry.is_place(server, keyring)).peekable();
    let swapped = here.peek().copied();
    let here = here.find(|(_, entry)| same_fingerprint(entry));
    if let (Some((index, entry)), None) = (swapped, here) {
        let (pinned, found) = (entry.pin.fingerprint, present.pin.fingerprint);
        return changed(index, PinMismatch::FingerprintChanged { pinned, found });
    }
    let own = here.map(|(_, entry)| entry.pin.check(manifest));
    if let (Some((index, _)), Some(PinCheck::Refused(mismatch))) = (here, &own) {
        return changed(index, mismatch.clone());
    }

    let mut elsewhere = false;
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.is_same_keyring(&present)) {
        elsewhere = true;
        // A cluster may still have what was accepted there while a newer edit is known elsewhere: nothing went back.
        let may_lag = server.is_some() && own == Some(PinCheck::Same) && is_behind(&entry.pin, manifest);
        match entry.pin.check(manifest) {
            PinCheck::Refused(mismatch) if !may_lag => return changed(index, mismatch),
            _ => {}
        }
    }
    match own {
        Some(PinCheck::Newer(_)) => return Verdict::Advanced(present),
        Some(_) => return Verdict::Known,
        None => {}
    }

    // Clusters name their keyrings independently of each other; a file's keyring is meant for any of them.
    let named = || entries.iter().enumerate().filter(|(_, entry)| entry.keyring == keyring);
    let namesake = named().find(|(_, entry)| server.is_none() || entry.server.is_none());
    match namesake.filter(|_| !named().any(|(_, entry)| same_fingerprint(entry))) {
        Some((index, other)) => {
            Verdict::Namesake { entry: present, line: index + 1, pinned: other.pin.fingerprint }
        }
        None if elsewhere => Verdict::Introduced(present),
        None => Verdict::Unknown(present),
    }
}

/// Whether a manifest is older than the pinned one of its keyring.
fn is_behind(pin: &Pin, manifest: &VerifiedManifest) -> bool {
    matches!(pin.check(manifest), PinCheck::Refused(PinMismatch::RolledBack { .. }))
}

/// The newest state known of a keyring, where that is newer than the manifest.
pub fn newer_known<'a>(entries: &'a [Entry], manifest: &VerifiedManifest) -> Option<&'a Entry> {
    let behind =
        |entry: &&Entry| entry.pin.fingerprint == manifest.fingerprint() && is_behind(&entry.pin, manifest);
    entries.iter().filter(behind).max_by_key(|entry| entry.pin.revision)
}

/// The entries with one remembered: it replaces what its place knew, or is added at the end.
pub fn remember(mut entries: Vec<Entry>, new: Entry) -> Vec<Entry> {
    let replaces = |old: &Entry| {
        old.server == new.server
            && old.keyring == new.keyring
            && (new.server.is_some() || old.pin.fingerprint == new.pin.fingerprint)
    };
    match entries.iter().position(replaces) {
        Some(index) => entries[index] = new,
        None => entries.push(new),
    }
    entries
}

#[cfg(test)]
mod tests;
