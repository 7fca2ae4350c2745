//! The transcripts under `tests/cli`: documentation that is run. They see neither a card nor a cluster.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_command_line_says_what_its_transcripts_say() {
    history();
    let nowhere = "/nonexistent/touchseal";
    trycmd::TestCases::new()
        .env("PCSCLITE_CSOCK_NAME", nowhere)
        .env("KUBECONFIG", nowhere)
        .env("KUBERNETES_SERVICE_HOST", "")
        .env("XDG_CONFIG_HOME", nowhere)
        .env("SOPS_GPG_EXEC", nowhere)
        .env("COLUMNS", "80")
        .case("../../tests/cli/*.md");
}

/// The repository that `audit.md` looks through, where it says: a password that was committed, moved and taken out again.
/// Author and dates are always the same, so commits are.
fn history() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/history");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(folder.join("config")).unwrap();
    let git = |date: &str, arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(&folder).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for (who, name) in [("AUTHOR", "alice"), ("COMMITTER", "bob")] {
            git.env(format!("GIT_{who}_NAME"), name).env(format!("GIT_{who}_EMAIL"), "team@example.invalid");
            git.env(format!("GIT_{who}_DATE"), date);
        }
        assert!(git.status().unwrap().success(), "git {arguments:?}");
    };
    let (first, second, third) = ("2024-03-01T10:00:00Z", "2024-04-02T10:00:00Z", "2025-05-03T10:00:00Z");
    git(first, &["init", "-q", "-b", "main"]);
    fs::write(folder.join("config/settings.py"), "DEBUG = False\nPASSWORD = \"correct horse\"\n").unwrap();
    git(first, &["add", "."]);
    git(first, &["commit", "-qm", "Settings"]);
    git(first, &["tag", "v1.0"]);
    git(second, &["mv", "config", "settings"]);
    git(second, &["commit", "-qm", "Another folder"]);
    fs::write(folder.join("settings/settings.py"), "DEBUG = False\n").unwrap();
    git(third, &["commit", "-qam", "Passwords are encrypted"]);
}
