//! The command line as a plugin of the real kubectl: under the name kubectl looks for, on the PATH.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use touchseal_rig::scratch::Scratch;
use touchseal_rig::tools::{self, Tool};
use touchseal_suites::binaries;
use touchseal_suites::cli::Said;
use touchseal_suites::world::repository;

/// Names the program is installed under, one folder of the PATH.
fn installed() -> Scratch {
    let folder = Scratch::new("plugin").unwrap();
    for name in ["kubectl-touchseal", "kubectl_complete-touchseal"] {
        symlink(binaries::touchseal(), folder.path().join(name)).unwrap();
    }
    folder
}

fn kubectl(folder: &Path, arguments: &[&str]) -> Said {
    let mut command: Command = Tool::Kubectl.command().unwrap();
    let path = tools::path_behind([folder.to_owned()]).unwrap();
    command.args(arguments).current_dir(folder).env("PATH", path);
    command.env("KUBECONFIG", "/nonexistent/kubeconfig").env("XDG_CONFIG_HOME", folder);
    command.stdin(Stdio::null()).output().unwrap().into()
}

#[test]
fn kubectl_lists_it_runs_it_and_passes_its_exit_code_on() {
    let folder = installed();
    let said = kubectl(folder.path(), &["plugin", "list", "--name-only"]).ok();
    assert!(said.out.lines().any(|line| line == "kubectl-touchseal"), "{said:?}");

    let said = kubectl(folder.path(), &["touchseal", "seal", "--help"]).ok();
    assert!(said.out.contains("Usage: kubectl touchseal seal [OPTIONS]"), "{}", said.out);
    assert!(said.out.contains("Examples:\n  kubectl touchseal seal\n"), "{}", said.out);
    assert!(!said.out.contains("Usage: touchseal") && !said.out.contains("\n  touchseal "), "{}", said.out);
    kubectl(folder.path(), &["touchseal", "unseel"])
        .refused(2, &["usage: kubectl touchseal [OPTIONS] <COMMAND>"]);

    fs::write(folder.path().join("db.yaml"), "apiVersion: v1\nkind: Secret\nstringData: {a: hunter2}\n")
        .unwrap();
    let said = kubectl(folder.path(), &["touchseal", "lint"]).refused(5, &["lint found 1 problem"]);
    assert!(said.out.starts_with("db.yaml:3:14: plaintext-secret: "), "{}", said.out);
}

/// The manifest that a release would publish, made of the program that is tested: krew's own rules hold, and the real krew
/// installs the plugin from its archive, which the real kubectl then runs.
#[test]
fn krew_takes_the_manifest_and_installs_the_plugin() {
    let scratch = Scratch::new("krew").unwrap();
    let made = scratch.path().join("made");
    let program = binaries::touchseal();
    // Of the other systems only the manifest is looked at.
    let other = repository().join("operator/cli/krew/pack.sh");
    let here = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    let pack = |platforms: &[&str]| {
        let mut command = Command::new(&other);
        command.args(["v0.1.0", "https://example.com/touchseal/v0.1.0/"]).arg(&made);
        let of = |platform: &&str| if *platform == here { program.display() } else { other.display() };
        command.args(platforms.iter().map(|platform| format!("{platform}={}", of(platform))));
        Said::from(command.output().unwrap()).ok();
        fs::read_to_string(made.join("touchseal.yaml")).unwrap()
    };
    let others = ["darwin/arm64", "windows/amd64"];
    assert_eq!(pack(&others), pack(&others), "the same programs, the same archives");
    let first = pack(&[&[here], &others[..]].concat());
    let manifest = made.join("touchseal.yaml");
    let validate = || -> Said {
        let mut command = Tool::ValidateKrewManifest.command().unwrap();
        command.args(["-skip-install", "-manifest"]).arg(&manifest).output().unwrap().into()
    };
    validate().ok();
    // It would say so: one that names no program.
    fs::write(&manifest, first.replace("    bin: kubectl-touchseal\n", "")).unwrap();
    assert_ne!(validate().code, 0);
    fs::write(&manifest, first).unwrap();

    let archive = made.join(format!("touchseal-{}.tar.gz", here.replace('/', "-")));
    let mut krew = Tool::Krew.command().unwrap();
    krew.arg("install").arg("--manifest").arg(&manifest).arg("--archive").arg(&archive);
    let root = scratch.path().join("krew");
    Said::from(krew.env("KREW_ROOT", &root).env("HOME", scratch.path()).output().unwrap()).ok();
    let said = kubectl(&root.join("bin"), &["touchseal", "version", "--client"]).ok();
    assert_eq!(said.out, format!("touchseal {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn kubectl_completes_its_commands() {
    let folder = installed();
    let complete =
        |words: &[&str]| kubectl(folder.path(), &[&["__complete", "touchseal"], words].concat()).ok().out;
    assert!(complete(&["keyring", "cre"]).starts_with("create\t"));
    assert!(complete(&["un"]).starts_with("unseal\t"));
}
