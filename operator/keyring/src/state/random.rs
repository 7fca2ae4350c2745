//! Random event sequences against named invariants. A failure prints the seed and the log of events; set `SEED` to the
//! printed number to run that sequence alone.

use std::collections::HashSet;

use super::materials::materials;
use super::*;
use crate::manifest::verify;
use crate::pin::{PinCheck, PinMismatch};
use crate::release::{Offer, seal_release, seal_share};
use crate::testkit::ID;

/// Run this one sequence only.
const SEED: Option<u64> = None;
const SEQUENCES: u64 = 120;
const STEPS: usize = 40;

#[test]
fn invariants_hold_over_random_events() {
    let seeds = SEED.map_or(1..=SEQUENCES, |seed| seed..=seed);
    let mut reached = HashSet::new();
    let mut completed = 0;
    for seed in seeds {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            if let Err(invariant) = run.step() {
                panic!("seed {seed}: {invariant}\n{}", run.log.join("\n"));
            }
            reached.insert(phase_name(&run.state));
        }
        completed += run.completed;
    }
    if SEED.is_none() {
        assert_eq!(reached.len(), 5, "the sequences reach every phase: {reached:?}");
        assert!(completed >= 20, "quorums are completed: {completed}");
    }
}

/// One sequence: the state, and what the world around it remembers.
struct Run {
    random: u64,
    state: State,
    log: Vec<String>,
    /// What the state machine was last told is stored.
    stored: Option<Option<Pin>>,
    shown: Option<usize>,
    to_persist: Vec<Pin>,
    audiences: Vec<String>,
    offers: Vec<Offer>,
    /// Nonces of sessions that ended.
    ended: HashSet<String>,
    /// Serial numbers whose right share was given to the present session at the present manifest.
    right: HashSet<u32>,
    /// Quorums that came together.
    completed: usize,
}

