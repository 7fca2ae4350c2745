//! The last step of every decision: the pods are judged by the entry as it is going to be, and what follows from that is
//! put into ledger, status and Events. It needs no key: rotations drain also while the operator is sealed.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use touchseal_crds::rotation::{Delivery, Rollout};
use touchseal_crds::{ConditionType, EncryptedSecretStatus, Reason};

use crate::consumers::{Owner, seconds};
use crate::decide;
use crate::decision::{Decision, Notice};
use crate::deliver;
use crate::drain::{self, Drain, Given};
use crate::draining::{self, Unsure};
use crate::due::later;
use crate::entry::LedgerEntry;
use crate::observed::{Observed, Opened, Other, OurSecret, SecretSeen};
use crate::status;

/// Kinds of workloads that can be restarted.
const RESTARTABLE: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];
/// Most workloads whose restart waits that a message names.
const MAX_NOTES: usize = 3;
/// How long after content came it is looked for pods that were made just before, in seconds: the watch of pods brings them a
/// moment later, and what a pod was told to read by then it may yet read.
const HEARD: i64 = 2;

/// Adds to a decision what follows from the pods.
pub fn follow(observed: &Observed<'_>, mut decision: Decision, now: &Time) -> Decision {
    let object = observed.object;
    let Some(mut entry) = decision.ledger.clone().or_else(|| observed.ledger.clone()) else {
        return decision;
    };
    let there = is_there(observed, &entry);
    let ours = matches!(deliver::place(observed, &entry), SecretSeen::Ours(_));
    if !ours && decision.secret.is_none() {
        return decision;
    }
    let consumers = &observed.consumers;
    let heard = later(&entry.since, HEARD);
    let arriving = entry.generation > 1 && (!there || *now < heard);
    let unsure = match (arriving, consumers.blind) {
        (true, _) => Some(Unsure::Arriving),
        (false, true) => Some(Unsure::Blind),
        (false, false) => None,
    };
    let told = object.status.as_ref().and_then(|status| status.secret_generation);
    if consumers.listing && (entry.generation <= 1 || told == Some(entry.generation)) {
        return decision;
    }
    let rotation = object.spec.rotation.as_ref();
    let generations = observed.others.iter().filter(|other| other.role() == Some(deliver::GENERATION));
    let generations: BTreeSet<i64> = generations.filter_map(Other::generation).collect();
    let given = Given {
        target: decide::target_name(object),
        entry: &entry,
        rotation,
        main: main_number(observed, &entry, decision.secret.is_some()),
        generations: &generations,
        refresh: consumers.refresh,
        now: seconds(now),
    };
    let drain = consumers.known.then(|| drain::judge(&consumers.pods, &given));
    let known = entry.history.clone();
    drain::settle(&mut entry, drain.as_ref(), unsure.is_none(), now);
    // What was left is kept for a while from now on; that is decided on by the entry as it is now.
    let kept = (entry.history != known && !observed.others.is_empty()).then(|| later(now, 1));
    let restart =
        rotation.and_then(|r| r.rollout) == Some(Rollout::Restart) && object.spec.suspend != Some(true);
    if restart {
        decision.restart = restartable(drain.as_ref());
    }
    let refreshed =
        drain.as_ref().and_then(|d| Timestamp::from_second(i64::from(d.refreshed?)).ok()).map(Time);
    // A write that was decided on is seen the next time.
    let arrived = arriving.then(|| heard.max(later(now, 1)));
    decision.look_again([refreshed, arrived, kept].into_iter().flatten());

    let unasked = unasked(observed, &entry, &generations);
    let mut notes = notes(observed, &decision.restart);
    notes.extend(unasked.clone().filter(|_| drain.as_ref().is_some_and(|drain| drain.stale == 0)));
    let before = decision.status.take().or_else(|| object.status.clone()).unwrap_or_default();
    let mut next = before.clone();
    draining::tell(&mut next, &entry, (drain.as_ref(), unsure), &notes, now);
    status::set_history(&mut next, &entry);
    // An Event where somebody left, not where nobody used it.
    let stale = object.status.as_ref().and_then(|status| status.consumers.as_ref()?.stale);
    if is_draining(object.status.as_ref(), "True") && is_draining(Some(&next), "False") && stale != Some(0) {
        let message = draining::drained(&entry, &next.conditions);
        let message = unasked.iter().fold(message, |message, note| format!("{message}; {note}"));
        decision.notices.push(Notice { warning: false, reason: Reason::Drained, message });
    }
    decision.status = (object.status.as_ref() != Some(&next)).then_some(next);
    decision.ledger = (observed.ledger.as_ref() != Some(&entry)).then_some(entry);
    decision
}

