//! The transitions. Everything that concerns manifest and pin goes through one door, [`State::judge`], so that no event
//! can reach a serving state past either of them.

use std::mem;

use jiff::Timestamp;
use touchseal_crds::Reason;
use touchseal_crds::unseal_request::{Release, ShareRelease};

use super::{
    Effect, Event, Opening, Phase, PublishedRequest, Rejected, ReleasedBy, Sealed, SealedBecause, State,
    StoredPin, Tampered, Unsealed,
};
use crate::manifest::{VerifiedManifest, verify};
use crate::open::{OpenError, OpenKeyring};
use crate::pin::{Pin, PinCheck, PinMismatch};
use crate::release::ReleaseError;
use crate::session::Session;

impl State {
    /// One event. Effects are to be done in order; the state holds before they are done.
    #[must_use]
    pub fn step(mut self, event: Event, now: Timestamp) -> (Self, Vec<Effect>) {
        let before = mem::discriminant(&self.phase);
        let released = self.released();
        let mut effects = Vec::new();
        self.seal_in_time(now, &mut effects);
        match event {
            Event::ManifestSeen(spec) => {
                self.spec = Some(spec);
                self.judge(&mut effects);
            }
            Event::ManifestGone => self.forget_manifest(&mut effects),
            Event::PinLoaded(pin) => {
                self.pin = StoredPin::Loaded(pin);
                self.judge(&mut effects);
            }
            Event::PinPersisted(pin) => {
                self.pin = StoredPin::Loaded(Some(pin));
                self.judge(&mut effects);
            }
            Event::ProofIssued { audience, proof, expires_at } => {
                effects.extend(self.publish(&audience, proof, expires_at));
            }
            Event::ProofExpiring => effects.extend(self.issue_proof()),
            Event::ReleaseSeen(release) => self.try_release(&release, now, &mut effects),
            Event::ShareSeen(share) => self.try_share(&share, now, &mut effects),
            Event::HandOverAsked(asked) => effects.extend(self.hand_over_asked(asked)),
            Event::ProofChecked { asked, by } => effects.extend(self.hand_over(asked, by)),
            Event::SealRequested { marker } => self.seal_requested(marker, &mut effects),
            Event::Tick => {}
        }
        if !self.holds_keys() && !self.released().starts_with(&released) {
            effects.push(Effect::ReportSharesDropped { released });
        }
        if self.since.is_none() || mem::discriminant(&self.phase) != before {
            self.since = Some(now);
        }
        (self, effects)
    }

    /// Holds the manifest last seen against itself and against the pin, and moves to where that leads.
    fn judge(&mut self, effects: &mut Vec<Effect>) {
        let (Some(spec), StoredPin::Loaded(pin)) = (&self.spec, &self.pin) else { return };
        match accept(spec, pin.as_ref()) {
            Err(tampered) => self.tampered(tampered, effects),
            Ok((manifest, standing)) => match mem::replace(&mut self.phase, Phase::Absent) {
                Phase::Absent | Phase::Tampered(_) => {
                    self.enter_sealed(manifest, SealedBecause::Started, effects);
                    self.persist_if_pinned(standing, effects);
                }
                Phase::Sealed(sealed) => {
                    self.stay_sealed(sealed, manifest, effects);
                    self.persist_if_pinned(standing, effects);
                }
                Phase::Opening(opening) => self.go_on_opening(opening, manifest, standing, effects),
                Phase::Unsealed(unsealed) => self.stay_unsealed(unsealed, manifest, standing, effects),
            },
        }
    }

    /// Whatever was held is dropped; the attack, if it is one, gets neither keys nor a request to answer.
    fn tampered(&mut self, tampered: Tampered, effects: &mut Vec<Effect>) {
        let news = match &self.phase {
            Phase::Tampered(known) => *known != tampered,
            _ => true,
        };
        if news {
            if !matches!(self.phase, Phase::Tampered(_)) {
                effects.push(Effect::ClearRequest);
            }
            effects
                .push(Effect::ReportTampered { reason: tampered.reason, message: tampered.message.clone() });
        }
        self.phase = Phase::Tampered(tampered);
    }

