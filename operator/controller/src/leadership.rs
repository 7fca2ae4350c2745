//! Whether this process may write for all replicas, and until when. All such writes go through one fence: it asks right
//! before each request, and gives a request up when the time is over.
//!
//! A term is one uninterrupted time of leading. A client is made for one term and writes in no other, so what was decided
//! in an earlier one is never written in a later one.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Method;
use kube::Client;
use kube::client::Body;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tower::{BoxError, Service};

/// A time since the machine started. The clock runs on while the process is stopped and while the machine sleeps, and
/// nobody can set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// Later than all others.
    pub const NEVER: Moment = Moment(Duration::MAX);

    /// Now.
    pub fn now() -> Moment {
        // The kernel has this clock since 2.6.39; without it everything counts as over.
        Moment(clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Into::into))
    }

    /// So much later.
    pub const fn after(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span))
    }

    /// How long until then; zero when it is past.
    pub const fn since(self, now: Moment) -> Duration {
        self.0.saturating_sub(now.0)
    }
}

/// A number that grows with each term of this process.
pub type Term = u64;

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The newest term, over or not.
    term: Term,
    /// When it is over; None: it is.
    until: Option<Moment>,
}

impl State {
    fn left(self, term: Term, now: Moment) -> Option<Duration> {
        let until = self.until.filter(|until| self.term == term && now < *until)?;
        Some(until.since(now))
    }
}

/// Shared by whoever asks; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Leadership(watch::Sender<State>);

impl Leadership {
    /// Leads until then, at least: the term goes on if it is not over yet, otherwise another begins.
    pub fn hold(&self, until: Moment) {
        let now = Moment::now();
        self.0.send_if_modified(|state| {
            if until <= now {
                return false; // the answer came too late to be worth anything
            }
            if state.left(state.term, now).is_none() {
                state.term += 1;
            }
            state.until = Some(until);
            true
        });
    }

    /// Leads no more.
    pub fn lose(&self) {
        self.0.send_if_modified(|state| state.until.take().is_some());
    }

    /// Whether the process leads now, whatever the term.
    pub fn leads(&self) -> bool {
        let state = *self.0.borrow();
        state.left(state.term, Moment::now()).is_some()
    }

    /// Waits for a term.
    pub async fn gained(&self) -> Term {
        let mut changes = self.0.subscribe();
        loop {
            let state = *changes.borrow_and_update();
            if state.left(state.term, Moment::now()).is_some() {
                return state.term;
            }
            // The sender lives as long as this.
            let _ = changes.changed().await;
        }
    }

    /// Waits for the end of a term.
    pub async fn lost(&self, term: Term) {
        let mut changes = self.0.subscribe();
        loop {
            let state = *changes.borrow_and_update();
            let Some(left) = state.left(term, Moment::now()) else { return };
            // Waits in pieces: the timer's clock may stand still where ours runs on.
            let _ = tokio::time::timeout(left.min(Duration::from_secs(1)), changes.changed()).await;
        }
    }

    /// A client that reads always and writes in this term only.
    pub fn fence(&self, client: &Client, term: Term) -> Client {
        let namespace = client.default_namespace().to_owned();
        let client = client.clone();
        let inner = tower::service_fn(move |request| {
            let client = client.clone();
            async move { client.send(request).await }
        });
        Client::new(Fence { inner, leadership: self.clone(), term }, namespace)
    }
}

/// Why a request was not made, or not waited for.
#[derive(Debug, thiserror::Error)]
#[error("this replica does not lead any more")]
struct NotLeading;

struct Fence<S> {
    inner: S,
    leadership: Leadership,
    term: Term,
}

type Request = http::Request<Body>;

impl<S> Service<Request> for Fence<S>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // What was made ready is what is called.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let answer = inner.call(request);
            return Box::pin(async move { answer.await.map_err(Into::into) });
        }
        let (leadership, term) = (self.leadership.clone(), self.term);
        Box::pin(async move {
            tokio::select! {
                // First the fence, each time this is looked at: a process that was stopped in between sends nothing.
                biased;
                () = leadership.lost(term) => Err(NotLeading.into()),
                answer = async { inner.call(request).await } => answer.map_err(Into::into),
            }
        })
    }
}

#[cfg(test)]
#[path = "leadership_tests.rs"]
mod tests;
