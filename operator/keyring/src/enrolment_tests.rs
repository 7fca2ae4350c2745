//! Who becomes a holder without a holder, and who does not.

use jiff::{SignedDuration, Timestamp};
use touchseal_crds::enrolment::EnrolmentSpec;
use touchseal_crds::keyring::EmergencyEnrolment;

use super::{CHALLENGE_LIFE, Challenge, Refused, Verdict, judge};
use crate::manifest::{set_emergency_enrolment, set_quorum, verify};
use crate::open::OpenKeyring;
use crate::testkit::{SoftHolder, keyring};

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// The test keyring, at revision 2, whose holders allow it.
fn allowing() -> OpenKeyring {
    let (manifest, open) = keyring();
    let spec = set_emergency_enrolment(&manifest, &open, EmergencyEnrolment::Allow).unwrap();
    open.reopen(&verify(&spec).unwrap()).unwrap()
}

fn carol() -> SoftHolder {
    SoftHolder::new("carol", 0x0c)
}

fn wish(answer: Option<&str>) -> EnrolmentSpec {
    EnrolmentSpec {
        keyring: "main".to_owned(),
        revision: 2,
        holder: carol().entry(),
        requested_by: "admin".to_owned(),
        reason: "the office burnt down".to_owned(),
        answer: answer.map(str::to_owned),
    }
}

fn refused(verdict: Verdict) -> Refused {
    let Verdict::Refuse(why) = verdict else { panic!("{verdict:?}") };
    why
}

#[test]
fn the_new_holder_opens_the_next_manifest_and_the_old_ones_still_do() {
    let open = allowing();
    let challenge = Challenge::generate(now());
    assert!(matches!(judge(&wish(None), Some(&open), None, now()), Verdict::Ask));
    assert!(matches!(judge(&wish(None), Some(&open), Some(&challenge), now()), Verdict::Wait));
    let answered = wish(Some(&challenge.text));
    let Verdict::Enrol(spec) = judge(&answered, Some(&open), Some(&challenge), now()) else { panic!() };
    let next = verify(&spec).unwrap();
    assert_eq!((next.spec().revision, next.spec().holders.len()), (3, 3));
    for mut holder in [carol(), crate::testkit::alice()] {
        assert!(OpenKeyring::open(&next, holder.release_master(&next)).is_ok(), "{}", holder.name);
    }
}

#[test]
fn with_a_quorum_they_get_a_share_and_no_more() {
    let open = allowing();
    let spec = set_quorum(open.manifest(), &open, Some(2)).unwrap();
    let open = open.reopen(&verify(&spec).unwrap()).unwrap();
    let challenge = Challenge::generate(now());
    let answered = EnrolmentSpec { revision: 3, ..wish(Some(&challenge.text)) };
    let Verdict::Enrol(spec) = judge(&answered, Some(&open), Some(&challenge), now()) else { panic!() };
    let next = verify(&spec).unwrap();
    let share = carol().share(&next);
    assert!(OpenKeyring::open_with_shares(&next, vec![share]).is_err(), "alone");
}

#[test]
fn nobody_is_enrolled_unless_the_holders_allowed_it() {
    let (manifest, open) = keyring();
    let challenge = Challenge::generate(now());
    let answered = EnrolmentSpec { revision: 1, ..wish(Some(&challenge.text)) };
    let verdict = judge(&answered, Some(&open), Some(&challenge), now());
    assert!(matches!(refused(verdict), Refused::NotAllowed), "the default");
    let spec = set_emergency_enrolment(&manifest, &open, EmergencyEnrolment::Deny).unwrap();
    let open = open.reopen(&verify(&spec).unwrap()).unwrap();
    let verdict = judge(&wish(Some(&challenge.text)), Some(&open), Some(&challenge), now());
    assert!(matches!(refused(verdict), Refused::NotAllowed));
}

#[test]
fn a_wish_that_only_stands_in_git_enrols_nobody() {
    let open = allowing();
    let challenge = Challenge::generate(now());
    let before_asked = judge(&wish(Some(&challenge.text)), Some(&open), None, now());
    assert!(matches!(refused(before_asked), Refused::WrongAnswer), "an answer without a question");
    let other = Challenge::generate(now());
    assert_ne!(challenge, other);
    let verdict = judge(&wish(Some(&other.text)), Some(&open), Some(&challenge), now());
    assert!(matches!(refused(verdict), Refused::WrongAnswer), "the challenge of another object");
    let late = now().checked_add(CHALLENGE_LIFE).unwrap();
    let verdict = judge(&wish(Some(&challenge.text)), Some(&open), Some(&challenge), late);
    assert!(matches!(refused(verdict), Refused::TooLate));
    let just = late.checked_sub(SignedDuration::from_secs(1)).unwrap();
    let verdict = judge(&wish(Some(&challenge.text)), Some(&open), Some(&challenge), just);
    assert!(matches!(verdict, Verdict::Enrol(_)));
}

#[test]
fn what_does_not_fit_is_refused_and_a_sealed_process_says_nothing() {
    let open = allowing();
    let challenge = Challenge::generate(now());
    let answered = wish(Some(&challenge.text));
    assert!(matches!(judge(&answered, None, Some(&challenge), now()), Verdict::Sealed));
    let old = EnrolmentSpec { revision: 1, ..answered.clone() };
    let verdict = judge(&old, Some(&open), Some(&challenge), now());
    assert!(matches!(refused(verdict), Refused::Revision { asked: 1, there: 2 }));
    let again = EnrolmentSpec { holder: crate::testkit::alice().entry(), ..answered };
    let verdict = judge(&again, Some(&open), Some(&challenge), now());
    assert!(matches!(refused(verdict), Refused::Edit(_)), "a holder already");
}
