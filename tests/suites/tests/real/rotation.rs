//! The story: four kinds of credentials, each rotated without a gap, with what `touchseal rotation` says at every step.

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::pods::{env, env_from, spec};
use touchseal_suites::world::condition;
use touchseal_suites::{Apps, DEADLINE};

use crate::incident::touchseal;

/// Each kind, and words of its first, middle and last step.
const STORY: [(&str, &str, &str, &str); 4] = [
    ("dualKey", "make a second key", "then delete the first key", "delete the first key at the service if"),
    (
        "switchOver",
        "give the idle user a new password",
        "then lock the user that was left",
        "lock the user that was left",
    ),
    ("inPlaceReset", "reset it at the service", "consumers fail until then", ""),
    (
        "deployBeforeRevoke",
        "issue the new one",
        "only then revoke the old one",
        "revoke the old one if that is not done",
    ),
];

fn apply(apps: &Apps, class: &str, value: &str, max_age: &str) {
    let document = apps.encrypt("app.yaml", &format!("credential: {value}\n"));
    let rotation = json!({ "class": class, "maxAge": max_age });
    apps.apply_secret(
        &class.to_lowercase(),
        json!({ "documents": [{ "sops": document }], "rotation": rotation }),
    );
}

/// The row of one secret.
fn row(apps: &Apps, class: &str) -> Value {
    let said = touchseal(apps, &["rotation", "-o", "json", "-n", &apps.apps]).ok().out;
    let rows: Vec<Value> = serde_json::from_str(&said).unwrap();
    rows.into_iter().find(|row| row["secret"] == class.to_lowercase().as_str()).unwrap()
}

fn wait_for_row(apps: &Apps, class: &str, state: &str, step: &str) -> Value {
    eventually(DEADLINE, &format!("{class} to be {state}: {step}"), || {
        let row = row(apps, class);
        let said = row["nextStep"].as_str().unwrap_or_default();
        let right = row["state"] == state && said.contains(step) && said.is_empty() == step.is_empty();
        if right { Ok(row) } else { Err(row.to_string()) }
    })
    .unwrap()
}

fn wait(apps: &Apps, class: &str, more: &[&str]) -> touchseal_suites::cli::Said {
    touchseal(apps, &[&["rotation", "wait", &class.to_lowercase(), "-n", &apps.apps], more].concat())
}

#[test]
fn each_kind_of_credential_is_played_through_to_its_end() {
    let apps = Apps::new("story");
    for (class, ..) in STORY {
        apply(&apps, class, "first", "2s");
        apps.wait_for_generation(&class.to_lowercase(), 1);
        apps.run_pod(
            &format!("old-{}", class.to_lowercase()),
            &spec(&env(&class.to_lowercase(), "credential")),
        );
        apps.wait_for_consumers(&class.to_lowercase(), 1, 0);
        wait(&apps, class, &["--timeout", "60s"]).refused(1, &["no rotation was seen", "--generation 2"]);
        let said = wait(&apps, class, &["--timeout", "60s", "--generation", "1"]).ok().out;
        assert!(said.contains("there is no older value"), "{said}");
    }
    for (class, begin, ..) in STORY {
        let row = wait_for_row(&apps, class, "Overdue", begin);
        assert_eq!(
            (&row["class"], &row["key"], &row["generation"]),
            (&json!(class), &json!("credential"), &json!(1))
        );
    }
    let overdue = touchseal(&apps, &["rotation", "-A", "--filter", "overdue", "-o", "name"]).ok().out;
    assert_eq!(overdue.lines().count(), 4, "{overdue}");

    apps.next_second();
    for (class, _, middle, _) in STORY {
        apply(&apps, class, "second", "90d");
        let row = wait_for_row(&apps, class, "Draining", middle);
        assert_eq!((&row["staleConsumers"], &row["generation"]), (&json!(1), &json!(2)));
        let hint = if class == "inPlaceReset" { "fail until they have the new one" } else { "do not revoke" };
        let refused = wait(&apps, class, &["--timeout", "1s"]).refused(4, &["1 of 1 pods", hint]);
        assert!(refused.err.contains("an older value: Pod"), "progress is told: {}", refused.err);
    }
    let table = touchseal(&apps, &["rotation", "--sort", "stale"]).ok().out;
    assert!(table.lines().count() == 5 && table.contains("NEXT STEP"), "{table}");

    for (class, _, _, end) in STORY {
        let name = class.to_lowercase();
        // Started before the pod ends, as a script that revokes when it returns.
        let said = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&apps, class, &["--timeout", "60s", "--generation", "2"]));
            apps.run_pod(&format!("new-{name}"), &spec(&env(&name, "credential")));
            apps.end_pod(&format!("old-{name}"));
            waiting.join().unwrap()
        });
        let left = if end.is_empty() { "there is none to revoke" } else { "may be revoked now" };
        assert!(said.ok().out.contains(left));
        wait_for_row(&apps, class, "Drained", end);
    }
    let revocable = touchseal(&apps, &["rotation", "--filter", "revocable", "-o", "name"]).ok().out;
    assert_eq!(revocable.lines().count(), 3, "the reset ended the old value itself: {revocable}");
}

