//! A leader whose line to the API server is cut: connections stay open, nothing passes. Another takes over; what the old one
//! sent into the cut line arrives when the line is mended, late, and changes nothing.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::{Apps, DEADLINE, World};

use crate::replicas::{delete_pod, served};

const OBJECTS: usize = 12;

fn names() -> impl Iterator<Item = String> {
    (0..OBJECTS).map(|number| format!("app-{number}"))
}

fn content(number: i64) -> String {
    format!("content-{number}")
}

/// Gives all objects their content of this number.
fn apply(apps: &Apps, number: i64) {
    let document = apps.encrypt("app.yaml", &format!("password: {}\n", content(number)));
    let object = |name: String| {
        json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
                "metadata": { "name": name, "namespace": apps.apps }, "spec": { "documents": [{ "sops": document }] } })
    };
    let list =
        json!({ "apiVersion": "v1", "kind": "List", "items": names().map(object).collect::<Vec<_>>() });
    apps.cluster.apply(&list.to_string()).unwrap();
}

fn all_served(apps: &Apps, number: i64) {
    names().for_each(|name| assert_eq!(served(apps, &name, &content(number)), number, "{name}"));
}

fn is_by(event: &Value, pod: &str) -> bool {
    event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0] == pod
}

/// Twice, with different writes on their way: first those of the ledger, then those of Secrets, too.
#[test]
fn a_leader_that_was_cut_off_writes_nothing_after_its_lease() {
    let mut apps = Apps::new("replicas-cut");
    let line = apps.restart_operator_behind_a_line();
    apps.unseal_again();
    let old = apps.operator.pod.name.clone();
    let mut number = 1;
    apply(&apps, number);
    all_served(&apps, number);
    for bytes in [40_000, 100_000] {
        let second = apps.world.operator();
        apps.wait_for_replicas(KEYRING, 2);
        assert!(apps.operator.leads() && !second.leads());
        // In the middle of its work.
        number += 1;
        line.cut_after(bytes);
        apply(&apps, number);
        eventually(DEADLINE, "the line to be cut", || line.is_cut()).unwrap();
        let cut = Timestamp::now();
        all_served(&apps, number);
        assert!(second.leads() && !apps.operator.leads(), "it knows without being told");
        number += 1;
        apply(&apps, number);
        all_served(&apps, number);
        let others = apps.shared_writes(&second.pod.name);
        let first_of_other = others.iter().map(World::answered).min().unwrap();
        let took = Duration::try_from(first_of_other.duration_since(cut)).unwrap();
        println!("the other wrote {took:?} after the line was cut; the lease is 4 s");

        line.mend();
        let mended = Timestamp::now();
        number += 1;
        apply(&apps, number);
        all_served(&apps, number);
        eventually(DEADLINE, "the old leader to be heard of again", || {
            let again = |e: &Value| is_by(e, &old) && World::answered(e) > mended && e["verb"] == "watch";
            apps.audited().iter().any(again)
        })
        .unwrap();
        let page = apps.operator.metrics();
        assert!(page.contains("touchseal_keyring_unsealed{keyring=\"prod\"} 1"), "it kept its keys");
        nothing_was_done_late(&apps, &old, first_of_other);
        for name in names() {
            let object = apps.encrypted_secret(&name);
            let told = object["status"]["generations"].as_array().unwrap().iter();
            let told: Vec<i64> = told.map(|g| g["number"].as_i64().unwrap()).collect();
            assert_eq!(told, (1..=number).rev().collect::<Vec<_>>(), "{name}: a number was skipped or lost");
        }

        // It takes part again, and leads when the other is gone.
        let pod = second.pod.name.clone();
        drop(second);
        delete_pod(&apps, &pod);
        number += 1;
        apply(&apps, number);
        all_served(&apps, number);
        assert!(apps.operator.leads());
    }
}

/// What had passed before the cut was answered before the other's first write; nothing that came after it was done.
fn nothing_was_done_late(apps: &Apps, old: &str, first_of_other: Timestamp) {
    let late = |e: &&Value| World::answered(e) >= first_of_other;
    let writes = apps.shared_writes(old);
    for write in writes.iter().filter(late) {
        let (verb, what) = (&write["verb"], &write["objectRef"]);
        let code = &write["responseStatus"]["code"];
        println!("late: {verb} {} {} {}: {code}", what["resource"], what["subresource"], what["name"]);
    }
    let done: Vec<_> = writes.iter().filter(late).filter(|e| World::was_done(e)).collect();
    assert!(done.is_empty(), "it wrote after its lease: {done:?}");
    let audited = apps.audited();
    let of_lease = |e: &&Value| e["objectRef"]["resource"] == "leases" && e["verb"] == "update";
    let taken: Vec<_> =
        audited.iter().filter(|e| of_lease(e) && late(e) && is_by(e, old) && World::was_done(e)).collect();
    assert!(taken.is_empty(), "it took the Lease back: {taken:?}");
}
