//! How content is delivered: under which names, what becomes of the content before, and when it goes.
//!
//! `InPlace`: one Secret, overwritten. `Previous`: before it is overwritten, what it holds is copied to
//! `<name>-previous`. `Immutable`: one Secret `<name>-g<N>` a generation, and a ConfigMap `<name>-current` that tells the
//! newest one's name. What an earlier mode left goes when nobody uses it any more.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use touchseal_crds::names::{GENERATION_ANNOTATION, ROLE_ANNOTATION};
use touchseal_crds::rotation::{Delivery, Retention};
use touchseal_crds::{EncryptedSecret, Reason, duration};

use crate::decide::target_name;
use crate::decision::{AliasWrite, Expected, Notice, Removal, Removed, Reown, SecretWrite};
use crate::due::later;
use crate::entry::LedgerEntry;
use crate::observed::{AliasSeen, Digests, Live, Observed, Other, OurSecret, SecretSeen};

/// How long old content stays after its last consumer has left, unless the spec says otherwise.
const PERIOD: i64 = 3600;
/// How many old immutable generations stay whatever their age, unless the spec says otherwise.
const KEPT: u8 = 1;
/// Workload templates are not watched: what one of them held back is looked at again after this many seconds.
const LOOK_AGAIN: i64 = 600;
/// Value of the role annotation of the Secret `<name>-previous`.
pub const PREVIOUS: &str = "previous";
/// Value of the role annotation of a Secret `<name>-g<N>`.
pub const GENERATION: &str = "generation";

/// How this object's content is delivered.
pub fn delivery(object: &EncryptedSecret) -> Delivery {
    object.spec.rotation.as_ref().and_then(|rotation| rotation.delivery).unwrap_or_default()
}

/// Name of the Secret that holds generation `number`.
pub fn secret_name(object: &EncryptedSecret, number: i64) -> String {
    match delivery(object) {
        Delivery::InPlace | Delivery::Previous => target_name(object).to_owned(),
        Delivery::Immutable => format!("{}-g{number}", target_name(object)),
    }
}

/// Name of the Secret that holds the content before.
pub fn previous_name(object: &EncryptedSecret) -> String {
    format!("{}-previous", target_name(object))
}

/// Name of the ConfigMap that tells the newest generation's Secret.
pub fn alias_name(object: &EncryptedSecret) -> String {
    format!("{}-current", target_name(object))
}

/// Longest target name whose Secrets and ConfigMap still have names: Kubernetes allows 253 characters.
pub fn longest_name(object: &EncryptedSecret) -> usize {
    match delivery(object) {
        Delivery::InPlace => 253,
        Delivery::Previous => 253 - "-previous".len(),
        Delivery::Immutable => 253 - "-g".len() - 19,
    }
}

/// The number that the Secret in [`Observed::secret`] is to bear; without a ledger the highest one that any Secret bears.
pub fn held(ledger: Option<&LedgerEntry>, others: &[Other]) -> Option<i64> {
    ledger.map(|entry| entry.generation).or_else(|| others.iter().filter_map(Other::generation).max())
}

/// What stands where the content goes.
pub fn place<'a>(observed: &'a Observed<'_>, entry: &LedgerEntry) -> &'a SecretSeen {
    let moves = held(observed.ledger.as_ref(), &observed.others) != Some(entry.generation);
    if moves && delivery(observed.object) == Delivery::Immutable { &observed.fresh } else { &observed.secret }
}

/// Whether a Secret of ours is one of [`Observed::others`]: it has a role, or it has the target's own name where no Secret
/// of that name is to be there.
pub fn is_other(object: &EncryptedSecret, name: &str, role: Option<&str>) -> bool {
    role.is_some() || (delivery(object) == Delivery::Immutable && name == target_name(object))
}

/// What delivery adds to writing the Secret itself.
#[derive(Debug, Default)]
pub struct Extra {
    /// The content before, to be copied first.
    pub previous: Option<SecretWrite>,
    /// The ConfigMap to write.
    pub alias: Option<AliasWrite>,
    /// What is to get another owner.
    pub reown: Vec<Reown>,
    /// What is to go.
    pub remove: Vec<Removal>,
    /// Events.
    pub notices: Vec<Notice>,
    /// What Ready's message adds.
    pub note: Option<String>,
    /// When something is to go that stays for now.
    pub again: Option<Time>,
}

