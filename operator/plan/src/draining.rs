//! What people are told of a drain: `status.consumers`, the condition Draining and the words of both. What is told is
//! found out in `drain`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use touchseal_crds::rotation::ConsumerStatus;
use touchseal_crds::{ConditionType, EncryptedSecretStatus, Reason};

use crate::conditions::{self, Say};
use crate::drain::Drain;
use crate::entry::LedgerEntry;
use crate::incident::{Record, left};

/// Most workloads, and most keys, named.
const SAMPLE: usize = 8;

/// Why it cannot be told yet that nobody holds an older value, though none is seen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsure {
    /// The newest content has not been in the cluster for long, or is not seen there.
    Arriving,
    /// Pods may have been made that are not seen.
    Blind,
}

/// Puts it into the status: the counts, and Draining once there has been a rotation. `notes` are added to its message.
pub fn tell(
    status: &mut EncryptedSecretStatus,
    entry: &LedgerEntry,
    (drain, unsure): (Option<&Drain>, Option<Unsure>),
    notes: &[String],
    now: &Time,
) {
    status.consumers = Some(counts(drain));
    if entry.generation <= 1 {
        return conditions::clear(&mut status.conditions, ConditionType::Draining);
    }
    let (value, reason, mut message) = match drain {
        None => ("Unknown", Reason::ConsumersUnknown, unknown()),
        Some(drain) if drain.stale > drain.refreshing => ("True", Reason::StaleConsumers, stale(drain)),
        Some(drain) if drain.stale > 0 => ("True", Reason::Refreshing, refreshing(drain)),
        Some(_) => match unsure.filter(|_| entry.left(entry.before(entry.generation)).is_none()) {
            None => ("False", Reason::Drained, drained(entry, &status.conditions)),
            Some(Unsure::Arriving) => ("True", Reason::Refreshing, arriving(entry)),
            Some(Unsure::Blind) => ("Unknown", Reason::ConsumersUnknown, blind()),
        },
    };
    for note in notes {
        message = format!("{message}; {note}");
    }
    let say = Say { status: value, reason, message: &message };
    conditions::set(&mut status.conditions, status.observed_generation, ConditionType::Draining, say, now);
}

/// The words of a Drained Event and condition; RolledBack among the conditions says that older documents are served.
pub fn drained(entry: &LedgerEntry, conditions: &[Condition]) -> String {
    let is_back = |c: &Condition| c.type_ == ConditionType::RolledBack.as_str() && c.status == "True";
    let before = entry.history.iter().find(|past| past.number < entry.generation);
    match before.and_then(|past| Some((past.number, past.drained.as_ref()?))) {
        Some((number, time)) => {
            let what = revocable(entry, time, conditions.iter().any(is_back));
            format!("no pod holds generation {number} any more, seen at {}: {what}", time.0)
        }
        None => "no pod holds an older value".to_owned(),
    }
}

/// Whose old values were left at that moment: of keys that were replaced, and of those that were taken out. Where what is
/// served was served before, "the old value" may be taken for it.
fn revocable(entry: &LedgerEntry, at: &Time, rolled_back: bool) -> String {
    let generations = Record::from(entry).generations;
    let then = |since: &Time| left(&generations, since).as_ref() == Some(at);
    let replaced = entry.keys.iter().filter(|(_, key)| key.replaced() && then(&key.since));
    let replaced = replaced.map(|(name, key)| (name, key.returned));
    let gone = entry.gone.iter().filter(|(_, key)| then(&key.since)).map(|(name, _)| (name, false));
    let (mut plain, mut back) = (BTreeSet::new(), BTreeMap::<_, BTreeSet<&str>>::new());
    for (name, returned) in replaced.chain(gone) {
        match returned || rolled_back {
            false => plain.insert(name.as_str()),
            true => back.entry(entry.came_with(name)).or_default().insert(name.as_str()),
        };
    }
    let mut said: Vec<String> = back
        .iter()
        .map(|(came_with, names)| {
            let only = came_with.map_or("what is served now may not be revoked".to_owned(), |number| {
                format!("only what generation {} held may be revoked", entry.before(number))
            });
            format!("of {} {only}: an earlier value or document is served again", listed(names))
        })
        .collect();
    match plain.len() {
        0 if said.is_empty() => {
            said.push("no value it held was replaced, so there is none to revoke".to_owned())
        }
        0 => {}
        1 => said.push(format!("the old value of {} may be revoked now", listed(&plain))),
        _ => said.push(format!("the old values of {} may be revoked now", listed(&plain))),
    }
    said.join("; ")
}

fn listed(names: &BTreeSet<&str>) -> String {
    let named = names.iter().take(SAMPLE).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SAMPLE) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn arriving(entry: &LedgerEntry) -> String {
    format!(
        "generation {} is being written; who holds an older value is told a moment after it is there",
        entry.generation
    )
}

fn blind() -> String {
    "the watch of pods is interrupted, so nobody knows which were made meanwhile; it is told once it is back"
        .to_owned()
}

fn unknown() -> String {
    "pods cannot be read, so nobody knows which hold the value before: let the operator list and watch pods"
        .to_owned()
}

fn stale(drain: &Drain) -> String {
    let hold = if drain.stale == 1 { "holds" } else { "hold" };
    let all = drain.stale + drain.current;
    let named: Vec<String> =
        drain.workloads.iter().take(SAMPLE).map(|w| format!("{} {} ({})", w.kind, w.name, w.pods)).collect();
    let more = drain.workloads.len().saturating_sub(named.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more workloads") };
    format!("{} of {all} pods {hold} an older value: {}{more}", drain.stale, named.join(", "))
}

fn refreshing(drain: &Drain) -> String {
    let until = drain.refreshed.and_then(|at| Timestamp::from_second(i64::from(at)).ok()).unwrap_or_default();
    format!("{} pods mount files that their kubelet has refreshed by {until}", drain.stale)
}

fn counts(drain: Option<&Drain>) -> ConsumerStatus {
    let Some(drain) = drain else { return ConsumerStatus::default() };
    let count = |n: usize| Some(i32::try_from(n).unwrap_or(i32::MAX));
    ConsumerStatus {
        known: true,
        current: count(drain.current),
        stale: count(drain.stale),
        stale_workloads: drain.workloads.iter().take(SAMPLE).cloned().collect(),
    }
}
