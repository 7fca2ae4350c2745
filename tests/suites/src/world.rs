//! A cluster with Touchseal installed as it is shipped, for one test alone, and what tests do in it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use touchseal_crds::keyring::KeyringSpec;
use touchseal_crds::names::SEAL_ANNOTATION;
use touchseal_keyring::{Offer, OpenKeyring, seal_release};
use touchseal_rig::cluster::{self, ClusterError, Lease, Options, StandInPod};
use touchseal_rig::poll::eventually;

use crate::{DEADLINE, Operator, Sops, chart};

/// One test's world. Operators end before the cluster is handed on.
pub struct World {
    /// sops.
    pub sops: Sops,
    /// Namespace of the operator.
    pub system: String,
    /// A namespace for the test's applications.
    pub apps: String,
    operators: u32,
    /// The cluster.
    pub cluster: Lease<'static>,
}

impl World {
    /// A world named after its test.
    pub fn new(test: &str) -> World {
        World::bare(test).installed()
    }

    /// A world in a cluster of its own, which ends with it.
    pub fn alone(test: &str) -> World {
        World::alone_with(test, Options::default())
    }

    /// The same of a cluster with options.
    pub fn alone_with(test: &str, options: Options) -> World {
        let cluster = cluster::fresh(options).unwrap();
        World::on(cluster, &format!("{test}-system"), &format!("{test}-apps"))
    }

    /// A world as documentation has it: Touchseal in `touchseal-system`, applications in `shop`.
    pub fn documented() -> World {
        World::named("touchseal-system", "shop").installed()
    }

    /// A cluster that has nothing of Touchseal, for a reader who installs it and makes the namespaces of documentation.
    pub fn untouched() -> World {
        let world = World::nowhere("touchseal-system", "shop");
        let definitions = touchseal_crds::all().into_iter().filter_map(|(_, crd)| crd.metadata.name);
        let definitions: Vec<String> = definitions.map(|name| format!("crd/{name}")).collect();
        let mut left: Vec<&str> = definitions.iter().map(String::as_str).collect();
        let priority = format!("priorityclass/touchseal-priority.{}", world.system);
        left.push(&priority);
        world.cluster.kubectl_stdout(&[&["delete", "--ignore-not-found"], &left[..]].concat()).unwrap();
        for namespace in [&world.system, &world.apps] {
            eventually(DEADLINE, &format!("the end of an older namespace {namespace}"), || {
                let look = ["get", "namespace", namespace, "--ignore-not-found", "-o=name"];
                world.cluster.kubectl_stdout(&look).is_ok_and(|left| left.is_empty())
            })
            .unwrap();
        }
        world
    }

    /// A world named after its test with its namespaces and nothing installed.
    pub fn bare(test: &str) -> World {
        World::named(&format!("{test}-system"), &format!("{test}-apps"))
    }

    /// A world on this cluster.
    pub fn on(cluster: Lease<'static>, system: &str, apps: &str) -> World {
        World::at(cluster, system, apps).with_namespaces().installed()
    }

    fn nowhere(system: &str, apps: &str) -> World {
        World::at(cluster::lease().unwrap(), system, apps)
    }

    fn at(cluster: Lease<'static>, system: &str, apps: &str) -> World {
        World { sops: Sops::new(), system: system.to_owned(), apps: apps.to_owned(), operators: 0, cluster }
    }

    fn named(system: &str, apps: &str) -> World {
        World::nowhere(system, apps).with_namespaces()
    }

    fn with_namespaces(self) -> World {
        self.cluster.namespace(&self.system).unwrap();
        self.cluster.namespace(&self.apps).unwrap();
        self
    }

    /// The same with the chart.
    fn installed(self) -> World {
        self.upgrade(&[]);
        self.wait_until_installed();
        self
    }

