//! Old content stays reachable while it is needed: `NAME-previous`, immutable `NAME-g<N>` and what becomes of them.

use std::collections::BTreeMap;
use std::process::Command;

use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::world::{condition, value};
use touchseal_suites::{Apps, DEADLINE};

/// Applies an EncryptedSecret with one password and this rotation.
fn apply(apps: &Apps, name: &str, password: &str, rotation: &Value) {
    let document = apps.encrypt("app.yaml", &format!("password: {password}\n"));
    apps.apply_secret(name, json!({ "documents": [{ "sops": document }], "rotation": rotation }));
}

fn password(secret: &Value) -> String {
    String::from_utf8(value(secret, "password").unwrap()).unwrap()
}

fn annotation<'a>(object: &'a Value, name: &str) -> &'a Value {
    &object["metadata"]["annotations"][format!("touchseal.dev/{name}")]
}

fn gone(apps: &Apps, name: &str) {
    eventually(DEADLINE, &format!("Secret {name} to go"), || apps.secret(name).is_none()).unwrap();
}

fn config_map(apps: &Apps, name: &str) -> Option<Value> {
    let list = apps.cluster.get(&["configmaps", "-n", &apps.apps]).unwrap();
    list["items"].as_array().unwrap().iter().find(|map| map["metadata"]["name"] == name).cloned()
}

/// Waits until the alias tells this generation's Secret.
fn alias(apps: &Apps, name: &str, generation: &str) {
    eventually(DEADLINE, &format!("{name}-current to tell generation {generation}"), || {
        let map = config_map(apps, &format!("{name}-current")).ok_or("none")?;
        let secret = format!("{name}-g{generation}");
        let right = map["data"] == json!({ "secretName": secret, "generation": generation });
        if right { Ok(()) } else { Err(map["data"].to_string()) }
    })
    .unwrap();
}

/// A pod that mounts a Secret; a stand-in, as no node runs here. It counts as running until it is deleted.
fn mount(apps: &Apps, pod: &str, secret: &str) {
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": pod, "namespace": apps.apps },
        "spec": {
            "containers": [{ "name": "app", "image": "none", "volumeMounts": [{ "name": "s", "mountPath": "/s" }] }],
            "volumes": [{ "name": "s", "secret": { "secretName": secret } }],
        },
    });
    apps.cluster.apply(&manifest.to_string()).unwrap();
}

fn versions(apps: &Apps) -> BTreeMap<String, String> {
    apps.versions("secrets,configmaps,encryptedsecrets")
}

fn restart_writes_nothing(apps: &mut Apps) {
    // Who has left the content before is written a moment after the content.
    eventually(DEADLINE, "the drain to be judged", || {
        let object = apps.encrypted_secret("app");
        let message = condition(&object, "Draining")["message"].as_str().unwrap_or_default().to_owned();
        if message.contains("is being written") { Err(message) } else { Ok(()) }
    })
    .unwrap();
    let before = versions(apps);
    apps.restart_operator();
    apps.unseal_again();
    // The acknowledgement of the annotation is the one write there is.
    apps.reconcile("app", "after the restart");
    let mut after = versions(apps);
    for (object, version) in &before {
        if object.contains("EncryptedSecret") {
            after.insert(object.clone(), version.clone());
        }
    }
    assert_eq!(before, after);
}