/// An event that was drawn, in words, and what has to come of it.
struct Drawn {
    words: String,
    event: Event,
    must: Must,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Must {
    /// Nothing in particular.
    Nothing,
    /// A release by the right key for this session.
    Open,
    /// A right share of this holder for this session.
    Count(u32),
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            state: State::new(),
            log: Vec::new(),
            stored: None,
            shown: None,
            to_persist: Vec::new(),
            audiences: Vec::new(),
            offers: Vec::new(),
            ended: HashSet::new(),
            right: HashSet::new(),
            completed: 0,
        }
    }

    /// xorshift64: the sequence is a function of the seed.
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % bound as u64) as usize
    }

    fn step(&mut self) -> Result<(), &'static str> {
        let Drawn { words, event, must } = self.draw();
        let before = Before::of(&self.state);
        self.log.push(format!("{:>9} <- {words}", phase_name(&self.state)));
        let marker_is_new = match &event {
            Event::SealRequested { marker } => self.state.handled_seal_marker() != Some(marker),
            _ => false,
        };
        let kind = event.clone();
        let (state, effects) = std::mem::take(&mut self.state).step(event, Timestamp::UNIX_EPOCH);
        self.state = state;
        self.log.push(format!("{:>9} -> {effects:?}", phase_name(&self.state)));
        let opens = self.count(&before, must);
        self.remember(&before, &effects);
        self.check(&before, &kind, marker_is_new, must, &effects)?;
        let holds = self.state.holds_keys();
        let by_release = must == Must::Open && before.nonce.is_some();
        ensure(
            before.holds || holds == (opens || by_release),
            "as many right shares as it takes, and no fewer, unseal",
        )?;
        let held: HashSet<u32> = self.state.released().iter().map(|of| of.serial).collect();
        ensure(held == self.right, "what is in hand are the right shares given to this session, once each")
    }

    /// Counts a right share; whether it completes a quorum.
    fn count(&mut self, before: &Before, must: Must) -> bool {
        if let Must::Count(serial) = must {
            self.right.insert(serial);
        }
        let complete = self.right.len() == 2;
        self.completed += usize::from(complete);
        if complete || before.session != Before::of(&self.state).session {
            self.right.clear();
        }
        complete
    }

    fn check(
        &self,
        before: &Before,
        event: &Event,
        marker_is_new: bool,
        must: Must,
        effects: &[Effect],
    ) -> Result<(), &'static str> {
        let holds = self.state.holds_keys();
        if let Some(open) = self.state.keys() {
            let served = verify(open.manifest().spec()).map_err(|_| "a served manifest verifies")?;
            let shown = self.shown.ok_or("a served keyring has a manifest")?;
            let Some(shown_pin) = &materials().shown[shown].pin else { return Err("tampering ends service") };
            ensure(shown_pin.fingerprint == served.fingerprint(), "another keyring is not served on")?;
            let Some(stored) = &self.stored else { return Err("nothing is served before the pin is known") };
            if let Some(stored) = stored {
                // The one after the next edit may be shown before the next is pinned: what serves is two behind then.
                let next = self.to_persist.iter().any(|next| next.revision > stored.revision);
                let served = match stored.check(&served) {
                    PinCheck::Refused(PinMismatch::RolledBack { .. }) => next,
                    PinCheck::Refused(_) => false,
                    _ => true,
                };
                ensure(served, "served is what is pinned")?;
            }
            if !before.serves {
                ensure(stored.as_ref() == Some(&served.pin()), "the pin is stored before serving")?;
                ensure(
                    effects.iter().any(|e| matches!(e, Effect::ReportUnsealed { .. })),
                    "unsealing is said",
                )?;
            }
        }
        if before.holds && !holds {
            let said = |e: &Effect| matches!(e, Effect::ReportSealed { .. } | Effect::ReportTampered { .. });
            ensure(effects.iter().any(said), "dropping the keys is said")?;
        }
        match event {
            Event::SealRequested { .. } if marker_is_new => {
                ensure(!holds, "no key is held after sealing")?;
                ensure(before.nonce.is_none() || self.nonce() != before.nonce, "sealing renews the session")?;
            }
            Event::SealRequested { .. } => ensure(holds == before.holds, "a known marker changes nothing")?,
            Event::ManifestGone => ensure(phase_name(&self.state) == "Absent", "no manifest, no keyring")?,
            Event::ShareSeen(_) if before.nonce.is_some() && must == Must::Nothing => {
                let refused = |e: &Effect| matches!(e, Effect::RefuseShare { .. });
                let published = matches!(self.state.phase(), Phase::Sealed(Sealed { published: true, .. }));
                let why = "a refused share is said, but for what came before the session was known";
                ensure(effects.iter().any(refused) == published, why)?;
                ensure(*before == Before::of(&self.state), "a refused share changes nothing")?;
            }
            Event::ReleaseSeen(_) if before.nonce.is_some() && must == Must::Nothing => {
                let refused = |e: &Effect| matches!(e, Effect::RefuseRelease { .. });
                ensure(effects.iter().any(refused), "a refused release is said")?;
                ensure(self.nonce() == before.nonce, "a refused release changes nothing")?;
            }
            _ => {}
        }
        let dropped = |e: &Effect| matches!(e, Effect::ReportSharesDropped { .. });
        let fewer = self.state.released().len() < before.released && !holds;
        ensure(fewer == effects.iter().any(dropped), "shares that are dropped are said, and no others")?;
        if let Some(nonce) = self.nonce() {
            ensure(!self.ended.contains(&nonce), "an ended session never comes back")?;
        }
        for effect in effects {
            let current = self.offer();
            match effect {
                Effect::PublishRequest(request) => ensure(
                    current.is_some_and(|o| {
                        o.nonce() == request.nonce && o.session_key() == request.session_key
                    }),
                    "only the present session is published",
                )?,
                Effect::IssueProof { audience } => ensure(
                    current.is_some_and(|o| o.audience(&ID) == *audience),
                    "proofs are for the present session",
                )?,
                _ => {}
            }
        }
        Ok(())
    }

    fn remember(&mut self, before: &Before, effects: &[Effect]) {
        if let Some(ended) = before.nonce.clone().filter(|nonce| self.nonce().as_ref() != Some(nonce)) {
            self.ended.insert(ended);
        }
        self.offers.extend(self.offer());
        for effect in effects {
            match effect {
                Effect::PersistPin { pin, .. } => self.to_persist.push(pin.clone()),
                Effect::IssueProof { audience } => self.audiences.push(audience.clone()),
                _ => {}
            }
        }
    }

    fn draw(&mut self) -> Drawn {
        let all = materials();
        match self.below(20) {
            0..=3 => {
                // Mostly the honest ones, or nothing would ever be unsealed for long.
                let index = if self.below(3) > 0 { self.below(4) } else { self.below(all.shown.len()) };
                self.shown = Some(index);
                let shown = &all.shown[index];
                Drawn::any(format!("manifest {}", shown.name), Event::ManifestSeen(shown.spec.clone()))
            }
            4 if self.below(3) == 0 => {
                self.shown = None;
                Drawn::any("manifest gone".into(), Event::ManifestGone)
            }
            4 | 5 => {
                let known: Vec<_> = all.shown.iter().filter_map(|shown| shown.pin.clone()).collect();
                let pin =
                    if self.below(2) == 0 { None } else { Some(known[self.below(known.len())].clone()) };
                self.stored = Some(pin.clone());
                let words = pin.as_ref().map(|p| format!("{} revision {}", p.fingerprint, p.revision));
                Drawn::any(format!("pin loaded {words:?}"), Event::PinLoaded(pin))
            }
            6..=8 if !self.to_persist.is_empty() => {
                let pin = self.to_persist.remove(0);
                self.stored = Some(Some(pin.clone()));
                Drawn::any(format!("pin persisted, revision {}", pin.revision), Event::PinPersisted(pin))
            }
            9 if !self.audiences.is_empty() => {
                let index = self.below(self.audiences.len());
                let audience = self.audiences[index].clone();
                let event =
                    Event::ProofIssued { audience, proof: "token".into(), expires_at: Timestamp::UNIX_EPOCH };
                Drawn::any("proof issued".into(), event)
            }
            10 => Drawn::any("proof expiring".into(), Event::ProofExpiring),
            11 => {
                let marker = self.below(6).to_string();
                Drawn::any(format!("seal requested {marker}"), Event::SealRequested { marker })
            }
            12..=14 => self.draw_release(),
            _ => self.draw_share(),
        }
    }

    /// Mostly the session that waits, else an earlier one, or one that never was.
    fn some_session(&mut self) -> Offer {
        match (self.offer(), self.below(4)) {
            (Some(offer), 1..) => offer,
            _ if !self.offers.is_empty() => {
                let index = self.below(self.offers.len());
                self.offers[index].clone()
            }
            _ => crate::session::Session::generate().offer().clone(),
        }
    }

    fn draw_share(&mut self) -> Drawn {
        // Mostly of the manifest that is shown, or hardly anything would ever add up.
        let split = &materials().split;
        let shown = self.shown.and_then(|shown| {
            split.iter().find(|(_, manifest, _)| *manifest.spec() == materials().shown[shown].spec)
        });
        let (name, manifest, shares) = match shown {
            Some(shown) if self.below(5) > 0 => shown,
            _ => &split[self.below(split.len())],
        };
        let of = &shares[self.below(shares.len())];
        let session = self.some_session();
        let mut share = seal_share(of, &ID, &session).unwrap();
        let garbled = self.below(5) == 0;
        if garbled {
            match self.below(3) {
                0 => share.serial += 1,
                1 => share.revision += 1,
                _ => {
                    let first = if share.ciphertext.starts_with('A') { "B" } else { "A" };
                    share.ciphertext.replace_range(..1, first);
                }
            }
        }
        let fits = matches!(self.state.phase(), Phase::Sealed(sealed) if *sealed.manifest == *manifest);
        let this = self.offer().as_ref() == Some(&session);
        let must = if !garbled && fits && this { Must::Count(of.of().serial) } else { Must::Nothing };
        let when = if this { "this" } else { "another" };
        let words = format!("share of {} at {name} for {when} session, garbled: {garbled}", of.of().holder);
        Drawn { words, event: Event::ShareSeen(share), must }
    }

    fn draw_release(&mut self) -> Drawn {
        let keys = &materials().keys;
        let (key_name, open) = &keys[self.below(keys.len())];
        let current = self.offer();
        let session = self.some_session();
        let mut release = seal_release(open, &session, "alice", 42).unwrap();
        let garbled = self.below(5) == 0;
        if garbled {
            release.serial += 1;
        }
        let legitimate = !garbled
            && current.as_ref() == Some(&session)
            && matches!(self.state.phase(), Phase::Sealed(sealed)
                if sealed.manifest.active_verify_key() == open.manifest().active_verify_key());
        let when = if current.as_ref() == Some(&session) { "this" } else { "another" };
        let words = format!(
            "release of {key_name} keys for {when} session{}",
            if garbled { ", garbled" } else { "" }
        );
        let must = if legitimate { Must::Open } else { Must::Nothing };
        Drawn { words, event: Event::ReleaseSeen(release), must }
    }

    fn offer(&self) -> Option<Offer> {
        match self.state.phase() {
            Phase::Sealed(sealed) => Some(sealed.session.offer().clone()),
            _ => None,
        }
    }

    fn nonce(&self) -> Option<String> {
        self.offer().map(|offer| offer.nonce().to_owned())
    }
}

