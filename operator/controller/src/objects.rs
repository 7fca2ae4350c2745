//! The EncryptedSecrets as the watch brings them, packed, and which changes are worth a reconcile.
//!
//! A change of the spec, of the annotation that asks for a reconcile, a removal, and a status that somebody else changed
//! or lost. Our own status writes never are, nor other people's labels.
//!
//! Thousands of objects lie here while nothing happens to them, so each is kept as its JSON, without the text of its
//! documents, which lies beside it: a third of what it takes as a structure of many small parts. Of an object that is served
//! only what is counted is kept ([`make_lean`]): when it is looked at again, which a change of its documents brings about by itself,
//! the API server is asked for it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use tokio::sync::watch;
use touchseal_crds::names::RECONCILE_ANNOTATION;
use touchseal_crds::{EncryptedSecret, EncryptedSecretSpec};

use crate::echoes::Echoes;
use crate::observe;
use crate::places::Told;
use crate::queue::Lane;
use crate::secrets::{self, Key};

/// What `kubectl apply` leaves on an object: all of it once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Longest rest between two looks at all of them.
const LONGEST_REST: Duration = Duration::from_secs(15);

/// How long to rest after a look at all of them that took so long, and at least: thousands are looked at for a twentieth of the time.
pub fn rest(least: Duration, took: Duration) -> Duration {
    took.saturating_mul(20).clamp(least, LONGEST_REST)
}

/// Every EncryptedSecret of the places that are watched.
pub struct Objects {
    echoes: Arc<Echoes>,
    state: Mutex<State>,
    news: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    known: HashMap<Key, Arc<Packed>>,
    /// What the list that is coming in has held so far. No two come in at once (`places`).
    listed: HashSet<Key>,
}

/// One of them.
struct Packed {
    /// Hash of what makes a change worth a reconcile.
    matters: u64,
    uid: Box<str>,
    version: Box<str>,
    /// It was in a list, which may be older than what was last stored.
    listed: bool,
    /// The object in JSON, without the text of its documents.
    object: Box<[u8]>,
    /// None: it is served, and they are not needed. Nor is all of the object.
    texts: Option<Box<[Option<Box<str>>]>>,
}

/// One of them, taken out.
pub struct Found {
    /// The object.
    pub object: EncryptedSecret,
    /// Whether all of it is there: else name, generation and what is counted are.
    pub whole: bool,
    /// Whether it comes from a list, and a later one may have been stored before that.
    pub listed: bool,
}

impl Objects {
    /// None yet.
    pub fn new(echoes: Arc<Echoes>) -> Objects {
        Objects { echoes, state: Mutex::default(), news: watch::Sender::new(()) }
    }

    /// Ticks whenever one changed.
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// One of them.
    pub fn get(&self, key: &Key) -> Option<Found> {
        let packed = Arc::clone(self.lock().known.get(key)?);
        let (whole, listed) = (packed.texts.is_some(), packed.listed);
        Some(Found { object: packed.unpack(true)?, whole, listed })
    }

    /// Its content is served as this object has it: unless it changed meanwhile, little of it is kept.
    pub fn served(&self, object: &EncryptedSecret) {
        let (key, matters) = (observe::key(object), what_matters(object));
        let mut state = self.lock();
        let Some(known) = state.known.get_mut(&key) else { return };
        if known.matters != matters || !known.texts.iter().flatten().any(Option::is_some) {
            return;
        }
        let same = object.metadata.resource_version.as_deref() == Some(&*known.version);
        // Without what is not kept: documents can be long.
        let (metadata, status) = (&object.metadata, &object.status);
        let spec = EncryptedSecretSpec::default();
        let lean = || EncryptedSecret { metadata: metadata.clone(), spec, status: status.clone() };
        let newest = if same { Some(lean()) } else { known.unpack(false) };
        if let Some(Ok(packed)) = newest.map(|object| Packed::pack(object, true, known.listed)) {
            *known = Arc::new(packed);
        }
    }

    /// Whether there is one of this name.
    pub fn has(&self, key: &Key) -> bool {
        self.lock().known.contains_key(key)
    }

    /// The names of all.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.lock().known.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// All of them, one after the other, with what is counted ([`make_lean`]) and no text of documents.
    pub fn each(&self) -> impl Iterator<Item = EncryptedSecret> + use<> {
        let all: Vec<Arc<Packed>> = self.lock().known.values().cloned().collect();
        all.into_iter().filter_map(|packed| packed.unpack(false))
    }

