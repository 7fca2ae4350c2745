//! Restarting workloads: once for each generation, never on top of a roll-out, and nothing of them but one annotation.

use std::fs;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::pods::{env, mounting, spec};
use touchseal_suites::world::condition;
use touchseal_suites::{Apps, DEADLINE};

use crate::drain::deployment;

const ANNOTATION: &str = "/spec/template/metadata/annotations/touchseal.dev~1secret-generations";

/// An EncryptedSecret that has its workloads restarted.
pub fn apply(apps: &Apps, name: &str, plain: &str) {
    let document = apps.encrypt("app.yaml", plain);
    apps.apply_secret(
        name,
        json!({ "documents": [{ "sops": document }], "rotation": { "rollout": "Restart" } }),
    );
}

fn get(apps: &Apps, what: &str) -> Value {
    apps.cluster.get(&[what, "-n", &apps.apps]).unwrap()
}

fn restarted_for(apps: &Apps, what: &str) -> Option<String> {
    get(apps, what).pointer(ANNOTATION).and_then(Value::as_str).map(str::to_owned)
}

/// Waits until a workload was restarted for these generations.
pub fn wait_until_restarted_for(apps: &Apps, what: &str, generations: &str) {
    eventually(DEADLINE, &format!("{what} to be restarted for {generations}"), || {
        let found = restarted_for(apps, what);
        if found.as_deref() == Some(generations) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .unwrap();
}

/// Waits, with a kubelet at work, until a roll-out is through.
fn settle(apps: &Apps, deployment: &str) {
    eventually(DEADLINE, &format!("{deployment} to be through"), || {
        apps.kubelet();
        let object = get(apps, deployment);
        let status = &object["status"];
        let progress = condition(&object, "Progressing");
        let through = status["observedGeneration"] == object["metadata"]["generation"]
            && status["updatedReplicas"] == 2
            && status["replicas"] == 2
            && progress["reason"] == "NewReplicaSetAvailable";
        if through { Ok(()) } else { Err(status.to_string()) }
    })
    .unwrap();
}

fn message(apps: &Apps, name: &str) -> String {
    condition(&apps.encrypted_secret(name), "Draining")["message"].as_str().unwrap_or_default().to_owned()
}

/// A Deployment `web` whose pods read from both `app` and `db`, served and running.
fn web(test: &str) -> Apps {
    let apps = Apps::new(test);
    apps.upgrade(&["rollout.enabled=true"]);
    for name in ["app", "db"] {
        apply(&apps, name, "password: first\n");
        apps.wait_for(name, "True", "Materialised");
    }
    let mut pod = spec(&env("app", "password"));
    let of_db = env("db", "password")["env"][0].clone();
    pod["containers"][0]["env"].as_array_mut().unwrap().push(of_db);
    pod["containers"][0]["env"][1]["name"] = json!("OTHER");
    apps.cluster.apply(&deployment(&apps, "web", &pod).to_string()).unwrap();
    settle(&apps, "deployment/web");
    for name in ["app", "db"] {
        apps.wait_for_consumers(name, 2, 0);
    }
    assert_eq!(restarted_for(&apps, "deployment/web"), None, "the first generation restarts nothing");
    apps.next_second();
    apps
}

#[test]
fn secrets_that_change_together_restart_a_workload_once_and_it_drains() {
    let apps = web("together");
    let before = get(&apps, "deployment/web")["metadata"]["generation"].as_i64().unwrap();
    let documents = ["app", "db"].map(|name| (name, apps.encrypt("app.yaml", "password: second\n")));
    let items: Vec<Value> = documents
        .iter()
        .map(|(name, document)| {
            json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
                "metadata": { "name": name, "namespace": apps.apps },
                "spec": { "documents": [{ "sops": document }], "rotation": { "rollout": "Restart" } } })
        })
        .collect();
    apps.cluster.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()).unwrap();
    wait_until_restarted_for(&apps, "deployment/web", "app=2,db=2");
    for name in ["app", "db"] {
        apps.wait_with_kubelet(name, "drained", |object| {
            condition(object, "Draining")["reason"] == "Drained"
        });
        assert!(apps.events(name).contains(&"Restarted".to_owned()), "{:?}", apps.events(name));
    }
    assert_eq!(get(&apps, "deployment/web")["metadata"]["generation"], before + 1, "one restart");
}

