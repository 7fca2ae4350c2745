//! The Keyring's status: this replica's entry, and what all entries together say.
//!
//! Every replica writes the summary of all entries when it reports; whether the manifest is refused is each replica's own
//! judgement, which is the same for the same manifest and pin. Entries of pods that are gone are dropped by whoever writes
//! next.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{Timestamp, Unit};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use touchseal_crds::keyring::{Holder, HolderRecord, HolderUse, ReplicaState, ReplicaStatus, UnsealRecord};
use touchseal_crds::names::FIELD_MANAGER;
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
            // Another one would have sealed it.
            seal_request: state.handled_seal_marker().map(str::to_owned),
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
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time(text.parse().unwrap())
    }

    fn own(pod: &str, unsealed_at: Option<&str>) -> Own {
        let since = at(unsealed_at.unwrap_or("2026-01-01T00:00:00Z"));
        Own {
            replica: ReplicaStatus {
                pod: pod.to_owned(),
                version: None,
                state: if unsealed_at.is_some() { ReplicaState::Unsealed } else { ReplicaState::Sealed },
                since: since.clone(),
                unsealed_by: unsealed_at.map(|_| UnsealRecord {
                    holder: "alice".to_owned(),
                    serial: 1,
                    handed_over_by: None,
                    at: since,
                    seal_request: None,
                    with: Vec::new(),
                }),
                memory_not_locked: None,
                seals_at: None,
                last_handled_seal_request: None,
            },
            time_over: false,
            tampered: None,
            fingerprint: Some("SHA256:abc".to_owned()),
            progress: None,
        }
    }

    fn report(before: &KeyringStatus, own: Own, live: &[&str]) -> KeyringStatus {
        let spec = KeyringSpec { version: 1, revision: 1, ..KeyringSpec::unreadable() };
        let mut keyring = Keyring::new("prod", spec);
        keyring.metadata.generation = Some(3);
        let live = live.iter().map(|pod| (*pod).to_owned()).collect();
        summary((&keyring, true), before, own, &live, &at("2026-06-01T00:00:00Z"))
    }

    fn state(status: &KeyringStatus, type_: ConditionType) -> Option<(&str, &str)> {
        let found = status.conditions.iter().find(|c| c.type_ == type_.as_str())?;
        Some((found.status.as_str(), found.reason.as_str()))
    }

    #[test]
    fn reporting_the_same_again_changes_nothing() {
        let once = report(&KeyringStatus::default(), own("a", None), &["a"]);
        assert_eq!(report(&once, own("a", None), &["a"]), once);
    }

    #[test]
    fn every_replica_counts_and_the_newest_unseal_is_told() {
        let one = report(&KeyringStatus::default(), own("b", Some("2026-02-02T00:00:00Z")), &["a", "b"]);
        let two = report(&one, own("a", Some("2026-01-02T00:00:00Z")), &["a", "b"]);
        assert_eq!(two.unsealed_replicas, Some(2));
        assert_eq!(two.replicas.iter().map(|r| r.pod.as_str()).collect::<Vec<_>>(), ["a", "b"], "in order");
        assert_eq!(two.last_unseal.as_ref().unwrap().at, at("2026-02-02T00:00:00Z"));
        assert_eq!(state(&two, ConditionType::Unsealed), Some(("True", "Unsealed")));
        assert_eq!(two.observed_generation, Some(3));
    }

    #[test]
    fn a_hand_over_does_not_hide_which_holder_was_last() {
        let one = report(&KeyringStatus::default(), own("a", Some("2026-01-02T00:00:00Z")), &["a", "b"]);
        let mut handed = own("b", Some("2026-02-02T00:00:00Z"));
        handed.replica.unsealed_by.as_mut().unwrap().handed_over_by = Some("a".to_owned());
        let two = report(&one, handed, &["a", "b"]);
        assert_eq!(two.unsealed_replicas, Some(2));
        assert_eq!(two.last_unseal.unwrap().at, at("2026-01-02T00:00:00Z"));
    }

    #[test]
    fn replicas_whose_pod_is_gone_are_dropped_and_the_last_unseal_is_remembered() {
        let one = report(&KeyringStatus::default(), own("gone", Some("2026-02-02T00:00:00Z")), &["gone"]);
        let two = report(&one, own("new", None), &["new"]);
        assert_eq!(two.replicas.len(), 1);
        assert_eq!(two.unsealed_replicas, Some(0));
        assert!(two.last_unseal.is_some());
        assert_eq!(state(&two, ConditionType::Unsealed), Some(("False", "Sealed")));
        assert_eq!(state(&two, ConditionType::Ready), Some(("True", "Sealed")), "sealed is a normal state");
    }

    #[test]
    fn a_refused_keyring_is_stalled_until_it_is_not() {
        let mut refused = own("a", None);
        refused.tampered =
            Some(Tampered { reason: Reason::ManifestInvalid, message: "the signature is wrong".to_owned() });
        let bad = report(&KeyringStatus::default(), refused, &["a"]);
        for type_ in [ConditionType::Stalled, ConditionType::Tampered] {
            assert_eq!(state(&bad, type_), Some(("True", "ManifestInvalid")));
        }
        assert_eq!(state(&bad, ConditionType::Ready), Some(("False", "ManifestInvalid")));
        let good = report(&bad, own("a", None), &["a"]);
        assert_eq!(state(&good, ConditionType::Stalled), None);
        assert_eq!(state(&good, ConditionType::Tampered), None);
        assert_eq!(state(&good, ConditionType::Ready), Some(("True", "Sealed")));
    }

    #[test]
    fn a_single_holder_is_warned_of_until_there_is_another() {
        let report = |serials: &[u32], before: &KeyringStatus, refused: bool| {
            let holder = |serial: &u32| json!({ "name": format!("h{serial}"), "kind": "Piv", "serial": serial, "slot": "82", "recipient": "" });
            let holders: Vec<_> = serials.iter().map(holder).collect();
            let spec = json!({ "version": 1, "id": "", "revision": 1, "holders": holders, "generations": [], "signature": "" });
            let keyring = Keyring::new("prod", serde_json::from_value(spec).unwrap());
            let mut own = own("a", None);
            own.tampered = refused.then(|| Tampered {
                reason: Reason::ManifestInvalid,
                message: "the signature is wrong".to_owned(),
            });
            summary((&keyring, true), before, own, &["a".to_owned()].into(), &at("2026-06-01T00:00:00Z"))
        };
        let one = report(&[7], &KeyringStatus::default(), false);
        assert_eq!(state(&one, ConditionType::SingleHolder), Some(("True", "OneYubiKey")));
        assert_eq!(state(&one, ConditionType::Ready), Some(("True", "Sealed")), "nothing else changes by it");
        assert_eq!(report(&[7], &one, false), one);
        assert_eq!(state(&report(&[7, 8], &one, false), ConditionType::SingleHolder), None);
        assert_eq!(state(&report(&[7], &one, true), ConditionType::SingleHolder), None);
    }

    #[test]
    fn each_holders_last_use_is_remembered_until_they_are_none() {
        let spec = |names: &[&str]| {
            let holder = |name: &&str| json!({ "name": name, "kind": "Piv", "serial": 1, "slot": "82", "recipient": "" });
            let holders: Vec<_> = names.iter().map(holder).collect();
            let spec = json!({ "version": 1, "id": "", "revision": 1, "holders": holders, "generations": [], "signature": "" });
            Keyring::new("prod", serde_json::from_value(spec).unwrap())
        };
        let live = ["a".to_owned(), "b".to_owned()].into();
        let now = at("2026-06-01T00:00:00Z");
        let mut first = own("a", Some("2026-02-02T00:00:00Z"));
        let with = vec![
            HolderRecord { holder: "bob".to_owned(), serial: 1 },
            HolderRecord { holder: "mallory".to_owned(), serial: 9 },
        ];
        first.replica.unsealed_by.as_mut().unwrap().with = with;
        let one =
            summary((&spec(&["alice", "bob", "carol"]), true), &KeyringStatus::default(), first, &live, &now);
        let uses = |status: &KeyringStatus| -> Vec<(String, String)> {
            status.holders.iter().map(|one| (one.holder.clone(), one.last_used.0.to_string())).collect()
        };
        let february = "2026-02-02T00:00:00Z".to_owned();
        assert_eq!(
            uses(&one),
            [("alice".to_owned(), february.clone()), ("bob".to_owned(), february.clone())]
        );
        let two = summary(
            (&spec(&["bob", "alice"]), true),
            &one,
            own("a", Some("2026-03-03T00:00:00Z")),
            &live,
            &now,
        );
        assert_eq!(
            uses(&two),
            [("bob".to_owned(), february.clone()), ("alice".to_owned(), "2026-03-03T00:00:00Z".to_owned())]
        );
        let three = summary((&spec(&["bob"]), true), &two, own("a", None), &live, &now);
        assert_eq!(uses(&three), [("bob".to_owned(), february)]);
    }

    #[test]
    fn a_keyring_sealed_by_the_clock_says_so() {
        let mut over = own("a", None);
        over.time_over = true;
        let status = report(&KeyringStatus::default(), over, &["a"]);
        assert_eq!(state(&status, ConditionType::Unsealed), Some(("False", "SealAfter")));
        assert_eq!(state(&status, ConditionType::Ready), Some(("True", "SealAfter")));
    }

    #[test]
    fn a_quorum_under_way_says_who_is_missing() {
        let alice = HolderRecord { holder: "alice".to_owned(), serial: 7 };
        let mut waiting = own("a", None);
        waiting.progress = Some(progress(&[alice], 3));
        let status = report(&KeyringStatus::default(), waiting, &["a"]);
        let unsealed = status.conditions.iter().find(|c| c.type_ == "Unsealed").unwrap();
        let said = "1 of 3 needed holders released (alice (YubiKey 7)); needs 2 more: touchseal unseal";
        assert_eq!(unsealed.message, said);
        assert_eq!(progress(&[], 2), "0 of 2 needed holders released; needs 2 more");
    }

    #[test]
    fn fields_that_went_away_are_taken_out() {
        let before = KeyringStatus {
            fingerprint: Some("x".to_owned()),
            unsealed_replicas: Some(1),
            ..KeyringStatus::default()
        };
        let after = KeyringStatus { unsealed_replicas: Some(0), ..KeyringStatus::default() };
        assert_eq!(
            merge::status(&before, &after).unwrap(),
            json!({ "fingerprint": null, "unsealedReplicas": 0 })
        );
    }
}
