//! Which pod holds what. The world of these tests: generation 1 was served at second 1000, 2 at 2000, 3 at 3000; the key
//! `password` changed each time, `user` never, `old` was removed with 2.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use touchseal_crds::EncryptedSecretStatus;
use touchseal_crds::rotation::ConsumerStatus;

use super::*;
use crate::consumers::{Shape, Times};
use crate::draining::{drained, tell};

const REFRESH: Seconds = 120;
const NONE: &BTreeSet<i64> = &BTreeSet::new();

fn time(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn entry() -> LedgerEntry {
    let past = |number: i64| json!([number, number * 1000, 1, 0, 0, 0, []]);
    serde_json::from_value(json!({
        "generation": 3, "since": 3000, "key": { "keyring": "id", "generation": 1 }, "source": "x",
        "keys": { "password": { "d": "dp", "s": 3000, "f": 1000, "p": [["d2", 2000, 1], ["d1", 1000, 1]] },
                  "user": { "d": "du", "s": 1000 } },
        "gone": { "old": { "s": 2000, "f": 1000, "p": [["do", 1000, 1]] } },
        "history": [past(3), past(2), past(1)],
    }))
    .unwrap()
}

fn started(second: Seconds) -> Held {
    Held::since(&time(i64::from(second)))
}

/// A pod of Deployment `web` made at `created`, whose only container refers to Secrets in one way and has `held`.
fn pod(how: How, key: Option<&str>, created: Seconds, held: Held) -> Consumer {
    named("app", how, key, created, held)
}

fn named(secret: &str, how: How, key: Option<&str>, created: Seconds, held: Held) -> Consumer {
    let owner = Owner { kind: "Deployment".into(), name: "web".into() };
    let reference = Ref { secret: secret.into(), key: key.map(Into::into), how, container: Some(0) };
    Consumer {
        shape: Arc::new(Shape { owner, refs: [reference].into() }),
        times: Times { created, started: [held].into() },
    }
}

fn judge_with(pods: &[Consumer], rotation: &Rotation, now: Seconds) -> Drain {
    let entry = entry();
    let given = Given {
        target: "app",
        entry: &entry,
        rotation: Some(rotation),
        main: Some(3),
        generations: NONE,
        refresh: REFRESH,
        now,
    };
    judge(pods, &given)
}

/// Long after everything was refreshed.
fn later(pods: &[Consumer]) -> Drain {
    judge_with(pods, &Rotation::default(), 9000)
}

fn is_stale(pod: Consumer) -> bool {
    let drain = later(&[pod]);
    assert_eq!(drain.current + drain.stale, 1);
    drain.stale == 1
}

#[test]
fn what_is_frozen_is_stale_until_the_container_was_started_after_the_change() {
    for how in [How::Env, How::EnvFrom, How::SubPath, How::Init] {
        for (second, stale) in [(500, true), (2999, true), (3000, true), (3126, false), (8000, false)] {
            assert_eq!(is_stale(pod(how, None, 400, started(second))), stale, "{how:?} {second}");
        }
    }
}

#[test]
fn a_container_restarted_within_an_older_pod_is_given_the_files_that_its_kubelet_has_not_refreshed_yet() {
    for how in [How::SubPath, How::Init] {
        assert!(is_stale(pod(how, None, 400, started(3010))), "{how:?}");
        assert!(is_stale(pod(how, None, 400, started(3000 + REFRESH + SETTLE))), "{how:?}");
        assert!(!is_stale(pod(how, None, 3001, started(3010))), "{how:?}: a new pod has no files yet");
    }
    let rotation = Rotation { mounts: Some(Mounts::Restart), ..Rotation::default() };
    let judged = |second| judge_with(&[pod(How::Volume, None, 400, started(second))], &rotation, 9000);
    assert_eq!((judged(3010).stale, judged(3001 + REFRESH + SETTLE).stale), (1, 0));
    assert!(!is_stale(pod(How::Env, None, 400, started(3010))), "variables are read anew");
}

#[test]
fn a_moment_after_the_change_an_older_pod_may_still_be_given_the_value_before() {
    for second in 3001..=3000 + SETTLE {
        assert!(is_stale(pod(How::Env, None, 2000, started(second))), "{second}");
        assert!(is_stale(pod(How::Env, None, 3000, started(second))), "made in the same second: {second}");
    }
    assert!(!is_stale(pod(How::Env, None, 3001, started(3001))), "a pod made afterwards never saw it");
    assert!(!is_stale(pod(How::Env, None, 3001, started(2900))), "its node's clock is behind");
}

#[test]
fn a_key_that_kept_its_value_is_current_however_old_the_pod() {
    assert!(!is_stale(pod(How::Env, Some("user"), 10, started(10))));
    assert!(is_stale(pod(How::Env, Some("password"), 2500, started(2500))));
    assert!(is_stale(pod(How::Env, Some("old"), 1500, started(1500))), "it holds a value that was removed");
    assert!(!is_stale(pod(How::Env, Some("old"), 2500, started(2500))));
    assert!(!is_stale(pod(How::Env, Some("never"), 10, started(10))));
    assert!(is_stale(pod(How::EnvFrom, None, 2500, started(2500))));
}

#[test]
fn where_the_history_does_not_reach_back_a_key_is_judged_by_its_age() {
    let mut entry = entry();
    entry.history.truncate(2);
    let given = Given {
        target: "app",
        entry: &entry,
        rotation: None,
        main: Some(3),
        generations: NONE,
        refresh: REFRESH,
        now: 9000,
    };
    let judged = judge(&[pod(How::Env, Some("user"), 10, started(10))], &given);
    assert_eq!((judged.stale, judged.holds), (1, Some(0)));
    let judged = judge(&[pod(How::Env, Some("user"), 1500, started(1500))], &given);
    assert_eq!(judged.stale, 0);
}

#[test]
fn a_key_that_was_removed_and_forgotten_is_in_doubt_until_its_last_moment() {
    let mut entry = entry();
    entry.forget_gone(0);
    let given = Given {
        target: "app",
        entry: &entry,
        rotation: None,
        main: Some(3),
        generations: NONE,
        refresh: REFRESH,
        now: 9000,
    };
    let stale = |second| judge(&[pod(How::Env, Some("old"), second, started(second))], &given).stale;
    assert_eq!((stale(1500), stale(2500)), (1, 0));
}

#[test]
fn who_refers_to_a_secret_that_somebody_put_back_holds_what_that_one_says() {
    let entry = entry();
    let judged = |main| {
        let given = Given {
            target: "app",
            entry: &entry,
            rotation: None,
            main,
            generations: NONE,
            refresh: REFRESH,
            now: 9000,
        };
        let drain = judge(&[pod(How::Env, None, 8000, started(8000))], &given);
        (drain.stale, drain.holds, drain.restart.len())
    };
    assert_eq!(judged(Some(2)), (1, Some(2), 0));
    assert_eq!(judged(Some(0)), (1, Some(0), 0), "something that nobody knows");
    assert_eq!(judged(Some(3)), (0, None, 0));
}

#[test]
fn the_first_generation_has_no_older_one() {
    let mut entry = entry();
    (entry.generation, entry.since) = (1, time(1000));
    entry.history.drain(..2);
    let given = Given {
        target: "app",
        entry: &entry,
        rotation: None,
        main: Some(1),
        generations: NONE,
        refresh: REFRESH,
        now: 1001,
    };
    let pods = [pod(How::EnvFrom, None, 10, started(10)), pod(How::Volume, None, 10, started(10))];
    assert_eq!((judge(&pods, &given).current, judge(&pods, &given).stale), (2, 0));
}

#[test]
fn a_container_that_does_not_run_holds_nothing_once_its_kubelet_had_time_to_say_so() {
    let waiting = |created| pod(How::Env, None, created, Held::STARTING);
    let at = |pod: Consumer, now| judge_with(&[pod], &Rotation::default(), now);
    assert_eq!(at(waiting(2990), 3001).refreshing, 1, "it may run already");
    assert_eq!(at(waiting(2990), 3000 + REFRESH).stale, 0);
    assert_eq!(at(waiting(3001), 3001).stale, 0, "made after the change");
    assert_eq!(at(pod(How::Env, None, 2990, Held::NOTHING), 3001).stale, 0, "no kubelet has it");
}

#[test]
fn mounted_files_are_stale_until_the_kubelet_has_had_its_time() {
    let mounted = || pod(How::Volume, None, 1500, started(1500));
    let before = judge_with(&[mounted()], &Rotation::default(), 3000 + REFRESH - 1);
    assert_eq!((before.current, before.stale, before.refreshing, before.holds), (0, 1, 1, Some(1)));
    assert_eq!(before.refreshed, Some(3000 + REFRESH));
    assert!(before.restart.is_empty(), "nothing to restart for: the files come by themselves");
    let after = judge_with(&[mounted()], &Rotation::default(), 3000 + REFRESH);
    assert_eq!((after.current, after.stale, after.holds, after.refreshed), (1, 0, None, None));
}

#[test]
fn where_files_are_read_at_start_only_they_are_frozen() {
    let rotation = Rotation { mounts: Some(Mounts::Restart), ..Rotation::default() };
    let judged = judge_with(&[pod(How::Volume, None, 1500, started(1500))], &rotation, 9000);
    assert_eq!((judged.stale, judged.refreshing, judged.restart.len()), (1, 0, 1));
    assert_eq!(judge_with(&[pod(How::Volume, None, 1500, started(3200))], &rotation, 9000).stale, 0);
}

#[test]
fn what_a_volume_was_mounted_with_is_held_for_as_long_as_its_pod_lives() {
    let driver = |created| pod(How::Driver, None, created, started(8000));
    assert!(is_stale(driver(2500)) && is_stale(driver(3000)));
    assert!(!is_stale(driver(3001)));
}

#[test]
fn pull_secrets_are_used_and_never_stale() {
    assert!(!is_stale(pod(How::Pull, None, 10, started(10))));
}

#[test]
fn secrets_of_single_generations_are_exact() {
    let rotation = Rotation { delivery: Some(Delivery::Immutable), ..Rotation::default() };
    let judge =
        |secret: &str| judge_with(&[named(secret, How::Volume, None, 8000, started(8000))], &rotation, 9000);
    assert_eq!(judge("app-g3").current, 1);
    let old = judge("app-g2");
    assert_eq!((old.stale, old.refreshing, old.holds, old.restart.len()), (1, 0, Some(2), 0));
    assert_eq!(old.named, [2].into());
    assert_eq!(old.workloads[0].uses, ["immutable"]);
    for other in ["app-g4", "app-g02", "app-g", "app-g2-x", "application", "ap"] {
        let judged = judge(other);
        assert_eq!((judged.current, judged.stale), (0, 0), "{other}");
    }
    // Without that delivery such a name is somebody else's Secret.
    assert_eq!(later(&[named("app-g2", How::Env, None, 10, started(10))]), Drain::default());
}

#[test]
fn with_immutable_delivery_the_secret_of_the_plain_name_stays_behind() {
    let rotation = Rotation { delivery: Some(Delivery::Immutable), ..Rotation::default() };
    let entry = entry();
    let given = |main| Given {
        target: "app",
        entry: &entry,
        rotation: Some(&rotation),
        main,
        generations: NONE,
        refresh: REFRESH,
        now: 9000,
    };
    let pods = [pod(How::Env, None, 8000, started(8000))];
    let judged = judge(&pods, &given(Some(2)));
    assert_eq!((judged.stale, judged.holds, judged.restart.len()), (1, Some(2), 0));
    assert_eq!(judge(&pods, &given(Some(3))).stale, 0);
    // What stays behind is pulled with, too.
    assert_eq!(judge(&[pod(How::Pull, None, 8000, started(8000))], &given(Some(2))).stale, 1);
}

#[test]
fn the_previous_secret_is_old_by_design() {
    let judged = later(&[named("app-previous", How::Env, None, 10, started(10))]);
    assert_eq!((judged.current, judged.stale, judged.previous), (0, 0, true));
}

#[test]
fn pods_are_counted_once_and_grouped_by_workload_with_the_oldest_they_hold() {
    let mut pods = vec![
        pod(How::Env, None, 2500, started(2500)),
        pod(How::EnvFrom, None, 1500, started(1500)),
        pod(How::Env, None, 8000, started(8000)),
    ];
    let mut job = pod(How::Env, None, 2500, started(2500));
    let refs = [How::Env, How::Volume].map(|how| Ref { how, ..job.shape.refs[0].clone() });
    job.shape =
        Arc::new(Shape { owner: Owner { kind: "Job".into(), name: "run".into() }, refs: refs.into() });
    pods.push(job);
    let judged = judge_with(&pods, &Rotation::default(), 3001);
    assert_eq!((judged.current, judged.stale, judged.refreshing, judged.holds), (1, 3, 0, Some(1)));
    let workload = |kind: &str, name: &str, pods, oldest, uses: &[&str]| WorkloadStatus {
        kind: kind.to_owned(),
        name: name.to_owned(),
        pods,
        oldest_generation: Some(oldest),
        uses: uses.iter().map(|s| (*s).to_owned()).collect(),
    };
    let expected = [
        workload("Deployment", "web", 2, 1, &["env", "envFrom"]),
        workload("Job", "run", 1, 2, &["env", "volume"]),
    ];
    assert_eq!(judged.workloads, expected);
}

#[test]
fn generations_are_left_in_order_and_taken_back_if_a_pod_turns_up() {
    let drained = |entry: &LedgerEntry| -> Vec<Option<i64>> {
        entry.history.iter().map(|p| p.drained.as_ref().map(|t| t.0.as_second())).collect()
    };
    let mut entry = entry();
    settle(&mut entry, None, true, &time(4000));
    assert_eq!(drained(&entry), [None, None, None], "nothing is known");
    let holding = |second| later(&[pod(How::Env, None, second, started(second))]);
    settle(&mut entry, Some(&holding(2500)), true, &time(4001));
    assert_eq!(drained(&entry), [None, None, Some(4001)], "somebody holds generation 2");
    settle(&mut entry, Some(&later(&[])), true, &time(4002));
    assert_eq!(drained(&entry), [None, Some(4002), Some(4001)]);
    settle(&mut entry, Some(&later(&[])), true, &time(4003));
    assert_eq!(drained(&entry), [None, Some(4002), Some(4001)], "the time stays");
    settle(&mut entry, Some(&holding(1500)), true, &time(4004));
    assert_eq!(drained(&entry), [None, None, None]);
    settle(&mut entry, None, true, &time(4005));
    assert_eq!(drained(&entry), [None, None, None]);
}

fn draining(status: &EncryptedSecretStatus) -> Option<(String, String, String)> {
    let of = |c: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| c.type_ == "Draining";
    let found = status.conditions.iter().find(of)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}

fn told(pods: Option<&[Consumer]>, now: Seconds) -> (String, String, String) {
    let (mut status, mut entry) = (EncryptedSecretStatus::default(), entry());
    let drain = pods.map(|pods| judge_with(pods, &Rotation::default(), now));
    settle(&mut entry, drain.as_ref(), true, &time(i64::from(now)));
    tell(&mut status, &entry, (drain.as_ref(), None), &[], &time(i64::from(now)));
    draining(&status).unwrap()
}

fn words(of: (&str, &str, &str)) -> (String, String, String) {
    (of.0.to_owned(), of.1.to_owned(), of.2.to_owned())
}

#[test]
fn draining_says_who_holds_the_old_value_and_when_it_may_be_revoked() {
    let old = pod(How::Env, None, 2500, started(2500));
    let new = pod(How::Env, None, 8000, started(8000));
    assert_eq!(
        told(Some(&[old, new.clone()]), 9000),
        words(("True", "StaleConsumers", "1 of 2 pods holds an older value: Deployment web (1)"))
    );
    let mounted = pod(How::Volume, None, 2500, started(2500));
    assert_eq!(
        told(Some(&[mounted]), 3001),
        words((
            "True",
            "Refreshing",
            "1 pods mount files that their kubelet has refreshed by 1970-01-01T00:52:00Z"
        ))
    );
    let words_of_it = "no pod holds generation 2 any more, seen at 1970-01-01T02:30:00Z: the old values of old, password may be revoked now";
    assert_eq!(told(Some(&[new]), 9000), words(("False", "Drained", words_of_it)));
    let (status, reason, _) = told(None, 9000);
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "ConsumersUnknown"));
}

