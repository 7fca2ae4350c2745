//! Numbers: +1 on changed plaintext only, never back, never twice; whatever is lost or made again. (Whatever is killed: `faults`.)

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::world::{condition, value};
use touchseal_suites::{Apps, DEADLINE, Operator};

fn since(object: &Value) -> BTreeMap<String, String> {
    let keys = object["status"]["keys"].as_array().unwrap().iter();
    keys.map(|k| (k["name"].as_str().unwrap().to_owned(), k["since"].as_str().unwrap().to_owned())).collect()
}

/// Waits until the clock shows another second than `since`: times are stored in seconds.
fn another_second(since: &str) {
    eventually(DEADLINE, "the next second", || Timestamp::now().to_string().as_str() > since).unwrap();
}

#[test]
fn only_changed_plaintext_counts() {
    let apps = Apps::new("counting");
    let first = apps.serve_yaml("app", "password: first\nuser: app\n");
    assert_eq!(first["status"]["secretGeneration"], 1);
    let began = since(&first);

    // The same plaintext under a new data key: other ciphertext, the same number, and the Secret is not written.
    let secret = apps.secret("app").unwrap();
    apps.apply_yaml("app", "password: first\nuser: app\n");
    let same = apps.wait_for("app", "True", "Materialised");
    assert_eq!(same["status"]["secretGeneration"], 1);
    assert_eq!(since(&same), began);
    assert_eq!(apps.secret("app").unwrap(), secret);

    another_second(&began["user"]);
    apps.apply_yaml("app", "password: second\nuser: app\n");
    let second = apps.wait_for_generation("app", 2);
    let now = since(&second);
    assert_eq!(now["user"], began["user"], "an API key's age is its own");
    assert!(now["password"] > began["password"]);

    // Keys that come and go count; back to an earlier content is a new number.
    apps.apply_yaml("app", "password: second\nuser: app\nextra: x\n");
    apps.wait_for_generation("app", 3);
    apps.apply_yaml("app", "password: first\nuser: app\n");
    let back = apps.wait_for_generation("app", 4);
    assert_eq!(since(&back)["user"], began["user"]);
    assert_eq!(
        apps.secret("app").unwrap()["metadata"]["annotations"]["touchseal.dev/secret-generation"],
        "4"
    );
}

#[test]
fn a_lost_status_comes_back_with_the_same_numbers() {
    let mut apps = Apps::new("status-lost");
    apps.serve_yaml("app", "password: first\n");
    apps.apply_yaml("app", "password: second\n");
    let before = apps.wait_for_generation("app", 2);
    let secret = apps.secret("app").unwrap();
    let lose = |apps: &Apps, status: Value| {
        let patch = json!([{ "op": "replace", "path": "/status", "value": status }]).to_string();
        apps.kubectl(&[
            "patch",
            "encryptedsecret",
            "app",
            "--subresource=status",
            "--type=json",
            "-p",
            &patch,
        ]);
        apps.wait_for_generation("app", 2)
    };
    let same = |object: &Value| {
        assert_eq!(object["status"]["keys"], before["status"]["keys"]);
        assert_eq!(condition(object, "Ready")["status"], "True");
        assert_eq!(object["status"]["secretGeneration"], 2);
    };
    same(&lose(&apps, json!({})));
    // Forged numbers are put right too.
    let mut forged = before["status"].clone();
    forged["secretGeneration"] = json!(99);
    same(&lose(&apps, forged));
    assert_eq!(apps.secret("app").unwrap(), secret, "the Secret is not touched by any of it");
    // Lost while no operator runs.
    apps.operator.process.kill();
    let patch = json!([{ "op": "remove", "path": "/status" }]).to_string();
    apps.kubectl(&["patch", "encryptedsecret", "app", "--subresource=status", "--type=json", "-p", &patch]);
    apps.restart_operator();
    apps.unseal_again();
    same(&apps.wait_for_generation("app", 2));
    assert_eq!(apps.secret("app").unwrap(), secret);
}

