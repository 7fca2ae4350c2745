//! Events, for people: one a transition. The same one again within a few minutes is counted, not multiplied; another
//! message is another Event. Nobody waits for an Event to be written: they are written one after the other, warnings first,
//! slower than the work they tell of where that would flood the API server, and what is no warning only once that is done.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use touchseal_crds::names::FIELD_MANAGER;
use touchseal_plan::Notice;

use crate::ceremony::Budget;
use crate::words;

/// How long an Event is remembered after it was last told.
const REMEMBERED: Duration = Duration::from_secs(6 * 60);
/// Longest note the API allows, in bytes.
const MAX_NOTE: usize = 1024;
/// Namespace of Events about objects that have none.
const CLUSTER_WIDE: &str = "default";

/// Events that are written at once, and the time until one more is.
const BURST: (u32, Duration) = (100, Duration::from_millis(50));
/// Most Events of a kind that wait; what comes on top of them is only logged.
const WAITING: usize = 1_000;

/// Takes Events; cheap to clone.
#[derive(Clone)]
pub struct Events {
    warnings: mpsc::Sender<Told>,
    others: mpsc::Sender<Told>,
    held: Arc<watch::Sender<bool>>,
}

/// What is to be written.
struct Told {
    about: ObjectReference,
    warning: bool,
    action: &'static str,
    same: Same,
}

/// What makes two notices the same: object, reason and note.
#[derive(Hash)]
struct Same {
    uid: String,
    reason: &'static str,
    note: String,
}

/// An Event that was written. Thousands are remembered: its name is made again from the moment.
#[derive(Clone, Copy)]
struct Recent {
    written: Timestamp,
    count: i32,
    at: Instant,
}

impl Events {
    /// Events reported by `pod`; written as long as anybody has them to tell.
    pub fn new(client: Client, pod: &str) -> Events {
        let ((warnings, urgent), (others, rest)) = (mpsc::channel(WAITING), mpsc::channel(WAITING));
        let held = Arc::new(watch::Sender::new(false));
        let writer =
            Writer { client, pod: pod.to_owned(), recent: HashMap::new(), hashes: RandomState::new() };
        tokio::spawn(writer.run(urgent, rest, held.subscribe()));
        Events { warnings, others, held }
    }

    /// Whether everything but warnings is to wait.
    pub fn hold(&self, held: bool) {
        self.held.send_if_modified(|before| std::mem::replace(before, held) != held);
    }

    /// Has one written; an Event that cannot be is logged and forgotten.
    pub fn publish(&self, about: &ObjectReference, notice: &Notice, action: &'static str) {
        let same = Same {
            uid: about.uid.clone().unwrap_or_else(|| about.name.clone().unwrap_or_default()),
            reason: notice.reason.as_str(),
            note: cut(&notice.message),
        };
        let told = Told { about: about.clone(), warning: notice.warning, action, same };
        let lane = if notice.warning { &self.warnings } else { &self.others };
        if lane.try_send(told).is_err() {
            tracing::debug!(object = about.name, reason = %notice.reason, "too many Events wait: this one is not written");
        }
    }
}

/// Writes them.
struct Writer {
    client: Client,
    pod: String,
    /// By a hash of what makes them the same: thousands are told when an operator begins.
    recent: HashMap<u64, Recent>,
    hashes: RandomState,
}

impl Writer {
    async fn run(
        mut self,
        mut warnings: mpsc::Receiver<Told>,
        mut others: mpsc::Receiver<Told>,
        mut held: watch::Receiver<bool>,
    ) {
        let mut budget = Budget::new(BURST.0, BURST.1, Instant::now());
        loop {
            while !budget.take(Instant::now()) {
                tokio::time::sleep_until(budget.next().into()).await;
            }
            let told = loop {
                let waits = *held.borrow_and_update();
                tokio::select! {
                    biased;
                    Some(told) = warnings.recv() => break told,
                    Ok(()) = held.changed() => {}
                    Some(told) = others.recv(), if !waits => break told,
                    else => return,
                }
            };
            let (name, reason) = (told.about.name.clone(), told.same.reason);
            if let Err(error) = self.write(told).await {
                let problem = words::of(&error);
                tracing::warn!(object = name, reason, problem, "an Event could not be written");
            }
        }
    }

    async fn write(&mut self, told: Told) -> Result<(), kube::Error> {
        let namespace = told.about.namespace.as_deref().unwrap_or(CLUSTER_WIDE);
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if let Some(recent) = self.again(&told.same) {
            match count(&api, &name(&told.about, recent.written), recent.count).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => return other,
            }
        }
        self.create(&api, told).await
    }

    /// The Event this repeats, if it does.
    fn again(&mut self, same: &Same) -> Option<Recent> {
        let known = self
            .recent
            .get_mut(&self.hashes.hash_one(same))
            .filter(|known| known.at.elapsed() < REMEMBERED)?;
        known.count = known.count.saturating_add(1);
        known.at = Instant::now();
        Some(*known)
    }

    async fn create(&mut self, api: &Api<Event>, told: Told) -> Result<(), kube::Error> {
        let Told { about, warning, action, same } = told;
        let (now, key) = (Timestamp::now(), self.hashes.hash_one(&same));
        let event = Event {
            metadata: ObjectMeta { name: Some(name(&about, now)), ..ObjectMeta::default() },
            action: Some(action.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(same.note),
            reason: Some(same.reason.to_owned()),
            regarding: Some(about),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.pod.clone()),
            type_: Some(if warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        };
        api.create(&PostParams::default(), &event).await?;
        if self.recent.len() >= self.recent.capacity() {
            self.recent.retain(|_, known| known.at.elapsed() < REMEMBERED);
        }
        self.recent.insert(key, Recent { written: now, count: 1, at: Instant::now() });
        Ok(())
    }
}

/// Of an Event about an object that was written at this moment.
fn name(about: &ObjectReference, written: Timestamp) -> String {
    let object: String = about.name.iter().flat_map(|name| name.chars()).take(200).collect();
    format!("{object}.{:x}", written.as_nanosecond())
}

async fn count(api: &Api<Event>, event: &str, count: i32) -> Result<(), kube::Error> {
    let series = json!({ "series": { "count": count, "lastObservedTime": MicroTime(Timestamp::now()) } });
    api.patch(event, &PatchParams::default(), &Patch::Merge(series)).await.map(drop)
}

fn cut(message: &str) -> String {
    let end = (0..=MAX_NOTE.min(message.len())).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    message.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_fits_what_the_api_allows() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(3000)).len(), MAX_NOTE);
        // 'ä' takes two bytes: the cut falls between characters.
        assert_eq!(cut(&format!("x{}", "ä".repeat(1000))).len(), MAX_NOTE - 1);
    }
}
