//! From an EncryptedSecret to a Secret: create, change, map, revert, delete.

use serde_json::json;
use touchseal_rig::poll::eventually;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::world::{condition, value};
use touchseal_suites::{Apps, DEADLINE, SoftHolder, World};

#[test]
fn a_document_becomes_a_secret_and_follows_its_changes() {
    let mut world = World::new("first");
    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    world.apply_keyring("prod", &spec);
    let _operator = world.operator();

    // Sealed is a normal state: the object says what it waits for.
    let recipient = open.recipient_spec(&world.apps).unwrap().recipient;
    let document = world.sops.encrypt("app.yaml", "user: app\npassword: first\n", &recipient);
    world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    let sealed = world.wait_for("app", "False", "Sealed");
    assert!(condition(&sealed, "Stalled").is_null());
    assert!(world.secret("app").is_none());

    world.unseal("prod", &open, 1);
    let ready = world.wait_for("app", "True", "Materialised");
    assert_eq!(ready["status"]["secretGeneration"], 1);
    let secret = world.secret("app").unwrap();
    assert_eq!(value(&secret, "password").unwrap(), b"first");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], ready["metadata"]["uid"]);
    assert_eq!(world.recipient(&world.apps, "prod"), recipient);

    let document = world.sops.encrypt("app.yaml", "user: app\npassword: second\n", &recipient);
    world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    world.wait_for_generation("app", 2);
    assert_eq!(value(&world.secret("app").unwrap(), "password").unwrap(), b"second");
}

#[test]
fn recipients_are_published_everywhere_and_kept_right() {
    let apps = Apps::new("recipients");
    for number in 0..20 {
        let namespace = format!("{}-{number}", apps.apps);
        apps.cluster.kubectl_stdout(&["create", "namespace", &namespace]).unwrap();
    }
    for number in 0..20 {
        let namespace = format!("{}-{number}", apps.apps);
        let derived = apps.keyring.recipient_spec(&namespace).unwrap().recipient;
        assert_eq!(apps.recipient(&namespace, KEYRING), derived);
    }
    // Whoever puts their own recipient there would have authors encrypt to them.
    assert_eq!(apps.recipient(&apps.apps, KEYRING), apps.recipient);
    let theirs = json!({ "spec": { "recipient": "age1theirs" } });
    apps.merge(&format!("recipient/{KEYRING}"), &theirs);
    let right = || apps.recipient(&apps.apps, KEYRING) == apps.recipient;
    eventually(DEADLINE, "the recipient to be put back", right).unwrap();
    apps.kubectl(&["delete", "recipient", KEYRING]);
    eventually(DEADLINE, "the recipient to be published again", right).unwrap();
}

#[test]
fn what_changed_while_the_api_server_was_gone_is_caught_up_with() {
    let apps = Apps::new("outage");
    let object = apps.serve_yaml("app", "password: first\n");
    apps.serve_yaml("other", "password: first\n");
    apps.cluster.kill_apiserver();
    eventually(DEADLINE, "the operator to notice", || {
        apps.operator.process.log().contains("failed; it is tried again")
    })
    .unwrap();
    assert!(
        apps.operator.probe("/healthz").contains(" 200 "),
        "a restart of the operator would only seal it"
    );
    apps.cluster.restart_apiserver().unwrap();
    apps.apply_yaml("app", "password: second\n");
    apps.merge("secret/other", &json!({ "data": { "password": "ZWRpdGVk" } }));
    apps.wait_for_generation("app", 2);
    apps.wait_for_secret("other", "put back", |s| value(s, "password").as_deref() == Some(b"first"));
    assert_eq!(apps.encrypted_secret("app")["metadata"]["uid"], object["metadata"]["uid"]);
}
