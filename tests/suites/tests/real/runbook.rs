//! `docs/recovery.md` as somebody follows it who has lost something: each case from its beginning, on a cluster, with software
//! YubiKeys (test equipment).

use std::fs;
use std::path::Path;
use std::process::Command;

use touchseal_rig::scratch::Scratch;
use touchseal_softkey::SoftKey;
use touchseal_suites::cli::PIN;
use touchseal_suites::world::value;
use touchseal_suites::{Laptop, Operator, Page, Reading, World};

const PAGE: &str = "docs/recovery.md";

/// A repository with a keyring of one holder and one document, and nothing in the cluster.
struct Team {
    folder: Scratch,
    laptop: Laptop,
    alice: SoftKey,
}

impl Team {
    fn new(kubeconfig: &Path) -> Team {
        let folder = Scratch::new("runbook").unwrap();
        let laptop = Laptop::at(folder.path(), kubeconfig);
        let alice = laptop.key(0, 4_711);
        let team = Team { folder, laptop, alice };
        team.laptop.git(&["init", "-q"]);
        team.laptop.create_keyring("prod", "alice");
        let recipients = ["recipients", "-f", "prod.keyring.yaml", "--for", "shop", "--sops-yaml"];
        team.laptop.run(&recipients, PIN).ok();
        fs::create_dir(team.folder.path().join("shop")).unwrap();
        team.write("correct horse");
        team.laptop.git(&["add", "."]);
        team.laptop.git(&["commit", "-qm", "Settings of the shop"]);
        team
    }

    /// The document with this password, in its manifest.
    fn write(&self, password: &str) {
        let file = |name: &str| self.folder.path().join("shop").join(name);
        fs::write(file("app.yaml"), format!("password: {password}\n")).unwrap();
        self.laptop.run_plain(&["encrypt", "--in-place", "shop/app.yaml"]).ok();
        let wrap = ["wrap", "shop/app.yaml", "--name", "app", "--namespace", "shop"];
        let manifest = self.laptop.run_plain(&wrap).ok().out;
        fs::write(file("app.esec.yaml"), manifest).unwrap();
        fs::remove_file(file("app.yaml")).unwrap();
    }

    fn recipient(&self) -> String {
        let said = self.laptop.run(&["recipients", "-f", "prod.keyring.yaml", "--for", "shop"], PIN).ok().out;
        let is = |word: &&str| word.starts_with("age1") && !word.starts_with("age1yubikey");
        said.split_whitespace().find(is).unwrap().to_owned()
    }

    fn apply(&self, world: &World, file: &str) {
        world.cluster.apply(&fs::read_to_string(self.folder.path().join(file)).unwrap()).unwrap();
    }

    /// Applies what git has and unseals.
    fn served(&self, world: &mut World) -> Operator {
        self.apply(world, "prod.keyring.yaml");
        self.apply(world, "shop/app.esec.yaml");
        let operator = world.operator();
        world.requests(1);
        self.laptop.run(&["unseal", "--yes"], PIN).ok();
        world.wait_for("app", "True", "Materialised");
        operator
    }

    fn reading(&self) -> Reading<'_> {
        Reading::at(&self.laptop)
    }

    fn lose(&self, slot: usize) {
        self.laptop.reader.pull(slot).unwrap();
    }
}

fn password(world: &World) -> String {
    String::from_utf8(value(&world.secret("app").unwrap(), "password").unwrap()).unwrap()
}

#[test]
fn the_cluster_is_gone() {
    let mut world = World::documented();
    let team = Team::new(&world.cluster.admin_kubeconfig());
    let mut operator = None;
    team.reading().follow_with(&Page::of(PAGE).section("The cluster is gone"), |act| match act {
        "a new cluster" => operator = Some(world.operator()),
        other => panic!("nobody does {other:?}"),
    });
    assert_eq!(password(&world), "correct horse");
}

