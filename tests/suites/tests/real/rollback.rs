//! A replayed older document: marked and served, or refused, as the spec says.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::world::{condition, value};
use touchseal_suites::{Apps, DEADLINE};

/// Documents of these passwords, each written in a second of its own: sops stamps them in seconds.
fn documents<const N: usize>(apps: &Apps, passwords: [&str; N]) -> [String; N] {
    passwords.map(|password| {
        let began = Timestamp::now().as_second();
        eventually(DEADLINE, "the next second", || Timestamp::now().as_second() > began).unwrap();
        apps.encrypt("app.yaml", &format!("password: {password}\n"))
    })
}

fn apply(apps: &Apps, documents: &[&str], rollback: Option<&str>) {
    let documents: Vec<Value> = documents
        .iter()
        .enumerate()
        .map(|(number, sops)| {
            json!({ "sops": sops, "mapping": { "paths": [{ "path": "password", "key": format!("key-{number}") }] } })
        })
        .collect();
    let rotation = rollback.map_or(json!({}), |policy| json!({ "rollback": policy }));
    apps.apply_secret("app", json!({ "documents": documents, "rotation": rotation }));
}

fn served(apps: &Apps, key: &str) -> String {
    String::from_utf8(value(&apps.secret("app").unwrap(), key).unwrap()).unwrap()
}

#[test]
fn an_older_document_is_served_under_a_new_number_and_marked() {
    let mut apps = Apps::new("rolled-back");
    let [first, second, third] = documents(&apps, ["first", "second", "third"]);
    apply(&apps, &[&first], None);
    apps.wait_for_generation("app", 1);
    apply(&apps, &[&second], None);
    apps.wait_for_generation("app", 2);
    apply(&apps, &[&first], None);
    let object = apps.wait_for_generation("app", 3);
    let back = condition(&object, "RolledBack");
    assert_eq!((&back["status"], &back["reason"]), (&json!("True"), &json!("RolledBack")));
    assert_eq!(condition(&object, "Ready")["status"], "True");
    assert_eq!(served(&apps, "key-0"), "first");
    // It is judged by the ledger: neither a lost status nor a restart nor a new object forgets it.
    apps.restart_operator();
    apps.unseal_again();
    apps.kubectl(&["delete", "encryptedsecret", "app"]);
    apply(&apps, &[&first], None);
    let object = apps.wait_for_generation("app", 3);
    assert_eq!(condition(&object, "RolledBack")["status"], "True");
    apply(&apps, &[&third], None);
    let object = apps.wait_for_generation("app", 4);
    assert!(condition(&object, "RolledBack").is_null());
    let told = apps.events("app");
    assert!(told.contains(&"RolledBack".to_owned()), "{told:?}");
}

#[test]
fn where_it_is_denied_the_newer_content_stays() {
    let apps = Apps::new("denied");
    let [first, second, third, other] = documents(&apps, ["first", "second", "third", "other"]);
    apply(&apps, &[&second], Some("Deny"));
    apps.wait_for_generation("app", 1);
    apply(&apps, &[&first], Some("Deny"));
    let object = apps.wait_for("app", "False", "RolledBack");
    assert_eq!(condition(&object, "Stalled")["reason"], "RolledBack");
    assert_eq!(object["status"]["secretGeneration"], 1);
    assert_eq!(served(&apps, "key-0"), "second");
    apply(&apps, &[&third], Some("Deny"));
    let object = apps.wait_for_generation("app", 2);
    assert!(condition(&object, "RolledBack").is_null() && condition(&object, "Stalled").is_null());

    // One of several documents goes back, while another is the newest of all.
    apply(&apps, &[&third, &other], Some("Deny"));
    apps.wait_for_generation("app", 3);
    apply(&apps, &[&second, &other], Some("Deny"));
    let object = apps.wait_for("app", "False", "RolledBack");
    let message = condition(&object, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("key-0"), "{message}");
    assert_eq!(served(&apps, "key-0"), "third");
    apply(&apps, &[&second, &other], Some("Allow"));
    apps.wait_for_generation("app", 4);
    assert_eq!(served(&apps, "key-0"), "second");
}
