//! Ages: told in advance, told when they end, and gone with the rotation. The spans are seconds here.

use std::time::Duration;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::pods::mounting;
use touchseal_suites::world::condition;
use touchseal_suites::{Apps, DEADLINE};

fn apply(apps: &Apps, plaintext: &str, rotation: Value) {
    let document = apps.encrypt("app.yaml", plaintext);
    apps.apply_secret("app", json!({ "documents": [{ "sops": document }], "rotation": rotation }));
}

fn wait_for_due(apps: &Apps, reason: Option<&str>) -> Value {
    eventually(DEADLINE, &format!("RotationDue {reason:?}"), || {
        let object = apps.encrypted_secret("app");
        let due = condition(&object, "RotationDue");
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        if current && due["reason"].as_str() == reason {
            Ok(object)
        } else {
            Err(object["status"].to_string())
        }
    })
    .unwrap()
}

fn due<'a>(object: &'a Value, key: &str) -> &'a Value {
    let keys = object["status"]["keys"].as_array().unwrap();
    &keys.iter().find(|k| k["name"] == key).unwrap()["due"]
}

/// The API server's clock goes on by months: with real spans and the shipped defaults, from a change over its mounted files'
/// refresh to the notice and the end of the new value's age.
#[test]
fn a_season_passes() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let mut apps = Apps::new("season");
    let server = apps.restart_operator_behind_a_proxy();
    apps.unseal_again();
    apply(&apps, "password: first\n", json!({ "maxAge": "90d" }));
    apps.wait_for_generation("app", 1);
    apps.run_pod("web", &mounting("app"));
    apps.wait_for_consumers("app", 1, 0);
    apps.next_second();
    apply(&apps, "password: second\n", json!({ "maxAge": "90d" }));
    apps.wait_for_generation("app", 2);
    apps.wait_for_draining("app", "True", "Refreshing");
    server.pass(Duration::from_secs(180));
    apps.reconcile("app", "three minutes on");
    apps.wait_for_draining("app", "False", "Drained");
    wait_for_due(&apps, None);

    server.pass(75 * DAY);
    apps.reconcile("app", "day 75");
    wait_for_due(&apps, None);
    server.pass(2 * DAY);
    apps.reconcile("app", "day 77");
    wait_for_due(&apps, Some("DueSoon"));
    server.pass(14 * DAY);
    apps.reconcile("app", "day 91");
    wait_for_due(&apps, Some("Overdue"));
}

#[test]
fn ages_are_told_before_and_after_they_end_sealed_or_not() {
    let mut apps = Apps::new("due");
    // Long first, so that nothing is due: then the object is touched by time alone.
    let keys = json!([{ "name": "user", "maxAge": "0s" }]);
    apply(&apps, "password: first\nuser: app\n", json!({ "maxAge": "90d", "keys": keys }));
    apps.wait_for_generation("app", 1);
    let object = wait_for_due(&apps, None);
    assert!(due(&object, "password").is_string() && due(&object, "user").is_null());

    apply(&apps, "password: second\nuser: app\n", json!({ "maxAge": "8s", "notice": "4s", "keys": keys }));
    apps.wait_for_generation("app", 2);
    let object = wait_for_due(&apps, Some("DueSoon"));
    let message = condition(&object, "RotationDue")["message"].as_str().unwrap();
    assert!(message.contains("password (") && !message.contains("user"), "{message}");
    // Nothing needs a key to know that time has passed.
    apps.restart_operator();
    let object = wait_for_due(&apps, Some("Overdue"));
    assert_eq!(condition(&object, "Ready")["status"], "True");
    apps.unseal_again();
    apply(&apps, "password: third\nuser: app\n", json!({ "maxAge": "90d", "keys": keys }));
    apps.wait_for_generation("app", 3);
    wait_for_due(&apps, None);
    let told = apps.events("app");
    for reason in ["DueSoon", "Overdue"] {
        assert_eq!(told.iter().filter(|told| *told == reason).count(), 1, "{told:?}");
    }
}