#[test]
fn previous_holds_the_content_before_until_it_is_left_and_retention_has_passed() {
    let mut apps = Apps::new("previous");
    let rotation = json!({ "delivery": "Previous", "retention": { "period": "3s" } });
    let long = json!({ "delivery": "Previous" });
    apply(&apps, "app", "first", &long);
    let object = apps.wait_for_generation("app", 1);
    assert!(apps.secret("app-previous").is_none(), "there is no content before the first");

    apply(&apps, "app", "second", &long);
    apps.wait_for_generation("app", 2);
    let previous = apps.secret("app-previous").unwrap();
    assert_eq!(password(&apps.secret("app").unwrap()), "second");
    assert_eq!(password(&previous), "first");
    assert_eq!(annotation(&previous, "secret-generation"), "1");
    assert_eq!(annotation(&previous, "role"), "previous");
    assert_eq!(annotation(&previous, "encrypted-secret"), "app");
    assert_eq!(previous["metadata"]["ownerReferences"][0]["uid"], object["metadata"]["uid"]);
    assert_eq!(previous["type"], apps.secret("app").unwrap()["type"]);
    restart_writes_nothing(&mut apps);

    apply(&apps, "app", "third", &long);
    apps.wait_for_generation("app", 3);
    let previous = apps.secret("app-previous").unwrap();
    assert_eq!(
        (password(&previous).as_str(), annotation(&previous, "secret-generation")),
        ("second", &json!("2"))
    );
    let ready = apps.reconcile("app", "look");
    let message = condition(&ready, "Ready")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("app-previous holds generation 2"), "{message}");

    apply(&apps, "app", "third", &rotation);
    gone(&apps, "app-previous");
    let ready = apps.reconcile("app", "after");
    assert!(!condition(&ready, "Ready")["message"].as_str().unwrap().contains("previous"));
    let told = apps.events("app");
    assert!(!told.contains(&"PreviousLost".to_owned()), "{told:?}");
}

/// All at once, so that the operator is killed in the midst of it: after a number of writes, not after a time.
#[test]
fn killed_at_random_moments_the_content_before_is_kept_all_the_same() {
    const OBJECTS: usize = 12;
    let mut apps = Apps::new("previous-killed");
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    for round in 0..4 {
        let document = apps.encrypt("app.yaml", &format!("password: round-{round}\n"));
        let items: Vec<Value> = (0..OBJECTS)
            .map(|number| {
                json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
                    "metadata": { "name": format!("app-{number}"), "namespace": apps.apps },
                    "spec": { "documents": [{ "sops": document }], "rotation": { "delivery": "Previous" } } })
            })
            .collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
        let writes = apps.writes().len();
        let moment = random.gen_range(1..OBJECTS * 3);
        std::thread::scope(|scope| {
            scope.spawn(|| apps.cluster.apply(&list).unwrap());
            eventually(DEADLINE, &format!("{moment} writes"), || apps.writes().len() >= writes + moment)
                .unwrap();
            let pid = apps.operator.process.pid().to_string();
            assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        });
        apps.restart_operator();
        apps.unseal_again();
        for number in 0..OBJECTS {
            let name = format!("app-{number}");
            apps.wait_for_generation(&name, round + 1);
            let secret = apps.secret(&name).unwrap();
            assert_eq!(password(&secret), format!("round-{round}"), "{name}, seed {seed}");
            let previous = apps.secret(&format!("{name}-previous"));
            assert_eq!(previous.is_some(), round > 0, "{name} in round {round}, seed {seed}");
            let Some(previous) = previous else { continue };
            assert_eq!(password(&previous), format!("round-{}", round - 1), "{name}, seed {seed}");
            assert_eq!(annotation(&previous, "secret-generation"), &json!(round.to_string()));
        }
    }
}

