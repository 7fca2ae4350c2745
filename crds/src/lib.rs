//! The API group `touchseal.dev/v1alpha1`: Rust types are the source of truth, `crds/*.yaml` is generated from them
//! by `crdgen`. This crate knows no client, no cryptography and no policy.

#![allow(clippy::duplicated_attributes, reason = "kube-derive names every printer column with the same keys")]

pub mod conditions;
pub mod duration;
pub mod encrypted_secret;
pub mod enrolment;
pub mod incident;
pub mod keyring;
pub mod names;
pub mod recipient;
pub mod rotation;
mod schema;
pub mod unseal_request;

pub use conditions::{ConditionType, Reason};
pub use encrypted_secret::{EncryptedSecret, EncryptedSecretSpec, EncryptedSecretStatus};
pub use enrolment::{Enrolment, EnrolmentSpec, EnrolmentStatus};
pub use incident::{Incident, IncidentSpec, IncidentStatus};
pub use keyring::{Keyring, KeyringSpec, KeyringStatus};
pub use recipient::{Recipient, RecipientSpec};
pub use unseal_request::{UnsealRequest, UnsealRequestSpec, UnsealRequestStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt;

/// Every custom resource definition, with the file name each is generated into.
pub fn all() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("touchseal.dev_encryptedsecrets.yaml", EncryptedSecret::crd()),
        ("touchseal.dev_enrolments.yaml", Enrolment::crd()),
        ("touchseal.dev_incidents.yaml", Incident::crd()),
        ("touchseal.dev_keyrings.yaml", Keyring::crd()),
        ("touchseal.dev_recipients.yaml", Recipient::crd()),
        ("touchseal.dev_unsealrequests.yaml", UnsealRequest::crd()),
    ]
}
