//! What replicas make of a Keyring's status together.

use super::*;

fn at(text: &str) -> Time {
    Time(text.parse().unwrap())
}

fn own(pod: &str, unsealed_at: Option<&str>) -> Own {
    let since = at(unsealed_at.unwrap_or("2026-01-01T00:00:00Z"));
    Own {
        replica: ReplicaStatus {
            pod: pod.to_owned(),
            version: None,
            state: if unsealed_at.is_some() { ReplicaState::Unsealed } else { ReplicaState::Sealed },
            since: since.clone(),
            unsealed_by: unsealed_at.map(|_| UnsealRecord {
                holder: "alice".to_owned(),
                serial: 1,
                handed_over_by: None,
                at: since,
                with: Vec::new(),
            }),
            memory_not_locked: None,
            seals_at: None,
            last_handled_seal_request: None,
        },
        time_over: false,
        tampered: None,
        fingerprint: Some("SHA256:abc".to_owned()),
        progress: None,
    }
}

fn report(before: &KeyringStatus, own: Own, live: &[&str]) -> KeyringStatus {
    report_under(None, before, own, live)
}

/// While somebody asks for a seal.
fn report_under(seal: Option<&str>, before: &KeyringStatus, own: Own, live: &[&str]) -> KeyringStatus {
    let spec = KeyringSpec { version: 1, revision: 1, ..KeyringSpec::unreadable() };
    let mut keyring = Keyring::new("prod", spec);
    keyring.metadata.generation = Some(3);
    keyring.metadata.annotations =
        seal.map(|marker| [(SEAL_ANNOTATION.to_owned(), marker.to_owned())].into());
    let live = live.iter().map(|pod| (*pod).to_owned()).collect();
    summary((&keyring, true), before, own, &live, &at("2026-06-01T00:00:00Z"))
}

fn state(status: &KeyringStatus, type_: ConditionType) -> Option<(&str, &str)> {
    let found = status.conditions.iter().find(|c| c.type_ == type_.as_str())?;
    Some((found.status.as_str(), found.reason.as_str()))
}

#[test]
fn reporting_the_same_again_changes_nothing() {
    let once = report(&KeyringStatus::default(), own("a", None), &["a"]);
    assert_eq!(report(&once, own("a", None), &["a"]), once);
}

#[test]
fn every_replica_counts_and_the_newest_unseal_is_told() {
    let one = report(&KeyringStatus::default(), own("b", Some("2026-02-02T00:00:00Z")), &["a", "b"]);
    let two = report(&one, own("a", Some("2026-01-02T00:00:00Z")), &["a", "b"]);
    assert_eq!(two.unsealed_replicas, Some(2));
    assert_eq!(two.replicas.iter().map(|r| r.pod.as_str()).collect::<Vec<_>>(), ["a", "b"], "in order");
    assert_eq!(two.last_unseal.as_ref().unwrap().at, at("2026-02-02T00:00:00Z"));
    assert_eq!(state(&two, ConditionType::Unsealed), Some(("True", "Unsealed")));
    assert_eq!(two.observed_generation, Some(3));
}

#[test]
fn a_hand_over_does_not_hide_which_holder_was_last() {
    let one = report(&KeyringStatus::default(), own("a", Some("2026-01-02T00:00:00Z")), &["a", "b"]);
    let mut handed = own("b", Some("2026-02-02T00:00:00Z"));
    handed.replica.unsealed_by.as_mut().unwrap().handed_over_by = Some("a".to_owned());
    let two = report(&one, handed, &["a", "b"]);
    assert_eq!(two.unsealed_replicas, Some(2));
    assert_eq!(two.last_unseal.unwrap().at, at("2026-01-02T00:00:00Z"));
}

