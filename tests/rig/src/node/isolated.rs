//! A test program in a world of its own: own network, processes and mounts, where a node can do what a node does without
//! the machine noticing. The program starts itself again in there, as process 1: when that ends, however it ends, the
//! kernel ends everything else, containers included.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::{env, fs, io};

use crate::process;

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

/// Why this machine cannot do it, if it cannot.
pub fn obstacle() -> Option<String> {
    if fs::metadata("/proc/self").is_ok_and(|me| me.uid() != 0) {
        return Some("containerd and kubelet need root, and this is another user".into());
    }
    let overlay = fs::read_to_string("/proc/filesystems").is_ok_and(|all| all.contains("\toverlay\n"));
    if !overlay {
        return Some("the kernel has no overlay file system for images".into());
    }
    if let Err(why) = cgroups().iter().try_for_each(|root| fs::create_dir_all(root)) {
        return Some(format!("control groups cannot be made: {why}"));
    }
    remove_cgroups();
    let tried = unshared().args(["-c", "true"]).output();
    match tried {
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
    let mut command = unshared();
    command.args(["-c", PREPARE, "sh"]).arg(env::current_exe()?).args(arguments);
    command.envs(environment.iter().copied());
    let status = command.status();
    remove_cgroups();
    status
}

/// A shell inside, which ends with this process.
fn unshared() -> Command {
    let mut command = process::command("unshare");
    command
        .args(["--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "/bin/sh"])
        .env(INSIDE, std::process::id().to_string())
        .env("TMPDIR", "/run/tmp")
        .env("SYSCTLS", SYSCTLS);
    command
}

/// The control group below which all containers are; named after the process outside.
pub(super) fn cgroup() -> String {
    let owner = env::var(INSIDE).unwrap_or_else(|_| std::process::id().to_string());
    format!("touchseal-node-{owner}")
}

/// Where that is: once, or with the older kind of control groups once for each controller.
fn cgroups() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root.join(cgroup())];
    }
    let controllers = fs::read_dir(root).into_iter().flatten().flatten();
    controllers
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path().join(cgroup()))
        .collect()
}

/// Control groups belong to the machine: the empty ones stay behind when their processes are gone.
fn remove_cgroups() {
    fn remove(folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
        let _ = fs::remove_dir(folder); // not there, or the kernel is not done with it: harmless
    }
    cgroups().iter().for_each(|folder| remove(folder));
}
