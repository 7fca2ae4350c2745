//! Recovery never depends on Touchseal: with the manifest, the YubiKey, stock age and age-plugin-yubikey, Python's standard
//! library and sops, every document opens.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use touchseal_crds::keyring::{Holder, HolderKind, PinPolicy, TouchPolicy};
use touchseal_keyring::{PivPublicKey, manifest};
use touchseal_rig::scratch::Scratch;
use touchseal_rig::tools::{self, Tool};
use touchseal_softkey::{Reader, SoftKey};
use touchseal_suites::world::repository;
use touchseal_suites::{Laptop, Sops, cli};
use touchseal_token::{Card, GenerateOptions, Pin, Which};

const PIN: &str = "hunter42";
const SERIAL: u32 = 11_223_344;
/// Set in the process that generates the key: the smart card library remembers its first socket for a process's life.
const CLIENT: &str = "TOUCHSEAL_RECOVERY_CLIENT";

#[test]
fn stock_tools_open_a_document_with_the_yubikey_alone() {
    if env::var_os(CLIENT).is_some() {
        return generate();
    }
    let key = SoftKey::builder(SERIAL).firmware(5, 4, 3).pin(PIN).puk("87654321").build().unwrap();
    let reader = Reader::start().unwrap();
    reader.insert(0, &key).unwrap();
    let child = Command::new(env::current_exe().unwrap())
        .args(["recovery::stock_tools_open_a_document_with_the_yubikey_alone", "--exact", "--nocapture"])
        .env(CLIENT, "1")
        .env("PCSCLITE_CSOCK_NAME", reader.socket())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let public = key.public_key(0x82).unwrap();

    // A keyring with two live generations, and a document of each.
    let holder = Holder {
        name: "alice".to_owned(),
        kind: HolderKind::Piv,
        serial: SERIAL,
        slot: "82".to_owned(),
        recipient: PivPublicKey::from_sec1(&public).unwrap().to_recipient(),
        pgp: None,
        pin_policy: Some(PinPolicy::Once),
        touch_policy: Some(TouchPolicy::Always),
    };
    let (first, open) = manifest::create(vec![holder], "2026-01-02T03:04:05Z").unwrap();
    let sops = Sops::new();
    let older = sops.encrypt("app.yaml", "password: of-the-first-generation\n", &recipient(&open));
    let verified = manifest::verify(&first).unwrap();
    let (spec, open) = manifest::rotate(&verified, &open, "2026-02-03T04:05:06Z").unwrap();
    let newer = sops.encrypt("app.yaml", "password: of-the-second-generation\n", &recipient(&open));
    drop(open); // from here on nothing of ours is used

    let folder = Scratch::new("recovery").unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("manifest.json"), json!(spec).to_string()).unwrap();
    fs::write(file("older.yaml"), older).unwrap();
    fs::write(file("newer.yaml"), newer).unwrap();
    let run = |command: Command, input: &str| run(command, input, folder.path(), &reader).unwrap();
    let decrypt = |identity: &str, document: &str| run(sops_decrypt(identity, document), "");

    let mut plugin = Tool::AgePluginYubikey.command().unwrap();
    plugin.args(["--identity", "--slot", "1"]);
    fs::write(file("yubikey.txt"), run(plugin, "")).unwrap();
    let before = key.counters().private_key_operations;
    let master = run(python(&["active", "manifest.json", "yubikey.txt", "0"]), PIN);
    assert_eq!(key.counters().private_key_operations, before + 1);
    let identity = run(python(&["identity", "manifest.json", &master, "shop"]), "");
    assert_eq!(decrypt(&identity, "newer.yaml"), "of-the-second-generation");

    let master = run(python(&["previous", "manifest.json", &master, "1"]), "");
    let identity = run(python(&["identity", "manifest.json", &master, "shop"]), "");
    assert_eq!(decrypt(&identity, "older.yaml"), "of-the-first-generation");
}

