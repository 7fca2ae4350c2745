//! What ends the wait, how, and what is said to whom it was in vain for.

use serde_json::{Value, json};

use super::*;

fn object(generation: i64, secret_generation: Value, conditions: &[(&str, &str, &str)]) -> EncryptedSecret {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(type_, status, message)| {
            json!({ "type": type_, "status": status, "reason": "Word", "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z" })
        })
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
        "metadata": { "name": "db", "namespace": "shop", "generation": generation }, "spec": { "documents": [] },
        "status": { "observedGeneration": 1, "secretGeneration": secret_generation, "conditions": conditions },
    }))
    .unwrap()
}

#[test]
fn only_a_present_word_of_the_operator_ends_the_wait() {
    let ready = ("Ready", "True", "served");
    let waiting = |text: &str, for_what| Stand::Waiting(text.to_owned(), for_what);
    for (what, object, wanted, stand_is) in [
        ("first content", object(1, json!(1), &[ready]), None, Stand::NotRotated),
        (
            "first content, as asked for",
            object(1, json!(1), &[ready]),
            Some(1),
            Stand::Done("secret generation 1: there is no older value".to_owned()),
        ),
        (
            "left",
            object(1, json!(2), &[ready, ("Draining", "False", "left at noon")]),
            None,
            Stand::Done("left at noon".to_owned()),
        ),
        (
            "held",
            object(1, json!(2), &[ready, ("Draining", "True", "2 pods")]),
            None,
            waiting("2 pods; no value was replaced since generation 2", For::Pods),
        ),
        (
            "dark",
            object(1, json!(2), &[ready, ("Draining", "Unknown", "no right")]),
            None,
            Stand::Unknown("no right".to_owned()),
        ),
        (
            "a later spec",
            object(2, json!(2), &[ready, ("Draining", "False", "left")]),
            None,
            waiting("the operator has not worked on its present spec yet", For::Word),
        ),
        (
            "sealed",
            object(1, json!(2), &[("Ready", "False", "no key"), ("Draining", "False", "left")]),
            None,
            waiting("Word: no key", For::Word),
        ),
        (
            "rotated, nothing said",
            object(1, json!(2), &[ready]),
            None,
            waiting("the operator has not told yet who holds an older value", For::Word),
        ),
        (
            "not there yet",
            object(1, json!(2), &[ready, ("Draining", "False", "left")]),
            Some(3),
            waiting("secret generation 2 is served, 3 is not yet", For::Change),
        ),
        (
            "there already",
            object(1, json!(3), &[ready, ("Draining", "False", "left")]),
            Some(2),
            Stand::Done("left; no value was replaced since generation 2".to_owned()),
        ),
    ] {
        assert_eq!(stand(&object, wanted), stand_is, "{what}");
    }
}