#[test]
fn an_object_deleted_and_made_again_goes_on_counting() {
    let apps = Apps::new("again");
    apps.serve_yaml("app", "password: first\n");
    let mut number = 1;
    for round in 0..4 {
        // Quickly, so that the garbage collector is still at the old Secret.
        apps.kubectl(&["delete", "encryptedsecret", "app"]);
        let password = format!("round-{round}");
        apps.apply_yaml("app", &format!("password: {password}\n"));
        let object = apps.wait_for_generation("app", number + 1);
        number += 1;
        apps.wait_for_secret("app", "back, ours and right", |secret| {
            secret["metadata"]["ownerReferences"][0]["uid"] == object["metadata"]["uid"]
                && value(secret, "password").as_deref() == Some(password.as_bytes())
        });
    }
    // The same content again keeps its number.
    apps.kubectl(&["delete", "encryptedsecret", "app"]);
    eventually(DEADLINE, "the garbage collector", || apps.secret("app").is_none()).unwrap();
    let object = apps.serve_yaml("app", "password: round-3\n");
    assert_eq!(object["status"]["secretGeneration"], number);
}

/// `kubectl replace` takes the status of neither side, `--force` makes another object of the same name.
#[test]
fn a_replaced_object_goes_on_counting() {
    let apps = Apps::new("replaced");
    apps.serve_yaml("app", "password: first\nuser: app\n");
    apps.apply_yaml("app", "password: second\nuser: app\n");
    let before = apps.wait_for_generation("app", 2);
    let began = since(&before);
    let uid = before["metadata"]["uid"].clone();
    let replace = |flags: &[&str], password: &str| {
        let document = apps.encrypt("app.yaml", &format!("password: {password}\nuser: app\n"));
        // Nothing but name and spec, as in a repository; no status, no version, no number.
        let manifest = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret", "metadata": { "name": "app" },
            "spec": { "documents": [{ "name": "app.yaml", "sops": document }] },
        });
        let file = apps.cluster.dir().join("replaced.json");
        std::fs::write(&file, manifest.to_string()).unwrap();
        apps.kubectl(&[&["replace", "-f", file.to_str().unwrap()], flags].concat());
    };
    replace(&[], "second");
    let same = apps.reconcile("app", "replaced");
    assert_eq!((&same["status"]["secretGeneration"], since(&same)), (&json!(2), began.clone()));
    assert_eq!(same["metadata"]["uid"], uid);
    replace(&["--force"], "third");
    let other = apps.wait_for_generation("app", 3);
    assert_ne!(other["metadata"]["uid"], uid);
    assert_eq!(since(&other)["user"], began["user"], "what did not change is as old as it was");
    assert_eq!(other["status"]["generations"].as_array().map(Vec::len), Some(3));
}

const OBJECTS: usize = 30;

fn name(number: usize) -> String {
    format!("app-{number:02}")
}

/// Applies one content to all objects in one go.
fn apply_all(apps: &Apps, document: &str) {
    let items: Vec<Value> = (0..OBJECTS)
        .map(|number| {
            json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
                "metadata": { "name": name(number), "namespace": apps.apps },
                "spec": { "documents": [{ "sops": document }] } })
        })
        .collect();
    apps.cluster.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()).unwrap();
}

/// Every object's number and password; waits until all hold `password`.
fn wait_for_all(apps: &Apps, password: &str) -> Vec<i64> {
    eventually(DEADLINE, &format!("every Secret to hold {password}"), || {
        let objects = apps.cluster.get(&["encryptedsecrets", "-n", &apps.apps]).unwrap();
        let secrets = apps.cluster.get(&["secrets", "-n", &apps.apps]).unwrap();
        let find = |list: &Value, name: &str| {
            list["items"].as_array().unwrap().iter().find(|o| o["metadata"]["name"] == name).cloned()
        };
        (0..OBJECTS)
            .map(|number| {
                let object = find(&objects, &name(number)).ok_or("no object")?;
                let secret = find(&secrets, &name(number)).ok_or("no Secret")?;
                let right = value(&secret, "password").as_deref() == Some(password.as_bytes());
                let annotation = &secret["metadata"]["annotations"]["touchseal.dev/secret-generation"];
                let counted = object["status"]["secretGeneration"].as_i64().ok_or("no number")?;
                let agrees = annotation == &json!(counted.to_string());
                let ready = condition(&object, "Ready")["status"] == "True";
                let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
                if right && agrees && ready && current {
                    Ok(counted)
                } else {
                    Err(format!("{}: {} {annotation}", name(number), object["status"]))
                }
            })
            .collect::<Result<Vec<i64>, String>>()
    })
    .unwrap()
}

