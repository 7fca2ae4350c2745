//! Wires ceremony, election, a leader's work and probes together.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{Semaphore, oneshot, watch};

use crate::args::Args;
use crate::election::{Election, Timing};
use crate::events::Events;
use crate::http::{self, Readiness};
use crate::keys::Keys;
use crate::lead::Lead;
use crate::leadership::{Leadership, Moment};
use crate::scope::Scope;
use crate::telemetry::Metrics;
use crate::{ceremony, client, identity};

/// Most proofs of other replicas that are checked at one time.
const CHECKS: usize = 4;

/// Why the operator ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No client.
    #[error("no usable cluster configuration: {0}")]
    Config(String),
    /// Flags that contradict each other.
    #[error("{0}")]
    Flags(String),
    /// Who am I.
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    /// A listener.
    #[error("listening on {address}: {source}")]
    Listen {
        /// Address.
        address: std::net::SocketAddr,
        /// Problem.
        source: std::io::Error,
    },
}

/// Runs the operator until it is told to stop.
///
/// # Errors
/// It could not start.
pub async fn run(args: Args) -> Result<(), RunError> {
    let timing = Timing { lease: args.lease_duration, renew: args.renew_deadline, retry: args.retry_period };
    let timing = timing.check().map_err(RunError::Flags)?;
    let listening = http::metrics::Listening::of(&args).map_err(RunError::Flags)?;
    let keys = Arc::new(Keys::default());
    let (metrics, registry) = Metrics::new(&keys, &args.features());
    let metrics = Arc::new(metrics);
    let client = client::connect(&args, metrics.calls.clone()).await.map_err(RunError::Config)?;
    let identity = identity::discover(&client).await?;
    let namespace = args.operator_namespace.clone().unwrap_or_else(|| identity.namespace.clone());
    let scope = Scope::of(&args.namespaces);
    tracing::info!(
        pod = identity.pod,
        namespace,
        serves = %scope,
        version = env!("CARGO_PKG_VERSION"),
        "touchseal operator starts, sealed"
    );

    let (known, ready) = (Readiness::default(), Readiness::default());
    let (keys_changed, keys_ticks) = watch::channel(0_u64);
    let leadership = Leadership::default();
    let mut election = Election::new(&client, &namespace, &identity, timing, leadership.clone());
    let lead = Lead {
        client: client.clone(),
        leadership: leadership.clone(),
        namespace: namespace.clone(),
        scope,
        pod: identity.pod.clone(),
        keys: Arc::clone(&keys),
        keys_ticks,
        known: known.clone(),
        metrics: Arc::clone(&metrics),
        concurrency: args.concurrency,
        mount_refresh: args.mount_refresh,
    };
    let asking = client.clone();
    let ceremony = ceremony::Ceremony {
        client: client.clone(),
        events: Events::new(client, &identity.pod),
        leadership: leadership.clone(),
        checks: Semaphore::new(CHECKS),
        quiet: ceremony::Quiet::default(),
        ready: ready.clone(),
        ready_by: Instant::now() + args.hand_over_wait,
        identity,
        namespace,
        service_account: args.service_account.clone(),
        keys,
        keys_changed,
        metrics,
        uids: Mutex::default(),
    };
    let keyrings_listed = oneshot::channel();
    let elect = async {
        if args.leader_elect {
            election.run().await;
        } else {
            leadership.hold(Moment::NEVER);
            std::future::pending().await
        }
    };
    let tell_known = async {
        if keyrings_listed.1.await.is_ok() {
            known.set();
        }
        std::future::pending().await
    };
    let (probe_address, metrics_address) = (args.health_probe_bind_address, args.metrics_bind_address);
    tokio::select! {
        () = elect => {}
        () = lead.run() => {}
        () = ceremony.run(keyrings_listed.0) => {}
        () = tell_known => {}
        served = http::serve_probes(probe_address, ready) => {
            served.map_err(|source| RunError::Listen { address: probe_address, source })?;
        }
        served = listening.serve(registry, asking) => {
            served.map_err(|source| RunError::Listen { address: metrics_address, source })?;
        }
        () = stop_signal() => tracing::info!("told to stop; keys are dropped"),
    }
    election.release().await;
    Ok(())
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be handled");
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
