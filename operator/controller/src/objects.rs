//! The EncryptedSecrets as the watch brings them, packed, and which changes are worth a reconcile.
//!
//! A change of the spec, of the annotation that asks for a reconcile, a removal, and a status that somebody else changed
//! or lost. Our own status writes never are, nor other people's labels.
//!
//! Thousands of objects lie here while nothing happens to them, so each is kept as its JSON, without the text of its
//! documents, which lies beside it: a third of what it takes as a structure of many small parts. Of an object that is served
//! the text is not kept at all: when it is looked at again, which a change of its documents brings about by itself, the API
//! server is asked for it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use tokio::sync::watch;
use touchseal_crds::EncryptedSecret;
use touchseal_crds::names::RECONCILE_ANNOTATION;

use crate::echoes::Echoes;
use crate::observe;
use crate::places::Told;
use crate::queue::Lane;
use crate::secrets::{self, Key};

/// What `kubectl apply` leaves on an object: all of it once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

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
    /// None: it is served, and they are not needed.
    texts: Option<Box<[Option<Box<str>>]>>,
}

/// One of them, taken out.
pub struct Found {
    /// The object.
    pub object: EncryptedSecret,
    /// Whether the text of its documents is there.
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

    /// Its content is served as this object has it: unless it changed meanwhile, the text of its documents is not kept.
    pub fn served(&self, object: &EncryptedSecret) {
        let (key, matters) = (observe::key(object), what_matters(object));
        let mut state = self.lock();
        let Some(known) = state.known.get_mut(&key) else { return };
        let has_text = known.texts.iter().flatten().any(Option::is_some);
        if known.matters == matters && has_text {
            *known = Arc::new(Packed {
                matters,
                uid: known.uid.clone(),
                version: known.version.clone(),
                listed: known.listed,
                object: known.object.clone(),
                texts: None,
            });
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

    /// All of them, one after the other, without the text of their documents.
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
        let known = self.lock().known.get(&key).map(|known| (known.uid.clone(), known.version.clone()));
        if known.is_some_and(|(uid, known)| {
            Some(&*uid) == object.metadata.uid.as_deref() && secrets::newer(&known, version)
        }) {
            return None;
        }
        let others_changed = self.echoes.seen(&key, version, object.status.as_ref());
        let mut packed = match Packed::pack(object, listed) {
            Ok(packed) => packed,
            Err(error) => {
                let (object, problem) = (format!("{}/{}", key.0, key.1), error.classify());
                tracing::error!(object, ?problem, "an EncryptedSecret cannot be kept");
                return None;
            }
        };
        let matters = packed.matters;
        let mut state = self.lock();
        if state.known.get(&key).is_some_and(|known| known.matters == matters && known.texts.is_none()) {
            packed.texts = None;
        }
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
    fn pack(mut object: EncryptedSecret, listed: bool) -> Result<Packed, serde_json::Error> {
        let matters = what_matters(&object);
        let uid = object.metadata.uid.as_deref().unwrap_or_default().into();
        let version = object.metadata.resource_version.as_deref().unwrap_or_default().into();
        object.metadata.managed_fields = None;
        object.annotations_mut().remove(LAST_APPLIED);
        let texts = object.spec.documents.iter_mut().map(|document| document.sops.take().map(Box::from));
        let texts = texts.collect();
        let object = serde_json::to_vec(&object)?.into();
        Ok(Packed { matters, uid, version, listed, object, texts: Some(texts) })
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

fn what_matters(object: &EncryptedSecret) -> u64 {
    let mut hash = DefaultHasher::new();
    object.metadata.uid.hash(&mut hash);
    object.metadata.generation.hash(&mut hash);
    object.annotations().get(RECONCILE_ANNOTATION).hash(&mut hash);
    object.metadata.deletion_timestamp.is_some().hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use touchseal_crds::{EncryptedSecretSpec, EncryptedSecretStatus};

    use super::*;

    fn object(version: &str, generation: i64) -> EncryptedSecret {
        let mut object = EncryptedSecret::new("app", EncryptedSecretSpec::default());
        object.metadata.namespace = Some("apps".to_owned());
        object.metadata.uid = Some("uid-1".to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        object.metadata.generation = Some(generation);
        object
    }

    fn with_status(mut object: EncryptedSecret, number: i64) -> EncryptedSecret {
        object.status = Some(EncryptedSecretStatus {
            secret_generation: Some(number),
            ..EncryptedSecretStatus::default()
        });
        object
    }

    fn objects() -> (Objects, Arc<Echoes>) {
        let echoes = Arc::<Echoes>::default();
        (Objects::new(Arc::clone(&echoes)), echoes)
    }

    fn tell(objects: &Objects, event: Event<EncryptedSecret>) -> Vec<(Key, Lane)> {
        at_once(objects.take(Told { place: None, event }))
    }

    fn at_once(asked: Vec<(Key, Lane, Duration)>) -> Vec<(Key, Lane)> {
        assert!(asked.iter().all(|(.., wait)| wait.is_zero()));
        asked.into_iter().map(|(key, lane, _)| (key, lane)).collect()
    }

    fn key(namespace: &str, name: &str) -> Key {
        (namespace.to_owned(), name.to_owned())
    }

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        let (objects, _) = objects();
        let full: EncryptedSecret = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "app", "namespace": "apps", "uid": "u", "resourceVersion": "7", "generation": 3,
                "labels": { "a": "b" }, "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": { LAST_APPLIED: "all of it", "mine": "x" },
                "managedFields": [{ "manager": "kubectl" }] },
            "spec": { "documents": [{ "name": "a.yaml", "sops": "one" }, { "configMapKeyRef": { "name": "m", "key": "k" } }, { "sops": "three" }],
                "rotation": { "maxAge": "90d" } },
            "status": { "secretGeneration": 4, "keys": [{ "name": "k", "since": "2026-01-01T00:00:00Z" }] },
        }))
        .unwrap();
        assert_eq!(tell(&objects, Event::Apply(full.clone())), [(key("apps", "app"), Lane::Changed)]);
        let mut expected = full;
        expected.metadata.managed_fields = None;
        expected.annotations_mut().remove(LAST_APPLIED);
        let json = |object: &EncryptedSecret| serde_json::to_value(object).unwrap();
        let found = objects.get(&key("apps", "app")).unwrap();
        assert!(found.whole);
        assert_eq!(json(&found.object), json(&expected));
        // Whoever looks at all of them looks at no documents.
        expected.spec.documents.iter_mut().for_each(|document| document.sops = None);
        let each: Vec<_> = objects.each().map(|object| json(&object)).collect();
        assert_eq!(each, [json(&expected)]);
    }

