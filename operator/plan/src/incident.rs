//! Incidents: which Secret keys still hold a value that existed at the moment of an exposure, and which were rotated but
//! are still used with it. Everything follows from the ledger and from the incident's own status; where the history does
//! not reach back far enough, a key is exposed.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use touchseal_crds::incident::{
    Incident, IncidentSelector, IncidentStatus, IncidentTotals, Remaining, RemainingState,
};
use touchseal_crds::rotation::GenerationStatus;
use touchseal_crds::{ConditionType, Reason};

use crate::conditions::{self, Say};
use crate::decision::Notice;
use crate::entry::{GoneKey, KeyEntry, LedgerEntry, Past};

/// Most entries of `status.remaining`.
pub const MAX_REMAINING: usize = 500;
/// Most entries of `status.selected`.
pub const MAX_SELECTED: usize = 1000;
/// What stands for keys nobody can name, those of an EncryptedSecret that was never served and those that were taken out and
/// forgotten: no Secret key can have this name.
pub const UNKNOWN_KEYS: &str = "*";

/// One EncryptedSecret that exists, or did.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it was seen to be gone; None while it exists, or may.
    pub ended: Option<Time>,
    /// Its labels; None where nobody sees them, as it is gone or in a namespace that cannot be looked into.
    pub labels: Option<BTreeMap<String, String>>,
    /// When it was made.
    pub created: Time,
    /// What the ledger has of it; None before it was served for the first time.
    pub record: Option<Record>,
    /// Whether it is known which pods use it. Tells Draining from Unknown, never either from safe.
    pub consumers_known: bool,
}

/// Of a ledger entry, what tells rotated from exposed.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Secret keys.
    pub keys: BTreeMap<String, KeyRecord>,
    /// Secret keys that were taken out; `since` is when.
    pub gone: BTreeMap<String, KeyRecord>,
    /// The newest secret generations, newest first.
    pub generations: Vec<GenerationRecord>,
    /// Removed keys are forgotten; none of them went after this moment.
    pub forgotten: Option<Time>,
}

/// One Secret key.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// When the present value was first served in its present run.
    pub since: Time,
    /// Oldest time this very value is known to have existed.
    pub known: Time,
    /// When the key was first seen.
    pub first: Time,
    /// Up to here it had values that the present one cannot be told from.
    pub reach: Option<Time>,
}

/// One secret generation.
#[derive(Clone, Debug)]
pub struct GenerationRecord {
    /// Its number.
    pub number: i64,
    /// When it was first served.
    pub since: Time,
    /// When its last consumer had left it, and every older one.
    pub drained: Option<Time>,
}

impl From<&LedgerEntry> for Record {
    fn from(entry: &LedgerEntry) -> Self {
        let keys = entry.keys.iter().map(|(name, key)| {
            let KeyEntry { since, known, first, reach, .. } = key.clone();
            (name.clone(), KeyRecord { since, known, first, reach })
        });
        let gone = entry.gone.iter().map(|(name, key)| {
            let GoneKey { since, first, past, older, .. } = key.clone();
            let known = past.into_iter().next().map_or(first.clone(), |value| value.known);
            (name.clone(), KeyRecord { since, known, first, reach: older.dropped().cloned() })
        });
        Self {
            keys: keys.collect(),
            gone: gone.collect(),
            generations: entry.history().iter().map(Into::into).collect(),
            forgotten: entry.forgotten.clone(),
        }
    }
}

impl From<&Past> for GenerationRecord {
    fn from(past: &Past) -> Self {
        Self { number: past.number, since: past.since.clone(), drained: past.drained.clone() }
    }
}

impl From<&GenerationStatus> for GenerationRecord {
    fn from(status: &GenerationStatus) -> Self {
        Self { number: status.number, since: status.since.clone(), drained: status.drained.clone() }
    }
}

/// What an incident comes to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its status, to be written where it differs.
    pub status: IncidentStatus,
    /// All that remains, also what has no place in the status: to be remembered for the next time.
    pub remaining: Vec<Remaining>,
    /// Event, at its end.
    pub notice: Option<Notice>,
}

/// Judges an incident by all EncryptedSecrets that the ledger or the cluster knows. `remembered` is what remained the last
/// time; it tells of those that were never served and do not exist any more.
pub fn judge(incident: &Incident, objects: &[Followed], remembered: &[Remaining], now: &Time) -> Outcome {
    let before = incident.status.clone().unwrap_or_default();
    if before.closed_at.is_some() {
        // What is over stays over: later news are no news of it.
        let observed_generation = incident.metadata.generation;
        let status = IncidentStatus { observed_generation, ..before };
        return Outcome { remaining: status.remaining.clone(), status, notice: None };
    }
    let selection = Selection::new(incident, &before, objects);
    let mut found = find(incident, objects, &selection, remembered);
    (found.selected, found.incomplete) = (selection.by_label, selection.overflows);
    conclude(incident, before, found, now)
}