#[test]
fn only_values_that_were_replaced_or_taken_out_may_be_revoked() {
    let said = |change: &dyn Fn(&mut LedgerEntry)| {
        let mut entry = entry();
        change(&mut entry);
        settle(&mut entry, Some(&later(&[])), true, &time(9000));
        drained(&entry, &[]).split_once(": ").unwrap().1.to_owned()
    };
    let only_added = |entry: &mut LedgerEntry| {
        entry.gone.clear();
        let key = entry.keys.get_mut("password").unwrap();
        (key.past, key.known, key.first) = (Vec::new(), time(3000), time(3000));
    };
    let nothing = "no value it held was replaced, so there is none to revoke";
    assert_eq!(said(&|_| ()), "the old values of old, password may be revoked now");
    assert_eq!(said(&|entry| entry.gone.clear()), "the old value of password may be revoked now");
    assert_eq!(said(&only_added), nothing);
    // What was left before is no news of this one.
    let left_before = |entry: &mut LedgerEntry| entry.history[2].drained = Some(time(2500));
    assert_eq!(said(&left_before), "the old value of password may be revoked now");
    let many = |entry: &mut LedgerEntry| {
        let key = entry.keys["password"].clone();
        entry.gone.clear();
        entry.keys.extend((0..9).map(|n| (format!("k{n}"), key.clone())));
    };
    assert_eq!(said(&many), "the old values of k0, k1, k2, k3, k4, k5, k6, k7 and 2 more may be revoked now");
}

