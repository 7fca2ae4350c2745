//! Follows Incidents: judges each open one by the ledger whenever an EncryptedSecret or an Incident changed, at most about
//! once a second, and writes its status where that changed. Needs no key: rotations are told apart by what was recorded.
//! Each time it notes in the ledger which EncryptedSecrets are gone, for an Incident that is opened later asks since when.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use tokio::time::Instant;
use touchseal_crds::incident::Remaining;
use touchseal_crds::names::FIELD_MANAGER;
use touchseal_crds::{Incident, IncidentStatus};
use touchseal_plan::LedgerEntry;
use touchseal_plan::incident::{Followed, Outcome, Record, judge};

use crate::events::Events;
use crate::ledger::{Ledger, LedgerError};
use crate::objects::{self, Objects};
use crate::places::{Kind, Places};
use crate::secrets::{Key, newer};
use crate::telemetry::{IncidentLabel, Metrics};
use crate::{lists, merge, observe, reconcile, words};

/// Shortest time between two rounds: what changes together is judged together.
const PAUSE: Duration = Duration::from_secs(1);
/// Time before another round after one that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Follows every Incident.
pub struct Incidents {
    client: Client,
    ledger: Ledger,
    events: Events,
    metrics: Arc<Metrics>,
    /// As last seen, by name.
    known: HashMap<String, Known>,
    /// All ConfigMaps of the ledger are known.
    discovered: bool,
    /// Collected during a list: what is not in it is gone.
    listed: Option<HashMap<String, Known>>,
}

struct Known {
    incident: Incident,
    /// All that remained, also what has no place in the status.
    remaining: Option<Vec<Remaining>>,
}

/// The EncryptedSecrets that are known, and where they are.
type There = (Arc<Places>, Arc<Objects>);

/// Why a round has to be made again.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("status of Incident {name}: {problem}")]
    Status { name: String, problem: String },
}

impl Incidents {
    /// Nothing known yet.
    pub fn new(client: Client, ledger: Ledger, events: Events, metrics: Arc<Metrics>) -> Incidents {
        Incidents { client, ledger, events, metrics, known: HashMap::new(), discovered: false, listed: None }
    }

