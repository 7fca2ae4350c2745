//! What the operator may do is what it does: everything it has a hand in happens once, and the API server's audit log is held
//! against the chart's rules. Nothing is refused, and no right is there that was not used.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::chart;
use touchseal_suites::pods::{env, mounting, spec};
use touchseal_suites::{Apps, DEADLINE};

/// One right, or one use of it: where (the operator's own namespace, or anywhere), of which resource, to do what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    own: bool,
    resource: String,
    verb: String,
}

/// What the chart gives the operator, a right for each verb of each rule.
fn granted(apps: &Apps) -> BTreeSet<Right> {
    let objects = chart::render(&apps.system, &[]);
    let account = |object: &Value| {
        object["subjects"].as_array().into_iter().flatten().any(|who| who["name"] == "touchseal-operator")
    };
    let bound: Vec<&Value> =
        objects.iter().filter(|object| account(object)).map(|o| &o["roleRef"]["name"]).collect();
    let words = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    let roles = objects.iter().filter(|o| o["kind"] == "Role" || o["kind"] == "ClusterRole");
    for role in roles.filter(|role| bound.contains(&&role["metadata"]["name"])) {
        for rule in role["rules"].as_array().unwrap() {
            for resource in words(rule, "resources") {
                for verb in words(rule, "verbs") {
                    let own = role["kind"] == "Role" && role["metadata"]["namespace"] == apps.system.as_str();
                    rights.insert(Right { own, resource: resource.clone(), verb });
                }
            }
        }
    }
    assert!(rights.len() > 40, "{rights:?}");
    rights
}

/// What the operators' requests used, and the requests that were refused.
fn used(apps: &Apps) -> (BTreeSet<Right>, Vec<String>) {
    let (mut rights, mut refused) = (BTreeSet::new(), Vec::new());
    for event in apps.audited() {
        if !event["user"]["extra"]["authentication.kubernetes.io/pod-name"].is_array() {
            continue; // a test's kubectl that took its name
        }
        let text =
            |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if event["responseStatus"]["code"] == 403 {
            refused.push(format!("{} {}", text("/verb"), text("/requestURI")));
        }
        let resource = [text("/objectRef/resource"), text("/objectRef/subresource")];
        let resource = resource.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        let own = text("/objectRef/namespace") == apps.system;
        // Server-side apply of what is not there needs the right to create, too.
        let created = text("/verb") == "patch" && event["responseStatus"]["code"] == 201;
        for verb in [Some(text("/verb")), created.then(|| "create".to_owned())].into_iter().flatten() {
            rights.insert(Right { own, resource: resource.clone(), verb });
        }
    }
    (rights, refused)
}

#[test]
fn every_right_is_used_and_nothing_is_refused() {
    let mut apps = Apps::new("rights");
    deliver(&mut apps);
    consume(&apps);
    hand_over(&mut apps);
    wishes(&apps);
    let granted = granted(&apps);
    let unused = || -> Vec<Right> {
        let (used, refused) = used(&apps);
        assert_eq!(refused, Vec::<String>::new());
        // A right to all namespaces is used wherever; one in its own namespace there.
        let is_used = |right: &&Right| {
            used.iter().any(|u| u.resource == right.resource && u.verb == right.verb && (u.own || !right.own))
        };
        granted.iter().filter(|right| !is_used(right)).cloned().collect()
    };
    eventually(DEADLINE, "every right to be used", || {
        let unused = unused();
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
    for (role, place, may, may_not) in [
        (
            "edit",
            here,
            &["create encryptedsecrets", "delete encryptedsecrets"][..],
            &["patch recipients", "patch encryptedsecrets/status"][..],
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
        ("touchseal-unsealer", here, &["list encryptedsecrets"], &["create encryptedsecrets", "get secrets"]),
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

/// Rotations with consumers: counted, old generations kept while they are named and then deleted; an incident.
fn consume(apps: &Apps) {
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
    apps.end_pod("holder");
    eventually(DEADLINE, "numbered-g1 to go", || apps.secret("numbered-g1").is_none()).unwrap();
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
