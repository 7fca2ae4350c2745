//! `touchseal unseal --stay` with the shipped rights: a YubiKey left in a node brings the cluster back alone, and nothing
//! it does alone can use up its PIN.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::json;
use touchseal_keyring::manifest;
use touchseal_rig::poll::eventually;
use touchseal_rig::process::{self, Process};
use touchseal_softkey::SoftKey;
use touchseal_suites::cli::PIN;
use touchseal_suites::{DEADLINE, Laptop, World, binaries, chart, rights};

/// A node with a reader, whose ServiceAccount has what is shipped.
struct Edge {
    laptop: Laptop,
    key: SoftKey,
    fingerprint: String,
    kubeconfig: PathBuf,
    pin_file: PathBuf,
    starts: u32,
    world: World,
}

impl Edge {
    fn new(test: &str, touch: &str) -> Edge {
        let world = World::new(test);
        let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
        let key = laptop.key(0, 4_711);
        let create = ["keyring", "create", "prod", "--holder", "edge-1", "--touch-policy", touch];
        laptop.run(&create, PIN).ok();
        let spec = laptop.manifest("prod");
        world.apply_keyring("prod", &spec);
        let fingerprint = manifest::verify(&spec).unwrap().fingerprint().to_string();
        let namespace = format!("{test}-node-key");
        world.upgrade(&as_refs(&values(&namespace, &fingerprint)));
        let kubeconfig =
            world.cluster.kubeconfig_for_service_account(&namespace, "touchseal-node-key", None).unwrap();
        let pin_file = world.cluster.dir().join(format!("{test}.pin"));
        let edge = Edge { laptop, key, fingerprint, kubeconfig, pin_file, starts: 0, world };
        edge.write_pin(PIN);
        edge
    }

    fn write_pin(&self, pin: &str) {
        fs::write(&self.pin_file, format!("{pin}\n")).unwrap();
        fs::set_permissions(&self.pin_file, fs::Permissions::from_mode(0o400)).unwrap();
    }

    /// Starts the process of the node's container.
    fn start(&mut self, more: &[&str]) -> Process {
        let fingerprint = format!("--fingerprint={}", self.fingerprint);
        self.start_plain(&[&[fingerprint.as_str()], more].concat())
    }

    /// The same without a fingerprint.
    fn start_plain(&mut self, more: &[&str]) -> Process {
        self.starts += 1;
        let name = format!("node-key-{}", self.starts);
        let mut command = process::command(binaries::touchseal());
        command
            .args(["unseal", "--stay", "--serial=4711", "--operator-namespace", &self.world.system])
            .arg("--pin-file")
            .arg(&self.pin_file)
            .args(more)
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PCSCLITE_CSOCK_NAME", self.laptop.reader.socket());
        let log = self.world.cluster.dir().join(format!("{}.{name}.log", self.world.system));
        process::spawn(&name, command, &log).unwrap()
    }
}

/// Values of the chart. The namespace is the test's own, for that of the test before may still be on its way out.
fn values(namespace: &str, fingerprint: &str) -> [String; 5] {
    [
        "nodeKey.enabled=true".to_owned(),
        "nodeKey.serial=4711".to_owned(),
        format!("nodeKey.namespace={namespace}"),
        format!("nodeKey.fingerprint={fingerprint}"),
        r"nodeKey.nodeSelector.kubernetes\.io/hostname=edge-1".to_owned(),
    ]
}

fn as_refs(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}

fn says(node: &mut Process, words: &[&str]) {
    eventually(DEADLINE, &format!("the node to say {words:?}"), || {
        let log = node.log();
        assert!(node.exited().is_none(), "it ended:\n{log}");
        if words.iter().all(|word| log.contains(word)) { Ok(()) } else { Err(log) }
    })
    .unwrap();
}

/// How it ended, after saying all of `words`.
fn ends(mut node: Process, code: i32, words: &[&str]) {
    let status = node.wait(DEADLINE);
    let log = node.log();
    assert_eq!(status.unwrap().code(), Some(code), "{log}");
    for word in words.iter().chain(&["error: ", "hint: "]) {
        assert!(log.contains(word), "no {word:?} in:\n{log}");
    }
    assert!(!log.contains(PIN), "the PIN is in the log");
}

