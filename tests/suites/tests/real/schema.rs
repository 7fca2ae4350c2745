//! What the API server refuses before the operator ever sees it, and in which words.

use serde_json::{Value, json};
use touchseal_suites::Apps;

#[test]
fn what_is_no_sops_document_never_gets_into_the_cluster() {
    let apps = Apps::new("schema");
    let document = apps.encrypt("app.yaml", "password: first\n");
    let inline = |text: &str| json!({ "documents": [{ "sops": text }] });
    let truncated = document.split("lastmodified").next().unwrap().to_owned();
    let reference = json!({ "name": "map", "key": "app.yaml" });
    let path = json!({ "path": "password", "key": "password" });
    let cases: [(&str, Value, &str); 13] = [
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