    fn forget_manifest(&mut self, effects: &mut Vec<Effect>) {
        self.spec = None;
        if !matches!(mem::replace(&mut self.phase, Phase::Absent), Phase::Absent) {
            effects.push(Effect::ClearRequest);
            effects.push(Effect::ReportSealed { why: SealedBecause::ManifestGone });
        }
    }

    /// A new session: every release and proof made for an earlier one is void.
    fn enter_sealed(&mut self, manifest: VerifiedManifest, why: SealedBecause, effects: &mut Vec<Effect>) {
        let session = Session::generate();
        let manifest = Box::new(manifest);
        self.phase = Phase::Sealed(Sealed {
            manifest,
            session,
            shares: Vec::new(),
            published: false,
            why: why.clone(),
        });
        effects.push(Effect::ReportSealed { why });
        effects.extend(self.issue_proof());
    }

    /// The session lives on over edits of its keyring, the shares do not: every revision has its own. For another keyring (nothing was pinned yet) it is renewed.
    fn stay_sealed(&mut self, sealed: Sealed, manifest: VerifiedManifest, effects: &mut Vec<Effect>) {
        if sealed.manifest.id() == manifest.id() {
            let Sealed { manifest: before, session, mut shares, published, why } = sealed;
            if before.digest() != manifest.digest() {
                shares.clear();
            }
            let manifest = Box::new(manifest);
            self.phase = Phase::Sealed(Sealed { manifest, session, shares, published, why });
        } else {
            self.enter_sealed(manifest, SealedBecause::Started, effects);
        }
    }

    fn go_on_opening(
        &mut self,
        opening: Opening,
        manifest: VerifiedManifest,
        standing: Standing,
        effects: &mut Vec<Effect>,
    ) {
        let Opening { open, by } = opening;
        let open = match at_manifest(open, &manifest) {
            Ok(open) => open,
            Err(why) => return self.enter_sealed(manifest, why, effects),
        };
        match standing {
            Standing::Pinned => {
                let ReleasedBy { holder, serial, with, handed_over_by, .. } = by.clone();
                effects.push(Effect::ReportUnsealed { holder, serial, with, handed_over_by });
                effects.push(Effect::ClearRequest);
                self.phase = Phase::Unsealed(Unsealed { open, by });
            }
            Standing::Unpinned(pin, replaces) => {
                effects.push(Effect::PersistPin { pin, replaces });
                self.phase = Phase::Opening(Opening { open, by });
            }
        }
    }

    /// An edit takes effect once its pin is stored; until then the keys of the manifest before serve on.
    fn stay_unsealed(
        &mut self,
        unsealed: Unsealed,
        manifest: VerifiedManifest,
        standing: Standing,
        effects: &mut Vec<Effect>,
    ) {
        let Unsealed { open, by } = unsealed;
        let open = match (&standing, reachable(&open, &manifest)) {
            (_, Err(why)) => {
                open.seal();
                self.enter_sealed(manifest, why, effects);
                return self.persist_if_pinned(standing, effects);
            }
            (Standing::Pinned, Ok(Some(reopened))) => reopened,
            (_, Ok(_)) => open,
        };
        if let Standing::Unpinned(pin, replaces) = standing {
            effects.push(Effect::PersistPin { pin, replaces });
        }
        self.phase = Phase::Unsealed(Unsealed { open, by });
    }

    /// A pinned keyring's pin follows every accepted edit; a keyring is pinned for the first time when it is unsealed.
    fn persist_if_pinned(&self, standing: Standing, effects: &mut Vec<Effect>) {
        if let Standing::Unpinned(pin, replaces @ Some(_)) = standing {
            effects.push(Effect::PersistPin { pin, replaces });
        }
    }

