//! Restarts workloads whose pods hold an older value, by one annotation on their pod template; the only writer of workloads.
//!
//! What EncryptedSecrets want is gathered for a moment, so that several that change together restart a workload once. A
//! workload that cannot be restarted now is looked at again later and later, for as long as anybody wants it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use touchseal_crds::Reason;
use touchseal_crds::names::{ROLLED_OUT_ANNOTATION, ROLLOUT_FIELD_MANAGER};
use touchseal_plan::Notice;
use touchseal_plan::consumers::Owner;
use touchseal_plan::rollout::{self, Generations, Step, Wait, Workload};

use crate::events::Events;
use crate::secrets::Key;
use crate::words;

/// How long wishes are gathered.
const GATHER: Duration = Duration::from_secs(2);
/// Waits before a workload is looked at again.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Namespace and workload.
type Place = (String, Owner);

/// Workloads to restart.
pub struct Rollouts {
    client: Client,
    events: Events,
    wake: UnboundedSender<Key>,
    state: Mutex<State>,
    /// Something is due sooner than before.
    sooner: Notify,
}

#[derive(Default)]
struct State {
    places: HashMap<Place, Wanted>,
    /// What each EncryptedSecret wants restarted.
    by_object: HashMap<Key, BTreeSet<Owner>>,
}

/// One workload somebody wants restarted.
struct Wanted {
    /// By EncryptedSecret.
    by: BTreeMap<String, Wish>,
    /// What it was seen to be restarted for.
    done: Generations,
    /// Why it is not restarted now.
    wait: Option<Wait>,
    /// When to look at it; None while there is nothing to do.
    due: Option<Instant>,
    pause: Duration,
}

struct Wish {
    generation: i64,
    reference: ObjectReference,
}

impl Rollouts {
    /// Nothing to do yet. `wake` receives the EncryptedSecrets whose wish turned out to wait.
    pub fn new(client: Client, events: Events, wake: UnboundedSender<Key>) -> Arc<Rollouts> {
        Arc::new(Rollouts { client, events, wake, state: Mutex::default(), sooner: Notify::new() })
    }

    /// Replaces what one EncryptedSecret wants restarted for its newest generation.
    pub fn want(&self, object: &Key, reference: ObjectReference, generation: i64, owners: &BTreeSet<Owner>) {
        let mut state = self.lock();
        state.withdraw(object, owners);
        if owners.is_empty() {
            return;
        }
        for owner in owners {
            let place = (object.0.clone(), owner.clone());
            let wanted = state.places.entry(place).or_insert_with(Wanted::new);
            let wish = Wish { generation, reference: reference.clone() };
            wanted.by.insert(object.1.clone(), wish);
            if wanted.due.is_none() && wanted.done.get(&object.1).is_none_or(|done| *done < generation) {
                wanted.due = Some(Instant::now() + GATHER);
                wanted.pause = FIRST_WAIT;
                self.sooner.notify_one();
            }
        }
        state.by_object.insert(object.clone(), owners.clone());
    }

    /// Why workloads that an EncryptedSecret wants restarted are not.
    pub fn waits(&self, object: &Key) -> BTreeMap<Owner, Wait> {
        let state = self.lock();
        let owners = state.by_object.get(object).into_iter().flatten();
        let wait = |owner: &Owner| state.places.get(&(object.0.clone(), owner.clone()))?.wait;
        owners.filter_map(|owner| Some((owner.clone(), wait(owner)?))).collect()
    }

    /// The EncryptedSecret is gone.
    pub fn forget(&self, object: &Key) {
        self.lock().withdraw(object, &BTreeSet::new());
    }

