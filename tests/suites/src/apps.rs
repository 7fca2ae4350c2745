//! A world in which an operator serves one keyring: what most tests of EncryptedSecrets start from.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use touchseal_keyring::OpenKeyring;
use touchseal_rig::faults::FaultyServer;
use touchseal_rig::line::Line;
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

impl Apps {
    /// A world named after its test, with an unsealed operator.
    pub fn new(test: &str) -> Apps {
        Apps::with(test, &[])
    }

    /// The same, the operator with more flags.
    pub fn with(test: &str, flags: &[&str]) -> Apps {
        Apps::on(World::new(test), flags)
    }

    /// The same in this world.
    pub fn on(mut world: World, flags: &[&str]) -> Apps {
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
        let (cluster, name) = (&self.world.cluster, &self.world.system);
        let server = FaultyServer::start(&self.operator_kubeconfig(), cluster.dir(), name).unwrap();
        self.restart_operator_through(server.kubeconfig());
        server
    }

    /// The same, and along a line to the API server that can be cut.
    pub fn restart_operator_behind_a_line(&mut self) -> Line {
        let (cluster, name) = (&self.world.cluster, &self.world.system);
        let line = Line::start(&self.operator_kubeconfig(), cluster.dir(), name).unwrap();
        self.restart_operator_through(line.kubeconfig());
        line
    }

    fn operator_kubeconfig(&self) -> PathBuf {
        let (account, pod) = ("touchseal-operator", Some(&self.operator.pod));
        self.world.cluster.kubeconfig_for_service_account(&self.world.system, account, pod).unwrap()
    }

    fn restart_operator_through(&mut self, kubeconfig: &Path) {
        self.operator.process.kill();
        let (cluster, pod) = (&self.world.cluster, self.operator.pod.clone());
        let flags = std::mem::take(&mut self.operator.flags);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.operator = Operator::start_through(cluster, &self.world.system, pod, kubeconfig, &flags);
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
        self.operator.wait_for_reconciles(count);
    }
}