    fn issue_proof(&self) -> Option<Effect> {
        let Phase::Sealed(Sealed { manifest, session, .. }) = &self.phase else { return None };
        Some(Effect::IssueProof { audience: session.audience(manifest.id()) })
    }

    /// A proof that was asked for by an earlier session is not published.
    fn publish(&mut self, audience: &str, proof: String, proof_expires_at: Timestamp) -> Option<Effect> {
        let released = self.released();
        let Phase::Sealed(Sealed { manifest, session, published, .. }) = &mut self.phase else { return None };
        (session.audience(manifest.id()) == audience).then(|| {
            *published = true;
            Effect::PublishRequest(PublishedRequest {
                session_key: session.public_key(),
                nonce: session.nonce().to_owned(),
                proof,
                proof_expires_at,
                released,
            })
        })
    }

    fn try_release(&mut self, release: &Release, now: Timestamp, effects: &mut Vec<Effect>) {
        let Phase::Sealed(Sealed { manifest, session, .. }) = &self.phase else { return };
        match self.open_release(manifest, session, release, now) {
            Err((rejected, message)) => {
                let (holder, serial, reason) =
                    (release.holder.clone(), release.serial, Reason::ReleaseInvalid);
                effects.push(Effect::RefuseRelease { holder, serial, rejected, reason, message });
            }
            Ok((open, at)) => {
                let by = ReleasedBy {
                    at,
                    holder: release.holder.clone(),
                    serial: release.serial,
                    with: Vec::new(),
                    handed_over_by: release.hand_over.as_ref().map(|record| record.pod.clone()),
                };
                self.phase = Phase::Opening(Opening { open, by });
                self.judge(effects);
            }
        }
    }

    /// The keys in a release, and when its holder released them.
    fn open_release(
        &self,
        manifest: &VerifiedManifest,
        session: &Session,
        release: &Release,
        now: Timestamp,
    ) -> Result<(OpenKeyring, Timestamp), (Rejected, String)> {
        let at =
            self.accepts_hand_over(manifest, release, now).map_err(|message| (Rejected::Refused, message))?;
        let master = session.open_release(manifest, release).map_err(|error| {
            let rejected = match error {
                ReleaseError::Malformed(_) => Rejected::Garbage,
                ReleaseError::DoesNotOpen | ReleaseError::WrongKey(_) => Rejected::Forged,
                _ => Rejected::Refused,
            };
            (rejected, error.to_string())
        })?;
        let open = OpenKeyring::open(manifest, master);
        open.map(|open| (open, at)).map_err(|error| (Rejected::Refused, error.to_string()))
    }

    /// A right share waits for the others; the one that completes the quorum opens the keyring. A holder counts once, and a
    /// wrong share changes nothing.
    fn try_share(&mut self, release: &ShareRelease, now: Timestamp, effects: &mut Vec<Effect>) {
        let Phase::Sealed(Sealed { manifest, session, shares, published, .. }) = &mut self.phase else {
            return;
        };
        let serial = release.serial;
        let share = match session.open_share(manifest, release) {
            Ok(share) => share,
            // Released to the process before this one: nobody's fault. Publishing takes it out, and says that it is void.
            Err(_) if !*published => return,
            Err(error) => {
                let message = format!("{}: {error}", whose(manifest, serial));
                return effects.push(Effect::RefuseShare { serial, message });
            }
        };
        if shares.iter().any(|held| held.of() == share.of()) {
            return;
        }
        let of = share.of().clone();
        let with: Vec<_> = shares.iter().map(|share| share.of().clone()).collect();
        shares.push(share);
        let needed = manifest.quorum().unwrap_or(usize::MAX);
        if shares.len() < needed {
            let released = self.released();
            return effects.push(Effect::ReportShares { released, needed });
        }
        match OpenKeyring::open_with_shares(manifest, mem::take(shares)) {
            Ok(open) => {
                let by = ReleasedBy { holder: of.holder, serial, with, handed_over_by: None, at: now };
                self.phase = Phase::Opening(Opening { open, by });
                self.judge(effects);
            }
            Err(error) => effects.push(Effect::RefuseShare { serial, message: error.to_string() }),
        }
    }