#[test]
fn a_cluster_comes_back_alone_and_a_pulled_key_seals_it() {
    let mut edge = Edge::new("node-alone", "never");
    edge.laptop.run(&["keyring", "on-key-removal", "seal", "-f", "prod.keyring.yaml"], PIN).ok();
    edge.world.apply_keyring("prod", &edge.laptop.manifest("prod"));
    let operators = [edge.world.operator(), edge.world.operator()];
    edge.world.requests(2);
    let before = edge.key.counters();
    let mut node = edge.start(&[]);
    edge.world.wait_for_replicas("prod", 2);
    let after = edge.key.counters();
    assert_eq!(after.private_key_operations - before.private_key_operations, 1, "one for all that wait");
    assert_eq!(after.pin_attempts - before.pin_attempts, 1);
    let status = edge.world.cluster.get(&["keyring", "prod"]).unwrap()["status"].clone();
    assert_eq!(
        (&status["lastUnseal"]["holder"], &status["lastUnseal"]["serial"]),
        (&json!("edge-1"), &json!(4_711))
    );
    says(&mut node, &["opens keyring prod without a touch", "pod operator-1: Unsealed"]);

    // Everything restarts, and nobody is there.
    let pods = operators.map(|operator| {
        let touchseal_suites::Operator { process, pod, .. } = operator;
        drop(process);
        pod
    });
    let _operators =
        pods.map(|pod| touchseal_suites::Operator::start_as(&edge.world.cluster, &edge.world.system, pod));
    edge.world.wait_for_replicas("prod", 2);

    // Pulled: sealed, and it stays so while the key is away.
    edge.laptop.reader.pull(0).unwrap();
    edge.world.wait_for_replicas("prod", 0);
    says(&mut node, &["4711 is not plugged in", "sealed: every replica has dropped the keys of prod"]);
    edge.world.requests(2);

    // Back: unsealed.
    edge.laptop.reader.insert(0, &edge.key).unwrap();
    edge.world.wait_for_replicas("prod", 2);

    // A person's seal is not undone by it, until a person unseals; whatever the clock of that person's laptop says.
    let system = edge.world.system.clone();
    for clock in [None, Some("2020-01-01T00:00:00Z"), Some("2120-01-01T00:00:00Z")] {
        let before = edge.key.counters().private_key_operations;
        let date = if let Some(clock) = clock {
            edge.world.seal("prod", &format!("{clock}/0123456789abcdef"));
            clock
        } else {
            edge.laptop.run_plain(&["seal", "--operator-namespace", &system]).ok();
            ""
        };
        edge.world.requests(2);
        says(&mut node, &[&format!("Skipped: a person sealed it ({date}")]);
        assert_eq!(edge.key.counters().private_key_operations, before);
        edge.world.requests(2);
        edge.laptop.run(&["unseal", "--yes", "--operator-namespace", &system], PIN).ok();
        edge.world.wait_for_replicas("prod", 2);
    }
    assert_eq!(edge.key.pin_tries_left(), 3);
    assert!(!node.log().contains(PIN), "the PIN is in the log");

    // All of this took every right it has, and no other.
    let namespace = "node-alone-node-key";
    let objects = chart::render(&system, &as_refs(&values(namespace, &edge.fingerprint)));
    let granted = rights::granted(&objects, &format!("{namespace}/touchseal-node-key"), &system);
    assert!(granted.len() >= 8, "{granted:?}");
    let requests = edge.world.audited_of(&format!("{namespace}:touchseal-node-key"));
    let (used, refused) = rights::used(&requests, &system);
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!(rights::unused(&granted, &used), []);
}

#[test]
fn without_being_told_to_a_pulled_key_seals_nothing() {
    let mut edge = Edge::new("node-pulled", "never");
    let _operator = edge.world.operator();
    let mut node = edge.start(&[]);
    edge.world.wait_for_replicas("prod", 1);
    edge.laptop.reader.pull(0).unwrap();
    says(&mut node, &["4711 is not plugged in"]);
    let object = edge.world.cluster.get(&["keyring", "prod"]).unwrap();
    assert_eq!(object["status"]["unsealedReplicas"], 1);
    assert!(object["metadata"]["annotations"]["touchseal.dev/seal-requested"].is_null());
}

#[test]
fn a_wrong_pin_in_the_file_spends_one_try_however_often_it_is_started() {
    let mut edge = Edge::new("node-pin", "never");
    let operator = edge.world.operator();
    edge.world.requests(1);
    let before = edge.key.counters().pin_attempts;
    edge.write_pin("000000");
    ends(edge.start(&[]), 3, &["wrong PIN for YubiKey 4711, 2 tries left", "2 of 3 PIN tries left"]);
    for _ in 0..4 {
        ends(edge.start(&[]), 3, &["2 of 3 PIN tries left", "--min-pin-tries 2"]);
    }
    assert_eq!((edge.key.pin_tries_left(), edge.key.counters().pin_attempts - before), (2, 1));

    // A person who allows one more loses at most that one, again however often it is started.
    for _ in 0..3 {
        ends(edge.start(&["--min-pin-tries=2"]), 3, &["1 of 3 PIN tries left"]);
    }
    assert_eq!((edge.key.pin_tries_left(), edge.key.counters().pin_attempts - before), (1, 2));

    // The right PIN, used once by hand, brings the tries back.
    edge.write_pin(PIN);
    ends(edge.start(&[]), 3, &["1 of 3 PIN tries left", "--allow-last-pin-try"]);
    let system = edge.world.system.clone();
    let unseal = ["unseal", "--yes", "--allow-last-pin-try", "--operator-namespace", &system];
    edge.laptop.run(&unseal, PIN).ok();
    edge.world.wait_for_replicas("prod", 1);
    let touchseal_suites::Operator { process, pod, .. } = operator;
    drop(process);
    let _operator = touchseal_suites::Operator::start_as(&edge.world.cluster, &edge.world.system, pod);
    edge.world.requests(1);
    let _node = edge.start(&[]);
    edge.world.wait_for_replicas("prod", 1);
    assert_eq!(edge.key.pin_tries_left(), 3);
}