#[test]
fn two_operators_by_mistake_give_out_no_number_twice() {
    let mut apps = Apps::new("two");
    // It does not ask who leads, and writes from the start; the first one, which does lead, hands the keys over to it.
    let second: Operator = apps.world.operator_with(&["--leader-elect=false"]);
    apps.wait_for_replicas(KEYRING, 2);
    let mut before = vec![0; OBJECTS];
    for round in 0..3 {
        let password = format!("round-{round}");
        let document = apps.encrypt("app.yaml", &format!("password: {password}\n"));
        apply_all(&apps, &document);
        let numbers = wait_for_all(&apps, &password);
        for (number, (was, is)) in before.iter().zip(&numbers).enumerate() {
            // One whose watch is late may have put the content before back for a moment: a number of its own.
            assert!(is > was, "{} in round {round}: {is} after {was}", name(number));
        }
        before = numbers;
    }
    drop(second);
}

/// The ledger itself is lost, as after a restore of the namespace alone: numbers go on from what the Secrets bear.
#[test]
fn a_lost_ledger_reuses_no_number() {
    let mut apps = Apps::new("lost-ledger");
    apps.serve_yaml("app", "password: first\n");
    apps.apply_yaml("app", "password: second\n");
    apps.wait_for_generation("app", 2);
    let system = apps.system.clone();
    let maps = apps.kubectl(&["get", "configmaps", "-n", &system, "-o", "name"]);
    for map in maps.lines().filter(|name| name.contains("touchseal-ledger")) {
        apps.kubectl(&["delete", "-n", &system, map]);
    }
    apps.restart_operator();
    apps.unseal_again();
    apps.reconcile("app", "after the loss");
    assert_eq!(
        apps.encrypted_secret("app")["status"]["secretGeneration"],
        2,
        "the same content keeps its number"
    );
    apps.apply_yaml("app", "password: third\n");
    apps.wait_for_generation("app", 3);
}

/// A ConfigMap of the ledger without its entries is a damaged one, not one of nothing: its numbers would be given out again, and
/// writing it would end all hope of the rest.
#[test]
fn an_emptied_ledger_is_no_new_one() {
    let mut apps = Apps::new("emptied-ledger");
    apps.serve_yaml("app", "password: first\n");
    let system = apps.system.clone();
    let ledger = |arguments: &[&str]| apps.kubectl(&[&["-n", system.as_str()], arguments].concat());
    let maps = ledger(&["get", "configmaps", "-o", "name"]);
    let maps: Vec<&str> = maps.lines().filter(|name| name.contains("touchseal-ledger")).collect();
    let [map] = maps[..] else { panic!("{maps:?}") };
    let entries = ledger(&["get", map, "-o", "json"]);
    let entries: Value = serde_json::from_str(&entries).unwrap();
    ledger(&["patch", map, "--type=merge", "-p", &json!({ "data": null }).to_string()]);
    apps.restart_operator();
    apps.unseal_again();
    apps.apply_yaml("app", "password: second\n");
    let object = apps.wait_for("app", "False", "ApiError");
    let message = condition(&object, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("holds no valid entries; restore it"), "{message}");
    assert_eq!(value(&apps.secret("app").unwrap(), "password").unwrap(), b"first");

    let data = json!({ "data": entries["data"] });
    apps.kubectl(&["-n", &system, "patch", map, "--type=merge", "-p", &data.to_string()]);
    apps.wait_for_generation("app", 2);
}

/// What it reads of an object whose content changed twice is ahead of its watch, which tells of the first change later.
#[test]
fn what_was_read_ahead_of_the_watch_is_not_served_in_an_older_form() {
    let mut apps = Apps::new("ahead");
    let server = apps.restart_operator_behind_a_proxy();
    apps.unseal_again();
    apps.serve_yaml("app", "password: first\n");
    apps.serve_yaml("other", "password: first\n");
    let hand_changed = |name: &str| {
        let patch = r#"{"stringData":{"password":"by hand"}}"#;
        apps.kubectl(&["patch", "secret", name, "-n", &apps.apps, "-p", patch]);
    };

    server.hold_watches(Some("/encryptedsecrets"));
    apps.apply_yaml("app", "password: second\n");
    apps.apply_yaml("app", "password: third\n");
    hand_changed("app");
    let served = |number: &str, password: &str| {
        apps.wait_for_secret("app", "the newest content", |secret| {
            value(secret, "password").as_deref() == Some(password.as_bytes())
                && secret["metadata"]["annotations"]["touchseal.dev/secret-generation"] == number
        })
    };
    served("2", "third");
    // The watch tells in order: when the other is served, what came before it was told.
    apps.apply_yaml("other", "password: second\n");
    server.hold_watches(None);
    apps.wait_for_generation("other", 2);
    hand_changed("app");
    served("2", "third");
}
