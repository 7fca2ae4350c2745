//! What a workload's state says to a restart.

use serde_json::{Value, json};

use super::*;

fn wanted() -> Generations {
    [("app".to_owned(), 3), ("db".to_owned(), 7)].into()
}

/// An object with `changes` merged into what a workload looks like that is through with its last roll-out.
fn through(base: Value, changes: Value) -> Value {
    fn merge(into: &mut Value, from: Value) {
        match from {
            Value::Object(fields) if into.is_object() => {
                for (name, value) in fields {
                    merge(&mut into[name], value);
                }
            }
            other => *into = other,
        }
    }
    let mut object = json!({
        "metadata": { "name": "web", "generation": 4 },
        "spec": { "replicas": 2, "selector": {}, "serviceName": "web", "template": { "metadata": {} } },
        "status": { "observedGeneration": 4 },
    });
    merge(&mut object, base);
    merge(&mut object, changes);
    object
}

fn deployment(changes: Value) -> Step {
    let status = json!({ "status": { "replicas": 2, "updatedReplicas": 2, "conditions": [progress("True", "NewReplicaSetAvailable")] } });
    step(&serde_json::from_value::<Deployment>(through(status, changes)).unwrap(), &wanted())
}

fn progress(status: &str, reason: &str) -> Value {
    json!({ "type": "Progressing", "status": status, "reason": reason })
}

fn stateful_set(changes: Value) -> Step {
    let status = json!({ "status": { "replicas": 2, "currentRevision": "a", "updateRevision": "a" } });
    step(&serde_json::from_value::<StatefulSet>(through(status, changes)).unwrap(), &wanted())
}

fn daemon_set(changes: Value) -> Step {
    let status = json!({ "status": { "desiredNumberScheduled": 2, "updatedNumberScheduled": 2,
        "currentNumberScheduled": 2, "numberMisscheduled": 0, "numberReady": 2, "numberAvailable": 2 } });
    step(&serde_json::from_value::<DaemonSet>(through(status, changes)).unwrap(), &wanted())
}

fn annotated(value: &str) -> Value {
    json!({ "spec": { "template": { "metadata": { "annotations": { "touchseal.dev/secret-generations": value } } } } })
}

#[test]
fn one_that_is_through_is_annotated_with_all_generations_at_once() {
    for step in [deployment(json!({})), stateful_set(json!({})), daemon_set(json!({}))] {
        assert_eq!(step, Step::Annotate("app=3,db=7".to_owned()));
    }
}

#[test]
fn no_generation_restarts_twice_and_none_goes_back() {
    for done in ["app=3,db=7", "app=4,db=7", "db=8,x=1,app=3"] {
        assert_eq!(deployment(annotated(done)), Step::Done, "{done}");
    }
    assert_eq!(deployment(annotated("app=2,db=9,other=1")), Step::Annotate("app=3,db=9,other=1".to_owned()));
    assert_eq!(deployment(annotated("nonsense,app=x,db=7")), Step::Annotate("app=3,db=7".to_owned()));
}

#[test]
fn what_was_done_is_done_also_while_it_rolls_out_or_is_paused() {
    let mut busy = annotated("app=3,db=7");
    busy["spec"]["paused"] = json!(true);
    busy["status"] = json!({ "observedGeneration": 3 });
    assert_eq!(deployment(busy), Step::Done);
}

#[test]
fn a_deployment_that_is_paused_rolling_out_or_failing_is_left_alone() {
    for (changes, wait) in [
        (json!({ "spec": { "paused": true } }), Wait::Paused),
        (json!({ "status": { "observedGeneration": 3 } }), Wait::Busy),
        (json!({ "status": { "updatedReplicas": 1 } }), Wait::Busy),
        (json!({ "status": { "replicas": 3 } }), Wait::Busy),
        (json!({ "status": { "conditions": [progress("True", "ReplicaSetUpdated")] } }), Wait::Busy),
        (
            json!({ "status": { "conditions": [progress("False", "ProgressDeadlineExceeded")] } }),
            Wait::Failing,
        ),
        (json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }), Wait::Gone),
        (json!({ "status": Value::Null }), Wait::Busy),
    ] {
        assert_eq!(deployment(changes.clone()), Step::Wait(wait), "{changes}");
    }
    // Without a progress deadline there is no such condition.
    assert!(matches!(deployment(json!({ "status": { "conditions": [] } })), Step::Annotate(_)));
}

#[test]
fn a_stateful_set_or_daemon_set_that_is_rolling_out_is_left_alone_and_on_delete_is_said() {
    let on_delete = json!({ "spec": { "updateStrategy": { "type": "OnDelete" } } });
    for (changes, wait) in [
        (json!({ "status": { "updateRevision": "b" } }), Wait::Busy),
        (json!({ "status": { "replicas": 1 } }), Wait::Busy),
        (json!({ "status": { "observedGeneration": 3 } }), Wait::Busy),
        (on_delete.clone(), Wait::OnDelete),
    ] {
        assert_eq!(stateful_set(changes.clone()), Step::Wait(wait), "{changes}");
    }
    for (changes, wait) in [
        (json!({ "status": { "updatedNumberScheduled": 1 } }), Wait::Busy),
        (json!({ "status": { "numberAvailable": 1 } }), Wait::Busy),
        (json!({ "status": { "numberAvailable": Value::Null } }), Wait::Busy),
        (json!({ "status": { "observedGeneration": 3 } }), Wait::Busy),
        (on_delete, Wait::OnDelete),
    ] {
        assert_eq!(daemon_set(changes.clone()), Step::Wait(wait), "{changes}");
    }
}
