//! A cluster comes back out of a backup that is older than its last rotations: of etcd, or of objects, with the operator's
//! namespace or without. Numbers go on upwards all the same, and the newest keyring is the one from git.

use serde_json::{Value, json};
use touchseal_keyring::manifest;
use touchseal_rig::poll::eventually;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::backup::Managers;
use touchseal_suites::world::{condition, value};
use touchseal_suites::{Apps, Backup, DEADLINE, Laptop, World};

/// The administrator's act, as the page of EncryptedSecret has it.
fn set_floor(world: &World, floor: &str) {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "touchseal-generation-floor", "namespace": world.system }, "data": { "floor": floor },
    });
    world.cluster.apply(&map.to_string()).unwrap();
}

/// What a Secret holds and the number it bears.
fn held(apps: &Apps, secret: &str) -> Option<(String, i64)> {
    let secret = apps.secret(secret)?;
    let number =
        secret["metadata"]["annotations"]["touchseal.dev/secret-generation"].as_str()?.parse().ok()?;
    Some((String::from_utf8(value(&secret, "password")?).unwrap(), number))
}

/// Waits until content is served under a number.
fn served(apps: &Apps, name: &str, secret: &str, password: &str, number: i64) {
    eventually(DEADLINE, &format!("{secret} with {password} as number {number}"), || {
        let status = apps.encrypted_secret(name)["status"].clone();
        let seen = held(apps, secret);
        let right = seen == Some((password.to_owned(), number)) && status["secretGeneration"] == number;
        if right { Ok(()) } else { Err(format!("{seen:?}, {status}")) }
    })
    .unwrap();
}

fn pinned_revision(world: &World) -> Value {
    let map = world.cluster.get(&["configmap", "touchseal-pin-prod", "-n", &world.system]).unwrap();
    serde_json::from_str::<Value>(map["data"]["pin.json"].as_str().unwrap()).unwrap()["revision"].clone()
}

#[test]
fn out_of_an_etcd_snapshot_numbers_go_on_above_the_floor() {
    let mut apps = Apps::new("restore-etcd");
    let apply = |apps: &Apps, password: &str, recipient: &str| {
        let document = apps.sops.encrypt("app.yaml", &format!("password: {password}\n"), recipient);
        let documents = json!([{ "sops": document }]);
        apps.apply_secret("app", json!({ "documents": documents }));
        let rotation = json!({ "delivery": "Immutable" });
        apps.apply_secret("single", json!({ "documents": documents, "rotation": rotation }));
    };
    let old = apps.recipient.clone();
    for (number, password) in [(1, "first"), (2, "second")] {
        apply(&apps, password, &old);
        served(&apps, "app", "app", password, number);
        served(&apps, "single", &format!("single-g{number}"), password, number);
    }
    apps.serve_yaml("still", "password: same\n");
    let still = apps.secret("still").unwrap();
    let snapshot = apps.cluster.snapshot("before").unwrap();

    // After the backup: a rotation of values, then one of the keyring and of values once more.
    apply(&apps, "third", &old);
    served(&apps, "app", "app", "third", 3);
    served(&apps, "single", "single-g3", "third", 3);
    let spec = apps.cluster.get(&["keyring", KEYRING]).unwrap()["spec"].clone();
    let first = manifest::verify(&serde_json::from_value(spec).unwrap()).unwrap();
    let (newest, open) = manifest::rotate(&first, &apps.keyring, "2026-02-03T04:05:06Z").unwrap();
    apps.apply_keyring(KEYRING, &newest);
    apps.unseal(KEYRING, &open, 1);
    let recipient = open.recipient_spec(&apps.apps).unwrap().recipient;
    apply(&apps, "fourth", &recipient);
    served(&apps, "app", "app", "fourth", 4);
    served(&apps, "single", "single-g4", "fourth", 4);
    assert_eq!(pinned_revision(&apps), 2);

    apps.operator.process.kill();
    apps.cluster.restore(&snapshot).unwrap();
    assert_eq!(held(&apps, "app"), Some(("second".to_owned(), 2)), "the cluster is back before number 3");
    assert_eq!(pinned_revision(&apps), 1);
    set_floor(&apps, "1000");
    // From git: the keyring first. The pin of the backup is older, and follows.
    apps.apply_keyring(KEYRING, &newest);
    apps.restart_operator();
    apps.unseal(KEYRING, &open, 1);
    eventually(DEADLINE, "the newest manifest to be pinned", || pinned_revision(&apps) == 2).unwrap();

    // What the backup and git agree on keeps its number, and is not written.
    apps.reconcile("still", "after-the-restore");
    assert_eq!(apps.secret("still").unwrap(), still);
    for (number, password) in [(1000, "fourth"), (1001, "fifth")] {
        apply(&apps, password, &recipient);
        served(&apps, "app", "app", password, number);
        served(&apps, "single", &format!("single-g{number}"), password, number);
    }
    let told = apps.kubectl(&["get", "configmap", "single-current", "-o=jsonpath={.data.secretName}"]);
    assert_eq!(told, "single-g1001");
    let status = apps.encrypted_secret("app")["status"].clone();
    let numbers: Vec<_> =
        status["generations"].as_array().unwrap().iter().map(|g| g["number"].as_i64()).collect();
    assert_eq!(numbers, [1001, 1000, 2, 1].map(Some));
}