#[test]
fn another_key_and_one_that_wants_a_touch_are_never_asked() {
    let mut edge = Edge::new("node-serial", "never");
    edge.laptop.reader.pull(0).unwrap();
    let stranger = edge.laptop.key(0, 815);
    let _operator = edge.world.operator();
    edge.world.requests(1);
    let mut node = edge.start(&[]);
    says(&mut node, &["4711 is not plugged in", "plugged in: 815"]);
    edge.laptop.reader.insert(1, &edge.key).unwrap();
    edge.world.wait_for_replicas("prod", 1);
    assert_eq!((stranger.counters().pin_attempts, stranger.counters().private_key_operations), (0, 0));
    drop(node);

    let mut edge = touching(edge);
    let before = edge.key.counters();
    ends(edge.start(&[]), 3, &["wants a touch (Cached)", "--touch-policy never"]);
    assert_eq!(edge.key.counters().pin_attempts, before.pin_attempts);
}

/// The same node with a keyring whose key wants a touch.
fn touching(edge: Edge) -> Edge {
    for slot in [0, 1] {
        edge.laptop.reader.pull(slot).unwrap();
    }
    let key = edge.laptop.key(0, 4_711);
    let create = ["keyring", "create", "other", "--holder", "edge-1", "--touch-policy", "cached"];
    edge.laptop.run(&create, PIN).ok();
    let spec = edge.laptop.manifest("other");
    edge.world.apply_keyring("other", &spec);
    edge.world.cluster.kubectl_stdout(&["delete", "keyring", "prod"]).unwrap();
    let fingerprint = manifest::verify(&spec).unwrap().fingerprint().to_string();
    Edge { key, fingerprint, ..edge }
}

#[test]
fn nothing_is_trusted_on_first_use_and_no_open_file_is_read() {
    let mut edge = Edge::new("node-trust", "never");
    let _operator = edge.world.operator();
    edge.world.requests(1);
    let before = edge.key.counters();
    ends(edge.start_plain(&[]), 2, &["--fingerprint"]);
    let mut node = edge.start_plain(&[&format!("--fingerprint=SHA256:{}", "A".repeat(43))]);
    says(
        &mut node,
        &[&format!("keyring prod has the fingerprint {}, which nobody vouched for", edge.fingerprint)],
    );
    says(&mut node, &["0 of 1 waiting replicas unsealed"]);
    drop(node);
    fs::set_permissions(&edge.pin_file, fs::Permissions::from_mode(0o444)).unwrap();
    ends(edge.start(&[]), 1, &["others can read or change it"]);
    assert_eq!(edge.key.counters().pin_attempts, before.pin_attempts);
}

/// What it may do beyond what it does is next to nothing, and its Deployment is one.
#[test]
fn the_shipped_rights_reach_no_further() {
    let edge = Edge::new("node-rights", "never");
    let system = edge.world.system.as_str();
    let may = |arguments: &[&str]| {
        let said = edge.world.cluster.kubectl_as(&edge.kubeconfig, arguments).unwrap();
        (said.status.success(), String::from_utf8_lossy(&said.stderr).into_owned())
    };
    let spec = |revision: i64| json!({ "spec": { "revision": revision } }).to_string();
    eventually(DEADLINE, "the policy to be enforced", || {
        let (done, said) =
            may(&["patch", "keyring", "prod", "--type=merge", "--dry-run=server", "-p", &spec(9)]);
        if !done && said.contains("nothing but the annotation") { Ok(()) } else { Err(said) }
    })
    .unwrap();
    let (done, said) =
        may(&["annotate", "keyring", "prod", "touchseal.dev/seal-requested=now", "--dry-run=server"]);
    assert!(done, "{said}");
    for other in [
        &["annotate", "keyring", "prod", "other=now", "--dry-run=server"][..],
        &["delete", "keyring", "prod", "--dry-run=server"],
        &["get", "secrets", "-n", system],
        &["get", "configmaps", "-n", system],
        &["get", "unsealrequests", "-n", "default"],
        &["delete", "unsealrequest", "any", "-n", system],
        &["create", "token", "touchseal-operator", "-n", system],
    ] {
        let (done, said) = may(other);
        assert!(!done && said.to_lowercase().contains("forbidden"), "{other:?}: {said}");
    }
    let objects = chart::render(system, &as_refs(&values("node-rights-node-key", &edge.fingerprint)));
    let deployment = objects
        .iter()
        .find(|object| object["kind"] == "Deployment" && object["metadata"]["name"] == "touchseal-node-key");
    let file = edge.world.cluster.dir().join("node-key.json");
    fs::write(&file, deployment.unwrap().to_string()).unwrap();
    let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f"];
    edge.world.cluster.kubectl_stdout(&[&apply[..], &[file.to_str().unwrap()]].concat()).unwrap();
}