#[test]
fn a_value_that_is_served_again_is_never_said_to_be_revocable() {
    let said = |change: &dyn Fn(&mut LedgerEntry), rolled_back: bool| {
        let mut entry = entry();
        entry.gone.clear();
        change(&mut entry);
        settle(&mut entry, Some(&later(&[])), true, &time(9000));
        let mut status = EncryptedSecretStatus::default();
        if rolled_back {
            let say = crate::conditions::Say {
                status: "True",
                reason: touchseal_crds::Reason::RolledBack,
                message: "",
            };
            crate::conditions::set(
                &mut status.conditions,
                None,
                touchseal_crds::ConditionType::RolledBack,
                say,
                &time(1),
            );
        }
        tell(&mut status, &entry, (Some(&later(&[])), None), &[], &time(9000));
        draining(&status).unwrap().2.split_once("Z: ").unwrap().1.to_owned()
    };
    let returned = |entry: &mut LedgerEntry| {
        entry.keys.get_mut("password").unwrap().returned = true;
        entry.history[0].changed = vec!["password".to_owned()];
        entry.history[0].changed_count = 1;
    };
    let only = "of password only what generation 2 held may be revoked: an earlier value or document is served again";
    assert_eq!(said(&returned, false), only);
    let unnamed = |entry: &mut LedgerEntry| {
        returned(entry);
        entry.history[0].changed.clear();
    };
    let not =
        "of password what is served now may not be revoked: an earlier value or document is served again";
    assert_eq!(said(&unnamed, false), not);
    let document_only = |entry: &mut LedgerEntry| {
        returned(entry);
        entry.keys.get_mut("password").unwrap().returned = false;
    };
    assert_eq!(said(&document_only, true), only);
    assert_eq!(said(&document_only, false), "the old value of password may be revoked now");
    let beside = |entry: &mut LedgerEntry| {
        let other = entry.keys["password"].clone();
        entry.keys.insert("other".to_owned(), other);
        returned(entry);
    };
    assert_eq!(said(&beside, false), format!("{only}; the old value of other may be revoked now"));
}