#[test]
fn replicas_whose_pod_is_gone_are_dropped_and_the_last_unseal_is_remembered() {
    let one = report(&KeyringStatus::default(), own("gone", Some("2026-02-02T00:00:00Z")), &["gone"]);
    let two = report(&one, own("new", None), &["new"]);
    assert_eq!(two.replicas.len(), 1);
    assert_eq!(two.unsealed_replicas, Some(0));
    assert!(two.last_unseal.is_some());
    assert_eq!(state(&two, ConditionType::Unsealed), Some(("False", "Sealed")));
    assert_eq!(state(&two, ConditionType::Ready), Some(("True", "Sealed")), "sealed is a normal state");
}

#[test]
fn a_seal_is_over_once_a_replica_that_acted_upon_it_is_unsealed() {
    let replica = |pod: &str, unsealed: bool, handled: Option<&str>| {
        let mut own = own(pod, unsealed.then_some("2026-02-02T00:00:00Z"));
        own.replica.last_handled_seal_request = handled.map(str::to_owned);
        own
    };
    let over = |status: &KeyringStatus| status.ended_seal_request.clone();
    let (live, seal) = (["a", "b", "c"], Some("two"));
    let before = report_under(Some("one"), &KeyringStatus::default(), replica("a", true, Some("one")), &live);
    assert_eq!(over(&before).as_deref(), Some("one"));
    // Asked for anew: not yet acted upon, or acted upon and sealed.
    let asked = report_under(seal, &before, replica("b", true, Some("one")), &live);
    let asked = report_under(seal, &asked, replica("c", true, None), &live);
    let sealed = report_under(seal, &asked, replica("a", false, Some("two")), &live);
    assert_eq!(over(&sealed).as_deref(), Some("one"));
    let unsealed = report_under(seal, &sealed, replica("a", true, Some("two")), &live);
    assert_eq!(over(&unsealed).as_deref(), Some("two"));
    // It stays over when everything starts again.
    let restarted = report_under(seal, &unsealed, replica("d", false, Some("two")), &["d"]);
    assert_eq!(over(&restarted).as_deref(), Some("two"));
}

#[test]
fn a_refused_keyring_is_stalled_until_it_is_not() {
    let mut refused = own("a", None);
    refused.tampered =
        Some(Tampered { reason: Reason::ManifestInvalid, message: "the signature is wrong".to_owned() });
    let bad = report(&KeyringStatus::default(), refused, &["a"]);
    for type_ in [ConditionType::Stalled, ConditionType::Tampered] {
        assert_eq!(state(&bad, type_), Some(("True", "ManifestInvalid")));
    }
    assert_eq!(state(&bad, ConditionType::Ready), Some(("False", "ManifestInvalid")));
    let good = report(&bad, own("a", None), &["a"]);
    assert_eq!(state(&good, ConditionType::Stalled), None);
    assert_eq!(state(&good, ConditionType::Tampered), None);
    assert_eq!(state(&good, ConditionType::Ready), Some(("True", "Sealed")));
}

#[test]
fn a_single_holder_is_warned_of_until_there_is_another() {
    let report = |serials: &[u32], before: &KeyringStatus, refused: bool| {
        let holder = |serial: &u32| json!({ "name": format!("h{serial}"), "kind": "Piv", "serial": serial, "slot": "82", "recipient": "" });
        let holders: Vec<_> = serials.iter().map(holder).collect();
        let spec = json!({ "version": 1, "id": "", "revision": 1, "holders": holders, "generations": [], "signature": "" });
        let keyring = Keyring::new("prod", serde_json::from_value(spec).unwrap());
        let mut own = own("a", None);
        own.tampered = refused.then(|| Tampered {
            reason: Reason::ManifestInvalid,
            message: "the signature is wrong".to_owned(),
        });
        summary((&keyring, true), before, own, &["a".to_owned()].into(), &at("2026-06-01T00:00:00Z"))
    };
    let one = report(&[7], &KeyringStatus::default(), false);
    assert_eq!(state(&one, ConditionType::SingleHolder), Some(("True", "OneYubiKey")));
    assert_eq!(state(&one, ConditionType::Ready), Some(("True", "Sealed")), "nothing else changes by it");
    assert_eq!(report(&[7], &one, false), one);
    assert_eq!(state(&report(&[7, 8], &one, false), ConditionType::SingleHolder), None);
    assert_eq!(state(&report(&[7], &one, true), ConditionType::SingleHolder), None);
}

