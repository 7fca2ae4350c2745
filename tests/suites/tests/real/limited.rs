//! An operator that is limited to some namespaces: what it does there with Roles instead of a ClusterRole, what it leaves
//! alone, and what it asks the API server for.

use std::time::Instant;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::pods::{env, spec};
use touchseal_suites::world::value;
use touchseal_suites::{Apps, DEADLINE, SoftHolder, World};

use crate::rights::{number_generations, wait_and_give_way};

/// A world whose operator is limited to these namespaces, with rights in them, and unsealed. Those whose names end in `-later`
/// are left to be made.
fn limited(test: &str, namespaces: &[&str]) -> Apps {
    let mut world = World::new(test);
    let there: Vec<&str> = namespaces.iter().copied().filter(|name| !name.ends_with("-later")).collect();
    let more = there.iter().filter(|name| **name != world.apps);
    more.for_each(|namespace| world.cluster.namespace(namespace).unwrap());
    install(&world, namespaces, &there);
    let (spec, keyring) = SoftHolder::generate("alice", 1).create_keyring();
    world.apply_keyring(KEYRING, &spec);
    let operator = world.operator_with(&[&format!("--namespaces={}", namespaces.join(","))]);
    world.unseal(KEYRING, &keyring, 1);
    let recipient = keyring.recipient_spec(&world.apps).unwrap().recipient;
    Apps { operator, keyring, recipient, world }
}

/// Exchanges the rights that every world's operator has for those of a limited one, as the chart has them.
fn install(world: &World, namespaces: &[&str], there: &[&str]) {
    let setting = format!("watchNamespaces={{{}}}", namespaces.join(","));
    world.upgrade_where(&[&setting], |object| {
        let namespace = object["metadata"]["namespace"].as_str();
        namespace.is_none_or(|name| !namespaces.contains(&name) || there.contains(&name))
    });
    // Bindings take a moment to count.
    wait_for_right(world, "secrets", None, false);
    wait_for_right(world, "configmaps", Some(&world.system), true);
    there.iter().for_each(|namespace| wait_for_right(world, "secrets", Some(namespace), true));
}

/// What the operator needs in a namespace that came later.
fn install_in(world: &World, namespace: &str) {
    let setting = format!("watchNamespaces={{{namespace}}}");
    world.upgrade_where(&[&setting], |object| object["metadata"]["namespace"] == namespace);
    wait_for_right(world, "secrets", Some(namespace), true);
}

/// Waits until the API server lets the operator list a resource, or does not any more.
fn wait_for_right(world: &World, resource: &str, namespace: Option<&str>, given: bool) {
    let user = format!("--as=system:serviceaccount:{}:touchseal-operator", world.system);
    let place = namespace.map_or("-A".to_owned(), |name| format!("--namespace={name}"));
    eventually(DEADLINE, &format!("list {resource} {place} to be {given}"), || {
        let said = world.cluster.kubectl(&["auth", "can-i", "list", resource, &user, &place]).unwrap();
        let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        if (said == "yes") == given { Ok(()) } else { Err(said) }
    })
    .unwrap();
}

fn document(apps: &Apps, namespace: &str, text: &str) -> String {
    let recipient = apps.keyring.recipient_spec(namespace).unwrap().recipient;
    apps.sops.encrypt("app.yaml", text, &recipient)
}

/// Applies an EncryptedSecret in any namespace.
fn apply_in(apps: &Apps, namespace: &str, name: &str) {
    let document = document(apps, namespace, "password: first\n");
    let manifest = json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
        "metadata": { "name": name, "namespace": namespace }, "spec": { "documents": [{ "sops": document }] } });
    apps.cluster.apply(&manifest.to_string()).unwrap();
}

fn wait_for_secret_in(apps: &Apps, namespace: &str, name: &str) {
    eventually(DEADLINE, &format!("Secret {namespace}/{name}"), || {
        let secret =
            apps.cluster.get(&["secret", name, "-n", namespace]).map_err(|error| error.to_string())?;
        if value(&secret, "password").as_deref() == Some(b"first") { Ok(()) } else { Err(secret.to_string()) }
    })
    .unwrap();
}

/// The requests of the operators themselves: a program without a pod, such as a test's kubectl, may take their name.
fn requests(apps: &Apps) -> Vec<Value> {
    let mut requests = apps.audited();
    requests.retain(|e| e["user"]["extra"]["authentication.kubernetes.io/pod-name"].is_array());
    assert!(requests.len() > 20, "hardly any request of the operator is in the audit log");
    requests
}

