//! Enrolment: an administrator asks an unsealed operator to make somebody a holder, when no holder's YubiKey is left. Only for
//! keyrings whose signed manifest allows it. The spec page is `crds/enrolment.md`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::keyring::Holder;

/// Who is to become a holder of what, who asks for it and why; `answer` is written when the operator has asked back.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "touchseal.dev",
    version = "v1alpha1",
    kind = "Enrolment",
    namespaced,
    status = "EnrolmentStatus",
    category = "touchseal",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    doc = "Enrolment asks an unsealed operator to make somebody a holder of a keyring whose YubiKeys are all lost.",
    printcolumn(name = "Keyring", type_ = "string", json_path = ".spec.keyring"),
    printcolumn(name = "Holder", type_ = "string", json_path = ".spec.holder.name"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.requestedBy"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Enrolled\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = Rule::new("oldSelf.hasValue() || !has(self.answer)").optional_old_self(true)
    .message("an Enrolment is answered after the operator has asked back"))]
#[x_kube(validation = Rule::new("self.keyring == oldSelf.keyring && self.revision == oldSelf.revision && self.holder == oldSelf.holder && self.reason == oldSelf.reason && self.requestedBy == oldSelf.requestedBy")
    .message("of an Enrolment only the answer changes"))]
pub struct EnrolmentSpec {
    /// Name of the keyring.
    #[schemars(length(min = 1, max = 253))]
    pub keyring: String,
    /// Revision of the manifest that gets the holder: another one there is refused.
    #[schemars(range(min = 1))]
    pub revision: i64,
    /// The new holder, as in a manifest.
    pub holder: Holder,
    /// Who asks: their user name, as the API server knows it. Shipped policies refuse another, and any ServiceAccount.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[^\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]+$"))]
    pub requested_by: String,
    /// Why, for those who read Events and logs later.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^[^\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]+$"))]
    pub reason: String,
    /// `status.challenge`, repeated: so nobody who only writes to git can ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub answer: Option<String>,
}

/// What the operator says of it.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentStatus {
    /// 16 random bytes, lower-case hexadecimal, to be repeated in `spec.answer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::time")]
    pub challenge_expires_at: Option<Time>,
    /// The keyring's next manifest, with the new holder: a Keyring's `spec` as JSON, ciphertext and public keys. It counts once
    /// it is committed and applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Enrolled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}