/// Which objects of the operator's came out of the backup.
#[derive(Clone, Copy, PartialEq)]
enum Kept {
    LedgerAndSecrets,
    Secrets,
    Nothing,
}

/// A cluster that was lost after numbers 3 and 4, rebuilt from objects that were put aside at number 2. The operator does not
/// run; git has not been applied again.
fn rebuilt(test: &str, kept: Kept, managers: Managers) -> Apps {
    const OURS: &str = "encryptedsecrets.touchseal.dev,recipients.touchseal.dev";
    let mut apps = Apps::new(test);
    for (number, password) in [(1, "first"), (2, "second")] {
        apps.apply_yaml("app", &format!("password: {password}\n"));
        served(&apps, "app", "app", password, number);
    }
    let (tenant, system) = (apps.apps.clone(), apps.system.clone());
    let of_tenant = |apps: &Apps, kinds: &str| Backup::take(apps, Some(&tenant), kinds);
    let of_system = |apps: &Apps| Backup::take(apps, Some(&system), "configmaps");
    let keyring = Backup::take(&apps, None, "keyrings.touchseal.dev");
    let secrets = of_tenant(&apps, "secrets").and(of_tenant(&apps, "configmaps"));
    let objects = of_tenant(&apps, OURS);
    let ledger = of_system(&apps);
    assert!(
        secrets.count() >= 1 && objects.count() >= 2 && ledger.count() >= 2,
        "hardly anything was put aside"
    );
    let before = apps.encrypted_secret("app")["metadata"]["uid"].clone();
    for (number, password) in [(3, "third"), (4, "fourth")] {
        apps.apply_yaml("app", &format!("password: {password}\n"));
        served(&apps, "app", "app", password, number);
    }

    apps.operator.process.kill();
    let all = of_tenant(&apps, OURS).and(of_tenant(&apps, "secrets,configmaps")).and(of_system(&apps));
    all.and(Backup::take(&apps, None, "keyrings.touchseal.dev")).lose(&apps);
    assert!(apps.secret("app").is_none() && of_system(&apps).count() == 0, "something was not lost");
    if kept != Kept::Nothing {
        secrets.restore(&apps, managers);
    }
    if kept == Kept::LedgerAndSecrets {
        ledger.restore(&apps, managers);
    }
    keyring.restore(&apps, managers);
    objects.restore(&apps, managers);
    assert_ne!(apps.encrypted_secret("app")["metadata"]["uid"], before);
    assert!(
        apps.encrypted_secret("app")["status"]["secretGeneration"].is_null(),
        "the status came back, too"
    );
    apps
}

