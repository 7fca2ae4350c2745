//! The two operators of SopsSecrets. No package registry has their programs, so a test runs them where they are on the PATH (their
//! definitions beside them, as `PROGRAM.crds.yaml`). Elsewhere [`SopsSecrets`] leaves in the cluster what they were seen to leave, and
//! refuses what they refuse.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use touchseal_rig::cluster::Cluster;
use touchseal_rig::poll::eventually;
use touchseal_rig::process;

use super::{Neighbour, on_path, start};
use crate::DEADLINE;
use crate::cli::Laptop;

/// What tells one from the other.
pub struct Whose {
    program: &'static str,
    group: &'static str,
    version: &'static str,
    /// Its list of Secrets.
    list: &'static str,
    /// Whether its owner reference says that it controls the Secret.
    controls: bool,
    /// Whether it takes a Secret that is there and is not its own.
    takes: fn(&Value) -> bool,
    /// Label of Secrets in which it looks for keys, if it does.
    keys: Option<&'static str>,
}

/// isindir/sops-secrets-operator
pub const ISINDIR: Whose = Whose {
    program: "sops-secrets-operator",
    group: "isindir.github.com",
    version: "v1alpha3",
    list: "secretTemplates",
    controls: true,
    takes: |secret| secret["metadata"]["annotations"]["sopssecret/managed"] == "true",
    keys: None,
};

/// peak-scale/sops-operator
pub const PEAK: Whose = Whose {
    program: "sops-operator",
    group: "addons.projectcapsule.dev",
    version: "v1alpha1",
    list: "secrets",
    controls: false,
    takes: |_| false,
    keys: Some("sops.addons.projectcapsule.dev"),
};

/// One of them, in a cluster, for the files at a laptop.
pub struct SopsSecrets<'t> {
    whose: Whose,
    cluster: &'t Cluster,
    laptop: &'t Laptop,
    namespace: &'t str,
    keys: PathBuf,
    real: Option<Neighbour>,
}

impl<'t> SopsSecrets<'t> {
    /// Defines its kinds and starts it. `keys` is where age keys are to be at the laptop before it serves anything.
    pub fn start(
        whose: Whose,
        cluster: &'t Cluster,
        laptop: &'t Laptop,
        namespace: &'t str,
        keys: &str,
    ) -> Self {
        let keys = laptop.folder().join(keys);
        let mut operator = SopsSecrets { whose, cluster, laptop, namespace, keys, real: None };
        match on_path(operator.whose.program) {
            Some(program) => {
                let definitions = program.with_extension("crds.yaml");
                super::definitions(cluster, &definitions, operator.whose.group);
                operator.real = Some(operator.run(&program));
            }
            None => operator.define(),
        }
        operator
    }

    fn run(&self, program: &Path) -> Neighbour {
        let mut command = process::command(program);
        command
            .args(["--metrics-bind-address=0", "--health-probe-bind-address=0", "--leader-elect=false"])
            .env("KUBECONFIG", self.cluster.admin_kubeconfig())
            .env("SOPS_AGE_KEY_FILE", &self.keys);
        Neighbour { _process: start(self.cluster, self.whose.program, command), _ports: Vec::new() }
    }