    #[test]
    fn the_text_of_what_is_served_is_kept_only_until_it_is() {
        let (objects, _) = objects();
        let at = |version: &str, generation: i64| {
            let mut object = object(version, generation);
            object.spec.documents = serde_json::from_value(serde_json::json!([{ "sops": "text" }])).unwrap();
            object
        };
        let text = || {
            let found = objects.get(&key("apps", "app")).unwrap();
            assert_eq!(found.whole, found.object.spec.documents[0].sops.is_some());
            found.whole
        };
        tell(&objects, Event::Apply(at("1", 1)));
        assert!(text());
        objects.served(&at("1", 1));
        assert!(!text());
        tell(&objects, Event::Apply(at("2", 1)));
        assert!(!text(), "nothing that matters has changed");
        tell(&objects, Event::Apply(at("3", 2)));
        assert!(text());
        objects.served(&at("2", 1));
        assert!(text(), "that was another generation");
    }

    #[test]
    fn a_list_that_is_behind_changes_nothing_and_a_namesake_is_another() {
        let (objects, _) = objects();
        let version = || {
            objects
                .get(&key("apps", "app"))
                .map(|found| (found.object.metadata.resource_version, found.listed))
        };
        tell(&objects, Event::Apply(object("7", 2)));
        tell(&objects, Event::Init);
        assert!(tell(&objects, Event::InitApply(object("5", 1))).is_empty());
        tell(&objects, Event::InitDone);
        assert_eq!(version(), Some((Some("7".to_owned()), false)));
        let mut namesake = object("6", 1);
        namesake.metadata.uid = Some("uid-2".to_owned());
        assert_eq!(tell(&objects, Event::InitApply(namesake)).len(), 1);
        assert_eq!(version(), Some((Some("6".to_owned()), true)));
    }