#[test]
fn no_generation_restarts_twice_also_when_the_operator_does() {
    let mut apps = web("once");
    apply(&apps, "app", "password: second\n");
    wait_until_restarted_for(&apps, "deployment/web", "app=2");
    let generation = get(&apps, "deployment/web")["metadata"]["generation"].clone();
    // No kubelet works, so the old pods stay and are stale for as long as this takes.
    apps.restart_operator();
    apps.unseal_again();
    apps.reconcile("app", "after the restart");
    let object = apps.wait_for_draining("app", "True", "StaleConsumers");
    assert!(object["status"]["consumers"]["stale"].as_i64() > Some(0));
    // Time enough for a restart that must not come: the next generation's, wanted after it, comes.
    apply(&apps, "db", "password: second\n");
    apps.wait_for_generation("db", 2);
    settle(&apps, "deployment/web");
    apps.wait_with_kubelet("db", "drained", |object| condition(object, "Draining")["reason"] == "Drained");
    // The pods of the first restart were started before db changed or after; in no case is there more than one more.
    let more = get(&apps, "deployment/web")["metadata"]["generation"].as_i64().unwrap()
        - generation.as_i64().unwrap();
    let annotation = restarted_for(&apps, "deployment/web").unwrap();
    assert!(matches!((more, annotation.as_str()), (0, "app=2") | (1, "app=2,db=2")), "{more} {annotation}");
}

#[test]
fn a_paused_workload_is_left_alone_and_that_is_said() {
    let apps = web("paused");
    apps.kubectl(&["rollout", "pause", "deployment/web"]);
    apply(&apps, "app", "password: second\n");
    eventually(DEADLINE, "it to be said", || {
        let said = message(&apps, "app");
        if said.ends_with("; Deployment web is not restarted while it is paused") {
            Ok(())
        } else {
            Err(said)
        }
    })
    .unwrap();
    assert_eq!(restarted_for(&apps, "deployment/web"), None);
    apps.kubectl(&["rollout", "resume", "deployment/web"]);
    wait_until_restarted_for(&apps, "deployment/web", "app=2");
    apps.wait_with_kubelet("app", "drained", |object| condition(object, "Draining")["reason"] == "Drained");
}

#[test]
fn a_roll_out_in_progress_is_not_piled_upon() {
    let apps = web("busy");
    // A new template, and no kubelet that would start its pods.
    apps.merge(
        "deployment/web",
        &json!({ "spec": { "template": { "metadata": { "labels": { "version": "2" } } } } }),
    );
    apply(&apps, "app", "password: second\n");
    eventually(DEADLINE, "it to be said", || {
        let said = message(&apps, "app");
        if said.contains("Deployment web is restarted once its present roll-out is through") {
            Ok(())
        } else {
            Err(said)
        }
    })
    .unwrap();
    assert_eq!(restarted_for(&apps, "deployment/web"), None);
    // Its pods start after the change, so there is nothing left to restart for, or it is restarted afterwards.
    apps.wait_with_kubelet("app", "drained", |object| condition(object, "Draining")["reason"] == "Drained");
}

/// The node that pods name, for as long as this lives: a DaemonSet has none without.
pub struct Node<'a>(&'a Apps);

impl Drop for Node<'_> {
    fn drop(&mut self) {
        drop(self.0.cluster.kubectl(&["delete", "node", "nowhere"]));
    }
}

