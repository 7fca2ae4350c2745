//! Whose Secret it is: foreign ones are never touched, ours always hold exactly what the documents say.

use std::fs;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::world::{condition, value};
use touchseal_suites::{Apps, DEADLINE};

fn foreign(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{password: theirs, extra: x}}\n"
    )
}

fn make_foreign(apps: &Apps, name: &str) -> Value {
    let file = apps.cluster.dir().join("foreign.yaml");
    fs::write(&file, foreign(name)).unwrap();
    apps.kubectl(&["create", "-f", file.to_str().unwrap()]);
    apps.secret(name).unwrap()
}

#[test]
fn a_foreign_secret_is_left_alone_and_its_conflict_clears_by_itself() {
    let apps = Apps::new("conflict");
    let before = make_foreign(&apps, "app");
    apps.apply_yaml("app", "password: ours\n");
    let object = apps.wait_for("app", "False", "Conflict");
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    let message = condition(&object, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("kubectl annotate secret app touchseal.dev/adopt=app"), "{message}");

    // Waiting costs nothing: no request about any Secret is made while nothing happens to it.
    apps.reconcile("app", "settled");
    let requests = apps.requests_about("secrets");
    for mark in ["one", "two", "three"] {
        apps.reconcile("app", mark);
    }
    let more = apps.requests_about("secrets") - requests;
    assert!(more <= 3, "{more} requests about Secrets in three reconciles");
    assert_eq!(apps.events("app"), ["Conflict"]);
    assert_eq!(apps.secret("app").unwrap(), before, "not a byte of it changed, nor its resourceVersion");

    apps.kubectl(&["delete", "secret", "app"]);
    let object = apps.wait_for("app", "True", "Materialised");
    assert!(condition(&object, "Stalled").is_null());
    assert_eq!(value(&apps.secret("app").unwrap(), "password").unwrap(), b"ours");
    assert_eq!(apps.events("app"), ["Conflict", "Materialised"]);
}

#[test]
fn a_secret_is_taken_over_when_its_owner_says_so() {
    let apps = Apps::new("adopt");
    let before = make_foreign(&apps, "app");
    apps.apply_yaml("app", "password: ours\n");
    apps.wait_for("app", "False", "Conflict");
    // Consent given to another EncryptedSecret is none.
    apps.kubectl(&["annotate", "secret", "app", "touchseal.dev/adopt=other"]);
    apps.reconcile("app", "one");
    apps.wait_for("app", "False", "Conflict");

    apps.kubectl(&["annotate", "--overwrite", "secret", "app", "touchseal.dev/adopt=app"]);
    apps.wait_for("app", "True", "Materialised");
    let after = apps.secret("app").unwrap();
    assert_eq!(
        after["metadata"]["uid"], before["metadata"]["uid"],
        "the same object, for those who watch it"
    );
    assert_eq!(value(&after, "password").unwrap(), b"ours");
    assert_eq!(value(&after, "extra"), None, "it holds exactly what the documents say");
    assert_eq!(after["metadata"]["labels"]["app.kubernetes.io/managed-by"], "touchseal");
    assert_eq!(apps.events("app"), ["Conflict", "Adopted"]);
}

#[test]
fn a_secret_is_handed_from_one_encrypted_secret_to_another_with_its_owner() {
    let apps = Apps::new("handed-on");
    let spec = |text: &str| json!({ "documents": [{ "sops": apps.encrypt("x.yaml", text) }], "target": { "name": "shared" } });
    apps.apply_secret("one", spec("password: one\n"));
    apps.wait_for("one", "True", "Materialised");
    let before = apps.secret("shared").unwrap();
    apps.kubectl(&["annotate", "secret", "shared", "touchseal.dev/adopt=two"]);
    apps.apply_secret("two", spec("password: two\n"));
    apps.wait_for("two", "True", "Materialised");
    apps.wait_for("one", "False", "Conflict");
    let after = apps.secret("shared").unwrap();
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(value(&after, "password").unwrap(), b"two");
    let owners = after["metadata"]["ownerReferences"].as_array().unwrap();
    let names: Vec<&Value> = owners.iter().map(|owner| &owner["name"]).collect();
    assert_eq!(names, ["two"], "the end of one must not take it along");
}