    /// Its keys, if it finds them in the cluster: those that are there may open everything.
    fn give_keys(&self) {
        let Some(label) = self.whose.keys else { return };
        let keys = json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "keys", "namespace": self.namespace, "labels": { label: "true" } },
            "stringData": { "keys.agekey": fs::read_to_string(&self.keys).unwrap() } });
        let all = json!([{ "matchLabels": {} }]);
        let provider = json!({ "apiVersion": format!("{}/{}", self.whose.group, self.whose.version),
            "kind": "SopsProvider", "metadata": { "name": "all" }, "spec": { "keys": all, "sops": all } });
        for object in [keys, provider] {
            self.cluster.apply(&object.to_string()).unwrap();
        }
    }

    /// The kind alone, of any content.
    fn define(&self) {
        let Whose { group, version, .. } = self.whose;
        let any = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("sopssecrets.{group}") },
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": { "kind": "SopsSecret", "plural": "sopssecrets", "singular": "sopssecret" },
                "versions": [{ "name": version, "served": true, "storage": true, "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": any } }] } });
        super::define(self.cluster, &definition.to_string(), group, 1);
    }

    /// Waits until what the file of an object asks for is there: Secrets of these values, owned by the object.
    pub fn serves(&self, object: &str, file: &str) {
        let plain = super::values(self.laptop, &self.keys, file);
        let owner = self.owner(object);
        if self.real.is_some() {
            self.give_keys();
        }
        for item in plain["spec"][self.whose.list].as_array().unwrap() {
            let name = item["name"].as_str().unwrap();
            if self.real.is_none() {
                self.make_or_take(item, &owner);
            }
            eventually(DEADLINE, &format!("Secret {name} of SopsSecret {object}"), || {
                let secret = self.secret(name).ok_or("there is none")?;
                let served = owned(&secret, &owner) && secret["data"] == values(item);
                if served { Ok(()) } else { Err(secret["metadata"].to_string()) }
            })
            .unwrap();
        }
    }

    /// It leaves a suspended object alone, and says so.
    pub fn suspends(&self, object: &str) {
        if self.real.is_some() {
            return;
        }
        let said = json!({ "status": { "message": "Reconciliation is suspended" } }).to_string();
        let kind = format!("sopssecrets.{}", self.whose.group);
        self.cluster
            .kubectl_stdout(&[
                "patch",
                &kind,
                object,
                "-n",
                self.namespace,
                "--subresource=status",
                "--type=merge",
                "-p",
                &said,
            ])
            .unwrap();
    }

    fn owner(&self, object: &str) -> Value {
        let Whose { group, version, controls, .. } = self.whose;
        let kind = format!("sopssecrets.{group}");
        let found = self.cluster.get(&[&kind, object, "-n", self.namespace]).unwrap();
        let mut owner = json!({ "apiVersion": format!("{group}/{version}"), "kind": "SopsSecret", "name": object,
            "uid": found["metadata"]["uid"] });
        if controls {
            owner["controller"] = true.into();
            owner["blockOwnerDeletion"] = true.into();
        }
        owner
    }

    fn secret(&self, name: &str) -> Option<Value> {
        let look = ["get", "secret", name, "-n", self.namespace, "--ignore-not-found", "-o=json"];
        let text = self.cluster.kubectl_stdout(&look).unwrap();
        (!text.is_empty()).then(|| serde_json::from_str(&text).unwrap())
    }

    fn make_or_take(&self, item: &Value, owner: &Value) {
        let name = item["name"].as_str().unwrap();
        let Some(present) = self.secret(name) else {
            let metadata = json!({ "name": name, "namespace": self.namespace, "labels": item["labels"],
                "annotations": item["annotations"], "ownerReferences": [owner] });
            let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": item["type"],
                "data": item["data"], "stringData": item["stringData"] });
            self.cluster.create(&secret).unwrap();
            return;
        };
        if owned(&present, owner) {
            return;
        }
        assert!((self.whose.takes)(&present), "{} would not take {name}: {present}", self.whose.program);
        let patch = json!({ "metadata": { "ownerReferences": [owner] } }).to_string();
        let patch = ["patch", "secret", name, "-n", self.namespace, "--type=merge", "-p", &patch];
        self.cluster.kubectl_stdout(&patch).unwrap();
    }
}

fn owned(secret: &Value, owner: &Value) -> bool {
    let owners = secret["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|owners| owners.iter().any(|other| other["uid"] == owner["uid"]))
}

/// The data of the Secret that is asked for.
fn values(item: &Value) -> Value {
    let all = |field: &str| item[field].as_object().cloned().unwrap_or_default();
    let mut data = all("data");
    for (key, text) in all("stringData") {
        data.insert(key, STANDARD.encode(text.as_str().unwrap()).into());
    }
    data.into()
}
