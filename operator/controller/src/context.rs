//! What every reconcile shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;

use crate::desk::Desk;
use crate::echoes::Echoes;
use crate::events::Events;
use crate::floor::Floors;
use crate::keys::Keys;
use crate::ledger::Ledger;
use crate::names::Names;
use crate::objects::Objects;
use crate::pods::Pods;
use crate::rollout::Rollouts;
use crate::secrets::{Key, Secrets};
use crate::telemetry::Metrics;
use crate::templates::Templates;
use crate::watches::Watches;

/// Shared by all reconciles.
pub struct Context {
    /// API server.
    pub client: Client,
    /// Keyrings open in this process.
    pub keys: Arc<Keys>,
    /// The EncryptedSecrets.
    pub objects: Arc<Objects>,
    /// Secrets of ours.
    pub secrets: Arc<Secrets>,
    /// Secret generations.
    pub ledger: Ledger,
    /// The least number that is given out.
    pub floor: Arc<Floors>,
    /// Names that workloads' templates have.
    pub templates: Templates,
    /// Where documents are opened.
    pub desk: Desk,
    /// Names of Secrets.
    pub names: Names,
    /// Watches on demand.
    pub watches: Arc<Watches>,
    /// Pods.
    pub pods: Arc<Pods>,
    /// Workloads to restart.
    pub rollouts: Arc<Rollouts>,
    /// How long a kubelet may take to refresh a mounted Secret, in seconds.
    pub mount_refresh: u32,
    /// Events.
    pub events: Events,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Statuses we wrote.
    pub echoes: Arc<Echoes>,
    /// Failed attempts in a row, for the back-off.
    pub failures: Mutex<HashMap<Key, u32>>,
}

impl Context {
    /// An EncryptedSecret is gone: nothing about it is kept, except its numbers in the ledger.
    pub fn forget(&self, object: &Key) {
        self.watches.forget(object);
        self.pods.forget(object);
        self.rollouts.forget(object);
        self.echoes.forget(object);
        self.metrics.reconciles.forget(object);
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}
