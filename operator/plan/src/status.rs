//! Conditions and status fields, built so that an unchanged state gives an unchanged status (no write).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use touchseal_crds::encrypted_secret::KeyStatus;
use touchseal_crds::rotation::GenerationStatus;
use touchseal_crds::{ConditionType, EncryptedSecret, EncryptedSecretStatus, Reason};

use crate::conditions::{self, Say};
use crate::entry::{LedgerEntry, Past};
use crate::observed::Trouble;

/// Starting point of every status: what stays from before, with the observed generation brought up to date.
pub fn base(object: &EncryptedSecret) -> EncryptedSecretStatus {
    let before = object.status.clone().unwrap_or_default();
    EncryptedSecretStatus {
        observed_generation: object.metadata.generation,
        last_handled_reconcile_at: object
            .metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(touchseal_crds::names::RECONCILE_ANNOTATION).cloned()),
        ..before
    }
}

/// The state of Ready in `status`.
pub fn ready(status: Option<&EncryptedSecretStatus>) -> Option<&Condition> {
    status?.conditions.iter().find(|c| c.type_ == ConditionType::Ready.as_str())
}

/// Ready=True.
pub fn set_ready(status: &mut EncryptedSecretStatus, message: String, now: &Time) {
    set(status, ConditionType::Ready, "True", Reason::Materialised, &message, now);
    conditions::clear(&mut status.conditions, ConditionType::Stalled);
}

/// Ready=False with a trouble's reason, and Stalled where only a person can help.
pub fn set_trouble(status: &mut EncryptedSecretStatus, trouble: &Trouble, now: &Time) {
    set(status, ConditionType::Ready, "False", trouble.reason, &trouble.message, now);
    if trouble.stalls() {
        set(status, ConditionType::Stalled, "True", trouble.reason, &trouble.message, now);
    } else {
        conditions::clear(&mut status.conditions, ConditionType::Stalled);
    }
}

/// The fields that tell what the Secret holds.
pub fn set_content(status: &mut EncryptedSecretStatus, secret_name: &str, entry: &LedgerEntry) {
    status.secret_name = Some(secret_name.to_owned());
    status.secret_generation = Some(entry.generation);
    status.last_modified = entry.last_modified.clone();
    status.keys = entry
        .keys
        .iter()
        .map(|(name, key)| KeyStatus {
            name: name.clone(),
            since: key.since.clone(),
            replaced: key.replaced(),
            returned: key.returned,
            due: None,
        })
        .collect();
    set_history(status, entry);
}

/// The newest secret generations.
pub fn set_history(status: &mut EncryptedSecretStatus, entry: &LedgerEntry) {
    status.generations = entry.history().into_iter().map(generation).collect();
}

fn generation(past: Past) -> GenerationStatus {
    GenerationStatus {
        number: past.number,
        since: past.since,
        key_generation: past.key_generation.and_then(|generation| i32::try_from(generation).ok()),
        last_modified: past.last_modified,
        changed: past.changed,
        changed_count: i32::try_from(past.changed_count).unwrap_or(i32::MAX),
        drained: past.drained,
    }
}

fn set(
    status: &mut EncryptedSecretStatus,
    type_: ConditionType,
    value: &str,
    reason: Reason,
    message: &str,
    now: &Time,
) {
    let say = Say { status: value, reason, message };
    conditions::set(&mut status.conditions, status.observed_generation, type_, say, now);
}
