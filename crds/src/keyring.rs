//! Keyring: the git-safe manifest (spec) and who holds it open (status). The spec page is `crds/keyring.md`.
//!
//! No field of the spec has a default in the schema: the signature covers the spec as its author wrote it, and a value
//! filled in by the API server would break it.

mod holder;

pub use holder::{Holder, HolderKind, PgpKey, PinPolicy, TouchPolicy};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_core::DynamicObject;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Ciphertext, public keys and a signature: safe to commit to git.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "touchseal.dev",
    version = "v1alpha1",
    kind = "Keyring",
    status = "KeyringStatus",
    category = "touchseal",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    doc = "Keyring is a named set of master keys, wrapped to YubiKeys, that EncryptedSecrets are encrypted under.",
    printcolumn(
        name = "Unsealed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Unsealed\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.unsealedReplicas"),
    printcolumn(name = "By", type_ = "string", json_path = ".status.lastUnseal.holder"),
    printcolumn(name = "Fingerprint", type_ = "string", json_path = ".status.fingerprint", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyringSpec {
    /// Format of this manifest: 1.
    pub version: u32,
    /// Keyring id: 16 random bytes, lower-case hexadecimal. Salt of every derivation.
    #[schemars(length(min = 32, max = 32), regex(pattern = "^[0-9a-f]{32}$"))]
    pub id: String,
    /// +1 each time the manifest is written; an older one than already seen is refused.
    #[schemars(range(min = 1))]
    pub revision: i64,
    /// Who can open the keyring.
    #[schemars(length(min = 1, max = 64))]
    pub holders: Vec<Holder>,
    /// How many holders it takes to open the keyring, each with a YubiKey of their own; absent: any one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 64))]
    pub quorum: Option<u32>,
    /// Key generations, ascending; exactly one is Active, and it is the last.
    #[schemars(length(min = 1, max = 1024))]
    pub generations: Vec<KeyGeneration>,
    /// Whether an unsealed replica may release the master to another replica; absent means Allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over: Option<HandOver>,
    /// Longest time from a holder's release until every replica drops its keys, such as `12h`; absent: no end. A hand-over
    /// does not prolong it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::duration::optional_schema")]
    pub seal_after: Option<String>,
    /// What a YubiKey that is left in a node does about this keyring when it is pulled; absent means Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_key_removal: Option<KeyRemoval>,
    /// Whether an unsealed operator enrols a new holder for an administrator without a holder's YubiKey; absent means Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_enrolment: Option<EmergencyEnrolment>,
    /// Ed25519 signature over the rest of this spec by the Active generation (base64).
    #[schemars(length(max = 128))]
    pub signature: String,
}

/// Whether unsealed replicas unseal others; default Allow.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HandOver {
    /// A replica that starts is unsealed by one that is: rolling updates and single crashes need no holder.
    Allow,
    /// Each replica needs a holder.
    Deny,
}

impl KeyringSpec {
    /// Stands for a spec that this program cannot read: another version's, or one that somebody wrote past the schema. No
    /// manifest has version 0, so it verifies nowhere.
    pub fn unreadable() -> KeyringSpec {
        KeyringSpec {
            version: 0,
            id: String::new(),
            revision: 0,
            holders: Vec::new(),
            quorum: None,
            generations: Vec::new(),
            hand_over: None,
            seal_after: None,
            on_key_removal: None,
            emergency_enrolment: None,
            signature: String::new(),
        }
    }
}

/// A Keyring as the API server has it, whatever was written into it: one that cannot be read must neither hide the others of a
/// list nor a request to seal. What cannot be read of spec or status is [`KeyringSpec::unreadable`] or empty.
pub fn read(object: DynamicObject) -> Keyring {
    let DynamicObject { metadata, mut data, .. } = object;
    let mut part = |name: &str| data.get_mut(name).map(serde_json::Value::take).unwrap_or_default();
    let spec = serde_json::from_value(part("spec")).unwrap_or_else(|_| KeyringSpec::unreadable());
    let status = serde_json::from_value(part("status")).unwrap_or_default();
    Keyring { metadata, spec, status }
}

/// What follows when a YubiKey that is left in a node is pulled; default Keep.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyRemoval {
    /// Every replica drops the keys.
    Seal,
    /// Nothing.
    Keep,
}

/// Whether an unsealed operator makes somebody a holder without a holder's YubiKey; default Deny.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EmergencyEnrolment {
    /// For whoever may create Enrolments in its namespace: when all YubiKeys are lost, this is the way back.
    Allow,
    /// Never: when all YubiKeys are lost and the last replica seals, what the keyring opens is lost.
    Deny,
}

/// A numbered master key.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyGeneration {
    /// 1 and up, never reused.
    #[schemars(range(min = 1))]
    pub number: u32,
    /// Active, Retiring or Retired.
    pub state: GenerationState,
    /// When it was made (RFC 3339).
    #[schemars(length(max = 40))]
    pub created_at: String,
    /// Ed25519 public key derived from the master (base64): authenticates what the master says, and the master itself.
    #[schemars(length(max = 64))]
    pub verify_key: String,
    /// Ed25519 signature over number and verify key by the generation before (base64); absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub endorsement: Option<String>,
    /// The 32-byte master as an armored age file: of the Active one to all holders, of a Retiring one to the next newer
    /// live generation. Absent once Retired, and in the Active one of a keyring with a quorum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub wrapped: Option<String>,
    /// With a quorum, the Active master's shares, one for each holder in the order of `holders`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub shares: Vec<KeyShare>,
}

