//! The pods of the cluster as far as they use Secrets: one watch of all of them, or, where the operator may not have that
//! or is limited to some namespaces, one watch in each namespace that has EncryptedSecrets. Where it may not have that either, nothing is known, and it is
//! asked for again later and later. From the first fault of a watch until pods are listed anew there may be some that nobody
//! saw: a watch that goes on by itself does not say when it has caught up.
//!
//! A pod that changed wakes the EncryptedSecrets it concerns; a roll-out of many pods wakes them once a second.

mod table;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::runtime::watcher::Event;
use prometheus_client::metrics::gauge::Gauge;
use rand::Rng as _;
use tokio::sync::{Notify, mpsc::UnboundedSender, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use touchseal_plan::consumers::Consumer;

use crate::secrets::Key;
use crate::{lists, scope, words};
use table::{Names, PodKey, Table};

/// How long changes are gathered before they wake anybody.
const GATHER: Duration = Duration::from_secs(1);
/// How long a reconcile waits for the first list of pods before it goes on without: content comes first.
const PATIENCE: Duration = Duration::from_secs(3);
/// Waits between two questions for a right that is missing; there may be thousands of namespaces to ask for.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT_OF_A_NAMESPACE: Duration = Duration::from_secs(5 * 60);

/// What is known of the pods that use an EncryptedSecret's Secrets.
pub enum Seen {
    /// Them.
    Known(Vec<Consumer>),
    /// Those that were there when the watch was interrupted; it is woken when it is back.
    Interrupted(Vec<Consumer>),
    /// Nothing yet; it is woken when it is.
    Listing,
    /// Nothing, for the operator may not look.
    Denied,
}

/// Which pods there are.
pub struct Pods {
    client: Client,
    wake: UnboundedSender<Key>,
    state: Mutex<State>,
    /// Something is waiting to be woken.
    gathered: Notify,
    /// Counts changes of what is known.
    turned: watch::Sender<u64>,
    /// How many watches are interrupted.
    interrupted: Gauge<i64, AtomicI64>,
    /// There never is a watch of all.
    limited: bool,
}

#[derive(Default)]
struct State {
    table: Table,
    /// The watch of all pods.
    everywhere: Sight,
    /// The watches of single namespaces, while there is no other.
    namespaces: HashMap<String, (Sight, AbortHandle)>,
    /// By namespace, then by name: the EncryptedSecrets whose pods are followed.
    followed: HashMap<String, HashMap<String, Followed>>,
    /// EncryptedSecrets to wake.
    concerned: HashSet<Key>,
}

/// An EncryptedSecret whose pods are followed.
struct Followed {
    target: String,
    /// What it was last told of its namespace; None as long as it waits.
    told: Option<Sight>,
}

/// Whether the pods in a place are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sight {
    /// They are being listed for the first time.
    #[default]
    Listing,
    /// They are.
    Known,
    /// They were, and others may have been made since.
    Interrupted,
    /// The operator may not.
    Denied,
}

impl Pods {
    /// None known yet. `wake` receives every EncryptedSecret whose pods changed. `limited`: all pods at once are not even
    /// asked for.
    pub fn new(
        client: Client,
        wake: UnboundedSender<Key>,
        interrupted: Gauge<i64, AtomicI64>,
        limited: bool,
    ) -> Arc<Pods> {
        let (turned, _) = watch::channel(0);
        let everywhere = if limited { Sight::Denied } else { Sight::Listing };
        let state = Mutex::new(State { everywhere, ..State::default() });
        Arc::new(Pods { client, wake, state, gathered: Notify::new(), turned, interrupted, limited })
    }

    /// Follows pods for as long as the operator runs.
    pub async fn run(self: Arc<Self>) {
        if self.limited {
            self.wake_gathered().await;
        } else {
            tokio::join!(Arc::clone(&self).follow(None), self.wake_gathered());
        }
    }

    /// Ends every watch that was started for a namespace.
    pub fn stop(&self) {
        let watches = std::mem::take(&mut self.lock().namespaces);
        watches.values().for_each(|(_, task)| task.abort());
    }

