//! What runs is the image, held as strictly as the chart says, with what its pod is given and nothing else.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use touchseal_suites::image;

use crate::world::{KEYRING, SYSTEM, World, on_the_node};

#[test]
#[ignore = "run by on_a_real_node"]
fn the_operator_uses_what_its_pod_is_given_and_nothing_else() {
    on_the_node("installed", |world| {
        let operators = world.operators();
        assert_eq!(operators.len(), 2);
        let image = format!("{}:{}", image::REPOSITORY, image::TAG);
        for pod in &operators {
            let container = &pod["spec"]["containers"][0];
            assert_eq!(container["image"], image.as_str());
            let flags = container["args"].to_string();
            assert!(!flags.contains("kubeconfig") && container["env"].is_null(), "{container}");
        }

        // Its credentials are its token's, bound to its pod; it came from its pod's address.
        let log = fs::read_to_string(world.cluster.audit_log()).unwrap();
        let user = format!("system:serviceaccount:{SYSTEM}:touchseal-operator");
        for pod in &operators {
            let (name, address) = (&pod["metadata"]["name"], &pod["status"]["podIP"]);
            let asked = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|e| {
                e["user"]["username"] == user.as_str()
                    && e["user"]["extra"]["authentication.kubernetes.io/pod-name"][0] == *name
                    && e["sourceIPs"][0] == *address
            });
            assert!(asked, "{name} at {address} never asked as itself");
        }
    });
}

#[test]
#[ignore = "run by on_a_real_node"]
fn its_processes_may_do_nothing_and_still_lock_their_keys() {
    on_the_node("held", |world| {
        let processes = processes();
        assert_eq!(processes.len(), 2, "{processes:?}");
        for pid in processes {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let status: BTreeMap<&str, &str> =
                status.lines().filter_map(|line| line.split_once(":\t")).collect();
            assert_eq!(status["Uid"], "65532\t65532\t65532\t65532");
            assert_eq!((status["CapEff"], status["CapBnd"]), ("0000000000000000", "0000000000000000"));
            assert_eq!((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"));

            // The least a kernel lets it lock, and enough.
            let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
            let locked = limits.lines().find(|line| line.starts_with("Max locked memory")).unwrap();
            assert_eq!(locked.split_whitespace().nth(3), Some("65536"), "{locked}");
        }
        for replica in replicas(world) {
            assert!(replica["memoryNotLocked"].is_null() && replica["state"] == "Unsealed", "{replica}");
        }
    });
}

fn replicas(world: &World) -> Vec<Value> {
    let keyring = world.cluster.get(&["keyring", KEYRING]).unwrap();
    let replicas = keyring["status"]["replicas"].as_array().unwrap().clone();
    assert_eq!(replicas.len(), 2);
    replicas
}

/// The operators', as this side of their namespaces sees them.
fn processes() -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    let runs_it = |folder: &fs::DirEntry| {
        let command = fs::read(folder.path().join("cmdline")).unwrap_or_default();
        command.starts_with(b"/touchseal-operator\0")
    };
    all.filter(runs_it).map(|entry| entry.file_name().into_string().unwrap()).collect()
}
