//! What all EncryptedSecrets come to, for metrics: counted anew each time from the objects there are, by namespace and key
//! generation and never by object. So nothing is kept for them, and what is said of one ends with it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use touchseal_crds::{ConditionType, EncryptedSecret, EncryptedSecretStatus, Reason};

use crate::census::{Needs, needs};

/// State of an object that no status speaks of as it is now.
pub const PENDING: &str = "Pending";

/// All EncryptedSecrets, counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By namespace.
    pub namespaces: BTreeMap<String, Place>,
    /// How many need each key generation: by keyring and number.
    pub generations: BTreeMap<String, BTreeMap<u32, u32>>,
    /// Of how many it cannot be told which generation they need.
    pub unclear: u32,
}

/// The EncryptedSecrets of one namespace. Times are seconds since 1970.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// How many are in each state: the reason of Ready, or [`PENDING`].
    pub states: BTreeMap<&'static str, u32>,
    /// Since when the value has been served that was not changed for longest.
    pub oldest_value: Option<i64>,
    /// When the first maxAge ends, or has ended.
    pub next_due: Option<i64>,
    /// Values whose maxAge has ended.
    pub overdue: u32,
    /// Pods on the newest content.
    pub current_pods: u32,
    /// Pods that hold an older value.
    pub stale_pods: u32,
    /// Objects whose older value pods hold.
    pub draining: u32,
    /// Since when the longest of these drains goes on.
    pub oldest_drain: Option<i64>,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, object: &EncryptedSecret, now: &Time) {
        match needs(object) {
            Needs::Generation { keyring, oldest } => {
                *self.generations.entry(keyring.to_owned()).or_default().entry(oldest).or_default() += 1;
            }
            Needs::Unclear { .. } => self.unclear += 1,
        }
        let place = self.namespaces.entry(object.metadata.namespace.clone().unwrap_or_default()).or_default();
        *place.states.entry(state(object)).or_default() += 1;
        if let Some(status) = &object.status {
            place.add(status, now.0.as_second());
        }
    }

    /// How many need this generation of a keyring.
    pub fn needed(&self, keyring: &str, generation: u32) -> u32 {
        self.generations.get(keyring).and_then(|needed| needed.get(&generation)).copied().unwrap_or_default()
    }
}

impl Place {
    fn add(&mut self, status: &EncryptedSecretStatus, now: i64) {
        for key in &status.keys {
            earlier(&mut self.oldest_value, key.since.0.as_second());
            if let Some(due) = &key.due {
                earlier(&mut self.next_due, due.0.as_second());
                self.overdue += u32::from(due.0.as_second() <= now);
            }
        }
        if let Some(consumers) = &status.consumers {
            let count =
                |pods: Option<i32>| pods.and_then(|pods| u32::try_from(pods).ok()).unwrap_or_default();
            self.current_pods = self.current_pods.saturating_add(count(consumers.current));
            self.stale_pods = self.stale_pods.saturating_add(count(consumers.stale));
        }
        let draining = condition(status, ConditionType::Draining);
        // Refreshing ends by itself.
        if let Some(told) = draining.filter(|c| c.reason == Reason::StaleConsumers.as_str()) {
            self.draining += 1;
            earlier(&mut self.oldest_drain, told.last_transition_time.0.as_second());
        }
    }
}

/// Bounded whatever somebody wrote into the status.
fn state(object: &EncryptedSecret) -> &'static str {
    let status = object.status.as_ref().filter(|s| s.observed_generation == object.metadata.generation);
    let Some(ready) = status.and_then(|status| condition(status, ConditionType::Ready)) else {
        return PENDING;
    };
    Reason::ALL.iter().map(|reason| reason.as_str()).find(|word| *word == ready.reason).unwrap_or(PENDING)
}

fn condition(status: &EncryptedSecretStatus, type_: ConditionType) -> Option<&Condition> {
    status.conditions.iter().find(|one| one.type_ == type_.as_str())
}

fn earlier(known: &mut Option<i64>, time: i64) {
    *known = Some(known.map_or(time, |before| before.min(time)));
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
