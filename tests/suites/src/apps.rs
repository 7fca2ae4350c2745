//! A world in which an operator serves one keyring: what most tests of EncryptedSecrets start from.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Deref, DerefMut};

use serde_json::{Value, json};
use touchseal_keyring::OpenKeyring;
use touchseal_rig::faults::FaultyServer;
use touchseal_rig::poll::eventually;

use crate::{DEADLINE, Operator, SoftHolder, World};

/// Name of the keyring.
pub const KEYRING: &str = "prod";

/// A world with an unsealed operator.
pub struct Apps {
    /// The operator.
    pub operator: Operator,
    /// Its keyring, opened.
    pub keyring: OpenKeyring,
    /// Recipient of the namespace of the test's applications.
    pub recipient: String,
    /// The world.
    pub world: World,
}

impl Deref for Apps {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Apps {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

/// One write of the operator, as the API server's audit log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// create, update, patch or delete.
    pub verb: String,
    /// Resource, with its subresource.
    pub resource: String,
    /// Name of the object.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u64,
}

impl Apps {
    /// A world named after its test, with an unsealed operator.
    pub fn new(test: &str) -> Apps {
        Apps::with(test, &[])
    }

    /// The same, the operator with more flags.
    pub fn with(test: &str, flags: &[&str]) -> Apps {
        let mut world = World::new(test);
        let (spec, keyring) = SoftHolder::generate("alice", 1).create_keyring();
        world.apply_keyring(KEYRING, &spec);
        let operator = world.operator_with(flags);
        world.unseal(KEYRING, &keyring, 1);
        let recipient = keyring.recipient_spec(&world.apps).unwrap().recipient;
        Apps { operator, keyring, recipient, world }
    }

    /// Ends the operator and starts it again as the same pod, sealed, as kubelet restarts a container.
    pub fn restart_operator(&mut self) {
        self.operator.process.kill();
        let pod = self.operator.pod.clone();
        let flags = std::mem::take(&mut self.operator.flags);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.operator = Operator::start_as_with(&self.world.cluster, &self.world.system, pod, &flags);
    }

    /// The same, and through a proxy of the API server's, which can let time pass for it.
    pub fn restart_operator_behind_a_proxy(&mut self) -> FaultyServer {
        self.operator.process.kill();
        let (cluster, pod) = (&self.world.cluster, self.operator.pod.clone());
        let account = "touchseal-operator";
        let kubeconfig =
            cluster.kubeconfig_for_service_account(&self.world.system, account, Some(&pod)).unwrap();
        let server = FaultyServer::start(&kubeconfig, cluster.dir(), &self.world.system).unwrap();
        self.operator = Operator::start_through(cluster, &self.world.system, pod, server.kubeconfig(), &[]);
        server
    }

    /// Answers the request that the operator's present process makes.
    pub fn unseal_again(&self) {
        self.world.unseal(KEYRING, &self.keyring, 1);
    }

    /// A document, encrypted by sops to the recipient of the test's namespace.
    pub fn encrypt(&self, name: &str, plaintext: &str) -> String {
        self.sops.encrypt(name, plaintext, &self.recipient)
    }

    /// Applies an EncryptedSecret of one YAML document, flat.
    pub fn apply_yaml(&self, name: &str, plaintext: &str) {
        let document = self.encrypt("app.yaml", plaintext);
        self.apply_secret(name, json!({ "documents": [{ "sops": document }] }));
    }

    /// The same, and waits until it is served.
    pub fn serve_yaml(&self, name: &str, plaintext: &str) -> Value {
        self.apply_yaml(name, plaintext);
        self.wait_for(name, "True", "Materialised")
    }

    /// kubectl in the namespace of the test's applications, as administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl_stdout(&[&["-n", self.apps.as_str()], arguments].concat()).unwrap()
    }

