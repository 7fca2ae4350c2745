//! Scenarios of one keyring in one process.

use super::*;
use crate::manifest::{VerifiedManifest, add_holder, rotate, verify};
use crate::release::{Offer, seal_release};
use crate::testkit::{ID, TIME, keyring, keyring_of, mallory};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn run(mut state: State, events: impl IntoIterator<Item = Event>) -> (State, Vec<Effect>) {
    let mut all = Vec::new();
    for event in events {
        let (next, effects) = state.step(event, NOW);
        state = next;
        all.extend(effects);
    }
    (state, all)
}

fn seen(manifest: &VerifiedManifest) -> Event {
    Event::ManifestSeen(manifest.spec().clone())
}

fn offer(state: &State) -> Offer {
    let Phase::Sealed(sealed) = state.phase() else { panic!("{state:?}") };
    sealed.session.offer().clone()
}

fn sealed(manifest: &VerifiedManifest, pin: Option<Pin>) -> State {
    run(State::new(), [Event::PinLoaded(pin), seen(manifest)]).0
}

fn release(state: &State, open: &OpenKeyring) -> Event {
    Event::ReleaseSeen(seal_release(open, &offer(state), "alice", 42).unwrap())
}

fn unsealed(manifest: &VerifiedManifest, open: &OpenKeyring) -> State {
    let state = sealed(manifest, Some(manifest.pin()));
    let event = release(&state, open);
    run(state, [event]).0
}

#[test]
fn nothing_is_asked_for_before_manifest_and_pin_are_known() {
    let (manifest, _) = keyring();
    for first in [seen(&manifest), Event::PinLoaded(None)] {
        let (state, effects) = run(State::new(), [first]);
        assert!(matches!(state.phase(), Phase::Absent));
        assert_eq!(effects, []);
    }
}

