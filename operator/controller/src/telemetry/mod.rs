//! Logs and metrics. Nothing here ever sees a value of a Secret or a key.
//!
//! What a metric says of objects is counted when it is asked for, from the objects as they are: nothing is kept for them, and
//! a series ends with its object. No series is of a single EncryptedSecret: there may be thousands.

mod api;
mod documents;
mod keyrings;
mod logs;
mod page;
mod process;
mod reconciles;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use api::{Asked, Calls};
pub use documents::Documents;
pub use keyrings::Ceremonies;
pub use logs::start_logs;
pub use page::{Format, page};
pub use reconciles::Reconciles;

use crate::keys::Keys;

/// What this was built from, where the build says so.
const REVISION: &str = match option_env!("TOUCHSEAL_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Labels `incident` and `state`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct IncidentLabel {
    /// Name of the Incident.
    pub incident: String,
    /// exposed, draining, safe or accepted.
    pub state: &'static str,
}

/// Every series that is told when it changes; the others are in the collectors.
#[derive(Default)]
pub struct Metrics {
    /// What was done with keys, or tried.
    pub ceremonies: Ceremonies,
    /// Reconciles, and what waits for one.
    pub reconciles: Reconciles,
    /// Requests to the API server.
    pub calls: Calls,
    /// EncryptedSecrets, while this process leads.
    pub documents: Documents,
    /// Secret keys of each Incident by state.
    pub incident_keys: Family<IncidentLabel, Gauge<i64, AtomicI64>>,
    /// 1 while this process leads.
    pub leads: Gauge<i64, AtomicI64>,
    /// Watches of pods that failed and have not been listed anew.
    pub pod_watches_interrupted: Gauge<i64, AtomicI64>,
    /// Bytes of keys locked in memory.
    pub locked_memory: Gauge<i64, AtomicI64>,
    /// 1 while some keys could not be locked in memory.
    pub memory_not_locked: Gauge<i64, AtomicI64>,
    /// Writes of Secrets.
    pub secret_writes: Counter<u64, AtomicU64>,
}

impl Metrics {
    /// The metrics, and the registry that prints them. `features` are the words for what is switched on.
    pub fn new(keys: &Arc<Keys>, features: &[&'static str]) -> (Metrics, Registry) {
        let metrics = Metrics::default();
        let mut all = Registry::default();
        all.register_collector(Box::new(process::Process::default()));
        let registry = all.sub_registry_with_prefix("touchseal");
        let build = Info::new([
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("revision", REVISION.to_owned()),
            ("features", features.join(",")),
        ]);
        registry.register(
            "build",
            "Version of this operator, what it was built from, what is switched on",
            build,
        );
        registry.register("leads", "1 while this replica is the one that writes", metrics.leads.clone());
        registry.register_collector(Box::new(keyrings::Keyrings::new(keys, metrics.ceremonies.clone())));
        registry.register_collector(Box::new(documents::Collected::new(keys, metrics.documents.clone())));
        metrics.reconciles.register(registry);
        metrics.calls.register(registry);
        registry.register(
            "incident_keys",
            "Secret keys of an Incident by state",
            metrics.incident_keys.clone(),
        );
        registry.register(
            "pod_watches_interrupted",
            "Watches of pods that failed and are not back: no old value is newly said to be left meanwhile",
            metrics.pod_watches_interrupted.clone(),
        );
        registry.register_with_unit(
            "locked_memory",
            "Memory of keys that cannot be swapped out",
            Unit::Bytes,
            metrics.locked_memory.clone(),
        );
        registry.register(
            "memory_not_locked",
            "1 while keys are in memory that may be swapped to disk",
            metrics.memory_not_locked.clone(),
        );
        registry.register("secret_writes", "Secrets written", metrics.secret_writes.clone());
        (metrics, all)
    }

    /// This process does not lead any more: what only a leader knows is not said any more.
    pub fn led(&self) {
        self.leads.set(0);
        self.incident_keys.clear();
        self.documents.forget();
        self.reconciles.clear();
    }
}
