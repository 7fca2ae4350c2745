//! Several operators at once: one of them writes, unsealed ones unseal others, and neither kill -9 nor a process that was
//! stopped costs a number, a change or a key.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use touchseal_crds::keyring::HandOver;
use touchseal_keyring::manifest;
use touchseal_rig::poll::eventually;
use touchseal_rig::process::Signal;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::search::find;
use touchseal_suites::world::value;
use touchseal_suites::{Apps, DEADLINE, Laptop, Needle, Operator, SHIPPED_LEASE, SoftHolder, World};

/// Waits until the Secret holds this content, and says which generation it is.
pub fn served(apps: &Apps, name: &str, password: &str) -> i64 {
    eventually(DEADLINE, &format!("Secret {name} with {password}"), || {
        let held = apps.secret(name).and_then(|secret| value(&secret, "password"));
        if held.as_deref() == Some(password.as_bytes()) { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .unwrap();
    eventually(DEADLINE, &format!("EncryptedSecret {name} to say so"), || {
        let object = apps.encrypted_secret(name);
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let held = apps.secret(name)?["metadata"]["annotations"]["touchseal.dev/secret-generation"].clone();
        let said = object["status"]["secretGeneration"].as_i64()?;
        (current && held == said.to_string().as_str()).then_some(said)
    })
    .unwrap()
}

fn replica(world: &World, pod: &str) -> Option<Value> {
    let status = world.cluster.get(&["keyring", KEYRING]).unwrap()["status"].clone();
    status["replicas"].as_array()?.iter().find(|replica| replica["pod"] == pod).cloned()
}

/// Sealed waiting requests of a keyring.
fn waiting(world: &World, keyring: &str) -> Vec<Value> {
    let list = world.cluster.get(&["unsealrequests", "-n", &world.system]).unwrap();
    let requests = list["items"].as_array().unwrap().iter();
    requests.filter(|request| request["spec"]["keyring"] == keyring).cloned().collect()
}

pub fn delete_pod(world: &World, pod: &str) {
    let force = ["--force", "--grace-period=0"];
    world
        .cluster
        .kubectl_stdout(&[&["delete", "pod", pod, "-n", &world.system][..], &force].concat())
        .unwrap();
}

#[test]
fn a_rolling_update_needs_no_holder() {
    let mut apps = Apps::new("replicas-roll");
    let second = apps.world.operator();
    apps.wait_for_replicas(KEYRING, 2);
    let handed = replica(&apps, &second.pod.name).unwrap();
    assert_eq!(handed["unsealedBy"]["handedOverBy"], apps.operator.pod.name.as_str());
    assert_eq!(handed["unsealedBy"]["holder"], "alice");
    apps.apply_yaml("app", "password: first\n");
    assert_eq!(served(&apps, "app", "first"), 1);

    // As a Deployment does it: one more, then one less, until all are new.
    let mut old = Some(second);
    for round in 1..=2 {
        let newer = apps.world.operator_with(&["--hand-over-wait=60s"]);
        let unsealed = "touchseal_keyring_unsealed{keyring=\"prod\"} 1";
        assert!(newer.metrics().contains(unsealed), "it said it was ready before it was unsealed");
        apps.wait_for_replicas(KEYRING, 3);
        let mut ended = match round {
            1 => std::mem::replace(&mut apps.operator, newer),
            _ => old.replace(newer).unwrap(),
        };
        ended.process.signal(Signal::TERM).unwrap();
        assert!(ended.process.wait(DEADLINE).unwrap().success());
        delete_pod(&apps, &ended.pod.name);
        // The leader forgets replicas whose pod is gone.
        apps.wait_for_replicas(KEYRING, 2);
        assert!(replica(&apps, &ended.pod.name).is_none());
        apps.apply_yaml("app", &format!("password: round-{round}\n"));
        assert_eq!(served(&apps, "app", &format!("round-{round}")), 1 + round);
    }

    let status = apps.cluster.get(&["keyring", KEYRING]).unwrap()["status"].clone();
    assert_eq!(status["lastUnseal"]["holder"], "alice");
    assert!(status["lastUnseal"]["handedOverBy"].is_null(), "a hand-over is no act of a holder");
    let told = apps.cluster.kubectl_stdout(&["describe", "keyring", KEYRING]).unwrap();
    assert!(
        told.contains("handed the keyring over to pod") && told.contains("by a hand-over from pod"),
        "{told}"
    );
}

/// Within the lease as it is shipped, counted from the kill to the answer to the other's write of the Secret, by the clock of this
/// machine. A fifth of it is left for the other to begin in, also where the machine is busy with other tests.
#[test]
fn when_the_leader_is_killed_another_writes_within_the_lease() {
    const LEASE: Duration = Duration::from_secs(15);
    let mut apps = Apps::with("replicas-kill", &SHIPPED_LEASE);
    apps.apply_yaml("app", "password: round-0\n");
    assert_eq!(served(&apps, "app", "round-0"), 1);
    for round in 1..=3 {
        let second = apps.world.operator_with(&SHIPPED_LEASE);
        apps.wait_for_replicas(KEYRING, 2);
        assert!(apps.operator.leads() && !second.leads());
        let password = format!("round-{round}");
        let document = apps.encrypt("app.yaml", &format!("password: {password}\n"));

        apps.operator.process.kill();
        let killed = Timestamp::now();
        apps.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
        assert_eq!(served(&apps, "app", &password), 1 + round);
        let writes = apps.shared_writes(&second.pod.name);
        let of_secret = |e: &&Value| e["objectRef"]["resource"] == "secrets" && World::was_done(e);
        let written = writes.iter().filter(of_secret).map(World::answered).min().unwrap();
        let took = Duration::try_from(written.duration_since(killed)).unwrap();
        println!("round {round}: written {took:?} after the leader was killed; the lease is {LEASE:?}");
        assert!(took < LEASE, "it took {took:?}");
        delete_pod(&apps, &apps.operator.pod.name);
        apps.operator = second;
        apps.wait_for_replicas(KEYRING, 1);
    }
}

/// Every change gets one number, whoever is killed meanwhile and however.
#[test]
fn changes_while_leaders_end_are_numbered_once_each() {
    let mut apps = Apps::new("replicas-loop");
    let mut operators = vec![apps.world.operator()];
    apps.wait_for_replicas(KEYRING, 2);
    let first = apps.world.operator();
    operators.push(std::mem::replace(&mut apps.operator, first));
    apps.wait_for_replicas(KEYRING, 3);
    let names = ["one", "two", "three"];
    for round in 1..=5_i64 {
        let password = format!("round-{round}");
        for name in names {
            apps.apply_yaml(name, &format!("password: {password}\n"));
        }
        // Somewhere in the middle of the work.
        if round > 1 {
            let which = operators.iter().position(Operator::leads);
            if let Some(mut ended) = which.map(|which| operators.remove(which)) {
                match round % 2 {
                    0 => ended.process.kill(),
                    _ => ended.process.signal(Signal::TERM).unwrap(),
                }
                drop(ended);
                operators.push(apps.world.operator());
            }
        }
        for name in names {
            assert_eq!(served(&apps, name, &password), round, "{name}");
        }
    }
    let leaders = operators.iter().chain([&apps.operator]).filter(|operator| operator.leads()).count();
    assert_eq!(leaders, 1);
}

/// A leader that was stopped, as by a machine that stalls, goes on in the middle of its work: not with its writes.
#[test]
fn a_leader_that_was_stopped_writes_nothing_after_its_lease() {
    let mut apps = Apps::new("replicas-stop");
    let second = apps.world.operator();
    apps.wait_for_replicas(KEYRING, 2);
    let names: Vec<String> = (0..20).map(|number| format!("app-{number}")).collect();
    let apply = |apps: &Apps, password: &str| {
        let document = apps.encrypt("app.yaml", &format!("password: {password}\n"));
        let object = |name: &String| {
            json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
                    "metadata": { "name": name, "namespace": apps.apps }, "spec": { "documents": [{ "sops": document }] } })
        };
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": names.iter().map(object).collect::<Vec<_>>() });
        apps.cluster.apply(&list.to_string()).unwrap();
    };
    apply(&apps, "first");
    names.iter().for_each(|name| assert_eq!(served(&apps, name, "first"), 1));
    let old = apps.operator.pod.name.clone();
    assert!(apps.operator.leads() && apps.shared_writes_of(&old) >= 40);

    // Work that it has begun.
    apply(&apps, "second");
    apps.operator.process.signal(Signal::STOP).unwrap();
    names.iter().for_each(|name| assert_eq!(served(&apps, name, "second"), 2));
    // What was on its way when it was stopped may arrive, and names a version that is gone.
    let done = |apps: &Apps| apps.shared_writes(&old).iter().filter(|event| World::was_done(event)).count();
    let written = done(&apps);
    eventually(DEADLINE, "another leader", || second.leads()).unwrap();

    apps.operator.process.signal(Signal::CONT).unwrap();
    apply(&apps, "third");
    names.iter().for_each(|name| assert_eq!(served(&apps, name, "third"), 3));
    // It has noticed, and is alive and unsealed: it takes part again.
    eventually(DEADLINE, "the old leader to know", || (!apps.operator.leads()).then_some(())).unwrap();
    assert_eq!(done(&apps), written, "it wrote after its lease");
    assert!(apps.operator.metrics().contains("touchseal_keyring_unsealed{keyring=\"prod\"} 1"));

    drop(second);
    apply(&apps, "fourth");
    names.iter().for_each(|name| assert_eq!(served(&apps, name, "fourth"), 4));
    assert!(apps.operator.leads());
}

#[test]
fn a_hand_over_that_the_keyring_forbids_does_not_happen() {
    let mut world = World::new("replicas-deny");
    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    let denied = manifest::set_hand_over(&manifest::verify(&spec).unwrap(), &open, HandOver::Deny).unwrap();
    let open = holder.open(&denied);
    // Another keyring, whose hand-over shows that there was time enough.
    let (control, control_open) = SoftHolder::generate("carol", 3).create_keyring();
    world.apply_keyring(KEYRING, &denied);
    world.apply_keyring("control", &control);
    let _first = world.operator();
    for request in world.requests(2) {
        let keyring = if request["spec"]["keyring"] == KEYRING { &open } else { &control_open };
        world.release(&request, keyring, "alice", 1);
    }
    world.wait_for_replicas(KEYRING, 1);
    let second = world.operator();
    world.wait_for_replicas("control", 2);
    let requests = waiting(&world, KEYRING);
    assert!(requests.len() == 1 && requests[0]["spec"]["release"].is_null(), "{requests:?}");
    assert_eq!(replica(&world, &second.pod.name).unwrap()["state"], "Sealed");

    // The holders change their mind; no YubiKey is needed at the cluster.
    let verified = manifest::verify(&denied).unwrap();
    world.apply_keyring(KEYRING, &manifest::set_hand_over(&verified, &open, HandOver::Allow).unwrap());
    world.wait_for_replicas(KEYRING, 2);
}

/// Whoever may write requests gets nothing for it: the proof is checked as a holder checks it.
#[test]
fn a_forged_request_is_told_and_not_answered() {
    let mut world = World::new("replicas-forged");
    let (spec, open) = SoftHolder::generate("alice", 1).create_keyring();
    world.apply_keyring(KEYRING, &spec);
    let first = world.operator();
    let real = world.requests(1).remove(0);
    world.release(&real, &open, "alice", 1);
    world.wait_for_replicas(KEYRING, 1);

    world.cluster.kubectl_stdout(&["create", "serviceaccount", "mallory", "-n", &world.system]).unwrap();
    let pod = world.cluster.stand_in_pod(&world.system, "mallory", "mallory").unwrap();
    let mine = touchseal_keyring::Session::generate();
    let audience = mine.audience(open.id());
    let stolen = world.cluster.token(&world.system, "touchseal-operator", Some(&first.pod), None).unwrap();
    let own = world.cluster.token(&world.system, "mallory", Some(&pod), Some(&audience)).unwrap();
    let old = real["status"]["proof"].as_str().unwrap().to_owned();
    let forged = [
        ("own-account", "mallory", own),
        ("stolen-token", "mallory", stolen),
        ("replayed-proof", "mallory", old),
        ("no-token", "mallory", "made.up.token".to_owned()),
    ];
    for (name, pod, proof) in &forged {
        let request = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "UnsealRequest",
            "metadata": { "name": name, "namespace": world.system }, "spec": { "keyring": KEYRING, "pod": pod },
        });
        world.cluster.apply(&request.to_string()).unwrap();
        let expires = real["status"]["proofExpiresAt"].clone();
        world.write_request_status(
            name,
            &json!({ "sessionKey": mine.public_key(), "nonce": mine.nonce(), "proof": proof, "proofExpiresAt": expires }),
        );
    }
    for (name, ..) in &forged {
        eventually(DEADLINE, &format!("a word about {name}"), || {
            let told = world.cluster.kubectl_stdout(&["describe", "keyring", KEYRING]).unwrap();
            let said = format!("request {name} is not answered");
            if told.contains("RequestForged") && told.contains(&said) { Ok(()) } else { Err(told) }
        })
        .unwrap();
    }
    // An honest one is answered, and still none of these.
    let _second = world.operator();
    world.wait_for_replicas(KEYRING, 2);
    for request in waiting(&world, KEYRING) {
        assert!(request["spec"]["release"].is_null(), "{} was answered", request["metadata"]["name"]);
    }
}

