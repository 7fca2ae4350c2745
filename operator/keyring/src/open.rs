//! An open keyring: the live masters of one manifest in the clear, and all that is asked of them.

use std::collections::HashSet;
use std::fmt;

use touchseal_crds::RecipientSpec;
use touchseal_crds::keyring::GenerationState;
use touchseal_crds::recipient::GenerationRecipient;

use crate::agefile;
use crate::derive::{DeriveError, DigestKey, NamespaceIdentity, verify_key, wrapping_identity};
use crate::id::KeyringId;
use crate::manifest::VerifiedManifest;
use crate::master::MasterKey;
use crate::share::{self, Share};

/// The Active and Retiring masters of one keyring, opened at one manifest. Zeroized on drop; no `Clone`.
pub struct OpenKeyring {
    manifest: Box<VerifiedManifest>,
    masters: Masters,
}

/// Why a keyring did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The master is not the manifest's Active one.
    #[error("open the keyring: the key is not the master of key generation {0}")]
    WrongMaster(u32),
    /// The manifest is of another keyring.
    #[error("open the keyring: the manifest is of another keyring")]
    OtherKeyring,
    /// The manifest has a newer Active generation, wrapped to holders only: a new release is needed.
    #[error("open the keyring: key generation {0} needs a release by a holder")]
    NeedsRelease(u32),
    /// An older live master is not what the manifest promises; whoever wrote the manifest is at fault.
    #[error("open the keyring: the wrapped master of key generation {0} does not open to it")]
    BrokenGeneration(u32),
    /// Fewer shares than the quorum, or shares of another revision.
    #[error("open the keyring: {found} shares of this manifest, and it takes {needed}")]
    TooFewShares {
        /// Shares in hand.
        found: usize,
        /// The quorum.
        needed: usize,
    },
    /// A derivation failed.
    #[error(transparent)]
    Derive(#[from] DeriveError),
}

impl OpenKeyring {
    /// Opens every live generation from the Active master: it is checked against the manifest's verify key, then each
    /// older live master is unwrapped with the next newer one and checked likewise. No private-key operation.
    pub fn open(manifest: &VerifiedManifest, active: MasterKey) -> Result<Self, OpenError> {
        let id = *manifest.id();
        if verify_key(&active, &id)? != *manifest.active_verify_key().as_bytes() {
            return Err(OpenError::WrongMaster(manifest.active_generation()));
        }
        let mut masters = Masters::new(manifest.active_generation(), active);
        for (entry, expected) in manifest.live().skip(1) {
            let broken = OpenError::BrokenGeneration(entry.number);
            let wrapped = entry.wrapped.as_deref().ok_or_else(|| broken.clone())?;
            let newer = wrapping_identity(masters.oldest(), &id)?;
            let master = agefile::open(wrapped, &*newer).map_err(|_| broken.clone())?;
            if verify_key(&master, &id)? != *expected.as_bytes() {
                return Err(broken);
            }
            masters.older.push((entry.number, master));
        }
        Ok(Self { manifest: Box::new(manifest.clone()), masters })
    }

    /// [`OpenKeyring::open`] with shares of a quorum of holders, each recognised at this manifest. They are gone afterwards.
    pub fn open_with_shares(manifest: &VerifiedManifest, shares: Vec<Share>) -> Result<Self, OpenError> {
        let needed = manifest.quorum().unwrap_or(usize::MAX);
        let distinct: HashSet<u32> = shares.iter().map(|share| share.of().serial).collect();
        let ours = shares.iter().all(|share| share.revision() == manifest.spec().revision);
        let combined = (distinct.len() >= needed && ours).then(|| share::combine(&shares)).flatten();
        let master = combined.ok_or(OpenError::TooFewShares { found: distinct.len(), needed })?;
        Self::open(manifest, master)
    }

    /// The same keyring at another manifest. Possible whenever that manifest's Active master is in hand: after edits of
    /// holders, retirements, and a manifest that is merely older. A new Active generation is wrapped to holders only
    /// and needs a release ([`OpenError::NeedsRelease`]). On an error `self` is as it was.
    pub fn reopen(&self, manifest: &VerifiedManifest) -> Result<Self, OpenError> {
        if manifest.id() != self.id() {
            return Err(OpenError::OtherKeyring);
        }
        let number = manifest.active_generation();
        let active = self.masters.of(number).ok_or(OpenError::NeedsRelease(number))?;
        Self::open(manifest, active.duplicate())
    }

    /// The manifest this keyring was opened at.
    pub fn manifest(&self) -> &VerifiedManifest {
        &self.manifest
    }

    /// The keyring's id.
    pub fn id(&self) -> &KeyringId {
        self.manifest.id()
    }

    /// The numbers of the live generations, newest first.
    pub fn generations(&self) -> impl Iterator<Item = u32> {
        self.masters.iter().map(|(number, _)| number)
    }

    /// The identities that open documents of `namespace`, newest generation first.
    pub fn namespace(&self, namespace: &str) -> Result<Vec<(u32, NamespaceIdentity)>, DeriveError> {
        self.masters
            .iter()
            .map(|(number, master)| Ok((number, NamespaceIdentity::derive(master, self.id(), namespace)?)))
            .collect()
    }

    /// The digest key of `namespace` under a live generation; `None` for any other generation.
    pub fn digest_key(&self, namespace: &str, generation: u32) -> Result<Option<DigestKey>, DeriveError> {
        self.masters.of(generation).map(|master| DigestKey::derive(master, self.id(), namespace)).transpose()
    }

    /// What the namespace's Recipient object says.
    pub fn recipient_spec(&self, namespace: &str) -> Result<RecipientSpec, DeriveError> {
        let generations: Vec<_> = self
            .namespace(namespace)?
            .into_iter()
            .enumerate()
            .map(|(index, (generation, identity))| GenerationRecipient {
                generation,
                state: if index == 0 { GenerationState::Active } else { GenerationState::Retiring },
                recipient: identity.recipient().to_owned(),
            })
            .collect();
        let (recipient, key_generation) =
            generations.first().map(|g| (g.recipient.clone(), g.generation)).unwrap_or_default();
        Ok(RecipientSpec { recipient, key_generation, generations })
    }

    /// Drops and zeroizes every master. Dropping does the same; this says so.
    pub fn seal(self) {
        drop(self);
    }

    pub(crate) const fn masters(&self) -> &Masters {
        &self.masters
    }
}

impl fmt::Debug for OpenKeyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenKeyring({}, generations {:?})", self.id(), self.generations().collect::<Vec<_>>())
    }
}

/// Masters with their numbers, newest first, at least one.
pub(crate) struct Masters {
    active: (u32, MasterKey),
    older: Vec<(u32, MasterKey)>,
}

impl Masters {
    pub(crate) const fn new(number: u32, active: MasterKey) -> Self {
        Self { active: (number, active), older: Vec::new() }
    }

    /// The same masters behind a newer one.
    pub(crate) fn behind(&self, number: u32, active: MasterKey) -> Self {
        let older = self.iter().map(|(number, master)| (number, master.duplicate())).collect();
        Self { active: (number, active), older }
    }

    pub(crate) const fn active(&self) -> &MasterKey {
        &self.active.1
    }

    pub(crate) fn of(&self, generation: u32) -> Option<&MasterKey> {
        self.iter().find(|(number, _)| *number == generation).map(|(_, master)| master)
    }

    fn oldest(&self) -> &MasterKey {
        &self.older.last().unwrap_or(&self.active).1
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &MasterKey)> {
        std::iter::once(&self.active).chain(&self.older).map(|(number, master)| (*number, master))
    }
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
