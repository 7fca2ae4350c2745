//! What is advised for an incident agrees with what `touchseal rotation` advises.

use serde_json::{Value, json};
use touchseal_crds::Incident;

use super::super::scope::Scope;
use super::*;

const CLASSES: [&str; 4] = ["dualKey", "switchOver", "inPlaceReset", "deployBeforeRevoke"];
const AT: &str = "2026-05-01T00:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// An EncryptedSecret whose only key came on the given day of May; `draining` is the reason of that condition.
fn object(rotation: Value, day: u8, replaced: bool, draining: Option<&str>) -> EncryptedSecret {
    let since = format!("2026-05-{day:02}T00:00:00Z");
    let mut before = json!({ "number": 1, "since": "2026-01-01T00:00:00Z", "changedCount": 1 });
    let mut conditions = Vec::new();
    match draining {
        Some(reason) => conditions
            .push(json!({ "type": "Draining", "status": "True", "reason": reason, "message": "",
            "lastTransitionTime": AT })),
        None => before["drained"] = json!(since),
    }
    serde_json::from_value(json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
        "metadata": { "name": "db", "namespace": "shop" },
        "spec": { "documents": [], "rotation": rotation },
        "status": {
            "secretName": "db-g2", "conditions": conditions,
            "keys": [{ "name": "password", "since": since, "replaced": replaced }],
            "generations": [{ "number": 2, "since": since, "changedCount": 1 }, before],
            "consumers": { "known": true, "current": 0, "stale": 2 },
        },
    }))
    .unwrap()
}

fn entry(state: RemainingState, since: &str) -> Remaining {
    let (namespace, name, key) = ("shop".to_owned(), "db".to_owned(), "password".to_owned());
    Remaining {
        namespace,
        name,
        key,
        state,
        since: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time(since)),
    }
}

fn said(object: Option<EncryptedSecret>, state: RemainingState, since: &str) -> String {
    let objects: Vec<EncryptedSecret> = object.into_iter().collect();
    Advice::new(&objects, time(AT), time("2026-06-01T00:00:00Z")).next_step(&entry(state, since))
}

fn assert_holds(said: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(said.contains(wanted), "{said:?} lacks {wanted:?}");
    }
}

#[test]
fn draining_is_told_as_the_rotation_tells_it() {
    let draining = |rotation, reason| {
        said(Some(object(rotation, 20, true, Some(reason))), RemainingState::Draining, "2026-05-20T00:00:00Z")
    };
    assert_holds(&draining(json!({}), "StaleConsumers"), &["2 pods hold", "restart them", "revoke"]);
    assert_holds(&draining(json!({ "rollout": "Restart" }), "StaleConsumers"), &["wait for their restart"]);
    assert_holds(&draining(json!({ "delivery": "Immutable" }), "StaleConsumers"), &["at Secret db-g2"]);
    for rotation in [json!({}), json!({ "rollout": "Restart" })] {
        let said = draining(rotation, "Refreshing");
        assert!(said.contains("wait") && !said.contains("restart"), "{said}");
    }
    // Without the right to read it, in general.
    assert_holds(
        &said(None, RemainingState::Draining, "2026-05-20T00:00:00Z"),
        &["pods hold", "restart them"],
    );
}

#[test]
fn exposed_values_are_replaced_as_their_kind_asks() {
    for (class, wanted) in
        CLASSES.into_iter().zip(["second key", "idle user", "reset it", "issue the new one"])
    {
        let object = object(json!({ "class": class }), 20, false, None);
        let said = said(Some(object), RemainingState::Exposed, "2026-01-01T00:00:00Z");
        assert!(said.contains(wanted) && !said.contains("accept"), "{said}");
    }
}

#[test]
fn a_second_key_is_not_made_while_pods_hold_the_first_of_two() {
    let mut day = time("2026-04-20T00:00:00Z");
    for (class, comes_first) in CLASSES.into_iter().zip([true, true, false, false]) {
        let draining = object(json!({ "class": class }), 1, true, Some("StaleConsumers"));
        let said = said(Some(draining), RemainingState::Exposed, &day.to_string());
        assert_eq!(said.starts_with("first end the rotation under way (2 pods hold"), comes_first, "{said}");
        day += jiff::SignedDuration::from_secs(1);
    }
    let left = object(json!({ "class": "dualKey" }), 20, true, None);
    let said = said(Some(left), RemainingState::Exposed, "2026-04-20T00:00:00Z");
    assert_holds(&said, &["first delete the first key", "if it is still there; then make a second key"]);
}

#[test]
fn a_value_younger_than_the_exposure_is_exposed_for_a_reason_that_is_told() {
    const LATER: &str = "2026-05-20T00:00:00Z";
    let exposed =
        |replaced| said(Some(object(json!({}), 20, replaced, None)), RemainingState::Exposed, LATER);
    assert_holds(
        &exposed(false),
        &["first served after the exposure", "accept it if it is really new", "make a new"],
    );
    assert_holds(&exposed(true), &["are forgotten", "accept it if it is really new", "make a new"]);
    assert_holds(
        &said(None, RemainingState::Exposed, LATER),
        &["nobody knows", "accept it if it is really new"],
    );
}

#[test]
fn what_only_a_person_can_tell_ends_with_accepting_it() {
    for state in [RemainingState::Removed, RemainingState::Unknown] {
        assert_holds(&said(None, state, AT), &["then accept it"]);
    }
}

#[test]
fn what_is_safe_is_listed_until_it_was_closed_unless_it_was_accepted() {
    let mut incident: Incident = serde_json::from_value(json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "Incident", "metadata": { "name": "leak", "generation": 1 },
        "spec": { "exposedAt": AT },
        "status": { "observedGeneration": 1, "totals": { "exposed": 0, "draining": 0, "safe": 1, "accepted": 0 },
            "conditions": [{ "type": "Closed", "status": "True", "reason": "AllSafe", "message": "", "lastTransitionTime": AT }] },
    }))
    .unwrap();
    let now = time("2026-06-01T00:00:00Z");
    for (class, wanted) in
        CLASSES.into_iter().zip(["delete the first key", "lock the user", "nothing: the reset", "revoke"])
    {
        let objects = [object(json!({ "class": class }), 20, true, None)];
        let safe = Scope::new(&incident).safe(&objects, now);
        assert_eq!(
            safe.iter().map(|safe| (safe.namespace, safe.name, safe.key)).collect::<Vec<_>>(),
            [("shop", "db", "password")]
        );
        assert_holds(revocation(&safe[0]), &[wanted]);
    }
    let objects = [object(json!({}), 20, true, None)];
    let count = |incident: &Incident| Scope::new(incident).safe(&objects, now).len();
    let before = incident.clone();
    incident.spec.accepted =
        serde_json::from_value(json!([{ "namespace": "shop", "name": "db", "reason": "r" }])).unwrap();
    assert_eq!(count(&incident), 0);
    incident.clone_from(&before);
    incident.status.as_mut().unwrap().closed_at =
        serde_json::from_value(json!("2026-05-10T00:00:00Z")).unwrap();
    assert_eq!(count(&incident), 0, "replaced after it was closed");
    incident.clone_from(&before);
    incident.status.as_mut().unwrap().totals.as_mut().unwrap().draining = 1;
    assert_eq!(count(&incident), 0, "something remains that is not listed");
}