    /// What the API server says when it refuses kubectl.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.cluster.kubectl(&[&["-n", self.apps.as_str()], arguments].concat()).unwrap();
        assert!(!output.status.success(), "kubectl {arguments:?} was not refused");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// What the API server says when it refuses an EncryptedSecret.
    pub fn refused_secret(&self, name: &str, spec: Value) -> String {
        let manifest = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
            "metadata": { "name": name, "namespace": self.apps }, "spec": spec,
        });
        self.cluster.apply(&manifest.to_string()).expect_err("it was not refused").to_string()
    }

    /// A merge patch on any object of the test's namespace.
    pub fn merge(&self, object: &str, patch: &Value) {
        self.kubectl(&["patch", object, "--type=merge", "-p", &patch.to_string()]);
    }

    /// Applies a ConfigMap.
    pub fn apply_config_map(&self, name: &str, data: Value) {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": self.apps }, "data": data,
        });
        self.cluster.apply(&map.to_string()).unwrap();
    }

    /// Waits until a Secret is as `right` wants it.
    pub fn wait_for_secret(&self, name: &str, what: &str, right: impl Fn(&Value) -> bool) -> Value {
        eventually(DEADLINE, &format!("Secret {name}: {what}"), || match self.secret(name) {
            Some(secret) if right(&secret) => Ok(secret),
            other => Err(format!("{other:?}")),
        })
        .unwrap()
    }

    /// uid and resourceVersion of every object of these kinds in this test's namespaces, by kind, namespace and name.
    /// Namespaces of earlier tests may still be going, so no others are looked at.
    pub fn versions(&self, kinds: &str) -> BTreeMap<String, String> {
        let list = self.cluster.get(&[kinds, "-A"]).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        items
            .filter(|o| {
                let namespace = o["metadata"]["namespace"].as_str().unwrap_or_default();
                namespace == self.apps || namespace == self.system
            })
            .map(|o| {
                let meta = &o["metadata"];
                (
                    format!("{} {}/{}", o["kind"], meta["namespace"], meta["name"]),
                    format!("{} {}", meta["uid"], meta["resourceVersion"]),
                )
            })
            .collect()
    }

    /// Every write this world's operators made so far, but for the Lease, which the leader renews all the time.
    pub fn writes(&self) -> Vec<Write> {
        self.audited()
            .into_iter()
            .filter(|e| !matches!(e["verb"].as_str(), Some("get" | "list" | "watch")))
            .filter(|e| e["objectRef"]["resource"] != "leases")
            .map(|e| {
                let text =
                    |pointer: &str| e.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                let resource = [text("/objectRef/resource"), text("/objectRef/subresource")];
                Write {
                    verb: text("/verb"),
                    resource: resource.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/"),
                    name: text("/objectRef/name"),
                    code: e["responseStatus"]["code"].as_u64().unwrap_or_default(),
                }
            })
            .collect()
    }

    /// What one pod wrote for all replicas: Secrets, ConfigMaps, statuses of EncryptedSecrets, Recipients.
    pub fn shared_writes_of(&self, pod: &str) -> usize {
        let shared = ["secrets", "configmaps", "encryptedsecrets", "recipients"];
        let by_pod = |e: &Value| e["user"]["extra"]["authentication.kubernetes.io/pod-name"][0] == pod;
        let writes = |e: &Value| !matches!(e["verb"].as_str(), Some("get" | "list" | "watch"));
        let about = |e: &Value| shared.iter().any(|resource| e["objectRef"]["resource"] == *resource);
        self.audited().iter().filter(|e| by_pod(e) && writes(e) && about(e)).count()
    }

    /// How many requests of any kind this world's operators made so far about a resource.
    pub fn requests_about(&self, resource: &str) -> usize {
        self.audited().iter().filter(|e| e["objectRef"]["resource"] == resource).count()
    }

    /// What the API server's audit log has of this world's operators.
    pub fn audited(&self) -> Vec<Value> {
        let user = format!("system:serviceaccount:{}:touchseal-operator", self.system);
        let log = fs::read_to_string(self.cluster.audit_log()).unwrap();
        log.lines()
            .filter(|line| line.contains(&user))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|e| e["user"]["username"] == user.as_str())
            .collect()
    }

    /// Reasons of the Events about an EncryptedSecret, oldest first, each as often as it was told.
    pub fn events(&self, name: &str) -> Vec<String> {
        let selector = format!("involvedObject.name={name}");
        let list = self.cluster.get(&["events", "-n", &self.apps, "--field-selector", &selector]).unwrap();
        let mut events: Vec<Value> = list["items"].as_array().unwrap().clone();
        events.sort_by_key(|e| e["eventTime"].as_str().unwrap_or_default().to_owned());
        events
            .iter()
            .flat_map(|e| {
                let times = e["series"]["count"].as_u64().unwrap_or(1);
                (0..times).map(|_| e["reason"].as_str().unwrap_or_default().to_owned())
            })
            .collect()
    }

    /// Asks for a reconcile and waits until it is done: afterwards whatever the operator had to do before is done too.
    pub fn reconcile(&self, name: &str, mark: &str) -> Value {
        let annotation = format!("touchseal.dev/reconcile={mark}");
        self.kubectl(&["annotate", "--overwrite", "encryptedsecret", name, &annotation]);
        eventually(DEADLINE, &format!("EncryptedSecret {name}: reconcile {mark}"), || {
            let object = self.encrypted_secret(name);
            if object["status"]["lastHandledReconcileAt"] == mark {
                Ok(object)
            } else {
                Err(object["status"].to_string())
            }
        })
        .unwrap()
    }

    /// Waits until the operator's present process has finished so many reconciles.
    pub fn wait_for_reconciles(&self, count: u64) {
        eventually(DEADLINE, &format!("{count} reconciles"), || {
            let page = self.operator.metrics();
            let done: u64 = page
                .lines()
                .filter(|line| line.starts_with("touchseal_reconciles_total{"))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum();
            if done >= count { Ok(()) } else { Err(format!("{done}")) }
        })
        .unwrap();
    }
}
