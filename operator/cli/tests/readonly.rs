//! A file that nobody may write is left as it is, and that is said before an editor opens or anything is asked.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const RECIPIENT: &str = "age1hm68wwpcyyg7e7jwvapq4e49mm5vf2v5v7qnjxal7t7g9qm3492qghhsmx";

/// Runs it on a read-only copy of a file of `tests/cli`; what it says on standard error.
fn refused(original: &str, arguments: &[&str]) -> std::io::Result<String> {
    let folder = tempfile::tempdir()?;
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cli");
    let file = folder.path().join("app.yaml");
    // No keyring is looked for above it.
    fs::create_dir(folder.path().join(".git"))?;
    fs::copy(cases.join(original), &file)?;
    fs::set_permissions(&file, Permissions::from_mode(0o444))?;
    let before = fs::read(&file)?;
    let said = Command::new(env!("CARGO_BIN_EXE_touchseal"))
        .args(arguments)
        .arg("app.yaml")
        .env("SOPS_AGE_KEY_FILE", cases.join("authoring.in/keys.txt"))
        .env("EDITOR", "false")
        .env("KUBECONFIG", "/nonexistent/touchseal")
        .env("XDG_CONFIG_HOME", "/nonexistent/touchseal")
        .current_dir(folder.path())
        .output()?;
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(1), "{error}");
    assert_eq!(fs::read(&file)?, before, "{error}");
    assert!(error.contains("chmod u+w app.yaml"), "{error}");
    Ok(error)
}

#[test]
fn edit_says_so_before_the_editor_opens() {
    let error = refused("authoring.in/shop/app.yaml", &["edit"]).unwrap();
    assert!(error.contains("error: write app.yaml: it is read-only"), "{error}");
}

#[test]
fn encrypt_in_place_says_so() {
    let error = refused("encrypt.in/shop/app.yaml", &["encrypt", "--in-place", "--age", RECIPIENT]).unwrap();
    assert!(error.contains("error: write app.yaml: it is read-only"), "{error}");
}

#[test]
fn rekey_says_so_of_the_document_and_names_the_file_once() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cli/rekey.in/next/rules.yaml");
    let rules = rules.display().to_string();
    let error =
        refused("rekey.in/shop/app.yaml", &["rekey", "--accept-others", "--dry-run", "--config", &rules])
            .unwrap();
    assert!(
        error.contains("\napp.yaml (app.yaml): it is read-only\n")
            || error.starts_with("app.yaml (app.yaml): it is read-only\n"),
        "{error}"
    );
}