impl Drawn {
    /// An event that nothing in particular is expected of.
    const fn any(words: String, event: Event) -> Self {
        Self { words, event, must: Must::Nothing }
    }
}

/// What is compared across one step.
#[derive(PartialEq, Eq)]
struct Before {
    holds: bool,
    serves: bool,
    nonce: Option<String>,
    /// What shares are for: a session, and the manifest it waits with.
    session: Option<(String, [u8; 32])>,
    released: usize,
}

impl Before {
    fn of(state: &State) -> Self {
        let session = match state.phase() {
            Phase::Sealed(sealed) => Some((sealed.session.nonce().to_owned(), *sealed.manifest.digest())),
            _ => None,
        };
        let nonce = session.as_ref().map(|(nonce, _)| nonce.clone());
        let (holds, serves) = (state.holds_keys(), state.keys().is_some());
        Self { holds, serves, nonce, session, released: state.released().len() }
    }
}

fn phase_name(state: &State) -> &'static str {
    match state.phase() {
        Phase::Absent => "Absent",
        Phase::Tampered(_) => "Tampered",
        Phase::Sealed(_) => "Sealed",
        Phase::Opening(_) => "Opening",
        Phase::Unsealed(_) => "Unsealed",
    }
}

fn ensure(holds: bool, invariant: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(invariant) }
}
