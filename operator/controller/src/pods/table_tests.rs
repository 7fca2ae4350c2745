//! The table against a plain list, and its size.

use std::process::Command;

use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use super::*;

/// A pod of Deployment `owner` that takes a key of each Secret from the environment and mounts the first.
fn pod(namespace: &str, name: &str, owner: &str, secrets: &[&str], started: u32) -> Pod {
    let env: Vec<_> = secrets
        .iter()
        .map(|s| json!({ "name": "A", "valueFrom": { "secretKeyRef": { "name": s, "key": "password" } } }))
        .collect();
    let time = format!("2026-01-01T{:02}:{:02}:{:02}Z", started / 3600 % 24, started / 60 % 60, started % 60);
    let volumes: Vec<_> =
        secrets.iter().take(1).map(|s| json!({ "name": "v", "secret": { "secretName": s } })).collect();
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": namespace, "creationTimestamp": time,
            "labels": { "pod-template-hash": "5d8f9c7b6" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{owner}-5d8f9c7b6"),
                "uid": "u", "controller": true }] },
        "spec": { "nodeName": "node", "volumes": volumes, "containers": [{ "name": "main", "env": env,
            "volumeMounts": volumes.iter().map(|_| json!({ "name": "v", "mountPath": "/v" })).collect::<Vec<_>>() }] },
        "status": { "containerStatuses": [{ "name": "main", "image": "", "imageID": "", "ready": true,
            "restartCount": 0, "state": { "running": { "startedAt": time } } }] },
    }))
    .unwrap()
}

fn is_empty(table: &Table) -> bool {
    table.namespaces.is_empty() && table.words.is_empty()
}

fn names(of: &[&str]) -> Names {
    of.iter().map(|s| (*s).to_owned()).collect()
}

#[test]
fn a_change_concerns_the_secrets_before_and_after_and_no_change_concerns_none() {
    let mut table = Table::default();
    assert_eq!(table.seen(&pod("apps", "a", "web", &["app"], 1)), names(&["app"]));
    assert_eq!(table.seen(&pod("apps", "a", "web", &["app"], 1)), names(&[]));
    assert_eq!(table.seen(&pod("apps", "a", "web", &["app"], 2)), names(&["app"]), "restarted");
    assert_eq!(table.seen(&pod("apps", "a", "web", &["db"], 2)), names(&["app", "db"]));
    assert_eq!(table.seen(&pod("apps", "a", "web", &[], 2)), names(&["db"]));
    assert_eq!(table.gone(&key(&pod("apps", "a", "web", &[], 2))), names(&[]));
    assert!(is_empty(&table));
}

#[test]
fn consumers_are_those_of_the_secret_its_previous_one_and_its_generations() {
    let mut table = Table::default();
    for secret in ["app", "app-previous", "app-g1", "app-g12", "app-x", "application", "ap", "b"] {
        table.seen(&pod("apps", secret, "web", &[secret], 1));
    }
    table.seen(&pod("apps", "both", "web", &["app", "app-g1"], 1));
    table.seen(&pod("other", "elsewhere", "web", &["app"], 1));
    assert_eq!(table.consumers("apps", "app").len(), 5);
    assert_eq!(table.consumers("apps", "app-x").len(), 1);
    assert_eq!(table.consumers("nowhere", "app").len(), 0);
}

#[test]
fn what_a_new_list_does_not_have_is_gone() {
    let mut table = Table::default();
    for (namespace, name) in [("apps", "a"), ("apps", "b"), ("other", "c")] {
        table.seen(&pod(namespace, name, "web", &["app"], 1));
    }
    let present: HashSet<PodKey> = [key(&pod("apps", "a", "web", &[], 1))].into();
    assert_eq!(table.retain(Some("apps"), &present), [("apps".to_owned(), names(&["app"]))]);
    assert_eq!((table.consumers("apps", "app").len(), table.consumers("other", "app").len()), (1, 1));
    assert_eq!(table.retain(None, &present), [("other".to_owned(), names(&["app"]))]);
    assert_eq!(table.retain(None, &HashSet::new()), [("apps".to_owned(), names(&["app"]))]);
    assert!(is_empty(&table));
}

