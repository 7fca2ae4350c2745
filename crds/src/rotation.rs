//! How an EncryptedSecret's content is rotated, and what the operator knows of each rotation. Part of the EncryptedSecret's
//! spec page, `crds/encryptedsecret.md`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use kube_derive::KubeSchema;

/// How content is rotated.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(crates(kube_core = "::kube_core"))]
pub struct Rotation {
    /// Longest time a value may stay: `90d`. RotationDue tells when it comes to an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::duration::optional_schema")]
    pub max_age: Option<String>,
    /// The same for single Secret keys; where a key is not listed, `maxAge` holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub keys: Vec<KeyRotation>,
    /// How long before the end of `maxAge` RotationDue begins to say so; default 14d, at most half of `maxAge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::duration::optional_schema")]
    pub notice: Option<String>,
    /// What kind of credential this is: `touchseal rotation` advises the next step by it. It changes nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<RotationClass>,
    /// How old content stays reachable; default InPlace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// How long old content stays after its last consumer has left, with delivery Previous and Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// What pods that mount the Secret as files do when the files change; default Reload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Mounts>,
    /// Whether workloads whose pods hold an old value are restarted; default None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What becomes of a document older than the newest one seen (its `lastmodified` goes back); default Allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
}

/// Rotation of one Secret key.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRotation {
    /// Key in the Secret's data.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Longest time its value may stay; `0s` means for ever.
    #[schemars(schema_with = "crate::duration::schema")]
    pub max_age: String,
}

/// Kinds of credentials, by how they are changed without a gap; `touchseal rotation` advises by it.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RotationClass {
    /// The service accepts two keys at a time: make the second, roll out, revoke the first once nobody uses it.
    DualKey,
    /// Two users or accounts take turns: change the idle one's password, switch over, then the other is idle.
    SwitchOver,
    /// There is one value and it is reset at its service: consumers fail until they have the new one.
    InPlaceReset,
    /// The new one must be everywhere before the old one is revoked: certificates, signing keys.
    DeployBeforeRevoke,
}

/// How old content stays reachable; default InPlace.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// One Secret that always holds the newest content.
    #[default]
    InPlace,
    /// Beside it, `<name>-previous` holds the content before, until the last consumer has left it and retention has passed.
    Previous,
    /// One immutable Secret `<name>-g<N>` for each secret generation, and a ConfigMap `<name>-current` that tells the
    /// newest one's name. Old ones are collected when nothing refers to them and retention has passed.
    Immutable,
}

/// How long old content is kept.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// How long after the last consumer has left; default 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::duration::optional_schema")]
    pub period: Option<String>,
    /// With delivery Immutable: how many old generations are kept whatever their age; default 1, at most 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub generations: Option<u8>,
}

/// What pods that mount the Secret as files do when the files change; default Reload.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mounts {
    /// They read the new files: current once the kubelet has had its time to refresh them.
    #[default]
    Reload,
    /// They read files at start only: stale until they are restarted, like pods that take the value from the environment.
    Restart,
}

/// Whether workloads whose pods hold an old value are restarted; default None.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rollout {
    /// No.
    #[default]
    None,
    /// The pod template of a Deployment, StatefulSet or DaemonSet with stale pods is annotated, so that it rolls out, once for
    /// each secret generation.
    Restart,
}

/// What becomes of a document older than the newest one seen; default Allow.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rollback {
    /// It is served, under a new number; the condition RolledBack says so.
    #[default]
    Allow,
    /// It is not served: Ready=False with reason RolledBack until a newer one comes.
    Deny,
}

/// One secret generation.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationStatus {
    /// Its number.
    pub number: i64,
    /// When it was first served.
    #[schemars(schema_with = "crate::schema::time")]
    pub since: Time,
    /// Oldest key generation its documents needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_generation: Option<i32>,
    /// Newest authenticated `lastmodified` of its documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::time")]
    pub last_modified: Option<Time>,
    /// Secret keys that changed against the generation before, came or went; the first 16 by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// How many changed.
    pub changed_count: i32,
    /// When its last consumer had left it for a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::time")]
    pub drained: Option<Time>,
}

/// The pods that use the Secret.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerStatus {
    /// False where the operator may not read pods; the counts are absent then.
    pub known: bool,
    /// Pods on the newest content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<i32>,
    /// Pods that hold an older value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<i32>,
    /// Workloads with stale pods, most pods first; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale_workloads: Vec<WorkloadStatus>,
}

/// A workload with stale pods.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Kind of the owner: Deployment, StatefulSet, DaemonSet, Job, ...; Pod where it has none.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many of its pods are stale.
    pub pods: i32,
    /// Oldest secret generation one of them may hold, where the history reaches back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_generation: Option<i64>,
    /// How it uses the Secret: env, envFrom, subPath, initContainer, volume, immutable; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
}
