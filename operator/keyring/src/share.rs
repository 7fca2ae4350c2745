//! Shares: with a quorum of k, the Active master is split so that k of the holders' shares give it back and fewer say
//! nothing about it. Each is wrapped to its holder alone and is recognised by a commitment in the signed manifest, so a
//! wrong one is told from a right one before anything is combined.

use std::fmt;

use rand_core::OsRng;
use sha2::{Digest, Sha256};
use touchseal_crds::keyring::{HolderRecord, KeyShare};
use zeroize::Zeroizing;

use crate::bytes::push_prefixed;
use crate::id::KeyringId;
use crate::manifest::VerifiedManifest;
use crate::master::{MASTER_KEY_BYTES, MasterKey};
use crate::scrub::scrubbed;

const SHARE_LABEL: &[u8] = b"touchseal/v1/share";

/// A holder's share of one manifest's Active master. Zeroized on drop; no `Clone`.
pub struct Share {
    of: HolderRecord,
    revision: i64,
    index: u8,
    /// As long as a master, and kept in the same box.
    bytes: MasterKey,
}

/// Why something is not a holder's share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// The keyring has no quorum: whoever opens it opens it alone.
    #[error("the keyring has no quorum, so there are no shares of its key")]
    NoQuorum,
    /// The manifest has no such holder.
    #[error("YubiKey {0} has no share in this manifest")]
    NotAHolder(u32),
    /// It is not what the manifest commits to.
    #[error("it is not the share that the manifest commits to")]
    Wrong,
}

impl Share {
    /// What the holder with this YubiKey opened, if it is the share the manifest commits to.
    pub fn recognise(manifest: &VerifiedManifest, serial: u32, bytes: MasterKey) -> Result<Self, ShareError> {
        if manifest.quorum().is_none() {
            return Err(ShareError::NoQuorum);
        }
        let found = manifest.shares().find(|(holder, _)| holder.serial == serial);
        let (holder, entry) = found.ok_or(ShareError::NotAHolder(serial))?;
        let index = u8::try_from(entry.index).map_err(|_| ShareError::NotAHolder(serial))?;
        let (id, generation, revision) =
            (manifest.id(), manifest.active_generation(), manifest.spec().revision);
        if commitment(id, generation, revision, index, &bytes) != entry.commitment {
            return Err(ShareError::Wrong);
        }
        Ok(Self { of: HolderRecord { holder: holder.name.clone(), serial }, revision, index, bytes })
    }

    /// Whose it is.
    pub const fn of(&self) -> &HolderRecord {
        &self.of
    }

    pub(crate) const fn revision(&self) -> i64 {
        self.revision
    }

    pub(crate) const fn bytes(&self) -> &MasterKey {
        &self.bytes
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({}, revision {})", self.of.holder, self.revision)
    }
}

/// One freshly drawn share for each of `count` holders, in order, of which `needed` give the master back.
pub(crate) fn split(master: &MasterKey, needed: usize, count: usize) -> Option<Vec<MasterKey>> {
    scrubbed(|| {
        let points = touchseal_shamir::split(master.expose(), count, needed, &mut OsRng)?;
        points.iter().map(|point| boxed(point.get(..MASTER_KEY_BYTES)?)).collect()
    })
}

/// The master that these shares give; a wrong one if they are too few. `None` if they do not belong together.
pub(crate) fn combine(shares: &[Share]) -> Option<MasterKey> {
    if shares.windows(2).any(|pair| pair[0].revision != pair[1].revision) {
        return None;
    }
    scrubbed(|| {
        let points: Vec<_> = shares
            .iter()
            .map(|share| {
                let mut point = Zeroizing::new(Vec::with_capacity(MASTER_KEY_BYTES + 1));
                point.extend_from_slice(share.bytes.expose());
                point.push(share.index);
                point
            })
            .collect();
        boxed(&touchseal_shamir::combine(&points)?)
    })
}

/// The manifest's entry for a share: how it is recognised. `wrapped` is still to be filled in.
pub(crate) fn entry(
    id: &KeyringId,
    generation: u32,
    revision: i64,
    (holder, index): (&str, u8),
    share: &MasterKey,
) -> KeyShare {
    KeyShare {
        holder: holder.to_owned(),
        index: u32::from(index),
        commitment: commitment(id, generation, revision, index, share),
        wrapped: String::new(),
    }
}

/// A share is 32 uniformly random bytes to everybody who does not hold k others, so its hash hides it as well as the
/// verify key hides the master: there is nothing to try but all 2^256.
fn commitment(id: &KeyringId, generation: u32, revision: i64, index: u8, share: &MasterKey) -> String {
    scrubbed(|| {
        let mut hash = Sha256::new();
        let mut public = SHARE_LABEL.to_vec();
        push_prefixed(&mut public, id.as_bytes());
        push_prefixed(&mut public, &generation.to_be_bytes());
        push_prefixed(&mut public, &revision.to_be_bytes());
        push_prefixed(&mut public, &[index]);
        hash.update(&public);
        hash.update(crate::bytes::prefix(share.expose()));
        hash.update(share.expose());
        crate::bytes::encode_base64(&hash.finalize())
    })
}

fn boxed(bytes: &[u8]) -> Option<MasterKey> {
    MasterKey::fill_with(|target| {
        if bytes.len() != MASTER_KEY_BYTES {
            return Err(());
        }
        target.copy_from_slice(bytes);
        Ok(())
    })
    .ok()
}

#[cfg(test)]
#[path = "share_tests.rs"]
mod tests;
