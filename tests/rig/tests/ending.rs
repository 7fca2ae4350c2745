//! Nothing outlives its owner, even one that is killed: this program starts itself again as an owner and kills it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use touchseal_rig::cluster::{Cluster, ClusterError};
use touchseal_rig::poll::eventually;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_dropped_cluster_is_gone() {
    let cluster = Cluster::start().unwrap();
    let (pids, dir) = (cluster.pids(), cluster.dir().to_owned());
    assert!(pids.iter().all(|pid| runs(*pid)) && dir.exists());
    drop(cluster);
    assert_eq!(pids.map(runs), [false; 3]);
    assert!(!dir.exists());
}

#[test]
fn the_cluster_of_a_killed_test_program_is_gone() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_of_a_cluster", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut told =
        |what: &str| lines.find_map(|line| line.split_once(what).map(|(_, rest)| rest.to_owned())).unwrap();
    let dir = PathBuf::from(told("dir="));
    let pids: Vec<u32> = told("pids=").split(',').map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.iter().all(|pid| runs(*pid)) && dir.exists());

    owner.kill().unwrap();
    owner.wait().unwrap();
    for pid in pids {
        eventually(SOON, "the kernel to end its processes", || !runs(pid)).unwrap();
    }
    eventually(SOON, "its folder to vanish", || !dir.exists()).unwrap();
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn owner_of_a_cluster() {
    let cluster = Cluster::start().unwrap();
    println!("dir={}", cluster.dir().display());
    println!("pids={}", cluster.pids().map(|pid| pid.to_string()).join(","));
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn a_part_that_does_not_start_is_named_with_its_log() {
    let cluster = Cluster::start().unwrap();
    let taken = std::net::TcpListener::bind(cluster.url().trim_start_matches("https://"));
    assert!(taken.is_err(), "the API server has it");
    cluster.kill_apiserver();
    let _taken = std::net::TcpListener::bind(cluster.url().trim_start_matches("https://")).unwrap();
    match cluster.restart_apiserver() {
        Err(ClusterError::Ended { part, log }) => {
            assert_eq!(part, "kube-apiserver");
            assert!(log.contains("address already in use"), "{log}");
        }
        other => panic!("it started on a port that is taken: {other:?}"),
    }
}

/// One that has ended and waits for its parent to notice does not count.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
