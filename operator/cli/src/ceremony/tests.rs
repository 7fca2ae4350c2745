//! Choosing a YubiKey, and telling accepted from refused.

use super::*;
use crate::card::testing::holder;
use serde_json::{Value, json};

#[test]
fn the_only_holder_plugged_in_is_chosen() {
    let holders = [holder("anna", 1), holder("ben", 2)];
    let choose = |present: &[u32], wanted| choose_holder("main", &holders, present, wanted).map(|h| h.serial);
    assert_eq!(choose(&[2], None), Ok(2));
    assert_eq!(choose(&[9, 1], None), Ok(1));
    assert_eq!(choose(&[1, 2], Some(2)), Ok(2));
    assert!(
        matches!(choose(&[1, 2], None), Err(ChoiceError::Several { candidates, .. }) if candidates == [1, 2])
    );
    assert!(matches!(choose(&[9], None), Err(ChoiceError::NoHolder { .. })));
    assert!(matches!(choose(&[], None), Err(ChoiceError::NoHolder { .. })));
    assert!(matches!(choose(&[9], Some(9)), Err(ChoiceError::NotAHolder { .. })));
    assert!(matches!(choose(&[1], Some(2)), Err(ChoiceError::Absent { .. })));
}

fn request(uid: &str, nonce: &str, answered: bool, conditions: Value) -> UnsealRequest {
    let release = answered.then(|| {
        json!({ "nonce": nonce, "generation": 1, "holder": "anna", "serial": 1,
                                           "encapsulatedKey": "", "ciphertext": "" })
    });
    serde_json::from_value(json!({
        "metadata": { "name": "r", "uid": uid },
        "spec": { "keyring": "main", "pod": "op-1", "release": release },
        "status": { "nonce": nonce, "conditions": conditions },
    }))
    .unwrap()
}

fn refused(observed: Option<i64>, message: &str) -> Value {
    json!([{ "type": "ReleaseRefused", "status": "True", "reason": "ReleaseInvalid", "message": message,
             "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": observed }])
}

fn status(state: &str, since: &str) -> KeyringStatus {
    serde_json::from_value(json!({ "replicas": [{ "pod": "op-1", "state": state, "since": since }] }))
        .unwrap()
}

const EARLY: &str = "2026-01-01T00:00:00Z";
const LATE: &str = "2026-01-01T00:00:09Z";

fn sent(request: UnsealRequest) -> Sent {
    Sent { request, generation: Some(2), before: None, share: None }
}

#[test]
fn a_request_that_is_gone_counts_only_with_the_replicas_word() {
    let sent = sent(request("u", "n", false, json!([])));
    assert_eq!(outcome(&sent, None, Some(&status("Unsealed", LATE))), Outcome::Unsealed);
    assert_eq!(outcome(&sent, None, Some(&status("Sealed", LATE))), Outcome::Gone);
    assert_eq!(outcome(&sent, None, None), Outcome::Gone);
}

#[test]
fn the_word_of_an_earlier_life_does_not_count() {
    let mut sent = sent(request("u", "n", false, json!([])));
    let earlier = status("Unsealed", EARLY);
    sent.before = replica(Some(&earlier), "op-1").cloned();
    assert_eq!(outcome(&sent, None, Some(&earlier)), Outcome::Gone);
    assert_eq!(outcome(&sent, None, Some(&status("Unsealed", LATE))), Outcome::Unsealed);
}

#[test]
fn a_request_with_another_session_was_not_answered() {
    let sent = sent(request("u", "n", false, json!([])));
    let sealed = status("Sealed", EARLY);
    let seen =
        |uid, nonce, answered| outcome(&sent, Some(&request(uid, nonce, answered, json!([]))), Some(&sealed));
    assert_eq!(seen("u", "n", true), Outcome::Pending);
    assert_eq!(seen("u", "other", true), Outcome::AsksAnew);
    assert_eq!(seen("other", "n", true), Outcome::AsksAnew);
    assert_eq!(seen("u", "n", false), Outcome::AsksAnew, "the release was taken out without a word");
}

#[test]
fn a_refusal_counts_when_it_is_of_this_release() {
    let before = sent(request("u", "n", false, refused(Some(1), "the earlier one")));
    let seen = |answered, conditions| outcome(&before, Some(&request("u", "n", answered, conditions)), None);
    let no = || Outcome::Refused { reason: "ReleaseInvalid".into(), message: "no".into() };
    assert_eq!(seen(true, refused(Some(1), "the earlier one")), Outcome::Pending);
    assert_eq!(seen(true, refused(Some(2), "no")), no());
    assert_eq!(seen(true, refused(None, "no")), no());
    // Refused in the same words within the same second: the release that was taken out tells.
    let again = Outcome::Refused { reason: "ReleaseInvalid".into(), message: "the earlier one".into() };
    assert_eq!(seen(false, refused(Some(1), "the earlier one")), again);
}

#[test]
fn a_share_counts_once_the_replica_says_so() {
    let share = ShareSent { serial: 1, needed: 2 };
    let sent = Sent { share: Some(share), ..sent(request("u", "n", false, json!([]))) };
    let now = |released: Value, shares: Value, conditions: Value| {
        let mut now = serde_json::to_value(request("u", "n", false, conditions)).unwrap();
        now["status"]["released"] = released;
        now["spec"]["shares"] = shares;
        outcome(&sent, Some(&serde_json::from_value(now).unwrap()), None)
    };
    let of = |serial: u32| json!({ "holder": format!("h{serial}"), "serial": serial });
    let written = json!([{ "nonce": "n", "revision": 1, "holder": "h1", "serial": 1, "encapsulatedKey": "", "ciphertext": "" }]);
    let counted = |words: &str| Outcome::Counted(words.to_owned());
    let one = counted("1 of 2 needed holders released (h1); needs 1 more");
    assert_eq!(now(json!([of(1)]), written.clone(), json!([])), one);
    assert_eq!(now(json!([of(2), of(1)]), json!([]), json!([])), Outcome::Pending, "it is being opened");
    assert_eq!(now(json!([of(2)]), written.clone(), json!([])), Outcome::Pending, "only another's is there");
    assert_eq!(now(json!([]), written, refused(None, "of another")), Outcome::Pending);
    let no = Outcome::Refused { reason: "ReleaseInvalid".into(), message: "no".into() };
    assert_eq!(now(json!([]), json!([]), refused(None, "no")), no);
    assert_eq!(now(json!([]), json!([]), json!([])), Outcome::AsksAnew);
}
