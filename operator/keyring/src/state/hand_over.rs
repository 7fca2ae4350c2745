//! Hand-over: an unsealed process releases the keyring to another process of the operator, after the same proof that a holder
//! asks for. Both sides must allow it: the manifest they have, and that they have acted upon the same seal request, so that
//! one that has not heard of the newest yet unseals nobody again.

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use touchseal_crds::keyring::HandOver;
use touchseal_crds::unseal_request::{HandOverRecord, Release};

use super::{Effect, Phase, State, Unsealed};
use crate::manifest::VerifiedManifest;
use crate::release::{Offer, release_to};

/// Another process's UnsealRequest: what is checked and answered is exactly this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// `spec.pod`.
    pub pod: String,
    /// `status.sessionKey`.
    pub session_key: String,
    /// `status.nonce`.
    pub nonce: String,
    /// `status.proof`.
    pub proof: String,
}

impl State {
    /// A malformed request is nobody's; the audience is computed from the manifest in hand, not from what is asked.
    pub(super) fn hand_over_asked(&self, asked: Box<Asked>) -> Option<Effect> {
        let unsealed = self.may_hand_over()?;
        let offer = Offer::parse(&asked.session_key, &asked.nonce).ok()?;
        Some(Effect::CheckProof { asked, audience: offer.audience(unsealed.open.id()) })
    }

    /// The keys may have gone, or the manifest changed its mind, while the proof was being checked.
    pub(super) fn hand_over(&self, asked: Box<Asked>, by: String) -> Option<Effect> {
        let Unsealed { open, by: own } = self.may_hand_over()?;
        let offer = Offer::parse(&asked.session_key, &asked.nonce).ok()?;
        let released_at = own.at.to_string();
        let record = HandOverRecord { pod: by, released_at, seal_request: self.seal_request() };
        let release = release_to(open, &offer, &own.holder, own.serial, Some(record)).ok()?;
        Some(Effect::HandOver { asked, release: Box::new(release) })
    }

    /// Serving, and neither the manifest served nor the one seen last forbids it.
    fn may_hand_over(&self) -> Option<&Unsealed> {
        let Phase::Unsealed(unsealed) = &self.phase else { return None };
        let seen = self.spec.as_ref()?.hand_over != Some(HandOver::Deny);
        (seen && unsealed.open.manifest().hands_over()).then_some(unsealed)
    }

    /// Whether a release may be taken as far as it is a hand-over, and when its holder released it: now, or as a hand-over
    /// says; what lies ahead by another clock counts as now.
    pub(super) fn accepts_hand_over(
        &self,
        manifest: &VerifiedManifest,
        release: &Release,
        now: Timestamp,
    ) -> Result<Timestamp, String> {
        let Some(record) = &release.hand_over else { return Ok(now) };
        if !manifest.hands_over() {
            return Err("release is a hand-over, which the manifest forbids".to_owned());
        }
        if record.seal_request != self.seal_request() {
            return Err("release was made by a replica that had acted upon another seal request".to_owned());
        }
        let released_at: Timestamp =
            record.released_at.parse().map_err(|_| "release has an invalid releasedAt".to_owned())?;
        let at = released_at.min(now);
        let end = manifest.seal_after().and_then(|span| at.checked_add(span).ok());
        if end.is_some_and(|end| now >= end) {
            return Err("release is a hand-over of keys whose time is over by sealAfter".to_owned());
        }
        Ok(at)
    }

    fn seal_request(&self) -> Option<String> {
        Some(hex::encode(Sha256::digest(self.handled_seal_marker()?)))
    }
}
