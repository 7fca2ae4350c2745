//! `sealAfter`, by a clock that is turned by hand: no key is held longer after a holder's release, whoever hands it on.

use super::*;
use crate::manifest::{VerifiedManifest, set_seal_after, verify};
use crate::release::{Offer, seal_release};
use crate::testkit::keyring;

const HOUR: i64 = 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A keyring of two hours, and the same with another span.
fn limited() -> (VerifiedManifest, OpenKeyring) {
    let (manifest, open) = keyring();
    let limited = with(&manifest, &open, Some("2h"));
    let open = open.reopen(&limited).unwrap();
    (limited, open)
}

fn with(manifest: &VerifiedManifest, open: &OpenKeyring, span: Option<&str>) -> VerifiedManifest {
    verify(&set_seal_after(manifest, open, span.map(str::to_owned)).unwrap()).unwrap()
}

fn run(state: State, now: i64, events: impl IntoIterator<Item = Event>) -> (State, Vec<Effect>) {
    events.into_iter().fold((state, Vec::new()), |(state, mut all), event| {
        let (next, effects) = state.step(event, at(now));
        all.extend(effects);
        (next, all)
    })
}

fn seen(manifest: &VerifiedManifest) -> Event {
    Event::ManifestSeen(manifest.spec().clone())
}

fn sealed(manifest: &VerifiedManifest, now: i64) -> State {
    run(State::new(), now, [Event::PinLoaded(Some(manifest.pin())), seen(manifest)]).0
}

fn offer(state: &State) -> Offer {
    let Phase::Sealed(sealed) = state.phase() else { panic!("{state:?}") };
    sealed.session.offer().clone()
}

/// A holder releases it now.
fn released(state: State, open: &OpenKeyring, now: i64) -> State {
    let release = seal_release(open, &offer(&state), "alice", 42).unwrap();
    let (state, _) = run(state, now, [Event::ReleaseSeen(release)]);
    assert!(state.holds_keys());
    state
}

/// What `from` hands over to `to` now.
fn handed(from: State, to: &State, now: i64) -> (State, Option<Release>) {
    let offer = offer(to);
    let asked = Box::new(Asked {
        name: "b.main".into(),
        uid: "uid".into(),
        version: "7".into(),
        pod: "b".into(),
        session_key: offer.session_key(),
        nonce: offer.nonce().to_owned(),
        proof: "token".into(),
    });
    let (from, effects) = run(from, now, [Event::ProofChecked { asked, by: "a".into() }]);
    let release = effects.into_iter().find_map(|effect| match effect {
        Effect::HandOver { release, .. } => Some(*release),
        _ => None,
    });
    (from, release)
}

fn told(effects: &[Effect]) -> bool {
    effects.contains(&Effect::ReportSealed { why: SealedBecause::TimeOver })
}

#[test]
fn keys_are_dropped_when_their_time_is_over_and_not_before() {
    let (manifest, open) = limited();
    let state = released(sealed(&manifest, 0), &open, 10);
    assert_eq!(state.seals_at(), Some(at(10 + 2 * HOUR)));
    let (state, effects) = run(state, 9 + 2 * HOUR, [Event::Tick]);
    assert!(state.keys().is_some() && effects.is_empty());
    let (state, effects) = run(state, 10 + 2 * HOUR, [Event::Tick]);
    assert!(!state.holds_keys() && told(&effects), "{effects:?}");
    assert!(
        matches!(effects.last(), Some(Effect::IssueProof { .. })),
        "it asks for a holder again: {effects:?}"
    );
    assert_eq!(run(state, 11 + 2 * HOUR, [Event::Tick]).1, [], "once");
}

#[test]
fn no_event_finds_keys_whose_time_is_over() {
    let (manifest, open) = limited();
    let late = 2 * HOUR;
    for event in [seen(&manifest), Event::ProofExpiring, Event::PinPersisted(manifest.pin()), Event::Tick] {
        let (state, effects) = run(released(sealed(&manifest, 0), &open, 0), late, [event]);
        assert!(!state.holds_keys() && told(&effects));
    }
    let waiting = sealed(&manifest, late);
    let (_, nothing) = handed(released(sealed(&manifest, 0), &open, 0), &waiting, late);
    assert_eq!(nothing, None, "nor are they handed over");
}

#[test]
fn a_hand_over_does_not_prolong_it() {
    let (manifest, open) = limited();
    let a = released(sealed(&manifest, 0), &open, 0);
    let b = sealed(&manifest, HOUR);
    let (_, release) = handed(a, &b, HOUR);
    let release = release.unwrap();
    let (b, _) = run(b, HOUR, [Event::ReleaseSeen(release.clone())]);
    assert_eq!(b.seals_at(), Some(at(2 * HOUR)), "counted from the holder's release");
    let c = sealed(&manifest, HOUR + 1);
    let (_, release) = handed(b, &c, HOUR + 1);
    assert_eq!(run(c, HOUR + 1, [Event::ReleaseSeen(release.unwrap())]).0.seals_at(), Some(at(2 * HOUR)));
}