/// Keys by state, before anything is said about them.
#[derive(Default)]
struct Found {
    safe: usize,
    accepted: usize,
    /// Some key is accepted that is there or is remembered.
    met: bool,
    remaining: Vec<Remaining>,
    selected: BTreeSet<String>,
    incomplete: bool,
}

fn find(
    incident: &Incident,
    objects: &[Followed],
    selection: &Selection<'_>,
    remembered: &[Remaining],
) -> Found {
    let mut found = Found::default();
    let mut present: BTreeSet<(&str, &str, &str)> = BTreeSet::new();
    let mut acceptances = Acceptances::new(incident);
    for object in objects.iter().filter(|object| selection.has(object)) {
        for (key, state, since) in keys(incident, object) {
            present.insert((&object.namespace, &object.name, key));
            if acceptances.cover(&object.namespace, &object.name, key) {
                found.accepted += 1;
                found.met = true;
            } else if let Some(state) = state {
                let (namespace, name, key) = (object.namespace.clone(), object.name.clone(), key.to_owned());
                found.remaining.push(Remaining { namespace, name, key, state, since });
            } else {
                found.safe += 1;
            }
        }
    }
    let by_name: BTreeMap<(&str, &str), &Followed> =
        objects.iter().map(|object| ((object.namespace.as_str(), object.name.as_str()), object)).collect();
    for entry in remembered {
        let object = by_name.get(&(entry.namespace.as_str(), entry.name.as_str())).copied();
        if present.contains(&(&entry.namespace, &entry.name, &entry.key)) {
            continue;
        }
        if acceptances.name(&entry.namespace, &entry.name, &entry.key) {
            found.met = true;
            continue;
        }
        if let Some(state) = gone(entry, object.filter(|object| selection.has(object))) {
            found.remaining.push(Remaining { state, ..entry.clone() });
        }
    }
    found.accepted += acceptances.of_nothing();
    found.remaining.sort_by(|a, b| order(a).cmp(&order(b)));
    found
}

fn order(entry: &Remaining) -> (RemainingState, &str, &str, &str) {
    (entry.state, &entry.namespace, &entry.name, &entry.key)
}

/// Which EncryptedSecrets an incident is about. Labels go with their object, and whoever may write it can take them off: what
/// they selected once stays selected.
struct Selection<'a> {
    selector: Option<&'a IncidentSelector>,
    /// All that labels ever selected, as `namespace/name`.
    by_label: BTreeSet<String>,
    /// Some of it has no place in the status.
    overflows: bool,
}