#[test]
fn before_the_first_rotation_nothing_drains() {
    let mut status = EncryptedSecretStatus::default();
    let mut entry = entry();
    tell(&mut status, &entry, (None, None), &[], &time(9000));
    assert!(draining(&status).is_some());
    entry.generation = 1;
    tell(&mut status, &entry, (None, None), &[], &time(9000));
    assert_eq!(draining(&status), None);
    assert_eq!(status.consumers, Some(ConsumerStatus::default()), "unknown is not zero");
}

#[test]
fn at_most_eight_workloads_are_named_and_the_rest_counted() {
    let pods: Vec<Consumer> = (0..11)
        .map(|n| {
            let mut one = pod(How::Env, None, 2500, started(2500));
            let owner = Owner { kind: "Pod".into(), name: format!("p{n:02}").into() };
            one.shape = Arc::new(Shape { owner, refs: one.shape.refs.clone() });
            one
        })
        .collect();
    let (_, _, message) = told(Some(&pods), 9000);
    assert!(message.ends_with("Pod p07 (1) and 3 more workloads"), "{message}");
    let mut status = EncryptedSecretStatus::default();
    tell(&mut status, &entry(), (Some(&later(&pods)), None), &["a note".to_owned()], &time(9000));
    assert_eq!(status.consumers.as_ref().unwrap().stale_workloads.len(), 8);
    assert!(draining(&status).unwrap().2.ends_with("; a note"));
}

#[test]
fn where_the_second_generation_came_within_the_second_of_the_first_nobody_can_tell() {
    let past = |number: i64| json!([number, 1000, 1, 0, 0, 0, []]);
    let entry: LedgerEntry = serde_json::from_value(json!({
        "generation": 2, "since": 1000, "key": { "keyring": "id", "generation": 1 }, "source": "x",
        "keys": { "password": { "d": "dp", "s": 1000, "p": [["d1", 1000, 1]] } }, "history": [past(2), past(1)],
    }))
    .unwrap();
    let given = Given {
        target: "app",
        entry: &entry,
        rotation: None,
        main: Some(2),
        generations: NONE,
        refresh: REFRESH,
        now: 9000,
    };
    let judged = |second| judge(&[pod(How::Env, Some("password"), 900, started(second))], &given);
    assert_eq!((judged(1000).stale, judged(1006).stale), (1, 0));
}
