//! The client of the API server. No request waits for ever: a server that took it and does not answer counts as gone.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::ACCEPT;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use tower::{BoxError, Service};

use crate::args::Args;
use crate::clock::{API_SERVER, Clock};
use crate::telemetry::{Asked, Calls};

/// Longest wait for the head of an answer. Also of a watch's: the API server sends it before the first event. An API server that
/// is too busy asks for up to 32 s before a request is made again (429, its priority and fairness); the client waits so long by
/// itself, and this must not end it.
const ANSWER: Duration = Duration::from_secs(45);
/// Longest silence within an answer. The API server sends each watch a bookmark about once a minute.
const SILENCE: Duration = Duration::from_secs(120);

/// Asks for an answer without spec, data and status; one that is whole will do.
const METADATA_ONLY: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json");

/// A client from a kubeconfig, else from what the pod is given. Its requests are counted.
///
/// # Errors
/// Says what is wrong with the configuration.
pub async fn connect(args: &Args, calls: Calls) -> Result<Client, String> {
    let mut config = match &args.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|e| e.to_string())?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|e| e.to_string())?
        }
        None => kube::Config::incluster().map_err(|e| e.to_string())?,
    };
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    let builder = ClientBuilder::try_from(config).map_err(|e| e.to_string())?;
    Ok(builder
        .with_layer(&tower::layer::layer_fn(move |inner| {
            let calls = calls.clone();
            Answered { inner, within: ANSWER, clock: &API_SERVER, calls }
        }))
        .build())
}

/// What [`kube::core::Request`] makes of a write.
type Write = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// Writes what is known anyway, and gives the resourceVersion it was stored as: nobody has to tell the rest back.
///
/// # Errors
/// The API server refused it or did not answer.
pub async fn stored_version(client: &Client, write: Write) -> kube::Result<String> {
    #[derive(Deserialize)]
    struct Stored {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        resource_version: String,
    }
    let mut write = write.map_err(kube::Error::BuildRequest)?;
    write.headers_mut().insert(ACCEPT, METADATA_ONLY);
    let stored: Stored = client.request(write).await?;
    Ok(stored.metadata.resource_version)
}

/// Gives up on a request whose answer does not begin in time, counts it, and tells the clock what time it was there.
struct Answered<S> {
    inner: S,
    within: Duration,
    clock: &'static Clock,
    calls: Calls,
}

type Request = http::Request<Body>;
type Response<B> = http::Response<B>;
type Answer<B> = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

impl<S, B> Service<Request> for Answered<S>
where
    S: Service<Request, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Answer<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (sent, began, clock, calls) = (Timestamp::now(), Instant::now(), self.clock, self.calls.clone());
        let asked = Asked::of(request.method(), request.uri());
        let answer = tokio::time::timeout(self.within, self.inner.call(request));
        Box::pin(async move {
            let answer =
                answer.await.map_err(|_| "no answer in time".into()).and_then(|a| a.map_err(Into::into));
            calls.made(asked, answer.as_ref().ok().map(Response::status), began.elapsed());
            let answer = answer?;
            clock.heard(answer.headers(), sent);
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn a_server_that_took_a_request_and_says_nothing_is_given_up_on() {
        let silent =
            tower::service_fn(|_: Request| std::future::pending::<Result<Response<()>, Infallible>>());
        let mut service = Answered {
            inner: silent,
            within: Duration::from_millis(20),
            clock: &API_SERVER,
            calls: Calls::default(),
        };
        let error = service.call(Request::new(Body::empty())).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer in time");
    }

    #[tokio::test]
    async fn an_answer_passes_and_its_date_is_heard() {
        static CLOCK: Clock = Clock::new();
        let quick = tower::service_fn(|_: Request| {
            let mut answer = Response::new(7);
            let date = http::HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
            answer.headers_mut().insert(http::header::DATE, date);
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        let mut service =
            Answered { inner: quick, within: Duration::from_secs(5), clock: &CLOCK, calls: Calls::default() };
        assert_eq!(service.call(Request::new(Body::empty())).await.unwrap().into_body(), 7);
        assert!(CLOCK.now().to_string().starts_with("1994-11-06T"), "{}", CLOCK.now());
    }
}
