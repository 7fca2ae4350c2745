//! What a world's operators did, by the API server's audit log, and what became of objects, by their versions.

use std::collections::BTreeMap;
use std::fs;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::World;

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

impl World {
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
        self.shared_writes(pod).len()
    }

    /// The same as the audit log has them, refused ones too.
    pub fn shared_writes(&self, pod: &str) -> Vec<Value> {
        let shared = ["secrets", "configmaps", "encryptedsecrets", "recipients"];
        let by_pod = |e: &Value| e["user"]["extra"]["authentication.kubernetes.io/pod-name"][0] == pod;
        let writes = |e: &Value| !matches!(e["verb"].as_str(), Some("get" | "list" | "watch"));
        let about = |e: &Value| shared.iter().any(|resource| e["objectRef"]["resource"] == *resource);
        self.audited().into_iter().filter(|e| by_pod(e) && writes(e) && about(e)).collect()
    }

    /// When the API server had answered this request.
    pub fn answered(event: &Value) -> Timestamp {
        event["stageTimestamp"].as_str().unwrap().parse().unwrap()
    }

    /// Whether the API server did what this request asked for.
    pub fn was_done(event: &Value) -> bool {
        event["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300)
    }

    /// How many requests of any kind this world's operators made so far about a resource.
    pub fn requests_about(&self, resource: &str) -> usize {
        self.audited().iter().filter(|e| e["objectRef"]["resource"] == resource).count()
    }

    /// What the API server's audit log has of this world's operators.
    pub fn audited(&self) -> Vec<Value> {
        self.audited_of(&format!("{}:touchseal-operator", self.system))
    }

    /// The same of a ServiceAccount, `namespace:name`.
    pub fn audited_of(&self, account: &str) -> Vec<Value> {
        let user = format!("system:serviceaccount:{account}");
        let log = fs::read_to_string(self.cluster.audit_log()).unwrap();
        log.lines()
            .filter(|line| line.contains(&user))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|e| e["user"]["username"] == user.as_str())
            .collect()
    }
}
