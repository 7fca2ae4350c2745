//! What the operator may do is what it does: everything it has a hand in happens once, and the API server's audit log is held
//! against the chart's rules. Nothing is refused, and no right is there that was not used.

use serde_json::json;
use touchseal_rig::poll::eventually;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::cli::PIN;
use touchseal_suites::pods::{env, mounting, spec};
use touchseal_suites::{Apps, DEADLINE, Laptop, World, chart, rights};

use crate::{metrics, rollout};

/// What gives rights of its own.
const OPTIONS: [&str; 2] = ["rollout.enabled=true", "metrics.enabled=true"];

#[test]
fn every_right_is_used_and_nothing_is_refused() {
    let mut apps = Apps::with("rights", &["--metrics-auth=kubernetes"]);
    apps.upgrade(&OPTIONS);
    deliver(&mut apps);
    consume(&apps);
    hand_over(&mut apps);
    wishes(&apps);
    scrape(&apps);
    restart(&apps);
    let account = format!("{}/touchseal-operator", apps.system);
    let granted = rights::granted(&chart::render(&apps.system, &OPTIONS), &account, &apps.system);
    assert!(granted.len() > 60, "{granted:?}");
    eventually(DEADLINE, "every right to be used", || {
        let mut requests = apps.audited();
        // A test's kubectl may take its name.
        requests.retain(|e| e["user"]["extra"]["authentication.kubernetes.io/pod-name"].is_array());
        let (used, refused) = rights::used(&requests, &apps.system);
        assert_eq!(refused, Vec::<String>::new());
        let unused = rights::unused(&granted, &used);
        if unused.is_empty() { Ok(()) } else { Err(format!("never used: {unused:#?}")) }
    })
    .unwrap();
}

/// Each role for people, and what it is for and what it is not: whether somebody who has it may do that.
#[test]
fn who_writes_who_unseals_and_who_looks_have_separate_rights() {
    let apps = Apps::new("roles");
    let (here, system) = (apps.apps.as_str(), apps.system.as_str());
    let bind = |kind: &str, role: &str| {
        let user = format!("--user={role}");
        let mut bind = vec!["create", kind, role, "--clusterrole", role, &user];
        bind.extend((kind == "rolebinding").then_some(["-n", here]).into_iter().flatten());
        apps.cluster.kubectl_stdout(&bind).unwrap();
    };
    ["edit", "view"].into_iter().for_each(|role| bind("rolebinding", role));
    let people = ["unsealer", "auditor", "incident-manager", "emergency-enroller"]
        .map(|role| format!("touchseal-{role}"));
    people.iter().for_each(|role| bind("clusterrolebinding", role));
    let unsealer = "touchseal-unsealer";
    let (role, user) = (format!("--role={unsealer}"), format!("--user={unsealer}"));
    let bind = ["create", "rolebinding", unsealer, "-n", system, &role, &user];
    apps.cluster.kubectl_stdout(&bind).unwrap();
    for (role, place, may, may_not) in [
        (
            "edit",
            here,
            &["create encryptedsecrets", "delete encryptedsecrets"][..],
            &["patch recipients", "update encryptedsecrets/status"][..],
        ),
        ("edit", system, &[], &["create encryptedsecrets", "patch unsealrequests", "create enrolments"]),
        (
            "view",
            here,
            &["list encryptedsecrets", "list recipients"],
            &["create encryptedsecrets", "get secrets"],
        ),
        (
            "touchseal-unsealer",
            system,
            &["list unsealrequests", "patch unsealrequests", "get pods"],
            &[
                "create unsealrequests",
                "patch unsealrequests/status",
                "create enrolments",
                "get secrets",
                "get configmaps",
            ],
        ),
        (
            "touchseal-unsealer",
            here,
            &["list encryptedsecrets", "create tokenreviews", "patch keyrings"],
            &["create encryptedsecrets", "get secrets", "get pods", "list unsealrequests"],
        ),
        (
            "touchseal-auditor",
            here,
            &["list keyrings", "list encryptedsecrets", "list incidents", "list events.events.k8s.io"],
            &["patch keyrings", "get secrets", "create incidents", "get pods"],
        ),
        ("touchseal-auditor", system, &[], &["get unsealrequests", "get enrolments", "get configmaps"]),
        (
            "touchseal-incident-manager",
            here,
            &["create incidents", "list encryptedsecrets"],
            &["patch keyrings", "patch encryptedsecrets", "get secrets"],
        ),
        (
            "touchseal-emergency-enroller",
            system,
            &["create enrolments", "patch enrolments"],
            &["patch enrolments/status", "patch unsealrequests", "get secrets", "get configmaps"],
        ),
    ] {
        let asks = may.iter().map(|what| (what, "yes")).chain(may_not.iter().map(|what| (what, "no")));
        for (what, wanted) in asks {
            let (verb, resource) = what.split_once(' ').unwrap();
            // With a slash it would be the name of an object.
            let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
            let (who, part) = (format!("--as={role}"), format!("--subresource={part}"));
            let ask = ["auth", "can-i", verb, resource, "-n", place, &who, &part];
            // Bindings and aggregation take a moment to count.
            eventually(DEADLINE, &format!("{role} may {what} in {place}: {wanted}"), || {
                let said = apps.cluster.kubectl(&ask).unwrap();
                let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
                if said == wanted { Ok(()) } else { Err(said) }
            })
            .unwrap();
        }
    }
    for role in &people {
        apps.cluster.kubectl_stdout(&["delete", "clusterrolebinding", role]).unwrap();
    }
}