#[test]
fn what_cannot_be_kept_as_it_was_is_not_kept_and_is_told() {
    let mut apps = Apps::new("previous-lost");
    let rotation = json!({ "delivery": "Previous" });
    apply(&apps, "app", "first", &rotation);
    apps.wait_for_generation("app", 1);
    apps.operator.process.kill();
    apps.merge("secret/app", &json!({ "data": { "password": "Zm9yZ2Vk" } }));
    apply(&apps, "app", "second", &rotation);
    apps.restart_operator();
    apps.unseal_again();
    apps.wait_for_generation("app", 2);
    apps.wait_for_secret("app", "to be the second", |secret| password(secret) == "second");
    assert!(apps.secret("app-previous").is_none(), "what somebody wrote into the Secret is not its content");
    let told = |count: usize| {
        eventually(DEADLINE, &format!("{count} times PreviousLost"), || {
            let events = apps.events("app");
            if events.iter().filter(|e| *e == "PreviousLost").count() == count {
                Ok(())
            } else {
                Err(events.join(" "))
            }
        })
        .unwrap();
    };
    told(1);

    // One that is edited or deleted while it is needed is never made again wrongly.
    apply(&apps, "app", "third", &rotation);
    apps.wait_for_generation("app", 3);
    apps.merge("secret/app-previous", &json!({ "data": { "password": "Zm9yZ2Vk" } }));
    told(2);
    assert_eq!(password(&apps.secret("app-previous").unwrap()), "forged");
    apply(&apps, "app", "fourth", &rotation);
    apps.wait_for_generation("app", 4);
    apps.wait_for_secret("app-previous", "to be the third", |secret| password(secret) == "third");
    apps.kubectl(&["delete", "secret", "app-previous"]);
    told(3);
    apps.reconcile("app", "look");
    assert!(apps.secret("app-previous").is_none());
}

#[test]
fn a_foreign_secret_in_the_place_of_the_previous_one_stops_the_rotation() {
    let apps = Apps::new("previous-foreign");
    let rotation = json!({ "delivery": "Previous" });
    apply(&apps, "app", "first", &rotation);
    apps.wait_for_generation("app", 1);
    apps.kubectl(&["create", "secret", "generic", "app-previous", "--from-literal=a=theirs"]);
    apply(&apps, "app", "second", &rotation);
    let object = apps.wait_for("app", "False", "Conflict");
    assert!(condition(&object, "Ready")["message"].as_str().unwrap().contains("app-previous"));
    assert_eq!(password(&apps.secret("app").unwrap()), "first");
    assert_eq!(value(&apps.secret("app-previous").unwrap(), "a").unwrap(), b"theirs");
    // It clears by itself.
    apps.kubectl(&["delete", "secret", "app-previous"]);
    apps.wait_for_generation("app", 2);
    assert_eq!(password(&apps.secret("app-previous").unwrap()), "first");
}

#[test]
fn immutable_generations_have_names_of_their_own_and_go_when_nobody_names_them() {
    let mut apps = Apps::new("immutable");
    let rotation = json!({ "delivery": "Immutable", "retention": { "period": "1s", "generations": 0 } });
    apply(&apps, "app", "first", &rotation);
    let object = apps.wait_for_generation("app", 1);
    assert_eq!(object["status"]["secretName"], "app-g1");
    alias(&apps, "app", "1");
    let secret = apps.secret("app-g1").unwrap();
    assert_eq!((&secret["immutable"], password(&secret).as_str()), (&json!(true), "first"));
    assert_eq!(annotation(&secret, "role"), "generation");
    assert!(apps.secret("app").is_none());

    // A pod holds the first, a template without pods the second.
    mount(&apps, "holder", "app-g1");
    let template = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "later", "namespace": apps.apps },
        "spec": { "schedule": "0 0 1 1 *", "jobTemplate": { "spec": { "template": { "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": "app", "image": "none", "envFrom": [{ "secretRef": { "name": "app-g2" } }] }],
        } } } } },
    });
    apps.cluster.apply(&template.to_string()).unwrap();
    for (number, text) in [(2, "second"), (3, "third"), (4, "fourth")] {
        apply(&apps, "app", text, &rotation);
        apps.wait_for_generation("app", number);
    }
    alias(&apps, "app", "4");
    gone(&apps, "app-g3");
    apps.reconcile("app", "look");
    for (name, text) in [("app-g1", "first"), ("app-g2", "second"), ("app-g4", "fourth")] {
        assert_eq!(password(&apps.secret(name).unwrap()), text, "{name}");
    }
    restart_writes_nothing(&mut apps);
    apps.kubectl(&["delete", "pod", "holder", "--grace-period=0", "--force"]);
    gone(&apps, "app-g1");
    apps.kubectl(&["delete", "cronjob", "later"]);
    apps.reconcile("app", "look again");
    gone(&apps, "app-g2");
    assert_eq!(password(&apps.secret("app-g4").unwrap()), "fourth");

    // A name is never used again, whatever is deleted; the newest is made again as it was.
    apps.kubectl(&["delete", "secret", "app-g4"]);
    apps.wait_for_secret("app-g4", "made again", |secret| password(secret) == "fourth");
    apps.kubectl(&["delete", "configmap", "app-current"]);
    alias(&apps, "app", "4");
    apps.kubectl(&["delete", "encryptedsecret", "app"]);
    gone(&apps, "app-g4");
    eventually(DEADLINE, "the alias to go", || config_map(&apps, "app-current").is_none()).unwrap();
    apply(&apps, "app", "first", &rotation);
    apps.wait_for_generation("app", 5);
    assert_eq!(password(&apps.secret("app-g5").unwrap()), "first");
}