/// One holder's share of the Active master.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyShare {
    /// Name of the holder.
    #[schemars(length(min = 1, max = 63))]
    pub holder: String,
    /// Where the master's polynomial is evaluated: the holder's place, counted from 1.
    #[schemars(range(min = 1, max = 64))]
    pub index: u32,
    /// SHA-256 by which the share is recognised (base64).
    #[schemars(length(max = 64))]
    pub commitment: String,
    /// The 32-byte share as an armored age file to this holder alone.
    #[schemars(length(max = 8192))]
    pub wrapped: String,
}

/// Where a key generation is in its life.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GenerationState {
    /// New documents are encrypted under it.
    Active,
    /// Still opens documents.
    Retiring,
    /// Its master is gone from the manifest.
    Retired,
}

/// Who holds the keyring open.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::unobserved)]
pub struct KeyringStatus {
    /// `metadata.generation` this status speaks of (kstatus).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Unsealed, Tampered, SingleHolder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Fingerprint of the keyring (`SHA256:...`), as `touchseal keyring show` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// How many replicas are unsealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsealed_replicas: Option<i32>,
    /// The newest unseal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_unseal: Option<UnsealRecord>,
    /// Value of the `touchseal.dev/seal-requested` annotation that a replica had acted upon before it was unsealed: that seal
    /// is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_seal_request: Option<String>,
    /// When each holder of the manifest last had a part in an unseal, as the releases named them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["holder"]))]
    pub holders: Vec<HolderUse>,
    /// Every replica that has reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["pod"]))]
    pub replicas: Vec<ReplicaStatus>,
    /// How many EncryptedSecrets need each key generation that is not Retired, as far as their statuses tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["generation"]))]
    pub documents: Vec<GenerationDocuments>,
    /// EncryptedSecrets of which it cannot be told which generation they need: each may need any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents_unclear: Option<DocumentCount>,
}

/// The EncryptedSecrets that need a key generation.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationDocuments {
    /// Number of the generation.
    pub generation: u32,
    /// How many, and where.
    #[serde(flatten)]
    pub count: DocumentCount,
}

/// How many EncryptedSecrets, and where.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentCount {
    /// All of them.
    pub objects: u32,
    /// The namespaces with most of them, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<NamespaceCount>,
    /// How many namespaces are not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_namespaces: Option<u32>,
}

/// How many EncryptedSecrets of one namespace.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceCount {
    /// Its name.
    pub namespace: String,
    /// How many.
    pub objects: u32,
}

/// One release that was accepted.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnsealRecord {
    /// Name of the holder.
    pub holder: String,
    /// Serial number of the YubiKey.
    pub serial: u32,
    /// The replica that handed the keyring over, where no holder released it to this process; holder and serial are those
    /// who released it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_over_by: Option<String>,
    /// When.
    #[schemars(schema_with = "crate::schema::time")]
    pub at: Time,
    /// With a quorum: whose shares were there before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<HolderRecord>,
}

/// A holder, as a release named it.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderRecord {
    /// Name of the holder.
    pub holder: String,
    /// Serial number of the YubiKey.
    pub serial: u32,
}

/// A holder's last use.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderUse {
    /// Name of the holder.
    pub holder: String,
    /// Serial number of the YubiKey.
    pub serial: u32,
    /// When.
    #[schemars(schema_with = "crate::schema::time")]
    pub last_used: Time,
}

/// One replica of the operator.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Pod name.
    pub pod: String,
    /// Version of its operator; absent where that is older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// Sealed or Unsealed.
    pub state: ReplicaState,
    /// Since when.
    #[schemars(schema_with = "crate::schema::time")]
    pub since: Time,
    /// The release that unsealed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsealed_by: Option<UnsealRecord>,
    /// Why its keys may be swapped to disk; absent where they are locked in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_not_locked: Option<String>,
    /// When it seals itself, by the keyring's `sealAfter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::time")]
    pub seals_at: Option<Time>,
    /// Last value of the `touchseal.dev/seal-requested` annotation that was acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_seal_request: Option<String>,
}

/// Whether a process holds the master key.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaState {
    /// It does not.
    Sealed,
    /// It does.
    Unsealed,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_read_has_a_name_and_annotations_all_the_same() {
        let spec = json!({ "version": 1, "id": "", "revision": 1, "holders": [], "generations": [], "signature": "s" });
        let metadata = json!({ "name": "prod", "annotations": { "a": "b" } });
        let of = |spec, status| {
            let object = json!({ "metadata": metadata, "spec": spec, "status": status });
            read(serde_json::from_value(object).unwrap())
        };
        let good = of(spec, json!({ "fingerprint": "f" }));
        assert_eq!(
            (good.spec.signature.as_str(), good.status.unwrap().fingerprint.unwrap().as_str()),
            ("s", "f")
        );
        for (spec, status) in [
            (json!({ "version": 5_000_000_000_u64 }), json!({ "fingerprint": 1 })),
            (json!({ "version": 1, "newer": true }), json!(null)),
            (json!("text"), json!("text")),
            (json!(null), json!({ "replicas": 1 })),
        ] {
            let odd = of(spec, status);
            assert_eq!(odd.spec, KeyringSpec::unreadable());
            assert_eq!(odd.status, None);
            assert_eq!(odd.metadata.annotations.unwrap()["a"], "b");
        }
    }
}