    /// A marker seen before does not count. A new one drops the keys, and voids releases that are under way.
    fn seal_requested(&mut self, marker: String, effects: &mut Vec<Effect>) {
        if self.marker.as_deref() == Some(marker.as_str()) {
            return;
        }
        self.marker = Some(marker.clone());
        self.drop_keys(SealedBecause::Requested { marker }, effects);
    }

    /// Whatever the event is: no key outlives its time.
    fn seal_in_time(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.seals_at().is_some_and(|at| now >= at) {
            self.drop_keys(SealedBecause::TimeOver, effects);
        }
    }

    fn drop_keys(&mut self, why: SealedBecause, effects: &mut Vec<Effect>) {
        match mem::replace(&mut self.phase, Phase::Absent) {
            Phase::Absent => {}
            Phase::Tampered(tampered) => self.phase = Phase::Tampered(tampered),
            Phase::Sealed(Sealed { manifest, .. }) => self.enter_sealed(*manifest, why, effects),
            Phase::Opening(Opening { open, .. }) | Phase::Unsealed(Unsealed { open, .. }) => {
                let manifest = open.manifest().clone();
                open.seal();
                self.enter_sealed(manifest, why, effects);
                self.judge(effects);
            }
        }
    }
}

/// The holder in the manifest's words: whoever may write requests chooses the words in them.
fn whose(manifest: &VerifiedManifest, serial: u32) -> String {
    let holder = manifest.spec().holders.iter().find(|holder| holder.serial == serial);
    holder.map_or_else(
        || format!("share of YubiKey {serial}"),
        |holder| format!("share of {} (YubiKey {serial})", holder.name),
    )
}

/// How an acceptable manifest stands to the stored pin.
enum Standing {
    /// It is the pinned one.
    Pinned,
    /// It is acceptable and not stored yet: the pin to store, and what it replaces.
    Unpinned(Pin, Option<Pin>),
}

fn accept(
    spec: &touchseal_crds::KeyringSpec,
    pin: Option<&Pin>,
) -> Result<(VerifiedManifest, Standing), Tampered> {
    let manifest = verify(spec)
        .map_err(|error| Tampered { reason: Reason::ManifestInvalid, message: error.to_string() })?;
    let standing = match pin.map(|pin| pin.check(&manifest)) {
        None => Standing::Unpinned(manifest.pin(), None),
        Some(PinCheck::Same) => Standing::Pinned,
        Some(PinCheck::Newer(newer)) => Standing::Unpinned(newer, pin.cloned()),
        Some(PinCheck::Refused(why)) => {
            let next = match why {
                PinMismatch::RolledBack { .. } => "; apply the newest one from git",
                _ => "",
            };
            return Err(Tampered { reason: why.reason(), message: format!("{why}{next}") });
        }
    };
    Ok((manifest, standing))
}

/// The keys at this manifest, if its Active master is among them.
fn at_manifest(open: OpenKeyring, manifest: &VerifiedManifest) -> Result<OpenKeyring, SealedBecause> {
    Ok(reachable(&open, manifest)?.unwrap_or(open))
}

/// The keys opened at this manifest; `None` when they already are.
fn reachable(open: &OpenKeyring, manifest: &VerifiedManifest) -> Result<Option<OpenKeyring>, SealedBecause> {
    if open.manifest() == manifest {
        return Ok(None);
    }
    open.reopen(manifest).map(Some).map_err(|error| match error {
        OpenError::NeedsRelease(generation) => SealedBecause::NewActiveGeneration(generation),
        other => SealedBecause::Unopenable { message: other.to_string() },
    })
}