#[test]
fn the_newest_old_generations_stay_whatever_their_age() {
    let apps = Apps::new("immutable-kept");
    let rotation = json!({ "delivery": "Immutable", "retention": { "period": "1s", "generations": 2 } });
    for number in 1..=5 {
        apply(&apps, "app", &format!("round-{number}"), &rotation);
        apps.wait_for_generation("app", number);
    }
    gone(&apps, "app-g1");
    gone(&apps, "app-g2");
    apps.reconcile("app", "look");
    for number in 3..=5 {
        assert_eq!(password(&apps.secret(&format!("app-g{number}")).unwrap()), format!("round-{number}"));
    }
}

#[test]
fn what_is_not_ours_stops_immutable_delivery_and_is_left_alone() {
    let apps = Apps::new("immutable-foreign");
    let rotation = json!({ "delivery": "Immutable" });
    apps.kubectl(&["create", "configmap", "app-current", "--from-literal=a=theirs"]);
    apply(&apps, "app", "first", &rotation);
    let object = apps.wait_for("app", "False", "Conflict");
    assert!(condition(&object, "Ready")["message"].as_str().unwrap().contains("ConfigMap app-current"));
    assert!(apps.secret("app-g1").is_none());
    apps.kubectl(&["delete", "configmap", "app-current"]);
    apps.wait_for_generation("app", 1);
    apps.kubectl(&["create", "secret", "generic", "app-g2", "--from-literal=a=theirs"]);
    apply(&apps, "app", "second", &rotation);
    let object = apps.wait_for("app", "False", "Conflict");
    let message = condition(&object, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("app-g2") && message.contains("app-g1 keeps generation 1"), "{message}");
    alias(&apps, "app", "1");
    apps.kubectl(&["delete", "secret", "app-g2"]);
    apps.wait_for_generation("app", 2);
    alias(&apps, "app", "2");
}

#[test]
fn delivery_can_be_changed_and_what_the_earlier_one_left_goes() {
    let apps = Apps::new("switched");
    let soon =
        |delivery: &str| json!({ "delivery": delivery, "retention": { "period": "1s", "generations": 0 } });
    apply(&apps, "app", "first", &soon("InPlace"));
    apps.wait_for_generation("app", 1);
    mount(&apps, "holder", "app");
    apply(&apps, "app", "first", &soon("Immutable"));
    alias(&apps, "app", "1");
    assert_eq!(password(&apps.secret("app-g1").unwrap()), "first");
    apps.reconcile("app", "used");
    assert!(apps.secret("app").is_some(), "a pod uses it");
    apps.kubectl(&["delete", "pod", "holder", "--grace-period=0", "--force"]);
    gone(&apps, "app");
    apply(&apps, "app", "second", &soon("Immutable"));
    apps.wait_for_generation("app", 2);
    apply(&apps, "app", "second", &soon("Previous"));
    apps.wait_for_secret("app", "back", |secret| password(secret) == "second");
    gone(&apps, "app-g1");
    gone(&apps, "app-g2");
    assert!(config_map(&apps, "app-current").is_none());
    assert_eq!(apps.encrypted_secret("app")["status"]["secretGeneration"], 2, "the content did not change");
    apply(&apps, "app", "third", &json!({ "delivery": "Previous" }));
    apps.wait_for_generation("app", 3);
    assert_eq!(password(&apps.secret("app-previous").unwrap()), "second");
    apply(&apps, "app", "third", &soon("InPlace"));
    gone(&apps, "app-previous");
    let told = apps.events("app");
    assert!(!told.contains(&"PreviousLost".to_owned()), "{told:?}");
}

