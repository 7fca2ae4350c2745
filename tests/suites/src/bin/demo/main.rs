//! `make demo`: from ciphertext in git to a native Secret, on a real API server, with the real sops, git and kubectl. The
//! YubiKey is a software one behind the real pcscd: test equipment, never a part of the product.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod settings;

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use touchseal_rig::cluster::Cluster;
use touchseal_rig::poll::eventually;
use touchseal_rig::tools;
use touchseal_softkey::SoftKey;
use touchseal_suites::chart::{self, Release};
use touchseal_suites::cli::PIN;
use touchseal_suites::world::{condition, value};
use touchseal_suites::{DEADLINE, Laptop, Operator, binaries};

use settings::{PLAIN, Settings};

const SYSTEM: &str = "touchseal-system";
/// Serial number of the second YubiKey, the one that docs/getting-started.md enrols.
const SECOND: u32 = 14_041_970;

fn main() {
    let mut demo = Demo::start();
    demo.create_keyring();
    demo.prepare_repository();
    demo.apply_sealed();
    demo.unseal("one touch of the YubiKey releases the key to the operator");
    demo.show_secret(1, PLAIN[0]);
    demo.rotate();
    demo.crash();
    demo.seal();
    demo.end();
}

struct Demo {
    started: Instant,
    step: u32,
    settings: Settings,
    key: SoftKey,
    /// Plugged in for whoever plays on.
    second: Option<SoftKey>,
    operator: Option<Operator>,
    laptop: Laptop,
    cluster: Cluster,
}

impl Demo {
    fn start() -> Demo {
        let started = Instant::now();
        println!("Touchseal demo: everything runs on this machine and ends with this program.");
        println!(
            "Real: kube-apiserver, etcd, kube-controller-manager, pcscd, sops, age, git, helm, kubectl."
        );
        println!(
            "Test equipment: the YubiKey is a software one (tests/softkey); there is no node, so no pod runs."
        );
        let cluster = Cluster::start().unwrap();
        let settings = Settings::new();
        let laptop = Laptop::at(settings.folder(), &cluster.admin_kubeconfig());
        let key = laptop.key(0, 14_041_969);
        let mut demo =
            Demo { started, step: 0, settings, key, second: None, operator: None, laptop, cluster };
        demo.say("a cluster and a YubiKey are there");
        demo.install();
        demo
    }

    fn install(&mut self) {
        self.say("install Touchseal: helm install, then start the operator as its ServiceAccount, for there is no node");
        self.cluster.namespace(SYSTEM).unwrap();
        let release = Release { name: chart::RELEASE, namespace: SYSTEM, cluster: &self.cluster };
        release.install(&chart::folder(), &["replicaCount=0"]);
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
        self.cluster.namespace("shop").unwrap();
        self.operator = Some(Operator::start(&self.cluster, SYSTEM, "touchseal-operator-0"));
    }

    fn create_keyring(&mut self) {
        self.say("create a keyring: its key is generated on the YubiKey, the manifest is ciphertext and public keys");
        let policies = ["--pin-policy", "once", "--touch-policy", "always"];
        self.touchseal(&[&["keyring", "create", "prod", "--holder", "alice"][..], &policies].concat());
        self.touchseal_plain(&["keyring", "show", "-f", "prod.keyring.yaml"]);
    }

    fn prepare_repository(&mut self) {
        self.say(
            "a git repository: .sops.yaml names the namespace's recipient, stock sops encrypts the settings",
        );
        let rule = ["--for", "shop", "--sops-yaml", "--path-regex", "^shop/"];
        self.touchseal(&[&["recipients", "-f", "prod.keyring.yaml"][..], &rule].concat());
        self.settings.add_developer();
        self.settings.write();
        self.settings.commit("Settings of the shop, encrypted");
    }

    fn apply_sealed(&mut self) {
        self.say("kubectl apply -k: the operator is sealed, which is a normal state");
        self.kubectl(&["apply", "-f", self.settings.path("prod.keyring.yaml").to_str().unwrap()]);
        self.kubectl(&["apply", "-k", self.settings.path("shop").to_str().unwrap()]);
        self.wait_ready("app", "False", "Sealed");
        self.show(&["get", "esec", "-n", "shop"]);
        assert!(!self.cluster.kubectl(&["get", "secret", "app", "-n", "shop"]).unwrap().status.success());
    }

    fn unseal(&mut self, what: &str) {
        self.say(what);
        let before = self.key.counters().private_key_operations;
        self.touchseal(&["unseal", "--yes"]);
        let operations = self.key.counters().private_key_operations - before;
        println!("      the YubiKey counted {operations} private-key operation");
        assert_eq!(operations, 1);
        self.wait_ready("app", "True", "Materialised");
        self.wait_ready("tls", "True", "Materialised");
    }

    fn show_secret(&mut self, generation: i64, password: &str) {
        self.say(&format!("the native Secrets are there, generation {generation}"));
        self.show(&["get", "esec", "-n", "shop"]);
        self.show(&["get", "secrets", "-n", "shop"]);
        let secret = self.cluster.get(&["secret", "app", "-n", "shop"]).unwrap();
        assert_eq!(value(&secret, "database_password").unwrap(), password.as_bytes());
    }