#[test]
fn out_of_a_backup_of_objects_with_the_ledger_numbers_go_on_above_the_floor() {
    let mut apps = rebuilt("restore-all", Kept::LedgerAndSecrets, Managers::Kept);
    set_floor(&apps, "1000");
    apps.restart_operator();
    apps.unseal_again();
    served(&apps, "app", "app", "second", 2);
    for (number, password) in [(1000, "fourth"), (1001, "fifth")] {
        apps.apply_yaml("app", &format!("password: {password}\n"));
        served(&apps, "app", "app", password, number);
    }
}

/// The operator's namespace was not in the backup, and the tool that took it keeps no field managers.
#[test]
fn out_of_a_backup_without_the_ledger_numbers_go_on_from_what_the_secrets_bear_and_above_the_floor() {
    let mut apps = rebuilt("restore-secrets", Kept::Secrets, Managers::Lost);
    apps.restart_operator();
    apps.unseal_again();
    served(&apps, "app", "app", "second", 2);
    // Set while it runs.
    set_floor(&apps, "1000");
    eventually(DEADLINE, "the operator to know the floor", || {
        apps.operator.process.log().contains("new secret generations are given no lower number")
    })
    .unwrap();
    for (number, password) in [(1000, "fourth"), (1001, "fifth")] {
        apps.apply_yaml("app", &format!("password: {password}\n"));
        served(&apps, "app", "app", password, number);
    }
}

/// Neither the ledger nor a Secret is left: nothing but the floor knows of any number. One that cannot be read is told, and no
/// number is given out until it is put right.
#[test]
fn with_nothing_left_numbers_begin_at_the_floor_and_not_before_it_can_be_read() {
    let mut apps = rebuilt("restore-nothing", Kept::Nothing, Managers::Lost);
    set_floor(&apps, "a thousand");
    apps.restart_operator();
    apps.unseal_again();
    let stopped = apps.wait_for("app", "False", "ApiError");
    let said = condition(&stopped, "Ready")["message"].as_str().unwrap().to_owned();
    assert!(said.contains("touchseal-generation-floor") && said.contains("500000000"), "{said}");
    assert!(apps.secret("app").is_none(), "a number was given out");
    set_floor(&apps, "1000");
    served(&apps, "app", "app", "second", 1000);
    apps.apply_yaml("app", "password: fourth\n");
    served(&apps, "app", "app", "fourth", 1001);
}

/// The operator's namespace was not restored, the Keyring was: its manifest is older than the pin.
#[test]
fn a_keyring_older_than_the_pin_is_refused_with_the_way_out() {
    let apps = Apps::new("restore-pin");
    let backup = Backup::take(&apps, None, "keyrings.touchseal.dev");
    let spec = apps.cluster.get(&["keyring", KEYRING]).unwrap()["spec"].clone();
    let first = manifest::verify(&serde_json::from_value(spec).unwrap()).unwrap();
    let (newest, open) = manifest::rotate(&first, &apps.keyring, "2026-02-03T04:05:06Z").unwrap();
    apps.apply_keyring(KEYRING, &newest);
    apps.unseal(KEYRING, &open, 1);
    eventually(DEADLINE, "the newest manifest to be pinned", || pinned_revision(&apps) == 2).unwrap();

    backup.lose(&apps);
    backup.restore(&apps, Managers::Kept);
    let refused = eventually(DEADLINE, "the older manifest to be refused", || {
        let object = apps.cluster.get(&["keyring", KEYRING]).unwrap();
        let tampered = condition(&object, "Tampered").clone();
        if tampered["status"] == "True" { Ok(tampered) } else { Err(object["status"].to_string()) }
    })
    .unwrap();
    assert_eq!(refused["reason"], "ManifestRolledBack");
    assert!(refused["message"].as_str().unwrap().contains("apply the newest one from git"), "{refused}");
    let laptop = Laptop::new(&apps.cluster.admin_kubeconfig());
    let said = laptop.run_plain(&["status", "--operator-namespace", &apps.system]).ok();
    assert!(said.out.contains("apply the newest manifest from git"), "{}", said.out);

    apps.apply_keyring(KEYRING, &newest);
    apps.unseal(KEYRING, &open, 1);
}
