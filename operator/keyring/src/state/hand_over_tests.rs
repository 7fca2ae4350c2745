//! Two processes and what passes between them, late and in any order.

use super::*;
use crate::manifest::{VerifiedManifest, rotate, set_hand_over, verify};
use crate::release::{Offer, seal_release};
use crate::testkit::{TIME, keyring, keyring_of};
use touchseal_crds::keyring::HandOver;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn run(state: State, events: impl IntoIterator<Item = Event>) -> (State, Vec<Effect>) {
    events.into_iter().fold((state, Vec::new()), |(state, mut all), event| {
        let (next, effects) = state.step(event, NOW);
        all.extend(effects);
        (next, all)
    })
}

fn seen(manifest: &VerifiedManifest) -> Event {
    Event::ManifestSeen(manifest.spec().clone())
}

fn seal(marker: &str) -> Event {
    Event::SealRequested { marker: marker.to_owned() }
}

fn sealed(manifest: &VerifiedManifest) -> State {
    run(State::new(), [Event::PinLoaded(Some(manifest.pin())), seen(manifest)]).0
}

fn offer(state: &State) -> Offer {
    let Phase::Sealed(sealed) = state.phase() else { panic!("{state:?}") };
    sealed.session.offer().clone()
}

fn unsealed(manifest: &VerifiedManifest, open: &OpenKeyring) -> State {
    let state = sealed(manifest);
    let release = seal_release(open, &offer(&state), "alice", 42).unwrap();
    run(state, [Event::ReleaseSeen(release)]).0
}

fn asked(state: &State) -> Box<Asked> {
    let offer = offer(state);
    Box::new(Asked {
        name: "b.main".into(),
        uid: "uid".into(),
        version: "7".into(),
        pod: "b".into(),
        session_key: offer.session_key(),
        nonce: offer.nonce().to_owned(),
        proof: "token".into(),
    })
}

/// What `from` answers, if it is asked and the proof passes.
#[allow(clippy::borrowed_box)]
fn answer(from: State, asked: &Box<Asked>) -> (State, Option<Release>) {
    let (from, effects) = run(from, [Event::HandOverAsked(asked.clone())]);
    let [Effect::CheckProof { asked: checked, .. }] = effects.as_slice() else { return (from, None) };
    let (from, effects) = run(from, [Event::ProofChecked { asked: checked.clone(), by: "a".into() }]);
    let [Effect::HandOver { release, .. }] = effects.as_slice() else { return (from, None) };
    (from, Some(*release.clone()))
}

#[test]
fn an_unsealed_process_unseals_another_and_both_say_who_released_it_first() {
    let (manifest, open) = keyring();
    let (a, b) = (unsealed(&manifest, &open), sealed(&manifest));
    let request = asked(&b);
    let (_, effects) = run(State::new(), [Event::HandOverAsked(request.clone())]);
    assert_eq!(effects, [], "who has no keys checks nothing");

    let (a, effects) = run(a, [Event::HandOverAsked(request.clone())]);
    let audience = offer(&b).audience(manifest.id());
    assert_eq!(effects, [Effect::CheckProof { asked: request.clone(), audience }]);
    let (_, release) = answer(a, &request);
    let release = release.unwrap();
    assert_eq!((release.holder.as_str(), release.serial), ("alice", 42));

    let (b, effects) = run(b, [Event::ReleaseSeen(release)]);
    let handed_over_by = Some("a".to_owned());
    let reported =
        Effect::ReportUnsealed { holder: "alice".into(), serial: 42, with: Vec::new(), handed_over_by };
    assert_eq!(effects, [reported, Effect::ClearRequest]);
    assert!(b.keys().is_some());
}

#[test]
fn whoever_gave_it_and_what_it_had_heard_are_part_of_what_is_sealed() {
    let (manifest, open) = keyring();
    let b = sealed(&manifest);
    let (_, release) = answer(unsealed(&manifest, &open), &asked(&b));
    let release = release.unwrap();
    let by_a_holder = Release { hand_over: None, ..release.clone() };
    let mut renamed = release;
    renamed.hand_over.as_mut().unwrap().pod = "c".into();
    for forged in [by_a_holder, renamed] {
        let (b, effects) = run(sealed(&manifest), [Event::ReleaseSeen(forged)]);
        assert!(matches!(effects.as_slice(), [Effect::RefuseRelease { .. }]) && !b.holds_keys());
    }
}

