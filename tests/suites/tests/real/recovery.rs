//! Recovery never depends on Touchseal: with the manifest, the YubiKey, stock age and age-plugin-yubikey, Python's standard
//! library and sops, every document opens.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use touchseal_crds::keyring::{Holder, HolderKind, PinPolicy, TouchPolicy};
use touchseal_keyring::{PivPublicKey, manifest};
use touchseal_rig::scratch::Scratch;
use touchseal_rig::tools::{self, Tool};
use touchseal_softkey::{Reader, SoftKey};
use touchseal_suites::Sops;
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
    let run = |mut command: Command, input: &str| -> String {
        let path = format!("{}:{}", tools::made().display(), env::var("PATH").unwrap());
        let socket = reader.socket();
        command.env("PATH", path).env("PCSCLITE_CSOCK_NAME", socket).current_dir(folder.path());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let python = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/recovery.py")).args(arguments);
        command
    };
    let decrypt = |identity: &str, document: &str| {
        let mut command = Tool::Sops.command().unwrap();
        command.args(["decrypt", "--extract", "[\"password\"]", document]).env("SOPS_AGE_KEY", identity);
        run(command, "")
    };

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

fn recipient(open: &touchseal_keyring::OpenKeyring) -> String {
    open.recipient_spec("shop").unwrap().recipient
}

/// The client's part: a key on the card, as `touchseal keyring enrol` has one made.
fn generate() {
    let mut card = Card::open(Which::Only).unwrap();
    let pin = Pin::new(PIN.as_bytes().to_vec().into()).unwrap();
    card.generate(&GenerateOptions::new("alice"), &pin, &mut || ()).unwrap();
}
