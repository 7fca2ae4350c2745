//! Events, for people: one a transition. The same one again within a few minutes is counted, not multiplied; another
//! message is another Event.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use touchseal_crds::names::FIELD_MANAGER;
use touchseal_plan::Notice;

use crate::words;

/// How long an Event is remembered after it was last told.
const REMEMBERED: Duration = Duration::from_secs(6 * 60);
/// Longest note the API allows, in bytes.
const MAX_NOTE: usize = 1024;
/// Namespace of Events about objects that have none.
const CLUSTER_WIDE: &str = "default";

/// Writes Events; cheap to clone.
#[derive(Clone)]
pub struct Events {
    client: Client,
    pod: String,
    recent: Arc<std::sync::Mutex<HashMap<Told, Recent>>>,
}

/// What makes two notices the same: object, reason and note.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Told {
    uid: String,
    reason: &'static str,
    note: String,
}

#[derive(Clone)]
struct Recent {
    event: String,
    count: i32,
    at: Instant,
}

impl Events {
    /// Events reported by `pod`.
    pub fn new(client: Client, pod: &str) -> Events {
        Events { client, pod: pod.to_owned(), recent: Arc::default() }
    }

    /// Writes one; an Event that cannot be written is logged and forgotten.
    pub async fn publish(&self, about: &ObjectReference, notice: &Notice, action: &str) {
        let told = Told {
            uid: about.uid.clone().unwrap_or_else(|| about.name.clone().unwrap_or_default()),
            reason: notice.reason.as_str(),
            note: cut(&notice.message),
        };
        let namespace = about.namespace.as_deref().unwrap_or(CLUSTER_WIDE);
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let result = match self.again(&told) {
            Some(recent) => match count(&api, &recent).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    self.create(&api, told, about, notice, action).await
                }
                other => other,
            },
            None => self.create(&api, told, about, notice, action).await,
        };
        if let Err(error) = result {
            let problem = words::of(&error);
            tracing::warn!(object = about.name, reason = %notice.reason, problem, "an Event could not be written");
        }
    }

    /// The Event this repeats, if it does.
    fn again(&self, told: &Told) -> Option<Recent> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let known = recent.get_mut(told).filter(|known| known.at.elapsed() < REMEMBERED)?;
        known.count = known.count.saturating_add(1);
        known.at = Instant::now();
        Some(known.clone())
    }

    async fn create(
        &self,
        api: &Api<Event>,
        told: Told,
        about: &ObjectReference,
        notice: &Notice,
        action: &str,
    ) -> Result<(), kube::Error> {
        let now = Timestamp::now();
        let object: String = about.name.iter().flat_map(|name| name.chars()).take(200).collect();
        let name = format!("{object}.{:x}", now.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            action: Some(action.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(told.note.clone()),
            reason: Some(told.reason.to_owned()),
            regarding: Some(about.clone()),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.pod.clone()),
            type_: Some(if notice.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        };
        api.create(&PostParams::default(), &event).await?;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= recent.capacity() {
            recent.retain(|_, known| known.at.elapsed() < REMEMBERED);
        }
        recent.insert(told, Recent { event: name, count: 1, at: Instant::now() });
        Ok(())
    }
}

async fn count(api: &Api<Event>, recent: &Recent) -> Result<(), kube::Error> {
    let series =
        json!({ "series": { "count": recent.count, "lastObservedTime": MicroTime(Timestamp::now()) } });
    api.patch(&recent.event, &PatchParams::default(), &Patch::Merge(series)).await.map(drop)
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
