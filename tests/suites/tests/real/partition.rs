//! A leader whose line to the API server is cut: connections stay open, nothing passes. Another takes over; what the old one
//! sent into the cut line arrives when the line is mended, late, and changes nothing.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::{Apps, DEADLINE, World};

use crate::replicas::served;

#[test]
fn a_leader_that_was_cut_off_writes_nothing_after_its_lease() {
    let mut apps = Apps::new("replicas-cut");
    let line = apps.restart_operator_behind_a_line();
    apps.unseal_again();
    let second = apps.world.operator();
    apps.wait_for_replicas(KEYRING, 2);
    let names: Vec<String> = (0..20).map(|number| format!("app-{number}")).collect();
    let apply = |apps: &Apps, password: &str| {
        let document = apps.encrypt("app.yaml", &format!("password: {password}\n"));
        let object = |name: &String| {
            json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
                    "metadata": { "name": name, "namespace": apps.apps }, "spec": { "documents": [{ "sops": document }] } })
        };
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": names.iter().map(object).collect::<Vec<_>>() });
        apps.cluster.apply(&list.to_string()).unwrap();
    };
    apply(&apps, "first");
    names.iter().for_each(|name| assert_eq!(served(&apps, name, "first"), 1));
    let old = apps.operator.pod.name.clone();
    assert!(apps.operator.leads());

    // In the middle of its work.
    let before = apps.shared_writes_of(&old);
    std::thread::scope(|scope| {
        scope.spawn(|| apply(&apps, "second"));
        eventually(DEADLINE, "its first writes", || apps.shared_writes_of(&old) >= before + 3).unwrap();
        line.cut();
    });
    let cut = Timestamp::now();
    names.iter().for_each(|name| assert_eq!(served(&apps, name, "second"), 2, "{name}"));
    assert!(second.leads() && !apps.operator.leads(), "it knows without being told");
    apply(&apps, "third");
    names.iter().for_each(|name| assert_eq!(served(&apps, name, "third"), 3, "{name}"));
    let first_of_other = apps.shared_writes(&second.pod.name).iter().map(World::answered).min().unwrap();
    println!("the other wrote {:?} after the line was cut; the lease is 4 s", since(cut, first_of_other));

    line.mend();
    let mended = Timestamp::now();
    apply(&apps, "fourth");
    names.iter().for_each(|name| assert_eq!(served(&apps, name, "fourth"), 4, "{name}"));
    let by_old = |e: &Value| e["user"]["extra"]["authentication.kubernetes.io/pod-name"][0] == old.as_str();
    eventually(DEADLINE, "the old leader to be heard of again", || {
        apps.audited().iter().any(|e| by_old(e) && World::answered(e) > mended && e["verb"] == "watch")
    })
    .unwrap();
    let page = apps.operator.metrics();
    assert!(page.contains("touchseal_keyring_unsealed{keyring=\"prod\"} 1"), "it kept its keys");

    // What had passed before the cut was answered before it; nothing after that was done.
    let late: Vec<Value> =
        apps.shared_writes(&old).into_iter().filter(|e| World::answered(e) >= first_of_other).collect();
    println!("{} writes of the old leader arrived after the other's first", late.len());
    let done: Vec<&Value> = late.iter().filter(|e| World::was_done(e)).collect();
    assert!(done.is_empty(), "it wrote after its lease: {done:?}");
    let leases = apps.audited().into_iter().filter(|e| e["objectRef"]["resource"] == "leases");
    let leases: Vec<Value> = leases
        .filter(|e| {
            by_old(e) && World::answered(e) >= first_of_other && e["verb"] == "update" && World::was_done(e)
        })
        .collect();
    assert!(leases.is_empty(), "it took the Lease back: {leases:?}");
    for name in &names {
        let object = apps.encrypted_secret(name);
        let numbers =
            object["status"]["generations"].as_array().unwrap().iter().map(|g| g["number"].as_i64());
        assert_eq!(
            numbers.collect::<Vec<_>>(),
            [4, 3, 2, 1].map(Some),
            "{name}: a number was skipped or lost"
        );
    }

    // It takes part again.
    drop(second);
    apply(&apps, "fifth");
    names.iter().for_each(|name| assert_eq!(served(&apps, name, "fifth"), 5, "{name}"));
    assert!(apps.operator.leads());
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
