//! /metrics. Numbers tell an attacker when the operator is sealed and whose rotations are late, so beyond loopback it is an
//! explicit choice who may read them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use kube::Client;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;

use super::guard::{Answer, Guard};
use super::serve::{Bounds, WhenFull, listen, serve};
use super::tls::Certificate;
use crate::args::{Args, MetricsAuth};
use crate::telemetry::{self, Format};

/// A page of many objects takes its time, and a scraper waits some seconds for it.
const METRICS: Bounds = Bounds {
    most: 64,
    when_full: WhenFull::Waits,
    patience: Duration::from_secs(10),
    life: Duration::from_secs(60),
};

/// Where the metrics are served, and to whom.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    guarded: bool,
    tls: Option<Certificate>,
}

impl Listening {
    /// As the flags say.
    ///
    /// # Errors
    /// They leave open who may read, or the certificate cannot be used.
    pub fn of(args: &Args) -> Result<Listening, String> {
        let address = args.metrics_bind_address;
        if args.metrics_auth.is_none() && !address.ip().is_loopback() {
            return Err(format!(
                "--metrics-bind-address {address} can be reached by others: say who may read the metrics, \
                 --metrics-auth kubernetes (tokens of who may get the path /metrics) or --metrics-auth none (everybody)"
            ));
        }
        let guarded = args.metrics_auth == Some(MetricsAuth::Kubernetes);
        let tls = match (&args.metrics_tls_cert_file, &args.metrics_tls_key_file) {
            (Some(certificate), Some(key)) => Some(Certificate::of_files(certificate, key)?),
            // A token that others could read on its way would be worth more than the metrics.
            _ if guarded => Some(Certificate::made()?),
            _ => None,
        };
        Ok(Listening { address, guarded, tls })
    }

    /// Serves the metrics until the process ends; `client` asks the API server who may read them.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn serve(self, registry: Registry, client: Client) -> std::io::Result<()> {
        let listener = listen(self.address)?;
        let routes = routes(registry, self.guarded.then(|| Guard::new(client)));
        serve(listener, self.tls.map(Arc::new), routes, METRICS).await;
        Ok(())
    }
}

fn routes(registry: Registry, guard: Option<Guard>) -> Router {
    // One page at a time: each counts all objects.
    let routes = Router::new().route("/metrics", get(write)).with_state(Arc::new(Mutex::new(registry)));
    match guard {
        None => routes,
        Some(guard) => routes.layer(middleware::from_fn_with_state(Arc::new(guard), admit)),
    }
}

async fn write(State(registry): State<Arc<Mutex<Registry>>>, request: Request) -> Response {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::asked(accept.unwrap_or_default());
    let registry = registry.lock_owned().await;
    // Thousands of objects take some milliseconds, which others need not wait for.
    let page = tokio::task::spawn_blocking(move || telemetry::page(&registry, format));
    match page.await {
        Ok(Ok(page)) => ([(header::CONTENT_TYPE, format.content_type())], page).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|shown| shown.to_str().ok());
    let shown = shown.map(str::to_owned);
    match guard.ask(shown.as_deref()).await {
        Answer::Come => next.run(request).await,
        Answer::WhoAreYou => {
            let challenge = HeaderValue::from_static("Bearer");
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
        }
        Answer::NotYou => StatusCode::FORBIDDEN.into_response(),
        Answer::Later => StatusCode::TOO_MANY_REQUESTS.into_response(),
        Answer::CannotTell => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn listening(flags: &[&str]) -> Result<Listening, String> {
        Listening::of(&Args::parse_from([&["touchseal-operator"], flags].concat()))
    }

    #[test]
    fn beyond_loopback_who_may_read_has_to_be_said() {
        for open in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
            let address = format!("--metrics-bind-address={open}");
            let refused = listening(&[&address]).unwrap_err();
            assert!(refused.contains(open) && refused.contains("--metrics-auth kubernetes"), "{refused}");
            let said = listening(&[&address, "--metrics-auth=none"]).unwrap();
            assert!(!said.guarded && said.tls.is_none());
            let said = listening(&[&address, "--metrics-auth=kubernetes"]).unwrap();
            assert!(said.guarded && said.tls.is_some(), "tokens travel over TLS only");
        }
        for own in ["127.0.0.1:8080", "[::1]:8080"] {
            let said = listening(&[&format!("--metrics-bind-address={own}")]).unwrap();
            assert!(!said.guarded && said.tls.is_none());
        }
        assert!(!listening(&[]).unwrap().guarded);
    }

    #[test]
    fn a_certificate_that_cannot_be_used_is_told_by_its_file() {
        let files = ["--metrics-tls-cert-file=/none/tls.crt", "--metrics-tls-key-file=/none/tls.key"];
        let refused = listening(&files).unwrap_err();
        assert!(refused.contains("/none/tls.crt"), "{refused}");
        assert!(Args::try_parse_from(["touchseal-operator", files[0]]).is_err(), "one without the other");
    }
}