#[test]
fn a_key_that_was_added_leaves_no_old_value_behind() {
    let apps = Apps::new("added");
    apps.serve_yaml("app", "password: first\nuser: app\n");
    apps.run_pod("old", &spec(&env_from("app")));
    apps.wait_for_consumers("app", 1, 0);
    let rows = || -> Vec<Value> {
        let said = touchseal(&apps, &["rotation", "-o", "json", "-n", &apps.apps]).ok().out;
        serde_json::from_str(&said).unwrap()
    };
    let nothing_to_do = |keys: usize| {
        let rows = rows();
        let idle = |row: &Value| row["state"] == "Current" && row.get("nextStep").is_none();
        assert!(rows.len() == keys && rows.iter().all(idle), "{rows:#?}");
    };

    apps.next_second();
    apps.apply_yaml("app", "password: first\nuser: app\ntoken: new\n");
    apps.wait_for_draining("app", "True", "StaleConsumers");
    nothing_to_do(3);
    wait(&apps, "app", &["--timeout", "1s", "--generation", "2"])
        .refused(4, &["no value was replaced since generation 2"]);
    apps.end_pod("old");
    apps.wait_for_draining("app", "False", "Drained");
    nothing_to_do(3);
    let said = wait(&apps, "app", &["--timeout", "60s", "--generation", "2"]).ok().out;
    assert!(said.contains("no value it held was replaced, so there is none to revoke"), "{said}");

    // Of two keys the one that changes has one.
    apps.next_second();
    apps.apply_yaml("app", "password: second\nuser: app\ntoken: new\n");
    apps.wait_for_generation("app", 3);
    let said = wait(&apps, "app", &["--timeout", "60s", "--generation", "3"]).ok().out;
    assert!(said.contains("the old value of password may be revoked now"), "{said}");
    let rows = rows();
    let of = |key: &str| rows.iter().find(|row| row["key"] == key).unwrap();
    let step = of("password")["nextStep"].as_str().unwrap();
    assert_eq!(of("password")["state"], "Drained");
    assert!(
        step.starts_with("old value drained 20") && step.ends_with(": revoke it if that is not done"),
        "{step}"
    );
    for key in ["user", "token"] {
        assert!(of(key)["state"] == "Current" && of(key).get("nextStep").is_none(), "{rows:#?}");
    }
}

#[test]
fn a_value_that_is_served_again_is_not_the_old_one() {
    let apps = Apps::new("served-again");
    let first = apps.encrypt("app.yaml", "password: first\n");
    let apply = |document: &str| apps.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    let wait = |since: i64| wait(&apps, "app", &["--timeout", "60s", "--generation", &since.to_string()]);
    apply(&first);
    apps.wait_for_generation("app", 1);
    apps.next_second();
    apps.apply_yaml("app", "password: second\n");
    assert!(wait(2).ok().out.contains("the old value of password may be revoked now"));

    // The new one was no good, and the old one comes in a new document; then in the old one.
    apps.next_second();
    apps.apply_yaml("app", "password: first\n");
    let only = "of password only what generation 2 held may be revoked";
    for since in [3, 2] {
        wait(since).refused(3, &[only, "nothing else"]);
    }
    let message = |object: &Value| condition(object, "Draining")["message"].as_str().unwrap().to_owned();
    let said = message(&apps.wait_for_draining("app", "False", "Drained"));
    assert!(said.contains(only) && !said.contains("old value"), "{said}");
    let row = row(&apps, "app");
    let step = "revoke only what generation 2 held: the value in use was served before";
    assert_eq!((&row["state"], &row["nextStep"]), (&json!("Drained"), &json!(step)));

    apps.next_second();
    apps.apply_yaml("app", "password: fourth\n");
    assert!(wait(4).ok().out.contains("the old value of password may be revoked now"));
    apply(&first);
    wait(5).refused(3, &["of password only what generation 4 held may be revoked"]);
    let object = apps.wait_for_draining("app", "False", "Drained");
    assert_eq!(condition(&object, "RolledBack")["status"], "True");
    assert!(message(&object).contains("only what generation 4 held"), "{}", message(&object));
}

#[test]
fn what_does_not_exist_is_said_and_not_waited_for() {
    let apps = Apps::new("no-wait");
    wait(&apps, "missing", &["--timeout", "60s"]).refused(1, &["does not exist", "namespace"]);
    let empty = touchseal(&apps, &["rotation"]).ok().out;
    assert_eq!(empty, "nothing to show\n");
    touchseal(&apps, &["rotation", "-A", "-n", "shop"]).refused(2, &["cannot be used with"]);
}
