//! The client of the API server. No request waits for ever: a server that took it and does not answer counts as gone.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use kube::Client;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::{BoxError, Service};

use crate::args::Args;

/// Longest wait for the head of an answer. Also of a watch's: the API server sends it before the first event.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest silence within an answer. The API server sends each watch a bookmark about once a minute.
const SILENCE: Duration = Duration::from_secs(120);

/// A client from a kubeconfig, else from what the pod is given.
///
/// # Errors
/// Says what is wrong with the configuration.
pub async fn connect(args: &Args) -> Result<Client, String> {
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
    Ok(builder.with_layer(&tower::layer::layer_fn(|inner| Answered { inner, within: ANSWER })).build())
}

/// Gives up on a request whose answer does not begin in time.
struct Answered<S> {
    inner: S,
    within: Duration,
}

type Request = http::Request<Body>;
type Answer<R> = Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>;

impl<S> Service<Request> for Answered<S>
where
    S: Service<Request>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Answer<S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = tokio::time::timeout(self.within, self.inner.call(request));
        Box::pin(async move { answer.await.map_err(|_| "no answer in time")?.map_err(Into::into) })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn a_server_that_took_a_request_and_says_nothing_is_given_up_on() {
        let silent = tower::service_fn(|_: Request| std::future::pending::<Result<(), Infallible>>());
        let mut service = Answered { inner: silent, within: Duration::from_millis(20) };
        let error = service.call(Request::new(Body::empty())).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer in time");
    }

    #[tokio::test]
    async fn an_answer_passes() {
        let quick = tower::service_fn(|_: Request| std::future::ready(Ok::<_, Infallible>(7)));
        let mut service = Answered { inner: quick, within: Duration::from_secs(5) };
        assert_eq!(service.call(Request::new(Body::empty())).await.unwrap(), 7);
    }
}
