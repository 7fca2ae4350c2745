//! Which keyrings are unsealed with nobody there to compare a fingerprint: those whose fingerprint was given, or that the
//! file of known keyrings holds. What is seen of them is remembered until the process ends; nothing is written down.

use touchseal_keyring::{Fingerprint, VerifiedManifest};

use crate::error::{Exit, Failure};
use crate::known::{Entry, Store, Verdict, file, judge, remember};

/// What was said beforehand, and what was seen since.
#[derive(Debug)]
pub struct Trust {
    fingerprints: Vec<Fingerprint>,
    entries: Vec<Entry>,
}

impl Trust {
    /// From the command line and the file of known keyrings; an error where neither says anything.
    pub fn new(fingerprints: &[Fingerprint]) -> Result<Self, Failure> {
        let entries = match file("known_keyrings") {
            Some(_) => Store::open()?.into_entries(),
            None => Vec::new(),
        };
        if fingerprints.is_empty() && entries.is_empty() {
            return Err(Failure::usage(
                "--stay needs to know which keyring it may unseal",
                "give --fingerprint SHA256:..., as touchseal keyring show -f FILE prints it, or a file of known keyrings",
            ));
        }
        Ok(Self { fingerprints: fingerprints.to_vec(), entries })
    }

    /// Lets a keyring pass that was vouched for, and only forwards: one that was swapped or put back is refused.
    pub fn accept(
        &mut self,
        server: &str,
        keyring: &str,
        manifest: &VerifiedManifest,
    ) -> Result<(), Failure> {
        let fingerprint = manifest.fingerprint();
        let entry = match judge(&self.entries, Some(server), keyring, manifest) {
            Verdict::Known => return Ok(()),
            Verdict::Advanced(entry) | Verdict::Introduced(entry) => entry,
            Verdict::Unknown(entry) | Verdict::Namesake { entry, .. }
                if self.fingerprints.contains(&fingerprint) =>
            {
                entry
            }
            Verdict::Unknown(_) | Verdict::Namesake { .. } => {
                return Err(Failure::new(
                    Exit::Refused,
                    format!("keyring {keyring} has the fingerprint {fingerprint}, which nobody vouched for"),
                    "compare it with the manifest in git (touchseal keyring show -f FILE); if it is right, add --fingerprint",
                ));
            }
            Verdict::Changed { mismatch, .. } => {
                return Err(Failure::new(
                    Exit::Refused,
                    format!("KEYRING {keyring} HAS CHANGED: {mismatch}"),
                    "bring the newest manifest from git; somebody may have put another one in its place",
                ));
            }
        };
        self.entries = remember(std::mem::take(&mut self.entries), entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;
    use touchseal_keyring::manifest;

    #[test]
    fn only_what_was_vouched_for_passes_and_only_forwards() {
        let create = || manifest::create(vec![holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap();
        let ((spec, open), (other, _)) = (create(), create());
        let (first, other) = (manifest::verify(&spec).unwrap(), manifest::verify(&other).unwrap());
        let second = manifest::add_holder(&first, &open, holder("ben", 2)).unwrap();
        let second = manifest::verify(&second).unwrap();
        let mut trust = Trust { fingerprints: vec![first.fingerprint()], entries: Vec::new() };
        let mut refused = |name: &str, manifest: &VerifiedManifest| {
            trust.accept("https://s", name, manifest).err().map(|failure| failure.exit())
        };
        assert_eq!(refused("main", &other), Some(Exit::Refused), "never seen, and nobody vouched");
        assert_eq!(refused("main", &first), None);
        assert_eq!(refused("main", &second), None);
        assert_eq!(refused("main", &first), Some(Exit::Refused), "put back");
        assert_eq!(refused("else", &first), Some(Exit::Refused), "put back under another name");
        assert_eq!(refused("main", &other), Some(Exit::Refused), "swapped");
        assert_eq!(refused("main", &second), None);
    }
}
