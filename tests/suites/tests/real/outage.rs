//! The API server dies (kill -9) and comes back in the middle of a ceremony. Every session, proof and release is still good
//! afterwards: one private-key operation, whenever it happens, and the state ends as it would have.

use serde_json::json;
use touchseal_rig::poll::eventually;
use touchseal_rig::process::Signal;
use touchseal_softkey::SoftKey;
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::world::value;
use touchseal_suites::{DEADLINE, Laptop, Operator, World};

/// A world with sealed operators, and a laptop whose YubiKey holds keyring `prod`.
struct Scene {
    // Before the world: operators end before the cluster is handed on.
    operators: Vec<Operator>,
    laptop: Laptop,
    key: SoftKey,
    world: World,
}

impl Scene {
    fn new(test: &str, replicas: usize) -> Scene {
        let mut world = World::new(test);
        let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
        let key = laptop.key(0, 4_711);
        world.apply_keyring("prod", &laptop.create_keyring("prod", "alice"));
        let operators = (0..replicas).map(|_| world.operator()).collect();
        world.requests(replicas);
        Scene { operators, laptop, key, world }
    }

    fn unseal_arguments(&self) -> [&str; 6] {
        ["unseal", "--yes", "--timeout", "60s", "--operator-namespace", &self.world.system]
    }

    /// An EncryptedSecret that is served, as a sign that everything works.
    fn serve(&self, password: &str) {
        let recipient = self.world.recipient(&self.world.apps, "prod");
        let document = self.world.sops.encrypt("app.yaml", &format!("password: {password}\n"), &recipient);
        self.world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
        self.world.wait_for("app", "True", "Materialised");
        assert_eq!(self.password().as_deref(), Some(password.as_bytes()));
    }

    fn password(&self) -> Option<Vec<u8>> {
        self.world.secret("app").and_then(|secret| value(&secret, "password"))
    }

    fn requests_left(&self) -> usize {
        let list = self.world.cluster.get(&["unsealrequests", "-n", &self.world.system]).unwrap();
        list["items"].as_array().unwrap().len()
    }

    fn no_request_is_left(&self) {
        let left = || match self.requests_left() {
            0 => Ok(()),
            left => Err(format!("{left} requests")),
        };
        eventually(DEADLINE, "no request to be left", left).unwrap();
    }
}

#[test]
fn between_request_and_release() {
    let scene = Scene::new("outage-request", 2);
    let before = scene.key.counters();
    let waiting = scene.world.requests(2);
    scene.world.cluster.restart_apiserver().unwrap();
    let said = scene.laptop.run(&scene.unseal_arguments(), PIN).ok();
    assert_eq!(said.out.matches("Unsealed").count(), 2, "{}", said.out);
    scene.world.wait_for_replicas("prod", 2);
    scene.no_request_is_left();
    let after = scene.key.counters();
    assert_eq!(after.private_key_operations - before.private_key_operations, 1);
    assert_eq!(after.pin_attempts - before.pin_attempts, 1);
    assert!(waiting.iter().all(|request| request["status"]["proof"].is_string()));
    scene.serve("first");
}

#[test]
fn between_the_release_and_the_operator_reading_it() {
    let mut scene = Scene::new("outage-release", 1);
    let before = scene.key.counters();
    // It cannot read what is written meanwhile.
    scene.operators[0].process.signal(Signal::STOP).unwrap();
    let child = scene.laptop.start(&scene.unseal_arguments(), PIN);
    eventually(DEADLINE, "the release to be written", || {
        let list = scene.world.cluster.get(&["unsealrequests", "-n", &scene.world.system]).unwrap();
        list["items"][0]["spec"]["release"].is_object()
    })
    .unwrap();
    scene.world.cluster.kill_apiserver();
    // It wakes up to an API server that is gone.
    scene.operators[0].process.signal(Signal::CONT).unwrap();
    scene.world.cluster.restart_apiserver().unwrap();
    let said = Said::from(child.wait_with_output().unwrap()).ok();
    assert!(said.out.contains("Unsealed"), "{}", said.out);
    scene.world.wait_for_replicas("prod", 1);
    scene.no_request_is_left();
    let after = scene.key.counters();
    assert_eq!(after.private_key_operations - before.private_key_operations, 1);
    assert_eq!(after.pin_attempts - before.pin_attempts, 1);
    scene.serve("first");
}

/// One replica has dropped its keys and the other has not heard of it when the API server dies: no hand-over undoes the seal.
#[test]
fn during_a_seal() {
    let mut scene = Scene::new("outage-seal", 2);
    scene.laptop.run(&scene.unseal_arguments(), PIN).ok();
    scene.world.wait_for_replicas("prod", 2);
    scene.serve("first");
    let before = scene.key.counters();
    let secret = scene.world.secret("app").unwrap();
    scene.operators[1].process.signal(Signal::STOP).unwrap();
    let seal = ["seal", "--timeout", "60s", "--operator-namespace", &scene.world.system];
    let child = scene.laptop.start_plain(&seal);
    scene.world.wait_for_replicas("prod", 1);
    scene.world.cluster.kill_apiserver();
    scene.operators[1].process.signal(Signal::CONT).unwrap();
    scene.world.cluster.restart_apiserver().unwrap();
    let said = Said::from(child.wait_with_output().unwrap()).ok();
    assert_eq!(said.out.matches("Sealed").count(), 2, "{}", said.out);
    scene.world.wait_for_replicas("prod", 0);
    // Both ask, and nobody answers: it stays sealed.
    for request in scene.world.requests(2) {
        assert!(request["spec"]["release"].is_null(), "{}", request["metadata"]["name"]);
    }
    let status = scene.world.cluster.get(&["keyring", "prod"]).unwrap()["status"].clone();
    assert_eq!(status["unsealedReplicas"], 0);
    assert_eq!(scene.world.secret("app").unwrap(), secret, "a seal changes no Secret");
    let after = scene.key.counters();
    let used = (after.private_key_operations, after.pin_attempts);
    assert_eq!(used, (before.private_key_operations, before.pin_attempts), "sealing needs no YubiKey");
    for operator in &scene.operators {
        assert!(operator.metrics().contains("touchseal_keyring_unsealed{keyring=\"prod\"} 0"));
    }

    scene.laptop.run(&scene.unseal_arguments(), PIN).ok();
    scene.world.wait_for_replicas("prod", 2);
    assert_eq!(scene.key.counters().private_key_operations - before.private_key_operations, 1);
    scene.no_request_is_left();
    scene.serve("second");
}