#[test]
fn a_first_unseal_persists_the_pin_before_it_serves() {
    let (manifest, open) = keyring();
    let (state, effects) = run(State::new(), [seen(&manifest), Event::PinLoaded(None)]);
    let audience = offer(&state).audience(&ID);
    let started = Effect::ReportSealed { why: SealedBecause::Started };
    assert_eq!(effects, [started, Effect::IssueProof { audience: audience.clone() }]);

    let proof = Event::ProofIssued { audience, proof: "token".into(), expires_at: NOW };
    let (state, effects) = run(state, [proof]);
    let [Effect::PublishRequest(request)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(Offer::parse(&request.session_key, &request.nonce).unwrap(), offer(&state));

    let event = release(&state, &open);
    let (state, effects) = run(state, [event]);
    assert_eq!(effects, [Effect::PersistPin { pin: manifest.pin(), replaces: None }]);
    assert!(state.keys().is_none() && state.holds_keys());

    let (state, effects) = run(state, [Event::PinPersisted(manifest.pin())]);
    let reported =
        Effect::ReportUnsealed { holder: "alice".into(), serial: 42, with: Vec::new(), handed_over_by: None };
    assert_eq!(effects, [reported, Effect::ClearRequest]);
    assert!(state.keys().is_some());
}

#[test]
fn a_pin_that_somebody_else_stored_meanwhile_decides() {
    let (manifest, open) = keyring();
    let (forged, _) = keyring_of(ID, 7);
    for (stored, serves) in [(manifest.pin(), true), (forged.pin(), false)] {
        let state = sealed(&manifest, None);
        let event = release(&state, &open);
        let (state, _) = run(state, [event, Event::PinLoaded(Some(stored))]);
        assert_eq!(state.keys().is_some(), serves);
        assert_eq!(state.holds_keys(), serves);
    }
}

#[test]
fn a_bad_release_leaves_the_session_waiting() {
    let (manifest, open) = keyring();
    let (_, forged) = keyring_of(ID, 7);
    let state = sealed(&manifest, Some(manifest.pin()));
    let before = offer(&state);
    let bad = release(&state, &forged);
    let (state, effects) = run(state, [bad]);
    let [Effect::RefuseRelease { reason: Reason::ReleaseInvalid, message, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(message, "release opens to a key that is not the master of key generation 1");
    assert_eq!(offer(&state), before);
    let good = release(&state, &open);
    assert!(run(state, [good]).0.keys().is_some());
}

#[test]
fn a_renewed_proof_is_for_the_same_session_and_a_stale_one_is_not_published() {
    let (manifest, _) = keyring();
    let state = sealed(&manifest, None);
    let audience = offer(&state).audience(&ID);
    let (state, effects) = run(state, [Event::ProofExpiring]);
    assert_eq!(effects, [Effect::IssueProof { audience: audience.clone() }]);
    let (state, _) = run(state, [Event::SealRequested { marker: "1".into() }]);
    let stale = Event::ProofIssued { audience, proof: "token".into(), expires_at: NOW };
    assert_eq!(run(state, [stale]).1, []);
}

#[test]
fn an_edit_takes_effect_once_its_pin_is_stored_and_never_seals() {
    let (manifest, open) = keyring();
    let edited = verify(&add_holder(&manifest, &open, mallory().entry()).unwrap()).unwrap();
    let state = unsealed(&manifest, &open);
    let (state, effects) = run(state, [seen(&edited)]);
    assert_eq!(effects, [Effect::PersistPin { pin: edited.pin(), replaces: Some(manifest.pin()) }]);
    assert_eq!(state.keys().unwrap().manifest(), &manifest);
    let (state, effects) = run(state, [Event::PinPersisted(edited.pin())]);
    assert_eq!(effects, []);
    assert_eq!(state.keys().unwrap().manifest(), &edited);
}

#[test]
fn a_new_active_generation_seals_and_asks() {
    let (manifest, open) = keyring();
    let (spec, rotated_open) = rotate(&manifest, &open, TIME).unwrap();
    let rotated = verify(&spec).unwrap();
    let (state, effects) = run(unsealed(&manifest, &open), [seen(&rotated)]);
    assert!(!state.holds_keys());
    assert_eq!(effects[0], Effect::ReportSealed { why: SealedBecause::NewActiveGeneration(2) });
    assert!(matches!(effects[1], Effect::IssueProof { .. }));
    assert!(matches!(effects[2], Effect::PersistPin { .. }));
    let event = release(&state, &rotated_open);
    let (state, _) = run(state, [event, Event::PinPersisted(rotated.pin())]);
    assert_eq!(state.keys().unwrap().generations().collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_tampered_manifest_drops_the_keys_and_the_request_once() {
    let (manifest, open) = keyring();
    let mut tampered = manifest.spec().clone();
    tampered.holders[0].serial += 1;
    let (state, effects) = run(unsealed(&manifest, &open), [Event::ManifestSeen(tampered.clone())]);
    assert!(matches!(state.phase(), Phase::Tampered(t) if t.reason == Reason::ManifestInvalid));
    assert!(matches!(
        effects.as_slice(),
        [Effect::ClearRequest, Effect::ReportTampered { reason: Reason::ManifestInvalid, .. }]
    ));
    let (state, effects) = run(state, [Event::ManifestSeen(tampered)]);
    assert_eq!(effects, [], "said once");
    let (state, _) = run(state, [seen(&manifest)]);
    assert!(matches!(state.phase(), Phase::Sealed(_)), "repaired, and a holder is needed");
}

#[test]
fn a_pin_mismatch_is_tampering_with_its_own_reason() {
    let (manifest, open) = keyring();
    let (forged, _) = keyring_of(ID, 7);
    let edited = verify(&add_holder(&manifest, &open, mallory().entry()).unwrap()).unwrap();
    let cases = [(&forged, Reason::FingerprintChanged), (&manifest, Reason::ManifestRolledBack)];
    for (shown, expected) in cases {
        let (state, _) = run(State::new(), [Event::PinLoaded(Some(edited.pin())), seen(shown)]);
        assert!(matches!(state.phase(), Phase::Tampered(t) if t.reason == expected), "{state:?}");
    }
}

#[test]
fn sealing_drops_the_keys_and_voids_what_was_released() {
    let (manifest, open) = keyring();
    let state = sealed(&manifest, Some(manifest.pin()));
    let old = release(&state, &open);
    let (state, _) = run(state, [old.clone()]);
    assert!(state.keys().is_some());
    let (state, effects) = run(state, [Event::SealRequested { marker: "now".into() }]);
    assert!(!state.holds_keys());
    assert_eq!(effects[0], Effect::ReportSealed { why: SealedBecause::Requested { marker: "now".into() } });
    assert_eq!(state.handled_seal_marker(), Some("now"));
    let (state, effects) = run(state, [old]);
    assert!(!state.holds_keys());
    assert!(matches!(effects.as_slice(), [Effect::RefuseRelease { .. }]));
}

#[test]
fn a_seal_while_sealed_voids_a_release_under_way() {
    let (manifest, open) = keyring();
    let state = sealed(&manifest, Some(manifest.pin()));
    let under_way = release(&state, &open);
    let (state, _) = run(state, [Event::SealRequested { marker: "now".into() }, under_way]);
    assert!(!state.holds_keys());
}

#[test]
fn only_a_new_marker_counts() {
    let (manifest, open) = keyring();
    let marker = |value: &str| Event::SealRequested { marker: value.into() };
    let (state, effects) = run(State::new(), [marker("old"), Event::PinLoaded(Some(manifest.pin()))]);
    assert_eq!(effects, []);
    let (state, _) = run(state, [seen(&manifest)]);
    let event = release(&state, &open);
    let (state, _) = run(state, [event, marker("old"), seen(&manifest)]);
    assert!(state.keys().is_some(), "the marker it started with");
    assert!(!run(state, [marker("new")]).0.holds_keys());

    let state = unsealed(&manifest, &open);
    assert!(!run(state, [marker("first ever")]).0.holds_keys());
}

#[test]
fn a_deleted_keyring_is_forgotten_except_for_its_pin() {
    let (manifest, open) = keyring();
    let (forged, _) = keyring_of(ID, 7);
    let (state, effects) = run(unsealed(&manifest, &open), [Event::ManifestGone]);
    assert!(matches!(state.phase(), Phase::Absent));
    assert_eq!(effects, [Effect::ClearRequest, Effect::ReportSealed { why: SealedBecause::ManifestGone }]);
    assert!(matches!(run(state, [seen(&forged)]).0.phase(), Phase::Tampered(_)));
}

#[test]
fn a_deleted_pin_is_written_again_while_unsealed_and_forgotten_while_sealed() {
    let (manifest, open) = keyring();
    let (forged, _) = keyring_of(ID, 7);
    let (state, effects) = run(unsealed(&manifest, &open), [Event::PinLoaded(None)]);
    assert_eq!(effects, [Effect::PersistPin { pin: manifest.pin(), replaces: None }]);
    assert!(state.keys().is_some());
    let (state, _) = run(sealed(&manifest, Some(manifest.pin())), [Event::PinLoaded(None), seen(&forged)]);
    assert!(matches!(state.phase(), Phase::Sealed(_)));
}

#[test]
fn debug_of_a_whole_state_shows_no_key() {
    let (manifest, open) = keyring();
    let text = format!("{:?}", unsealed(&manifest, &open));
    assert!(!text.contains(&hex::encode([1; 32])) && !text.contains("1, 1, 1, 1"), "{text}");
}

#[test]
fn the_present_phase_has_a_beginning() {
    let (manifest, _) = keyring();
    let later = Timestamp::from_second(60).unwrap();
    let (state, _) = State::new().step(Event::PinLoaded(None), NOW);
    assert_eq!(state.since(), Some(NOW));
    let (state, _) = state.step(seen(&manifest), later);
    assert_eq!(state.since(), Some(later));
    let (state, _) = state.step(seen(&manifest), Timestamp::from_second(61).unwrap());
    assert_eq!(state.since(), Some(later));
}
