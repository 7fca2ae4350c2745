//! The Keyring's status: this replica's entry, and what all entries together say.
//!
//! Every replica writes the summary of all entries when it reports; whether the manifest is refused is each replica's own
//! judgement, which is the same for the same manifest and pin. Entries of pods that are gone are dropped by whoever writes
//! next.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{Timestamp, Unit};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use touchseal_crds::keyring::{Holder, HolderRecord, HolderUse, ReplicaState, ReplicaStatus, UnsealRecord};
use touchseal_crds::names::{FIELD_MANAGER, SEAL_ANNOTATION};
use touchseal_crds::{ConditionType, Keyring, KeyringSpec, KeyringStatus, Reason};
use touchseal_keyring::state::{Phase, SealedBecause, Tampered};
use touchseal_keyring::{State, locked, manifest};
use touchseal_plan::conditions::{self, Say};

use super::Ceremony;
use crate::reconcile::now;
use crate::{lax, merge};

/// What this process has to say of one keyring.
struct Own {
    replica: ReplicaStatus,
    tampered: Option<Tampered>,
    fingerprint: Option<String>,
    /// It was sealed by `sealAfter`.
    time_over: bool,
    /// With a quorum: what has been released and what it takes, in words.
    progress: Option<String>,
}

/// Brings the status up to date. Written only where it differs.
pub async fn write(ceremony: &Ceremony, keyring: &str) -> Result<(), kube::Error> {
    let api: Api<Keyring> = Api::all(ceremony.client.clone());
    let pods: Api<Pod> = Api::namespaced(ceremony.client.clone(), &ceremony.identity.namespace);
    loop {
        let Some(object) = lax::keyring(&ceremony.client, keyring).await? else { return Ok(()) };
        let live: HashSet<String> = pods
            .list_metadata(&ListParams::default())
            .await?
            .items
            .into_iter()
            .filter_map(|p| p.metadata.name)
            .collect();
        let own = ceremony.keys.look(keyring, |state| {
            (own(state, &ceremony.identity.pod), state.manifest_seen() == Some(&object.spec))
        });
        let Some((own, judged)) = own else { return Ok(()) };
        let before = object.status.clone().unwrap_or_default();
        let after = summary((&object, judged), &before, own, &live, &now());
        if before == after {
            return Ok(());
        }
        let patch = json!({
            "metadata": { "resourceVersion": object.metadata.resource_version },
            "status": merge::status(&before, &after).map_err(kube::Error::SerdeError)?,
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch_status(keyring, &params, &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()), // deleted meanwhile
            Err(kube::Error::Api(status)) if status.code == 409 => {} // another replica reported first: look again
            other => return other.map(|_| ()),
        }
    }
}

fn own(state: &State, pod: &str) -> Own {
    let (tampered, unsealed, fingerprint) = match state.phase() {
        Phase::Tampered(tampered) => (Some(tampered.clone()), None, None),
        Phase::Unsealed(unsealed) => {
            (None, Some(&unsealed.by), Some(unsealed.open.manifest().fingerprint().to_string()))
        }
        Phase::Sealed(sealed) => (None, None, Some(sealed.manifest.fingerprint().to_string())),
        Phase::Absent | Phase::Opening(_) => (None, None, None),
    };
    let seconds = |at: Timestamp| Time(at.round(Unit::Second).unwrap_or(at));
    let since = state.since().map_or_else(now, seconds);
    let replica = ReplicaStatus {
        pod: pod.to_owned(),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        state: if unsealed.is_some() { ReplicaState::Unsealed } else { ReplicaState::Sealed },
        since: since.clone(),
        unsealed_by: unsealed.map(|by| UnsealRecord {
            holder: by.holder.clone(),
            serial: by.serial,
            handed_over_by: by.handed_over_by.clone(),
            at: since,
            with: by.with.clone(),
        }),
        memory_not_locked: locked::state().trouble,
        seals_at: state.seals_at().map(seconds),
        last_handled_seal_request: state.handled_seal_marker().map(str::to_owned),
    };
    let released = state.released();
    let progress = match state.phase() {
        Phase::Sealed(sealed) => sealed.manifest.quorum().map(|needed| progress(&released, needed)),
        _ => None,
    };
    let time_over = matches!(state.phase(), Phase::Sealed(sealed) if sealed.why == SealedBecause::TimeOver);
    Own { replica, tampered, fingerprint, time_over, progress }
}

/// How far a quorum has come.
pub fn progress(released: &[HolderRecord], needed: usize) -> String {
    let missing = needed.saturating_sub(released.len());
    let so_far = if released.is_empty() { String::new() } else { format!(" ({})", names(released)) };
    format!("{} of {needed} needed holders released{so_far}; needs {missing} more", released.len())
}

/// Holders with their YubiKeys.
pub fn names(of: &[HolderRecord]) -> String {
    let names: Vec<_> = of.iter().map(|of| format!("{} (YubiKey {})", of.holder, of.serial)).collect();
    names.join(", ")
}

/// `judged`: what is said is said of the very manifest that the object has.
fn summary(
    (object, judged): (&Keyring, bool),
    before: &KeyringStatus,
    own: Own,
    live: &HashSet<String>,
    now: &Time,
) -> KeyringStatus {
    let mut status = before.clone();
    if judged {
        status.observed_generation = object.metadata.generation;
    }
    status.replicas.retain(|r| r.pod != own.replica.pod && live.contains(&r.pod));
    status.replicas.push(own.replica);
    status.replicas.sort_by(|a, b| a.pod.cmp(&b.pod));
    let unsealed = status.replicas.iter().filter(|r| r.state == ReplicaState::Unsealed).count();
    status.unsealed_replicas = i32::try_from(unsealed).ok();
    // A hand-over is no act of a holder.
    let by_holders = status.replicas.iter().filter_map(|r| r.unsealed_by.as_ref());
    let newest = by_holders.filter(|record| record.handed_over_by.is_none()).max_by_key(|record| record.at.0);
    if let Some(newest) = newest {
        status.last_unseal = Some(newest.clone());
    }
    let open = status.replicas.iter().filter(|r| r.state == ReplicaState::Unsealed);
    let asked = object.annotations().get(SEAL_ANNOTATION);
    // Acting upon it sealed them: those that are unsealed were unsealed since.
    if let Some(asked) = asked
        && open.map(|r| &r.last_handled_seal_request).any(|handled| handled.as_ref() == Some(asked))
    {
        status.ended_seal_request = Some(asked.clone());
    }
    if judged && object.spec != KeyringSpec::unreadable() {
        status.holders = last_uses(object, &status);
    }
    status.fingerprint = own.fingerprint.or(status.fingerprint);
    let (word, message) = if unsealed > 0 {
        (Reason::Unsealed, format!("{unsealed} of {} replicas unsealed", status.replicas.len()))
    } else {
        let waits = own.progress.as_ref().map_or("waits for a holder", String::as_str);
        let word = if own.time_over { Reason::SealAfter } else { Reason::Sealed };
        let over = if own.time_over { "the time since a holder's release is over (sealAfter); " } else { "" };
        (word, format!("{over}{waits}: touchseal unseal"))
    };
    let flag = if unsealed > 0 { "True" } else { "False" };
    if judged {
        warn_of_single_holder(object, &mut status, own.tampered.is_some(), now);
    }
    match own.tampered {
        Some(tampered) => {
            set(&mut status, ConditionType::Ready, "False", tampered.reason, &tampered.message, now);
            set(&mut status, ConditionType::Stalled, "True", tampered.reason, &tampered.message, now);
            set(&mut status, ConditionType::Tampered, "True", tampered.reason, &tampered.message, now);
        }
        None => {
            set(&mut status, ConditionType::Ready, "True", word, &message, now);
            status.conditions.retain(|c| {
                c.type_ != ConditionType::Tampered.as_str() && c.type_ != ConditionType::Stalled.as_str()
            });
        }
    }
    set(&mut status, ConditionType::Unsealed, flag, word, &message, now);
    status
}

/// Advisory, and there only while it is true: it is no state of the operator's that would have to improve. A manifest that is
/// refused says nothing of who opens the right one.
fn warn_of_single_holder(object: &Keyring, status: &mut KeyringStatus, refused: bool, now: &Time) {
    match manifest::single_holder(&object.spec).filter(|_| !refused) {
        Some((reason, message)) => {
            set(status, ConditionType::SingleHolder, "True", reason, &message, now);
        }
        None => conditions::clear(&mut status.conditions, ConditionType::SingleHolder),
    }
}

/// Who has had a part in the unseals that are told of, or had before; nobody who is no holder any more.
fn last_uses(object: &Keyring, status: &KeyringStatus) -> Vec<HolderUse> {
    let records = status.replicas.iter().filter_map(|replica| replica.unsealed_by.as_ref());
    let by_holders = records.filter(|record| record.handed_over_by.is_none());
    let named = by_holders.flat_map(|record| {
        let newest = HolderRecord { holder: record.holder.clone(), serial: record.serial };
        record.with.iter().cloned().chain([newest]).map(|of| (of, record.at.clone()))
    });
    let before = status
        .holders
        .iter()
        .map(|one| (HolderRecord { holder: one.holder.clone(), serial: one.serial }, one.last_used.clone()));
    let all: Vec<(HolderRecord, Time)> = named.chain(before).collect();
    let last = |holder: &Holder| {
        let own = all.iter().filter(|(of, _)| of.holder == holder.name && of.serial == holder.serial);
        let last_used = own.map(|(_, at)| at).max_by_key(|at| at.0)?.clone();
        Some(HolderUse { holder: holder.name.clone(), serial: holder.serial, last_used })
    };
    object.spec.holders.iter().filter_map(last).collect()
}

fn set(
    status: &mut KeyringStatus,
    type_: ConditionType,
    value: &str,
    reason: Reason,
    message: &str,
    now: &Time,
) {
    let say = Say { status: value, reason, message };
    conditions::set(&mut status.conditions, status.observed_generation, type_, say, now);
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
