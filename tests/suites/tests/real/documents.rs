//! The Keyring's status counts which documents need which key generation: exactly, without a write more than needed.

use serde_json::{Value, json};
use touchseal_keyring::manifest;
use touchseal_rig::poll::eventually;
use touchseal_suites::{Apps, DEADLINE, Laptop, SoftHolder};

/// Generations with how many objects need each, and those that may need any.
fn counts(apps: &Apps, keyring: &str) -> (Vec<(u64, u64)>, u64) {
    let status = apps.cluster.get(&["keyring", keyring]).unwrap()["status"].clone();
    let pair = |entry: &Value| Some((entry["generation"].as_u64()?, entry["objects"].as_u64()?));
    let documents = status["documents"].as_array().into_iter().flatten();
    (documents.filter_map(pair).collect(), status["documentsUnclear"]["objects"].as_u64().unwrap_or(0))
}

fn wait_for_counts(apps: &Apps, keyring: &str, documents: &[(u64, u64)], unclear: u64) {
    eventually(DEADLINE, &format!("{documents:?} and {unclear} unclear"), || {
        let found = counts(apps, keyring);
        if found == (documents.to_vec(), unclear) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .unwrap();
}

#[test]
fn who_needs_a_key_generation_is_counted_by_namespace_and_written_only_when_it_changes() {
    let mut apps = Apps::new("documents");
    wait_for_counts(&apps, "prod", &[(1, 0)], 0);
    for name in ["one", "two"] {
        apps.serve_yaml(name, "password: first\n");
    }
    let missing = json!({ "name": "none", "key": "a" });
    apps.apply_secret("lost", json!({ "documents": [{ "configMapKeyRef": missing }] }));
    wait_for_counts(&apps, "prod", &[(1, 2)], 1);
    let status = apps.cluster.get(&["keyring", "prod"]).unwrap()["status"].clone();
    let place = json!([{ "namespace": apps.apps, "objects": 2 }]);
    assert_eq!(status["documents"][0]["namespaces"], place);

    // The second generation becomes active; one document moves.
    let before = manifest::verify(
        &serde_json::from_value(apps.cluster.get(&["keyring", "prod"]).unwrap()["spec"].clone()).unwrap(),
    )
    .unwrap();
    let (rotated, both) = manifest::rotate(&before, &apps.keyring, "2026-02-03T04:05:06Z").unwrap();
    apps.apply_keyring("prod", &rotated);
    wait_for_counts(&apps, "prod", &[(1, 2), (2, 0)], 1);
    apps.unseal("prod", &both, 1);
    let newest = both.recipient_spec(&apps.apps).unwrap().recipient;
    let document = apps.sops.encrypt("app.yaml", "password: first\n", &newest);
    apps.apply_secret("one", json!({ "documents": [{ "sops": document }] }));
    wait_for_counts(&apps, "prod", &[(1, 1), (2, 1)], 1);
    let laptop = Laptop::new(&apps.cluster.admin_kubeconfig());
    let shown = laptop.run_plain(&["keyring", "show", "prod"]).ok();
    let needed = format!("1 ({} 1)", apps.apps);
    assert_eq!(shown.out.matches(&needed).count(), 3, "{}", shown.out);
    assert!(shown.out.contains("any generation may be needed by"), "{}", shown.out);

    // A restart with everything in place: this replica says that it is sealed, then that it is not, and nobody counts aloud.
    apps.operator.process.kill();
    let written = apps.writes().len();
    apps.restart_operator();
    apps.unseal("prod", &both, 1);
    let (other, _) = SoftHolder::generate("bob", 2).create_keyring();
    apps.apply_keyring("other", &other);
    // Who is counted in the other one has been counted in this one, too.
    wait_for_counts(&apps, "other", &[(1, 0)], 1);
    let writes = apps.writes().split_off(written);
    let of_prod =
        writes.iter().filter(|w| w.resource == "keyrings/status" && w.name == "prod" && w.code == 200);
    assert_eq!(of_prod.count(), 2, "{writes:?}");
    wait_for_counts(&apps, "prod", &[(1, 1), (2, 1)], 1);

    // What somebody else writes there does not stay.
    let wrong = json!({ "status": { "documents": [{ "generation": 1, "objects": 0 }] } }).to_string();
    apps.cluster
        .kubectl_stdout(&["patch", "keyring", "prod", "--subresource=status", "--type=merge", "-p", &wrong])
        .unwrap();
    wait_for_counts(&apps, "prod", &[(1, 1), (2, 1)], 1);
    apps.kubectl(&["delete", "encryptedsecret", "lost"]);
    wait_for_counts(&apps, "prod", &[(1, 1), (2, 1)], 0);
}
