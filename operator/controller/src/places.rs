//! The places the operator watches and what is known of each: everywhere at once, or the namespaces it is limited to. Of
//! those each may come later, go, and come back: it is watched while it is there, as long as the operator runs.

mod visit;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Client, ResourceExt as _};
use tokio::sync::watch;

use crate::scope::{Place, Scope};
use crate::{lists, words};

pub use visit::{Told, follow};

/// Whose watches run in every place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Secrets of ours.
    Secrets,
    /// EncryptedSecrets. Deciding takes both: a namespace's are watched once its Secrets are known, and where all are watched at
    /// once, both are listed side by side and deciding waits ([`Places::may_decide`]).
    EncryptedSecrets,
    /// Recipients.
    Recipients,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What is known of a kind in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// All of it was listed, and taken in.
    Known,
    /// The operator may not look, and never could before.
    Refused,
}

/// The namespaces that are there, each with whether it is on its way out.
pub type Namespaces = BTreeMap<String, bool>;

/// The places of one term.
pub struct Places {
    scope: Scope,
    namespaces: watch::Sender<Namespaces>,
    /// Places whose namespaces were listed, or cannot be.
    surveyed: watch::Sender<HashSet<Place>>,
    sights: watch::Sender<HashMap<(Kind, Place), Sight>>,
}

impl Places {
    /// Nothing known yet.
    pub fn new(scope: Scope) -> Arc<Places> {
        let (namespaces, surveyed, sights) =
            (watch::Sender::default(), watch::Sender::default(), watch::Sender::default());
        Arc::new(Places { scope, namespaces, surveyed, sights })
    }

    /// Which namespaces are served.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Follows which namespaces there are, as long as the term lasts.
    pub async fn follow(&self, client: Client) {
        let watches = self.scope.places().into_iter().map(|place| {
            let events = lists::namespaces(client.clone(), place.as_deref());
            events.map(move |event| (place.clone(), event)).boxed()
        });
        let mut events = futures::stream::select_all(watches);
        let mut coming = HashMap::new();
        while let Some((place, event)) = events.next().await {
            match event {
                Ok(event) => self.take(place, event, &mut coming),
                Err(error) => {
                    visit::complain("Namespaces", place.as_deref(), &error);
                    if words::is_denied(&error) {
                        self.is_hidden(place);
                    }
                }
            }
        }
    }

    /// The namespaces as they are and will be; empty as long as they are not known.
    pub fn namespaces(&self) -> watch::Receiver<Namespaces> {
        let mut namespaces = self.namespaces.subscribe();
        namespaces.mark_changed();
        namespaces
    }

    /// Whether it is known which objects of a namespace there are. Of one that is not served, or may not be looked into,
    /// it is not.
    pub fn knows(&self, kind: Kind, namespace: &str) -> bool {
        let place = self.scope.is_limited().then(|| namespace.to_owned());
        self.sights.borrow().get(&(kind, place)) == Some(&Sight::Known)
    }

    /// Waits until every place was listed, or cannot be.
    pub async fn settled(&self, kind: Kind) {
        let places: Vec<_> = self.scope.places().into_iter().map(|place| (kind, place)).collect();
        let all = |sights: &HashMap<_, _>| places.iter().all(|place| sights.contains_key(place));
        // The sender lives as long as this.
        drop(self.sights.subscribe().wait_for(all).await);
    }

    fn take(
        &self,
        place: Place,
        event: Event<PartialObjectMeta<Namespace>>,
        coming: &mut HashMap<Place, Namespaces>,
    ) {
        let read = |namespace: PartialObjectMeta<Namespace>| {
            (namespace.name_any(), namespace.metadata.deletion_timestamp.is_some())
        };
        match event {
            Event::Init => drop(coming.insert(place, Namespaces::new())),
            Event::InitApply(namespace) => coming.entry(place).or_default().extend([read(namespace)]),
            Event::InitDone => {
                let listed = coming.remove(&place).unwrap_or_default();
                self.namespaces.send_modify(|there| {
                    there.retain(|name, _| place.as_ref().is_some_and(|place| place != name));
                    there.extend(listed);
                });
                self.surveyed.send_if_modified(|surveyed| surveyed.insert(place));
            }
            Event::Apply(namespace) => {
                let (name, ends) = read(namespace);
                self.namespaces.send_if_modified(|there| there.insert(name, ends) != Some(ends));
            }
            Event::Delete(namespace) => {
                self.namespaces.send_if_modified(|there| there.remove(&namespace.name_any()).is_some());
            }
        }
    }

    /// A namespace that may not be looked at counts as there until it can be: the watches in it tell what is served, and it
    /// keeps no other waiting. What was known of it before stands.
    fn is_hidden(&self, place: Place) {
        let Some(name) = place.clone() else { return };
        if self.surveyed.send_if_modified(|surveyed| surveyed.insert(place)) {
            self.namespaces.send_if_modified(|there| there.insert(name, false).is_none());
        }
    }

    /// Whether a place is there, once that is known.
    async fn is_there(&self, place: &Place) -> bool {
        let Some(name) = place else { return true };
        drop(self.surveyed.subscribe().wait_for(|surveyed| surveyed.contains(place)).await);
        self.namespaces.borrow().contains_key(name)
    }

    /// Waits until a place is there.
    async fn arrives(&self, place: &Place) {
        let Some(name) = place else { return };
        drop(self.namespaces.subscribe().wait_for(|there| there.contains_key(name)).await);
    }

    /// Waits until a place is gone.
    async fn goes(&self, place: &Place) {
        let Some(name) = place else { return std::future::pending().await };
        drop(self.namespaces.subscribe().wait_for(|there| !there.contains_key(name)).await);
    }

    /// Waits until the Secrets are known of every EncryptedSecret that is told of.
    pub async fn may_decide(&self) {
        if !self.scope.is_limited() {
            self.secrets_known(None).await;
        }
    }

    /// Waits until a kind may be watched in a place.
    async fn is_due(&self, kind: Kind, place: &Place) {
        if kind == Kind::EncryptedSecrets && place.is_some() {
            self.secrets_known(place.clone()).await;
        }
    }

    async fn secrets_known(&self, place: Place) {
        let secrets = (Kind::Secrets, place);
        let known = |sights: &HashMap<_, _>| sights.get(&secrets) == Some(&Sight::Known);
        // The sender lives as long as this.
        drop(self.sights.subscribe().wait_for(known).await);
    }

    fn is_known(&self, kind: Kind, place: &Place) {
        let known = Some(Sight::Known);
        self.sights.send_if_modified(|sights| sights.insert((kind, place.clone()), Sight::Known) != known);
    }

    /// What was known of it before stands.
    fn is_refused(&self, kind: Kind, place: &Place) {
        let blind: &[Kind] = match kind {
            Kind::Secrets => &[Kind::Secrets, Kind::EncryptedSecrets],
            _ => &[kind],
        };
        self.sights.send_modify(|sights| {
            for kind in blind {
                sights.entry((*kind, place.clone())).or_insert(Sight::Refused);
            }
        });
    }
}

#[cfg(test)]
#[path = "places/tests.rs"]
mod tests;
