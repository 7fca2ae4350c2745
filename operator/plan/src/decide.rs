//! observed -> decision: an ordered chain of checks, each of which ends the matter or passes it on.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use touchseal_crds::encrypted_secret::{DeletionPolicy, Target};
use touchseal_crds::names::{
    FLOOR_CONFIG_MAP, FLOOR_KEY, GENERATION_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, REFUSED_SECRET_TYPES,
    ROLE_ANNOTATION, SOURCE_ANNOTATION,
};
use touchseal_crds::rotation::{Delivery, Rollback, Rotation};
use touchseal_crds::{ConditionType, EncryptedSecret, EncryptedSecretStatus, Reason};

use crate::conditions::{self, Say};
use crate::content::OPAQUE;
use crate::decision::{Decision, Expected, Notice, SecretWrite};
use crate::entry::Revision;
use crate::floor::Floor;
use crate::follow::follow;
use crate::generation::{self, LedgerEntry, RolledBack};
use crate::number::Place;
use crate::observed::{Digests, Observed, Opened, OurSecret, SecretSeen, Trouble};
use crate::{conflict, deliver, due, status};

/// Decides what one reconcile does. Pure: the same input gives the same decision, and deciding again after the decision
/// was applied gives an empty one.
pub fn decide(observed: &Observed<'_>, now: &Time) -> Decision {
    let object = observed.object;
    if object.metadata.deletion_timestamp.is_some() {
        return Decision::default();
    }
    let outcome = check_suspended(observed)
        .or_else(|| check_target(observed))
        .or_else(|| check_opened(observed))
        .or_else(|| check_rolled_back(observed));
    let decision = match (outcome, &observed.opened) {
        (Some(Stop::Keep), _) => Standing::new(status::base(object)),
        (Some(Stop::Trouble(trouble)), _) => stop(observed, &trouble, now),
        (None, Opened::Content(digests)) => {
            materialise(observed, digests, now).unwrap_or_else(|trouble| stop(observed, &trouble, now))
        }
        (None, _) => return Decision::default(), // check_opened ends every other case
    };
    let mut decision = follow(observed, decision.finish(observed, now), now);
    if let Some(entry) = &mut decision.ledger {
        entry.object = Some(Revision::of(&object.metadata));
    }
    decision
}