    fn rotate(&mut self) {
        self.say("rotate one value: sops set, git commit, kubectl apply -k");
        self.settings.sops(&["set", "shop/app.yaml", "[\"database_password\"]", &format!("{:?}", PLAIN[4])]);
        self.settings.commit("Rotate the database password");
        self.kubectl(&["apply", "-k", self.settings.path("shop").to_str().unwrap()]);
        eventually(DEADLINE, "generation 2", || {
            self.cluster.get(&["esec", "app", "-n", "shop"]).unwrap()["status"]["secretGeneration"] == 2
        })
        .unwrap();
        self.show_secret(2, PLAIN[4]);
        let object = self.cluster.get(&["esec", "app", "-n", "shop"]).unwrap();
        for key in object["status"]["keys"].as_array().unwrap() {
            let text = |field: &str| key[field].as_str().unwrap();
            println!("      {} has held its value since {}", text("name"), text("since"));
        }
    }

    fn crash(&mut self) {
        self.say("kill -9 the operator: the Secrets stay, the new process is sealed");
        let mut operator = self.operator.take().unwrap();
        operator.process.kill();
        let pod = operator.pod.clone();
        drop(operator);
        self.show(&["get", "secrets", "-n", "shop"]);
        self.operator = Some(Operator::start_as(&self.cluster, SYSTEM, pod));
        eventually(DEADLINE, "the new process to report that it is sealed", || {
            self.cluster.get(&["keyring", "prod"]).unwrap()["status"]["unsealedReplicas"] == 0
        })
        .unwrap();
        self.touchseal_plain(&["status"]);
        self.unseal("unseal again, after the restart");
    }

    fn seal(&mut self) {
        self.say("the panic button: every replica drops its keys now");
        self.touchseal_plain(&["seal"]);
        self.show(&["get", "secrets", "-n", "shop"]);
    }

    fn end(mut self) {
        let stay = std::env::var_os("TOUCHSEAL_DEMO_STAY").is_some();
        let took = self.started.elapsed();
        if stay {
            self.second = Some(self.laptop.key(1, SECOND));
            self.say("play on in another shell; Enter ends it");
            self.explain();
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
        } else {
            self.say("the end");
            println!("      to play on yourself:     TOUCHSEAL_DEMO_STAY=1 make demo");
            println!("      on your own cluster:     docs/getting-started.md");
        }
        drop(self);
        println!("done in {:.0} s; everything that was started has ended", took.as_secs_f64());
        assert!(took < Duration::from_secs(90), "the demo must stay under 90 s");
    }

    fn explain(&self) {
        let programs = binaries::touchseal();
        println!("      export KUBECONFIG={}", self.cluster.admin_kubeconfig().display());
        println!("      export PCSCLITE_CSOCK_NAME={}", self.laptop.reader.socket().display());
        println!("      export XDG_CONFIG_HOME={}", self.laptop.home.path().display());
        println!("      export SOPS_AGE_KEY_FILE={}", self.settings.identity().display());
        println!(
            "      export PATH={}:{}:$PATH",
            programs.parent().unwrap().display(),
            tools::made().display()
        );
        println!("      cd {}", self.settings.folder().display());
        println!(
            "      touchseal status; touchseal unseal     # the PIN is {PIN}; the software YubiKey touches itself"
        );
        println!(
            "      touchseal keyring enrol -f prod.keyring.yaml --holder bob --serial {SECOND}     # the second one"
        );
        println!(
            "      sops set shop/app.yaml '[\"chat_token\"]' '\"new\"'; kubectl apply -k shop; kubectl get esec -A"
        );
    }

    fn wait_ready(&self, name: &str, status: &str, reason: &str) {
        eventually(DEADLINE, &format!("{name}: Ready={status} {reason}"), || {
            let object = self.cluster.get(&["esec", name, "-n", "shop"]).unwrap();
            let ready = condition(&object, "Ready");
            if ready["status"] == status && ready["reason"] == reason {
                Ok(())
            } else {
                Err(object["status"].to_string())
            }
        })
        .unwrap();
    }

    fn say(&mut self, what: &str) {
        self.step += 1;
        println!("\n[{:>4.1} s] {}. {what}", self.started.elapsed().as_secs_f64(), self.step);
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl_stdout(arguments).unwrap()
    }

    fn show(&self, arguments: &[&str]) {
        println!("    $ kubectl {}", arguments.join(" "));
        print!("{}", indent(&self.kubectl(arguments)));
    }

    /// Runs the command line as a person would, the PIN coming from a file descriptor instead of the terminal.
    fn touchseal(&self, arguments: &[&str]) {
        println!("    $ touchseal {}", arguments.join(" "));
        print!("{}", indent(&shown(self.laptop.with_pin(arguments, PIN))));
    }

    fn touchseal_plain(&self, arguments: &[&str]) {
        println!("    $ touchseal {}", arguments.join(" "));
        print!("{}", indent(&shown(self.laptop.command(arguments))));
    }
}

/// What a command that goes well shows on a terminal: standard output and error in the order they were written.
fn shown(mut command: Command) -> String {
    let (mut reader, writer) = std::io::pipe().unwrap();
    command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command); // and with it our ends of the pipe
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    text
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("      {line}\n")).collect()
}