#[test]
fn each_holders_last_use_is_remembered_until_they_are_none() {
    let spec = |names: &[&str]| {
        let holder =
            |name: &&str| json!({ "name": name, "kind": "Piv", "serial": 1, "slot": "82", "recipient": "" });
        let holders: Vec<_> = names.iter().map(holder).collect();
        let spec = json!({ "version": 1, "id": "", "revision": 1, "holders": holders, "generations": [], "signature": "" });
        Keyring::new("prod", serde_json::from_value(spec).unwrap())
    };
    let live = ["a".to_owned(), "b".to_owned()].into();
    let now = at("2026-06-01T00:00:00Z");
    let mut first = own("a", Some("2026-02-02T00:00:00Z"));
    let with = vec![
        HolderRecord { holder: "bob".to_owned(), serial: 1 },
        HolderRecord { holder: "mallory".to_owned(), serial: 9 },
    ];
    first.replica.unsealed_by.as_mut().unwrap().with = with;
    let one =
        summary((&spec(&["alice", "bob", "carol"]), true), &KeyringStatus::default(), first, &live, &now);
    let uses = |status: &KeyringStatus| -> Vec<(String, String)> {
        status.holders.iter().map(|one| (one.holder.clone(), one.last_used.0.to_string())).collect()
    };
    let february = "2026-02-02T00:00:00Z".to_owned();
    assert_eq!(uses(&one), [("alice".to_owned(), february.clone()), ("bob".to_owned(), february.clone())]);
    let two =
        summary((&spec(&["bob", "alice"]), true), &one, own("a", Some("2026-03-03T00:00:00Z")), &live, &now);
    assert_eq!(
        uses(&two),
        [("bob".to_owned(), february.clone()), ("alice".to_owned(), "2026-03-03T00:00:00Z".to_owned())]
    );
    let three = summary((&spec(&["bob"]), true), &two, own("a", None), &live, &now);
    assert_eq!(uses(&three), [("bob".to_owned(), february)]);
}

#[test]
fn a_keyring_sealed_by_the_clock_says_so() {
    let mut over = own("a", None);
    over.time_over = true;
    let status = report(&KeyringStatus::default(), over, &["a"]);
    assert_eq!(state(&status, ConditionType::Unsealed), Some(("False", "SealAfter")));
    assert_eq!(state(&status, ConditionType::Ready), Some(("True", "SealAfter")));
}

#[test]
fn a_quorum_under_way_says_who_is_missing() {
    let alice = HolderRecord { holder: "alice".to_owned(), serial: 7 };
    let mut waiting = own("a", None);
    waiting.progress = Some(progress(&[alice], 3));
    let status = report(&KeyringStatus::default(), waiting, &["a"]);
    let unsealed = status.conditions.iter().find(|c| c.type_ == "Unsealed").unwrap();
    let said = "1 of 3 needed holders released (alice (YubiKey 7)); needs 2 more: touchseal unseal";
    assert_eq!(unsealed.message, said);
    assert_eq!(progress(&[], 2), "0 of 2 needed holders released; needs 2 more");
}

#[test]
fn fields_that_went_away_are_taken_out() {
    let before = KeyringStatus {
        fingerprint: Some("x".to_owned()),
        unsealed_replicas: Some(1),
        ..KeyringStatus::default()
    };
    let after = KeyringStatus { unsealed_replicas: Some(0), ..KeyringStatus::default() };
    assert_eq!(
        merge::status(&before, &after).unwrap(),
        json!({ "fingerprint": null, "unsealedReplicas": 0 })
    );
}
