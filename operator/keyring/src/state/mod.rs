//! One keyring in one operator process, as a state machine without input or output: (state, event, now) to (state,
//! effects). The controller feeds it what it sees and does what it says, in order.
//!
//! ```text
//! Absent --manifest and pin--> Sealed --release--> Opening --pin persisted--> Unsealed
//!    ^                           ^  ^                 |                          |
//!    |                           |  +-----------------+------ seal, new master --+
//!    +-- manifest gone           +-- a manifest that passes -- Tampered <-- a manifest that does not, from anywhere
//! ```
//!
//! An unsealed process releases the keyring to others, too (`hand_over`). Each step carries the
//! time: keys whose time is over by `sealAfter` are dropped before anything else is looked at.

mod hand_over;
#[cfg(test)]
mod hand_over_tests;
mod machine;
#[cfg(test)]
mod materials;
#[cfg(test)]
mod quorum_tests;
#[cfg(test)]
mod random;
#[cfg(test)]
mod seal_after_tests;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use touchseal_crds::Reason;
use touchseal_crds::keyring::{HolderRecord, KeyringSpec};
use touchseal_crds::unseal_request::{Release, ShareRelease};

use crate::manifest::VerifiedManifest;
use crate::open::OpenKeyring;
use crate::pin::Pin;
use crate::session::Session;
use crate::share::Share;
pub use hand_over::Asked;

/// The state. Moved through [`State::step`]; an old one cannot be used again.
#[derive(Debug)]
pub struct State {
    phase: Phase,
    /// The manifest last seen, verified or not.
    spec: Option<KeyringSpec>,
    pin: StoredPin,
    /// The last seal marker that was acted upon.
    marker: Option<String>,
    since: Option<Timestamp>,
}

/// Where the keyring stands.
#[derive(Debug)]
pub enum Phase {
    /// There is no manifest, or it is not known yet what is pinned: nothing is published, nothing is opened.
    Absent,
    /// The manifest is not acceptable. No key is held.
    Tampered(Tampered),
    /// Waits for a release. No key is held.
    Sealed(Sealed),
    /// The keys are in hand and the pin is being persisted: nothing is served yet.
    Opening(Opening),
    /// Serves.
    Unsealed(Unsealed),
}

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampered {
    /// ManifestInvalid, FingerprintChanged, ManifestForked or ManifestRolledBack.
    pub reason: Reason,
    /// For people; no capitals, no full stop.
    pub message: String,
}

/// A manifest that passed and the session that waits.
#[derive(Debug)]
pub struct Sealed {
    /// Manifest a release has to fit.
    pub manifest: Box<VerifiedManifest>,
    /// Session a release has to be made for.
    pub session: Session,
    /// With a quorum, the shares released so far: fewer than it takes, no holder's twice. They go with the session.
    pub shares: Vec<Share>,
    /// The session has been made known: what came before that was for an earlier one.
    pub published: bool,
    /// Why it came to that.
    pub why: SealedBecause,
}

/// Opened, not served yet.
#[derive(Debug)]
pub struct Opening {
    open: OpenKeyring,
    by: ReleasedBy,
}

/// Opened and served.
#[derive(Debug)]
pub struct Unsealed {
    /// The keys.
    pub open: OpenKeyring,
    /// Whose release it was.
    pub by: ReleasedBy,
}

/// Who released, as the release says: only somebody who had the master could seal those words to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasedBy {
    /// Name of the holder.
    pub holder: String,
    /// Serial number of the YubiKey.
    pub serial: u32,
    /// With a quorum: whose shares were there before.
    pub with: Vec<HolderRecord>,
    /// Pod of the replica that handed it over, where no holder released it to this process.
    pub handed_over_by: Option<String>,
    /// When the holder released it, to this process or to the first in a row of hand-overs.
    pub at: Timestamp,
}

