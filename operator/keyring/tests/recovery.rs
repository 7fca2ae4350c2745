//! The script that `crds/keyring.md` gives to people who have to do without Touchseal, run as it stands there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of a test fail it by panicking")]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[test]
fn the_documented_script_derives_what_the_vectors_say() {
    let script = documented_script();
    let vectors = fs::read_to_string(format!("{ROOT}/tests/vectors/keyring/keyring.json")).unwrap();
    let vectors: Value = serde_json::from_str(&vectors).unwrap();
    let mut compared = 0;
    for generation in vectors["generations"].as_array().unwrap() {
        for namespace in generation["namespaces"].as_array().unwrap() {
            let label = format!("touchseal/v1/namespace/{}", text(&namespace["name"]));
            let identity = run(&script, text(&vectors["id"]), &label, text(&generation["master"]));
            assert_eq!(identity, text(&namespace["identity"]));
            compared += 1;
        }
    }
    assert_eq!(compared, 9);
}

#[test]
fn the_documented_script_opens_an_older_generation() {
    let script = documented_script();
    let manifest = fs::read_to_string(format!("{ROOT}/tests/vectors/keyring/manifest-2.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let identity = run(&script, text(&manifest["id"]), "touchseal/v1/previous", &"02".repeat(32));
    let identity: age::x25519::Identity = identity.parse().unwrap();
    let older = age::decrypt(&identity, text(&manifest["generations"][0]["wrapped"]).as_bytes()).unwrap();
    assert_eq!(older, [1; 32]);
}

/// The page's derive.py, without the indentation of the list it stands in.
fn documented_script() -> String {
    let page = fs::read_to_string(format!("{ROOT}/crds/keyring.md")).unwrap();
    let blocks = page.split("   ```python\n").skip(1).map(|rest| rest.split_once("   ```\n").unwrap().0);
    let scripts: Vec<&str> = blocks.filter(|block| block.contains("derive.py ID LABEL")).collect();
    let [block] = scripts[..] else { panic!("{} scripts derive", scripts.len()) };
    block.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn run(script: &str, id: &str, label: &str, master: &str) -> String {
    let mut python = Command::new("python3")
        .args(["-c", script, id, label])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs the documented script");
    python.stdin.take().unwrap().write_all(&hex::decode(master).unwrap()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
