//! Objects as the API server gives them, and what is made of them.

use super::*;
use serde_json::{Value, json};
use touchseal_crds::KeyringSpec;

fn keyring_with(status: Value) -> Keyring {
    let spec = KeyringSpec { version: 1, revision: 1, ..KeyringSpec::unreadable() };
    let mut keyring = Keyring::new("main", spec);
    keyring.status = serde_json::from_value(status).unwrap();
    keyring
}

fn replicas(states: &[&str]) -> Value {
    let replicas: Vec<_> = states
        .iter()
        .enumerate()
        .map(|(index, state)| json!({ "pod": format!("op-{index}"), "state": state, "since": "2026-01-01T00:00:00Z" }))
        .collect();
    json!({
        "replicas": replicas,
        "lastUnseal": { "holder": "anna", "serial": 7, "at": "2026-01-01T00:00:00Z" },
    })
}

fn live(operators: &[&str]) -> Live {
    let pods: std::collections::BTreeSet<String> = operators.iter().map(|pod| (*pod).to_owned()).collect();
    Live { all: pods.clone(), operators: pods, ..Live::default() }
}

fn of(live: &Live) -> Replicas<'_> {
    Replicas { live: Some(live), namespace: "ts" }
}

fn secret(name: &str, observed: i64, ready: Value) -> EncryptedSecret {
    let mut conditions = Vec::new();
    if let Some((status, reason)) = ready.as_array().map(|pair| (&pair[0], &pair[1])) {
        conditions.push(json!({ "type": "Ready", "status": status, "reason": reason, "message": "why",
                                "lastTransitionTime": "2026-01-01T00:00:00Z" }));
    }
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "shop", "generation": 2 },
        "spec": { "documents": [] },
        "status": { "observedGeneration": observed, "conditions": conditions },
    }))
    .unwrap()
}

