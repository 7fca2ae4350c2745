//! Two operators by mistake: installed twice, in two namespaces, each with a Lease, a ledger and a pin of its own, so that both lead.
//! (Two of which one does not ask who leads: suite `generations`. A leader that does not know of another: `partition`, `replicas`.)

use std::time::Duration;

use serde_json::json;
use touchseal_keyring::{Offer, seal_release};
use touchseal_rig::poll::eventually;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::{DEADLINE, Launch, Operator, Ordeal, chart};

/// Longer than any back-off of those who find that the other was quicker.
const AT_REST: Duration = Duration::from_secs(2);

#[test]
fn installed_twice_two_leaders_serve_the_right_secrets_and_give_no_number_twice() {
    let mut ordeal = Ordeal::new("doubles", 85, 1);
    let other = install_again(&ordeal);
    let unseals = ordeal.unseals;
    ordeal.model().two_ledgers = true;
    for _ in 0..2 {
        assert!(
            ordeal.operators[0].leads() && other.leads(),
            "one of them does not take itself for the leader"
        );
        ordeal.storm.strokes(3);
        ordeal.storm.change_all();
        println!("right {:.1?} after the changes", ordeal.settle());
        // Statuses they go on writing against each other for a while, each by its own ledger; of Secrets they leave off.
        let mut before = ordeal.world.versions("secrets");
        eventually(DEADLINE, "Secrets that nobody writes any more", || {
            std::thread::sleep(AT_REST);
            let now = ordeal.world.versions("secrets");
            std::mem::replace(&mut before, now.clone()) == now
        })
        .unwrap();
    }
    let mut before = ordeal.world.versions("encryptedsecrets");
    eventually(DEADLINE, "statuses that each leaves to the other for longer and longer", || {
        std::thread::sleep(AT_REST);
        let now = ordeal.world.versions("encryptedsecrets");
        let before = std::mem::replace(&mut before, now.clone());
        let written = now.iter().filter(|(object, version)| before.get(*object) != Some(version)).count();
        if written * 4 <= now.len() {
            Ok(())
        } else {
            Err(format!("{written} of {} in {AT_REST:?}", now.len()))
        }
    })
    .unwrap();
    let wrote = |operator: &Operator| ordeal.world.shared_writes_of(&operator.pod.name);
    let writes = other.metric("touchseal_secret_writes_total");
    println!(
        "writes of the other: {writes} of Secrets; of the first: {} in all",
        wrote(&ordeal.operators[0])
    );
    assert!(writes > 0, "the other never came first: two who do not meet show nothing");

    // The mistake is put right: one of them goes, and the one that stays needs nobody.
    drop(other);
    ordeal.model().two_ledgers = false;
    ordeal.storm.strokes(3);
    ordeal.storm.change_all();
    ordeal.settle();
    assert_eq!(ordeal.unseals, unseals);
}

/// The same chart in another namespace, unsealed by its own request.
fn install_again(ordeal: &Ordeal) -> Operator {
    let (world, namespace) = (&ordeal.world, format!("{}-b", ordeal.world.system));
    world.cluster.namespace(&namespace).unwrap();
    let mut objects = chart::render(&namespace, &["priorityClass.create=false", "crds.install=false"]);
    objects.retain(|object| object["kind"] != "Deployment");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    world.cluster.apply(&list.to_string()).unwrap();
    let pod = world.cluster.stand_in_pod(&namespace, "touchseal-operator", "operator-b").unwrap();
    let operator = Operator::launch(&world.cluster, &namespace, pod, Launch::default());
    eventually(DEADLINE, "the other operator to be unsealed", || {
        let requests = world.cluster.get(&["unsealrequests.touchseal.dev", "-n", &namespace]).ok()?;
        let request = requests["items"].as_array()?.first()?.clone();
        let text = |pointer: &str| request.pointer(pointer)?.as_str();
        let offer = Offer::parse(text("/status/sessionKey")?, text("/status/nonce")?).ok()?;
        let release = seal_release(&ordeal.keyring, &offer, "alice", 1).ok()?;
        let (name, patch) = (text("/metadata/name")?, json!({ "spec": { "release": release } }).to_string());
        let patch = ["patch", "unsealrequest", name, "-n", &namespace, "--type=merge", "-p", &patch];
        world.cluster.kubectl_stdout(&patch).ok()
    })
    .unwrap();
    eventually(DEADLINE, "the other operator to serve", || operator.is_unsealed(KEYRING) && operator.leads())
        .unwrap();
    operator
}
