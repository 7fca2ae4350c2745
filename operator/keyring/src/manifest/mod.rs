//! The manifest: a Keyring's spec, safe to publish because every word of it is ciphertext, a public key or signed.
//!
//! [`verify`] turns a spec from outside into a [`VerifiedManifest`], with public data only; the rest of the crate takes
//! nothing less. Edits ([`create`], [`add_holder`] ...) turn a verified manifest into the next revision's spec.

mod edit;
mod error;
mod quorum;
pub(crate) mod signing;
mod single;
#[cfg(test)]
mod tests;
mod verify;

pub use edit::{
    EditError, add_holder, create, create_from, create_with, remove_holder, retire, rotate, rotate_for,
    set_emergency_enrolment, set_hand_over, set_on_key_removal, set_quorum, set_seal_after,
};
#[cfg(test)]
pub(crate) use edit::{make, rotate_to};
pub use error::{ActiveRule, ManifestError};
pub use single::single_holder;
pub use verify::{is_holder_name, verify};

use ed25519_dalek::VerifyingKey;
use jiff::SignedDuration;
use touchseal_crds::duration;
use touchseal_crds::keyring::{
    EmergencyEnrolment, GenerationState, HandOver, Holder, KeyGeneration, KeyRemoval, KeyShare, KeyringSpec,
};

use crate::holder::HolderKey;
use crate::id::{Fingerprint, KeyringId};
use crate::pin::Pin;

/// Format version this crate reads and writes.
pub const MANIFEST_VERSION: u32 = 1;

/// A manifest whose shape, endorsement chain and signature hold. Public data: it may be cloned and printed.
///
/// Verified does not mean trusted: anybody can sign a keyring of their own. [`Pin::check`] tells whether it is the
/// keyring that was seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedManifest {
    spec: KeyringSpec,
    id: KeyringId,
    holder_keys: Vec<HolderKey>,
    /// One per entry of `spec.generations`; never empty.
    verify_keys: Vec<VerifyingKey>,
    digest: [u8; 32],
    active: Active,
}

/// What is asked of the Active generation most often, out of the list's last entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Active {
    number: u32,
    verify_key: VerifyingKey,
    wrapped: String,
}

impl VerifiedManifest {
    /// The spec, as it was verified.
    pub const fn spec(&self) -> &KeyringSpec {
        &self.spec
    }

    /// The keyring's id.
    pub const fn id(&self) -> &KeyringId {
        &self.id
    }

    /// What a person compares.
    pub fn fingerprint(&self) -> Fingerprint {
        let first = self.verify_keys.first().unwrap_or(&self.active.verify_key);
        Fingerprint::of(&self.id, first.as_bytes())
    }

    /// What an operator or a laptop remembers of this manifest.
    pub fn pin(&self) -> Pin {
        Pin {
            fingerprint: self.fingerprint(),
            generation: self.active.number,
            verify_key: crate::bytes::encode_base64(self.active.verify_key.as_bytes()),
            revision: self.spec.revision,
            digest: hex::encode(self.digest),
        }
    }

    /// The holders with their keys, in the manifest's order.
    pub fn holders(&self) -> impl ExactSizeIterator<Item = (&Holder, &HolderKey)> {
        self.spec.holders.iter().zip(&self.holder_keys)
    }

    /// The Active generation's number.
    pub const fn active_generation(&self) -> u32 {
        self.active.number
    }

    /// The Active master as an armored age file to all holders: what a holder opens with one operation. Empty in a
    /// keyring with a quorum, where each holder opens a share.
    pub fn active_wrapped(&self) -> &str {
        &self.active.wrapped
    }

    /// How many holders it takes; `None` where any of them opens the keyring alone.
    pub fn quorum(&self) -> Option<usize> {
        self.spec.quorum.and_then(|quorum| usize::try_from(quorum).ok())
    }

    /// With a quorum, each holder's share of the Active master, in the manifest's order.
    pub fn shares(&self) -> impl Iterator<Item = (&Holder, &KeyShare)> {
        let shares = self.spec.generations.last().map(|active| active.shares.as_slice()).unwrap_or_default();
        self.spec.holders.iter().zip(shares)
    }

    /// The armored age file that this holder opens: the Active master, or with a quorum their share of it.
    pub fn wrapped_for(&self, holder: &Holder) -> Option<&str> {
        match self.spec.quorum {
            None => self.spec.holders.contains(holder).then(|| self.active_wrapped()),
            Some(_) => self.shares().find(|(of, _)| *of == holder).map(|(_, share)| share.wrapped.as_str()),
        }
    }

    /// The Ed25519 public key of a generation, raw.
    pub fn verify_key(&self, generation: u32) -> Option<&[u8; 32]> {
        self.generations().find(|(entry, _)| entry.number == generation).map(|(_, key)| key.as_bytes())
    }

    /// SHA-256 of the signed text, naming this very content of this revision.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether an unsealed process may release the master to another.
    pub const fn hands_over(&self) -> bool {
        !matches!(self.spec.hand_over, Some(HandOver::Deny))
    }

    /// Whether every process drops its keys when a YubiKey that is left in a node is pulled.
    pub const fn seals_on_key_removal(&self) -> bool {
        matches!(self.spec.on_key_removal, Some(KeyRemoval::Seal))
    }

    /// Whether an unsealed operator may make somebody a holder without a holder's YubiKey.
    pub const fn enrols_in_an_emergency(&self) -> bool {
        matches!(self.spec.emergency_enrolment, Some(EmergencyEnrolment::Allow))
    }

    /// How long after a holder's release every process drops its keys; `None`: never.
    pub fn seal_after(&self) -> Option<SignedDuration> {
        self.spec.seal_after.as_deref().and_then(duration::seconds).map(SignedDuration::from_secs)
    }

    /// Generations whose master is still in the manifest (Active and Retiring), newest first.
    pub(crate) fn live(&self) -> impl Iterator<Item = (&KeyGeneration, &VerifyingKey)> {
        self.generations().rev().filter(|(entry, _)| entry.state != GenerationState::Retired)
    }

    pub(crate) const fn active_verify_key(&self) -> &VerifyingKey {
        &self.active.verify_key
    }

    fn generations(&self) -> impl DoubleEndedIterator<Item = (&KeyGeneration, &VerifyingKey)> {
        self.spec.generations.iter().zip(&self.verify_keys)
    }
}
