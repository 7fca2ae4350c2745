//! Scenarios of one keyring with a quorum of two of three in one process.

use super::*;
use crate::manifest::{VerifiedManifest, add_holder, set_quorum, verify};
use crate::release::{Offer, seal_release, seal_share};
use crate::testkit::{ID, SoftHolder, alice, bob, keyring, mallory, quorum, quorum_of, trio};

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

/// Sealed, and its session is known to everybody.
fn sealed(manifest: &VerifiedManifest) -> State {
    publish(started(manifest), manifest)
}

/// Sealed, before anybody knows of its session.
fn started(manifest: &VerifiedManifest) -> State {
    let seen = Event::ManifestSeen(manifest.spec().clone());
    run(State::new(), [Event::PinLoaded(Some(manifest.pin())), seen]).0
}

fn publish(state: State, manifest: &VerifiedManifest) -> State {
    let audience = offer(&state).audience(manifest.id());
    let issued = Event::ProofIssued { audience, proof: "proof".to_owned(), expires_at: NOW };
    let (state, effects) = run(state, [issued]);
    assert!(matches!(effects.as_slice(), [Effect::PublishRequest(_)]), "{effects:?}");
    state
}

fn offer(state: &State) -> Offer {
    let Phase::Sealed(sealed) = state.phase() else { panic!("{state:?}") };
    sealed.session.offer().clone()
}

fn share(state: &State, manifest: &VerifiedManifest, mut holder: SoftHolder) -> Event {
    Event::ShareSeen(seal_share(&holder.share(manifest), &ID, &offer(state)).unwrap())
}

fn carol() -> SoftHolder {
    trio().into_iter().nth(2).unwrap()
}

fn record(holder: &SoftHolder) -> HolderRecord {
    HolderRecord { holder: holder.name.to_owned(), serial: holder.serial }
}

#[test]
fn two_of_three_unseal_and_both_are_told() {
    let (manifest, open) = quorum();
    let state = sealed(&manifest);
    let first = share(&state, &manifest, carol());
    let (state, effects) = run(state, [first.clone()]);
    assert_eq!(effects, [Effect::ReportShares { released: vec![record(&carol())], needed: 2 }]);
    assert!(!state.holds_keys());
    // The watch shows it again and again, and carol comes a second time: she counts once.
    let again = share(&state, &manifest, carol());
    let (state, effects) = run(state, [first, again]);
    assert_eq!((effects, state.holds_keys()), (vec![], false));
    let second = share(&state, &manifest, alice());
    let (state, effects) = run(state, [second]);
    let told = Effect::ReportUnsealed {
        holder: "alice".into(),
        serial: alice().serial,
        with: vec![record(&carol())],
        handed_over_by: None,
    };
    assert_eq!(effects, [told, Effect::ClearRequest]);
    let opened = state.keys().unwrap();
    assert!(opened.masters().active().equals_in_constant_time(open.masters().active()));
}

