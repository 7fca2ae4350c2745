//! The EncryptedSecrets as the watch brings them: which changes are worth a reconcile.
//!
//! A change of the spec, of the annotation that asks for a reconcile, a removal, and a status that somebody else changed
//! or lost. Our own status writes never are, nor other people's labels.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use kube::ResourceExt as _;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use tokio::sync::mpsc::UnboundedSender;
use touchseal_crds::EncryptedSecret;
use touchseal_crds::names::RECONCILE_ANNOTATION;

use crate::echoes::Echoes;
use crate::observe;
use crate::places::Told;
use crate::secrets::{self, Key};

/// What the watches of several namespaces tell, as if one told it. Lists come without their beginnings and ends, for those
/// would have the `store` forget what is in the other namespaces; what a list lacks is told to be gone.
pub fn as_one(
    told: impl Stream<Item = Told<EncryptedSecret>> + Send,
    store: Store<EncryptedSecret>,
) -> impl Stream<Item = Event<EncryptedSecret>> + Send {
    let mut listed = HashSet::new();
    told.flat_map(move |Told { place, event }| {
        let events = match (place, event) {
            (Some(_), Event::Init) => {
                listed.clear();
                Vec::new()
            }
            (Some(_), Event::InitApply(object)) => {
                listed.insert(observe::key(&object));
                vec![Event::Apply(object)]
            }
            (Some(place), Event::InitDone) => {
                let lost = |object: &EncryptedSecret| {
                    let key = observe::key(object);
                    secrets::is_within(&key, Some(&place)) && !listed.contains(&key)
                };
                let lost = store.state().into_iter().filter(|object| lost(object));
                lost.map(|object| Event::Delete(EncryptedSecret::clone(&object))).collect()
            }
            (_, event) => vec![event],
        };
        stream::iter(events)
    })
}

/// Remembers what each object looked like.
pub struct Gate {
    echoes: Arc<Echoes>,
    wake: UnboundedSender<ObjectRef<EncryptedSecret>>,
    seen: HashMap<Key, u64>,
    listed: HashSet<Key>,
}

impl Gate {
    /// Nothing seen yet. `wake` receives objects that went away while the watch was down.
    pub fn new(echoes: Arc<Echoes>, wake: UnboundedSender<ObjectRef<EncryptedSecret>>) -> Gate {
        Gate { echoes, wake, seen: HashMap::new(), listed: HashSet::new() }
    }

    /// The object to reconcile, if this event asks for it. A removal does: its reconcile finds nothing and clears up.
    pub fn pass(&mut self, event: Event<EncryptedSecret>) -> Option<EncryptedSecret> {
        match event {
            Event::Init => {
                self.listed.clear();
                None
            }
            Event::InitApply(object) => {
                self.listed.insert(observe::key(&object));
                self.changed(&object).then_some(object)
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let lost: Vec<Key> = self.seen.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                for key in lost {
                    self.seen.remove(&key);
                    // The receiver lives as long as the controller runs.
                    let _ = self.wake.send(ObjectRef::new(&key.1).within(&key.0));
                }
                None
            }
            Event::Apply(object) => self.changed(&object).then_some(object),
            Event::Delete(object) => {
                self.seen.remove(&observe::key(&object));
                Some(object)
            }
        }
    }

    fn changed(&mut self, object: &EncryptedSecret) -> bool {
        let key = observe::key(object);
        let version = object.metadata.resource_version.as_deref().unwrap_or_default();
        let status_changed = self.echoes.seen(&key, version, object.status.as_ref());
        let now = what_matters(object);
        self.seen.insert(key, now) != Some(now) || status_changed
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
    use tokio::sync::mpsc;
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

    fn gate() -> (Gate, Arc<Echoes>, mpsc::UnboundedReceiver<ObjectRef<EncryptedSecret>>) {
        let (wake, woken) = mpsc::unbounded_channel();
        let echoes = Arc::<Echoes>::default();
        (Gate::new(Arc::clone(&echoes), wake), echoes, woken)
    }

    #[tokio::test]
    async fn a_list_of_one_namespace_leaves_what_is_in_others_alone() {
        let (store, mut writer) = kube::runtime::reflector::store();
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
        let told = told.map(|(place, event)| Told { place: Some(place.to_owned()), event });
        let mut events = std::pin::pin!(as_one(stream::iter(told), store.clone()));
        let mut gone = Vec::new();
        while let Some(event) = events.next().await {
            writer.apply_watcher_event(&event);
            if let Event::Delete(object) = &event {
                gone.push(observe::key(object));
            }
            assert!(!matches!(event, Event::Init | Event::InitApply(_) | Event::InitDone));
        }
        let mut left: Vec<Key> = store.state().iter().map(|object| observe::key(object)).collect();
        left.sort();
        let key = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        assert_eq!(left, [key("a", "comes"), key("a", "stays"), key("b", "other")]);
        assert_eq!(gone, [key("a", "goes")]);
    }

    #[test]
    fn our_own_status_writes_never_retrigger() {
        let (mut gate, echoes, _woken) = gate();
        assert!(gate.pass(Event::Apply(object("1", 1))).is_some());
        let written = with_status(object("2", 1), 1);
        echoes.right(&observe::key(&written), written.status.as_ref());
        assert!(gate.pass(Event::Apply(written)).is_none());
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
            let (mut gate, echoes, _woken) = gate();
            let before = with_status(object("1", 1), 1);
            gate.pass(Event::Apply(before.clone()));
            echoes.right(&observe::key(&before), before.status.as_ref());
            let mut after = before;
            after.metadata.resource_version = Some("2".to_owned());
            change(&mut after);
            assert!(gate.pass(Event::Apply(after)).is_some(), "{what}");
        }
    }

    #[test]
    fn other_peoples_labels_do_not_pass() {
        let (mut gate, echoes, _woken) = gate();
        let before = with_status(object("1", 1), 1);
        gate.pass(Event::Apply(before.clone()));
        echoes.right(&observe::key(&before), before.status.as_ref());
        let mut after = before;
        after.metadata.resource_version = Some("2".to_owned());
        after.labels_mut().insert("team".to_owned(), "a".to_owned());
        assert!(gate.pass(Event::Apply(after)).is_none());
    }

    #[test]
    fn a_removal_is_told_also_when_it_happened_while_the_watch_was_down() {
        let (mut gate, _echoes, mut woken) = gate();
        gate.pass(Event::Apply(object("1", 1)));
        assert!(gate.pass(Event::Delete(object("2", 1))).is_some());
        gate.pass(Event::Apply(object("3", 1)));
        for event in [Event::Init, Event::InitDone] {
            assert!(gate.pass(event).is_none());
        }
        assert_eq!(woken.try_recv().unwrap().name, "app");
        assert!(gate.seen.is_empty());
    }
}
