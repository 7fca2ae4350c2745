//! The API server misbehaves at every single request of a ceremony, one after the other: on the operator's side and on the
//! laptop's. Whatever it does, no Secret changes, no YubiKey is used twice, and the ceremony ends well or can be repeated.

use serde_json::{Value, json};
use touchseal_keyring::OpenKeyring;
use touchseal_rig::faults::{Fault, FaultyServer};
use touchseal_rig::poll::eventually;
use touchseal_suites::cli::PIN;
use touchseal_suites::{DEADLINE, Laptop, Operator, SoftHolder, World};

/// Most requests of a ceremony: more would be a loop.
const MOST: usize = 60;

/// A sealed operator behind a faulty API server, unsealed again and again.
struct Scene {
    // Before the world: operators end before the cluster is handed on.
    _operator: Operator,
    server: FaultyServer,
    world: World,
    holder: SoftHolder,
    open: OpenKeyring,
    secret: Value,
    round: u32,
}

impl Scene {
    fn new(test: &str) -> Scene {
        let world = World::new(test);
        let holder = SoftHolder::generate("alice", 1);
        let (spec, open) = holder.create_keyring();
        world.apply_keyring("prod", &spec);
        let pod = world.cluster.stand_in_pod(&world.system, "touchseal-operator", "operator-0").unwrap();
        let kubeconfig = world
            .cluster
            .kubeconfig_for_service_account(&world.system, "touchseal-operator", Some(&pod))
            .unwrap();
        let server = FaultyServer::start(&kubeconfig, world.cluster.dir(), test).unwrap();
        let operator = Operator::start_through(&world.cluster, &world.system, pod, server.kubeconfig(), &[]);
        let recipient = open.recipient_spec(&world.apps).unwrap().recipient;
        let document = world.sops.encrypt("app.yaml", "password: x\n", &recipient);
        world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
        world.unseal("prod", &open, 1);
        world.wait_for("app", "True", "Materialised");
        let secret = world.secret("app").unwrap();
        Scene { world, server, holder, open, _operator: operator, secret, round: 0 }
    }

    /// Seals, and unseals again while the fault is planned; how many requests the operator made for it.
    fn ceremony(&mut self, fault: Option<(usize, Fault)>) -> usize {
        self.round += 1;
        self.server.plan(fault);
        self.world.seal("prod", &format!("round-{}", self.round));
        let request = self.world.requests(1).remove(0);
        self.world.release(&request, &self.open, &self.holder.entry.name, 1);
        self.world.wait_for_replicas("prod", 1);
        eventually(DEADLINE, &format!("no request left after {fault:?}"), || {
            let left = self.world.cluster.get(&["unsealrequests", "-n", &self.world.system]).unwrap();
            let left = left["items"].as_array().unwrap().len();
            if left == 0 { Ok(()) } else { Err(format!("{left} requests")) }
        })
        .unwrap();
        let status = &self.world.cluster.get(&["keyring", "prod"]).unwrap()["status"];
        assert_eq!(status["lastUnseal"]["holder"], "alice", "{fault:?}");
        assert_eq!(self.world.secret("app").unwrap(), self.secret, "{fault:?}: the Secret was written");
        self.server.seen().len()
    }

    fn every_request(&mut self, faults: &[Fault]) {
        let requests = self.ceremony(None);
        assert!((5..MOST).contains(&requests), "{requests} requests: {:?}", self.server.seen());
        for fault in faults {
            let mut met = 0;
            for at in 0..requests {
                self.ceremony(Some((at, *fault)));
                met += usize::from(self.server.met().is_some());
            }
            assert!(met >= requests / 2, "{fault:?}: {met} of {requests} were met");
        }
    }
}

#[test]
fn a_ceremony_survives_a_refusal_of_each_of_the_operators_requests() {
    Scene::new("faults-refused").every_request(&[Fault::Status(409), Fault::Status(500)]);
}

#[test]
fn a_ceremony_survives_a_lost_answer_to_each_of_the_operators_requests() {
    Scene::new("faults-lost").every_request(&[Fault::DropAfter]);
}

#[test]
fn a_ceremony_survives_a_busy_server_at_each_of_the_operators_requests() {
    Scene::new("faults-busy").every_request(&[Fault::Status(429), Fault::DropBefore]);
}

/// What the laptop's side does at each request: it ends well, or says what failed, and doing it again is right.
#[test]
fn the_laptop_survives_a_fault_at_each_of_its_requests() {
    let mut world = World::new("faults-laptop");
    let _operator = world.operator();
    let admin = world.cluster.admin_kubeconfig();
    let server = FaultyServer::start(&admin, world.cluster.dir(), "laptop").unwrap();
    let laptop = Laptop::new(server.kubeconfig());
    let key = laptop.key(0, 4_711);
    let spec = laptop.create_keyring("prod", "alice");
    world.apply_keyring("prod", &spec);
    let unseal =
        ["unseal", "--yes", "--timeout", "20s", "--operator-namespace", &world.system].map(str::to_owned);
    let unseal = unseal.each_ref().map(String::as_str);
    let run = |fault| {
        server.plan(fault);
        let before = key.counters();
        let said = laptop.run(&unseal, PIN);
        let after = key.counters();
        assert!(after.private_key_operations <= before.private_key_operations + 1, "{fault:?}: {}", said.err);
        assert!(after.pin_attempts <= before.pin_attempts + 1, "{fault:?}: {}", said.err);
        said
    };
    world.requests(1);
    run(None).ok();
    world.wait_for_replicas("prod", 1);
    let requests = server.seen().len();
    assert!((3..MOST).contains(&requests), "{:?}", server.seen());

    let (mut refused, mut round) = (0, 0);
    let faults = [
        Fault::Status(403),
        Fault::Status(409),
        Fault::Status(429),
        Fault::Status(500),
        Fault::DropBefore,
        Fault::DropAfter,
    ];
    for fault in faults {
        for at in 0..requests {
            round += 1;
            world.seal("prod", &format!("round-{round}"));
            world.requests(1);
            let said = run(Some((at, fault)));
            let place = format!("{fault:?} at {:?}", server.met());
            if said.code != 0 {
                refused += 1;
                assert!(said.err.contains("error: ") && said.err.contains("hint: "), "{place}: {}", said.err);
                assert!(!said.err.contains("panicked"), "{place}: {}", said.err);
            }
            // What the server did although its answer was lost counts; otherwise the same command again.
            run(None).ok();
            world.wait_for_replicas("prod", 1);
        }
    }
    assert!(refused >= requests, "{refused} faults were told: too few to mean anything");
}