/// The steps of the Keyring's page, with nothing of ours but the page: two live key generations, one document of each.
#[test]
fn touchseal_is_gone() {
    let team = Team::new(Path::new("/nonexistent/kubeconfig"));
    let sops = touchseal_suites::Sops::new();
    let older = team.recipient();
    let older = sops.encrypt("older.yaml", "password: of the first generation\n", &older);
    team.laptop.run(&["keyring", "rotate", "-f", "prod.keyring.yaml"], PIN).ok();
    let newer = team.recipient();
    let newer = sops.encrypt("secrets.yaml", "password: of the second generation\n", &newer);
    fs::write(team.folder.path().join("older.yaml"), older).unwrap();
    fs::write(team.folder.path().join("secrets.yaml"), newer).unwrap();

    let before = team.alice.counters().private_key_operations;
    let mut reading = team.reading().answer("Enter PIN", PIN);
    reading.follow(&Page::of("crds/keyring.md").section("Recovery with stock tools"));
    assert_eq!(team.alice.counters().private_key_operations, before + 1, "one operation opens everything");
    let identity = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(identity(team.folder.path(), "shop.txt").starts_with("AGE-SECRET-KEY-1"));
    // The older document, by the page's last step.
    let derive = "python3 derive.py \"$(sed -n 's/^  id: *//p' prod.keyring.yaml | tr -d '\"')\" touchseal/v1/namespace/shop \
                  < older-master > older.txt && SOPS_AGE_KEY_FILE=older.txt \"$SOPS\" -d older.yaml";
    let sops = touchseal_rig::tools::Tool::Sops.path().unwrap();
    let mut shell = Command::new("/bin/bash");
    let output =
        shell.args(["-c", derive]).env("SOPS", sops).current_dir(team.folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("of the first generation"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_backup_is_restored() {
    let mut world = World::documented();
    let team = Team::new(&world.cluster.admin_kubeconfig());
    let operator = team.served(&mut world);
    let backup = world.cluster.snapshot("before").unwrap();
    eventually_served(&world, "correct horse");
    team.write("battery staple");
    team.apply(&world, "shop/app.esec.yaml");
    eventually_served(&world, "battery staple");
    let Operator { process, pod, .. } = operator;
    drop(process);
    let mut operator = None;
    team.reading().follow_with(&Page::of(PAGE).section("A backup is restored"), |act| match act {
        "restore the backup" => {
            world.cluster.restore(&backup).unwrap();
            assert_eq!(password(&world), "correct horse", "the cluster is back in the past");
        }
        "start the operator" => {
            operator = Some(Operator::start_as(&world.cluster, &world.system, pod.clone()));
        }
        other => panic!("nobody does {other:?}"),
    });
    assert_eq!(password(&world), "battery staple");
}

fn eventually_served(world: &World, wanted: &str) {
    touchseal_rig::poll::eventually(touchseal_suites::DEADLINE, "the password to be served", || {
        let seen = password(world);
        if seen == wanted { Ok(()) } else { Err(seen) }
    })
    .unwrap();
}

#[test]
fn every_yubikey_is_gone_and_a_replica_is_unsealed() {
    let mut world = World::documented();
    let team = Team::new(&world.cluster.admin_kubeconfig());
    let _operator = team.served(&mut world);
    let page = Page::of(PAGE);
    team.reading().follow(&page.section("Be ready"));
    let bob = team.laptop.key(1, 814);
    team.laptop.run(&["keyring", "enrol", "-f", "prod.keyring.yaml", "--holder", "bob"], PIN).ok();
    team.laptop.git(&["commit", "-qam", "Bob, too"]);
    team.apply(&world, "prod.keyring.yaml");
    [0, 1].into_iter().for_each(|slot| team.lose(slot));
    let lost = [&team.alice, &bob].map(|key| key.counters().private_key_operations);
    let mut new = Vec::new();
    team.reading().follow_with(
        &page.section("Every YubiKey is gone, a replica is unsealed"),
        |act| match act {
            "two new YubiKeys" => {
                new.extend([(0, 815), (1, 816)].map(|(slot, serial)| team.laptop.key(slot, serial)))
            }
            other => panic!("nobody does {other:?}"),
        },
    );
    world.wait_for_replicas("prod", 1);
    assert_eq!([&team.alice, &bob].map(|key| key.counters().private_key_operations), lost);
    let manifest = team.laptop.manifest("prod");
    let holders: Vec<_> = manifest.holders.iter().map(|holder| holder.name.as_str()).collect();
    assert_eq!((holders, manifest.generations.len()), (vec!["carol", "dave"], 2));
    assert_eq!(password(&world), "correct horse");
}

#[test]
fn every_yubikey_is_gone_and_everything_is_sealed() {
    let mut world = World::documented();
    let team = Team::new(&world.cluster.admin_kubeconfig());
    // Values that are no text, and a key that stock sops leaves in the clear by its name.
    let odd = "apiVersion: v1\nkind: Secret\ndata:\n  password: Y29ycmVjdCBob3JzZQ==\n  keystore: //4AgA==\n  pin_unencrypted: NDcxMQ==\n";
    let file = |name: &str| team.folder.path().join("shop").join(name);
    fs::write(file("app.yaml"), odd).unwrap();
    let recipient = team.recipient();
    let encrypted = touchseal_suites::Sops::new().encrypt_with(
        "app.yaml",
        odd,
        &["--age", &recipient, "--encrypted-regex", "^data$"],
    );
    fs::write(file("app.yaml"), encrypted).unwrap();
    let wrap = ["wrap", "shop/app.yaml", "--as", "manifest", "--name", "app", "--namespace", "shop"];
    let manifest = team.laptop.run_plain(&wrap).ok().out;
    fs::write(file("app.esec.yaml"), manifest).unwrap();
    fs::remove_file(file("app.yaml")).unwrap();
    team.laptop.git(&["commit", "-qam", "A whole Secret"]);
    let Operator { process, pod, .. } = team.served(&mut world);
    team.lose(0);
    drop(process);
    let _operator = Operator::start_as(&world.cluster, &world.system, pod);
    world.requests(1);
    let before = world.secret("app").unwrap();
    assert_eq!(value(&before, "keystore").unwrap(), [0xff, 0xfe, 0x00, 0x80]);
    let mut carol = None;
    team.reading().follow_with(
        &Page::of(PAGE).section("Every YubiKey is gone, everything is sealed"),
        |act| match act {
            "a new YubiKey" => carol = Some(team.laptop.key(0, 815)),
            other => panic!("nobody does {other:?}"),
        },
    );
    let after = world.secret("app").unwrap();
    assert_eq!((&after["data"], &after["metadata"]["uid"]), (&before["data"], &before["metadata"]["uid"]));
    let git = fs::read_to_string(file("app.esec.yaml")).unwrap();
    assert!(!git.contains("NDcxMQ") && !git.contains("4711"), "a value is in git in the clear");
}