/// Documents inline and from a ConfigMap, foreign Secrets in the way, drift, another type, copies of old content.
fn deliver(apps: &mut Apps) {
    apps.serve_yaml("app", "password: first\n");
    wait_and_give_way(apps);
    // The same Event twice is counted.
    for round in ["one", "two"] {
        let patch = json!({ "stringData": { "password": round } }).to_string();
        apps.kubectl(&["patch", "secret", "app", "--type=merge", "-p", &patch]);
        eventually(DEADLINE, "the drift to be reverted", || {
            let secret = apps.secret("app").unwrap();
            touchseal_suites::world::value(&secret, "password").unwrap() == b"first"
        })
        .unwrap();
    }
    let typed = json!({ "documents": [{ "sops": apps.encrypt("app.yaml", "password: first\n") }], "target": { "type": "example.com/other" } });
    apps.apply_secret("app", typed);
    eventually(DEADLINE, "the Secret of another type", || {
        apps.secret("app").is_some_and(|secret| secret["type"] == "example.com/other")
    })
    .unwrap();
}

/// A document in a ConfigMap that comes late, and a foreign Secret in the way.
pub fn wait_and_give_way(apps: &Apps) {
    let reference = json!({ "configMapKeyRef": { "name": "settings", "key": "app.yaml" } });
    apps.apply_secret("from-map", json!({ "documents": [reference] }));
    apps.wait_for("from-map", "False", "SourceNotFound");
    apps.apply_config_map("settings", json!({ "app.yaml": apps.encrypt("app.yaml", "password: first\n") }));
    apps.wait_for("from-map", "True", "Materialised");
    apps.kubectl(&["create", "secret", "generic", "taken", "--from-literal=a=theirs"]);
    apps.apply_yaml("taken", "password: first\n");
    apps.wait_for("taken", "False", "Conflict");
    apps.kubectl(&["delete", "secret", "taken"]);
    apps.wait_for("taken", "True", "Materialised");
}

/// A Secret for each generation: the old one stays while a pod names it, and then goes.
pub fn number_generations(apps: &Apps) {
    let rotation = json!({ "delivery": "Immutable", "retention": { "period": "1s", "generations": 0 } });
    for (number, text) in [(1, "first"), (2, "second")] {
        let document = apps.encrypt("app.yaml", &format!("password: {text}\n"));
        apps.apply_secret("numbered", json!({ "documents": [{ "sops": document }], "rotation": rotation }));
        apps.wait_for_generation("numbered", number);
        if number == 1 {
            apps.run_pod("holder", &mounting("numbered-g1"));
            apps.wait_for_consumers("numbered", 1, 0);
        }
    }
    assert!(apps.secret("numbered-g1").is_some());
    apps.end_pod("holder");
    eventually(DEADLINE, "numbered-g1 to go", || apps.secret("numbered-g1").is_none()).unwrap();
}

/// Rotations with consumers: counted, old generations kept while they are named and then deleted; an incident.
fn consume(apps: &Apps) {
    number_generations(apps);
    // Another delivery: the ConfigMap that tells the newest name goes.
    let document = apps.encrypt("app.yaml", "password: second\n");
    apps.apply_secret("numbered", json!({ "documents": [{ "sops": document }] }));
    eventually(DEADLINE, "numbered-current to go", || {
        let look = ["get", "configmap", "numbered-current", "--ignore-not-found", "-o=name"];
        apps.kubectl(&look).is_empty()
    })
    .unwrap();
    apps.run_pod("env", &spec(&env("app", "password")));
    apps.wait_for_consumers("app", 1, 0);
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let incident = json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "Incident",
        "metadata": { "name": "leak" }, "spec": { "exposedAt": now } });
    apps.cluster.apply(&incident.to_string()).unwrap();
}

