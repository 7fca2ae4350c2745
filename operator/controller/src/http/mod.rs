//! /healthz and /readyz here, /metrics in `metrics`. Sealed is a normal state: a sealed operator is alive and ready, so that
//! it stays reachable for its unsealing.

mod guard;
pub mod metrics;
mod review;
mod serve;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::watch;

use serve::{Bounds, WhenFull, listen, serve};

/// A kubelet asks and is answered within milliseconds. It gives up after a second, and a container whose liveness is not
/// answered is killed and its keys with it: whoever reaches the port must not be able to keep it waiting. So many that somebody
/// who connects as fast as they can does not push it out in the moment between connecting and asking.
const PROBES: Bounds = Bounds {
    most: 256,
    when_full: WhenFull::OldestGoes,
    patience: Duration::from_secs(2),
    life: Duration::from_secs(5),
};

/// Something that is so from some time on. A replica that does not lead is as ready as one that does.
#[derive(Clone, Default)]
pub struct Readiness(watch::Sender<bool>);

impl Readiness {
    /// From now on /readyz answers 200.
    pub fn set(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is.
    pub fn get(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is.
    pub async fn is_set(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|ready| *ready).await;
    }
}

/// Serves the probes until the process ends.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve_probes(address: SocketAddr, ready: Readiness) -> std::io::Result<()> {
    let listener = listen(address)?;
    let routes = Router::new().route("/healthz", get(|| async { "ok" })).route(
        "/readyz",
        get(move || async move {
            if ready.get() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting") }
        }),
    );
    serve(listener, None, routes, PROBES).await;
    Ok(())
}