/// What of the operator's requests was refused, reaches over all namespaces, or is about one that is not `served`.
fn complaints(apps: &Apps, served: &[&str]) -> Vec<String> {
    let of_cluster = ["keyrings", "incidents", "tokenreviews", "selfsubjectreviews"];
    let complaints = requests(apps).into_iter().filter_map(|event| {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (resource, namespace) = (text("/objectRef/resource"), text("/objectRef/namespace"));
        let right = match resource {
            "namespaces" => served.contains(&text("/objectRef/name")),
            "events" if namespace == "default" => true,
            _ if namespace.is_empty() => of_cluster.contains(&resource),
            _ => namespace == apps.system || served.contains(&namespace),
        };
        let refused = event["responseStatus"]["code"] == 403;
        (!right || refused)
            .then(|| format!("{} {} {}", text("/verb"), text("/requestURI"), event["responseStatus"]))
    });
    complaints.collect()
}

/// Opens one that is about everything there is.
fn open_incident(apps: &Apps) {
    apps.next_second();
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let incident = json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "Incident",
        "metadata": { "name": "leak" }, "spec": { "exposedAt": now } });
    apps.cluster.apply(&incident.to_string()).unwrap();
}

fn wait_for_incident(apps: &Apps, what: &str, right: impl Fn(&Value) -> bool) {
    eventually(DEADLINE, &format!("the incident {what}"), || {
        let status = apps.cluster.get(&["incident", "leak"]).unwrap()["status"].clone();
        if right(&status) { Ok(()) } else { Err(status.to_string()) }
    })
    .unwrap();
}

fn lists_refused(apps: &Apps, served: &[&str]) -> usize {
    complaints(apps, served).iter().filter(|told| told.starts_with("list ")).count()
}

#[test]
fn it_serves_its_namespaces_and_asks_for_nothing_elsewhere() {
    let (here, later) = ("limited-apps", "limited-later");
    let served = [here, later];
    let mut apps = limited("limited", &served);
    let elsewhere = "limited-elsewhere";
    apps.cluster.namespace(elsewhere).unwrap();
    apply_in(&apps, elsewhere, "app");

    // From a document to a Secret.
    assert_eq!(apps.recipient(here, KEYRING), apps.recipient);
    apps.serve_yaml("app", "password: first\n");
    wait_and_give_way(&apps);

    // A rotation, followed until nobody holds the old value; and what it counts.
    apps.run_pod("env", &spec(&env("app", "password")));
    apps.wait_for_consumers("app", 1, 0);
    apps.next_second();
    apps.apply_yaml("app", "password: second\n");
    apps.wait_for_generation("app", 2);
    apps.wait_for_consumers("app", 0, 1);
    apps.end_pod("env");
    apps.wait_for_draining("app", "False", "Drained");
    eventually(DEADLINE, "the objects to be counted", || {
        let counted = apps.cluster.get(&["keyring", KEYRING]).unwrap()["status"]["documents"].clone();
        let right =
            json!([{ "generation": 1, "objects": 3, "namespaces": [{ "namespace": here, "objects": 3 }] }]);
        if counted == right { Ok(()) } else { Err(counted.to_string()) }
    })
    .unwrap();

    number_generations(&apps);

    open_incident(&apps);
    wait_for_incident(&apps, "to have 4 exposed", |status| status["totals"]["exposed"] == 4);

    // A restart finds everything in place.
    let before = apps.versions("encryptedsecrets,secrets,recipients");
    apps.restart_operator();
    apps.unseal_again();
    apps.wait_for_reconciles(4);
    assert_eq!(apps.versions("encryptedsecrets,secrets,recipients"), before);

    // Nobody asked for more, and nothing was refused; also not while one of the namespaces is not there.
    assert_eq!(complaints(&apps, &served), Vec::<String>::new());
    let object = apps.cluster.get(&["encryptedsecret", "app", "-n", elsewhere]).unwrap();
    assert_eq!(object["status"], json!({ "observedGeneration": -1 }), "it is not served");
    let made = apps.cluster.get(&["secrets,recipients", "-n", elsewhere]).unwrap();
    assert_eq!(made["items"], json!([]));
}

#[test]
fn a_namespace_that_comes_later_or_comes_back_is_served() {
    let later = "come-later";
    let served = ["come-apps", later];
    let apps = limited("come", &served);
    apps.serve_yaml("app", "password: first\n");
    let mut refused = 0;
    for round in 0..2 {
        assert_eq!(lists_refused(&apps, &served), refused, "nothing is asked of what is not there");
        // It is there before the operator may look into it.
        let began = Instant::now();
        apps.cluster.namespace(later).unwrap();
        apply_in(&apps, later, "app");
        install_in(&apps, later);
        wait_for_secret_in(&apps, later, "app");
        let recipient = apps.keyring.recipient_spec(later).unwrap().recipient;
        assert_eq!(apps.world.recipient(later, KEYRING), recipient);
        let object = apps.cluster.get(&["encryptedsecret", "app", "-n", later]).unwrap();
        assert_eq!(object["status"]["secretGeneration"], 1, "the same content is the same generation");
        // Three kinds are watched, and each waits longer and longer.
        let most = refused + 3 * (2 + usize::try_from(began.elapsed().as_secs()).unwrap());
        refused = lists_refused(&apps, &served);
        assert!(refused <= most, "{refused} lists were refused, {most} would be many");
        if round == 0 {
            apps.cluster.kubectl_stdout(&["delete", "namespace", later, "--timeout=60s"]).unwrap();
        }
    }
    // The other one was served all the time.
    apps.apply_yaml("app", "password: second\n");
    apps.wait_for_generation("app", 2);
}