    /// Runs until the process ends. `news` ticks whenever one of `objects` changed.
    pub async fn follow(mut self, objects: There) {
        let mut news = objects.1.news();
        // An object that is not known yet is not one that was deleted.
        objects.0.settled(Kind::EncryptedSecrets).await;
        let mut incidents = lists::incidents(self.client.clone()).boxed();
        let mut due: Option<Instant> = None;
        let mut rested = Instant::now();
        loop {
            tokio::select! {
                Some(event) = incidents.next() => match event {
                    Ok(event) => {
                        if self.take(event) {
                            due = due.or(Some(rested));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(problem = words::of_watch(&error), "watch of Incidents failed; it is tried again");
                    }
                },
                Ok(()) = news.changed() => due = due.or(Some(rested)),
                () = tokio::time::sleep_until(due.unwrap_or(rested)), if due.is_some() => {
                    let began = Instant::now();
                    due = None;
                    if let Err(error) = self.round(&objects).await {
                        tracing::warn!(%error, "Incidents could not be judged; it is tried again");
                        due = Some(Instant::now() + AGAIN);
                    }
                    rested = Instant::now() + objects::rest(PAUSE, began.elapsed());
                }
                else => return,
            }
        }
    }

    /// Learns what a watch brings; whether it is worth a round. Nothing is before the first list is whole.
    fn take(&mut self, event: Event<Incident>) -> bool {
        match event {
            Event::Init => {
                self.listed = Some(HashMap::new());
                false
            }
            Event::InitApply(incident) => {
                let name = incident.name_any();
                let known = learn(self.known.remove(&name), incident);
                self.listed.get_or_insert_default().insert(name, known);
                false
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let gone = std::mem::replace(&mut self.known, listed);
                gone.keys().for_each(|name| hide(&self.metrics, name));
                true
            }
            Event::Apply(incident) => {
                let name = incident.name_any();
                let known = learn(self.known.remove(&name), incident);
                self.known.insert(name, known);
                true
            }
            Event::Delete(incident) => {
                let name = incident.name_any();
                self.known.remove(&name);
                hide(&self.metrics, &name);
                false
            }
        }
    }

    /// Judges every open incident once.
    async fn round(&mut self, objects: &There) -> Result<(), RoundError> {
        let now = reconcile::now();
        let missing = self.note_ends(objects, &now).await?;
        if self.listed.is_some() || self.known.values().all(|known| is_over(&known.incident)) {
            return Ok(());
        }
        let followed = self.gather(&objects.1, missing).await?;
        let mut trouble = Ok(());
        for (name, known) in &mut self.known {
            let incident = &known.incident;
            let remembered = known.remaining.as_deref().or(incident.status.as_ref().map(|s| &*s.remaining));
            let outcome = judge(incident, &followed, remembered.unwrap_or_default(), &now);
            show(&self.metrics, name, &outcome.status);
            match settle(&self.client, &self.events, incident, &outcome).await {
                Ok(Settled::As(stored)) => {
                    known.remaining = Some(outcome.remaining);
                    known.incident = *stored;
                }
                Ok(Settled::Outdated) => {
                    let all = with_earlier(outcome.remaining, remembered.unwrap_or_default());
                    known.remaining = Some(all);
                }
                Err(error) => trouble = Err(error),
            }
            if is_over(&known.incident) {
                hide(&self.metrics, name);
            }
        }
        trouble
    }

    /// What the ledger has of the EncryptedSecrets that are gone, or of which nobody knows whether they are.
    async fn note_ends(
        &mut self,
        (places, objects): &There,
        now: &Time,
    ) -> Result<Vec<(Key, LedgerEntry)>, LedgerError> {
        if !self.discovered {
            self.ledger.discover().await?;
            self.discovered = true;
        }
        self.ledger
            .note_ends(
                |key| {
                    let there = objects.has(key);
                    (there || places.knows(Kind::EncryptedSecrets, &key.0)).then_some(there)
                },
                now,
            )
            .await
    }

    /// What the ledger has of every EncryptedSecret that it or the cluster knows.
    async fn gather(
        &self,
        objects: &Objects,
        missing: Vec<(Key, LedgerEntry)>,
    ) -> Result<Vec<Followed>, LedgerError> {
        let unseen = |((namespace, name), entry): (Key, LedgerEntry)| Followed {
            record: Some(Record::from(&entry)),
            labels: None,
            created: entry.since,
            ended: entry.ended,
            consumers_known: false,
            namespace,
            name,
        };
        let mut followed: Vec<Followed> = missing.into_iter().map(unseen).collect();
        for object in objects.each() {
            let (namespace, name) = observe::key(&object);
            let entry = self.ledger.get(&namespace, &name).await?;
            let consumers = object.status.as_ref().and_then(|status| status.consumers.as_ref());
            followed.push(Followed {
                record: entry.as_ref().map(Record::from),
                ended: None,
                labels: Some(object.labels().clone()),
                created: object.creation_timestamp().unwrap_or_else(reconcile::now),
                consumers_known: consumers.is_none_or(|consumers| consumers.known),
                namespace,
                name,
            });
        }
        Ok(followed)
    }
}

/// What remains by an outcome that was not written, and what remained before it: nobody has heard yet what became of that.
fn with_earlier(mut remaining: Vec<Remaining>, before: &[Remaining]) -> Vec<Remaining> {
    fn key(entry: &Remaining) -> (&str, &str, &str) {
        (&entry.namespace, &entry.name, &entry.key)
    }
    let missing: Vec<Remaining> = {
        let there: HashSet<_> = remaining.iter().map(key).collect();
        before.iter().filter(|entry| !there.contains(&key(entry))).cloned().collect()
    };
    remaining.extend(missing);
    remaining
}

/// The later version counts: the watch lags behind the answers to our own writes.
fn learn(before: Option<Known>, incident: Incident) -> Known {
    let version = |incident: &Incident| incident.resource_version().unwrap_or_default();
    match before {
        Some(known) if known.incident.uid() != incident.uid() => Known { incident, remaining: None },
        Some(known) if newer(&version(&incident), &version(&known.incident)) => Known { incident, ..known },
        Some(known) => known,
        None => Known { incident, remaining: None },
    }
}

/// Nothing can become of it any more.
fn is_over(incident: &Incident) -> bool {
    let status = incident.status.as_ref();
    status.is_some_and(|s| s.closed_at.is_some() && s.observed_generation == incident.metadata.generation)
}

/// What became of an outcome.
enum Settled {
    /// The Incident says it, as stored.
    As(Box<Incident>),
    /// The Incident changed or went before it could be written; the watch brings the news.
    Outdated,
}

/// Writes the status where it differs, then tells of an end.
async fn settle(
    client: &Client,
    events: &Events,
    incident: &Incident,
    outcome: &Outcome,
) -> Result<Settled, RoundError> {
    if incident.status.as_ref() == Some(&outcome.status) {
        return Ok(Settled::As(Box::new(incident.clone())));
    }
    let name = incident.name_any();
    let failed = |problem: String| RoundError::Status { name: name.clone(), problem };
    let fields = merge::status(&incident.status, &outcome.status)
        .map_err(|error| failed(format!("it cannot be put into words ({error})")))?;
    // The version keeps a status judged by an old spec off a new one.
    let metadata =
        json!({ "uid": incident.metadata.uid, "resourceVersion": incident.metadata.resource_version });
    let patch = Patch::Merge(json!({ "metadata": metadata, "status": fields }));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let api: Api<Incident> = Api::all(client.clone());
    match api.patch_status(&name, &params, &patch).await {
        Ok(stored) => {
            if let Some(notice) = &outcome.notice {
                let about = ObjectReference { ..incident.object_ref(&()) };
                events.publish(&about, notice, "Close");
            }
            Ok(Settled::As(Box::new(stored)))
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Settled::Outdated),
        Err(error) => Err(failed(words::of(&error))),
    }
}

const STATES: [&str; 4] = ["exposed", "draining", "safe", "accepted"];

fn label(incident: &str, state: &'static str) -> IncidentLabel {
    IncidentLabel { incident: incident.to_owned(), state }
}

fn show(metrics: &Metrics, name: &str, status: &IncidentStatus) {
    let totals = status.totals.unwrap_or_default();
    let counts = [totals.exposed, totals.draining, totals.safe, totals.accepted];
    for (state, count) in STATES.into_iter().zip(counts) {
        metrics.incident_keys.get_or_create(&label(name, state)).set(count.into());
    }
}

/// Of an incident that is over, or gone, nothing is said.
fn hide(metrics: &Metrics, name: &str) {
    for state in STATES {
        metrics.incident_keys.remove(&label(name, state));
    }
}

#[cfg(test)]
mod tests {
    use touchseal_crds::IncidentSpec;

