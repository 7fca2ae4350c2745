//! Sealed is a normal state: what was served stays as it is, what is new waits, and everybody can see which is which.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::world::condition;
use touchseal_suites::{DEADLINE, Operator, SoftHolder, World};

const OBJECTS: usize = 50;

#[test]
fn a_sealed_operator_changes_nothing_and_catches_up_once_unsealed() {
    let mut world = World::new("sealed");
    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    world.apply_keyring("prod", &spec);
    let operator = world.operator();
    world.unseal("prod", &open, 1);
    let recipient = world.recipient(&world.apps, "prod");
    let document = world.sops.encrypt("app.yaml", "password: first\n", &recipient);
    apply_all(&world, &document, 0..OBJECTS);
    wait_for_all(&world, OBJECTS, "every object served", |_, ready| ready["status"] == "True");
    let secrets = versions(&world, "secrets");
    assert!(secrets.len() >= OBJECTS);
    let before = versions(&world, "encryptedsecrets");

    // The only replica crashes and its container is started anew.
    let pod = operator.pod.clone();
    drop(operator);
    let operator = Operator::start_as(&world.cluster, &world.system, pod);
    world.wait_for_replicas("prod", 0);
    let request = world.requests(1);
    let lists = operator.metrics();
    // It has looked at every object and found nothing to do.
    eventually(DEADLINE, "every object looked at", || {
        let page = operator.metrics();
        let looked = page.lines().find_map(|line| {
            line.strip_prefix("touchseal_reconciles_total{outcome=\"Materialised\"} ")?.parse::<usize>().ok()
        });
        if looked.unwrap_or(0) >= OBJECTS { Ok(()) } else { Err(format!("{page}, first {lists}")) }
    })
    .unwrap();
    assert_eq!(versions(&world, "encryptedsecrets"), before, "no status is written where nothing changed");
    assert_eq!(versions(&world, "secrets"), secrets);
    for probe in ["/healthz", "/readyz"] {
        assert!(operator.probe(probe).starts_with("HTTP/1.1 200 "), "{probe} while sealed");
    }

    // Some change, one is new, one is deleted by hand: all of that waits. The others stay Ready.
    let changed = world.sops.encrypt("app.yaml", "password: second\n", &recipient);
    apply_all(&world, &changed, 0..5);
    apply_all(&world, &document, OBJECTS..OBJECTS + 1);
    for number in 0..5 {
        let waits = world.wait_for(&name(number), "False", "Sealed");
        let message = condition(&waits, "Ready")["message"].as_str().unwrap();
        assert!(message.contains("keeps generation 1") && message.contains("touchseal unseal"), "{message}");
        assert!(condition(&waits, "Stalled").is_null(), "somebody else's turn is not the author's fault");
    }
    world.wait_for(&name(OBJECTS), "False", "Sealed");
    assert!(world.secret(&name(OBJECTS)).is_none());
    for number in 5..OBJECTS {
        let object = world.encrypted_secret(&name(number));
        assert_eq!(condition(&object, "Ready")["status"], "True", "{number}");
    }
    assert_eq!(versions(&world, "secrets"), secrets, "not one Secret changed while sealed");

    world.release(&request[0], &open, "alice", 1);
    world.wait_for_replicas("prod", 1);
    for number in 0..5 {
        world.wait_for_generation(&name(number), 2);
    }
    wait_for_all(&world, OBJECTS + 1, "every object served again", |_, ready| ready["status"] == "True");
    let after = versions(&world, "secrets");
    for (secret, version) in &secrets {
        let changed = (0..5).any(|number| *secret == name(number));
        assert_eq!(after[secret] != *version, changed, "{secret}");
    }
}

fn name(number: usize) -> String {
    format!("app-{number}")
}

fn apply_all(world: &World, document: &str, numbers: std::ops::Range<usize>) {
    let objects: Vec<Value> = numbers
        .map(|number| {
            json!({
                "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
                "metadata": { "name": name(number), "namespace": world.apps },
                "spec": { "documents": [{ "sops": document }] },
            })
        })
        .collect();
    world
        .cluster
        .apply(&json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string())
        .unwrap();
}

fn wait_for_all(world: &World, count: usize, what: &str, done: impl Fn(&Value, &Value) -> bool) {
    eventually(DEADLINE, what, || {
        let list = world.cluster.get(&["encryptedsecrets", "-n", &world.apps]).unwrap();
        let items = list["items"].as_array().unwrap();
        let so_far = items.iter().filter(|object| done(object, condition(object, "Ready"))).count();
        if so_far == count { Ok(()) } else { Err(format!("{so_far} of {count}")) }
    })
    .unwrap();
}

/// The resourceVersion of every object of a kind in the test's namespace.
fn versions(world: &World, kind: &str) -> BTreeMap<String, String> {
    let list = world.cluster.get(&[kind, "-n", &world.apps]).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|o| (text(&o["metadata"]["name"]), text(&o["metadata"]["resourceVersion"]))).collect()
}