#[test]
fn a_keyring_is_as_unsealed_as_its_replicas() {
    let both = live(&["op-0", "op-1"]);
    let state = |status| keyring(&keyring_with(status), of(&both)).state;
    assert_eq!(state(Value::Null), State::Unknown);
    assert_eq!(state(replicas(&["Sealed"])), State::Sealed);
    assert_eq!(state(replicas(&["Sealed", "Unsealed"])), State::Partly);
    assert_eq!(state(replicas(&["Unsealed", "Unsealed"])), State::Unsealed);
    let mut tampered = replicas(&["Sealed"]);
    tampered["conditions"] = json!([{ "type": "Tampered", "status": "True", "reason": "ManifestInvalid",
        "message": "bad signature", "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
    assert_eq!(state(tampered.clone()), State::Tampered);
    tampered["conditions"][0]["reason"] = json!("ManifestForked");
    let text = View::new(&[keyring_with(tampered)], of(&both), &[], &[]).text(Timestamp::UNIX_EPOCH, false);
    assert!(text.contains("kubectl delete configmap touchseal-pin-main -n ts"), "{text}");
}

#[test]
fn a_replica_whose_pod_is_gone_holds_nothing() {
    let object = keyring_with(replicas(&["Unsealed", "Sealed"]));
    let seen = |pods: &[&str]| {
        let live = live(pods);
        let KeyringView { state, unsealed_replicas, replicas, message, .. } = keyring(&object, of(&live));
        (state, unsealed_replicas, replicas, message)
    };
    assert_eq!(seen(&["op-1"]), (State::Sealed, 0, 1, None));
    assert_eq!(seen(&["op-0"]), (State::Unsealed, 1, 1, None));
    let nobody = Some("no running operator pod in ts".to_owned());
    assert_eq!(seen(&[]), (State::Unknown, 0, 0, nobody));
    assert_eq!(seen(&["op-9"]), (State::Unknown, 0, 0, None), "a new pod that has not reported");
}

#[test]
fn without_the_right_to_list_pods_the_reports_are_shown_and_said_to_be_reports() {
    let keyrings = [keyring_with(replicas(&["Unsealed"]))];
    let view = View::new(&keyrings, Replicas { live: None, namespace: "ts" }, &[], &[]);
    let text = view.text("2026-01-01T00:01:00Z".parse().unwrap(), false);
    assert!(text.contains("1/1") && text.contains("you may not list pods in namespace ts"), "{text}");
}

#[test]
fn a_ready_of_an_earlier_spec_is_not_ready() {
    let secrets = [
        secret("ready", 2, json!(["True", "Materialised"])),
        secret("old", 1, json!(["True", "Materialised"])),
        secret("sealed", 2, json!(["False", "Sealed"])),
        secret("new", 2, json!(null)),
    ];
    let view = View::new(&[], of(&live(&[])), &[], &secrets);
    let rows: Vec<_> = view.not_ready.iter().map(|s| (s.name.as_str(), s.reason.as_str())).collect();
    assert_eq!(rows, [("new", "Progressing"), ("old", "Progressing"), ("sealed", "Sealed")]);
}

#[test]
fn the_text_says_who_unsealed_and_what_waits() {
    let request: UnsealRequest = serde_json::from_value(json!({
        "metadata": { "name": "r", "namespace": "ts", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "keyring": "main", "pod": "op-1" },
    }))
    .unwrap();
    let keyrings = [keyring_with(replicas(&["Unsealed", "Sealed"]))];
    let secrets =
        [secret("db", 2, json!(["False", "Sealed"])), secret("x", 2, json!(["True", "Materialised"]))];
    let view = View::new(&keyrings, of(&live(&["op-0", "op-1"])), &[request], &secrets);
    let text = view.text("2026-01-01T00:01:00Z".parse().unwrap(), false);
    let expected = "\
KEYRING   STATE    REPLICAS   LAST UNSEAL BY   YUBIKEY   AGO   MESSAGE
main      Partly   1/2        anna             7         60s   -

KEYRING   REPLICA   IS         SINCE   RELEASED BY
main      op-0      Unsealed   60s     -
main      op-1      Sealed     60s     -

WAITS FOR   POD    AGE   REFUSED
main        op-1   60s   -

1 of 2 EncryptedSecrets are ready; the others:
NAMESPACE   NAME   REASON   MESSAGE
shop        db     Sealed   why

to unseal: touchseal unseal
";
    assert_eq!(text, expected);
    assert!(view.names().contains("unsealrequest.touchseal.dev/r\n"));
}

#[test]
fn a_quorum_under_way_says_who_has_released() {
    let mut split = keyring_with(replicas(&["Unsealed"]));
    split.spec.quorum = Some(2);
    let status = split.status.as_mut().unwrap().last_unseal.as_mut().unwrap();
    status.with = serde_json::from_value(json!([{ "holder": "carl", "serial": 9 }])).unwrap();
    let waiting = serde_json::from_value(json!({
        "metadata": { "name": "r" }, "spec": { "keyring": "main", "pod": "op-1" },
        "status": { "released": [{ "holder": "ben", "serial": 8 }] },
    }));
    let replicas = Replicas { namespace: "touchseal-system", live: None };
    let text = View::new(&[split], replicas, &[waiting.unwrap()], &[]).text(Timestamp::now(), false);
    assert!(
        text.contains("QUORUM") && text.contains("1 of 2 needed holders released (ben); needs 1 more"),
        "{text}"
    );
    assert!(text.contains("carl, anna"), "{text}");
}

#[test]
fn with_several_replicas_each_is_shown_with_whose_release_it_holds() {
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
    let record = json!({ "holder": "alice", "serial": 7, "at": "2026-01-01T00:00:00Z" });
    let mut handed = record.clone();
    handed["handedOverBy"] = "op-1".into();
    let keyring = keyring_with(json!({ "replicas": [
        { "pod": "op-1", "state": "Unsealed", "since": "2026-01-01T00:00:00Z", "unsealedBy": record },
        { "pod": "op-2", "state": "Unsealed", "since": "2026-01-01T00:00:00Z", "unsealedBy": handed },
        { "pod": "op-3", "state": "Sealed", "since": "2026-01-01T00:00:00Z" },
    ]}));
    let replicas = Replicas { live: None, namespace: "ts" };
    let text = View::new(&[keyring], replicas, &[], &[]).text(now, false);
    let line = |pod: &str| text.lines().find(|line| line.contains(&format!(" {pod} "))).unwrap().to_owned();
    assert!(line("op-1").ends_with("alice (YubiKey 7)"), "{text}");
    assert!(line("op-2").ends_with("hand-over from op-1"), "{text}");
    assert!(line("op-3").contains("Sealed"), "{text}");
}

#[test]
fn a_keyring_that_one_lost_yubikey_closes_for_ever_is_warned_of() {
    let holder = |name: &str, serial: u32| json!({ "name": name, "kind": "Piv", "serial": serial, "slot": "82", "recipient": "" });
    let text = |holders: Value, status: Value| {
        let mut object = keyring_with(status);
        object.spec.holders = serde_json::from_value(holders).unwrap();
        View::new(&[object], of(&live(&["op-0"])), &[], &[]).text(Timestamp::UNIX_EPOCH, false)
    };
    let alone = json!([holder("anna", 7)]);
    let said = text(alone.clone(), replicas(&["Unsealed"]));
    assert!(said.contains("\nwarning: keyring main: only YubiKey 7 opens this keyring"), "{said}");
    let two = json!([holder("anna", 7), holder("ben", 8)]);
    assert!(!text(two, replicas(&["Unsealed"])).contains("warning"));
    let mut refused = replicas(&["Sealed"]);
    refused["conditions"] = json!([{ "type": "Tampered", "status": "True", "reason": "ManifestInvalid",
        "message": "bad signature", "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
    assert!(!text(alone, refused).contains("warning"));
}
