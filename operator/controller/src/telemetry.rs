//! Logs and metrics. Nothing here ever sees a value of a Secret or a key.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing::Level;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::args::{Args, LogFormat};

/// Targets that print bodies, or errors that quote them, and the most they may say whatever is asked for: bodies can be
/// Secrets. What they would say of failures the operator says itself, without bodies.
const CAPPED: [(&str, Option<Level>); 7] = [
    ("kube_client", None),
    ("kube_runtime", None),
    ("hyper", Some(Level::INFO)),
    ("h2", Some(Level::INFO)),
    ("tower", Some(Level::INFO)),
    ("rustls", Some(Level::INFO)),
    ("hyper_util", Some(Level::INFO)),
];

/// Starts logging to standard error.
///
/// # Errors
/// The filter is not one.
pub fn start_logs(args: &Args) -> Result<(), String> {
    let asked = EnvFilter::try_new(&args.log_level).map_err(|e| format!("--log-level: {e}"))?;
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    let lines = match args.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // Two filters, and a line passes both: a directive of `asked` cannot lift a cap.
    let capped = filter_fn(|metadata| allowed(metadata.target(), *metadata.level()));
    tracing_subscriber::registry().with(lines.with_filter(asked.and(capped))).init();
    Ok(())
}

fn allowed(target: &str, level: Level) -> bool {
    let krate = target.split("::").next().unwrap_or(target);
    match CAPPED.iter().find(|(capped, _)| *capped == krate) {
        Some((_, cap)) => cap.is_some_and(|cap| level <= cap),
        None => true,
    }
}

/// Label `keyring`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct KeyringLabel {
    /// Keyring name.
    pub keyring: String,
}

/// Label `outcome`, a word from a fixed list.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// Ready, or a condition's reason.
    pub outcome: &'static str,
}

/// Labels `incident` and `state`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct IncidentLabel {
    /// Name of the Incident.
    pub incident: String,
    /// exposed, draining, safe or accepted.
    pub state: &'static str,
}

/// Labels `keyring`, `action` and `outcome`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct AuditLabel {
    /// Keyring name.
    pub keyring: String,
    /// release, share, hand-over, seal or manifest.
    pub action: &'static str,
    /// accepted, given, refused, forged, garbage or done.
    pub outcome: &'static str,
}

/// Every series the operator exposes.
#[derive(Default)]
pub struct Metrics {
    /// 1 while this process holds the keyring's master key.
    pub unsealed: Family<KeyringLabel, Gauge<i64, AtomicI64>>,
    /// Releases that were accepted.
    pub unseals: Family<KeyringLabel, Counter<u64, AtomicU64>>,
    /// Releases that were refused.
    pub refused: Family<KeyringLabel, Counter<u64, AtomicU64>>,
    /// What was done with keys, or tried.
    pub audited: Family<AuditLabel, Counter<u64, AtomicU64>>,
    /// Reconciles by outcome.
    pub reconciles: Family<OutcomeLabel, Counter<u64, AtomicU64>>,
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
    /// The metrics, and the registry that prints them.
    pub fn new() -> (Metrics, Registry) {
        let metrics = Metrics::default();
        let mut registry = Registry::with_prefix("touchseal");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of this operator", build);
        registry.register(
            "keyring_unsealed",
            "1 while this process holds the master key",
            metrics.unsealed.clone(),
        );
        registry.register("unseals", "Releases accepted", metrics.unseals.clone());
        registry.register("releases_refused", "Releases refused", metrics.refused.clone());
        registry.register("audit", "Releases, hand-overs and seals by outcome", metrics.audited.clone());
        registry.register("reconciles", "Reconciles by outcome", metrics.reconciles.clone());
        registry.register(
            "incident_keys",
            "Secret keys of an Incident by state",
            metrics.incident_keys.clone(),
        );
        registry.register("leads", "1 while this replica is the one that writes", metrics.leads.clone());
        registry.register(
            "pod_watches_interrupted",
            "Watches of pods that failed and are not back: no old value is newly said to be left meanwhile",
            metrics.pod_watches_interrupted.clone(),
        );
        registry.register(
            "locked_memory_bytes",
            "Memory of keys that cannot be swapped out",
            metrics.locked_memory.clone(),
        );
        registry.register(
            "memory_not_locked",
            "1 while keys are in memory that may be swapped to disk",
            metrics.memory_not_locked.clone(),
        );
        registry.register("secret_writes", "Secrets written", metrics.secret_writes.clone());
        (metrics, registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_print_bodies_are_capped_and_ours_are_not() {
        for (target, level) in [
            ("kube_client::client", Level::ERROR),
            ("kube_runtime::watcher", Level::WARN),
            ("hyper::proto::h1::io", Level::TRACE),
            ("hyper_util::client::legacy", Level::DEBUG),
        ] {
            assert!(!allowed(target, level), "{target} {level}");
        }
        for (target, level) in [
            ("hyper::client", Level::WARN),
            ("touchseal_operator::run", Level::TRACE),
            ("hyperion", Level::TRACE),
        ] {
            assert!(allowed(target, level), "{target} {level}");
        }
    }
}
