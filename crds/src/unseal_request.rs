//! UnsealRequest: one operator process asks for one keyring. `spec.release` is written by people, the rest by operators.
//! The spec page is `crds/unsealrequest.md`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::keyring::HolderRecord;

/// What is asked for, and the answer.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "touchseal.dev",
    version = "v1alpha1",
    kind = "UnsealRequest",
    namespaced,
    status = "UnsealRequestStatus",
    shortname = "unseal",
    category = "touchseal",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    doc = "UnsealRequest asks the holders of a keyring to release its master key to one operator process.",
    printcolumn(name = "Keyring", type_ = "string", json_path = ".spec.keyring"),
    printcolumn(name = "Pod", type_ = "string", json_path = ".spec.pod"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"ReleaseRefused\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct UnsealRequestSpec {
    /// Keyring asked for.
    pub keyring: String,
    /// Pod of the asking process.
    pub pod: String,
    /// The master key, HPKE-sealed to the session. Written by a holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// Of a keyring with a quorum: shares of the master key, HPKE-sealed to the session, each written by its holder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["serial"])
    )]
    pub shares: Vec<ShareRelease>,
}

/// One holder's share of a master key sealed to one session, by the HPKE suite of a release.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareRelease {
    /// Nonce of the request this answers (`status.nonce`).
    #[schemars(length(max = 64))]
    pub nonce: String,
    /// Revision of the manifest the share was taken from: every revision has shares of its own.
    pub revision: i64,
    /// Name of the holder whose share it is.
    #[schemars(length(max = 63))]
    pub holder: String,
    /// Serial number of that holder's YubiKey.
    pub serial: u32,
    /// HPKE encapsulated key, 32 bytes, base64.
    #[schemars(length(max = 64))]
    pub encapsulated_key: String,
    /// HPKE ciphertext, 48 bytes, base64.
    #[schemars(length(max = 128))]
    pub ciphertext: String,
}

/// A master key sealed to one session (RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305).
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Nonce of the request this answers (`status.nonce`).
    #[schemars(length(max = 64))]
    pub nonce: String,
    /// Key generation of the master inside.
    pub generation: u32,
    /// Name of the holder whose key opened it; authenticated together with the ciphertext.
    #[schemars(length(max = 63))]
    pub holder: String,
    /// Serial number of that holder's YubiKey.
    pub serial: u32,
    /// Where not a holder but an unsealed replica made it; authenticated together with the ciphertext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over: Option<HandOverRecord>,
    /// HPKE encapsulated key, 32 bytes, base64.
    #[schemars(length(max = 64))]
    pub encapsulated_key: String,
    /// HPKE ciphertext, 48 bytes, base64.
    #[schemars(length(max = 128))]
    pub ciphertext: String,
}

/// A release made by an unsealed replica.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandOverRecord {
    /// Its pod.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// When a holder released the keyring (RFC 3339): `sealAfter` counts from there, whoever handed it on.
    #[schemars(length(max = 40))]
    pub released_at: String,
    /// SHA-256 of the seal request it acted upon last, lower-case hexadecimal; absent where there was none. One that has
    /// not heard of the newest seal request yet unseals nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub seal_request: Option<String>,
}

/// The session that asks, and its proof.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnsealRequestStatus {
    /// Session public key: X25519, 32 bytes, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// 16 random bytes, lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// ServiceAccount token of the asking pod whose audience names this session; no credential anywhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// When the proof runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::time")]
    pub proof_expires_at: Option<Time>,
    /// With a quorum: whose shares this session holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<HolderRecord>,
    /// ReleaseRefused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}