    use super::*;
    use crate::lists::tests::client;

    fn incident(name: &str, version: &str) -> Incident {
        let exposed_at = reconcile::now();
        let spec = IncidentSpec {
            exposed_at,
            selector: None,
            description: None,
            accepted: Vec::new(),
            closed: None,
        };
        let mut incident = Incident::new(name, spec);
        incident.metadata.resource_version = Some(version.to_owned());
        incident.metadata.uid = Some(format!("uid-{name}"));
        incident
    }

    fn incidents() -> Incidents {
        let (client, _) = client();
        let events = Events::new(client.clone(), "pod");
        Incidents::new(client.clone(), Ledger::new(&client, "system"), events, Arc::default())
    }

    fn remaining() -> Remaining {
        serde_json::from_value(json!({ "namespace": "a", "name": "b", "key": "c", "state": "Removed", "since": "2026-01-01T00:00:00Z" }))
            .unwrap()
    }

    #[tokio::test]
    async fn what_remained_is_remembered_over_lists_and_forgotten_with_its_incident() {
        let mut all = incidents();
        assert!(all.take(Event::Apply(incident("leak", "5"))));
        let known = all.known.get_mut("leak").unwrap();
        known.remaining = Some(vec![remaining()]);
        assert!(!all.take(Event::Init));
        assert!(!all.take(Event::InitApply(incident("leak", "6"))));
        assert!(all.take(Event::InitDone));
        assert!(all.known["leak"].remaining.is_some());

        // The watch brings an older one than the answer to our own write was.
        all.take(Event::Apply(incident("leak", "4")));
        assert_eq!(all.known["leak"].incident.metadata.resource_version.as_deref(), Some("6"));

        // A namesake is another incident.
        let mut namesake = incident("leak", "7");
        namesake.metadata.uid = Some("uid-other".to_owned());
        all.take(Event::Apply(namesake));
        assert!(all.known["leak"].remaining.is_none());

        all.take(Event::Init);
        assert!(all.take(Event::InitDone));
        assert!(all.known.is_empty(), "it was deleted while the watch was down");
    }

    #[test]
    fn what_an_unwritten_outcome_left_out_is_not_forgotten() {
        let named = |key: &str| Remaining { key: key.to_owned(), ..remaining() };
        let keys = |all: Vec<Remaining>| all.into_iter().map(|entry| entry.key).collect::<Vec<_>>();
        assert_eq!(
            keys(with_earlier(vec![named("new")], &[named("new"), named("accepted")])),
            ["new", "accepted"]
        );
        assert_eq!(keys(with_earlier(Vec::new(), &[named("accepted")])), ["accepted"]);
    }

    #[test]
    fn an_incident_is_over_once_its_end_is_written_for_its_present_spec() {
        let mut incident = incident("leak", "1");
        incident.metadata.generation = Some(2);
        assert!(!is_over(&incident));
        let closed = |observed| IncidentStatus {
            closed_at: Some(reconcile::now()),
            observed_generation: Some(observed),
            ..IncidentStatus::default()
        };
        incident.status = Some(closed(1));
        assert!(!is_over(&incident));
        incident.status = Some(closed(2));
        assert!(is_over(&incident));
    }
}