/// One right is missing that only tells whether a namespace is there; what is in it tells that, too.
#[test]
fn a_namespace_that_may_not_be_looked_at_keeps_nothing_waiting() {
    let (here, there) = ("hidden-apps", "hidden-more");
    let mut apps = limited("hidden", &[here, there]);
    // The right to the Namespaces of both becomes one to the first.
    let role = apps.cluster_role();
    let mut rules = apps.cluster.get(&["clusterrole", &role]).unwrap()["rules"].clone();
    let rules_of_namespaces = rules.as_array_mut().unwrap().iter_mut();
    for rule in rules_of_namespaces.filter(|rule| rule["resources"] == json!(["namespaces"])) {
        assert_eq!(rule["resourceNames"], json!([here, there]));
        rule["resourceNames"] = json!([here]);
    }
    let patch = json!({ "rules": rules }).to_string();
    apps.cluster.kubectl_stdout(&["patch", "clusterrole", &role, "--type=merge", "-p", &patch]).unwrap();
    let user = format!("--as=system:serviceaccount:{}:touchseal-operator", apps.system);
    let look = ["auth", "can-i", "list", &format!("namespaces/{there}"), &user];
    eventually(DEADLINE, "the right to be gone", || {
        let said = apps.cluster.kubectl(&look).unwrap();
        String::from_utf8_lossy(&said.stdout).trim() == "no"
    })
    .unwrap();
    apps.restart_operator();
    apps.unseal_again();
    apps.serve_yaml("app", "password: first\n");
    apply_in(&apps, there, "app");
    wait_for_secret_in(&apps, there, "app");
    let log = apps.operator.process.log();
    assert!(log.contains("may not list and watch this kind there"), "nobody is told what is missing");
    // It is counted, and an incident ends, for nothing is waited for.
    open_incident(&apps);
    wait_for_incident(&apps, "to have 2 exposed", |status| status["totals"]["exposed"] == 2);
}

/// Nobody looks there any more, so nobody knows.
#[test]
fn what_is_not_served_any_more_is_not_taken_for_gone() {
    let (here, there) = ("less-apps", "less-more");
    let mut apps = limited("less", &[here, there]);
    apps.serve_yaml("app", "password: first\n");
    apply_in(&apps, there, "app");
    wait_for_secret_in(&apps, there, "app");
    open_incident(&apps);
    wait_for_incident(&apps, "to have 2 exposed", |status| status["totals"]["exposed"] == 2);

    apps.operator.flags = vec![format!("--namespaces={here}")];
    apps.restart_operator();
    apps.unseal_again();
    apps.next_second();
    apps.apply_yaml("app", "password: second\n");
    // A round of the new process: what was rotated is safe, and the other stands as it was.
    let left = json!(["less-more", "app", "password", "Exposed"]);
    wait_for_incident(&apps, "to have the other exposed", |status| {
        let entry = &status["remaining"][0];
        let remaining = json!([entry["namespace"], entry["name"], entry["key"], entry["state"]]);
        status["totals"]["safe"] == 1 && remaining == left
    });
    wait_for_secret_in(&apps, there, "app");
    let ledger = apps.cluster.get(&["configmaps", "-n", &apps.system]).unwrap().to_string();
    assert!(ledger.contains("less-more/app") && !ledger.contains("ended"), "{ledger}");
}

/// Who serves all namespaces pays nothing for those who do not.
#[test]
fn without_the_flag_each_kind_has_one_watch_of_all_namespaces() {
    let apps = Apps::new("wide");
    apps.recipient(&apps.apps, KEYRING);
    apps.serve_yaml("app", "password: first\n");
    apps.wait_for_consumers("app", 0, 0);
    let requests = requests(&apps);
    for kind in ["encryptedsecrets", "secrets", "recipients", "pods", "namespaces"] {
        let watches: Vec<&str> = requests
            .iter()
            .filter(|e| e["verb"] == "watch" && e["stage"] == "ResponseStarted")
            .filter(|e| e["objectRef"]["resource"] == kind)
            // The ceremony follows the operator's own pods besides.
            .filter(|e| e["objectRef"]["namespace"] != apps.system.as_str())
            .map(|e| e["requestURI"].as_str().unwrap())
            .collect();
        assert!(watches.len() == 1 && !watches[0].contains("/namespaces/"), "{kind}: {watches:?}");
    }
}
