//! A kind's watches in every place, told one after the other, each event with the place it comes from. A namespace that is
//! not there counts as one with nothing in it; what it had is told to be gone by an empty list.
//!
//! Places list in turn, so that the pages of many never meet in memory; between `Init` and `InitDone` of one place no other's
//! list begins.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use kube::runtime::watcher::{self, Event};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Kind, Places};
use crate::scope::{self, Place};
use crate::words;

/// What a watch tells.
pub struct Told<K> {
    /// Where it looks.
    pub place: Place,
    /// What it saw.
    pub event: Event<K>,
}

/// Everything of a kind in all places, as long as it is asked for. `watch` watches one place.
pub fn follow<K, S, W>(
    places: &Arc<Places>,
    kind: Kind,
    watch: W,
) -> impl Stream<Item = Told<K>> + Send + use<K, S, W>
where
    K: Send + 'static,
    W: Fn(Option<&str>) -> S + Clone + Send + 'static,
    S: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
{
    let turn = Arc::new(Semaphore::new(1));
    let visits = places.scope().places().into_iter().map(|place| {
        let visit = Visit {
            events: events(Arc::clone(places), kind, place.clone(), watch.clone()),
            places: Arc::clone(places),
            kind,
            place,
            turn: Arc::clone(&turn),
            holds: None,
            listed: false,
        };
        let next = |mut visit: Visit<K>| async move { Some((visit.next().await?, visit)) };
        stream::unfold(visit, next).boxed()
    });
    stream::select_all(visits)
}

/// One place's watch, made anew whenever the place comes back.
fn events<K, S>(
    places: Arc<Places>,
    kind: Kind,
    place: Place,
    watch: impl Fn(Option<&str>) -> S + Send + 'static,
) -> BoxStream<'static, watcher::Result<Event<K>>>
where
    K: Send + 'static,
    S: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
{
    let around = move |()| {
        let (places, place) = (Arc::clone(&places), place.clone());
        async move { (places.is_there(&place).await, places, place) }
    };
    let visits = stream::repeat(()).then(around).flat_map(move |(there, places, place)| {
        if there {
            let (of, within) = (Arc::clone(&places), place.clone());
            let due = silence(async move { of.is_due(kind, &within).await });
            let events = watch(place.as_deref());
            due.chain(events).take_until(async move { places.goes(&place).await }.boxed()).boxed()
        } else {
            let nothing = [Ok(Event::Init), Ok(Event::InitDone)];
            stream::iter(nothing).chain(silence(async move { places.arrives(&place).await })).boxed()
        }
    });
    visits.boxed()
}

/// A stream that ends with `wait` and tells nothing.
fn silence<T: Send>(wait: impl Future<Output = ()> + Send) -> impl Stream<Item = T> + Send {
    stream::once(wait).filter_map(|()| std::future::ready(None))
}

struct Visit<K> {
    events: BoxStream<'static, watcher::Result<Event<K>>>,
    places: Arc<Places>,
    kind: Kind,
    place: Place,
    turn: Arc<Semaphore>,
    /// While it lists.
    holds: Option<OwnedSemaphorePermit>,
    /// The end of its list was told.
    listed: bool,
}

impl<K> Visit<K> {
    async fn next(&mut self) -> Option<Told<K>> {
        if std::mem::take(&mut self.listed) {
            // Whoever asks for more has taken in what was told.
            self.places.is_known(self.kind, &self.place);
        }
        loop {
            let event = match self.events.next().await? {
                Ok(event) => event,
                Err(error) => {
                    self.holds = None;
                    self.failed(&error);
                    continue;
                }
            };
            match &event {
                Event::Init => {
                    // Its place may have gone in the middle of a list.
                    self.holds = None;
                    self.holds = Arc::clone(&self.turn).acquire_owned().await.ok();
                }
                Event::InitDone => (self.holds, self.listed) = (None, true),
                _ => {}
            }
            return Some(Told { place: self.place.clone(), event });
        }
    }

    fn failed(&self, error: &watcher::Error) {
        if words::is_denied(error) {
            self.places.is_refused(self.kind, &self.place);
        }
        complain(&self.kind.to_string(), self.place.as_deref(), error);
    }
}

/// Says that a watch failed, and what to do where that is for want of a right.
pub fn complain(kind: &str, place: Option<&str>, error: &watcher::Error) {
    let (place, problem) = (scope::title(place), words::of_watch(error));
    if words::is_denied(error) {
        tracing::warn!(
            kind,
            place,
            problem,
            "the operator may not list and watch this kind there: give it its role; it is tried again"
        );
    } else {
        tracing::warn!(kind, place, problem, "a watch failed; it is tried again");
    }
}