#[test]
fn the_keys_whose_value_was_replaced_are_named() {
    let ready = ("Ready", "True", "served");
    let at = |hour: u8| format!("2026-01-01T{hour:02}:00:00Z");
    let said = |draining: &str, wanted| {
        let mut object = object(1, json!(3), &[ready, ("Draining", draining, "m")]);
        let status = object.status.as_mut().unwrap();
        let generation = |n: u8| json!({ "number": n, "since": at(n), "changedCount": 1 });
        status.generations = serde_json::from_value(json!([3, 2].map(generation))).unwrap();
        let key = |name: &str, hour, replaced: bool| json!({ "name": name, "since": at(hour), "replaced": replaced });
        let keys = json!([
            key("added", 3, false),
            key("last", 3, true),
            key("middle", 2, true),
            key("long-ago", 1, true),
            key("never", 1, false)
        ]);
        status.keys = serde_json::from_value(keys).unwrap();
        match stand(&object, wanted) {
            Stand::Done(text) | Stand::Waiting(text, _) => text,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(said("True", None), "m; replaced since generation 3: last");
    assert_eq!(said("True", Some(2)), "m; replaced since generation 2: last, middle");
    assert_eq!(said("False", Some(2)), "m; replaced since generation 2: last, middle");
    assert_eq!(said("False", Some(1)), "m; replaced since generation 1: last, middle, long-ago");
    assert_eq!((said("False", None), said("False", Some(3))), ("m".to_owned(), "m".to_owned()));
}

#[test]
fn a_change_of_a_configmap_is_waited_for_by_its_generation_only() {
    let left = ("Draining", "False", "left at noon");
    let mut object = object(1, json!(2), &[("Ready", "True", "served"), left]);
    object.spec.documents = serde_json::from_value(json!([
        { "sops": "inline" }, { "configMapKeyRef": { "name": "app", "key": "app.yaml" } },
    ]))
    .unwrap();
    assert_eq!(stand(&object, None), Stand::Ambiguous);
    assert_eq!(stand(&object, Some(2)), Stand::Done("left at noon".to_owned()));
    let next = "secret generation 2 is served, 3 is not yet".to_owned();
    assert_eq!(stand(&object, Some(3)), Stand::Waiting(next, For::Change));
    // What the operator has not looked at yet makes no difference to that.
    object.status = None;
    assert_eq!(stand(&object, None), Stand::Ambiguous);
    assert_eq!(WaitError::Ambiguous("shop/db".to_owned()).exit(), Exit::Usage);
}

#[test]
fn a_change_that_flux_or_argo_cd_brings_is_waited_for_by_its_generation_only() {
    let mark = |name: &str| Some([(name.to_owned(), "app".to_owned())].into());
    let left = ("Draining", "False", "left at noon");
    let plain = object(1, json!(2), &[("Ready", "True", "served"), left]);
    assert_eq!(stand(&plain, None), Stand::Done("left at noon".to_owned()));
    let (mut flux, mut argo) = (plain.clone(), plain);
    flux.metadata.labels = mark("kustomize.toolkit.fluxcd.io/name");
    argo.metadata.annotations = mark("argocd.argoproj.io/tracking-id");
    for object in [flux, argo] {
        assert_eq!(stand(&object, None), Stand::Ambiguous);
        assert_eq!(stand(&object, Some(2)), Stand::Done("left at noon".to_owned()));
    }
}

/// `password` changed with generations 4 and 5, `user` with 4 alone.
fn twice(returned: bool, more: &[(&str, &str, &str)]) -> EncryptedSecret {
    let left = [("Ready", "True", "served"), ("Draining", "False", "may be revoked")];
    let mut object = object(1, json!(5), &[&left, more].concat());
    let status = object.status.as_mut().unwrap();
    let at = |hour: u8| format!("2026-01-01T{hour:02}:00:00Z");
    status.generations = serde_json::from_value(json!([
        { "number": 5, "since": at(5), "changed": ["password"], "changedCount": 1 },
        { "number": 4, "since": at(4), "changed": ["password", "user"], "changedCount": 2 },
    ]))
    .unwrap();
    status.keys = serde_json::from_value(json!([
        { "name": "password", "since": at(5), "replaced": true, "returned": returned },
        { "name": "user", "since": at(4), "replaced": true },
    ]))
    .unwrap();
    object
}

#[test]
fn a_value_that_is_served_again_is_never_the_old_one() {
    assert!(matches!(stand(&twice(false, &[]), Some(4)), Stand::Done(_)));
    let only = "of password only what generation 4 held may be revoked";
    let both = format!("{only}; of user only what generation 3 held may be revoked");
    for wanted in [None, Some(5)] {
        assert_eq!(stand(&twice(true, &[]), wanted), Stand::CameBack(only.to_owned()));
    }
    assert_eq!(stand(&twice(true, &[]), Some(4)), Stand::CameBack(both.clone()));
    let back = [("RolledBack", "True", "an older document")];
    assert_eq!(stand(&twice(false, &back), Some(4)), Stand::CameBack(both));
    assert_eq!(stand(&twice(false, &back), Some(5)), Stand::CameBack(only.to_owned()));
    let refused = WaitError::CameBack { name: "shop/db".to_owned(), what: only.to_owned() };
    assert_eq!(refused.exit(), Exit::Refused);
}

#[test]
fn a_reset_leaves_nothing_to_revoke() {
    let mut object =
        object(1, json!(2), &[("Ready", "True", "m"), ("Draining", "False", "may be revoked now")]);
    object.spec.rotation = serde_json::from_value(json!({ "class": "inPlaceReset" })).unwrap();
    let Stand::Done(said) = stand(&object, Some(2)) else { panic!("it is left") };
    assert!(said.contains("none to revoke"), "{said}");
    object.status.as_mut().unwrap().conditions[1].status = "True".to_owned();
    assert!(matches!(stand(&object, Some(2)), Stand::Waiting(_, For::Failing)));
}

#[test]
fn time_that_is_up_has_an_exit_code_of_its_own() {
    let name = || "shop/db".to_owned();
    let up = |for_what| WaitError::TimedOut {
        name: name(),
        after: Duration::from_secs(1),
        last: "2 pods".to_owned(),
        for_what,
    };
    for (for_what, hint) in [
        (For::Pods, "names who holds it"),
        (For::Change, "applied"),
        (For::Unseal, "touchseal unseal"),
        (For::Word, "touchseal status"),
    ] {
        assert_eq!(up(for_what).exit(), Exit::TimedOut);
        assert!(up(for_what).hint().contains("do not revoke") && up(for_what).hint().contains(hint));
    }
    assert!(!up(For::Failing).hint().contains("revoke"), "there is nothing to revoke");
    assert_eq!(WaitError::Unknown { name: name(), message: String::new() }.exit(), Exit::Failed);
}
