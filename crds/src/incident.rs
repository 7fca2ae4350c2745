//! Incident: everything whose value existed at a moment is exposed, until it was rotated and its last consumer has left
//! the old value. The spec page is `crds/incident.md`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is exposed.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "touchseal.dev",
    version = "v1alpha1",
    kind = "Incident",
    status = "IncidentStatus",
    category = "touchseal",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    doc = "Incident follows every exposed value until it was rotated and nobody uses the old one.",
    printcolumn(
        name = "Closed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Closed\")].status"
    ),
    printcolumn(name = "Exposed", type_ = "integer", json_path = ".status.totals.exposed"),
    printcolumn(name = "Draining", type_ = "integer", json_path = ".status.totals.draining"),
    printcolumn(name = "Safe", type_ = "integer", json_path = ".status.totals.safe"),
    printcolumn(name = "Accepted", type_ = "integer", json_path = ".status.totals.accepted"),
    printcolumn(name = "Exposed-At", type_ = "date", json_path = ".spec.exposedAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = Rule::new("self.exposedAt == oldSelf.exposedAt && has(self.selector) == has(oldSelf.selector) && (!has(self.selector) || self.selector == oldSelf.selector)")
    .message("exposedAt and selector cannot change: open another Incident"))]
pub struct IncidentSpec {
    /// The moment of the exposure: a value that existed then is exposed.
    #[schemars(schema_with = "crate::schema::time")]
    pub exposed_at: Time,
    /// Which EncryptedSecrets it is about; default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<IncidentSelector>,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Keys a person declares not affected, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub accepted: Vec<Accepted>,
    /// True stops following it: the status stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<bool>,
}

/// Which EncryptedSecrets an incident is about; what is given must all match.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentSelector {
    /// Namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub namespaces: Vec<String>,
    /// Labels of the EncryptedSecret.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub match_labels: std::collections::BTreeMap<String, String>,
    /// Names of EncryptedSecrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub names: Vec<String>,
    /// Secret keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub keys: Vec<String>,
}

/// One Secret key, or all of one EncryptedSecret, that a person declares not affected.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Namespace of the EncryptedSecret.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Secret key; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
    /// Why it is not affected.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}

/// What remains.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::unobserved)]
pub struct IncidentStatus {
    /// `metadata.generation` this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How many Secret keys are in which state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<IncidentTotals>,
    /// What is not safe yet: removed, exposed, draining, unknown, by namespace and name; at most 500.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remaining: Vec<Remaining>,
    /// How many more remain that have no place in the list; the totals count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<i32>,
    /// With `matchLabels`, the EncryptedSecrets that ever matched, as `namespace/name`: they stay selected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selected: Vec<String>,
    /// True where more must be remembered than there is room for: it does not close by itself any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<bool>,
    /// When nothing remained, or a person closed it. It stays closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::time")]
    pub closed_at: Option<Time>,
}

/// Secret keys by state.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentTotals {
    /// Not rotated since.
    pub exposed: i32,
    /// Rotated; pods still hold the old value, or nobody may know.
    pub draining: i32,
    /// Rotated and left by the last consumer.
    pub safe: i32,
    /// Declared not affected.
    pub accepted: i32,
}

/// One Secret key that is not safe yet.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remaining {
    /// Namespace of the EncryptedSecret.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Secret key; `*` where its keys are not known: the EncryptedSecret was never served, or keys taken out of it are
    /// forgotten.
    pub key: String,
    /// What it waits for.
    pub state: RemainingState,
    /// Since when the present value is known.
    #[schemars(schema_with = "crate::schema::time")]
    pub since: Time,
}

/// What a Secret key waits for.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RemainingState {
    /// Its EncryptedSecret was deleted, or the key taken out of it, before it was rotated; revoke the value at its
    /// service, then accept it.
    Removed,
    /// Its value existed at the moment of the exposure, or nobody can say that it did not.
    Exposed,
    /// It was rotated; pods still hold the old value.
    Draining,
    /// It was rotated; nobody knows who holds the old value: there is no right to read pods, or its EncryptedSecret is gone.
    Unknown,
}
