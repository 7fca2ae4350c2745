//! One node with Touchseal installed on it, and a laptop with the YubiKey (a software one: test equipment), for all tests
//! of this program in turn.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use touchseal_rig::cluster::{Cluster, Options, Reach};
use touchseal_rig::node::{Node, isolated};
use touchseal_rig::poll::eventually;
use touchseal_softkey::SoftKey;
use touchseal_suites::chart::{self, RELEASE, Release};
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::image::{self, Image};
use touchseal_suites::world::condition;
use touchseal_suites::{DEADLINE, Laptop, Sops};

pub const SYSTEM: &str = "touchseal-system";
pub const KEYRING: &str = "prod";
/// The same image by another tag: what an update is to a Deployment.
pub const NEXT: &str = "next";

static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(World::start()));

/// What every test of this program has.
pub struct World {
    pub cluster: Cluster,
    pub node: Node,
    pub laptop: Laptop,
    pub key: SoftKey,
    pub sops: Sops,
}

/// Runs a test on the node, unsealed, with a namespace of its own; shows what there is to see when it fails.
pub fn on_the_node(namespace: &str, test: impl FnOnce(&World)) {
    assert!(isolated::inside(), "run by `on_a_real_node`, inside namespaces");
    let world = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        world.unseal();
        world.cluster.namespace(namespace).unwrap();
        test(&world);
    }));
    match outcome {
        Ok(()) => println!("{namespace}: {:.1?}", started.elapsed()),
        Err(panic) => {
            eprintln!("{}", world.state());
            resume_unwind(panic)
        }
    }
}

impl World {
    fn start() -> World {
        let started = Instant::now();
        let cluster = Cluster::start_with(Options { reach: Reach::Pods, ..Options::default() }).unwrap();
        let node = Node::start(&cluster).unwrap();
        let tar = Image::built().tar();
        for tag in [image::TAG, NEXT] {
            node.import(&tar, &format!("{}:{tag}", image::REPOSITORY)).unwrap();
        }
        println!("a cluster with a node: {:.1?}", started.elapsed());

        let laptop = Laptop::new(&cluster.admin_kubeconfig());
        let key = laptop.key(0, 1_234_567);
        let world = World { cluster, node, laptop, key, sops: Sops::new() };
        world.install();
        world.laptop.create_keyring(KEYRING, "alice");
        let manifest = world.laptop.home.path().join("prod.keyring.yaml");
        world.kubectl(&["apply", "-f", manifest.to_str().unwrap()]);
        println!("installed: {:.1?}", started.elapsed());
        world
    }

    /// As the README says, on a node that pulls nothing and whose kubelet is quick.
    fn install(&self) {
        self.cluster.namespace(SYSTEM).unwrap();
        let strict = "pod-security.kubernetes.io/enforce=restricted";
        self.kubectl(&["label", "namespace", SYSTEM, strict]);
        let repository = format!("image.repository={}", image::REPOSITORY);
        self.helm(&[
            "install",
            "--set=image.pullPolicy=Never",
            "--set",
            &repository,
            "--set=mountRefresh=3s",
        ]);
    }

    /// `helm install` or `helm upgrade`, until everything is as it shall be.
    pub fn helm(&self, command: &[&str]) {
        let folder = chart::folder();
        let wait = [RELEASE, folder.to_str().unwrap(), "--wait", "--timeout=60s"];
        let release = Release { name: RELEASE, namespace: SYSTEM, cluster: &self.cluster };
        release.done(&[command, &wait].concat());
    }

    /// Unseals by the command line, as a person does, if a replica is sealed.
    pub fn unseal(&self) -> Option<Said> {
        if self.unsealed_replicas() == 2 {
            return None;
        }
        let said = self.laptop.run(&["unseal", "--yes", "--timeout", "60s"], PIN).ok();
        self.wait_for_replicas(2);
        Some(said)
    }

    pub fn unsealed_replicas(&self) -> u64 {
        let keyring = self.cluster.get(&["keyring", KEYRING]).unwrap();
        keyring["status"]["unsealedReplicas"].as_u64().unwrap_or_default()
    }

    pub fn wait_for_replicas(&self, unsealed: u64) {
        eventually(DEADLINE, &format!("{unsealed} unsealed replicas"), || {
            let found = self.unsealed_replicas();
            if found == unsealed { Ok(()) } else { Err(format!("{found}")) }
        })
        .unwrap();
    }

    /// How often the YubiKey's private key was used so far.
    pub fn operations(&self) -> u64 {
        self.key.counters().private_key_operations
    }

    /// The operator's pods that are not on their way out.
    pub fn operators(&self) -> Vec<Value> {
        let list = self.cluster.get(&["pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=operator"]);
        let pods = list.unwrap()["items"].as_array().unwrap().clone();
        pods.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect()
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl_stdout(arguments).unwrap()
    }

    /// Applies an EncryptedSecret `app` of one password.
    pub fn apply_password(&self, namespace: &str, password: &str) {
        let recipient = eventually(DEADLINE, "a published recipient", || {
            let recipient = self.cluster.get(&["recipient", KEYRING, "-n", namespace]).ok()?;
            recipient["spec"]["recipient"].as_str().map(str::to_owned)
        });
        let plaintext = format!("password: {password}\n");
        let document = self.sops.encrypt("app.yaml", &plaintext, &recipient.unwrap());
        let object = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
            "metadata": { "name": "app", "namespace": namespace },
            "spec": { "documents": [{ "sops": document }] },
        });
        self.cluster.apply(&object.to_string()).unwrap();
    }

    /// Waits until the EncryptedSecret `app` is as `right` wants it.
    pub fn wait_for_app(&self, namespace: &str, what: &str, right: impl Fn(&Value) -> bool) -> Value {
        eventually(DEADLINE, &format!("EncryptedSecret {namespace}/app: {what}"), || {
            let object = self.cluster.get(&["encryptedsecret", "app", "-n", namespace]).unwrap();
            let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            if current && right(&object) { Ok(object) } else { Err(object["status"].to_string()) }
        })
        .unwrap()
    }

    /// The same for its condition Ready.
    pub fn wait_until_ready(&self, namespace: &str, status: &str, reason: &str) {
        self.wait_for_app(namespace, &format!("Ready={status} {reason}"), |object| {
            let ready = condition(object, "Ready");
            ready["status"] == status && ready["reason"] == reason
        });
    }

    fn state(&self) -> String {
        let look: [&[&str]; 5] = [
            &["get", "pods", "-A", "-o=wide"],
            &["describe", "pods", "-A"],
            &["get", "keyrings,unsealrequests,encryptedsecrets", "-A", "-o=yaml"],
            &["logs", "-n", SYSTEM, "-l=app.kubernetes.io/component=operator", "--prefix", "--tail=40"],
            &["get", "events", "-A"],
        ];
        let said = look.map(|arguments| {
            let output = self.cluster.kubectl(arguments).unwrap();
            let text = [output.stdout, output.stderr].concat();
            format!("--- kubectl {} ---\n{}", arguments.join(" "), String::from_utf8_lossy(&text))
        });
        [said.join("\n"), self.node.log_tails()].join("\n")
    }
}