#[test]
fn what_cannot_be_taken_over_says_so_and_stays() {
    let apps = Apps::new("unadoptable");
    for (name, fields) in [("immutable", json!({ "immutable": true })), ("typed", json!({}))] {
        make_foreign(&apps, name);
        apps.merge(&format!("secret/{name}"), &fields);
        apps.kubectl(&["annotate", "secret", name, &format!("touchseal.dev/adopt={name}")]);
        let document = apps.encrypt("app.yaml", "password: ours\n");
        let target = if name == "typed" { json!({ "type": "example.com/app" }) } else { json!({}) };
        let before = apps.secret(name).unwrap();
        apps.apply_secret(name, json!({ "documents": [{ "sops": document }], "target": target }));
        let object = apps.wait_for(name, "False", "Conflict");
        let message = condition(&object, "Ready")["message"].as_str().unwrap();
        assert!(
            message.contains(if name == "typed" { "type cannot change" } else { "immutable" }),
            "{message}"
        );
        assert_eq!(apps.secret(name).unwrap(), before);
    }
}

#[test]
fn two_objects_for_one_secret_share_nothing() {
    let apps = Apps::new("rivals");
    let one = apps.encrypt("app.yaml", "password: one\n");
    let two = apps.encrypt("app.yaml", "password: two\n");
    let spec =
        |document: &str| json!({ "documents": [{ "sops": document }], "target": { "name": "shared" } });
    let rival = |name: &str, document: &str| {
        json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
            "metadata": { "name": name, "namespace": apps.apps }, "spec": spec(document) })
    };
    // Both at once: whoever comes first has it.
    let both =
        json!({ "apiVersion": "v1", "kind": "List", "items": [rival("one", &one), rival("two", &two)] });
    apps.cluster.apply(&both.to_string()).unwrap();
    let reason = |name: &str| {
        let object = apps.encrypted_secret(name);
        condition(&object, "Ready")["reason"].as_str().unwrap_or_default().to_owned()
    };
    eventually(DEADLINE, "one winner", || {
        let mut reasons = [reason("one"), reason("two")];
        reasons.sort();
        if reasons == ["Conflict", "Materialised"] { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .unwrap();
    let (winner, loser) = if reason("one") == "Materialised" { ("one", "two") } else { ("two", "one") };
    assert_eq!(value(&apps.secret("shared").unwrap(), "password").unwrap(), winner.as_bytes());
    let message = condition(&apps.encrypted_secret(loser), "Ready")["message"].to_string();
    assert!(message.contains(&format!("belongs to EncryptedSecret {winner}")), "{message}");

    apps.kubectl(&["delete", "encryptedsecret", winner]);
    apps.wait_for(loser, "True", "Materialised");
    assert_eq!(value(&apps.secret("shared").unwrap(), "password").unwrap(), loser.as_bytes());
}

#[test]
fn drift_is_reverted() {
    let apps = Apps::new("drift");
    let document = apps.encrypt("app.yaml", "password: first\nuser: app\n");
    let target = json!({ "labels": { "team": "a" }, "annotations": { "note": "b" } });
    apps.apply_secret("app", json!({ "documents": [{ "sops": document }], "target": target }));
    let object = apps.wait_for("app", "True", "Materialised");
    let right = apps.secret("app").unwrap();
    let same = |secret: &Value| {
        secret["data"] == right["data"]
            && secret["type"] == right["type"]
            && secret["metadata"]["labels"] == right["metadata"]["labels"]
            && secret["metadata"]["annotations"] == right["metadata"]["annotations"]
            && secret["metadata"]["ownerReferences"] == right["metadata"]["ownerReferences"]
    };
    let drifts = [
        ("value changed", json!({ "data": { "password": "ZWRpdGVk" } })),
        ("key added", json!({ "data": { "planted": "eA==" } })),
        ("key removed", json!({ "data": { "user": null } })),
        ("label removed", json!({ "metadata": { "labels": { "team": null } } })),
        ("label changed", json!({ "metadata": { "labels": { "team": "z" } } })),
        ("annotation removed", json!({ "metadata": { "annotations": { "note": null } } })),
        (
            "generation forged",
            json!({ "metadata": { "annotations": { "touchseal.dev/secret-generation": "9" } } }),
        ),
        (
            "managed-by label stripped",
            json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } } }),
        ),
        ("owner removed", json!({ "metadata": { "ownerReferences": null } })),
    ];
    for (what, patch) in &drifts {
        apps.merge("secret/app", patch);
        apps.wait_for_secret("app", what, same);
    }
    apps.kubectl(&["delete", "secret", "app"]);
    apps.wait_for_secret("app", "deleted", same);

    // What others add beside it is theirs.
    apps.kubectl(&["label", "secret", "app", "backup=yes"]);
    apps.kubectl(&["annotate", "secret", "app", "theirs=1"]);
    apps.reconcile("app", "theirs");
    let secret = apps.secret("app").unwrap();
    assert_eq!(secret["metadata"]["labels"]["backup"], "yes");
    assert_eq!(secret["metadata"]["annotations"]["theirs"], "1");
    let after = apps.encrypted_secret("app");
    assert_eq!(after["status"]["secretGeneration"], 1, "drift is no new content");
    assert_eq!(after["status"]["keys"], object["status"]["keys"]);
}