/// Decides on everything but the Secret itself. `entry` is the one the content leads to and learns what `<name>-previous`
/// holds; `write` is the Secret as it should be.
pub fn extra(
    observed: &Observed<'_>,
    digests: &Digests,
    entry: &mut LedgerEntry,
    write: &SecretWrite,
    now: &Time,
) -> Extra {
    let mut extra = Extra::default();
    remember(observed, entry);
    match delivery(observed.object) {
        Delivery::Previous => previous(observed, digests, entry, write, &mut extra),
        Delivery::InPlace | Delivery::Immutable => entry.previous = None,
    }
    alias(observed, entry.generation, write, &mut extra);
    for other in observed.others.iter().filter(|other| !other.secret.deleting && other.name != write.name) {
        if extra.previous.as_ref().is_some_and(|copy| copy.name == other.name) {
            continue;
        }
        let end = end(observed, entry, other);
        let over = end.as_ref().is_some_and(|end| end <= now);
        if other.secret.owner_uid != write.owner_uid {
            // First of all: what a template holds back must not go with an owner that is gone.
            extra.reown.push(Reown {
                name: other.name.clone(),
                expects: expected(&other.secret),
                owner_uid: write.owner_uid.clone(),
            });
            end.into_iter().for_each(|end| extra.look_again(end.max(later(now, 1))));
        } else if over && other.role() == Some(PREVIOUS) {
            extra.remove.push(removal(other, false));
            entry.previous = None;
            extra.note = None;
        } else if over {
            extra.remove.push(removal(other, true));
            extra.look_again(later(now, LOOK_AGAIN));
        } else {
            end.into_iter().for_each(|end| extra.look_again(end));
        }
    }
    extra
}

/// Notes what an earlier delivery left, for when it is there no more.
fn remember(observed: &Observed<'_>, entry: &mut LedgerEntry) {
    let immutable = delivery(observed.object) == Delivery::Immutable;
    let mains = observed.others.iter().filter(|other| other.name == target_name(observed.object));
    let singles = observed.others.iter().filter(|other| other.role() == Some(GENERATION));
    entry.left_main = mains.filter_map(Other::generation).max().max(entry.left_main).filter(|_| immutable);
    entry.left_single =
        singles.filter_map(Other::generation).max().max(entry.left_single).filter(|_| !immutable);
}

impl Extra {
    fn look_again(&mut self, time: Time) {
        self.again = self.again.take().into_iter().chain([time]).min();
    }
}

/// Copies what the Secret holds before it is overwritten. Whatever stops in between, the copy bears the number it holds
/// and is found again; and nothing is copied that is not what the ledger knows of that number.
fn previous(
    observed: &Observed<'_>,
    digests: &Digests,
    entry: &mut LedgerEntry,
    write: &SecretWrite,
    extra: &mut Extra,
) {
    let name = previous_name(observed.object);
    let copy = match &observed.previous {
        SecretSeen::Ours(ours) if !ours.deleting => Some(ours),
        _ => None,
    };
    let copied = observed.previous.generation().filter(|_| copy.is_some());
    let lost = |message: String| Notice { warning: true, reason: Reason::PreviousLost, message };
    match outgoing(observed, digests, entry) {
        Some((main, Some(number))) if copied == Some(number) && copy.map(|c| c.fingerprint) == main => {
            entry.previous = Some(number);
        }
        Some((_, Some(number))) if observed.live == Live::Intact => {
            extra.previous = Some(SecretWrite {
                name: name.clone(),
                expects: copy.map(expected),
                type_: observed.secret.type_().unwrap_or(&write.type_).to_owned(),
                annotations: marked(write, PREVIOUS, number),
                ..write.clone()
            });
            entry.previous = Some(number);
        }
        Some((_, number)) => {
            let number = number.map_or_else(String::new, |number| format!(" of generation {number}"));
            extra.notices.push(lost(format!(
                "the content{number} could not be kept as Secret {name}: Secret {} had been changed or deleted before",
                write.name
            )));
        }
        None => {
            let number =
                entry.previous.filter(|number| copied != Some(*number) || copy.is_some_and(|c| c.altered));
            if let Some(number) = number {
                extra.notices.push(lost(format!(
                    "Secret {name}, which held generation {number}, was changed or deleted; its content cannot be made again"
                )));
                entry.previous = None;
            }
        }
    }
    if let Some(number) = entry.previous {
        let unknown = if observed.consumers.known { "" } else { " and stays while nobody knows who uses it" };
        extra.note = Some(format!("Secret {name} holds generation {number}{unknown}"));
    }
}