    /// The pods that use an EncryptedSecret's Secrets, and from now on it is woken when they change.
    pub async fn consumers(self: &Arc<Self>, object: &Key, target: &str) -> Seen {
        let mut turned = self.turned.subscribe();
        self.want(object, target);
        let settled = async {
            loop {
                match self.lock().sight(&object.0) {
                    Sight::Listing => {}
                    sight => return sight,
                }
                if turned.changed().await.is_err() {
                    return Sight::Denied;
                }
            }
        };
        let sight = tokio::time::timeout(PATIENCE, settled).await.unwrap_or(Sight::Listing);
        let mut state = self.lock();
        if let Some(followed) = state.followed.get_mut(&object.0).and_then(|o| o.get_mut(&object.1)) {
            followed.told = Some(sight);
        }
        match sight {
            Sight::Known => Seen::Known(state.table.consumers(&object.0, target)),
            Sight::Interrupted => Seen::Interrupted(state.table.consumers(&object.0, target)),
            Sight::Listing => Seen::Listing,
            Sight::Denied => Seen::Denied,
        }
    }

    /// The EncryptedSecret is gone.
    pub fn forget(&self, (namespace, name): &Key) {
        let mut state = self.lock();
        let Some(objects) = state.followed.get_mut(namespace) else { return };
        objects.remove(name);
        if objects.is_empty() {
            state.followed.remove(namespace);
            state.stop(namespace);
        }
    }

    fn want(self: &Arc<Self>, (namespace, name): &Key, target: &str) {
        let mut state = self.lock();
        let objects = state.followed.entry(namespace.clone()).or_default();
        objects.insert(name.clone(), Followed { target: target.to_owned(), told: None });
        self.watch_namespace(&mut state, namespace);
    }

    /// Starts the watch of one namespace, where there is none of all.
    fn watch_namespace(self: &Arc<Self>, state: &mut State, namespace: &str) {
        if state.everywhere == Sight::Denied && !state.namespaces.contains_key(namespace) {
            let task = tokio::spawn(Arc::clone(self).follow(Some(namespace.to_owned())));
            state.namespaces.insert(namespace.to_owned(), (Sight::Listing, task.abort_handle()));
        }
    }