/// A quorum of two of two YubiKeys: each share is opened by stock age, and Python's standard library combines them.
#[test]
fn stock_tools_open_a_quorum_with_its_yubikeys_alone() {
    let laptop = Laptop::new(Path::new("/nonexistent/kubeconfig"));
    let keys = [(0, 101, "alice"), (1, 102, "bob")].map(|(slot, serial, name)| {
        let key = SoftKey::builder(serial).firmware(5, 4, 3).pin(cli::PIN).puk("87654321").build().unwrap();
        laptop.reader.insert(slot, &key).unwrap();
        (key, serial, name)
    });
    let create = "keyring create prod --holder alice --serial 101 --and-holder bob --quorum 2";
    laptop.run(&create.split(' ').collect::<Vec<_>>(), cli::PIN).ok();
    let said = laptop.run(&["recipients", "-f", "prod.keyring.yaml", "--for", "shop"], cli::PIN).ok();
    let recipient = said.out.split_whitespace().find(|word| word.starts_with("age1")).unwrap().to_owned();

    let folder = Scratch::new("recovery").unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("manifest.json"), json!(laptop.manifest("prod")).to_string()).unwrap();
    fs::write(file("app.yaml"), Sops::new().encrypt("app.yaml", "password: of-two\n", &recipient)).unwrap();
    let run = |command: Command, input: &str| run(command, input, folder.path(), &laptop.reader);
    let shares = keys.map(|(key, serial, name)| {
        let mut plugin = Tool::AgePluginYubikey.command().unwrap();
        plugin.args(["--identity", "--slot", "1", "--serial", &serial.to_string()]);
        fs::write(file(name), run(plugin, "").unwrap()).unwrap();
        let before = key.counters().private_key_operations;
        let share = run(python(&["share", "manifest.json", name, "0", name]), cli::PIN).unwrap();
        assert_eq!(key.counters().private_key_operations, before + 1);
        format!("{name}={share}")
    });
    let [alice, bob] = &shares;
    let alone = run(python(&["combine", "manifest.json", alice]), "").unwrap_err();
    assert!(alone.contains("1 shares, and it takes 2"), "{alone}");
    let swapped = alice.replace("alice", "bob");
    let wrong = run(python(&["combine", "manifest.json", alice, &swapped]), "").unwrap_err();
    assert!(wrong.contains("the share of bob is wrong"), "{wrong}");
    let master = run(python(&["combine", "manifest.json", bob, alice]), "").unwrap();
    let identity = run(python(&["identity", "manifest.json", &master, "shop"]), "").unwrap();
    assert_eq!(run(sops_decrypt(&identity, "app.yaml"), "").unwrap(), "of-two");
}

/// The script on the Keyring's page, run on the published vectors: any two of three.
#[test]
fn the_documented_combination_gives_the_master_of_the_vectors() {
    let page = fs::read_to_string(repository().join("crds/keyring.md")).unwrap();
    let blocks = page.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let script = blocks.into_iter().find(|block| block.contains("combine.py INDEX=FILE")).unwrap();
    let script: Vec<_> = script.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)).collect();
    let folder = Scratch::new("combine").unwrap();
    fs::write(folder.path().join("combine.py"), script.join("\n")).unwrap();
    let vectors = repository().join("tests/vectors/keyring");
    let vector: Value = serde_json::from_slice(&fs::read(vectors.join("quorum.json")).unwrap()).unwrap();
    let share = |place: usize| {
        let of = &vector["shares"][place];
        let bytes = hex::decode(of["share"].as_str().unwrap()).unwrap();
        fs::write(folder.path().join(of["holder"].as_str().unwrap()), bytes).unwrap();
        format!("{}={}", of["index"], of["holder"].as_str().unwrap())
    };
    for (one, two) in [(0, 1), (1, 2), (2, 0)] {
        let mut command = Command::new("python3");
        command.args(["combine.py", &share(one), &share(two)]).current_dir(folder.path());
        let master = hex::encode(command.output().unwrap().stdout);
        assert_eq!(master, vector["master"].as_str().unwrap());
    }
}

/// What a command printed, or what it said when it failed. It finds stock tools alone.
fn run(mut command: Command, input: &str, folder: &Path, reader: &Reader) -> Result<String, String> {
    let path = tools::path_behind([tools::made()]).unwrap();
    command.env("PATH", path).env("PCSCLITE_CSOCK_NAME", reader.socket()).current_dir(folder);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that needs no input may have ended before it is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn python(arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/recovery.py")).args(arguments);
    command
}

fn sops_decrypt(identity: &str, document: &str) -> Command {
    let mut command = Tool::Sops.command().unwrap();
    command.args(["decrypt", "--extract", "[\"password\"]", document]).env("SOPS_AGE_KEY", identity);
    command
}

fn recipient(open: &touchseal_keyring::OpenKeyring) -> String {
    open.recipient_spec("shop").unwrap().recipient
}

/// The client's part: a key on the card, as `touchseal keyring enrol` has one made.
fn generate() {
    let mut card = Card::open(Which::Only).unwrap();
    let pin = Pin::new(PIN.as_bytes().to_vec().into()).unwrap();
    card.generate(&GenerateOptions::new("alice"), &pin, &mut || ()).unwrap();
}