/// The panic button, with a replica among them that does not answer.
#[test]
fn sealing_reaches_every_replica_and_names_the_one_that_does_not_answer() {
    let mut world = World::new("replicas-seal");
    let holder = SoftHolder::generate("alice", 1);
    let master: [u8; 32] = rand::random();
    let (spec, open) = holder.create_keyring_of(&master);
    world.apply_keyring(KEYRING, &spec);
    let mut operators = vec![world.operator()];
    world.unseal(KEYRING, &open, 1);
    operators.extend([world.operator(), world.operator()]);
    world.wait_for_replicas(KEYRING, 3);
    let needles = Needle::halves("the master", &master);
    let found = |operator: &Operator| -> usize {
        operator.memory().iter().map(|(_, bytes)| find(&needles, bytes).len()).sum()
    };
    for operator in &operators {
        assert!(found(operator) >= 2, "{} is unsealed and its master is not found", operator.pod.name);
    }

    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let seal = ["seal", "--operator-namespace", &world.system, "--timeout"];
    let silent = operators[1].pod.name.clone();
    operators[1].process.signal(Signal::STOP).unwrap();
    let said = laptop.run_plain(&[&seal[..], &["5s"]].concat());
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.err.contains(&silent) && said.out.matches("Sealed").count() == 2, "{said:?}");

    operators[1].process.signal(Signal::CONT).unwrap();
    let said = laptop.run_plain(&[&seal[..], &["60s"]].concat()).ok();
    assert_eq!(said.out.matches("Sealed").count(), 3, "{}", said.out);
    world.requests(3);
    for operator in &operators {
        assert_eq!(found(operator), 0, "the master is in the memory of {}", operator.pod.name);
    }
    world.wait_for_replicas(KEYRING, 0);
}