    #[test]
    fn a_list_of_one_namespace_leaves_what_is_in_others_alone() {
        let (objects, echoes) = objects();
        for (namespace, name) in [("a", "stays"), ("a", "goes"), ("a", "comes"), ("b", "other")] {
            echoes.right(&key(namespace, name), None);
        }
        let of = |namespace: &str, name: &str| {
            let mut object = EncryptedSecret::new(name, EncryptedSecretSpec::default());
            object.metadata.namespace = Some(namespace.to_owned());
            object
        };
        let told = [
            ("a", Event::Init),
            ("a", Event::InitApply(of("a", "stays"))),
            ("a", Event::InitApply(of("a", "goes"))),
            ("a", Event::InitDone),
            ("b", Event::Init),
            // While one lists, another's watch goes on.
            ("a", Event::Apply(of("a", "comes"))),
            ("b", Event::InitApply(of("b", "other"))),
            ("b", Event::InitDone),
            ("a", Event::Init),
            ("a", Event::InitApply(of("a", "stays"))),
            ("a", Event::InitApply(of("a", "comes"))),
            ("a", Event::InitDone),
        ];
        let told =
            told.map(|(place, event)| at_once(objects.take(Told { place: Some(place.to_owned()), event })));
        let asked: Vec<_> = told.into_iter().flatten().collect();
        let expected = [
            (key("a", "stays"), Lane::Listed),
            (key("a", "goes"), Lane::Listed),
            (key("a", "comes"), Lane::Changed),
            (key("b", "other"), Lane::Listed),
            (key("a", "goes"), Lane::Changed),
        ];
        assert_eq!(asked, expected, "what did not change is not looked at again, and what is gone is");
        assert_eq!(objects.keys(), [key("a", "comes"), key("a", "stays"), key("b", "other")]);
    }

    #[test]
    fn our_own_status_writes_never_retrigger() {
        let (objects, echoes) = objects();
        assert_eq!(tell(&objects, Event::Apply(object("1", 1))).len(), 1);
        let written = with_status(object("2", 1), 1);
        echoes.right(&observe::key(&written), written.status.as_ref());
        assert!(tell(&objects, Event::Apply(written)).is_empty());
        assert_eq!(
            objects.get(&key("apps", "app")).unwrap().object.metadata.resource_version.as_deref(),
            Some("2")
        );
    }

    #[test]
    fn spec_annotation_namesake_deletion_and_status_changes_pass() {
        type Change = fn(&mut EncryptedSecret);
        let cases: [(&str, Change); 5] = [
            ("spec", |o| o.metadata.generation = Some(2)),
            ("annotation", |o| {
                o.annotations_mut().insert(RECONCILE_ANNOTATION.to_owned(), "now".to_owned());
            }),
            ("namesake", |o| o.metadata.uid = Some("uid-2".to_owned())),
            ("deletion", |o| {
                let now = k8s_openapi::jiff::Timestamp::now();
                o.metadata.deletion_timestamp =
                    Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
            }),
            ("status lost", |o| o.status = None),
        ];
        for (what, change) in cases {
            let (objects, echoes) = objects();
            let before = with_status(object("1", 1), 1);
            tell(&objects, Event::Apply(before.clone()));
            echoes.right(&observe::key(&before), before.status.as_ref());
            let mut after = before;
            after.metadata.resource_version = Some("2".to_owned());
            change(&mut after);
            assert_eq!(tell(&objects, Event::Apply(after)).len(), 1, "{what}");
        }
    }

    #[test]
    fn a_status_that_somebody_keeps_changing_is_put_right_later_and_a_change_of_the_spec_at_once() {
        let (objects, echoes) = objects();
        let mut shown = with_status(object("1", 1), 1);
        tell(&objects, Event::Apply(shown.clone()));
        echoes.right(&observe::key(&shown), shown.status.as_ref());
        let mut show = |version: &str, generation: i64, status: i64| {
            shown = with_status(object(version, generation), status);
            objects.take(Told { place: None, event: Event::Apply(shown.clone()) })
        };
        let waits = |asked: Vec<(Key, Lane, Duration)>| asked[0].2.as_secs();
        assert_eq!([show("2", 1, 7), show("3", 1, 8), show("4", 1, 9)].map(waits), [0, 1, 2]);
        assert_eq!(waits(show("5", 2, 10)), 0);
    }

    #[test]
    fn other_peoples_labels_do_not_pass() {
        let (objects, echoes) = objects();
        let before = with_status(object("1", 1), 1);
        tell(&objects, Event::Apply(before.clone()));
        echoes.right(&observe::key(&before), before.status.as_ref());
        let mut after = before;
        after.metadata.resource_version = Some("2".to_owned());
        after.labels_mut().insert("team".to_owned(), "a".to_owned());
        assert!(tell(&objects, Event::Apply(after)).is_empty());
    }

    #[test]
    fn a_removal_is_told_also_when_it_happened_while_the_watch_was_down() {
        let (objects, _) = objects();
        tell(&objects, Event::Apply(object("1", 1)));
        assert_eq!(tell(&objects, Event::Delete(object("2", 1))).len(), 1);
        tell(&objects, Event::Apply(object("3", 1)));
        assert!(tell(&objects, Event::Init).is_empty());
        assert_eq!(tell(&objects, Event::InitDone), [(key("apps", "app"), Lane::Changed)]);
        assert!(!objects.has(&key("apps", "app")));
    }
}