    /// Follows the pods of one namespace, or all.
    async fn follow(self: Arc<Self>, within: Option<String>) {
        let longest = if within.is_some() { LONGEST_WAIT_OF_A_NAMESPACE } else { LONGEST_WAIT };
        let mut wait = FIRST_WAIT;
        loop {
            let mut listed: Option<Instant> = None;
            let mut events = lists::pods(self.client.clone(), within.as_deref()).boxed();
            let mut present: HashSet<PodKey> = HashSet::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Init) => present.clear(),
                    Ok(Event::InitApply(pod)) => {
                        present.insert(table::key(&pod));
                        self.seen(&pod);
                    }
                    Ok(Event::InitDone) => {
                        listed = Some(Instant::now());
                        self.listed(within.as_deref(), &std::mem::take(&mut present));
                    }
                    Ok(Event::Apply(pod)) => self.seen(&pod),
                    Ok(Event::Delete(pod)) => {
                        let key = table::key(&pod);
                        let mut state = self.lock();
                        let names = state.table.gone(&key);
                        self.concern(&mut state, &key.0, &names);
                    }
                    Err(error) => {
                        let problem = words::of_watch(&error);
                        let place = scope::title(within.as_deref());
                        tracing::warn!(place, problem, "watch of pods failed; it is tried again");
                        if words::is_denied(&error) {
                            self.denied(within.as_deref());
                        } else {
                            self.interrupted(within.as_deref());
                        }
                        break;
                    }
                }
            }
            // One that fails again and again is not listed for again and again.
            if listed.is_some_and(|at| at.elapsed() > longest) {
                wait = FIRST_WAIT;
            }
            let scattered = wait.mul_f64(rand::thread_rng().gen_range(0.5..1.0));
            tokio::time::sleep(scattered).await;
            wait = (wait * 2).min(longest);
        }
    }

    fn seen(&self, pod: &Pod) {
        let mut state = self.lock();
        let names = state.table.seen(pod);
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        // What is listed for the first time was unknown to everybody; they are woken together at its end.
        if matches!(state.sight(namespace), Sight::Known | Sight::Interrupted) {
            self.concern(&mut state, namespace, &names);
        }
    }

    /// A list is complete.
    fn listed(&self, within: Option<&str>, present: &HashSet<PodKey>) {
        let mut state = self.lock();
        for (namespace, names) in state.table.retain(within, present) {
            self.concern(&mut state, &namespace, &names);
        }
        let before = match within {
            None => {
                let stopped: Vec<String> = state.namespaces.keys().cloned().collect();
                stopped.iter().for_each(|namespace| state.stop(namespace));
                std::mem::replace(&mut state.everywhere, Sight::Known)
            }
            Some(namespace) => match state.namespaces.get_mut(namespace) {
                Some((sight, _)) => std::mem::replace(sight, Sight::Known),
                None => return, // nobody is there any more who wants it
            },
        };
        if before == Sight::Interrupted {
            tracing::info!(place = scope::title(within), "pods are known again");
        }
        if before != Sight::Known {
            self.turn(&mut state, within);
        }
    }

    /// The watch of what was known failed. Nobody is woken: what was told stands.
    fn interrupted(&self, within: Option<&str>) {
        let mut state = self.lock();
        let sight = match within {
            None => Some(&mut state.everywhere),
            Some(namespace) => state.namespaces.get_mut(namespace).map(|(sight, _)| sight),
        };
        if let Some(sight) = sight.filter(|sight| **sight == Sight::Known) {
            *sight = Sight::Interrupted;
        }
        self.interrupted.set(state.interrupted());
    }

    /// The operator may not watch pods there.
    fn denied(self: &Arc<Self>, within: Option<&str>) {
        let mut state = self.lock();
        let before = match within {
            None => std::mem::replace(&mut state.everywhere, Sight::Denied),
            Some(namespace) => match state.namespaces.get_mut(namespace) {
                Some((sight, _)) => std::mem::replace(sight, Sight::Denied),
                None => return,
            },
        };
        if before == Sight::Denied {
            return;
        }
        match within {
            None => {
                let namespaces: Vec<String> = state.followed.keys().cloned().collect();
                namespaces.iter().for_each(|namespace| self.watch_namespace(&mut state, namespace));
                state.table = Table::default();
            }
            Some(namespace) => drop(state.table.retain(Some(namespace), &HashSet::new())),
        }
        self.turn(&mut state, within);
    }

    /// What is known of a place is another than before: whoever was told otherwise there looks again.
    fn turn(&self, state: &mut State, within: Option<&str>) {
        let mut mistaken = Vec::new();
        for (namespace, objects) in &state.followed {
            if within.is_some_and(|within| within != namespace) {
                continue;
            }
            let now = state.sight(namespace);
            let wrong = objects.iter().filter(|(_, f)| f.told.is_some_and(|told| told != now));
            mistaken.extend(wrong.map(|(name, _)| (namespace.clone(), name.clone())));
        }
        state.concerned.extend(mistaken);
        self.interrupted.set(state.interrupted());
        self.turned.send_modify(|count| *count += 1);
        self.gathered.notify_one();
    }

    /// Notes the EncryptedSecrets whose Secrets these are.
    fn concern(&self, state: &mut State, namespace: &str, names: &Names) {
        if names.is_empty() {
            return;
        }
        let Some(objects) = state.followed.get(namespace) else { return };
        let is_theirs = |target: &str| names.iter().any(|name| is_of(name, target));
        let found: Vec<Key> = objects
            .iter()
            .filter(|(_, followed)| is_theirs(&followed.target))
            .map(|(name, _)| (namespace.to_owned(), name.clone()))
            .collect();
        state.concerned.extend(found);
        self.gathered.notify_one();
    }

    async fn wake_gathered(&self) {
        loop {
            self.gathered.notified().await;
            tokio::time::sleep(GATHER).await;
            let concerned = std::mem::take(&mut self.lock().concerned);
            for (namespace, name) in concerned {
                // The receiver lives as long as the controller runs.
                let _ = self.wake.send((namespace, name));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sight(&self, namespace: &str) -> Sight {
        match self.everywhere {
            Sight::Denied => self.namespaces.get(namespace).map(|(sight, _)| *sight).unwrap_or_default(),
            sight => sight,
        }
    }

    /// How many watches are interrupted.
    fn interrupted(&self) -> i64 {
        let sights = self.namespaces.values().map(|(sight, _)| sight).chain([&self.everywhere]);
        sights.map(|sight| i64::from(*sight == Sight::Interrupted)).sum()
    }

    fn stop(&mut self, namespace: &str) {
        if let Some((_, task)) = self.namespaces.remove(namespace) {
            task.abort();
        }
    }
}

/// Whether a Secret's name is a target's, or that of its previous one or of one of its generations.
fn is_of(secret: &str, target: &str) -> bool {
    secret.strip_prefix(target).is_some_and(|rest| matches!(rest, "" | "-previous") || rest.starts_with("-g"))
}

#[cfg(test)]
#[path = "pods/tests.rs"]
mod tests;
