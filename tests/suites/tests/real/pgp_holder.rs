//! Holders whose YubiKey holds a PGP key and no PIV key: real gpg, gpg-agent and scdaemon, one operation a ceremony.

use std::fs;
use std::process::Command;

use age::secrecy::ExposeSecret as _;
use touchseal_crds::keyring::HolderKind;
use touchseal_rig::scratch::Scratch;
use touchseal_softkey::SoftKey;
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::world::value;
use touchseal_suites::{Gnupg, Laptop, Sops, World};

const FILE: &str = "prod.keyring.yaml";

/// A laptop whose reader holds a YubiKey with a PGP key.
struct Desk {
    laptop: Laptop,
    key: SoftKey,
    gnupg: Gnupg,
    fingerprint: String,
}

impl Desk {
    fn of(laptop: Laptop, serial: u32) -> Desk {
        let key = laptop.key(0, serial);
        let gnupg = Gnupg::new(&laptop.reader.socket());
        let fingerprint = gnupg.generate_on_card("alice");
        Desk { laptop, key, gnupg, fingerprint }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let mut command = self.laptop.command(arguments);
        self.at_home(&mut command).output().unwrap().into()
    }

    fn with_pin(&self, arguments: &[&str]) -> Said {
        let mut command = self.laptop.with_pin(arguments, PIN);
        self.at_home(&mut command).output().unwrap().into()
    }

    fn at_home<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("GNUPGHOME", self.gnupg.home())
    }

    fn create(&self) {
        self.run(&["keyring", "create", "prod", "--holder", "alice", "--pgp", &self.fingerprint]).ok();
    }

    /// Decryptions by the card since the last time this was asked.
    fn operations(&self, before: &mut u64) -> u64 {
        let now = self.key.counters().decipherments;
        now - std::mem::replace(before, now)
    }
}

#[test]
fn a_keyring_of_a_pgp_key_alone_is_unsealed_with_one_operation() {
    let mut world = World::documented();
    let desk = Desk::of(Laptop::new(&world.cluster.admin_kubeconfig()), 9_301);
    let mut counted = 0;
    desk.create();
    assert_eq!(desk.operations(&mut counted), 1, "it opened its message once, before anybody relies on it");
    let spec = desk.laptop.manifest("prod");
    let holder = &spec.holders[0];
    assert_eq!((holder.kind, holder.serial, holder.slot.as_str()), (HolderKind::Pgp, 9_301, "OpenPGP"));

    let said = desk.run(&["recipients", "-f", FILE, "--for", &world.apps, "-o", "json"]).ok();
    let listed: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let document =
        Sops::new().encrypt("app.yaml", "password: hunter2\n", listed[0]["recipient"].as_str().unwrap());
    fs::write(desk.laptop.folder().join("app.yaml"), document).unwrap();
    let manifest = desk.laptop.run_plain(&["wrap", "app.yaml", "--name", "app", "-n", &world.apps]).ok().out;
    world.cluster.apply(&fs::read_to_string(desk.laptop.folder().join(FILE)).unwrap()).unwrap();
    world.cluster.apply(&manifest).unwrap();
    let _operator = world.operator();
    world.requests(1);

    desk.operations(&mut counted);
    desk.run(&["unseal", "--yes"]).ok();
    assert_eq!(desk.operations(&mut counted), 1, "one operation a ceremony");
    assert_eq!(desk.gnupg.asked(), ["pin"], "one PIN for all that was done here");
    assert_eq!(desk.key.counters().private_key_operations, 0, "there is no PIV key");
    world.wait_for("app", "True", "Materialised");
    assert_eq!(value(&world.secret("app").unwrap(), "password").unwrap(), b"hunter2");
    let said = desk.run(&["keyring", "holders", "prod"]).ok();
    assert!(
        said.out.contains("alice") && said.out.contains("OpenPGP") && said.out.contains("ago"),
        "{}",
        said.out
    );

    // Nobody types the PIN: nothing is released, and it was asked for once.
    desk.laptop.run_plain(&["seal"]).ok();
    world.requests(1);
    Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", desk.gnupg.home()).status().unwrap();
    desk.gnupg.answer("pin", None);
    let mut unseal = desk.laptop.command(&["unseal", "--yes"]);
    let said: Said = desk.at_home(&mut unseal).output().unwrap().into();
    assert!(said.code != 0 && said.err.contains("gpg did not use the key"), "{}", said.err);
    assert_eq!(desk.gnupg.asked(), ["pin", "pin"]);
}

