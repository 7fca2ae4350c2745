//! The chart's policy for namespaces whose Secrets come from git alone, both ways: what it refuses, and what goes on.

use std::fs;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_rig::tools::Tool;
use touchseal_suites::chart::words;
use touchseal_suites::world::value;
use touchseal_suites::{Apps, DEADLINE};

/// A developer who has the role edit in the test's namespace.
struct Dave<'a> {
    apps: &'a Apps,
}

impl Dave<'_> {
    fn says(&self, arguments: &[&str]) -> Result<String, String> {
        let who = ["--as=dave", "--as-group=developers"];
        self.apps.cluster.kubectl_stdout(&[arguments, &who].concat()).map_err(|error| error.to_string())
    }

    fn make(&self, namespace: &str, name: &str, annotations: &Value) -> Result<String, String> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "annotations": annotations },
            "stringData": { "password": "by hand" },
        });
        let file = self.apps.cluster.dir().join("by-hand.json");
        fs::write(&file, secret.to_string()).unwrap();
        self.says(&["create", "-n", namespace, "-f", file.to_str().unwrap()])
    }

    fn patch(&self, name: &str, patch: &Value) -> Result<String, String> {
        self.says(&["patch", "secret", name, "-n", &self.apps.apps, "--type=merge", "-p", &patch.to_string()])
    }

    fn is_refused(&self, said: Result<String, String>, words: &str) {
        let said = said.unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}

/// A world with the policy in force in the test's namespace, and Dave. Further values of the chart with `settings`.
fn protected(test: &str, settings: &[&str]) -> Apps {
    let apps = Apps::new(test);
    let policy = ["admission.secrets.enabled=true", "admission.secrets.onlyEncrypted=true"];
    apps.upgrade(&[&policy[..], settings].concat());
    let bind = ["create", "rolebinding", "dave", "--clusterrole=edit", "--user=dave", "-n", &apps.apps];
    apps.cluster.kubectl_stdout(&bind).unwrap();
    let dave = Dave { apps: &apps };
    // What was there before is nobody's but its owner's.
    eventually(DEADLINE, "Dave to have his rights", || dave.make(&apps.apps, "older", &json!({}))).unwrap();
    apps.cluster
        .kubectl_stdout(&["label", "namespace", &apps.apps, "touchseal.dev/secrets=protected"])
        .unwrap();
    eventually(DEADLINE, "the policy to be enforced", || {
        match dave.make(&apps.apps, "by-hand", &json!({})) {
            Err(said) if said.contains("come from EncryptedSecrets") => Ok(()),
            Err(said) => Err(said),
            Ok(_) => {
                apps.cluster.kubectl_stdout(&["delete", "secret", "by-hand", "-n", &apps.apps]).unwrap();
                Err("it was made".to_owned())
            }
        }
    })
    .unwrap();
    apps
}

const OURS: &str = "is Touchseal's; change its EncryptedSecret";
const BY_HAND: &str = "come from EncryptedSecrets";

#[test]
fn in_a_protected_namespace_secrets_come_from_git_alone() {
    // Else whoever has edit writes EncryptedSecrets, too, past git: recipients are public.
    let apps = protected("admission", &["roles.aggregate=false"]);
    let dave = Dave { apps: &apps };
    let esec = ["auth", "can-i", "create", "encryptedsecrets", "-n", &apps.apps];
    eventually(DEADLINE, "Dave to write no EncryptedSecret", || match dave.says(&esec) {
        Ok(said) => Err(said),
        Err(_) => Ok(()),
    })
    .unwrap();
    let document = apps.encrypt("app.yaml", "password: past git\n");
    let past_git = json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
        "metadata": { "name": "past-git" }, "spec": { "documents": [{ "sops": document }] } });
    let file = apps.cluster.dir().join("past-git.json");
    fs::write(&file, past_git.to_string()).unwrap();
    dave.is_refused(dave.says(&["create", "-n", &apps.apps, "-f", file.to_str().unwrap()]), "cannot create");

    // The operator's work goes on: made, rotated, put back.
    apps.apply_yaml("app", "password: first\n");
    apps.wait_for("app", "True", "Materialised");
    apps.apply_yaml("app", "password: second\n");
    eventually(DEADLINE, "the rotation", || {
        value(&apps.secret("app").unwrap(), "password").unwrap() == b"second"
    })
    .unwrap();

    dave.is_refused(dave.patch("app", &json!({ "stringData": { "password": "by hand" } })), OURS);
    let without = json!({ "touchseal.dev/encrypted-secret": null });
    dave.is_refused(dave.patch("app", &json!({ "metadata": { "annotations": without } })), OURS);
    dave.is_refused(dave.patch("app", &json!({ "metadata": { "ownerReferences": null } })), OURS);
    dave.is_refused(dave.says(&["delete", "secret", "app", "-n", &apps.apps]), OURS);
    let planted = json!({ "touchseal.dev/encrypted-secret": "app" });
    dave.is_refused(dave.make(&apps.apps, "planted", &planted), "only Touchseal says");
    dave.is_refused(dave.patch("older", &json!({ "stringData": { "password": "by hand, again" } })), BY_HAND);
    dave.is_refused(
        dave.patch("older", &json!({ "metadata": { "annotations": planted } })),
        "only Touchseal says",
    );

    // An older one is handed over by its owner's consent, and deleted by whom it belongs to.
    apps.apply_yaml("older", "password: from git\n");
    apps.wait_for("older", "False", "Conflict");
    dave.says(&["annotate", "secret", "older", "touchseal.dev/adopt=older", "-n", &apps.apps]).unwrap();
    apps.wait_for("older", "True", "Materialised");
    assert_eq!(value(&apps.secret("older").unwrap(), "password").unwrap(), b"from git");

    // What the cluster does by itself goes on, and so does what no label asked for.
    apps.kubectl(&["delete", "encryptedsecret", "app"]);
    eventually(DEADLINE, "the garbage to be collected", || apps.secret("app").is_none()).unwrap();
    let open = format!("{}-open", apps.apps);
    apps.cluster.namespace(&open).unwrap();
    let bind = ["create", "rolebinding", "dave", "--clusterrole=edit", "--user=dave", "-n", &open];
    apps.cluster.kubectl_stdout(&bind).unwrap();
    eventually(DEADLINE, "Dave to make one elsewhere", || dave.make(&open, "by-hand", &json!({}))).unwrap();
    // An administrator's emergency is not stopped.
    apps.cluster.kubectl_stdout(&["delete", "secret", "older", "-n", &apps.apps]).unwrap();
}

