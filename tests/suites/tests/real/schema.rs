//! What the API server refuses before the operator ever sees it, and in which words.

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::{Apps, DEADLINE, SoftHolder, World};

#[test]
fn what_is_no_sops_document_never_gets_into_the_cluster() {
    let apps = Apps::new("schema");
    let document = apps.encrypt("app.yaml", "password: first\n");
    let inline = |text: &str| json!({ "documents": [{ "sops": text }] });
    let truncated = document.split("lastmodified").next().unwrap().to_owned();
    let reference = json!({ "name": "map", "key": "app.yaml" });
    let path = json!({ "path": "password", "key": "password" });
    let templates = |data: Value| json!({ "documents": [{ "sops": document }], "target": { "template": { "data": data } } });
    let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("k{n}"), json!("x"))).collect();
    let long: serde_json::Map<String, Value> =
        (0..5).map(|n| (format!("k{n}"), json!("x".repeat(60_000)))).collect();
    let cases: [(&str, Value, &str); 18] = [
        ("plaintext", inline("password: hunter2\n"), "not a sops document"),
        ("empty", inline(""), "not a sops document"),
        ("truncated", inline(&truncated), "sops metadata"),
        ("no document", json!({ "documents": [] }), "documents"),
        ("no documents field", json!({}), "documents"),
        (
            "neither source",
            json!({ "documents": [{ "name": "app.yaml" }] }),
            "exactly one of sops and configMapKeyRef",
        ),
        (
            "both sources",
            json!({ "documents": [{ "sops": document, "configMapKeyRef": reference }] }),
            "exactly one of sops and configMapKeyRef",
        ),
        ("unknown format", json!({ "documents": [{ "sops": document, "format": "toml" }] }), "format"),
        (
            "two mappings",
            json!({ "documents": [{ "sops": document, "mapping": { "flat": {}, "file": { "key": "a" } } }] }),
            "mapping",
        ),
        (
            "too many paths",
            json!({ "documents": [{ "sops": document, "mapping": { "paths": vec![path; 513] } }] }),
            "must have at most 512 items",
        ),
        (
            "a token-minting type",
            json!({ "documents": [{ "sops": document }], "target": { "type": "kubernetes.io/service-account-token" } }),
            "makes the cluster mint credentials",
        ),
        (
            "a bootstrap token",
            json!({ "documents": [{ "sops": document }], "target": { "type": "bootstrap.kubernetes.io/token" } }),
            "makes the cluster mint credentials",
        ),
        (
            "no name for a Secret",
            json!({ "documents": [{ "sops": document }], "target": { "name": "-A-" } }),
            "target.name",
        ),
        ("no template", templates(json!({})), "target.template.data"),
        ("too many templates", templates(many.into()), "must have at most 64"),
        ("a template that is too long", templates(json!({ "k": "x".repeat(65_537) })), "Too long"),
        ("templates that are too long in all", templates(long.into()), "262144 characters in all"),
        ("a key that is too long", templates(json!({ "k".repeat(254): "x" })), "1 to 253 characters"),
    ];
    for (what, spec, words) in cases {
        let said = apps.refused_secret("app", spec);
        assert!(said.contains(words), "{what}: {said}");
        assert!(
            what != "plaintext" || !said.contains("hunter2"),
            "the refusal repeats what was to be secret: {said}"
        );
    }
    assert_eq!(apps.kubectl(&["get", "encryptedsecrets", "-o", "name"]), "");
}

#[test]
fn the_name_of_the_secret_cannot_change() {
    let apps = Apps::new("rename");
    let document = apps.encrypt("app.yaml", "password: first\n");
    let spec = |name: Option<&str>| {
        let mut spec = json!({ "documents": [{ "sops": document }] });
        if let Some(name) = name {
            spec["target"] = json!({ "name": name });
        }
        spec
    };
    apps.apply_secret("named", spec(Some("one")));
    apps.apply_secret("unnamed", spec(None));
    for (object, name) in [("named", Some("two")), ("named", None), ("unnamed", Some("other"))] {
        let said = apps.refused_secret(object, spec(name));
        assert!(
            said.contains("target.name cannot change: create a new EncryptedSecret"),
            "{object} {name:?}: {said}"
        );
    }
    // Everything else can.
    let mut labelled = spec(Some("one"));
    labelled["target"]["labels"] = json!({ "team": "a" });
    apps.apply_secret("named", labelled);
    apps.wait_for("named", "True", "Materialised");
}

/// Also where the chart's policy is not: an answer comes after the question, and to the question that was asked.
#[test]
fn of_an_enrolment_only_the_answer_changes_and_not_at_once() {
    let world = World::bare("enrolment-rules");
    world.upgrade_where(&[], |object| object["kind"] == "CustomResourceDefinition");
    world
        .cluster
        .kubectl_stdout(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])
        .unwrap();
    let holder = SoftHolder::generate("alice", 1).create_keyring().0.holders[0].clone();
    let wish = |change: Value| {
        let mut spec = json!({ "keyring": "prod", "revision": 1, "holder": holder,
            "requestedBy": "alice", "reason": "none" });
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "Enrolment",
            "metadata": { "name": "wish", "namespace": world.system }, "spec": spec })
    };
    let apply = |change: Value| world.cluster.apply(&wish(change).to_string()).map_err(|e| e.to_string());
    // A definition that changed takes a moment to count.
    eventually(DEADLINE, "an answer at once to be refused", || match apply(json!({ "answer": "0" })) {
        Err(said) if said.contains("spec: Invalid value") && said.contains("has asked back") => Ok(()),
        Err(said) => Err(said),
        Ok(()) => {
            world.cluster.kubectl_stdout(&["delete", "enrolment", "wish", "-n", &world.system]).unwrap();
            Err("it was taken".to_owned())
        }
    })
    .unwrap();
    apply(json!({})).unwrap();
    for (field, value) in [
        ("keyring", json!("other")),
        ("revision", json!(2)),
        ("requestedBy", json!("mallory")),
        ("reason", json!("another")),
        ("holder", json!(SoftHolder::generate("mallory", 2).create_keyring().0.holders[0])),
    ] {
        let said = apply(json!({ field: value })).unwrap_err();
        assert!(
            said.contains("spec: Invalid value") && said.contains("only the answer changes"),
            "{field}: {said}"
        );
    }
    apply(json!({ "answer": "0" })).unwrap();
}
