//! EncryptedSecret: sops documents in, one native Secret out. The spec page is `crds/encryptedsecret.md`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rotation::{ConsumerStatus, GenerationStatus, Rotation};

/// What to decrypt and what to make of it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "touchseal.dev",
    version = "v1alpha1",
    kind = "EncryptedSecret",
    namespaced,
    status = "EncryptedSecretStatus",
    shortname = "esec",
    category = "touchseal",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    doc = "EncryptedSecret carries sops documents verbatim; the operator turns them into one native Secret.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Generation", type_ = "integer", json_path = ".status.secretGeneration"),
    printcolumn(name = "Key", type_ = "integer", json_path = ".status.keyGeneration", priority = "1"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = Rule::new("(has(self.target) && has(self.target.name) ? self.target.name : '') == (has(oldSelf.target) && has(oldSelf.target.name) ? oldSelf.target.name : '')")
    .message("target.name cannot change: create a new EncryptedSecret, move the consumers, then delete this one"))]
pub struct EncryptedSecretSpec {
    /// The sops documents, in order; a Secret key may come from only one of them.
    #[schemars(length(min = 1, max = 8))]
    pub documents: Vec<DocumentSource>,
    /// The Secret to make; its name defaults to this object's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// What becomes of the Secret when this object is deleted. Delete (the default) or Retain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// How the content is rotated: ages, how old content stays reachable, restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// True stops all work on this object; the Secret stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// One sops file, inline or in a ConfigMap of the same namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = Rule::new("has(self.sops) != has(self.configMapKeyRef)")
    .message("give exactly one of sops and configMapKeyRef"))]
#[x_kube(validation = Rule::new("!has(self.sops) || self.sops.contains('ENC[AES256_GCM,data:')")
    .message("sops: this is not a sops document (no ENC[AES256_GCM,...] value): encrypt it with sops before committing it, and rotate what it holds if it was ever pushed"))]
#[x_kube(validation = Rule::new("!has(self.sops) || self.sops.contains('lastmodified')")
    .message("sops: the sops metadata (sops, lastmodified) is missing: commit the file exactly as sops wrote it"))]
pub struct DocumentSource {
    /// File name of the document; tells its format and the key a binary document goes under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// The sops file, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1048576))]
    pub sops: Option<String>,
    /// The sops file as one key of a ConfigMap in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
    /// The store of the document; default: from `name`, else from the ConfigMap's key, else detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DocumentFormat>,
    /// How the document becomes Secret keys; default: flat (binary documents: file).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
}

/// One key of a ConfigMap in the same namespace.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data or binaryData.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A sops store; default: by the document's name, else detected.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentFormat {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// KEY=value lines.
    Dotenv,
    /// Sections of key = value.
    Ini,
    /// Any bytes (a JSON document whose only value is `data`).
    Binary,
}

/// How one document becomes Secret keys.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mapping {
    /// Every top-level value becomes the Secret key of the same name.
    Flat {},
    /// The whole decrypted file under one key, for applications that read a settings file.
    File {
        /// Secret key the file goes under.
        #[schemars(length(min = 1, max = 253))]
        key: String,
    },
    /// Single values picked by path.
    Paths(#[schemars(length(max = 512))] Vec<PathKey>),
    /// The document is a whole `kind: Secret` manifest: its data, stringData and type are used.
    Manifest {},
}

/// One value of a document and the Secret key it goes under.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathKey {
    /// Path of key names joined by dots, list indexes in brackets: `database.replicas[0].password`. A key that itself
    /// holds a dot is written in brackets and quotes: `stringData["tls.key"]`.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// Secret key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// The Secret to make.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(crates(kube_core = "::kube_core"))]
pub struct Target {
    /// Name of the Secret; default: the name of the EncryptedSecret. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Secret type; default: the manifest's type, else Opaque.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])")
        .message("target.type: this Secret type makes the cluster mint credentials and is refused"))]
    pub type_: Option<String>,
    /// Labels to put on the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to put on the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Secret keys that are composed of what the documents give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// Secret keys composed of the values that the documents give: Jinja, of which docs/templates.md says what there is.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = Rule::new("self.data.all(key, size(key) > 0 && size(key) <= 253)")
    .message("target.template.data: a Secret key has 1 to 253 characters"))]
#[x_kube(validation = Rule::new("self.data.map(key, size(self.data[key])).sum() <= 262144")
    .message("target.template.data: the templates of one Secret have at most 262144 characters in all"))]
pub struct Template {
    /// Whether the documents' own keys are in the Secret, too. Replace (the default) or Merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_policy: Option<MergePolicy>,
    /// A template for each Secret key: `postgres://{{ user | urlencode }}:{{ password | urlencode }}@db/shop`.
    #[schemars(schema_with = "crate::schema::templates")]
    pub data: BTreeMap<String, String>,
}

/// What becomes of the documents' own keys where there is a template; default Replace.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergePolicy {
    /// The Secret holds the composed keys alone.
    #[default]
    Replace,
    /// The Secret holds the documents' keys, too; of one name the composed one.
    Merge,
}

/// What becomes of the Secret when its EncryptedSecret is deleted; default Delete.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// The Secret carries an owner reference and is garbage-collected.
    #[default]
    Delete,
    /// The Secret stays.
    Retain,
}

/// What the operator made of it. Holds no value and no digest of one.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::unobserved)]
pub struct EncryptedSecretStatus {
    /// `metadata.generation` this status speaks of (kstatus).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Stalled, Draining, RotationDue, RolledBack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Name of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Number of the content the Secret holds: +1 whenever the plaintext changes, never reused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_generation: Option<i64>,
    /// Keyring whose key opened the documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// Oldest key generation that a document needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_generation: Option<i32>,
    /// Newest authenticated `lastmodified` of the documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::time")]
    pub last_modified: Option<Time>,
    /// Since when each Secret key has held its present value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub keys: Vec<KeyStatus>,
    /// The newest secret generations, newest first; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generations: Vec<GenerationStatus>,
    /// The pods that use the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<ConsumerStatus>,
    /// Last value of the `touchseal.dev/reconcile` annotation that was acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// One key of the Secret.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    /// Key in the Secret's data.
    pub name: String,
    /// When this operator first saw the present value.
    #[schemars(schema_with = "crate::schema::time")]
    pub since: Time,
    /// Whether that value replaced another one that was served: only then is there an old value to revoke.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
    /// Whether that value was served before, with another one in between: only the one between may be revoked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub returned: bool,
    /// When `maxAge` ends for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::time")]
    pub due: Option<Time>,
}
