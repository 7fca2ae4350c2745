//! A rotation from its first stale pod to "the old value may be revoked now", with real Deployments.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::pods::{env, env_from, mounting, spec};
use touchseal_suites::world::condition;
use touchseal_suites::{Apps, DEADLINE, World};

use crate::incident::touchseal;

/// A Deployment of two pods with this pod spec.
pub fn deployment(world: &World, name: &str, pod: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": world.apps },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": pod },
        },
    })
}

fn draining(object: &Value) -> (String, String, String) {
    let condition = condition(object, "Draining");
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

fn is(object: &Value, status: &str, reason: &str) -> bool {
    let (found, why, _) = draining(object);
    found == status && why == reason
}

fn counts(object: &Value, current: i64, stale: i64) -> bool {
    let counts = &object["status"]["consumers"];
    counts["current"] == current && counts["stale"] == stale
}

#[test]
fn a_rotation_is_followed_until_the_old_value_may_be_revoked() {
    let mut apps = Apps::new("drained");
    apps.serve_yaml("app", "password: first\n");
    apps.cluster.apply(&deployment(&apps, "web", &spec(&env("app", "password"))).to_string()).unwrap();
    apps.wait_with_kubelet("app", "two pods", |object| counts(object, 2, 0));

    apps.next_second();
    apps.apply_yaml("app", "password: second\n");
    let object = apps.wait_for_draining("app", "True", "StaleConsumers");
    let (_, _, message) = draining(&object);
    assert_eq!(message, "2 of 2 pods hold an older value: Deployment web (2)");
    let workloads = &object["status"]["consumers"]["staleWorkloads"];
    let expected =
        json!([{ "kind": "Deployment", "name": "web", "pods": 2, "oldestGeneration": 1, "uses": ["env"] }]);
    assert_eq!(*workloads, expected);

    // Rotated once more before anybody was restarted: the first content is still held.
    apps.next_second();
    apps.apply_yaml("app", "password: third\n");
    let object = apps.wait_for_generation("app", 3);
    assert!(is(&object, "True", "StaleConsumers"));

    apps.next_second();
    apps.kubectl(&["rollout", "restart", "deployment/web"]);
    let object = apps.wait_with_kubelet("app", "drained", |object| is(object, "False", "Drained"));
    assert!(counts(&object, 2, 0), "{}", object["status"]);
    let generations = object["status"]["generations"].as_array().unwrap();
    let left: Vec<&str> = generations[1..].iter().map(|g| g["drained"].as_str().unwrap()).collect();
    assert_eq!((left.len(), &generations[0]["drained"]), (2, &Value::Null));
    let (_, _, message) = draining(&object);
    let expected = format!(
        "no pod holds generation 2 any more, seen at {}: the old value of password may be revoked now",
        left[0]
    );
    assert_eq!(message, expected);
    assert!(left[0].parse::<Timestamp>().unwrap() <= Timestamp::now());
    assert_eq!(apps.events("app").iter().filter(|reason| *reason == "Drained").count(), 1);

    // It survives the status and the process.
    let patch = json!([{ "op": "remove", "path": "/status" }]).to_string();
    apps.kubectl(&["patch", "encryptedsecret", "app", "--subresource=status", "--type=json", "-p", &patch]);
    let again = apps.wait_for_draining("app", "False", "Drained");
    assert_eq!(again["status"]["generations"], object["status"]["generations"]);
    apps.restart_operator();
    apps.unseal_again();
    let again = apps.reconcile("app", "after the restart");
    assert_eq!(again["status"]["generations"], object["status"]["generations"]);
}

#[test]
fn sealed_it_goes_on_draining() {
    let apps = Apps::new("sealed-drain");
    apps.serve_yaml("app", "password: first\n");
    apps.run_pod("old", &spec(&env_from("app")));
    apps.next_second();
    apps.apply_yaml("app", "password: second\n");
    apps.wait_for_draining("app", "True", "StaleConsumers");
    apps.seal("prod", "now");
    apps.end_pod("old");
    let object = apps.wait_for_draining("app", "False", "Drained");
    assert_eq!(condition(&object, "Ready")["status"], "True");
}

#[test]
fn mounted_files_drain_by_themselves_once_the_kubelets_have_had_their_time() {
    let apps = Apps::with("mounted", &["--mount-refresh=6s"]);
    apps.serve_yaml("app", "password: first\n");
    apps.run_pod("reads", &mounting("app"));
    apps.wait_for_consumers("app", 1, 0);
    apps.next_second();
    apps.apply_yaml("app", "password: second\n");
    let object = apps.wait_for_draining("app", "True", "Refreshing");
    assert_eq!(object["status"]["generations"][1]["drained"], Value::Null);
    let object = apps.wait_for_draining("app", "False", "Drained");
    let time =
        |pointer: &str| object.pointer(pointer).unwrap().as_str().unwrap().parse::<Timestamp>().unwrap();
    let waited =
        time("/status/generations/1/drained").as_second() - time("/status/generations/0/since").as_second();
    assert!((6..=12).contains(&waited), "{waited} s");
}

#[test]
fn files_read_at_start_only_hold_until_the_restart() {
    let apps = Apps::with("at-start", &["--mount-refresh=1s"]);
    let spec = |apps: &Apps, plain: &str| json!({ "documents": [{ "sops": apps.encrypt("app.yaml", plain) }], "rotation": { "mounts": "Restart" } });
    apps.apply_secret("app", spec(&apps, "password: first\n"));
    apps.wait_for("app", "True", "Materialised");
    apps.run_pod("reads", &mounting("app"));
    apps.wait_for_consumers("app", 1, 0);
    apps.next_second();
    apps.apply_secret("app", spec(&apps, "password: second\n"));
    apps.wait_for_draining("app", "True", "StaleConsumers");
    apps.restart_container("reads", "main");
    apps.wait_for_draining("app", "False", "Drained");
}

#[test]
fn pods_of_immutable_generations_hold_exactly_what_they_name() {
    let apps = Apps::new("exact");
    let spec_of = |apps: &Apps, plain: &str| json!({ "documents": [{ "sops": apps.encrypt("app.yaml", plain) }], "rotation": { "delivery": "Immutable" } });
    apps.apply_secret("app", spec_of(&apps, "password: first\n"));
    apps.wait_for_generation("app", 1);
    apps.run_pod("one", &mounting("app-g1"));
    apps.wait_for_consumers("app", 1, 0);
    apps.apply_secret("app", spec_of(&apps, "password: second\n"));
    apps.wait_for_generation("app", 2);
    // No pod changes what it names, however new it is.
    apps.run_pod("late", &spec(&env_from("app-g1")));
    let object = apps.wait_for_consumers("app", 0, 2);
    assert!(is(&object, "True", "StaleConsumers"), "{}", object["status"]);
    apps.run_pod("new", &mounting("app-g2"));
    apps.wait_for_consumers("app", 1, 2);
    apps.end_pod("one");
    apps.wait_for_consumers("app", 1, 1);
    apps.end_pod("late");
    apps.wait_for_draining("app", "False", "Drained");
}

/// A policy that refuses every change of the Secret `app`, and is in force.
fn refuse_writes(apps: &Apps) {
    let kind = |kind: &str, spec: Value| {
        json!({ "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind, "metadata": { "name": "frozen" }, "spec": spec })
    };
    let rule = json!({ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["secrets"] });
    let policy = json!({
        "matchConstraints": { "resourceRules": [rule] },
        "matchConditions": [{ "name": "named", "expression": "object.metadata.name == 'app'" }],
        "validations": [{ "expression": "false" }],
    });
    let binding = json!({ "policyName": "frozen", "validationActions": ["Deny"] });
    for object in
        [kind("ValidatingAdmissionPolicy", policy), kind("ValidatingAdmissionPolicyBinding", binding)]
    {
        apps.cluster.apply(&object.to_string()).unwrap();
    }
    let probe =
        ["-n", &apps.apps, "annotate", "--overwrite", "--dry-run=server", "secret", "app", "probe=yes"];
    eventually(DEADLINE, "the policy", || !apps.cluster.kubectl(&probe).unwrap().status.success()).unwrap();
}

#[test]
fn while_the_secret_cannot_be_written_nothing_is_left_and_an_incident_stays_open() {
    let apps = Apps::new("unwritten");
    apps.serve_yaml("app", "password: first\n");
    apps.next_second();
    let now = Timestamp::now().to_string();
    touchseal(&apps, &["incident", "open", "leak", "--exposed-at", &now]).ok();
    apps.next_second();
    let totals = |exposed: i64, draining: i64, safe: i64| {
        let wanted = json!({ "exposed": exposed, "draining": draining, "safe": safe, "accepted": 0 });
        eventually(DEADLINE, &format!("the incident: {wanted}"), || {
            let incident = apps.cluster.get(&["incident", "leak"]).unwrap();
            let found = incident["status"]["totals"].as_object().is_some_and(|totals| {
                wanted.as_object().unwrap().iter().all(|(word, count)| totals.get(word) == Some(count))
            });
            if found { Ok(incident) } else { Err(incident["status"].to_string()) }
        })
        .unwrap()
    };
    totals(1, 0, 0);

    // Nobody is there who uses it. The ledger has the new number, and the Secret the old value.
    refuse_writes(&apps);
    apps.apply_yaml("app", "password: second\n");
    apps.wait_for("app", "False", "ApiError");
    assert_eq!(condition(&totals(0, 1, 0), "Closed")["status"], "False");
    // Who comes now is given the old value.
    apps.run_pod("late", &spec(&env("app", "password")));
    apps.next_second();

    apps.kubectl(&["delete", "validatingadmissionpolicybinding", "frozen"]);
    eventually(DEADLINE, "generation 2 to be written", || {
        apps.kubectl(&[
            "annotate",
            "--overwrite",
            "encryptedsecret",
            "app",
            &format!("touchseal.dev/reconcile={}", Timestamp::now()),
        ]);
        apps.encrypted_secret("app")["status"]["secretGeneration"] == 2
    })
    .unwrap();
    apps.wait_for_draining("app", "True", "StaleConsumers");
    assert_eq!(condition(&totals(0, 1, 0), "Closed")["status"], "False");
    apps.end_pod("late");
    apps.wait_for_draining("app", "False", "Drained");
    assert_eq!(condition(&totals(0, 0, 1), "Closed")["status"], "True");
}

#[test]
fn a_secret_that_somebody_changed_while_sealed_is_not_called_left() {
    let apps = Apps::new("drifted-drain");
    apps.serve_yaml("app", "password: first\n");
    apps.run_pod("old", &spec(&env("app", "password")));
    apps.next_second();
    apps.apply_yaml("app", "password: second\n");
    let object = apps.wait_for_draining("app", "True", "StaleConsumers");
    // The content is dated by the API server.
    let secret = apps.kubectl(&["get", "secret", "app", "-o", "json", "--show-managed-fields"]);
    let fields = serde_json::from_str::<Value>(&secret).unwrap()["metadata"]["managedFields"].clone();
    let ours = |field: &&Value| field["manager"] == "touchseal" && field["operation"] == "Apply";
    let written = fields.as_array().unwrap().iter().find(ours).unwrap()["time"].clone();
    assert_eq!(object["status"]["generations"][0]["since"], written);

    apps.seal("prod", "now");
    apps.next_second();
    // Somebody puts the old value back; who starts now is given it, and it cannot be put right without a key.
    let patch = json!({ "stringData": { "password": "first" } }).to_string();
    apps.kubectl(&["patch", "secret", "app", "--type=merge", "-p", &patch]);
    apps.run_pod("new", &spec(&env("app", "password")));
    apps.end_pod("old");
    apps.reconcile("app", "looked");
    assert_eq!(apps.encrypted_secret("app")["status"]["generations"][1]["drained"], Value::Null);

    apps.next_second();
    apps.unseal_again();
    apps.wait_for_consumers("app", 0, 1);
    assert!(is(&apps.encrypted_secret("app"), "True", "StaleConsumers"));
    apps.end_pod("new");
    apps.wait_for_draining("app", "False", "Drained");
}
