//! A test program in a world of its own: own network, processes and mounts, where a node can do what a node does without
//! the machine noticing. The program starts itself again in there, as process 1: when that ends, however it ends, the
//! kernel ends everything else, containers included.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::{env, fs, io};

use crate::process;
use crate::tools::Tool;

/// Set inside.
const INSIDE: &str = "TOUCHSEAL_RIG_ISOLATED";

/// What a kubelet writes to although it is the whole machine's.
const SYSCTLS: &str = "vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
                       kernel/keys/root_maxkeys kernel/keys/root_maxbytes";

/// Folders that a node fills are empty and in memory. Mounts are shared again after `unshare` made them private, among the
/// processes inside: so does systemd, and a kubelet counts on it. Then the addresses: the node's, and that of the Service
/// `kubernetes` (see API_SERVER_FLAGS); a bridge without ports is the one kind of link that is found everywhere.
const PREPARE: &str = r#"
set -eu
mount --make-rshared /
for folder in /run /var/log /var/lib /opt; do mount -t tmpfs -o mode=755 tmpfs $folder; done
mkdir -p /run/sysctl "$TMPDIR"
for name in $SYSCTLS; do
    [ -e /proc/sys/$name ] || continue
    copy=/run/sysctl/$(echo $name | tr / .)
    cat /proc/sys/$name >$copy
    mount --bind $copy /proc/sys/$name
done
ip link set lo up
ip address add 10.0.0.1/32 dev lo
ip link add node0 type bridge
ip address add 10.1.0.1/24 dev node0
ip link set node0 up
exec "$@"
"#;

/// Whether this is the program inside.
pub fn inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Whether this machine can do it. Where it cannot, it says so where everybody sees it, for nobody should take a test that
/// did not run for a pass; with `CI` in the environment it panics instead.
pub fn possible() -> bool {
    let Some(obstacle) = obstacle() else { return true };
    assert!(env::var_os("CI").is_none(), "this machine cannot run a node: {obstacle}");
    let line = "=".repeat(100);
    let words = format!("\n{line}\nNOT TESTED: nothing ran on a real node, for {obstacle}\n{line}\n\n");
    let _ = io::stderr().write_all(words.as_bytes()); // not by a macro, whose output tests that pass keep to themselves
    false
}

fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("containerd and kubelet need root, and this is another user".into());
    }
    if let Err(missing) = Tool::Containerd.path() {
        return Some(missing.to_string());
    }
    let overlay = fs::read_to_string("/proc/filesystems").is_ok_and(|all| all.contains("\toverlay\n"));
    if !overlay {
        return Some("the kernel has no overlay file system for images".into());
    }
    let Some(root) = cgroup_roots().pop() else { return Some("there are no control groups".into()) };
    let probe = root.join(format!("touchseal-probe-{}", std::process::id()));
    if let Err(why) = fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe)) {
        return Some(format!("no control group can be made: {why}"));
    }
    match unshared().args(["-c", "true"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare cannot be run: {error}")),
    }
}

/// Runs this test program once more, inside, with these arguments and this more of an environment; what it prints is
/// printed.
///
/// # Errors
/// When it cannot be started.
pub fn run(arguments: &[&str], environment: &[(&str, &Path)]) -> io::Result<ExitStatus> {
    let before = containers();
    let mut command = unshared();
    command.args(["-c", PREPARE, "sh"]).arg(env::current_exe()?).args(arguments);
    command.envs(environment.iter().copied());
    let status = command.status();
    for folder in containers().iter().rev().filter(|folder| !before.contains(*folder)) {
        let _ = fs::remove_dir(folder); // an empty folder in memory: no harm if the kernel is not done with it
    }
    status
}

/// A shell inside, which ends with this process.
fn unshared() -> Command {
    let mut command = process::command("unshare");
    command
        .args(["--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "/bin/sh"])
        .env(INSIDE, "yes")
        .env("TMPDIR", "/run/tmp")
        .env("SYSCTLS", SYSCTLS);
    command
}

/// Control groups are the machine's, and those of containers stay when their processes are gone: parents before children.
fn containers() -> BTreeSet<PathBuf> {
    fn walk(folder: PathBuf, found: &mut BTreeSet<PathBuf>) {
        folders(&folder).into_iter().for_each(|child| walk(child, found));
        found.insert(folder);
    }
    let mut found = BTreeSet::new();
    let roots = cgroup_roots().into_iter().map(|root| root.join("k8s.io")).filter(|folder| folder.is_dir());
    roots.for_each(|root| walk(root, &mut found));
    found
}

/// One, or with the older kind of control groups one for each controller.
fn cgroup_roots() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() { vec![root] } else { folders(&root) }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