#[test]
fn what_the_spec_no_longer_asks_for_goes() {
    let apps = Apps::new("retarget");
    let document = apps.encrypt("app.yaml", "password: first\n");
    let spec = |target: Value| json!({ "documents": [{ "sops": document }], "target": target });
    apps.apply_secret("app", spec(json!({ "labels": { "team": "a" }, "annotations": { "note": "b" } })));
    apps.wait_for("app", "True", "Materialised");
    apps.apply_secret("app", spec(json!({ "labels": { "team": "c" } })));
    let secret = apps.wait_for_secret("app", "annotation gone, label changed", |s| {
        s["metadata"]["annotations"]["note"].is_null() && s["metadata"]["labels"]["team"] == "c"
    });
    let uid = secret["metadata"]["uid"].clone();
    // A Secret's type cannot change: it is made anew, and stays ours.
    apps.apply_secret("app", spec(json!({ "type": "example.com/app" })));
    let secret = apps.wait_for_secret("app", "another type", |s| s["type"] == "example.com/app");
    assert_ne!(secret["metadata"]["uid"], uid);
    assert!(secret["metadata"]["labels"]["team"].is_null());
    assert_eq!(apps.wait_for("app", "True", "Materialised")["status"]["secretGeneration"], 1);
    // Somebody makes it immutable: kubelets would not hear of new content, so a person has to make way for it.
    apps.merge("secret/app", &json!({ "immutable": true }));
    let document = apps.encrypt("app.yaml", "password: second\n");
    apps.apply_secret(
        "app",
        json!({ "documents": [{ "sops": document }], "target": { "type": "example.com/app" } }),
    );
    apps.wait_for("app", "False", "Conflict");
    assert_eq!(value(&apps.secret("app").unwrap(), "password").as_deref(), Some(&b"first"[..]));
    apps.kubectl(&["delete", "secret", "app"]);
    apps.wait_for_secret("app", "new content", |s| value(s, "password").as_deref() == Some(b"second"));
}

#[test]
fn the_secret_goes_or_stays_as_the_deletion_policy_says() {
    let apps = Apps::new("deletion");
    let document = apps.encrypt("app.yaml", "password: first\n");
    for (name, policy) in [("goes", "Delete"), ("stays", "Retain")] {
        apps.apply_secret(name, json!({ "documents": [{ "sops": document }], "deletionPolicy": policy }));
        apps.wait_for(name, "True", "Materialised");
    }
    let kept = apps.secret("stays").unwrap();
    assert!(kept["metadata"]["ownerReferences"].is_null());
    apps.kubectl(&["delete", "encryptedsecret", "goes", "stays"]);
    eventually(DEADLINE, "the garbage collector", || apps.secret("goes").is_none()).unwrap();
    assert_eq!(apps.secret("stays").unwrap(), kept);

    // The policy can change while the object lives.
    apps.apply_secret("stays", json!({ "documents": [{ "sops": document }], "deletionPolicy": "Delete" }));
    apps.wait_for("stays", "True", "Materialised");
    apps.wait_for_secret("stays", "an owner", |s| s["metadata"]["ownerReferences"].is_array());
    apps.apply_secret("stays", json!({ "documents": [{ "sops": document }], "deletionPolicy": "Retain" }));
    apps.wait_for_secret("stays", "no owner", |s| s["metadata"]["ownerReferences"].is_null());
}