impl<'a> Selection<'a> {
    fn new(incident: &'a Incident, before: &IncidentStatus, objects: &[Followed]) -> Selection<'a> {
        let selector = incident.spec.selector.as_ref();
        let by_label = before.selected.iter().cloned().collect();
        let mut selection = Selection { selector, by_label, overflows: false };
        let Some(selector) = selector.filter(|selector| !selector.match_labels.is_empty()) else {
            return selection;
        };
        // Nobody knows the labels of what was not to be seen before anybody looked.
        let first = before.totals.is_none();
        let named = objects.iter().filter(|object| selection.names(object));
        let matches = named.filter(|object| match &object.labels {
            None => first,
            Some(labels) => {
                selector.match_labels.iter().all(|(label, value)| labels.get(label) == Some(value))
            }
        });
        let matches: Vec<String> = matches.map(place).collect();
        selection.by_label.extend(matches);
        selection.overflows = selection.by_label.len() > MAX_SELECTED;
        selection
    }

    fn has(&self, object: &Followed) -> bool {
        let by_label = self.selector.is_some_and(|selector| !selector.match_labels.is_empty());
        self.names(object) && (!by_label || self.by_label.contains(&place(object)))
    }

    fn names(&self, object: &Followed) -> bool {
        let among = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
        self.selector.is_none_or(|selector| {
            among(&selector.namespaces, &object.namespace) && among(&selector.names, &object.name)
        })
    }
}

fn place(object: &Followed) -> String {
    format!("{}/{}", object.namespace, object.name)
}

/// The object's keys that the incident names, what each waits for (None: nothing), and since when its value is known.
fn keys<'a>(incident: &Incident, object: &'a Followed) -> Vec<(&'a str, Option<RemainingState>, Time)> {
    let at = second_of(&incident.spec.exposed_at);
    // What was taken out, or deleted, before the exposure was no secret of ours any more.
    let after = |time: &Time| time.0.as_second() >= at;
    if object.ended.as_ref().is_some_and(|ended| !after(ended)) {
        return Vec::new();
    }
    let Some(record) = &object.record else {
        return vec![(UNKNOWN_KEYS, Some(RemainingState::Exposed), object.created.clone())];
    };
    let asked = incident.spec.selector.as_ref().map(|selector| selector.keys.as_slice()).unwrap_or_default();
    let of_concern = |name: &String| asked.is_empty() || asked.contains(name);
    let unrotated = if object.ended.is_some() { RemainingState::Removed } else { RemainingState::Exposed };
    let there = record.keys.iter().map(|(name, key)| (name, key, unrotated));
    let gone = record.gone.iter().filter(|(_, key)| after(&key.since));
    let gone = gone.map(|(name, key)| (name, key, RemainingState::Removed));
    let forgotten = record.forgotten.iter().filter(|time| after(time));
    let forgotten = forgotten.map(|time| (UNKNOWN_KEYS, Some(RemainingState::Removed), time.clone()));
    there
        .chain(gone)
        .filter(|(name, ..)| of_concern(name))
        .map(|(name, key, if_exposed)| {
            let state = if exposed(key, at) {
                Some(if_exposed)
            } else if left(&record.generations, &key.since).is_some() {
                None
            } else if object.consumers_known {
                Some(RemainingState::Draining)
            } else {
                Some(RemainingState::Unknown)
            };
            (name.as_str(), state, key.known.clone())
        })
        .chain(forgotten)
        .collect()
}

/// Whether the value existed at that moment, or nobody can say that it did not: it is not known to be younger, it replaced
/// nothing we had seen, or what was served then is forgotten and may have been this.
fn exposed(key: &KeyRecord, at: i64) -> bool {
    let forgotten = key.reach.as_ref().is_some_and(|reach| reach.0.as_second() >= at);
    key.known.0.as_second() <= at || key.known <= key.first || forgotten
}

/// Times are recorded to the second: what falls into the second of the exposure counts as before it.
fn second_of(time: &Time) -> i64 {
    time.0.as_second() + i64::from(time.0.subsec_nanosecond() > 0)
}

/// When the last consumer had left every generation before the one that a value came with, `since` being when it came.
/// A generation that is drained has no consumer left, and neither has any older one.
pub fn left(newest_first: &[GenerationRecord], since: &Time) -> Option<Time> {
    let newest = newest_first.first()?.number;
    // Of several in one second, the newest: what came before it may hold the old value.
    let came_with = newest_first.iter().find(|generation| generation.since <= *since).map(|g| g.number);
    // Numbers can have gaps.
    let numbers = newest_first.iter().map(|generation| generation.number);
    let from = came_with.map(|came_with| numbers.filter(|n| *n < came_with).max().unwrap_or(came_with));
    let before_it = newest_first.iter().filter(|generation| {
        generation.number < newest && from.is_none_or(|number| generation.number >= number)
    });
    before_it.filter_map(|generation| generation.drained.clone()).min()
}

/// What a key waits for that nothing is known of any more but that it remained: its object is gone or is not selected any
/// more (None), or made anew.
fn gone(entry: &Remaining, object: Option<&Followed>) -> Option<RemainingState> {
    let served = object.is_some_and(|object| object.record.is_some());
    match entry.state {
        // It was served meanwhile, and its keys speak for themselves.
        _ if served && entry.key == UNKNOWN_KEYS => None,
        RemainingState::Exposed | RemainingState::Removed => Some(RemainingState::Removed),
        // Rotated, but who held the old value is not known any more.
        RemainingState::Draining | RemainingState::Unknown => Some(RemainingState::Unknown),
    }
}

/// `spec.accepted`, and which of it met a key that there is.
struct Acceptances<'a> {
    entries: BTreeMap<(&'a str, &'a str, Option<&'a str>), bool>,
}

impl<'a> Acceptances<'a> {
    fn new(incident: &'a Incident) -> Self {
        let entries = incident.spec.accepted.iter();
        Self {
            entries: entries.map(|a| ((&a.namespace[..], &a.name[..], a.key.as_deref()), false)).collect(),
        }
    }

    /// Whether a key that is there is accepted.
    fn cover(&mut self, namespace: &'a str, name: &'a str, key: &'a str) -> bool {
        let mut covered = false;
        for of in [None, Some(key)] {
            if let Some(met) = self.entries.get_mut(&(namespace, name, of)) {
                *met = true;
                covered = true;
            }
        }
        covered
    }

