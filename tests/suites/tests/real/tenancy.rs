//! Who may write in one namespace gets nothing of another: not its documents, not its Secrets, not the operator's own
//! objects, and no credential that the cluster would mint.

use std::path::Path;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::world::value;
use touchseal_suites::{DEADLINE, SoftHolder, World};

struct Tenants {
    world: World,
    other: String,
    _operator: touchseal_suites::Operator,
}

/// An unsealed world with a second namespace.
fn tenants(test: &str) -> Tenants {
    let mut world = World::new(test);
    let other = format!("{test}-other");
    world.cluster.namespace(&other).unwrap();
    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    world.apply_keyring("prod", &spec);
    let operator = world.operator();
    world.unseal("prod", &open, 1);
    Tenants { world, other, _operator: operator }
}

fn encrypted_secret(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
        "metadata": { "name": name, "namespace": namespace }, "spec": spec,
    })
}

/// Waits until an EncryptedSecret of any namespace is refused for this reason.
fn wait_for_refusal(world: &World, namespace: &str, name: &str, reason: &str) -> String {
    eventually(DEADLINE, &format!("{namespace}/{name} refused"), || {
        let object = world.cluster.get(&["encryptedsecret", name, "-n", namespace]).unwrap();
        let ready = touchseal_suites::world::condition(&object, "Ready").clone();
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        if current && ready["status"] == "False" && ready["reason"] == reason {
            Ok(ready["message"].as_str().unwrap().to_owned())
        } else {
            Err(object["status"].to_string())
        }
    })
    .unwrap()
}

fn secret_names(world: &World, namespace: &str) -> Vec<String> {
    let list = world.cluster.get(&["secrets", "-n", namespace]).unwrap();
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_document_opens_in_its_own_namespace_only() {
    let Tenants { world, other, _operator } = tenants("copied");
    let (mine, theirs) = (world.recipient(&world.apps, "prod"), world.recipient(&other, "prod"));
    assert_ne!(mine, theirs);
    let document = world.sops.encrypt("app.yaml", "password: of-the-first-tenant\n", &mine);
    world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    world.wait_for("app", "True", "Materialised");

    let copied = encrypted_secret(&other, "copied", &json!({ "documents": [{ "sops": document }] }));
    world.cluster.apply(&copied.to_string()).unwrap();
    let message = wait_for_refusal(&world, &other, "copied", "NoMatchingRecipient");
    assert!(message.contains(&theirs) && message.contains("sops updatekeys"), "{message}");

    // What a document says of its recipients is not authenticated: naming one's own opens nothing.
    let renamed = document.replace(&mine, &theirs);
    assert_ne!(renamed, document);
    let renamed = encrypted_secret(&other, "renamed", &json!({ "documents": [{ "sops": renamed }] }));
    world.cluster.apply(&renamed.to_string()).unwrap();
    wait_for_refusal(&world, &other, "renamed", "NoMatchingRecipient");
    assert_eq!(secret_names(&world, &other), [""; 0]);

    // The document was fine all along: encrypted to the other namespace it opens there, and only there.
    let document = world.sops.encrypt("app.yaml", "password: of-the-second-tenant\n", &theirs);
    let own = encrypted_secret(&other, "own", &json!({ "documents": [{ "sops": document }] }));
    world.cluster.apply(&own.to_string()).unwrap();
    eventually(DEADLINE, "the second tenant's Secret", || secret_names(&world, &other) == ["own"]).unwrap();
    world.apply_secret("theirs", json!({ "documents": [{ "sops": document }] }));
    world.wait_for("theirs", "False", "NoMatchingRecipient");
}

#[test]
fn secrets_of_other_namespaces_are_out_of_reach() {
    let Tenants { world, other, _operator } = tenants("reach");
    let victim = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "victim", "namespace": other },
        "stringData": { "password": "mine" },
    });
    world.cluster.apply(&victim.to_string()).unwrap();
    let seen = || world.cluster.get(&["secret", "victim", "-n", &other]).unwrap();
    let before = seen();

    let recipient = world.recipient(&world.apps, "prod");
    let document = world.sops.encrypt("app.yaml", "password: overwritten\n", &recipient);
    world.apply_secret("victim", json!({ "documents": [{ "sops": document }] }));
    world.wait_for("victim", "True", "Materialised");
    // A manifest that names another namespace and another Secret: both are the EncryptedSecret's own to say.
    let manifest = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n    name: victim\n    namespace: {other}\nstringData:\n    password: overwritten\n"
    );
    let document = world.sops.encrypt_with(
        "secret.yaml",
        &manifest,
        &["--age", &recipient, "--encrypted-regex", "^(data|stringData)$"],
    );
    world.apply_secret(
        "manifest",
        json!({ "documents": [{ "sops": document, "mapping": { "manifest": {} } }] }),
    );
    world.wait_for("manifest", "True", "Materialised");
    assert_eq!(value(&world.secret("manifest").unwrap(), "password").unwrap(), b"overwritten");
    assert_eq!(seen(), before);

    // And were the operator itself turned against it, the API server refuses: it may write Secrets of its own only.
    let operator =
        world.cluster.kubeconfig_for_service_account(&world.system, "touchseal-operator", None).unwrap();
    let as_operator = |arguments: &[&str]| {
        let output = world.cluster.kubectl_as(&operator, arguments).unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let patch = r#"{"data":{"password":"eA=="}}"#;
    let claim = r#"{"metadata":{"annotations":{"touchseal.dev/encrypted-secret":"victim"}}}"#;
    for arguments in [
        &["patch", "secret", "victim", "-n", &other, "--type=merge", "-p", patch][..],
        &["patch", "secret", "victim", "-n", &other, "--type=merge", "-p", claim],
        &["delete", "secret", "victim", "-n", &other],
    ] {
        let (done, said) = as_operator(arguments);
        assert!(!done && said.contains("not Touchseal's"), "{arguments:?}: {said}");
    }
    assert_eq!(seen(), before);
}