/// A word for metrics: Ready's reason after the decision.
pub fn outcome(observed: &Observed<'_>, decision: &Decision) -> &'static str {
    let status = decision.status.as_ref().or(observed.object.status.as_ref());
    let reason = status::ready(status).map(|c| c.reason.as_str());
    Reason::ALL.iter().find(|r| Some(r.as_str()) == reason).map_or("None", |r| r.as_str())
}

/// The status that tells of a write the API server refused; None where it already does.
pub fn refused(object: &EncryptedSecret, trouble: &Trouble, now: &Time) -> Option<EncryptedSecretStatus> {
    let mut next = status::base(object);
    status::set_trouble(&mut next, trouble, now);
    (object.status.as_ref() != Some(&next)).then_some(next)
}

/// Name of the target: the Secret's, and with delivery Immutable the one its Secrets' names begin with.
pub fn target_name(object: &EncryptedSecret) -> &str {
    target(object).and_then(|t| t.name.as_deref()).or(object.metadata.name.as_deref()).unwrap_or_default()
}

/// How a check ends the matter.
enum Stop {
    /// Everything stays as it is and so does the status.
    Keep,
    /// Ready=False.
    Trouble(Trouble),
}

fn check_suspended(observed: &Observed<'_>) -> Option<Stop> {
    if observed.object.spec.suspend != Some(true) {
        return None;
    }
    if was_ready(observed.object) && same_source(observed) {
        return Some(Stop::Keep);
    }
    Some(Stop::Trouble(Trouble::new(
        Reason::Suspended,
        "spec.suspend is true, so the documents as they are now are not served; set it to false to go on",
    )))
}

/// Whether the ciphertext is the one the ledger's newest content came from.
fn same_source(observed: &Observed<'_>) -> bool {
    matches!((&observed.ledger, &observed.source), (Some(entry), Some(source)) if entry.source == *source)
}

/// Refuses types that make the cluster mint credentials: who may create an EncryptedSecret may create Secrets in that
/// namespace, and no more. The schema refuses them too; a manifest inside a document is only seen here.
fn check_target(observed: &Observed<'_>) -> Option<Stop> {
    let (name, longest) = (target_name(observed.object), deliver::longest_name(observed.object));
    if name.len() > longest {
        return Some(Stop::Trouble(Trouble::new(
            Reason::InvalidTarget,
            format!("with this delivery the target's name may have {longest} characters, {name} is longer"),
        )));
    }
    let type_ = asked_type(observed).or(observed.secret.type_());
    let refused = type_.filter(|t| REFUSED_SECRET_TYPES.contains(t))?;
    Some(Stop::Trouble(Trouble::new(
        Reason::InvalidTarget,
        format!(
            "Secret type {refused} makes the cluster mint credentials and is refused; choose another type"
        ),
    )))
}

/// The type the spec asks for, else the one a manifest inside a document does.
pub(crate) fn asked_type<'a>(observed: &'a Observed<'_>) -> Option<&'a str> {
    let from_manifest = match &observed.opened {
        Opened::Content(digests) => digests.type_.as_deref(),
        _ => None,
    };
    target(observed.object).and_then(|t| t.type_.as_deref()).or(from_manifest)
}

fn check_opened(observed: &Observed<'_>) -> Option<Stop> {
    match &observed.opened {
        Opened::Content(_) => None,
        Opened::Failed(trouble) => Some(Stop::Trouble(trouble.clone())),
        Opened::Sealed { .. } | Opened::Refused { .. } if unchanged_since_ready(observed) => Some(Stop::Keep),
        Opened::Sealed { keyrings } => Some(Stop::Trouble(Trouble::new(
            Reason::Sealed,
            format!(
                "waits for keyring {keyrings}, which is sealed; a holder unseals it with `touchseal unseal`"
            ),
        ))),
        Opened::Refused { keyrings, otherwise } => {
            let mut message = format!(
                "waits for keyring {keyrings}, whose manifest is refused (its condition Tampered says why); an administrator applies the right manifest, then a holder unseals it with `touchseal unseal`"
            );
            if let Some(otherwise) = otherwise {
                message.push_str(&format!("; if the document is for another keyring: {otherwise}"));
            }
            Some(Stop::Trouble(Trouble::new(Reason::KeyringRefused, message)))
        }
    }
}

/// A document older than one that was served before, where the spec does not allow it.
fn check_rolled_back(observed: &Observed<'_>) -> Option<Stop> {
    let Opened::Content(digests) = &observed.opened else { return None };
    if rotation(observed.object).and_then(|r| r.rollback).unwrap_or_default() == Rollback::Allow {
        return None;
    }
    let back = generation::rolled_back(observed.ledger.as_ref(), digests)?;
    let message =
        format!("{}; write the documents anew, or set spec.rotation.rollback to Allow", older(&back));
    Some(Stop::Trouble(Trouble::new(Reason::RolledBack, message)))
}

fn older(back: &RolledBack<'_>) -> String {
    let what =
        back.key.map_or_else(|| "the documents".to_owned(), |key| format!("the document of key {key}"));
    format!("{what} were last modified at {}, but one of {} was served before", back.now.0, back.newest.0)
}

/// Sealed or refused, and nothing we can see without the key differs from what was last materialised.
fn unchanged_since_ready(observed: &Observed<'_>) -> bool {
    let same_spec = observed.object.status.as_ref().and_then(|s| s.observed_generation)
        == observed.object.metadata.generation;
    same_source(observed)
        && same_spec
        && was_ready(observed.object)
        && matches!(observed.secret, SecretSeen::Ours(_))
}

fn was_ready(object: &EncryptedSecret) -> bool {
    status::ready(object.status.as_ref()).is_some_and(|c| c.status == "True")
}

/// A decision on its way, with the status as it is going to be.
struct Standing {
    status: EncryptedSecretStatus,
    decision: Decision,
}

impl Standing {
    fn new(status: EncryptedSecretStatus) -> Standing {
        Standing { status, decision: Decision::default() }
    }

    /// Adds what holds however the matter ended: the ages, and the status where it differs from the one in the cluster.
    fn finish(self, observed: &Observed<'_>, now: &Time) -> Decision {
        let Standing { mut status, mut decision } = self;
        if let Some(entry) = decision.ledger.as_ref().or(observed.ledger.as_ref()) {
            let due = due::tell(&mut status, observed.object, entry, now);
            decision.notices.extend(due.notice);
            decision.look_again(due.again);
        }
        decision.status = (observed.object.status.as_ref() != Some(&status)).then_some(status);
        decision
    }
}

fn stop(observed: &Observed<'_>, trouble: &Trouble, now: &Time) -> Standing {
    let object = observed.object;
    let mut standing = Standing::new(status::base(object));
    let next = &mut standing.status;
    let mut told = trouble.clone();
    if let (SecretSeen::Ours(_), Some(generation)) = (&observed.secret, next.secret_generation) {
        let name = deliver::secret_name(object, generation);
        told.message = format!("{}; Secret {name} keeps generation {generation}", told.message);
    }
    status::set_trouble(next, &told, now);
    if transition(object, next) {
        let warning = trouble.stalls();
        standing.decision.notices.push(Notice { warning, reason: trouble.reason, message: told.message });
    }
    standing.decision.watch_foreign = conflict::watched(observed, now);
    standing
}

fn materialise(observed: &Observed<'_>, digests: &Digests, now: &Time) -> Result<Standing, Trouble> {
    let object = observed.object;
    let mut entry = Place::of(observed).advance(digests, now);
    check_floor(observed, &entry)?;
    let seen = deliver::place(observed, &entry);
    if deliver::delivery(object) != Delivery::Immutable
        && !holds(seen, digests)
        && entry.left(entry.before(entry.generation)).is_none()
        && let Some(again) = generation::served(&entry, now)
    {
        // Nobody knows what pods were given that were started meanwhile; it may have been the content before.
        entry = again;
    }
    let write = desired(observed, &entry);
    let replace = matches!(seen, SecretSeen::Ours(ours) if ours.type_ != write.type_ || (ours.immutable && !holds(seen, digests)));
    conflict::check(observed, seen, &write, replace)?;
    let extra = deliver::extra(observed, digests, &mut entry, &write, now);
    let name = write.name.clone();
    let secret = match seen {
        SecretSeen::Absent => Some(write),
        SecretSeen::Ours(ours) if ours.deleting => None, // its removal wakes us again
        SecretSeen::Ours(ours) => differs(ours, &write, holds(seen, digests)).then(|| SecretWrite {
            expects: Some(deliver::expected(ours)),
            replace,
            ..write
        }),
        SecretSeen::Foreign { uid, resource_version, .. } => Some(SecretWrite {
            expects: Some(Expected { uid: uid.clone(), resource_version: resource_version.clone() }),
            ..write
        }),
    };

    let mut next = status::base(object);
    next.keyring = Some(digests.keyring.clone());
    next.key_generation = i32::try_from(digests.oldest_generation).ok();
    status::set_content(&mut next, &name, &entry);
    let message = format!("Secret {name} holds generation {}", entry.generation);
    let noted = extra.note.as_ref().map_or_else(|| message.clone(), |note| format!("{message}; {note}"));
    status::set_ready(&mut next, noted, now);
    let mut notices = roll_back(observed, digests, &mut next, now);

    let before = object.status.as_ref();
    let news = before.and_then(|s| s.secret_generation) != Some(entry.generation)
        || before.and_then(|s| s.secret_name.as_ref()) != Some(&name)
        || transition(object, &next);
    if matches!(seen, SecretSeen::Foreign { .. }) {
        let message = format!("{message}; it was taken over with its owner's consent");
        notices.push(notice(Reason::Adopted, message));
    } else if news {
        notices.push(notice(Reason::Materialised, message));
    } else if secret.is_some() {
        let message = format!("Secret {name} had been changed or deleted and was put back");
        notices.push(notice(Reason::DriftReverted, message));
    }
    notices.extend(extra.notices);
    let decision = Decision {
        previous: extra.previous,
        ledger: (observed.ledger.as_ref() != Some(&entry)).then_some(entry),
        secret,
        alias: extra.alias,
        reown: extra.reown,
        remove: extra.remove,
        notices,
        again: extra.again,
        ..Decision::default()
    };
    Ok(Standing { status: next, decision })
}

/// Where the floor cannot be read, no number is given out that may be below it.
fn check_floor(observed: &Observed<'_>, entry: &LedgerEntry) -> Result<(), Trouble> {
    let is_new = observed.ledger.as_ref().is_none_or(|before| before.generation != entry.generation);
    if observed.floor != Floor::Unreadable || !is_new {
        return Ok(());
    }
    let message = format!(
        "ConfigMap {FLOOR_CONFIG_MAP} of the operator's namespace sets no usable floor for numbers, so none is given out; its key {FLOOR_KEY} must be a number from 1 to {}",
        Floor::MAX
    );
    Err(Trouble::new(Reason::ApiError, message))
}

/// Whether a Secret of ours holds this content. Where it does not, whoever changed, deleted or restored it may have had any
/// other content there.
fn holds(seen: &SecretSeen, digests: &Digests) -> bool {
    matches!(seen, SecretSeen::Ours(ours) if ours.fingerprint == digests.fingerprint)
}

/// RolledBack while older documents are served than were before, with an Event when that begins.
fn roll_back(
    observed: &Observed<'_>,
    digests: &Digests,
    next: &mut EncryptedSecretStatus,
    now: &Time,
) -> Vec<Notice> {
    let type_ = ConditionType::RolledBack;
    let told = next.conditions.iter().any(|c| c.type_ == type_.as_str() && c.status == "True");
    let Some(back) = generation::rolled_back(observed.ledger.as_ref(), digests) else {
        conditions::clear(&mut next.conditions, type_);
        return Vec::new();
    };
    let reason = Reason::RolledBack;
    let message = format!("{}; this ends when documents as new as that are served", older(&back));
    let say = Say { status: "True", reason, message: &message };
    conditions::set(&mut next.conditions, next.observed_generation, type_, say, now);
    if told { Vec::new() } else { vec![Notice { warning: true, reason, message }] }
}

/// The Secret as it should be, expecting none to be there. Where no type is asked for, a Secret keeps the one it has.
fn desired(observed: &Observed<'_>, entry: &LedgerEntry) -> SecretWrite {
    let object = observed.object;
    let target = target(object);
    let own = |pairs: &[(&str, String)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()
    };
    let mut labels = target.map(|t| t.labels.clone()).unwrap_or_default();
    labels.extend(own(&[(MANAGED_BY_LABEL, MANAGED_BY.to_owned())]));
    let mut annotations = target.map(|t| t.annotations.clone()).unwrap_or_default();
    annotations.extend(own(&[
        (SOURCE_ANNOTATION, object.metadata.name.clone().unwrap_or_default()),
        (GENERATION_ANNOTATION, entry.generation.to_string()),
    ]));
    let immutable = deliver::delivery(object) == Delivery::Immutable;
    match immutable {
        true => drop(annotations.insert(ROLE_ANNOTATION.to_owned(), deliver::GENERATION.to_owned())),
        false => drop(annotations.remove(ROLE_ANNOTATION)), // a target cannot ask for it
    }
    let owned = object.spec.deletion_policy.unwrap_or_default() == DeletionPolicy::Delete;
    SecretWrite {
        name: deliver::secret_name(object, entry.generation),
        expects: None,
        replace: false,
        immutable,
        type_: asked_type(observed).or(observed.secret.type_()).unwrap_or(OPAQUE).to_owned(),
        labels,
        annotations,
        owner_uid: object.metadata.uid.clone().filter(|_| owned),
    }
}

/// Labels and annotations are compared with those our own writes own: what others put beside them is left alone, what
/// the spec no longer asks for goes.
fn differs(ours: &OurSecret, wanted: &SecretWrite, served_unchanged: bool) -> bool {
    !served_unchanged
        || (wanted.immutable && !ours.immutable)
        || ours.type_ != wanted.type_
        || ours.owner_uid != wanted.owner_uid
        || ours.labels != wanted.labels
        || ours.annotations != wanted.annotations
}

/// Whether Ready's status or reason is another one than before.
fn transition(object: &EncryptedSecret, next: &EncryptedSecretStatus) -> bool {
    let seen =
        |s: Option<&EncryptedSecretStatus>| status::ready(s).map(|c| (c.status.clone(), c.reason.clone()));
    seen(object.status.as_ref()) != seen(Some(next))
}

fn notice(reason: Reason, message: String) -> Notice {
    Notice { warning: false, reason, message }
}

fn rotation(object: &EncryptedSecret) -> Option<&Rotation> {
    object.spec.rotation.as_ref()
}

fn target(object: &EncryptedSecret) -> Option<&Target> {
    object.spec.target.as_ref()
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
