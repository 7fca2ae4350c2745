//! What metrics say of all objects: each is in one state, and times are those of the first and the oldest.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn tally_of(objects: &[EncryptedSecret], now: &Time) -> Tally {
    let mut tally = Tally::default();
    objects.iter().for_each(|object| tally.add(object, now));
    tally
}

fn now() -> Time {
    Time("2026-06-01T00:00:00Z".parse::<Timestamp>().unwrap())
}

fn at(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_second()
}

fn object(namespace: &str, status: Value) -> EncryptedSecret {
    serde_json::from_value(json!({
        "metadata": { "name": "app", "namespace": namespace, "generation": 2 },
        "spec": { "documents": [] }, "status": status,
    }))
    .unwrap()
}

fn told(type_: &str, status: &str, reason: &str, since: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": since })
}

fn ready(namespace: &str, observed: i64, reason: &str) -> EncryptedSecret {
    let status = if reason == "Materialised" { "True" } else { "False" };
    let ready = told("Ready", status, reason, "2026-01-01T00:00:00Z");
    object(namespace, json!({ "observedGeneration": observed, "conditions": [ready] }))
}

#[test]
fn every_object_is_in_one_state_of_its_namespace() {
    let objects = [
        ready("shop", 2, "Materialised"),
        ready("shop", 2, "Materialised"),
        ready("shop", 2, "Sealed"),
        ready("shop", 1, "Materialised"), // a spec nobody has looked at yet
        ready("shop", 2, "hunter2"),      // somebody else's word
        object("shop", Value::Null),
        ready("chat", 2, "DocumentTampered"),
    ];
    let tally = tally_of(&objects, &now());
    assert_eq!(tally.namespaces.len(), 2);
    let states = &tally.namespaces["shop"].states;
    assert_eq!(*states, BTreeMap::from([("Materialised", 2), ("Sealed", 1), (PENDING, 3)]));
    assert_eq!(tally.namespaces["chat"].states, BTreeMap::from([("DocumentTampered", 1)]));
    assert_eq!(tally.unclear, 7, "none names a keyring");
    assert_eq!(tally_of(&[], &now()), Tally::default());
}

#[test]
fn generations_are_those_the_objects_need() {
    let served = |number: i32| {
        let ready = told("Ready", "True", "Materialised", "2026-01-01T00:00:00Z");
        let fields = json!({ "observedGeneration": 2, "keyring": "prod", "keyGeneration": number, "conditions": [ready] });
        object("shop", fields)
    };
    let objects = [served(1), served(2), served(2), ready("shop", 2, "Sealed")];
    let tally = tally_of(&objects, &now());
    assert_eq!(tally.generations, BTreeMap::from([("prod".to_owned(), BTreeMap::from([(1, 1), (2, 2)]))]));
    assert_eq!((tally.needed("prod", 2), tally.needed("prod", 3), tally.needed("dev", 1)), (2, 0, 0));
    assert_eq!(tally.unclear, 1);
}

#[test]
fn ages_are_those_of_the_oldest_value_and_the_first_that_is_due() {
    let key = |since: &str, due: Option<&str>| json!({ "name": since, "since": since, "due": due });
    let objects = [
        object(
            "shop",
            json!({ "keys": [
            key("2026-03-01T00:00:00Z", Some("2026-05-30T00:00:00Z")),
            key("2026-02-01T00:00:00Z", None),
        ] }),
        ),
        object(
            "shop",
            json!({ "keys": [
            key("2026-04-01T00:00:00Z", Some("2026-06-01T00:00:00Z")),
            key("2026-05-01T00:00:00Z", Some("2026-06-01T00:00:01Z")),
        ] }),
        ),
        object("chat", json!({ "keys": [key("2026-05-01T00:00:00Z", None)] })),
    ];
    let tally = tally_of(&objects, &now());
    let shop = &tally.namespaces["shop"];
    assert_eq!(shop.oldest_value, Some(at("2026-02-01T00:00:00Z")));
    assert_eq!((shop.next_due, shop.overdue), (Some(at("2026-05-30T00:00:00Z")), 2), "due now is overdue");
    let chat = &tally.namespaces["chat"];
    assert_eq!((chat.next_due, chat.overdue), (None, 0));
}

#[test]
fn a_drain_goes_on_while_pods_hold_an_older_value_and_not_while_files_are_refreshed() {
    let pods = |current: i32, stale: i32| json!({ "known": true, "current": current, "stale": stale });
    let drain = |status: &str, reason: &str, since: &str, consumers: Value| {
        object(
            "shop",
            json!({ "conditions": [told("Draining", status, reason, since)], "consumers": consumers }),
        )
    };
    let objects = [
        drain("True", "StaleConsumers", "2026-05-02T00:00:00Z", pods(1, 2)),
        drain("True", "StaleConsumers", "2026-05-01T00:00:00Z", pods(0, 3)),
        drain("True", "Refreshing", "2026-04-01T00:00:00Z", pods(4, 1)),
        drain("False", "Drained", "2026-03-01T00:00:00Z", pods(5, 0)),
        drain("Unknown", "ConsumersUnknown", "2026-02-01T00:00:00Z", json!({ "known": false })),
    ];
    let tally = tally_of(&objects, &now());
    let shop = &tally.namespaces["shop"];
    assert_eq!((shop.current_pods, shop.stale_pods, shop.draining), (10, 6, 2));
    assert_eq!(shop.oldest_drain, Some(at("2026-05-01T00:00:00Z")));
}
