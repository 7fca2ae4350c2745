//! What runs is the image, with what its pod is given and nothing else.

use std::fs;

use serde_json::Value;
use touchseal_suites::image::{self, Image};

use crate::world::{SYSTEM, on_the_node};

#[test]
#[ignore = "run by on_a_real_node"]
fn the_operator_runs_from_the_image_with_what_its_pod_is_given() {
    on_the_node("installed", |world| {
        let operators = world.operators();
        assert_eq!(operators.len(), 2);
        for pod in &operators {
            let container = &pod["spec"]["containers"][0];
            assert_eq!(container["image"], image::NAME);
            let ran = pod["status"]["containerStatuses"][0]["imageID"].as_str().unwrap();
            assert!(!ran.is_empty() && pod["status"]["containerStatuses"][0]["restartCount"] == 0, "{pod}");
        }
        let _ = Image::built().digest();

        // Its credentials are its token's, bound to its pod; it came from the pod's address to the Service's.
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

        // The least a kernel lets it lock is enough for its keys.
        for pod in &operators {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let log = world.kubectl(&["logs", "-n", SYSTEM, name]);
            assert!(log.contains("touchseal operator starts, sealed"), "{log}");
            assert!(!log.contains("swap"), "{log}");
        }
    });
}