#[test]
fn a_wrong_share_is_named_and_the_others_stay() {
    let (manifest, _) = quorum();
    let state = sealed(&manifest);
    let right = share(&state, &manifest, alice());
    let (state, _) = run(state, [right]);
    // Bob's share of another keyring, which commits to other shares.
    let (forged, _) = quorum_of(ID, 7);
    let wrong = share(&state, &forged, bob());
    let (state, effects) = run(state, [wrong]);
    let message = "share of bob (YubiKey 10000011): it is not the share that the manifest commits to";
    assert_eq!(effects, [Effect::RefuseShare { serial: bob().serial, message: message.to_owned() }]);
    assert_eq!(state.released(), [record(&alice())]);
    // A stranger's words are not repeated.
    let Event::ShareSeen(mut strange) = share(&state, &manifest, bob()) else { panic!() };
    (strange.serial, strange.holder) = (1, "\u{202e}evil".to_owned());
    let (state, effects) = run(state, [Event::ShareSeen(strange)]);
    let [Effect::RefuseShare { serial: 1, message }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(message, "share of YubiKey 1: release does not open with this session's key");
    let right = share(&state, &manifest, bob());
    assert!(run(state, [right]).0.keys().is_some());
}

/// The process was restarted in its pod: what was released to the one before is still in the request.
#[test]
fn a_share_for_an_earlier_process_is_nobodys_fault() {
    let (manifest, _) = quorum();
    let stale = || share(&started(&manifest), &manifest, alice());
    let state = started(&manifest);
    let (state, effects) = run(state, [stale()]);
    assert_eq!((effects.as_slice(), state.released().len()), (&[][..], 0), "publishing takes it out");
    let (state, effects) = run(publish(state, &manifest), [stale()]);
    assert!(matches!(effects.as_slice(), [Effect::RefuseShare { .. }]), "{effects:?}");
    let right = share(&state, &manifest, alice());
    assert_eq!(run(state, [right]).0.released().len(), 1);
}

#[test]
fn what_was_released_goes_with_the_session_and_with_the_manifest() {
    let (manifest, open) = quorum();
    let wider = verify(&add_holder(&manifest, &open, mallory().entry()).unwrap()).unwrap();
    let events = [
        Event::SealRequested { marker: "now".into() },
        Event::ManifestSeen(wider.spec().clone()),
        Event::ManifestGone,
        Event::PinLoaded(Some(quorum_of(crate::KeyringId::from_bytes([3; 16]), 9).0.pin())),
    ];
    for event in events {
        let state = sealed(&manifest);
        let first = share(&state, &manifest, alice());
        let (state, _) = run(state, [first]);
        let (state, effects) = run(state, [event]);
        let dropped = Effect::ReportSharesDropped { released: vec![record(&alice())] };
        assert!(effects.contains(&dropped) && state.released().is_empty(), "{effects:?}");
    }
    // The same manifest again, as after every write to its status, drops nothing.
    let state = sealed(&manifest);
    let first = share(&state, &manifest, alice());
    let (state, effects) = run(state, [first, Event::ManifestSeen(manifest.spec().clone())]);
    assert_eq!((effects.len(), state.released().len()), (1, 1), "{effects:?}");
    // A share of the manifest before does not count at the next.
    let old = share(&state, &manifest, bob());
    let (state, effects) = run(state, [Event::ManifestSeen(wider.spec().clone()), old]);
    let said = |effect: &Effect| matches!(effect, Effect::RefuseShare { message, .. } if message.contains("revision 1"));
    assert!(effects.iter().any(said) && state.released().is_empty(), "{effects:?}");
}

#[test]
fn a_renewed_proof_is_published_with_what_was_released() {
    let (manifest, _) = quorum();
    let state = sealed(&manifest);
    let first = share(&state, &manifest, bob());
    let audience = offer(&state).audience(&ID);
    let proof = Event::ProofIssued { audience, proof: "token".into(), expires_at: NOW };
    let (_, effects) = run(state, [first, proof]);
    let Some(Effect::PublishRequest(request)) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(request.released, [record(&bob())]);
}

#[test]
fn the_whole_master_of_somebody_who_has_it_is_taken_and_a_share_without_a_quorum_is_not() {
    let (manifest, open) = quorum();
    let state = sealed(&manifest);
    let whole = Event::ReleaseSeen(seal_release(&open, &offer(&state), "alice", 42).unwrap());
    assert!(run(state, [whole]).0.keys().is_some());

    let (plain, plain_open) = keyring();
    let with = verify(&add_holder(&plain, &plain_open, carol().entry()).unwrap()).unwrap();
    let with = verify(&set_quorum(&with, &plain_open.reopen(&with).unwrap(), Some(2)).unwrap()).unwrap();
    let state = sealed(&plain);
    let stray = share(&state, &with, alice());
    let (state, effects) = run(state, [stray]);
    assert!(matches!(effects.as_slice(), [Effect::RefuseShare { .. }]), "{effects:?}");
    assert!(state.released().is_empty());
}
