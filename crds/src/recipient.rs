//! Recipient: what authors of a namespace encrypt to, published by the operator. The spec page is `crds/recipient.md`.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::keyring::GenerationState;

/// The age recipients of one namespace under one keyring; the object bears the keyring's name.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "touchseal.dev",
    version = "v1alpha1",
    kind = "Recipient",
    namespaced,
    category = "touchseal",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    doc = "Recipient publishes the age recipients that documents of this namespace are encrypted to. Written by the operator only.",
    printcolumn(name = "Recipient", type_ = "string", json_path = ".spec.recipient"),
    printcolumn(name = "Key", type_ = "integer", json_path = ".spec.keyGeneration"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RecipientSpec {
    /// The recipient to encrypt to now (`age1...`), of the Active key generation.
    pub recipient: String,
    /// Its key generation.
    pub key_generation: u32,
    /// Every recipient that still opens, newest first.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["generation"]))]
    pub generations: Vec<GenerationRecipient>,
}

/// The namespace's recipient under one key generation.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationRecipient {
    /// Key generation.
    pub generation: u32,
    /// Its state.
    pub state: GenerationState,
    /// `age1...`
    pub recipient: String,
}
