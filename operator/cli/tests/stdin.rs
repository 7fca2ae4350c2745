//! What comes from stdin: a document that no file holds.
#![cfg(unix)]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};

fn decrypt(stdin: &str, arguments: &[&str]) -> std::io::Result<Output> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cli/authoring.in");
    Command::new(env!("CARGO_BIN_EXE_touchseal"))
        .args(["decrypt", "-"])
        .args(arguments)
        .env("SOPS_AGE_KEY_FILE", folder.join("keys.txt"))
        .env("KUBECONFIG", "/nonexistent/touchseal")
        .env("XDG_CONFIG_HOME", "/nonexistent/touchseal")
        .stdin(File::open(folder.join(stdin))?)
        .current_dir(folder)
        .output()
}

#[test]
fn a_document_is_read_from_stdin() {
    for (stdin, arguments) in [
        ("shop/app.yaml", &[][..]),
        ("shop/app.yaml", &["--input-type", "yaml"]),
        ("shop/chat.env", &["--input-type", "dotenv"]),
    ] {
        let said = decrypt(stdin, arguments).unwrap();
        let error = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success() && !said.stdout.is_empty(), "{stdin} {arguments:?}: {error}");
        assert!(!said.stdout.windows(4).any(|part| part == b"ENC["), "{stdin}");
    }
}

#[test]
fn what_is_no_document_is_refused_by_its_name() {
    let said = decrypt("keys.txt", &[]).unwrap();
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.code() == Some(1) && error.contains("stdin is neither a sops file"), "{error}");
}