/// A second replica is unsealed by the first.
fn hand_over(apps: &mut Apps) {
    let second = apps.operator();
    apps.wait_for_replicas(KEYRING, 2);
    drop(second);
}

/// An enrolment that is refused, as it is by default.
fn wishes(apps: &Apps) {
    let keyring = apps.cluster.get(&["keyring", KEYRING]).unwrap();
    let who = ["auth", "whoami", "-o=jsonpath={.status.userInfo.username}"];
    let who = apps.cluster.kubectl_stdout(&who).unwrap();
    let wish = json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "Enrolment",
        "metadata": { "name": "wish", "namespace": apps.system },
        "spec": { "keyring": KEYRING, "revision": keyring["spec"]["revision"], "holder": keyring["spec"]["holders"][0],
            "requestedBy": who.trim(), "reason": "none" },
    });
    apps.cluster.apply(&wish.to_string()).unwrap();
    eventually(DEADLINE, "the wish to be refused", || {
        let wish = apps.cluster.get(&["enrolment", "wish", "-n", &apps.system]).unwrap();
        if wish["status"]["conditions"][0]["reason"] == "EnrolmentRefused" {
            Ok(())
        } else {
            Err(wish.to_string())
        }
    })
    .unwrap();
}

/// Somebody who may reads the metrics.
fn scrape(apps: &Apps) {
    let scraper = metrics::scraper(apps);
    eventually(DEADLINE, "the scraper to be let in", || {
        let (status, _) = metrics::get(&apps.operator, Some(&scraper));
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    })
    .unwrap();
}

/// A workload of each kind is restarted.
fn restart(apps: &Apps) {
    const KINDS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];
    rollout::apply(apps, "rolled", "password: first\n");
    apps.wait_for("rolled", "True", "Materialised");
    let node = rollout::run_workloads(apps, &KINDS, "rolled");
    apps.next_second();
    rollout::apply(apps, "rolled", "password: second\n");
    for kind in KINDS.map(str::to_lowercase) {
        rollout::wait_until_restarted_for(apps, &format!("{kind}/{kind}"), "rolled=2");
    }
    drop(node);
}

/// The two roles are enough for whoever holds a YubiKey, and neither is without the other.
#[test]
fn who_has_both_roles_of_an_unsealer_unseals_looks_and_seals() {
    let mut world = World::new("unsealer");
    let system = world.system.clone();
    let account = ["-n", &system, "--serviceaccount", &format!("{system}:alice")];
    let kubectl = |arguments: &[&str]| world.cluster.kubectl_stdout(arguments).unwrap();
    kubectl(&["create", "serviceaccount", "alice", "-n", &world.system]);
    let role = ["create", "rolebinding", "alice", "--role=touchseal-unsealer"];
    kubectl(&[&role[..], &account].concat());
    let kubeconfig = world.cluster.kubeconfig_for_service_account(&world.system, "alice", None).unwrap();
    let laptop = Laptop::new(&kubeconfig);
    let _key = laptop.key(0, 4_711);
    world.apply_keyring(KEYRING, &laptop.create_keyring(KEYRING, "alice"));
    let _operator = world.operator();
    world.requests(1);
    let place = ["--operator-namespace", &system];
    let unseal = || laptop.run(&[&["unseal", "--yes"][..], &place].concat(), PIN);
    let run = |command: &str| laptop.run_plain(&[&[command][..], &place].concat());
    unseal().refused(1, &["forbidden", "roles touchseal-unsealer"]);
    let role = ["create", "clusterrolebinding", "alice", "--clusterrole=touchseal-unsealer"];
    world.cluster.kubectl_stdout(&[&role[..], &account].concat()).unwrap();
    eventually(DEADLINE, "the role to count", || {
        let said = run("doctor");
        if said.out.contains("rights that unsealing and sealing need") {
            Ok(())
        } else {
            Err(said.out + &said.err)
        }
    })
    .unwrap();
    unseal().ok();
    world.wait_for_replicas(KEYRING, 1);
    assert!(run("status").ok().out.contains(KEYRING));
    run("seal").ok();
    world.wait_for_replicas(KEYRING, 0);
    world.cluster.kubectl_stdout(&["delete", "clusterrolebinding", "alice"]).unwrap();
}