#[test]
fn suspended_objects_are_left_as_they_are() {
    let apps = Apps::new("suspend");
    apps.serve_yaml("app", "password: first\n");
    apps.merge("encryptedsecret/app", &json!({ "spec": { "suspend": true } }));
    apps.wait_for("app", "True", "Materialised");
    apps.merge("secret/app", &json!({ "data": { "password": "ZWRpdGVk" } }));
    apps.reconcile("app", "one");
    assert_eq!(
        value(&apps.secret("app").unwrap(), "password").unwrap(),
        b"edited",
        "drift is left alone too"
    );

    let document = apps.encrypt("app.yaml", "password: second\n");
    apps.apply_secret("app", json!({ "documents": [{ "sops": document }], "suspend": true }));
    let object = apps.wait_for("app", "False", "Suspended");
    let message = condition(&object, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("keeps generation 1"), "{message}");
    assert_eq!(value(&apps.secret("app").unwrap(), "password").unwrap(), b"edited");

    apps.merge("encryptedsecret/app", &json!({ "spec": { "suspend": false } }));
    apps.wait_for_generation("app", 2);
    assert_eq!(value(&apps.secret("app").unwrap(), "password").unwrap(), b"second");
}

#[test]
fn the_api_server_itself_keeps_the_operator_off_foreign_secrets() {
    let apps = Apps::new("policy");
    make_foreign(&apps, "foreign");
    let ours = apps.serve_yaml("app", "password: ours\n");
    let before = apps.secret("foreign").unwrap();
    let kubeconfig =
        apps.cluster.kubeconfig_for_service_account(&apps.system, "touchseal-operator", None).unwrap();
    let as_operator = |arguments: &[&str]| {
        let output =
            apps.cluster.kubectl_as(&kubeconfig, &[&["-n", apps.apps.as_str()], arguments].concat()).unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let ours_annotation = r#"{"metadata":{"annotations":{"touchseal.dev/encrypted-secret":"app"}}}"#;
    let disown = r#"{"metadata":{"annotations":{"touchseal.dev/encrypted-secret":null}}}"#;
    for attempt in [
        &["patch", "secret", "foreign", "--type=merge", "-p", r#"{"data":{"password":"eA=="}}"#][..],
        &["patch", "secret", "foreign", "--type=merge", "-p", ours_annotation],
        &["delete", "secret", "foreign"],
        &["create", "secret", "generic", "unmarked", "--from-literal=a=b"],
        &["patch", "secret", "app", "--type=merge", "-p", disown],
    ] {
        let (done, said) = as_operator(attempt);
        assert!(!done && said.contains("touchseal-operator-own-secrets"), "{attempt:?}: {said}");
    }
    assert_eq!(apps.secret("foreign").unwrap(), before);
    assert!(apps.secret("unmarked").is_none());

    // A Secret that mints a token, even one marked as ours.
    let minting = json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": { "name": "minting", "namespace": apps.apps, "annotations": {
            "touchseal.dev/encrypted-secret": "app", "kubernetes.io/service-account.name": "default" } } });
    let file = apps.cluster.dir().join("minting.json");
    fs::write(&file, minting.to_string()).unwrap();
    let (done, said) = as_operator(&["create", "-f", file.to_str().unwrap()]);
    assert!(!done && said.contains("mint credentials"), "{said}");
    assert_eq!(apps.encrypted_secret("app")["status"], ours["status"]);
}

/// A Secret's type cannot change, so it is made anew; but only once the API server would take the new one.
#[test]
fn a_secret_is_not_deleted_for_one_that_cannot_be_made() {
    let apps = Apps::new("replace");
    apps.serve_yaml("app", "password: x\n");
    let before = apps.secret("app").unwrap();
    let spec = |type_: &str| {
        let document = apps.encrypt("app.yaml", "password: x\n");
        json!({ "documents": [{ "sops": document }], "target": { "type": type_ } })
    };
    // kubernetes.io/tls needs tls.crt and tls.key.
    apps.apply_secret("app", spec("kubernetes.io/tls"));
    apps.wait_for("app", "False", "ApiError");
    assert_eq!(apps.secret("app").unwrap(), before, "the Secret in use is still there, untouched");
    eventually(DEADLINE, "one Event of it", || apps.events("app") == ["Materialised", "ApiError"]).unwrap();

    apps.apply_secret("app", spec("example.com/other"));
    apps.wait_for("app", "True", "Materialised");
    let after = apps.secret("app").unwrap();
    assert_eq!(after["type"], "example.com/other");
    assert_eq!(value(&after, "password").unwrap(), b"x");
}