/// What is known of the pin that is stored where git writers cannot reach.
#[derive(Debug, PartialEq, Eq)]
enum StoredPin {
    NotLoaded,
    Loaded(Option<Pin>),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The Keyring object as it is now.
    ManifestSeen(KeyringSpec),
    /// The Keyring object is deleted.
    ManifestGone,
    /// What is stored as pin: at the start, after each change by somebody else, and after a [`Effect::PersistPin`] that
    /// found something else stored than it expected.
    PinLoaded(Option<Pin>),
    /// This pin is stored.
    PinPersisted(Pin),
    /// The API server issued a proof.
    ProofIssued {
        /// Audience it was asked for.
        audience: String,
        /// The token.
        proof: String,
        /// When it runs out.
        expires_at: Timestamp,
    },
    /// The published proof runs out soon.
    ProofExpiring,
    /// Somebody wrote `spec.release` of this process's UnsealRequest.
    ReleaseSeen(Release),
    /// Somebody wrote one of `spec.shares` of this process's UnsealRequest.
    ShareSeen(ShareRelease),
    /// Another process of the operator asks for this keyring and has no release yet.
    HandOverAsked(Box<Asked>),
    /// The request is what it says: its proof was checked, and its pod is alive.
    ProofChecked {
        /// The request that was checked.
        asked: Box<Asked>,
        /// Pod of this process.
        by: String,
    },
    /// The value of the annotation `touchseal.dev/seal-requested`; best sent before the manifest of the same object.
    SealRequested {
        /// Its value.
        marker: String,
    },
    /// Time has passed.
    Tick,
}

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask for a token of this audience; answer with [`Event::ProofIssued`].
    IssueProof {
        /// Audience of the current session.
        audience: String,
    },
    /// Write the UnsealRequest and its status.
    PublishRequest(PublishedRequest),
    /// Say in the UnsealRequest why its release was refused.
    RefuseRelease {
        /// Name of the holder, as the release bears it.
        holder: String,
        /// Serial number, as the release bears it.
        serial: u32,
        /// What kind of release it was.
        rejected: Rejected,
        /// ReleaseInvalid.
        reason: Reason,
        /// For people.
        message: String,
    },
    /// Take a share that was refused out of the UnsealRequest, and say there whose it is and why.
    RefuseShare {
        /// Serial number by which it stands in the request.
        serial: u32,
        /// For people; it names the holder.
        message: String,
    },
    /// A holder's share was accepted and more are needed: say so in the UnsealRequest and the Keyring.
    ReportShares {
        /// Whose shares are in hand, the newest last.
        released: Vec<HolderRecord>,
        /// How many it takes.
        needed: usize,
    },
    /// Shares that were released are void: their holders have to release again.
    ReportSharesDropped {
        /// Whose they were.
        released: Vec<HolderRecord>,
    },
    /// Store the pin if what is stored is still `replaces`; answer with [`Event::PinPersisted`], or with
    /// [`Event::PinLoaded`] when something else is stored.
    PersistPin {
        /// To store.
        pin: Pin,
        /// What it was compared with; `None` when nothing was stored.
        replaces: Option<Pin>,
    },
    /// Check another process's proof by this audience, and its pod; answer with [`Event::ProofChecked`] if all is right.
    CheckProof {
        /// The request.
        asked: Box<Asked>,
        /// Audience the proof must have.
        audience: String,
    },
    /// Write a release into another process's request, if that is still exactly the one that was checked.
    HandOver {
        /// The request.
        asked: Box<Asked>,
        /// The release.
        release: Box<Release>,
    },
    /// Delete the UnsealRequest: nothing is asked for.
    ClearRequest,
    /// Report that this process serves the keyring.
    ReportUnsealed {
        /// Name of the holder.
        holder: String,
        /// Serial number of the YubiKey.
        serial: u32,
        /// With a quorum: whose shares were there before.
        with: Vec<HolderRecord>,
        /// Pod of the replica that handed it over, where no holder released it to this process.
        handed_over_by: Option<String>,
    },
    /// Report that this process holds no key of the keyring.
    ReportSealed {
        /// Why.
        why: SealedBecause,
    },
    /// Report that the manifest is refused.
    ReportTampered {
        /// Condition reason.
        reason: Reason,
        /// For people.
        message: String,
    },
}

/// What a release was that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// For another session, generation or time: an honest one may come too late.
    Refused,
    /// It does not open, or to something else than the master.
    Forged,
    /// Its fields have no sense.
    Garbage,
}

/// `status` of the UnsealRequest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedRequest {
    /// `sessionKey`.
    pub session_key: String,
    /// `nonce`.
    pub nonce: String,
    /// `proof`.
    pub proof: String,
    /// `proofExpiresAt`.
    pub proof_expires_at: Timestamp,
    /// `released`.
    pub released: Vec<HolderRecord>,
}

/// Why a process is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealedBecause {
    /// It has just met an acceptable manifest.
    Started,
    /// As long after a holder's release as the manifest's `sealAfter` says.
    TimeOver,
    /// A person asked for it; the value of the annotation that was acted upon.
    Requested {
        /// The annotation's value.
        marker: String,
    },
    /// The manifest has a new Active generation, which only a holder can open.
    NewActiveGeneration(u32),
    /// The manifest passes, but not every live master in it opens; whoever wrote it is at fault.
    Unopenable {
        /// For people.
        message: String,
    },
    /// The manifest is gone.
    ManifestGone,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// At process start: nothing is known.
    pub const fn new() -> Self {
        Self { phase: Phase::Absent, spec: None, pin: StoredPin::NotLoaded, marker: None, since: None }
    }

    /// Where the keyring stands.
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The keys, when they may be served.
    pub const fn keys(&self) -> Option<&OpenKeyring> {
        match &self.phase {
            Phase::Unsealed(unsealed) => Some(&unsealed.open),
            _ => None,
        }
    }

    /// The manifest, where it passed.
    pub fn manifest(&self) -> Option<&VerifiedManifest> {
        match &self.phase {
            Phase::Absent | Phase::Tampered(_) => None,
            Phase::Sealed(sealed) => Some(&sealed.manifest),
            Phase::Opening(Opening { open, .. }) | Phase::Unsealed(Unsealed { open, .. }) => {
                Some(open.manifest())
            }
        }
    }

    /// Whether keys are in memory, served or not yet.
    pub const fn holds_keys(&self) -> bool {
        matches!(self.phase, Phase::Opening(_) | Phase::Unsealed(_))
    }

    /// With a quorum: whose shares are in hand while more are needed.
    pub fn released(&self) -> Vec<HolderRecord> {
        match &self.phase {
            Phase::Sealed(sealed) => sealed.shares.iter().map(|share| share.of().clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// The manifest last seen, whatever became of it.
    pub const fn manifest_seen(&self) -> Option<&KeyringSpec> {
        self.spec.as_ref()
    }

    /// When the keys in hand are dropped by the manifest's `sealAfter`.
    pub fn seals_at(&self) -> Option<Timestamp> {
        let (Phase::Opening(Opening { open, by }) | Phase::Unsealed(Unsealed { open, by })) = &self.phase
        else {
            return None;
        };
        by.at.checked_add(open.manifest().seal_after()?).ok()
    }

    /// `lastHandledSealRequest`.
    pub fn handled_seal_marker(&self) -> Option<&str> {
        self.marker.as_deref()
    }

    /// When the present phase began.
    pub const fn since(&self) -> Option<Timestamp> {
        self.since
    }
}