    /// The same of a key that is not there any more.
    fn name(&self, namespace: &'a str, name: &'a str, key: &'a str) -> bool {
        [None, Some(key)].iter().any(|of| self.entries.contains_key(&(namespace, name, *of)))
    }

    /// How many met no key that is there: each stands for what is gone, whether that is remembered or not.
    fn of_nothing(&self) -> usize {
        self.entries.values().filter(|met| !**met).count()
    }
}

fn conclude(incident: &Incident, before: IncidentStatus, found: Found, now: &Time) -> Outcome {
    let count = |wanted: &[RemainingState]| {
        found.remaining.iter().filter(|entry| wanted.contains(&entry.state)).count()
    };
    let exposed = count(&[RemainingState::Exposed, RemainingState::Removed]);
    let draining = found.remaining.len() - exposed;
    let by_hand = incident.spec.closed == Some(true);
    // Accepting what never was makes a selector that matches nothing no better.
    let stars = found.remaining.iter().filter(|entry| entry.key == UNKNOWN_KEYS).count();
    let incomplete = before.incomplete == Some(true) || found.incomplete || stars > MAX_REMAINING;
    let done = found.remaining.is_empty() && (found.safe > 0 || found.met) && !incomplete;
    let unlisted = found.remaining.len().saturating_sub(MAX_REMAINING);
    let mut sum = format!(
        "{exposed} exposed, {draining} draining, {} safe, {} accepted as not affected",
        found.safe, found.accepted
    );
    if unlisted > 0 {
        sum.push_str(&format!("; {unlisted} of what remains are not listed"));
    }
    if incomplete {
        sum.push_str("; more must be remembered than there is room for, so it does not close by itself");
    }
    let first = found.remaining.first().map(|e| format!("{}/{}:{}", e.namespace, e.name, e.key));
    let (closed, reason, message) = match (done, by_hand, first) {
        (true, _, _) if found.safe == 0 => (
            "True",
            Reason::AllSafe,
            format!("nothing remains, and nothing was replaced that could be revoked: {sum}"),
        ),
        (true, _, _) => ("True", Reason::AllSafe, format!("every old value may be revoked: {sum}")),
        (_, true, None) => ("True", Reason::ClosedByHand, format!("closed by hand: {sum}")),
        (_, true, Some(first)) => (
            "True",
            Reason::ClosedByHand,
            format!("closed by hand while something remained: {sum}; first: {first}"),
        ),
        (_, _, None) if incomplete => ("False", Reason::Exposed, sum),
        (_, _, None) => {
            let name = incident.metadata.name.as_deref().unwrap_or_default();
            let message = format!(
                "no Secret key matches: correct the selector in another Incident, and close this one: \
                 touchseal incident close {name}"
            );
            ("False", Reason::NothingMatches, message)
        }
        (_, _, Some(first)) => ("False", Reason::Exposed, format!("{sum}; first: {first}")),
    };
    let observed_generation = incident.metadata.generation;
    let mut conditions = before.conditions;
    let say = Say { status: closed, reason, message: &message };
    conditions::set(&mut conditions, observed_generation, ConditionType::Closed, say, now);
    let is_closed = closed == "True";
    let status = IncidentStatus {
        observed_generation,
        conditions,
        totals: Some(IncidentTotals {
            exposed: number(exposed),
            draining: number(draining),
            safe: number(found.safe),
            accepted: number(found.accepted),
        }),
        remaining: listed(&found.remaining),
        unlisted: (unlisted > 0).then(|| number(unlisted)),
        selected: found.selected.into_iter().take(MAX_SELECTED).collect(),
        incomplete: incomplete.then_some(true),
        closed_at: is_closed.then(|| now.clone()),
    };
    let notice = is_closed.then_some(Notice { warning: !done, reason, message });
    Outcome { status, remaining: found.remaining, notice }
}

/// What has a place in the status: first of all what the ledger does not tell, then the first.
fn listed(remaining: &[Remaining]) -> Vec<Remaining> {
    let (unknown, known): (Vec<_>, Vec<_>) = remaining.iter().partition(|entry| entry.key == UNKNOWN_KEYS);
    let mut listed: Vec<Remaining> = unknown.into_iter().chain(known).take(MAX_REMAINING).cloned().collect();
    listed.sort_by(|a, b| order(a).cmp(&order(b)));
    listed
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
#[path = "incident_tests.rs"]
mod tests;
