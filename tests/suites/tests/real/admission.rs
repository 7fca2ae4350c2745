//! The chart's policy for namespaces whose Secrets come from git alone, both ways: what it refuses, and what goes on.

use std::fs;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::world::value;
use touchseal_suites::{Apps, DEADLINE};

/// A developer who has the role edit in the test's namespace and in one that the policy does not select.
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

#[test]
fn in_a_protected_namespace_secrets_come_from_git_alone() {
    let apps = Apps::new("admission");
    let open = format!("{}-open", apps.apps);
    apps.cluster.namespace(&open).unwrap();
    apps.upgrade(&["admission.secrets.enabled=true", "admission.secrets.onlyEncrypted=true"]);
    for namespace in [&apps.apps, &open] {
        let bind = ["create", "rolebinding", "dave", "--clusterrole=edit", "--user=dave", "-n", namespace];
        apps.cluster.kubectl_stdout(&bind).unwrap();
    }
    // What was there before is nobody's but its owner's.
    let dave = Dave { apps: &apps };
    dave.make(&apps.apps, "older", &json!({})).unwrap();
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

    // The operator's work goes on: made, rotated, put back.
    apps.apply_yaml("app", "password: first\n");
    apps.wait_for("app", "True", "Materialised");
    apps.apply_yaml("app", "password: second\n");
    eventually(DEADLINE, "the rotation", || {
        value(&apps.secret("app").unwrap(), "password").unwrap() == b"second"
    })
    .unwrap();

    let ours = "is Touchseal's; change its EncryptedSecret";
    dave.is_refused(dave.patch("app", &json!({ "stringData": { "password": "by hand" } })), ours);
    dave.is_refused(
        dave.patch(
            "app",
            &json!({ "metadata": { "annotations": { "touchseal.dev/encrypted-secret": null } } }),
        ),
        ours,
    );
    dave.is_refused(dave.says(&["delete", "secret", "app", "-n", &apps.apps]), ours);
    let planted = json!({ "touchseal.dev/encrypted-secret": "app" });
    dave.is_refused(dave.make(&apps.apps, "planted", &planted), "only Touchseal says");
    dave.is_refused(
        dave.patch("older", &json!({ "stringData": { "password": "by hand, again" } })),
        "come from EncryptedSecrets",
    );

    // An older one is handed over by its owner's consent, and deleted by whom it belongs to.
    apps.apply_yaml("older", "password: from git\n");
    apps.wait_for("older", "False", "Conflict");
    dave.says(&["annotate", "secret", "older", "touchseal.dev/adopt=older", "-n", &apps.apps]).unwrap();
    apps.wait_for("older", "True", "Materialised");
    assert_eq!(value(&apps.secret("older").unwrap(), "password").unwrap(), b"from git");

    // What the cluster does by itself goes on, and so does what no label asked for.
    dave.says(&["delete", "encryptedsecret", "app", "-n", &apps.apps]).unwrap();
    eventually(DEADLINE, "the garbage to be collected", || apps.secret("app").is_none()).unwrap();
    dave.make(&open, "by-hand", &json!({})).unwrap();
    // An administrator's emergency is not stopped.
    apps.cluster.kubectl_stdout(&["delete", "secret", "older", "-n", &apps.apps]).unwrap();
}
