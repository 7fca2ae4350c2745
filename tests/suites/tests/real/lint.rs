//! `touchseal lint` on trees as people have them: with a keyring on a software YubiKey, documents made by the real sops, the
//! real git and the real pre-commit. No cluster.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use touchseal_rig::tools::{self, Tool};
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::world::repository;
use touchseal_suites::{Laptop, Page, Reading, binaries};

use super::guides::commit;

const VALUE: &str = "correct horse";
const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: mail}\nstringData:\n  password: correct horse\n";

fn laptop() -> Laptop {
    Laptop::new(Path::new("/nonexistent/kubeconfig"))
}

/// A repository with a keyring, rules for two namespaces, and a document of one.
fn tree(laptop: &Laptop) {
    laptop.create_keyring("prod", "alice");
    let recipients =
        ["recipients", "-f", "prod.keyring.yaml", "--for", "shop", "--for", "chat", "--sops-yaml"];
    laptop.run(&recipients, PIN).ok();
    commit(laptop, &[("app", "password: correct horse\n")]);
}

fn put(laptop: &Laptop, name: &str, text: &str) {
    let path = laptop.folder().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Rules and files of what was found, sorted.
fn found(said: &Said) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"));
    let word = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|one| (word(one, "rule"), word(one, "file"))).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(rule, file)| ((*rule).to_owned(), (*file).to_owned())).collect()
}

const LINT: [&str; 3] = ["lint", "-o", "json"];

#[test]
fn the_page_about_lint_can_be_followed() {
    let laptop = laptop();
    let _key = laptop.key(0, 4_711);
    tree(&laptop);
    Reading::at(&laptop).follow(&Page::of("docs/lint.md"));
    let log = laptop.run_plain(&["lint", "--no-ignore"]).ok();
    assert!(!log.err.contains("note:"), "every document was held against a known recipient: {}", log.err);
}

#[test]
fn the_real_pre_commit_runs_the_hook_of_this_repository() {
    let laptop = laptop();
    let _key = laptop.key(0, 4_711);
    tree(&laptop);
    // What pre-commit would clone: the repository with the hook's definition.
    let hooks = laptop.home.path().join("hooks");
    fs::create_dir_all(&hooks).unwrap();
    fs::copy(repository().join(".pre-commit-hooks.yaml"), hooks.join(".pre-commit-hooks.yaml")).unwrap();
    let hooks = hooks.to_str().unwrap();
    for arguments in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "hooks"], &["tag", "v0.1.0"]] {
        laptop.git(&[&["-C", hooks], arguments].concat());
    }
    let page = fs::read_to_string(repository().join("docs/lint.md")).unwrap();
    let (_, config) = page.split_once("```yaml\nrepos:\n").expect("the configuration that the page shows");
    let config = config.split("```").next().unwrap().replace("https://example.com/touchseal", hooks);
    put(&laptop, ".pre-commit-config.yaml", &format!("repos:\n{config}"));
    let pre_commit = |arguments: &[&str]| -> Said {
        let path = tools::path_behind([binaries::touchseal().parent().unwrap().to_owned(), tools::made()]);
        let mut command = Tool::PreCommit.command().unwrap();
        command.args(arguments).current_dir(laptop.folder()).env("XDG_CONFIG_HOME", laptop.home.path());
        command.env("PRE_COMMIT_HOME", laptop.home.path().join("pre-commit")).env("HOME", laptop.home.path());
        command.env("PATH", path.unwrap());
        command.output().unwrap().into()
    };
    laptop.git(&["add", "."]);
    let said = pre_commit(&["run", "--all-files"]);
    assert!(said.code == 0 && said.out.contains("Passed"), "{said:?}");

    put(&laptop, "shop/mail.yaml", SECRET);
    laptop.git(&["add", "shop/mail.yaml"]);
    // Only what is staged is named to it: the file, and not the others.
    let said = pre_commit(&["run"]);
    assert!(said.code == 1 && said.out.contains("shop/mail.yaml:5:3: plaintext-secret: "), "{said:?}");
    assert!(said.out.contains("exit code: 5") && !said.out.contains(VALUE), "{said:?}");
}

#[test]
fn a_document_of_another_namespace_is_found_with_and_without_the_laptops_memory() {
    let laptop = laptop();
    let _key = laptop.key(0, 4_711);
    tree(&laptop);
    assert_eq!(found(&laptop.run_plain(&LINT).ok()), []);
    let manifest = fs::read_to_string(laptop.folder().join("shop/app.esec.yaml")).unwrap();
    put(&laptop, "chat/app.esec.yaml", &manifest.replace("namespace: shop", "namespace: chat"));
    let wrong = owned(&[("wrong-namespace", "chat/app.esec.yaml")]);
    let said = laptop.run_plain(&LINT);
    assert_eq!((said.code, found(&said)), (5, wrong.clone()));
    laptop.forget_keyrings();
    assert_eq!(found(&laptop.run_plain(&LINT)), wrong, "by the rules alone");
}