/// Whether pods are given the newest content: the Secret is seen to hold it. Before that nobody can have left the content
/// before. Without a key it is taken to be what we wrote, unless somebody else wrote values since.
fn is_there(observed: &Observed<'_>, entry: &LedgerEntry) -> bool {
    let SecretSeen::Ours(ours) = deliver::place(observed, entry) else { return false };
    is_right(observed, entry, ours) && !ours.deleting
}

fn is_right(observed: &Observed<'_>, entry: &LedgerEntry, ours: &OurSecret) -> bool {
    let right = match &observed.opened {
        Opened::Content(digests) if observed.source.as_ref() == Some(&entry.source) => {
            ours.fingerprint == digests.fingerprint
        }
        _ => !ours.altered,
    };
    right && ours.generation() >= Some(entry.generation)
}

/// Number of the content of the Secret that has the target's own name, where there is one of ours: 0 where it holds something
/// that no number stands for. `written` tells that the newest content is about to be.
fn main_number(observed: &Observed<'_>, entry: &LedgerEntry, written: bool) -> Option<i64> {
    if deliver::delivery(observed.object) == Delivery::Immutable {
        let main = observed.others.iter().find(|other| other.name == decide::target_name(observed.object));
        return main.and_then(Other::generation).or(entry.left_main);
    }
    match &observed.secret {
        _ if written => Some(entry.generation),
        SecretSeen::Ours(ours) if is_right(observed, entry, ours) => Some(entry.generation),
        SecretSeen::Ours(ours) => {
            Some(ours.generation().filter(|number| *number < entry.generation).unwrap_or(0))
        }
        SecretSeen::Absent | SecretSeen::Foreign { .. } => None,
    }
}

fn restartable(drain: Option<&Drain>) -> BTreeSet<Owner> {
    let all = drain.into_iter().flat_map(|drain| &drain.restart);
    all.filter(|owner| RESTARTABLE.contains(&&*owner.kind)).cloned().collect()
}

/// What pods do not tell: a name in the template of a workload that has none now (a CronJob between two runs, a Deployment
/// scaled to zero) is not used, but will be. Templates are asked before an old generation's Secret goes, so where there is
/// none left nothing needs to be said.
fn unasked(observed: &Observed<'_>, entry: &LedgerEntry, generations: &BTreeSet<i64>) -> Option<String> {
    let left = generations.iter().rfind(|number| **number < entry.generation)?;
    let target = decide::target_name(observed.object);
    Some(format!(
        "before you revoke it, see that no CronJob and no workload without pods still names Secret {target}-g{left} or an older one"
    ))
}

/// Why workloads that are to be restarted are not.
fn notes(observed: &Observed<'_>, restart: &BTreeSet<Owner>) -> Vec<String> {
    let waits = restart.iter().filter_map(|owner| Some((owner, observed.consumers.waits.get(owner)?)));
    waits.take(MAX_NOTES).map(|(owner, wait)| format!("{} {} {wait}", owner.kind, owner.name)).collect()
}

fn is_draining(status: Option<&EncryptedSecretStatus>, value: &str) -> bool {
    let conditions = status.into_iter().flat_map(|s| &s.conditions);
    conditions.into_iter().any(|c| c.type_ == ConditionType::Draining.as_str() && c.status == value)
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
