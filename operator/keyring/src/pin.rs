//! What an operator and a laptop remember of a keyring, kept where git writers cannot reach: a manifest swapped for one
//! with the attacker's own master verifies by itself, and is stopped here.

use serde::{Deserialize, Serialize};
use touchseal_crds::Reason;

use crate::bytes::encode_base64;
use crate::id::Fingerprint;
use crate::manifest::VerifiedManifest;

/// The newest manifest that was accepted. Public data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pin {
    /// Fingerprint of the keyring.
    pub fingerprint: Fingerprint,
    /// Highest key generation seen.
    pub generation: u32,
    /// Verify key of that generation (base64).
    pub verify_key: String,
    /// Revision of the manifest.
    pub revision: i64,
    /// SHA-256 of that revision's signed text, lower-case hexadecimal: two manifests of one revision are a fork.
    pub digest: String,
}

/// What a pin says to a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum PinCheck {
    /// The very manifest that was pinned.
    Same,
    /// A later one of the same line: remember this pin before acting on it.
    Newer(Pin),
    /// Not acceptable.
    Refused(PinMismatch),
}

/// Why a manifest that verifies is not the pinned one. Fault of whoever put it there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinMismatch {
    /// Another keyring altogether.
    #[error("keyring fingerprint is {found}, the pinned one is {pinned}")]
    FingerprintChanged {
        /// Fingerprint remembered.
        pinned: Fingerprint,
        /// Fingerprint of the manifest.
        found: Fingerprint,
    },
    /// Same beginning, other end: the pinned generation is missing or has another key.
    #[error("key generation {0} is not the pinned one")]
    ForkedGeneration(u32),
    /// Another manifest of the pinned revision.
    #[error("manifest revision {0} differs from the one of the same revision that was pinned")]
    ForkedRevision(i64),
    /// An older manifest than already seen: somebody undoes the removal of a holder or the retirement of a key.
    #[error("manifest revision {found} is older than the pinned revision {pinned}")]
    RolledBack {
        /// Revision remembered.
        pinned: i64,
        /// Revision of the manifest.
        found: i64,
    },
}

impl Pin {
    /// Holds a manifest against this pin.
    pub fn check(&self, manifest: &VerifiedManifest) -> PinCheck {
        let seen = manifest.pin();
        if seen.fingerprint != self.fingerprint {
            let (pinned, found) = (self.fingerprint, seen.fingerprint);
            return PinCheck::Refused(PinMismatch::FingerprintChanged { pinned, found });
        }
        let pinned_key = manifest.verify_key(self.generation).map(|key| encode_base64(key));
        let (pinned, found) = (self.revision, seen.revision);
        if found < pinned && seen.generation < self.generation {
            // From before that generation, as out of a backup: there is none to compare.
            return PinCheck::Refused(PinMismatch::RolledBack { pinned, found });
        }
        if pinned_key.as_ref() != Some(&self.verify_key) {
            return PinCheck::Refused(PinMismatch::ForkedGeneration(self.generation));
        }
        if found < pinned {
            return PinCheck::Refused(PinMismatch::RolledBack { pinned, found });
        }
        if seen.revision > self.revision {
            return PinCheck::Newer(seen);
        }
        if seen == *self {
            PinCheck::Same
        } else {
            PinCheck::Refused(PinMismatch::ForkedRevision(self.revision))
        }
    }
}

impl PinMismatch {
    /// The condition reason this is reported under.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::FingerprintChanged { .. } => Reason::FingerprintChanged,
            Self::ForkedGeneration(_) | Self::ForkedRevision(_) => Reason::ManifestForked,
            Self::RolledBack { .. } => Reason::ManifestRolledBack,
        }
    }
}

#[cfg(test)]
#[path = "pin_tests.rs"]
mod tests;