#[test]
fn the_time_of_the_release_is_part_of_what_is_sealed_and_an_old_one_is_not_taken() {
    let (manifest, open) = limited();
    let b = sealed(&manifest, HOUR);
    let (_, release) = handed(released(sealed(&manifest, 0), &open, 0), &b, HOUR);
    let release = release.unwrap();
    let mut later = release.clone();
    later.hand_over.as_mut().unwrap().released_at = at(HOUR).to_string();
    let (b, effects) = run(b, HOUR, [Event::ReleaseSeen(later)]);
    assert!(!b.holds_keys() && matches!(effects.as_slice(), [Effect::RefuseRelease { .. }]), "{effects:?}");

    // It is under way until the time is over.
    let (b, effects) = run(b, 2 * HOUR, [Event::ReleaseSeen(release)]);
    assert!(!b.holds_keys());
    let [Effect::RefuseRelease { message, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(message.contains("sealAfter"), "{message}");
    assert!(released(b, &open, 2 * HOUR).holds_keys(), "a holder can release it again");
}

/// The giver's clock is ahead: the receiver does not count from the future.
#[test]
fn a_release_of_the_future_counts_from_now() {
    let (manifest, open) = limited();
    let b = sealed(&manifest, 0);
    let (_, release) = handed(released(sealed(&manifest, HOUR), &open, HOUR), &b, HOUR);
    let (b, _) = run(b, 0, [Event::ReleaseSeen(release.unwrap())]);
    assert_eq!(b.seals_at(), Some(at(2 * HOUR)));
}

#[test]
fn a_new_span_counts_from_the_same_release() {
    let (manifest, open) = limited();
    let state = released(sealed(&manifest, 0), &open, 0);
    let shorter = with(&manifest, &open, Some("1h"));
    let (state, _) = run(state, 60, [seen(&shorter), Event::PinPersisted(shorter.pin())]);
    assert_eq!(state.seals_at(), Some(at(HOUR)));
    let reopened = open.reopen(&shorter).unwrap();
    let none = with(&shorter, &reopened, None);
    let (state, _) = run(state, 70, [seen(&none), Event::PinPersisted(none.pin())]);
    assert_eq!(state.seals_at(), None);
    assert!(run(state, 100 * HOUR, [Event::Tick]).0.keys().is_some());
}

#[test]
fn what_is_no_span_is_refused() {
    let (manifest, open) = keyring();
    for span in ["", "0s", "never", "5"] {
        assert!(set_seal_after(&manifest, &open, Some(span.to_owned())).is_err(), "{span:?}");
    }
}

/// Three processes that release to each other as they like, at random times: none has keys at a time at which no holder
/// has released within the last two hours.
#[test]
fn no_order_of_hand_overs_keeps_keys_longer() {
    let (manifest, open) = limited();
    for seed in 1..=200_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let (mut now, mut newest, mut log) = (0, i64::MIN / 2, Vec::new());
        let mut all = [(); 3].map(|()| sealed(&manifest, 0));
        let mut under_way: Vec<(usize, Release)> = Vec::new();
        for _ in 0..60 {
            now += i64::try_from(below(1800)).unwrap();
            let (me, other) = (below(3) as usize, below(3) as usize);
            let state = std::mem::take(&mut all[me]);
            all[me] = match (below(8), state.phase()) {
                (0, Phase::Sealed(_)) => {
                    newest = now;
                    log.push(format!("{now}: a holder unseals {me}"));
                    released(state, &open, now)
                }
                (1..4, Phase::Unsealed(_))
                    if me != other && matches!(all[other].phase(), Phase::Sealed(_)) =>
                {
                    let (state, release) = handed(state, &all[other], now);
                    log.push(format!("{now}: {me} gives to {other}: {}", release.is_some()));
                    under_way.extend(release.map(|release| (other, release)));
                    state
                }
                (4..7, Phase::Sealed(_)) => match under_way.iter().position(|(to, _)| *to == me) {
                    Some(at) => {
                        let (_, release) = under_way.remove(at);
                        let (state, _) = run(state, now, [Event::ReleaseSeen(release)]);
                        log.push(format!("{now}: {me} gets it: {}", state.holds_keys()));
                        state
                    }
                    None => state,
                },
                _ => state,
            };
            for state in &mut all {
                *state = run(std::mem::take(state), now, [Event::Tick]).0;
                assert!(!state.holds_keys() || now < newest + 2 * HOUR, "seed {seed}\n{}", log.join("\n"));
            }
        }
    }
}
