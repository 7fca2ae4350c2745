//! While the operator is sealed or gone, applications keep their files, and new pods get theirs.

use std::collections::BTreeSet;

use serde_json::Value;
use touchseal_rig::poll::eventually;
use touchseal_suites::DEADLINE;

use crate::app::{App, Use};
use crate::world::{KEYRING, World, on_the_node};

fn set(answers: &[&str]) -> BTreeSet<String> {
    answers.iter().map(|answer| (*answer).to_owned()).collect()
}

/// kill -9 of operators' processes; waits until their kubelet has started each again.
fn kill_operators(world: &World, count: usize) {
    let pods = world.operators();
    let status = |pod: &Value| pod["status"]["containerStatuses"][0].clone();
    for pod in &pods[..count] {
        world.node.kill_container(status(pod)["containerID"].as_str().unwrap()).unwrap();
    }
    eventually(DEADLINE, "the operators to be started again", || {
        let now = world.operators();
        let restarted = |old: &Value| {
            let new = now.iter().find(|new| new["metadata"]["uid"] == old["metadata"]["uid"])?;
            let more = status(new)["restartCount"].as_u64() > status(old)["restartCount"].as_u64();
            (more && status(new)["state"]["running"].is_object()).then_some(())
        };
        pods[..count].iter().all(|old| restarted(old).is_some())
    })
    .unwrap();
}

#[test]
#[ignore = "run by on_a_real_node"]
fn sealed_the_files_stay_and_what_waits_is_served_after_the_unseal() {
    let namespace = "sealed";
    on_the_node(namespace, |world| {
        world.apply_password(namespace, "first");
        let files = App::deploy(world, namespace, Use::Files);
        files.wait_for("first");
        let before = files.run();

        let answers = files.meanwhile(|| {
            world.laptop.run_plain(&["seal", "--timeout", "60s"]).ok();
            assert_eq!(world.unsealed_replicas(), 0);
            world.apply_password(namespace, "second");
            world.wait_until_ready(namespace, "False", "Sealed");
        });
        assert_eq!(answers, set(&["first"]));
        // Who comes now gets what there is.
        let late = App::deploy(world, namespace, Use::Env);
        late.wait_for("first");

        let operations = world.operations();
        world.unseal().expect("both are sealed");
        assert_eq!(world.operations() - operations, 1, "one for both replicas");
        files.wait_for("second");
        world.wait_until_ready(namespace, "True", "Materialised");
        assert_eq!(files.run(), before, "the application was restarted");
        assert_eq!(late.answer().as_deref(), Some("first"));
    });
}

#[test]
#[ignore = "run by on_a_real_node"]
fn killed_one_replica_is_helped_by_the_other_and_both_need_a_holder() {
    let namespace = "killed";
    on_the_node(namespace, |world| {
        world.apply_password(namespace, "first");
        let files = App::deploy(world, namespace, Use::Files);
        files.wait_for("first");
        let (before, operations) = (files.run(), world.operations());

        let answers = files.meanwhile(|| {
            kill_operators(world, 1);
            world.wait_for_replicas(2);
        });
        assert_eq!(answers, set(&["first"]));
        assert_eq!(world.operations(), operations, "a YubiKey was asked");
        world.apply_password(namespace, "second");
        files.wait_for("second");

        let answers = files.meanwhile(|| {
            kill_operators(world, 2);
            // Processes that were killed say nothing; new ones say that they are sealed, and ask.
            eventually(DEADLINE, "two requests", || {
                let requests = world.cluster.get(&["unsealrequests", "-A"]).unwrap();
                let asks = |r: &&Value| r["spec"]["keyring"] == KEYRING && r["status"]["proof"].is_string();
                requests["items"].as_array().unwrap().iter().filter(asks).count() == 2
            })
            .unwrap();
            world.wait_for_replicas(0);
        });
        assert_eq!(answers, set(&["second"]));
        world.unseal().expect("both are sealed");
        world.apply_password(namespace, "third");
        files.wait_for("third");
        assert_eq!(files.run(), before, "the application was restarted");
    });
}