    /// Until the kinds are served, and the policies in force.
    pub fn wait_until_installed(&self) {
        self.cluster
            .kubectl_stdout(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])
            .unwrap();
        self.wait_for_admission();
    }

    /// Applies the chart with these `--set` values; no Deployment, for no node runs here, and no PriorityClass, which
    /// would stay.
    pub fn upgrade(&self, settings: &[&str]) {
        self.upgrade_where(settings, |_| true);
    }

    /// The same with some of its objects only, for instance those of namespaces that are there.
    pub fn upgrade_where(&self, settings: &[&str], wanted: impl Fn(&Value) -> bool) {
        let settings = [&["priorityClass.create=false"], settings].concat();
        let mut objects = chart::render(&self.system, &settings);
        objects.retain(|object| object["kind"] != "Deployment" && wanted(object));
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        self.cluster.apply(&list.to_string()).unwrap();
    }

    /// Name of the operator's ClusterRole.
    pub fn cluster_role(&self) -> String {
        format!("touchseal-operator.{}", self.system)
    }

    /// The API server takes a moment to enforce a new policy: until then a forbidden write, made as the operator, passes.
    fn wait_for_admission(&self) {
        let kubeconfig =
            self.cluster.kubeconfig_for_service_account(&self.system, "touchseal-operator", None).unwrap();
        let foreign = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "policy-probe", "namespace": self.system } });
        eventually(DEADLINE, "the admission policy to be enforced", || {
            let file = self.cluster.dir().join("policy-probe.json");
            fs::write(&file, foreign.to_string()).unwrap();
            let output = self
                .cluster
                .kubectl_as(
                    &kubeconfig,
                    &["apply", "--server-side", "--dry-run=server", "-f", file.to_str().unwrap()],
                )
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if !output.status.success() && said.contains("touchseal-operator-own-secrets") {
                Ok(())
            } else {
                Err(said)
            }
        })
        .unwrap();
    }

    /// A kubeconfig for the operator as this pod.
    pub fn kubeconfig_of(&self, pod: &StandInPod) -> PathBuf {
        let (system, account) = (&self.system, "touchseal-operator");
        self.cluster.kubeconfig_for_service_account(system, account, Some(pod)).unwrap()
    }

    /// Starts an operator in a pod of its own.
    pub fn operator(&mut self) -> Operator {
        self.operator_with(&[])
    }

    /// The same with more flags.
    pub fn operator_with(&mut self, flags: &[&str]) -> Operator {
        self.operators += 1;
        Operator::start_with(&self.cluster, &self.system, &format!("operator-{}", self.operators), flags)
    }

    /// Applies a Keyring manifest.
    pub fn apply_keyring(&self, name: &str, spec: &KeyringSpec) {
        let manifest = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "Keyring",
            "metadata": { "name": name }, "spec": spec,
        });
        self.cluster.apply(&manifest.to_string()).unwrap();
    }

    /// The requests that wait, complete with their proofs.
    pub fn requests(&self, count: usize) -> Vec<Value> {
        eventually(DEADLINE, &format!("{count} requests with proofs"), || {
            let list = self.cluster.get(&["unsealrequests", "-n", &self.system]).unwrap();
            let waiting: Vec<Value> = list["items"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|r| r["status"]["proof"].is_string() && r["spec"]["release"].is_null())
                .cloned()
                .collect();
            if waiting.len() == count { Ok(waiting) } else { Err(format!("{} requests", waiting.len())) }
        })
        .unwrap()
    }

    /// Answers a request without a card: the release is made by the library, as the command line makes it.
    pub fn release(&self, request: &Value, keyring: &OpenKeyring, holder: &str, serial: u32) {
        self.try_release(request, keyring, holder, serial).unwrap();
    }

    pub(crate) fn try_release(
        &self,
        request: &Value,
        keyring: &OpenKeyring,
        holder: &str,
        serial: u32,
    ) -> Result<(), ClusterError> {
        let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).unwrap();
        let offer = Offer::parse(text("/status/sessionKey"), text("/status/nonce")).unwrap();
        let release = seal_release(keyring, &offer, holder, serial).unwrap();
        self.try_patch(text("/metadata/name"), &json!({ "spec": { "release": release } }), &[])
    }

    /// Writes any release into a request.
    pub fn write_release(&self, request: &str, release: &Value) {
        self.patch_request(request, &json!({ "spec": { "release": release } }), &[]);
    }

    /// Writes into the status of a request, as only an operator may.
    pub fn write_request_status(&self, request: &str, status: &Value) {
        self.patch_request(request, &json!({ "status": status }), &["--subresource=status"]);
    }

    fn patch_request(&self, request: &str, patch: &Value, more: &[&str]) {
        self.try_patch(request, patch, more).unwrap();
    }

    fn try_patch(&self, request: &str, patch: &Value, more: &[&str]) -> Result<(), ClusterError> {
        let patch = patch.to_string();
        let arguments = ["patch", "unsealrequest", request, "-n", &self.system, "--type=merge", "-p", &patch];
        self.cluster.kubectl_stdout(&[&arguments[..], more].concat()).map(drop)
    }

    /// Unseals every waiting replica without a card and waits until each has said so.
    pub fn unseal(&self, name: &str, keyring: &OpenKeyring, replicas: usize) {
        for request in self.requests(replicas) {
            let written = self.try_release(&request, keyring, "alice", 1);
            // The first that was unsealed may have handed the keyring over to this one already.
            let name = request["metadata"]["name"].as_str().unwrap();
            let gone = || {
                let look =
                    ["get", "unsealrequest", name, "-n", &self.system, "--ignore-not-found", "-o=name"];
                self.cluster.kubectl_stdout(&look).unwrap().is_empty()
            };
            assert!(written.is_ok() || gone(), "{written:?}");
        }
        self.wait_for_replicas(name, replicas);
    }

    /// Waits until so many replicas report the keyring unsealed.
    pub fn wait_for_replicas(&self, keyring: &str, unsealed: usize) {
        eventually(DEADLINE, &format!("{unsealed} unsealed replicas"), || {
            let object = self.cluster.get(&["keyring", keyring]).unwrap();
            let count = object["status"]["unsealedReplicas"].as_u64();
            if count == Some(unsealed as u64) { Ok(()) } else { Err(object["status"].to_string()) }
        })
        .unwrap();
    }

    /// Asks every replica to drop its keys and waits until none is unsealed.
    pub fn seal(&self, keyring: &str, marker: &str) {
        let annotation = format!("{SEAL_ANNOTATION}={marker}");
        self.cluster.kubectl_stdout(&["annotate", "--overwrite", "keyring", keyring, &annotation]).unwrap();
        self.wait_for_replicas(keyring, 0);
    }

    /// The recipient the operator published for a namespace.
    pub fn recipient(&self, namespace: &str, keyring: &str) -> String {
        eventually(DEADLINE, "a published recipient", || {
            let list = self.cluster.get(&["recipients", "-n", namespace, "--ignore-not-found"]).ok()?;
            list["items"].as_array()?.iter().find(|r| r["metadata"]["name"] == keyring)?["spec"]["recipient"]
                .as_str()
                .map(str::to_owned)
        })
        .unwrap()
    }

    /// Applies an EncryptedSecret with this spec in the test's namespace.
    pub fn apply_secret(&self, name: &str, spec: Value) {
        let manifest = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
            "metadata": { "name": name, "namespace": self.apps }, "spec": spec,
        });
        self.cluster.apply(&manifest.to_string()).unwrap();
    }

    /// The EncryptedSecret as it is.
    pub fn encrypted_secret(&self, name: &str) -> Value {
        self.cluster.get(&["encryptedsecret", name, "-n", &self.apps]).unwrap()
    }

    /// Waits until Ready has this status and reason for the present generation; returns the object.
    pub fn wait_for(&self, name: &str, status: &str, reason: &str) -> Value {
        eventually(DEADLINE, &format!("EncryptedSecret {name}: Ready={status} {reason}"), || {
            let object = self.encrypted_secret(name);
            let ready = condition(&object, "Ready");
            let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            if current && ready["status"] == status && ready["reason"] == reason {
                Ok(object)
            } else {
                Err(object["status"].to_string())
            }
        })
        .unwrap()
    }

    /// Waits for a secret generation.
    pub fn wait_for_generation(&self, name: &str, generation: i64) -> Value {
        eventually(DEADLINE, &format!("EncryptedSecret {name}: generation {generation}"), || {
            let object = self.encrypted_secret(name);
            if object["status"]["secretGeneration"] == generation {
                Ok(object)
            } else {
                Err(object["status"].to_string())
            }
        })
        .unwrap()
    }

    /// A Secret of the test's namespace, if it exists.
    pub fn secret(&self, name: &str) -> Option<Value> {
        let list = self.cluster.get(&["secrets", "-n", &self.apps]).unwrap();
        list["items"].as_array().unwrap().iter().find(|s| s["metadata"]["name"] == name).cloned()
    }
}

/// One value of a Secret, decoded.
pub fn value(secret: &Value, key: &str) -> Option<Vec<u8>> {
    let text = secret["data"][key].as_str()?;
    Some(k8s_base64(text))
}

/// A condition by its type.
pub fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|c| c["type"] == type_)
        .unwrap_or(&Value::Null)
}

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn k8s_base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}