#[test]
fn types_that_mint_credentials_are_refused_at_every_door() {
    let Tenants { world, other: _other, _operator } = tenants("types");
    let recipient = world.recipient(&world.apps, "prod");
    let document = world.sops.encrypt("app.yaml", "password: x\n", &recipient);
    for type_ in ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"] {
        // By the schema.
        let spec = json!({ "documents": [{ "sops": document }], "target": { "type": type_ } });
        let refused =
            world.cluster.apply(&encrypted_secret(&world.apps, "app", &spec).to_string()).unwrap_err();
        assert!(format!("{refused:?}").contains("mint credentials"), "{refused:?}");

        // By the operator, which alone sees what a document asks for.
        let manifest = format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n    annotations:\n        kubernetes.io/service-account.name: default\n\
             type: {type_}\nstringData:\n    password: x\n"
        );
        for regex in ["^(data|stringData)$", "^(data|stringData|type)$"] {
            let document = world.sops.encrypt_with(
                "s.yaml",
                &manifest,
                &["--age", &recipient, "--encrypted-regex", regex],
            );
            let spec = json!({ "documents": [{ "sops": document, "mapping": { "manifest": {} } }] });
            world.apply_secret("manifest", spec);
            world.wait_for("manifest", "False", "InvalidTarget");
        }

        // By the API server, were both wrong.
        let operator =
            world.cluster.kubeconfig_for_service_account(&world.system, "touchseal-operator", None).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": type_,
            "metadata": { "name": "minted", "namespace": world.apps, "annotations": {
                "touchseal.dev/encrypted-secret": "minted", "kubernetes.io/service-account.name": "default",
            }},
        });
        let said = run_with(&world, &operator, &["apply", "--server-side"], &secret).unwrap_err();
        assert!(said.contains("mint credentials"), "{said}");
    }
    assert_eq!(secret_names(&world, &world.apps), [""; 0]);
}

#[test]
fn an_editor_of_one_namespace_reaches_no_more_than_that() {
    let Tenants { world, other, _operator } = tenants("editor");
    world.cluster.kubectl_stdout(&["create", "serviceaccount", "author", "-n", &world.apps]).unwrap();
    let account = format!("--serviceaccount={}:author", world.apps);
    let bind = ["create", "rolebinding", "author", "--clusterrole=edit", &account, "-n", &world.apps];
    world.cluster.kubectl_stdout(&bind).unwrap();
    let author = world.cluster.kubeconfig_for_service_account(&world.apps, "author", None).unwrap();

    // Aggregation takes a moment; then the author does what authors do.
    let recipient = world.recipient(&world.apps, "prod");
    let document = world.sops.encrypt("app.yaml", "password: the-authors-own\n", &recipient);
    let spec = json!({ "documents": [{ "sops": document }] });
    let own = encrypted_secret(&world.apps, "app", &spec);
    eventually(DEADLINE, "the author's rights", || run_with(&world, &author, &["apply"], &own)).unwrap();
    world.wait_for("app", "True", "Materialised");

    let elsewhere = encrypted_secret(&other, "app", &spec);
    let request = json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "UnsealRequest",
        "metadata": { "name": "forged", "namespace": world.system }, "spec": { "keyring": "prod", "pod": "operator-1" },
    });
    let keyring = json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "Keyring", "metadata": { "name": "forged" },
        "spec": world.cluster.get(&["keyring", "prod"]).unwrap()["spec"],
    });
    let recipient = json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "Recipient",
        "metadata": { "name": "forged", "namespace": world.apps },
        "spec": { "recipient": "age1x", "keyGeneration": 1, "generations": [] },
    });
    let pin = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "touchseal-pin-other", "namespace": world.system }, "data": {},
    });
    for object in [&elsewhere, &request, &keyring, &recipient, &pin] {
        let said = run_with(&world, &author, &["create"], object).unwrap_err();
        assert!(said.contains("Forbidden") || said.contains("forbidden"), "{}: {said}", object["kind"]);
    }
    let system = format!("--namespace={}", world.system);
    let here = format!("--namespace={}", world.apps);
    let merge = "--type=merge";
    for arguments in [
        &["get", "unsealrequests", &system][..],
        &["get", "unsealrequests", &here],
        &["get", "keyrings"],
        &[
            "patch",
            "keyring",
            "prod",
            merge,
            "-p",
            r#"{"metadata":{"annotations":{"touchseal.dev/seal-requested":"x"}}}"#,
        ],
        &["delete", "keyring", "prod"],
        &["get", "configmaps", &system],
        &["delete", "configmap", "touchseal-pin-prod", &system],
        &["get", "secrets", &system],
        &["create", "token", "touchseal-operator", &system],
        &[
            "patch",
            "encryptedsecret",
            "app",
            &here,
            "--subresource=status",
            merge,
            "-p",
            r#"{"status":{"secretGeneration":7}}"#,
        ],
    ] {
        let output = world.cluster.kubectl_as(&author, arguments).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("orbidden"), "{arguments:?}: {said}");
    }
}

/// Runs kubectl as somebody else with one object; what it said where it failed.
fn run_with(world: &World, kubeconfig: &Path, verb: &[&str], object: &Value) -> Result<(), String> {
    let file = world.cluster.dir().join(format!("{}.object.json", world.apps));
    std::fs::write(&file, object.to_string()).unwrap();
    let output =
        world.cluster.kubectl_as(kubeconfig, &[verb, &["-f", file.to_str().unwrap()]].concat()).unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
