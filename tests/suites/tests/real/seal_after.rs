//! `sealAfter` on real parts: every replica drops its keys in time, whoever gave them to it, and only a holder unseals again.

use serde_json::Value;
use touchseal_keyring::manifest::{set_seal_after, verify};
use touchseal_rig::poll::eventually;
use touchseal_suites::world::condition;
use touchseal_suites::{DEADLINE, SoftHolder, World};

fn keyring(world: &World) -> Value {
    world.cluster.get(&["keyring", "prod"]).unwrap()
}

#[test]
fn every_replica_seals_itself_in_time_and_a_hand_over_prolongs_nothing() {
    let mut world = World::new("seal-after");
    let (plain, open) = SoftHolder::generate("alice", 1).create_keyring();
    let hour =
        verify(&set_seal_after(&verify(&plain).unwrap(), &open, Some("1h".to_owned())).unwrap()).unwrap();
    let open = open.reopen(&hour).unwrap();
    world.apply_keyring("prod", hour.spec());
    let first = world.operator();
    world.unseal("prod", &open, 1);
    let second = world.operator();
    world.wait_for_replicas("prod", 2);
    let replicas = keyring(&world)["status"]["replicas"].clone();
    let ends: Vec<_> = replicas.as_array().unwrap().iter().map(|r| r["sealsAt"].clone()).collect();
    assert!(ends[0].is_string() && ends[0] == ends[1], "both count from the holder's release: {replicas}");
    assert!(replicas.to_string().contains("handedOverBy"), "{replicas}");

    // A new span counts from the same release: a second has long passed.
    let short = verify(&set_seal_after(&hour, &open, Some("1s".to_owned())).unwrap()).unwrap();
    world.apply_keyring("prod", short.spec());
    world.wait_for_replicas("prod", 0);
    let object = keyring(&world);
    let unsealed = condition(&object, "Unsealed");
    assert_eq!(
        (&unsealed["status"], &unsealed["reason"]),
        (&"False".into(), &"SealAfter".into()),
        "{unsealed}"
    );
    for operator in [&first, &second] {
        assert!(operator.metrics().contains("touchseal_keyring_unsealed{keyring=\"prod\"} 0"));
        let told = || {
            let events = world.cluster.get(&["events", "-n", "default"]).unwrap().to_string();
            events.contains(&format!("pod {} is sealed: its time", operator.pod.name))
        };
        eventually(DEADLINE, "the Event", told).unwrap();
    }

    // A holder unseals again, and again not for longer than a second.
    let open = open.reopen(&short).unwrap();
    for request in world.requests(2) {
        world.release(&request, &open, "alice", 1);
    }
    eventually(DEADLINE, "a release accepted and its end", || {
        let one = |operator: &touchseal_suites::Operator| {
            let metrics = operator.metrics();
            metrics.contains("touchseal_unseals_total{keyring=\"prod\"} 2")
                && metrics.contains("touchseal_keyring_unsealed{keyring=\"prod\"} 0")
        };
        one(&first) && one(&second)
    })
    .unwrap();
}