    /// Restarts for as long as the operator runs.
    pub async fn run(&self) {
        loop {
            let next = self.lock().next();
            match next {
                Some((due, place)) if due <= Instant::now() => self.look_at(&place).await,
                Some((due, _)) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due) => {}
                        () = self.sooner.notified() => {}
                    }
                }
                None => self.sooner.notified().await,
            }
        }
    }

    async fn look_at(&self, place: &Place) {
        let Some(wanted) = self.lock().generations(place) else { return };
        let (namespace, owner) = place;
        let step = match &*owner.kind {
            "Deployment" => self.restart::<Deployment>(namespace, &owner.name, &wanted).await,
            "StatefulSet" => self.restart::<StatefulSet>(namespace, &owner.name, &wanted).await,
            "DaemonSet" => self.restart::<DaemonSet>(namespace, &owner.name, &wanted).await,
            _ => Ok(Step::Wait(Wait::Gone)),
        };
        let step = step.unwrap_or_else(|error| {
            let problem = words::of(&error);
            tracing::warn!(
                namespace,
                kind = &*owner.kind,
                name = &*owner.name,
                problem,
                "a workload could not be restarted"
            );
            Step::Wait(wait_of(&error))
        });
        let told = self.lock().looked(place, &wanted, &step);
        if matches!(step, Step::Annotate(_)) {
            for (name, wish) in &told {
                let generation = wanted.get(name).copied().unwrap_or_default();
                let message =
                    format!("{} {} is restarted for generation {generation}", owner.kind, owner.name);
                let notice = Notice { warning: false, reason: Reason::Restarted, message };
                self.events.publish(wish, &notice, "Restart");
            }
        } else {
            for (name, _) in told {
                let _ = self.wake.send((namespace.clone(), name));
            }
        }
    }

    /// Looks at a workload and, if it is time, annotates exactly what was looked at.
    async fn restart<K>(&self, namespace: &str, name: &str, wanted: &Generations) -> Result<Step, kube::Error>
    where
        K: Workload
            + Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let workload = api.get(name).await?;
        let step = rollout::step(&workload, wanted);
        if let Step::Annotate(value) = &step {
            let meta = Resource::meta(&workload);
            let patch = json!({
                "apiVersion": K::api_version(&()), "kind": K::kind(&()),
                "metadata": { "name": name, "uid": meta.uid, "resourceVersion": meta.resource_version },
                "spec": { "template": { "metadata": { "annotations": { ROLLED_OUT_ANNOTATION: value } } } },
            });
            let params = PatchParams::apply(ROLLOUT_FIELD_MANAGER).force();
            api.patch(name, &params, &Patch::Apply(&patch)).await?;
        }
        Ok(step)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    fn new() -> Wanted {
        Wanted { by: BTreeMap::new(), done: Generations::new(), wait: None, due: None, pause: FIRST_WAIT }
    }
}

impl State {
    /// The earliest that is due.
    fn next(&self) -> Option<(Instant, Place)> {
        let due = self.places.iter().filter_map(|(place, wanted)| Some((wanted.due?, place)));
        due.min_by_key(|(due, _)| *due).map(|(due, place)| (due, place.clone()))
    }

    fn generations(&self, place: &Place) -> Option<Generations> {
        let wanted = self.places.get(place)?;
        Some(wanted.by.iter().map(|(name, wish)| (name.clone(), wish.generation)).collect())
    }

    /// Takes in what became of a workload that was looked at for `wanted`. Returns whom that concerns: everybody where it
    /// was restarted or it waits for another reason than before.
    fn looked(&mut self, place: &Place, wanted: &Generations, step: &Step) -> Vec<(String, ObjectReference)> {
        let Some(known) = self.places.get_mut(place) else { return Vec::new() };
        let before = known.wait;
        (known.wait, known.due) = match step {
            Step::Done | Step::Annotate(_) => {
                known.done.extend(wanted.clone());
                known.pause = FIRST_WAIT;
                // Somebody may have wanted more meanwhile.
                let more =
                    known.by.iter().any(|(n, wish)| known.done.get(n).is_none_or(|d| *d < wish.generation));
                (None, more.then(|| Instant::now() + GATHER))
            }
            Step::Wait(wait) => {
                let due = Instant::now() + known.pause;
                known.pause = (known.pause * 2).min(LONGEST_WAIT);
                (Some(*wait), Some(due))
            }
        };
        let concerned = matches!(step, Step::Annotate(_)) || known.wait != before;
        let all = known.by.iter().filter(|(name, _)| concerned && wanted.contains_key(*name));
        all.map(|(name, wish)| (name.clone(), wish.reference.clone())).collect()
    }

    /// An EncryptedSecret wants nothing restarted any more but `still`.
    fn withdraw(&mut self, object: &Key, still: &BTreeSet<Owner>) {
        let Some(before) = self.by_object.remove(object) else { return };
        for owner in before.difference(still) {
            let place = (object.0.clone(), owner.clone());
            let Some(wanted) = self.places.get_mut(&place) else { continue };
            wanted.by.remove(&object.1);
            if wanted.by.is_empty() {
                self.places.remove(&place);
            }
        }
    }
}

fn wait_of(error: &kube::Error) -> Wait {
    match error {
        kube::Error::Api(status) if status.code == 403 => Wait::Forbidden,
        kube::Error::Api(status) if status.code == 404 => Wait::Gone,
        kube::Error::Api(status) if status.code == 409 => Wait::Busy,
        _ => Wait::Unanswered,
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