#[test]
fn holders_of_both_kinds_edit_and_a_rotation_makes_pgp_identities_anew() {
    let desk = Desk::of(Laptop::new(std::path::Path::new("/nonexistent/kubeconfig")), 9_302);
    let bob = desk.laptop.key(1, 9_303);
    desk.create();
    // Alice opens it by PGP and enrols Bob's PIV key.
    Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", desk.gnupg.home()).status().unwrap();
    let bobs = desk.with_pin(&[
        "keyring",
        "enrol",
        "-f",
        FILE,
        "--holder",
        "bob",
        "--serial",
        "9303",
        "--with-serial",
        "9302",
    ]);
    bobs.ok();
    let first = desk.laptop.manifest("prod");
    assert_eq!(
        first.holders.iter().map(|holder| holder.kind).collect::<Vec<_>>(),
        [HolderKind::Pgp, HolderKind::Piv]
    );

    // Bob, whose laptop's gpg has no key of Alice's, edits: her part goes on opening.
    let elsewhere = Gnupg::new(&desk.laptop.reader.socket());
    let by_bob = |arguments: &[&str]| -> Said {
        let mut command = desk.laptop.with_pin(&[arguments, &["-f", FILE, "--serial", "9303"]].concat(), PIN);
        command.env("GNUPGHOME", elsewhere.home()).output().unwrap().into()
    };
    by_bob(&["keyring", "seal-after", "12h"]).ok();
    let edited = desk.laptop.manifest("prod");
    assert_eq!(edited.holders, first.holders, "nothing is encrypted to her anew");
    let identity = |spec: &touchseal_crds::KeyringSpec| {
        let message = spec.holders[0].pgp.as_ref().unwrap().identity.clone();
        let opened = desk.gnupg.gpg(&["--batch", "--decrypt"], message.as_bytes()).out;
        opened.trim().parse::<age::x25519::Identity>().unwrap()
    };
    let before = identity(&edited);
    by_bob(&["keyring", "rotate"]).ok();
    assert!(bob.counters().private_key_operations >= 2);
    let rotated = desk.laptop.manifest("prod");
    let after = identity(&rotated);
    assert_ne!(before.to_public().to_string(), after.to_public().to_string());

    // What her PGP key gave her of the first generation opens nothing of the second; with stock age alone.
    let opens = |spec: &touchseal_crds::KeyringSpec, identity: &age::x25519::Identity| {
        let folder = Scratch::new("age").unwrap();
        let (key, file) = (folder.path().join("key"), folder.path().join("master.age"));
        fs::write(&key, identity.to_string().expose_secret()).unwrap();
        fs::write(&file, spec.generations.last().unwrap().wrapped.as_ref().unwrap()).unwrap();
        let output = Command::new("age").arg("-d").arg("-i").arg(&key).arg(&file).output().unwrap();
        output.status.success() && output.stdout.len() == 32
    };
    assert!(opens(&edited, &before) && opens(&rotated, &after));
    assert!(!opens(&rotated, &before) && !opens(&edited, &after));
    // And Alice goes on opening it.
    desk.run(&["keyring", "hand-over", "deny", "-f", FILE, "--serial", "9302"]).ok();
}

/// The manifest keeps the public key as it was: once it has run out there, no generation is for its holder.
#[test]
fn who_holds_up_a_rotation_is_named_before_anybody_touches() {
    let desk = Desk::of(Laptop::new(std::path::Path::new("/nonexistent/kubeconfig")), 9_305);
    let bob = desk.laptop.key(1, 9_306);
    desk.with_pin(&["keyring", "create", "prod", "--holder", "bob", "--serial", "9306"]).ok();
    let quiet = ["--batch", "--pinentry-mode", "loopback", "--passphrase", ""];
    desk.gnupg.gpg(&[&quiet[..], &["--quick-set-expire", &desk.fingerprint, "1y"]].concat(), b"");
    let enrol = ["keyring", "enrol", "-f", FILE, "--holder", "alice", "--pgp", &desk.fingerprint];
    desk.with_pin(&[&enrol[..], &["--with-serial", "9306"]].concat()).ok();
    let later = desk.gnupg.later();
    let run = |arguments: &[&str]| -> Said {
        let mut command = desk.laptop.with_pin(&[arguments, &["-f", FILE, "--serial", "9306"]].concat(), PIN);
        desk.at_home(&mut command).env("SOPS_GPG_EXEC", &later).output().unwrap().into()
    };
    let again = ["keyring", "enrol", "-f", FILE, "--holder", "again", "--with-serial", "9306"];
    desk.with_pin(&[&again[..], &["--pgp", &desk.fingerprint]].concat())
        .refused(1, &["that of holder alice"]);
    let operations = bob.counters().private_key_operations;
    let named = ["holder alice", desk.fingerprint.as_str(), "remove-holder NAME"];
    for held_up in [&["keyring", "rotate"][..], &["keyring", "quorum", "2", "--rotate"]] {
        run(held_up).refused(1, &named);
    }
    assert_eq!(bob.counters().private_key_operations, operations, "nobody touched");
    run(&["keyring", "remove-holder", "alice", "--rotate"]).ok();
}

#[test]
fn a_key_that_is_on_no_yubikey_is_no_holders() {
    let desk = Desk::of(Laptop::new(std::path::Path::new("/nonexistent/kubeconfig")), 9_304);
    let create = |fingerprint: &str, more: &[&str]| {
        desk.run(&[&["keyring", "create", "prod", "--holder", "alice", "--pgp", fingerprint], more].concat())
    };
    let on_disk = desk.gnupg.generate("carol");
    create(&on_disk, &[]).refused(1, &["is in a file of this computer", "keytocard"]);
    create(&"0".repeat(40), &[]).refused(1, &["no public key of that fingerprint"]);
    create("ABCD", &[]).refused(2, &["not the fingerprint"]);
    create(&desk.fingerprint, &["--serial", "1"]).refused(1, &["on YubiKey 9304, not on 1"]);
    let listed = desk.gnupg.gpg(&["--with-colons", "--list-keys", &desk.fingerprint], b"").out;
    let subkey = listed.lines().rfind(|line| line.starts_with("fpr:")).unwrap().split(':').nth(9).unwrap();
    create(subkey, &[]).refused(1, &["its public key is that of", &desk.fingerprint]);
    // A newer one beside it, in a file, is the one that gpg would encrypt to.
    let quiet = ["--batch", "--pinentry-mode", "loopback", "--passphrase", ""];
    let add = ["--quick-add-key", &desk.fingerprint, "nistp256", "encr", "never"];
    desk.gnupg.gpg(&[&quiet[..], &add].concat(), b"");
    create(&desk.fingerprint, &[]).refused(1, &["not all on one YubiKey", "keytocard"]);
    assert!(!desk.laptop.folder().join(FILE).exists());
    assert_eq!((desk.gnupg.asked(), desk.key.counters().decipherments), (Vec::new(), 0));
}