/// Where content is about to be overwritten: the fingerprint and the number of what the Secret holds now.
#[allow(clippy::type_complexity, reason = "both are optional for reasons of their own")]
fn outgoing(
    observed: &Observed<'_>,
    digests: &Digests,
    entry: &LedgerEntry,
) -> Option<(Option<[u8; 16]>, Option<i64>)> {
    let number = observed.secret.generation();
    match &observed.secret {
        SecretSeen::Ours(main) => (main.fingerprint != digests.fingerprint
            && number != Some(entry.generation))
        .then_some((Some(main.fingerprint), number)),
        SecretSeen::Absent => {
            let before = observed.ledger.as_ref().map(|before| before.generation);
            before.filter(|before| *before < entry.generation).map(|_| (None, None))
        }
        SecretSeen::Foreign { .. } => None,
    }
}

/// The ConfigMap of the newest name; without immutable generations it would tell a lie, so it goes.
fn alias(observed: &Observed<'_>, number: i64, write: &SecretWrite, extra: &mut Extra) {
    let name = alias_name(observed.object);
    let seen = match &observed.alias {
        AliasSeen::Ours(ours) => Some(ours),
        AliasSeen::Absent | AliasSeen::Foreign { .. } => None,
    };
    if delivery(observed.object) != Delivery::Immutable {
        extra.remove.extend(seen.map(|ours| Removal {
            what: Removed::Alias,
            name,
            expects: ours.expected.clone(),
            unless_in_a_template: false,
        }));
        return;
    }
    let number = number.to_string();
    let right = seen.is_some_and(|ours| {
        ours.secret_name.as_deref() == Some(&write.name)
            && ours.generation.as_deref() == Some(&number)
            && ours.owner_uid == write.owner_uid
    });
    if !right {
        extra.alias = Some(AliasWrite {
            name,
            expects: seen.map(|ours| ours.expected.clone()),
            secret_name: write.name.clone(),
            generation: number,
            owner_uid: write.owner_uid.clone(),
        });
    }
}

/// When an old Secret of ours may go; None where it stays: it is needed, used, or nobody knows.
fn end(observed: &Observed<'_>, entry: &LedgerEntry, other: &Other) -> Option<Time> {
    let number = other.generation()?;
    let retention = observed.object.spec.rotation.as_ref().and_then(|rotation| rotation.retention.as_ref());
    // The API server takes nothing else than spans: one that cannot be read is too long, and never cuts short what it asks for.
    let asked = retention.and_then(|retention| retention.period.as_deref());
    let period = asked.map_or(PERIOD, |period| duration::seconds(period).unwrap_or(duration::LONGEST));
    let mode = delivery(observed.object);
    let from = if other.role() == Some(PREVIOUS) {
        match number < entry.generation {
            true => entry.left(number).cloned()?,
            // A copy of what is served now: left by a rotation that was taken back before it was written.
            false => (mode != Delivery::Previous).then(|| entry.since.clone())?,
        }
    } else {
        let kept = mode == Delivery::Immutable && among_newest(observed, entry, number, retention);
        if (kept && other.role() == Some(GENERATION)) || observed.consumers.may_use(&other.name) {
            return None;
        }
        entry.superseded(number).max(entry.left(number)).unwrap_or(&entry.since).clone()
    };
    Some(later(&from, period))
}

fn among_newest(
    observed: &Observed<'_>,
    entry: &LedgerEntry,
    number: i64,
    retention: Option<&Retention>,
) -> bool {
    let kept = retention.and_then(|r| r.generations).unwrap_or(KEPT);
    let generations = observed.others.iter().filter(|other| other.role() == Some(GENERATION));
    let newer: BTreeSet<i64> = generations
        .filter_map(Other::generation)
        .chain([entry.generation])
        .filter(|other| *other > number)
        .collect();
    newer.len() <= usize::from(kept)
}

/// The annotations of a Secret that holds other content than the newest, or one generation for ever.
pub fn marked(write: &SecretWrite, role: &str, number: i64) -> BTreeMap<String, String> {
    let mut annotations = write.annotations.clone();
    annotations.insert(ROLE_ANNOTATION.to_owned(), role.to_owned());
    annotations.insert(GENERATION_ANNOTATION.to_owned(), number.to_string());
    annotations
}

fn removal(other: &Other, unless_in_a_template: bool) -> Removal {
    Removal {
        what: Removed::Secret,
        name: other.name.clone(),
        expects: expected(&other.secret),
        unless_in_a_template,
    }
}

/// The precondition that finds exactly this Secret.
pub fn expected(ours: &OurSecret) -> Expected {
    Expected { uid: ours.uid.clone(), resource_version: ours.resource_version.clone() }
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
