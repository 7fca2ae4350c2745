//! Random event sequences against named invariants. A failure prints the seed and the log of events; set `SEED` to the
//! printed number to run that sequence alone.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::*;
use crate::manifest::{add_holder, remove_holder, rotate, verify};
use crate::pin::PinCheck;
use crate::release::{Offer, seal_release};
use crate::testkit::{ID, TIME, keyring, keyring_of, mallory};

/// Run this one sequence only.
const SEED: Option<u64> = None;
const SEQUENCES: u64 = 120;
const STEPS: usize = 40;

#[test]
fn invariants_hold_over_random_events() {
    let seeds = SEED.map_or(1..=SEQUENCES, |seed| seed..=seed);
    let mut reached = HashSet::new();
    for seed in seeds {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            if let Err(invariant) = run.step() {
                panic!("seed {seed}: {invariant}\n{}", run.log.join("\n"));
            }
            reached.insert(phase_name(&run.state));
        }
    }
    if SEED.is_none() {
        assert_eq!(reached.len(), 5, "the sequences reach every phase: {reached:?}");
    }
}

/// Manifests an operator may be shown, with who could release them.
struct Shown {
    name: &'static str,
    spec: KeyringSpec,
    /// `None` when it does not even verify.
    pin: Option<Pin>,
}

struct Materials {
    shown: Vec<Shown>,
    keys: Vec<(&'static str, OpenKeyring)>,
}

fn materials() -> &'static Materials {
    static MATERIALS: OnceLock<Materials> = OnceLock::new();
    MATERIALS.get_or_init(|| {
        let (first, open) = keyring();
        let (swapped, swapped_open) = keyring_of(ID, 7);
        let edited = add_holder(&first, &open, mallory().entry()).unwrap();
        let other_edit = remove_holder(&first, &open, "bob").unwrap();
        let (rotated, rotated_open) = rotate(&first, &open, TIME).unwrap();
        let mut flipped = first.spec().clone();
        flipped.revision += 1;
        let mut empty = first.spec().clone();
        empty.generations.clear();
        let shown = [
            ("first", first.spec().clone()),
            ("edited", edited),
            ("edited otherwise", other_edit),
            ("rotated", rotated),
            ("swapped", swapped.spec().clone()),
            ("flipped", flipped),
            ("empty", empty),
        ]
        .map(|(name, spec)| Shown { name, pin: verify(&spec).ok().map(|m| m.pin()), spec });
        let keys = vec![("own", open), ("new own", rotated_open), ("swapped", swapped_open)];
        Materials { shown: shown.into(), keys }
    })
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
        let (what, event, legitimate) = self.draw();
        let before = Before::of(&self.state);
        self.log.push(format!("{:>9} <- {what}", phase_name(&self.state)));
        let marker_is_new = match &event {
            Event::SealRequested { marker } => self.state.handled_seal_marker() != Some(marker),
            _ => false,
        };
        let kind = event.clone();
        let (state, effects) = std::mem::take(&mut self.state).step(event, Timestamp::UNIX_EPOCH);
        self.state = state;
        self.log.push(format!("{:>9} -> {effects:?}", phase_name(&self.state)));
        self.remember(&before, &effects);
        self.check(&before, &kind, marker_is_new, legitimate, &effects)
    }

    fn check(
        &self,
        before: &Before,
        event: &Event,
        marker_is_new: bool,
        legitimate_release: bool,
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
                ensure(!matches!(stored.check(&served), PinCheck::Refused(_)), "served is what is pinned")?;
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
        if !before.holds && holds {
            ensure(legitimate_release, "only a release by the right key for this session unseals")?;
        }
        match event {
            Event::SealRequested { .. } if marker_is_new => {
                ensure(!holds, "no key is held after sealing")?;
                ensure(before.nonce.is_none() || self.nonce() != before.nonce, "sealing renews the session")?;
            }
            Event::SealRequested { .. } => ensure(holds == before.holds, "a known marker changes nothing")?,
            Event::ManifestGone => ensure(phase_name(&self.state) == "Absent", "no manifest, no keyring")?,
            Event::ReleaseSeen(_) if before.nonce.is_some() && !legitimate_release => {
                let refused = |e: &Effect| matches!(e, Effect::RefuseRelease { .. });
                ensure(effects.iter().any(refused), "a refused release is said")?;
                ensure(self.nonce() == before.nonce, "a refused release changes nothing")?;
            }
            _ => {}
        }
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

    /// The next event, its words for the log, and whether it is a release that has to be accepted.
    fn draw(&mut self) -> (String, Event, bool) {
        let all = materials();
        match self.below(16) {
            0..=3 => {
                // Mostly the honest ones, or nothing would ever be unsealed for long.
                let index = if self.below(3) > 0 { self.below(2) } else { self.below(all.shown.len()) };
                self.shown = Some(index);
                let shown = &all.shown[index];
                (format!("manifest {}", shown.name), Event::ManifestSeen(shown.spec.clone()), false)
            }
            4 if self.below(3) == 0 => {
                self.shown = None;
                ("manifest gone".into(), Event::ManifestGone, false)
            }
            4 | 5 => {
                let known: Vec<_> = all.shown.iter().filter_map(|shown| shown.pin.clone()).collect();
                let pin =
                    if self.below(2) == 0 { None } else { Some(known[self.below(known.len())].clone()) };
                self.stored = Some(pin.clone());
                let words = pin.as_ref().map(|p| format!("{} revision {}", p.fingerprint, p.revision));
                (format!("pin loaded {words:?}"), Event::PinLoaded(pin), false)
            }
            6..=8 if !self.to_persist.is_empty() => {
                let pin = self.to_persist.remove(0);
                self.stored = Some(Some(pin.clone()));
                (format!("pin persisted, revision {}", pin.revision), Event::PinPersisted(pin), false)
            }
            9 if !self.audiences.is_empty() => {
                let index = self.below(self.audiences.len());
                let audience = self.audiences[index].clone();
                let event =
                    Event::ProofIssued { audience, proof: "token".into(), expires_at: Timestamp::UNIX_EPOCH };
                ("proof issued".into(), event, false)
            }
            10 => ("proof expiring".into(), Event::ProofExpiring, false),
            11 => {
                let marker = self.below(6).to_string();
                (format!("seal requested {marker}"), Event::SealRequested { marker }, false)
            }
            _ => self.draw_release(),
        }
    }

    fn draw_release(&mut self) -> (String, Event, bool) {
        let keys = &materials().keys;
        let (key_name, open) = &keys[self.below(keys.len())];
        let current = self.offer();
        let session = match (current.clone(), self.below(4)) {
            (Some(offer), 1..) => offer,
            _ if !self.offers.is_empty() => {
                let index = self.below(self.offers.len());
                self.offers[index].clone()
            }
            _ => crate::session::Session::generate().offer().clone(),
        };
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
        (words, Event::ReleaseSeen(release), legitimate)
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

/// What is compared across one step.
struct Before {
    holds: bool,
    serves: bool,
    nonce: Option<String>,
}

impl Before {
    fn of(state: &State) -> Self {
        let nonce = match state.phase() {
            Phase::Sealed(sealed) => Some(sealed.session.nonce().to_owned()),
            _ => None,
        };
        Self { holds: state.holds_keys(), serves: state.keys().is_some(), nonce }
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
