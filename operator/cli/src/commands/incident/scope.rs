//! What an incident is about, how much of it its status tells, and what follows for the keys that are safe. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use touchseal_crds::incident::{IncidentSelector, IncidentTotals, Remaining, RemainingState};
use touchseal_crds::{EncryptedSecret, Incident};

use super::word;

/// An incident, as far as it can be told from its spec and status.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    incident: &'a Incident,
    /// `status.remaining`.
    pub remaining: &'a [Remaining],
}

/// A Secret key that was rotated since and left by every pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Safe<'a> {
    pub object: &'a EncryptedSecret,
    pub namespace: &'a str,
    pub name: &'a str,
    pub key: &'a str,
    /// When the new value was first served.
    pub since: Timestamp,
}

impl<'a> Scope<'a> {
    /// Of one incident.
    pub fn new(incident: &'a Incident) -> Self {
        let status = incident.status.as_ref();
        Self { incident, remaining: status.map(|status| status.remaining.as_slice()).unwrap_or_default() }
    }

    /// The moment of the exposure.
    pub fn at(&self) -> Timestamp {
        self.incident.spec.exposed_at.0
    }

    /// The end of the story so far: when it was closed, or now.
    pub fn until(&self, now: Timestamp) -> Timestamp {
        let closed = self.incident.status.as_ref().and_then(|status| status.closed_at.as_ref());
        closed.map_or(now, |closed| closed.0)
    }

    /// How many entries of these states there are but are not listed: the list in a status is cut. None: nothing is known.
    fn unlisted(&self, states: &[RemainingState], of: fn(&IncidentTotals) -> i32) -> Option<usize> {
        let status = self.incident.status.as_ref().filter(|_| word(self.incident).is_some())?;
        let all = usize::try_from(of(&status.totals?)).ok()?;
        let listed = self.remaining.iter().filter(|entry| states.contains(&entry.state)).count();
        Some(all.saturating_sub(listed))
    }

    /// All that is exposed is listed: what is not in the list is not exposed.
    pub fn tells_exposed(&self) -> bool {
        self.unlisted(&[RemainingState::Removed, RemainingState::Exposed], |totals| totals.exposed) == Some(0)
    }

    /// All that remains is listed: what is not in the list is safe or accepted.
    pub fn tells_all(&self) -> bool {
        let draining = [RemainingState::Draining, RemainingState::Unknown];
        self.tells_exposed() && self.unlisted(&draining, |totals| totals.draining) == Some(0)
    }

    /// As the operator takes the selector, its keys left out.
    pub fn concerns(&self, object: &EncryptedSecret) -> bool {
        let Some(selector) = &self.incident.spec.selector else { return true };
        let among = |list: &[String], value: Option<&String>| {
            list.is_empty() || value.is_some_and(|v| list.contains(v))
        };
        let labels = object.metadata.labels.as_ref();
        among(&selector.namespaces, object.metadata.namespace.as_ref())
            && among(&selector.names, object.metadata.name.as_ref())
            && selector
                .match_labels
                .iter()
                .all(|(label, value)| labels.and_then(|labels| labels.get(label)) == Some(value))
    }

    /// Whether the incident is about this Secret key; of others it says nothing.
    pub fn selects(&self, key: &str) -> bool {
        let asked = self.incident.spec.selector.as_ref().map(|s| s.keys.as_slice()).unwrap_or_default();
        asked.is_empty() || asked.iter().any(|name| name == key)
    }

    fn accepts(&self, namespace: &str, name: &str, key: &str) -> bool {
        self.incident.spec.accepted.iter().any(|a| {
            a.namespace == namespace && a.name == name && a.key.as_deref().is_none_or(|wanted| wanted == key)
        })
    }

    /// What was replaced since and does not remain: its old value may be revoked. Nothing, where the list is cut.
    pub fn safe<'o>(&self, objects: &'o [EncryptedSecret], now: Timestamp) -> Vec<Safe<'o>> {
        if !self.tells_all() {
            return Vec::new();
        }
        let remains: BTreeSet<_> =
            self.remaining.iter().map(|e| (e.namespace.as_str(), e.name.as_str(), e.key.as_str())).collect();
        let mut safe = Vec::new();
        for object in objects.iter().filter(|object| self.concerns(object)) {
            let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let keys = object.status.as_ref().map(|status| status.keys.as_slice()).unwrap_or_default();
            for key in keys.iter().filter(|key| self.selects(&key.name)) {
                let (since, key) = (key.since.0, key.name.as_str());
                let is_new = since > self.at() && since <= self.until(now);
                if is_new && !self.accepts(namespace, name, key) && !remains.contains(&(namespace, name, key))
                {
                    safe.push(Safe { object, namespace, name, key, since });
                }
            }
        }
        safe.sort_by_key(|safe| (safe.namespace, safe.name, safe.key));
        safe
    }
}

/// A selector in words; empty where it selects everything.
pub fn subject(selector: &IncidentSelector) -> String {
    let labels: Vec<String> =
        selector.match_labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    let parts = [
        ("namespaces", &selector.namespaces),
        ("labels", &labels),
        ("secrets named", &selector.names),
        ("keys", &selector.keys),
    ];
    let said = parts.iter().filter(|(_, list)| !list.is_empty());
    said.map(|(what, list)| format!("{what} {}", list.join(", "))).collect::<Vec<_>>().join("; ")
}