#[test]
fn the_table_agrees_with_a_plain_list_whatever_happens() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let secrets = ["app", "db", "app-g2", "app-previous"];
    let (mut table, mut list) = (Table::default(), HashMap::<String, Pod>::new());
    for _ in 0..4000 {
        let name = format!("p{}", random.gen_range(0..12));
        if random.gen_bool(0.3) {
            table.gone(&key(&pod("apps", &name, "web", &[], 1)));
            list.remove(&name);
        } else {
            let chosen: Vec<&str> = secrets.iter().copied().filter(|_| random.gen_bool(0.4)).collect();
            let pod =
                pod("apps", &name, ["web", "api"][random.gen_range(0..2)], &chosen, random.gen_range(0..3));
            table.seen(&pod);
            list.insert(name, pod);
        }
        for target in ["app", "db"] {
            let right = list.values().filter_map(consumers::read).filter(|(shape, _)| {
                let refers = |name: &str| shape.refs.iter().any(|r| &*r.secret == name);
                refers(target) || (target == "app" && (refers("app-g2") || refers("app-previous")))
            });
            let sorted = |mut all: Vec<String>| {
                all.sort();
                all
            };
            let right = sorted(right.map(|found| format!("{found:?}")).collect());
            let found =
                table.consumers("apps", target).into_iter().map(|c| format!("{:?}", (&*c.shape, c.times)));
            assert_eq!(sorted(found.collect()), right, "{target}, seed {seed}");
        }
    }
    for pod in list.into_values() {
        table.gone(&key(&pod));
    }
    assert!(is_empty(&table), "nothing stays behind");
}

const PODS: usize = 20_000;
/// Set in the process that measures itself.
const MEASURE: &str = "TOUCHSEAL_MEASURE_PODS";
/// What a pod may take where three share a template, and where no two have anything in common.
const MOST: [(&str, u64); 2] = [("usual", 500), ("scattered", 1000)];

/// In a process of its own, by its resident memory: whatever is allocated counts.
#[test]
fn twenty_thousand_pods_take_a_few_hundred_bytes_each() {
    if let Ok(kind) = std::env::var(MEASURE) {
        return measure(kind == "scattered");
    }
    for (kind, most) in MOST {
        let this = std::env::current_exe().unwrap();
        let name = std::thread::current().name().unwrap().to_owned();
        let output =
            Command::new(this).args(["--exact", &name, "--nocapture"]).env(MEASURE, kind).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let figure = text.lines().find_map(|line| line.split("bytes a pod: ").nth(1));
        let bytes: u64 = figure.unwrap_or_else(|| panic!("no figure in {text}")).trim().parse().unwrap();
        eprintln!("{kind}: {bytes} bytes a pod");
        assert!((20..=most).contains(&bytes), "{kind}: {bytes} bytes a pod");
    }
}

fn measure(scattered: bool) {
    let make = |n: usize| {
        let template = if scattered { n } else { n / 3 };
        let owner = format!("web-application-{template}");
        let secret = format!("credentials-{template}");
        let mut pod = pod(&format!("team-{}", template % 50), "", &owner, &[&secret, "common"], n as u32);
        pod.metadata.uid = Some(format!("{:032x}", u128::from(rand::random::<u64>()) << 64 | n as u128));
        pod
    };
    // What reading a pod takes for a moment is taken before the measurement begins.
    std::hint::black_box(make(0));
    let before = resident();
    let mut table = Table::default();
    for n in 0..PODS {
        table.seen(&make(n));
    }
    let bytes = (resident() - before) / u64::try_from(PODS).unwrap();
    let held: usize = table.namespaces.values().map(|place| place.pods.len()).sum();
    assert_eq!(held, PODS);
    println!("bytes a pod: {bytes}");
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}
