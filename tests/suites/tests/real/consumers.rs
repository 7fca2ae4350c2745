//! Which pods use a Secret, by every way there is, and what is said without the right to look.

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::pods::{env, env_from, mounting, spec};
use touchseal_suites::world::condition;
use touchseal_suites::{Apps, DEADLINE};

fn uses(object: &Value) -> Vec<String> {
    let workloads = object["status"]["consumers"]["staleWorkloads"].as_array().cloned().unwrap_or_default();
    let text = |w: &Value| {
        let uses: Vec<&str> = w["uses"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("{} {} {}", w["kind"].as_str().unwrap(), w["name"].as_str().unwrap(), uses.join(","))
    };
    workloads.iter().map(text).collect()
}

#[test]
fn every_way_to_use_a_secret_is_seen_and_told_by_what_it_holds() {
    let apps = Apps::with("uses", &["--mount-refresh=1s"]);
    apps.serve_yaml("app", "password: first\nuser: app\n");

    apps.run_pod("env", &spec(&env("app", "password")));
    apps.run_pod("other-key", &spec(&env("app", "user")));
    apps.run_pod("env-from", &spec(&env_from("app")));
    apps.run_pod("volume", &mounting("app"));
    let mut projected = mounting("app");
    projected["volumes"][0] =
        json!({ "name": "secret", "projected": { "sources": [{ "secret": { "name": "app" } }] } });
    apps.run_pod("projected", &projected);
    let mut sub_path = mounting("app");
    sub_path["containers"][0]["volumeMounts"][0]["subPath"] = json!("password");
    apps.run_pod("sub-path", &sub_path);
    let mut pull = spec(&json!({}));
    pull["imagePullSecrets"] = json!([{ "name": "app" }]);
    apps.run_pod("pull", &pull);
    // An init container that is through with its work, what it made of the value is there, and one that still runs.
    let mut init = env("app", "password");
    init["name"] = json!("init");
    init["image"] = json!("none.invalid/none");
    for (name, state) in [
        ("init-runs", json!({ "running": { "startedAt": "2026-01-01T00:00:00Z" } })),
        (
            "init-done",
            json!({ "terminated": { "exitCode": 0, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z" } }),
        ),
    ] {
        let mut with_init = spec(&json!({}));
        with_init["initContainers"] = json!([init]);
        apps.run_pod(name, &with_init);
        apps.write_status(
            name,
            &json!({ "initContainerStatuses": [{ "name": "init", "image": "", "imageID": "",
            "ready": false, "restartCount": 0, "state": state }] }),
        );
    }
    // Not this Secret, and not running any more.
    apps.run_pod("foreign", &spec(&env("application", "password")));
    apps.run_pod("ended", &spec(&env("app", "password")));
    apps.write_status("ended", &json!({ "phase": "Succeeded" }));
    // A debugging container that was added later.
    apps.run_pod("debugged", &spec(&json!({})));
    let mut debug = env_from("app");
    debug["name"] = json!("debug");
    debug["image"] = json!("none.invalid/none");
    let patch = json!({ "spec": { "ephemeralContainers": [debug] } }).to_string();
    apps.kubectl(&["patch", "pod", "debugged", "--subresource=ephemeralcontainers", "-p", &patch]);
    apps.write_status("debugged", &json!({ "ephemeralContainerStatuses": [{ "name": "debug", "image": "", "imageID": "",
        "ready": false, "restartCount": 0, "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } } }] }));

    let before = apps.wait_for_consumers("app", 10, 0);
    assert_eq!(*condition(&before, "Draining"), Value::Null, "nothing was rotated yet");

    apps.next_second();
    apps.apply_yaml("app", "password: second\nuser: app\n");
    apps.wait_for_generation("app", 2);
    // Once the kubelets have had their second, what is mounted as files is current.
    let object = apps.wait_for_consumers("app", 4, 6);
    let expected = [
        "Pod debugged envFrom",
        "Pod env env",
        "Pod env-from envFrom",
        "Pod init-done env",
        "Pod init-runs env",
        "Pod sub-path subPath",
    ];
    assert_eq!(uses(&object), expected);
    let draining = condition(&object, "Draining");
    assert_eq!((&draining["status"], &draining["reason"]), (&json!("True"), &json!("StaleConsumers")));
    let message = draining["message"].as_str().unwrap();
    assert!(
        message.starts_with("6 of 10 pods hold an older value: Pod debugged (1), Pod env (1)"),
        "{message}"
    );
}

const PODS: &str = r#"{"apiGroups":[""],"resources":["pods"],"verbs":["list","watch"]}"#;

/// Takes the right to pods out of the shipped cluster role.
fn forbid_pods(apps: &Apps) {
    let role: Value = apps.cluster.get(&["clusterrole", &apps.cluster_role()]).unwrap();
    let rules: Vec<&Value> = role["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["resources"] != json!(["pods"]))
        .collect();
    assert_ne!(rules.len(), role["rules"].as_array().unwrap().len(), "the shipped role has the right");
    let patch = json!([{ "op": "replace", "path": "/rules", "value": rules }]).to_string();
    apps.cluster
        .kubectl_stdout(&["patch", "clusterrole", &apps.cluster_role(), "--type=json", "-p", &patch])
        .unwrap();
}

/// Gives it back, in one namespace only or everywhere.
fn allow_pods(apps: &Apps, namespace: Option<&str>) {
    let subject = format!("--serviceaccount={}:touchseal-operator", apps.system);
    let rule = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "pods" }, "rules": [serde_json::from_str::<Value>(PODS).unwrap()] });
    apps.cluster.apply(&rule.to_string()).unwrap();
    match namespace {
        Some(namespace) => apps
            .cluster
            .kubectl_stdout(&[
                "create",
                "rolebinding",
                "pods",
                "--clusterrole=pods",
                &subject,
                "-n",
                namespace,
            ])
            .unwrap(),
        None => apps
            .cluster
            .kubectl_stdout(&["create", "clusterrolebinding", "pods", "--clusterrole=pods", &subject])
            .unwrap(),
    };
}

#[test]
fn without_the_right_to_pods_it_says_unknown_and_finds_the_right_when_it_is_granted() {
    let mut apps = Apps::new("consumers-rights");
    forbid_pods(&apps);
    apps.restart_operator();
    apps.unseal_again();
    apps.serve_yaml("app", "password: first\n");
    apps.run_pod("env", &spec(&env("app", "password")));
    apps.next_second();
    apps.apply_yaml("app", "password: second\n");
    apps.wait_for_generation("app", 2);
    let object = apps.wait_for_draining("app", "Unknown", "ConsumersUnknown");
    assert_eq!(object["status"]["consumers"], json!({ "known": false }), "unknown is not zero");
    let generations = &object["status"]["generations"];
    assert_eq!(generations[1]["drained"], Value::Null, "nobody knows that it was left");

    // In its own namespace is enough; another one stays unknown.
    allow_pods(&apps, Some(&apps.apps));
    apps.wait_for_draining("app", "True", "StaleConsumers");
    apps.end_pod("env");
    apps.wait_for_draining("app", "False", "Drained");

    // Taken away again: a watch that runs may go on for a while, so the operator starts anew.
    apps.kubectl(&["delete", "rolebinding", "pods"]);
    apps.restart_operator();
    apps.unseal_again();
    let object = apps.wait_for_draining("app", "Unknown", "ConsumersUnknown");
    assert!(object["status"]["generations"][1]["drained"].is_string(), "what was known stays known");
    allow_pods(&apps, None);
    apps.wait_for_draining("app", "False", "Drained");
}

#[test]
fn a_roll_out_of_many_pods_is_few_writes() {
    const PODS: i64 = 50;
    let apps = Apps::new("many");
    apps.serve_yaml("app", "password: first\n");
    let statuses = || {
        let about =
            |w: &&touchseal_suites::audit::Write| w.resource == "encryptedsecrets/status" && w.name == "app";
        apps.writes().iter().filter(about).count()
    };
    let items: Vec<Value> = (0..PODS)
        .map(|n| json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("p{n}"), "namespace": apps.apps },
            "spec": spec(&env("app", "password")) }))
        .collect();
    let before = statuses();
    let began = std::time::Instant::now();
    apps.cluster.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()).unwrap();
    apps.wait_for_consumers("app", PODS, 0);
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    let writes = statuses() - before;
    assert!((1..=seconds + 1).contains(&writes), "{writes} status writes in {seconds} s");
}

#[test]
fn a_restart_writes_nothing_and_forgets_nothing() {
    let mut apps = Apps::new("quiet");
    apps.serve_yaml("app", "password: first\n");
    apps.run_pod("env", &spec(&env("app", "password")));
    apps.next_second();
    apps.apply_yaml("app", "password: second\n");
    apps.wait_for_consumers("app", 0, 1);
    let versions = apps.versions("encryptedsecrets,secrets,configmaps,pods");
    apps.restart_operator();
    apps.unseal_again();
    apps.wait_for_reconciles(1);
    // Whatever it had to write, it would have written before it does this.
    apps.apply_secret("mark", json!({ "documents": [{ "sops": apps.encrypt("app.yaml", "x: y\n") }] }));
    apps.wait_for("mark", "True", "Materialised");
    let after = apps.versions("encryptedsecrets,secrets,configmaps,pods");
    let changed: Vec<_> =
        versions.iter().filter(|(name, version)| after.get(*name) != Some(version)).collect();
    let only_ledger = changed.iter().all(|(name, _)| name.contains("touchseal-ledger"));
    assert!(only_ledger, "{changed:?}");
    eventually(DEADLINE, "the pod to be seen going", || {
        apps.kubectl(&["delete", "pod", "env", "--force", "--grace-period=0", "--ignore-not-found"]);
        apps.encrypted_secret("app")["status"]["consumers"]["stale"] == 0
    })
    .unwrap();
}
