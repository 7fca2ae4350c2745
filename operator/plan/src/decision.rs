//! What one reconcile decided, as data: nothing in here has happened yet.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use touchseal_crds::{EncryptedSecretStatus, Reason};

use crate::consumers::Owner;
use crate::generation::LedgerEntry;

/// The output of [`crate::decide`]. Applied in the order of the fields: the content before is copied while it is still
/// there, the ledger comes before the Secret that bears its number, and all of it before the status that speaks of it.
#[derive(Debug, Default)]
pub struct Decision {
    /// Secret to write with the content that is served now, before it is overwritten.
    pub previous: Option<SecretWrite>,
    /// Ledger entry to commit, where it changed.
    pub ledger: Option<LedgerEntry>,
    /// Secret to write, where it differs.
    pub secret: Option<SecretWrite>,
    /// ConfigMap to write, where it differs.
    pub alias: Option<AliasWrite>,
    /// Old Secrets whose owner reference is to change.
    pub reown: Vec<Reown>,
    /// What is to go.
    pub remove: Vec<Removal>,
    /// Status to write, where it differs.
    pub status: Option<EncryptedSecretStatus>,
    /// Events for people, on transitions only.
    pub notices: Vec<Notice>,
    /// Names of Secrets that are in the way and not ours: to be watched, so that the conflict clears by itself.
    pub watch_foreign: Vec<String>,
    /// Workloads to restart, so that their pods get the newest content. Those it was done for already are among them.
    pub restart: BTreeSet<Owner>,
    /// When to look again though nothing happens.
    pub again: Option<Time>,
}

impl Decision {
    /// Looks again at the earliest of all times asked for.
    pub fn look_again(&mut self, times: impl IntoIterator<Item = Time>) {
        self.again = self.again.take().into_iter().chain(times).min();
    }
}

/// How to write a Secret. Data comes from the content the digests were made of, or from the Secret that is served now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretWrite {
    /// Name of the Secret.
    pub name: String,
    /// The object this write expects to find; None expects none.
    pub expects: Option<Expected>,
    /// Delete the present object and make it anew: `immutable` or another type stands in the way.
    pub replace: bool,
    /// Its data is never to change again.
    pub immutable: bool,
    /// Secret type.
    pub type_: String,
    /// Labels it must carry.
    pub labels: BTreeMap<String, String>,
    /// Annotations it must carry.
    pub annotations: BTreeMap<String, String>,
    /// uid of the EncryptedSecret for the owner reference; None for deletion policy Retain.
    pub owner_uid: Option<String>,
}

/// How to write the ConfigMap that tells the newest generation's Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasWrite {
    /// Name of the ConfigMap.
    pub name: String,
    /// The object this write expects to find; None expects none.
    pub expects: Option<Expected>,
    /// Name of the Secret it tells.
    pub secret_name: String,
    /// The number that Secret holds.
    pub generation: String,
    /// As in [`SecretWrite`].
    pub owner_uid: Option<String>,
}

/// An old Secret of ours that is to get another owner reference, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reown {
    /// Name of the Secret.
    pub name: String,
    /// The object this write expects to find.
    pub expects: Expected,
    /// As in [`SecretWrite`].
    pub owner_uid: Option<String>,
}

/// Something of ours that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Its kind.
    pub what: Removed,
    /// Its name.
    pub name: String,
    /// The object to delete: no other is.
    pub expects: Expected,
    /// It stays while a workload's pod template names it, or none can be asked.
    pub unless_in_a_template: bool,
}

/// Kinds that go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A Secret.
    Secret,
    /// The ConfigMap of the newest generation's name.
    Alias,
}

/// Precondition of a write: exactly this object, at exactly this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// metadata.uid
    pub uid: String,
    /// metadata.resourceVersion
    pub resource_version: String,
}

/// An Event on the EncryptedSecret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Warning instead of Normal.
    pub warning: bool,
    /// Event reason.
    pub reason: Reason,
    /// What happened; holds no value.
    pub message: String,
}