/// A chart of an application, as a developer has it.
fn chart_of_an_application(apps: &Apps, text: &str) -> String {
    let chart = apps.cluster.dir().join("their-chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: web\nversion: 1.0.0\n").unwrap();
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "web" }, "data": { "text": text } });
    fs::write(chart.join("templates/web.yaml"), map.to_string()).unwrap();
    chart.display().to_string()
}

/// What other programs keep in Secrets they still keep there; nobody makes anything else pass for it.
#[test]
fn releases_of_helm_and_tokens_pass_and_what_only_looks_like_them_does_not() {
    let apps = protected("admission-types", &[]);
    let dave = Dave { apps: &apps };
    let helm = |arguments: &[&str]| {
        let mut command = Tool::Helm.command().unwrap();
        command.arg("--kubeconfig").arg(apps.cluster.admin_kubeconfig());
        command.args(["--kube-as-user=dave", "--kube-as-group=developers", "-n", &apps.apps]);
        let said = command.args(arguments).output().unwrap();
        assert!(said.status.success(), "helm {arguments:?}: {}", words(&said));
    };
    helm(&["install", "web", &chart_of_an_application(&apps, "first")]);
    helm(&["upgrade", "web", &chart_of_an_application(&apps, "second"), "--history-max=1"]);
    helm(&["uninstall", "web"]);
    let account = json!({ "kubernetes.io/service-account.name": "default" });
    let token = |name: &str, data: Value| {
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": { "name": name, "annotations": account }, "stringData": data })
    };
    let create = |object: &Value| {
        let file = apps.cluster.dir().join("typed.json");
        fs::write(&file, object.to_string()).unwrap();
        dave.says(&["create", "-n", &apps.apps, "-f", file.to_str().unwrap()])
    };
    create(&token("minted", json!({}))).unwrap();
    apps.wait_for_secret("minted", "the cluster's token", |secret| value(secret, "token").is_some());
    dave.says(&["delete", "secret", "minted", "-n", &apps.apps]).unwrap();

    dave.is_refused(create(&token("smuggled", json!({ "password": "x" }))), BY_HAND);
    let typed = |name: &str, literal: &str| {
        let literal = format!("--from-literal={literal}");
        let kind = "--type=helm.sh/release.v1";
        dave.says(&["create", "secret", "generic", name, kind, &literal, "-n", &apps.apps])
    };
    dave.is_refused(typed("db", "password=x"), BY_HAND);
    dave.is_refused(typed("db", "release=x"), BY_HAND);
    dave.is_refused(typed("sh.helm.release.v1.db.v1", "password=x"), BY_HAND);
    // One that is there is not filled with something else, either.
    typed("sh.helm.release.v1.db.v1", "release=x").unwrap();
    let more = json!({ "stringData": { "password": "x" } });
    dave.is_refused(dave.patch("sh.helm.release.v1.db.v1", &more), BY_HAND);
}

/// What stays after its EncryptedSecret is somebody's again.
#[test]
fn what_an_encrypted_secret_leaves_behind_is_not_locked_for_good() {
    let apps = protected("admission-left", &[]);
    let dave = Dave { apps: &apps };
    let document = apps.encrypt("app.yaml", "password: first\n");
    for name in ["kept", "handed-back"] {
        let spec = json!({ "documents": [{ "sops": document }], "deletionPolicy": "Retain" });
        apps.apply_secret(name, spec);
        apps.wait_for(name, "True", "Materialised");
        // It has no owner; it is not changed by hand all the same.
        let by_hand = json!({ "stringData": { "password": "by hand" } });
        dave.is_refused(dave.patch(name, &by_hand), "take the annotation");
        apps.kubectl(&["delete", "encryptedsecret", name]);
        dave.is_refused(dave.patch(name, &by_hand), "take the annotation");
        let another = json!({ "metadata": { "annotations": { "touchseal.dev/encrypted-secret": "other" } } });
        dave.is_refused(dave.patch(name, &another), "only Touchseal says");
    }
    let without = json!({ "metadata": { "annotations": { "touchseal.dev/encrypted-secret": null } } });
    dave.patch("handed-back", &without).unwrap();
    dave.says(&["label", "secret", "handed-back", "team=web", "-n", &apps.apps]).unwrap();
    assert_eq!(value(&apps.secret("handed-back").unwrap(), "password").unwrap(), b"first");
    dave.says(&["delete", "secret", "kept", "-n", &apps.apps]).unwrap();
}