#[test]
fn a_manifest_that_forbids_it_forbids_it_on_both_sides() {
    let (manifest, open) = keyring();
    let denied = verify(&set_hand_over(&manifest, &open, HandOver::Deny).unwrap()).unwrap();
    let b = sealed(&manifest);
    let request = asked(&b);

    // As soon as it is seen, before its pin is stored.
    let (a, _) = run(unsealed(&manifest, &open), [seen(&denied)]);
    assert!(a.keys().is_some());
    assert_eq!(answer(a, &request).1, None);
    let (a, _) = run(unsealed(&manifest, &open), [seen(&denied), Event::PinPersisted(denied.pin())]);
    assert_eq!(answer(a, &request).1, None);

    // One that has not seen it answers; the other, which has, does not take it.
    let (_, release) = answer(unsealed(&manifest, &open), &request);
    let (b, effects) = run(b, [seen(&denied), Event::ReleaseSeen(release.unwrap())]);
    assert!(!b.holds_keys());
    assert!(effects.iter().any(|e| matches!(e, Effect::RefuseRelease { .. })), "{effects:?}");

    // A holder's release is not concerned.
    let opened = open.reopen(&denied).unwrap();
    let release = seal_release(&opened, &offer(&b), "alice", 42).unwrap();
    assert!(run(b, [Event::ReleaseSeen(release)]).0.holds_keys());
}

/// Two watches have no common order: a request made after the seal may be seen before the seal is.
#[test]
fn one_that_has_not_heard_of_the_seal_request_unseals_nobody_again() {
    let (manifest, open) = keyring();
    let (b, _) = run(unsealed(&manifest, &open), [seal("1")]);
    assert!(!b.holds_keys());
    let (_, late) = answer(unsealed(&manifest, &open), &asked(&b));
    let (b, effects) = run(b, [Event::ReleaseSeen(late.unwrap())]);
    assert!(matches!(effects.as_slice(), [Effect::RefuseRelease { .. }]) && !b.holds_keys());

    // One that was unsealed by a holder after the same request does.
    let (a, _) = run(State::new(), [seal("1"), Event::PinLoaded(Some(manifest.pin())), seen(&manifest)]);
    let release = seal_release(&open, &offer(&a), "alice", 42).unwrap();
    let (a, _) = run(a, [Event::ReleaseSeen(release)]);
    let (_, release) = answer(a, &asked(&b));
    assert!(run(b, [Event::ReleaseSeen(release.unwrap())]).0.holds_keys());
}

#[test]
fn keys_that_went_while_the_proof_was_checked_are_not_handed_over() {
    let (manifest, open) = keyring();
    let (rotated, _) = rotate(&manifest, &open, TIME).unwrap();
    let other = keyring_of(crate::testkit::ID, 7).0;
    for event in [seal("1"), Event::ManifestGone, Event::ManifestSeen(rotated), seen(&other)] {
        let request = asked(&sealed(&manifest));
        let (a, _) = run(unsealed(&manifest, &open), [event]);
        let (_, effects) = run(a, [Event::ProofChecked { asked: request, by: "a".into() }]);
        assert_eq!(effects, []);
    }
}

/// Two processes, one seal button, messages that arrive in any order: whoever has acted upon the newest seal request and was
/// not released by a holder since stays sealed, whatever the other does.
#[test]
fn after_a_seal_only_a_holder_unseals_in_any_order_of_events() {
    let (manifest, open) = keyring();
    for seed in 1..=300_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let mut processes = [unsealed(&manifest, &open), unsealed(&manifest, &open)];
        let (mut pressed, mut released_after) = (0_u64, 0_u64);
        let mut heard = [0_u64; 2];
        let mut under_way: Vec<(usize, Release)> = Vec::new();
        let mut log = Vec::new();
        for _ in 0..40 {
            let me = below(2) as usize;
            let state = std::mem::take(&mut processes[me]);
            let state = match below(6) {
                0 => {
                    pressed += 1;
                    log.push(format!("seal {pressed} is pressed"));
                    state
                }
                1 | 2 if heard[me] < pressed => {
                    heard[me] = pressed;
                    log.push(format!("{me} hears of seal {pressed}"));
                    run(state, [seal(&pressed.to_string())]).0
                }
                3 if below(4) == 0 && matches!(state.phase(), Phase::Sealed(_)) => {
                    released_after = released_after.max(heard[me]);
                    log.push(format!("a holder unseals {me}"));
                    let release = seal_release(&open, &offer(&state), "alice", 42).unwrap();
                    run(state, [Event::ReleaseSeen(release)]).0
                }
                4 if matches!(processes[1 - me].phase(), Phase::Sealed(_)) => {
                    let (state, release) = answer(state, &asked(&processes[1 - me]));
                    log.push(format!("{me} answers: {}", release.is_some()));
                    under_way.extend(release.map(|release| (1 - me, release)));
                    state
                }
                _ if !under_way.is_empty() => {
                    let (to, release) = under_way.remove(below(under_way.len() as u64) as usize);
                    log.push(format!("an answer reaches {to}"));
                    if to == me {
                        run(state, [Event::ReleaseSeen(release)]).0
                    } else {
                        let other = std::mem::take(&mut processes[to]);
                        processes[to] = run(other, [Event::ReleaseSeen(release)]).0;
                        state
                    }
                }
                _ => state,
            };
            processes[me] = state;
            for (which, state) in processes.iter().enumerate() {
                let may = heard[which] == 0 || released_after >= heard[which];
                assert!(may || !state.holds_keys(), "seed {seed}: {which} is unsealed\n{}", log.join("\n"));
            }
        }
    }
}