/// A workload of each kind, called after it, with one running pod that reads this Secret.
pub fn run_workloads<'a>(apps: &'a Apps, kinds: &[&str], secret: &str) -> Node<'a> {
    let object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "nowhere" } });
    apps.cluster.apply(&object.to_string()).unwrap();
    let node = Node(apps);
    // The API server marks a new node as not ready; its kubelet would say that it is.
    apps.cluster
        .kubectl_stdout(&["patch", "node", "nowhere", "--type=merge", "-p", r#"{"spec":{"taints":null}}"#])
        .unwrap();
    for kind in kinds {
        let mut object = deployment(apps, &kind.to_lowercase(), &spec(&env(secret, "password")));
        object["kind"] = json!(kind);
        object["spec"].as_object_mut().unwrap().remove("replicas");
        if *kind == "StatefulSet" {
            object["spec"]["serviceName"] = json!("x");
        }
        apps.cluster.apply(&object.to_string()).unwrap();
    }
    apps.wait_with_kubelet(secret, "a pod of each", |object| {
        object["status"]["consumers"]["current"] == kinds.len()
    });
    node
}

#[test]
fn stateful_sets_and_daemon_sets_too() {
    let apps = Apps::new("kinds");
    apps.upgrade(&["rollout.enabled=true"]);
    apply(&apps, "app", "password: first\n");
    apps.wait_for("app", "True", "Materialised");
    let _node = run_workloads(&apps, &["StatefulSet", "DaemonSet"], "app");
    // The DaemonSet's pods are its own: one that only mounts the files is not restarted.
    apps.run_pod("reads", &mounting("app"));
    apps.wait_for_consumers("app", 3, 0);
    apps.next_second();
    apply(&apps, "app", "password: second\n");
    for what in ["statefulset/statefulset", "daemonset/daemonset"] {
        wait_until_restarted_for(&apps, what, "app=2");
    }
    apps.wait_with_kubelet("app", "only files to refresh", |object| {
        object["status"]["consumers"]["stale"] == 1 && condition(object, "Draining")["reason"] == "Refreshing"
    });
}

#[test]
fn without_the_right_nothing_is_restarted_and_that_is_said() {
    let apps = Apps::new("no-right");
    apply(&apps, "app", "password: first\n");
    apps.wait_for("app", "True", "Materialised");
    apps.cluster.apply(&deployment(&apps, "web", &spec(&env("app", "password"))).to_string()).unwrap();
    settle(&apps, "deployment/web");
    apps.next_second();
    apply(&apps, "app", "password: second\n");
    eventually(DEADLINE, "it to be said", || {
        let said = message(&apps, "app");
        if said.contains("the operator has no right to") { Ok(()) } else { Err(said) }
    })
    .unwrap();
    assert_eq!(restarted_for(&apps, "deployment/web"), None);
    apps.upgrade(&["rollout.enabled=true"]);
    wait_until_restarted_for(&apps, "deployment/web", "app=2");
}

#[test]
fn the_api_server_refuses_the_operator_everything_else_of_a_workload() {
    let apps = Apps::new("fenced");
    apps.upgrade(&["rollout.enabled=true"]);
    apps.cluster.apply(&deployment(&apps, "web", &spec(&env("app", "password"))).to_string()).unwrap();
    let kubeconfig =
        apps.cluster.kubeconfig_for_service_account(&apps.system, "touchseal-operator", None).unwrap();
    let patch = |patch: Value| {
        let patch = patch.to_string();
        let arguments = [
            "-n",
            &apps.apps,
            "patch",
            "deployment",
            "web",
            "--dry-run=server",
            "--type=merge",
            "-p",
            &patch,
        ];
        let output = apps.cluster.kubectl_as(&kubeconfig, &arguments).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { None } else { Some(said) }
    };
    let template = |template: Value| json!({ "spec": { "template": template } });
    let image =
        template(json!({ "spec": { "containers": [{ "name": "main", "image": "evil.invalid/x" }] } }));
    // The policy takes a moment to be enforced.
    eventually(DEADLINE, "the policy to be enforced", || {
        let said = patch(json!({ "metadata": { "labels": { "probe": "x" } } })).unwrap_or_default();
        if said.contains("touchseal-operator-rollout") { Ok(()) } else { Err(said) }
    })
    .unwrap();
    for changed in [
        image,
        template(json!({ "metadata": { "annotations": { "other": "x" } } })),
        template(json!({ "metadata": { "labels": { "other": "x" } } })),
        template(json!({ "spec": { "serviceAccountName": "admin" } })),
        template(json!({ "spec": { "hostPID": true } })),
        json!({ "spec": { "replicas": 0 } }),
        json!({ "spec": { "paused": true } }),
        json!({ "spec": { "strategy": { "type": "Recreate", "rollingUpdate": null } } }),
        json!({ "metadata": { "annotations": { "other": "x" } } }),
        json!({ "metadata": { "finalizers": ["touchseal.dev/x"] } }),
    ] {
        let said = patch(changed.clone()).unwrap_or_else(|| panic!("{changed} was allowed"));
        assert!(said.contains("touchseal-operator-rollout"), "{changed}: {said}");
    }
    let ours =
        template(json!({ "metadata": { "annotations": { "touchseal.dev/secret-generations": "app=2" } } }));
    assert_eq!(patch(ours), None);
    let file = apps.cluster.dir().join("workload.json");
    fs::write(&file, deployment(&apps, "made", &spec(&json!({}))).to_string()).unwrap();
    for arguments in
        [vec!["create", "-f", file.to_str().unwrap()], vec!["-n", &apps.apps, "delete", "deployment", "web"]]
    {
        assert!(!apps.cluster.kubectl_as(&kubeconfig, &arguments).unwrap().status.success(), "{arguments:?}");
    }
}
