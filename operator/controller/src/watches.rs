//! Watches that exist only while an EncryptedSecret needs them: the ConfigMaps of a namespace it reads documents from,
//! and the Secrets of a namespace in which a foreign one is in its way. Metadata only, at most one watch of each kind a
//! namespace, never a cluster-wide watch of other people's objects.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::secrets::Key;
use crate::{lists, words};

/// An object an EncryptedSecret wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A ConfigMap of its namespace, by name.
    ConfigMap(String),
    /// A Secret of its namespace, by name.
    Secret(String),
}

impl Wanted {
    fn kind(&self) -> Kind {
        match self {
            Wanted::ConfigMap(_) => Kind::ConfigMaps,
            Wanted::Secret(_) => Kind::Secrets,
        }
    }
}

/// What one watch is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    ConfigMaps,
    Secrets,
}

/// The watches that run now.
pub struct Watches {
    client: Client,
    wake: UnboundedSender<Key>,
    /// By namespace; none is kept in which nothing is wanted.
    state: Mutex<HashMap<String, Namespace>>,
}

#[derive(Default)]
struct Namespace {
    /// What each EncryptedSecret wants, by its name.
    wants: HashMap<String, HashSet<Wanted>>,
    /// Who wants an object.
    wanted: HashMap<Wanted, HashSet<String>>,
    /// How many different objects of a kind are wanted; never 0.
    counts: HashMap<Kind, usize>,
    /// One task a kind that is wanted.
    tasks: HashMap<Kind, AbortHandle>,
}

impl Watches {
    /// None yet; `wake` receives every EncryptedSecret whose wanted object changed.
    pub fn new(client: Client, wake: UnboundedSender<Key>) -> Arc<Watches> {
        Arc::new(Watches { client, wake, state: Mutex::default() })
    }

    /// Replaces which ConfigMaps one EncryptedSecret wants to hear of. To be called before they are read.
    pub fn want_config_maps(self: &Arc<Self>, object: &Key, names: impl IntoIterator<Item = String>) {
        self.change(object, Kind::ConfigMaps, names.into_iter().map(Wanted::ConfigMap));
    }

    /// Replaces which foreign Secrets one EncryptedSecret waits for. It is called after they were looked at, so the
    /// EncryptedSecret is woken once more, by the watch's first list or, where the watch runs already, at once: what
    /// happened to them in between was told to nobody.
    pub fn want_secrets(self: &Arc<Self>, object: &Key, names: impl IntoIterator<Item = String>) {
        self.change(object, Kind::Secrets, names.into_iter().map(Wanted::Secret));
    }

    /// The EncryptedSecret is gone and wants nothing any more.
    pub fn forget(self: &Arc<Self>, object: &Key) {
        self.change(object, Kind::ConfigMaps, []);
        self.change(object, Kind::Secrets, []);
    }

    /// Ends every watch.
    pub fn stop(&self) {
        let places = std::mem::take(&mut *self.lock());
        places.values().flat_map(|place| place.tasks.values()).for_each(AbortHandle::abort);
    }

    /// Replaces what one EncryptedSecret wants of one kind, and starts or stops that kind's watch.
    fn change(
        self: &Arc<Self>,
        (namespace, name): &Key,
        kind: Kind,
        wants: impl IntoIterator<Item = Wanted>,
    ) {
        let wants: HashSet<Wanted> = wants.into_iter().collect();
        let mut state = self.lock();
        if wants.is_empty() && !state.contains_key(namespace) {
            return;
        }
        let place = state.entry(namespace.clone()).or_default();
        let grew = place.change(name, kind, wants);
        if !place.counts.contains_key(&kind) {
            place.tasks.remove(&kind).inspect(AbortHandle::abort);
        } else if let Entry::Vacant(vacant) = place.tasks.entry(kind) {
            let task = tokio::spawn(Arc::clone(self).follow(namespace.clone(), kind));
            vacant.insert(task.abort_handle());
        } else if grew && kind == Kind::Secrets {
            self.send(namespace, name);
        }
        if place.wants.is_empty() {
            state.remove(namespace);
        }
    }

    async fn follow(self: Arc<Self>, namespace: String, kind: Kind) {
        match kind {
            Kind::ConfigMaps => {
                let events = lists::metadata::<ConfigMap>(self.client.clone(), &namespace);
                self.wake_on(events, &namespace, kind, Wanted::ConfigMap).await;
            }
            Kind::Secrets => {
                let events = lists::metadata::<Secret>(self.client.clone(), &namespace);
                self.wake_on(events, &namespace, kind, Wanted::Secret).await;
            }
        }
    }

    /// Wakes whoever wants an object that changed; after each fresh list everybody, for what went away unseen.
    async fn wake_on<K>(
        &self,
        events: impl Stream<Item = watcher::Result<Event<PartialObjectMeta<K>>>>,
        namespace: &str,
        kind: Kind,
        wanted: fn(String) -> Wanted,
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object) | Event::Delete(object)) => {
                    let what = wanted(object.metadata.name.unwrap_or_default());
                    self.wake(namespace, |place| place.wanted.get(&what).cloned().unwrap_or_default());
                }
                Ok(Event::InitDone) => self.wake(namespace, |place| {
                    let of_kind = place.wanted.iter().filter(|(what, _)| what.kind() == kind);
                    of_kind.flat_map(|(_, names)| names.iter().cloned()).collect()
                }),
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(error) => {
                    let problem = words::of_watch(&error);
                    tracing::warn!(
                        namespace,
                        problem,
                        "watch of referenced objects failed; it is tried again"
                    );
                }
            }
        }
    }

    fn wake(&self, namespace: &str, who: impl FnOnce(&Namespace) -> HashSet<String>) {
        let names = self.lock().get(namespace).map(who).unwrap_or_default();
        names.iter().for_each(|name| self.send(namespace, name));
    }

    fn send(&self, namespace: &str, name: &str) {
        // The receiver lives as long as the controller runs.
        let _ = self.wake.send((namespace.to_owned(), name.to_owned()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Namespace>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Namespace {
    /// Replaces what `name` wants of one kind. True if it wants something it did not want before.
    fn change(&mut self, name: &str, kind: Kind, wants: HashSet<Wanted>) -> bool {
        let of_kind = |what: &&Wanted| what.kind() == kind;
        let before: HashSet<Wanted> =
            self.wants.get(name).into_iter().flatten().filter(of_kind).cloned().collect();
        for lost in before.difference(&wants) {
            let Some(names) = self.wanted.get_mut(lost) else { continue };
            names.remove(name);
            if names.is_empty() {
                self.wanted.remove(lost);
                self.count(kind, |count| count.saturating_sub(1));
            }
        }
        let mut grew = false;
        for new in wants.difference(&before) {
            grew = true;
            if !self.wanted.contains_key(new) {
                self.count(kind, |count| count + 1);
            }
            self.wanted.entry(new.clone()).or_default().insert(name.to_owned());
        }
        let all = self.wants.entry(name.to_owned()).or_default();
        all.retain(|what| what.kind() != kind);
        all.extend(wants);
        if all.is_empty() {
            self.wants.remove(name);
        }
        grew
    }

    fn count(&mut self, kind: Kind, change: impl FnOnce(usize) -> usize) {
        match change(self.counts.get(&kind).copied().unwrap_or_default()) {
            0 => self.counts.remove(&kind),
            count => self.counts.insert(kind, count),
        };
    }
}

#[cfg(test)]
#[path = "watches_tests.rs"]
mod tests;