#[test]
fn deletion_policy_holds_for_all_of_them() {
    let apps = Apps::new("retained");
    let applied = |name: &str, delivery: &str, policy: &str, text: &str| {
        let document = apps.encrypt("app.yaml", &format!("password: {text}\n"));
        apps.apply_secret(
            name,
            json!({ "documents": [{ "sops": document }], "deletionPolicy": policy, "rotation": { "delivery": delivery } }),
        );
    };
    for (name, delivery) in [("prev", "Previous"), ("immu", "Immutable")] {
        applied(name, delivery, "Delete", "first");
        apps.wait_for_generation(name, 1);
        applied(name, delivery, "Delete", "second");
        apps.wait_for_generation(name, 2);
    }
    let all = ["prev", "prev-previous", "immu-g1", "immu-g2"];
    // Somebody else has something of theirs own each, beside ours.
    apps.apply_config_map("theirs", json!({}));
    let uid = apps.kubectl(&["get", "configmap", "theirs", "-o", "jsonpath={.metadata.uid}"]);
    let theirs = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "theirs", "uid": uid });
    for name in all {
        let add = json!([{ "op": "add", "path": "/metadata/ownerReferences/-", "value": theirs }]);
        apps.kubectl(&["patch", "secret", name, "--type=json", "-p", &add.to_string()]);
    }
    for (name, delivery) in [("prev", "Previous"), ("immu", "Immutable")] {
        applied(name, delivery, "Retain", "second");
    }
    for name in all {
        apps.wait_for_secret(name, "without our owner, and with theirs", |s| {
            s["metadata"]["ownerReferences"] == json!([theirs])
        });
    }
    eventually(DEADLINE, "the alias without owner", || {
        config_map(&apps, "immu-current").is_some_and(|map| map["metadata"]["ownerReferences"].is_null())
    })
    .unwrap();
    apps.kubectl(&["delete", "encryptedsecret", "prev", "immu"]);
    // Another object's Secret goes by garbage collection: when that is done the retained ones had their chance to go.
    applied("other", "InPlace", "Delete", "x");
    apps.wait_for_generation("other", 1);
    apps.kubectl(&["delete", "encryptedsecret", "other"]);
    gone(&apps, "other");
    for name in all {
        assert!(apps.secret(name).is_some(), "{name}");
    }
    assert!(config_map(&apps, "immu-current").is_some());
}

#[test]
fn the_operator_can_write_no_config_map_of_others() {
    let apps = Apps::new("delivery-fenced");
    apps.kubectl(&["create", "configmap", "theirs", "--from-literal=a=theirs"]);
    let kubeconfig =
        apps.cluster.kubeconfig_for_service_account(&apps.system, "touchseal-operator", None).unwrap();
    let patch = json!({ "data": { "a": "ours" } }).to_string();
    for arguments in [
        &["patch", "configmap", "theirs", "--type=merge", "-p", &patch][..],
        &["delete", "configmap", "theirs"],
        &["create", "configmap", "new-current", "--from-literal=a=b"],
    ] {
        let output =
            apps.cluster.kubectl_as(&kubeconfig, &[&["-n", apps.apps.as_str()], arguments].concat()).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("touchseal-operator-own-configmaps"), "{said}");
    }
}
