//! A bare client of the API server: bytes out, bytes in, and so many requests at a time.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use super::Fault;

/// Clones share one set of connections.
#[derive(Clone)]
pub struct Bare {
    client: Client,
}

/// One request.
#[derive(Clone)]
pub struct Ask {
    /// PATCH is a merge patch; APPLY a PATCH that is a server-side apply.
    pub verb: &'static str,
    pub path: String,
    pub body: Vec<u8>,
}

impl Bare {
    pub async fn connect(kubeconfig: &Path) -> Result<Bare, Fault> {
        let file = Kubeconfig::read_from(kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        Ok(Bare { client: Client::try_from(config)? })
    }

    /// The body of the answer; anything but success is an error.
    pub async fn send(&self, ask: Ask) -> Result<Vec<u8>, Fault> {
        let (verb, kind) = match ask.verb {
            "PATCH" => ("PATCH", "application/merge-patch+json"),
            "APPLY" => ("PATCH", "application/apply-patch+yaml"),
            verb => (verb, "application/json"),
        };
        let request = http::Request::builder()
            .method(verb)
            .uri(&ask.path)
            .header("content-type", kind)
            .body(Body::from(ask.body))?;
        let answer = self.client.send(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        // The garbage collector may have been quicker.
        let gone = verb == "DELETE" && status == http::StatusCode::NOT_FOUND;
        if !status.is_success() && !gone {
            let said = String::from_utf8_lossy(&body);
            return Err(format!("{} {}: {status}: {said}", ask.verb, ask.path).into());
        }
        Ok(body.to_vec())
    }

    /// An answer that does not end, line by line.
    pub async fn lines(&self, path: &str) -> Result<Lines, Fault> {
        let request = http::Request::get(path).body(Body::empty())?;
        let answer = self.client.send(request).await?;
        if !answer.status().is_success() {
            return Err(format!("GET {path}: {}", answer.status()).into());
        }
        Ok(Lines { body: answer.into_body() })
    }

    pub async fn get(&self, path: &str) -> Result<Value, Fault> {
        let ask = Ask { verb: "GET", path: path.to_owned(), body: Vec::new() };
        Ok(serde_json::from_slice(&self.send(ask).await?)?)
    }

    /// All of them, `at_once` at a time; the answers in order, and how long it took.
    pub async fn all(&self, asks: Vec<Ask>, at_once: usize) -> Result<(Vec<Vec<u8>>, Duration), Fault> {
        let began = Instant::now();
        let answers = stream::iter(asks).map(|ask| self.send(ask)).buffered(at_once).try_collect().await?;
        Ok((answers, began.elapsed()))
    }

    /// The same of chains: each chain's requests follow one another.
    pub async fn chains(&self, chains: Vec<Vec<Ask>>, at_once: usize) -> Result<Duration, Fault> {
        let began = Instant::now();
        stream::iter(chains)
            .map(|chain| async move {
                for ask in chain {
                    self.send(ask).await?;
                }
                Ok::<_, Fault>(())
            })
            .buffer_unordered(at_once)
            .try_collect::<()>()
            .await?;
        Ok(began.elapsed())
    }
}

/// The lines of an answer that is still coming.
pub struct Lines {
    body: Body,
}

impl Lines {
    /// Until it ends.
    pub async fn each(mut self, mut told: impl FnMut(&[u8])) {
        let mut rest = Vec::new();
        while let Some(Ok(frame)) = self.body.frame().await {
            let Ok(bytes) = frame.into_data() else { continue };
            rest.extend_from_slice(&bytes);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                told(&rest[..end]);
                rest.drain(..=end);
            }
        }
    }
}
