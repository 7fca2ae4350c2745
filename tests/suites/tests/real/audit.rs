//! Every act with keys is written down, and nobody can flood what is written or keep the operator from answering.

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::{DEADLINE, Operator, SoftHolder, World};

/// The log lines of the audit, with their fields.
fn acts(operator: &Operator) -> Vec<Value> {
    let lines = operator.process.log();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "audit").map(|line| line["fields"].clone()).collect()
}

fn count(operator: &Operator, action: &str, outcome: &str) -> u64 {
    let label =
        format!("touchseal_audit_total{{keyring=\"prod\",action=\"{action}\",outcome=\"{outcome}\"}} ");
    let metrics = operator.metrics();
    let value = metrics.lines().find_map(|line| line.strip_prefix(&label));
    value.map_or(0, |value| value.parse().unwrap())
}

/// How many requests of this world's operator the API server has heard about a resource.
fn requests_about(world: &World, resource: &str) -> usize {
    let user = format!("system:serviceaccount:{}:touchseal-operator", world.system);
    let log = std::fs::read_to_string(world.cluster.audit_log()).unwrap();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let about = |e: &Value| e["user"]["username"] == user.as_str() && e["objectRef"]["resource"] == resource;
    events.filter(about).count()
}

#[test]
fn a_flood_of_garbage_is_counted_in_full_told_in_part_and_delays_nothing() {
    const MANY: u64 = 200;
    let mut world = World::new("audit");
    let (spec, open) = SoftHolder::generate("alice", 1).create_keyring();
    world.apply_keyring("prod", &spec);
    let operator = world.operator();
    let request = world.requests(1).remove(0);
    let name = request["metadata"]["name"].as_str().unwrap().to_owned();
    let nonce = request["status"]["nonce"].as_str().unwrap().to_owned();

    // No two alike, so that no two can be taken for one: each names another generation that is not there.
    for number in 0..MANY {
        let release = json!({
            "nonce": nonce, "generation": 2 + number, "holder": "mallory\nforged line", "serial": number,
            "encapsulatedKey": "", "ciphertext": "",
        });
        world.write_release(&name, &release);
    }
    let garbage = json!({
        "nonce": nonce, "generation": 1, "holder": "mallory", "serial": 9, "encapsulatedKey": "?", "ciphertext": "?",
    });
    world.write_release(&name, &garbage);
    eventually(DEADLINE, "the garbage to be counted", || count(&operator, "release", "garbage") == 1)
        .unwrap();
    // A watch may skip versions that were replaced at once, so not every one need have been seen.
    let refused = count(&operator, "release", "refused");
    assert!((MANY / 2..=MANY).contains(&refused), "{refused} of {MANY}");

    // The right one is taken at once.
    world.release(&request, &open, "alice", 1);
    world.wait_for_replicas("prod", 1);
    assert_eq!(count(&operator, "release", "accepted"), 1);
    let events = world.cluster.get(&["events", "-n", "default"]).unwrap();
    let told: Vec<_> =
        events["items"].as_array().unwrap().iter().filter(|e| e["reason"] == "ReleaseInvalid").collect();
    assert!((1..30).contains(&told.len()), "{} Events", told.len());
    assert!(requests_about(&world, "events") < 60, "{} writes", requests_about(&world, "events"));
    assert_eq!(requests_about(&world, "tokenreviews"), 0, "a release costs no review");

    world.seal("prod", "now");
    let acts = acts(&operator);
    let of = |outcome: &str| acts.iter().find(|act| act["outcome"] == outcome).cloned().unwrap_or_default();
    let accepted = of("accepted");
    let fields = ["action", "keyring", "holder", "serial", "pod", "request", "reason"]
        .map(|field| accepted[field].clone());
    let pod = &operator.pod.name;
    let request = format!("{pod}.prod");
    assert_eq!(json!(fields), json!(["release", "prod", "alice", 1, pod, request, ""]));
    assert_eq!(of("garbage")["holder"], "mallory");
    let refused_lines = acts.iter().filter(|act| act["outcome"] == "refused").count() as u64;
    assert_eq!(refused_lines, refused, "a line for each that is counted");
    let sealed = acts.iter().rfind(|act| act["action"] == "seal").unwrap();
    assert!(sealed["reason"].as_str().unwrap().contains("a person asked for it (now)"), "{sealed}");
    let status = world.cluster.get(&["keyring", "prod"]).unwrap()["status"].clone();
    assert_eq!((&status["holders"][0]["holder"], &status["holders"][1]), (&json!("alice"), &Value::Null));
}

/// The rights of an author in one namespace reach no request: making one, answering one, or looking at one.
#[test]
fn a_tenant_can_neither_make_requests_nor_answer_them() {
    let mut world = World::new("audit-tenant");
    let (spec, _) = SoftHolder::generate("alice", 1).create_keyring();
    world.apply_keyring("prod", &spec);
    let _operator = world.operator();
    world.requests(1);
    let apps = world.apps.clone();
    world.cluster.kubectl_stdout(&["create", "serviceaccount", "tenant", "-n", &apps]).unwrap();
    let subject = format!("--serviceaccount={apps}:tenant");
    for role in ["admin", "touchseal-author"] {
        world
            .cluster
            .kubectl_stdout(&["create", "rolebinding", role, "--clusterrole", role, &subject, "-n", &apps])
            .unwrap();
    }
    let kubeconfig = world.cluster.kubeconfig_for_service_account(&apps, "tenant", None).unwrap();
    let may = |verb: &str, resource: &str, namespace: &str| {
        let said = world
            .cluster
            .kubectl_as(&kubeconfig, &["auth", "can-i", verb, resource, "-n", namespace])
            .unwrap();
        String::from_utf8_lossy(&said.stdout).trim() == "yes"
    };
    eventually(DEADLINE, "the tenant's own rights", || {
        may("create", "encryptedsecrets.touchseal.dev", &apps)
    })
    .unwrap();
    for namespace in [apps.as_str(), world.system.as_str()] {
        for verb in ["create", "get", "list", "patch", "update", "delete"] {
            for resource in [
                "unsealrequests.touchseal.dev",
                "unsealrequests.touchseal.dev/status",
                "keyrings.touchseal.dev",
                "keyrings.touchseal.dev/status",
            ] {
                assert!(!may(verb, resource, namespace), "{verb} {resource} in {namespace}");
            }
        }
    }
}