    /// Takes in what a watch tells. Gives the objects to reconcile, and after how long: a removed one is, too, and then not
    /// found.
    pub fn take(&self, told: Told<EncryptedSecret>) -> Vec<(Key, Lane, Duration)> {
        let Told { place, event } = told;
        let asked = match event {
            Event::Init => {
                self.lock().listed.clear();
                return Vec::new();
            }
            Event::InitApply(object) => {
                self.lock().listed.insert(observe::key(&object));
                self.keep(object, true).map(|(key, wait)| (key, Lane::Listed, wait)).into_iter().collect()
            }
            Event::InitDone => {
                let lost = self.lost(place.as_deref()).into_iter();
                lost.map(|key| (key, Lane::Changed, Duration::ZERO)).collect()
            }
            Event::Apply(object) => {
                self.keep(object, false).map(|(key, wait)| (key, Lane::Changed, wait)).into_iter().collect()
            }
            Event::Delete(object) => {
                let key = observe::key(&object);
                self.lock().known.remove(&key);
                vec![(key, Lane::Changed, Duration::ZERO)]
            }
        };
        self.news.send_replace(());
        asked
    }

    /// Its key, if it is worth a reconcile, and after how long.
    fn keep(&self, object: EncryptedSecret, listed: bool) -> Option<(Key, Duration)> {
        let key = observe::key(&object);
        let version = object.metadata.resource_version.as_deref().unwrap_or_default();
        // A list that begins anew may come from an API server that is behind the one before.
        let uid = object.metadata.uid.as_deref();
        let is_later =
            |known: &Arc<Packed>| Some(&*known.uid) == uid && secrets::newer(&known.version, version);
        if self.lock().known.get(&key).is_some_and(is_later) {
            return None;
        }
        let others_changed = self.echoes.seen(&key, version, object.status.as_ref());
        let matters = what_matters(&object);
        let is_served = |known: &Arc<Packed>| known.matters == matters && known.texts.is_none();
        let mut state = self.lock();
        let served = state.known.get(&key).is_some_and(is_served);
        let packed = match Packed::pack(object, served, listed) {
            Ok(packed) => packed,
            Err(error) => {
                let (object, problem) = (format!("{}/{}", key.0, key.1), error.classify());
                tracing::error!(object, ?problem, "an EncryptedSecret cannot be kept");
                return None;
            }
        };
        let before = state.known.insert(key.clone(), Arc::new(packed));
        drop(state);
        let matters = before.map(|before| before.matters) != Some(matters);
        let wait = if matters { Some(Duration::ZERO) } else { others_changed };
        wait.map(|wait| (key, wait))
    }

    /// Forgets what a complete list of a place lacks.
    fn lost(&self, place: Option<&str>) -> Vec<Key> {
        let mut state = self.lock();
        let listed = std::mem::take(&mut state.listed);
        let lost = state.known.keys().filter(|key| secrets::is_within(key, place) && !listed.contains(*key));
        let lost: Vec<Key> = lost.cloned().collect();
        lost.iter().for_each(|key| drop(state.known.remove(key)));
        lost
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Packed {
    fn pack(mut object: EncryptedSecret, served: bool, listed: bool) -> Result<Packed, serde_json::Error> {
        let matters = what_matters(&object);
        if served {
            make_lean(&mut object);
        }
        let uid = object.metadata.uid.as_deref().unwrap_or_default().into();
        let version = object.metadata.resource_version.as_deref().unwrap_or_default().into();
        object.metadata.managed_fields = None;
        object.annotations_mut().remove(LAST_APPLIED);
        let texts = object.spec.documents.iter_mut().map(|document| document.sops.take().map(Box::from));
        let texts = (!served).then_some(texts.collect());
        let object = serde_json::to_vec(&object)?.into();
        Ok(Packed { matters, uid, version, listed, object, texts })
    }

    fn unpack(&self, with_texts: bool) -> Option<EncryptedSecret> {
        // What was written here is read here.
        let mut object: EncryptedSecret = serde_json::from_slice(&self.object)
            .inspect_err(
                |error| tracing::error!(%error, "an EncryptedSecret that was kept cannot be read again"),
            )
            .ok()?;
        if with_texts {
            for (document, text) in object.spec.documents.iter_mut().zip(self.texts.iter().flatten()) {
                document.sops = text.as_deref().map(str::to_owned);
            }
        }
        Some(object)
    }
}

/// What of an object is counted and reported while nobody works on it (`plan/tally`, `plan/census`, `incidents`).
fn make_lean(object: &mut EncryptedSecret) {
    object.spec = EncryptedSecretSpec::default();
    object.metadata.annotations = None;
    object.metadata.owner_references = None;
    object.metadata.finalizers = None;
    if let Some(status) = &mut object.status {
        status.generations.clear();
        status.conditions.iter_mut().for_each(|condition| condition.message.clear());
    }
}

fn what_matters(object: &EncryptedSecret) -> u64 {
    let mut hash = DefaultHasher::new();
    object.metadata.uid.hash(&mut hash);
    object.metadata.generation.hash(&mut hash);
    object.annotations().get(RECONCILE_ANNOTATION).hash(&mut hash);
    object.metadata.deletion_timestamp.is_some().hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