#[test]
fn key_generations_are_told_where_they_are_known() {
    let laptop = laptop();
    let _key = laptop.key(0, 4_711);
    tree(&laptop);
    laptop.run(&["keyring", "rotate", "-f", "prod.keyring.yaml"], PIN).ok();
    // Two rules, two documents.
    let all = [".sops.yaml", ".sops.yaml", "shop/app.esec.yaml", "shop/app.yaml"];
    let older: Vec<(&str, &str)> = all.iter().map(|file| ("older-generation", *file)).collect();
    assert_eq!(found(&laptop.run_plain(&LINT)), owned(&older));

    let recipients =
        ["recipients", "-f", "prod.keyring.yaml", "--for", "shop", "--for", "chat", "--sops-yaml"];
    laptop.run(&recipients, PIN).ok();
    laptop.run(&["rekey", "."], PIN).ok();
    assert_eq!(found(&laptop.run_plain(&LINT).ok()), []);
    laptop
        .run(&["keyring", "retire", "1", "-f", "prod.keyring.yaml", "--tree", ".", "--no-cluster"], PIN)
        .ok();
    laptop.git(&["checkout", "-q", "HEAD", "shop/app.yaml"]);
    let said = laptop.run_plain(&LINT);
    let retired = owned(&[("retired-generation", "shop/app.yaml"), ("rule-recipients", "shop/app.yaml")]);
    let mut now = found(&said);
    now.retain(|one| retired.contains(one));
    assert_eq!((said.code, now), (5, retired), "{}", said.out);
}

#[test]
fn a_swapped_and_a_forged_keyring_are_found() {
    let laptop = laptop();
    let _key = laptop.key(0, 4_711);
    tree(&laptop);
    let ring = laptop.folder().join("prod.keyring.yaml");
    let genuine = fs::read_to_string(&ring).unwrap();
    fs::write(&ring, genuine.replace("revision: 1", "revision: 2")).unwrap();
    assert_eq!(found(&laptop.run_plain(&LINT)), owned(&[("keyring-invalid", "prod.keyring.yaml")]));
    // One of somebody else's, which verifies by itself.
    let other = Laptop::new(Path::new("/nonexistent/kubeconfig"));
    let _theirs = other.key(0, 4_712);
    other.create_keyring("prod", "mallory");
    fs::copy(other.folder().join("prod.keyring.yaml"), &ring).unwrap();
    let said = laptop.run_plain(&LINT);
    assert_eq!(found(&said), owned(&[("keyring-changed", "prod.keyring.yaml")]));
    laptop.forget_keyrings();
    assert_eq!(found(&laptop.run_plain(&LINT).ok()), [], "who knows nothing cannot tell");
}

/// On one processor, so by one thread, in this much memory, programs and stacks included.
fn lint(folder: &Path, arguments: &[&str]) -> Said {
    const KIB: u32 = 300_000;
    let mut shell = Command::new("/bin/bash");
    shell.arg("-c").arg(format!("ulimit -v {KIB}; exec taskset -c 0 \"$0\" lint \"$@\""));
    shell.arg(binaries::touchseal()).args(arguments).env("MALLOC_ARENA_MAX", "1");
    let output: Output =
        shell.current_dir(folder).env_remove("XDG_CONFIG_HOME").env("HOME", folder).output().unwrap();
    output.into()
}

/// Whatever somebody commits, lint ends, in bounded memory, follows no link, and neither shows a value nor steers a terminal.
#[test]
fn a_hostile_tree_costs_no_more_than_it_may() {
    let laptop = laptop();
    let folder = laptop.folder();
    let head = "apiVersion: v1\nkind: Secret\n";
    let large = 3 * 1024 * 1024;
    for (index, text) in [
        format!("{head}a: {}", "[".repeat(large)),
        format!("{head}{}", "{a: ".repeat(100_000)),
        format!("{head}{}", "- ".repeat(large / 2)),
        format!("{head}a: &a [x,x,x]\n{}", "b: [*a,*a,*a,*a]\n".repeat(100_000)),
        format!("{head}a: {}", "x,".repeat(large / 2)),
        format!("{head}data:\n{}", "  k: correct horse\n".repeat(large / 20)),
        format!("apiVersion: touchseal.dev/v1alpha1\nkind: Keyring\nspec:\n{}", "  a: b\n".repeat(large / 8)),
        format!("sops:\n  lastmodified: x\n{}", "a: ENC[AES256_GCM,\n".repeat(large / 20)),
    ]
    .into_iter()
    .enumerate()
    {
        put(&laptop, &format!("bombs/{index}.yaml"), &text);
    }
    // What is larger than a file may be is not even read to its end.
    put(&laptop, "bombs/large.yaml", &format!("{head}a: [{}", "x,".repeat(8 * 1024 * 1024)));
    put(&laptop, "deep/a\u{1b}[2J\u{202e}.yaml", SECRET);
    put(&laptop, "deep/b.yaml", &SECRET.replace("password", "\"\\e[31mpassword\\u202e\""));
    let outside = laptop.home.path().parent().unwrap().join(format!("outside-{}", std::process::id()));
    fs::write(&outside, SECRET).unwrap();
    std::os::unix::fs::symlink(&outside, folder.join("deep/link.yaml")).unwrap();
    std::os::unix::fs::symlink("/", folder.join("deep/root")).unwrap();
    let said = lint(folder, &[]);
    fs::remove_file(outside).unwrap();
    assert_eq!(said.code, 5, "{}", said.err);
    assert!(said.err.contains("note: bombs/large.yaml is too large to be looked into"), "{}", said.err);
    let in_deep: Vec<&str> = said.out.lines().filter(|line| line.starts_with("deep/")).collect();
    assert_eq!(in_deep.len(), 2, "{in_deep:?}");
    for text in [&said.out, &said.err] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']) && !text.contains(VALUE), "{text}");
    }
    fs::remove_dir_all(folder.join("bombs")).unwrap();
    for format in ["json", "yaml", "sarif"] {
        let said = lint(folder, &["deep", "-o", format]);
        assert!(
            said.code == 5 && said.out.contains("plaintext-secret") && !said.out.contains(VALUE),
            "{format}"
        );
        assert!(!said.out.contains(['\u{1b}', '\u{202e}']), "{format}: {}", said.out);
    }
}
