//! Publishes a Recipient a namespace and open keyring, so that authors know what to encrypt to. While sealed nothing is
//! published and nothing is taken away.
//!
//! Writes go on beside the watches, a bounded number at a time: a namespace that fails, or an API server that is slow,
//! delays neither the others nor the news.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use touchseal_crds::names::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL};
use touchseal_crds::{Recipient, RecipientSpec};

use crate::keys::Keys;
use crate::places::{self, Kind, Namespaces, Places, Told};
use crate::scope::Place;
use crate::secrets::{self, Key, newer};
use crate::{lists, words};

/// Most namespaces written to at one time.
const AT_ONCE: usize = 16;
/// Wait before a namespace that failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Runs until the term ends. `keys_changed` ticks whenever a keyring opens, closes or follows an edit.
pub async fn publish(
    client: Client,
    places: &Arc<Places>,
    (keys, mut keys_changed): (Arc<Keys>, watch::Receiver<u64>),
) {
    let mut namespaces = places.namespaces();
    let watched = client.clone();
    let told =
        places::follow(places, Kind::Recipients, move |within| lists::recipients(watched.clone(), within));
    let mut told = std::pin::pin!(told);
    let mut publisher = Publisher::new(client, keys);
    loop {
        tokio::select! {
            Ok(()) = namespaces.changed() => publisher.namespaces(&namespaces.borrow_and_update()),
            Some(told) = told.next() => publisher.recipient(told),
            Some(done) = publisher.work.next(), if !publisher.work.is_empty() => publisher.done(done),
            Ok(()) = keys_changed.changed() => publisher.all(),
            else => return,
        }
        publisher.go_on();
    }
}

struct Publisher {
    client: Client,
    keys: Arc<Keys>,
    /// Those that are not on their way out.
    namespaces: BTreeSet<String>,
    /// What stands in the cluster, with its resourceVersion.
    published: HashMap<Key, (String, RecipientSpec)>,
    /// Where it is known what stands there.
    listed: HashSet<Place>,
    /// Namespaces that may need a write.
    due: BTreeSet<String>,
    /// Namespaces being written to.
    busy: HashSet<String>,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
}

enum Done {
    /// What was written into a namespace, and whether all of it was.
    Wrote { namespace: String, written: Vec<Recipient>, all: bool },
    /// It is time to try a namespace again.
    Again(String),
}

impl Publisher {
    fn new(client: Client, keys: Arc<Keys>) -> Publisher {
        Publisher {
            client,
            keys,
            namespaces: BTreeSet::new(),
            published: HashMap::new(),
            listed: HashSet::new(),
            due: BTreeSet::new(),
            busy: HashSet::new(),
            work: FuturesUnordered::new(),
        }
    }

    fn namespaces(&mut self, there: &Namespaces) {
        let live: BTreeSet<String> =
            there.iter().filter(|(_, ends)| !**ends).map(|(name, _)| name.clone()).collect();
        self.due.extend(live.difference(&self.namespaces).cloned());
        self.namespaces = live;
    }

    fn recipient(&mut self, Told { place, event }: Told<Recipient>) {
        match event {
            Event::Init => {
                self.published.retain(|key, _| !secrets::is_within(key, place.as_deref()));
                self.listed.remove(&place);
            }
            Event::Apply(recipient) | Event::InitApply(recipient) => {
                let namespace = recipient.namespace().unwrap_or_default();
                self.learn(recipient);
                self.due.insert(namespace);
            }
            Event::Delete(recipient) => {
                let key = key(&recipient);
                self.published.remove(&key);
                self.due.insert(key.0);
            }
            Event::InitDone => {
                match &place {
                    Some(namespace) => drop(self.due.insert(namespace.clone())),
                    None => self.all(),
                }
                self.listed.insert(place);
            }
        }
    }

    /// The watch lags behind the answers to our own writes: the later version counts.
    fn learn(&mut self, recipient: Recipient) {
        let key = key(&recipient);
        let version = recipient.resource_version().unwrap_or_default();
        if self.published.get(&key).is_none_or(|(known, _)| newer(&version, known)) {
            self.published.insert(key, (version, recipient.spec));
        }
    }

    fn all(&mut self) {
        self.due.extend(self.namespaces.iter().cloned());
    }

    /// Starts as many writes as may run. Nothing is written where it is not known what is there.
    fn go_on(&mut self) {
        let everywhere = self.listed.contains(&None);
        while self.busy.len() < AT_ONCE {
            let is_free = |namespace: &&String| {
                let listed = everywhere || self.listed.contains(&Some((*namespace).clone()));
                listed && !self.busy.contains(*namespace)
            };
            let Some(namespace) = self.due.iter().find(is_free).cloned() else { return };
            self.due.remove(&namespace);
            let missing = self.missing(&namespace);
            if !missing.is_empty() {
                self.busy.insert(namespace.clone());
                self.work.push(write_all(self.client.clone(), namespace, missing).boxed());
            }
        }
    }

    /// What should be published in a namespace and is not.
    fn missing(&self, namespace: &str) -> Vec<(Key, RecipientSpec)> {
        if !self.namespaces.contains(namespace) {
            return Vec::new();
        }
        match self.keys.recipients(namespace) {
            Ok(wanted) => wanted
                .into_iter()
                .map(|(keyring, spec)| ((namespace.to_owned(), keyring), spec))
                .filter(|(key, spec)| self.published.get(key).map(|(_, there)| there) != Some(spec))
                .collect(),
            Err(error) => {
                tracing::error!(namespace, %error, "recipients could not be derived");
                Vec::new()
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Wrote { namespace, written, all } => {
                self.busy.remove(&namespace);
                written.into_iter().for_each(|recipient| self.learn(recipient));
                if !all {
                    let again = tokio::time::sleep(AGAIN).map(|()| Done::Again(namespace));
                    self.work.push(again.boxed());
                }
            }
            Done::Again(namespace) => drop(self.due.insert(namespace)),
        }
    }
}

async fn write_all(client: Client, namespace: String, missing: Vec<(Key, RecipientSpec)>) -> Done {
    let api: Api<Recipient> = Api::namespaced(client, &namespace);
    let (mut written, mut all) = (Vec::new(), true);
    for (key, spec) in missing {
        let keyring = &key.1;
        match write(&api, keyring, &spec).await {
            Ok(stored) => written.push(stored),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                tracing::debug!(namespace, keyring, "namespace went away before its Recipient was written");
            }
            Err(error) => {
                let problem = words::of(&error);
                tracing::warn!(
                    namespace,
                    keyring,
                    problem,
                    "Recipient could not be written; it is tried again"
                );
                all = false;
            }
        }
    }
    Done::Wrote { namespace, written, all }
}

async fn write(api: &Api<Recipient>, keyring: &str, spec: &RecipientSpec) -> Result<Recipient, kube::Error> {
    let mut recipient = Recipient::new(keyring, spec.clone());
    recipient.metadata = ObjectMeta {
        labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
        ..recipient.metadata
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(keyring, &params, &Patch::Apply(&recipient)).await
}

fn key(recipient: &Recipient) -> Key {
    (recipient.namespace().unwrap_or_default(), recipient.name_any())
}
