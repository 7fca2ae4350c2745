//! What people are told of a drain: `status.consumers`, the condition Draining and the words of both. What is told is
//! found out in `drain`.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
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
        Some(_) => match unsure.filter(|_| entry.left(entry.generation - 1).is_none()) {
            None => ("False", Reason::Drained, drained(entry)),
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

/// The words of a Drained Event and condition.
pub fn drained(entry: &LedgerEntry) -> String {
    let before = entry.history.iter().find(|past| past.number < entry.generation);
    match before.and_then(|past| Some((past.number, past.drained.as_ref()?))) {
        Some((number, time)) => {
            format!(
                "generation {number} was left by its last consumer at {}: {}",
                time.0,
                revocable(entry, time)
            )
        }
        None => "no pod holds an older value".to_owned(),
    }
}

/// Whose old values were left at that moment: of keys that were replaced, and of those that were taken out.
fn revocable(entry: &LedgerEntry, at: &Time) -> String {
    let generations = Record::from(entry).generations;
    let then = |since: &Time| left(&generations, since).as_ref() == Some(at);
    let replaced =
        entry.keys.iter().filter(|(_, key)| key.replaced() && then(&key.since)).map(|(name, _)| name);
    let gone = entry.gone.iter().filter(|(_, key)| then(&key.since)).map(|(name, _)| name);
    let names: BTreeSet<&str> = replaced.chain(gone).map(String::as_str).collect();
    let named = names.iter().take(SAMPLE).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "no value it held was replaced, so there is none to revoke".to_owned(),
        1 => format!("the old value of {named} may be revoked now"),
        2..=SAMPLE => format!("the old values of {named} may be revoked now"),
        many => format!("the old values of {named} and {} more may be revoked now", many - SAMPLE),
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
