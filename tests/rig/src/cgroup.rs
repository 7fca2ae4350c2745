//! A limit of memory for a program that a test runs beside itself, as a container has one: a memory cgroup, of version 1 or 2.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, fs, io};

use crate::poll::eventually;

/// How long what was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cgroup; removed when dropped, once nothing runs in it.
pub struct MemoryGroup {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    One,
    Two,
}

impl MemoryGroup {
    /// None where this machine does not let us have one. It says so where everybody sees it, for nobody should take a test that did
    /// not run for a pass; with `CI` in the environment it panics instead.
    pub fn new(limit: u64) -> Option<MemoryGroup> {
        let obstacle = match MemoryGroup::make(limit) {
            Ok(group) => return Some(group),
            Err(error) => error,
        };
        assert!(env::var_os("CI").is_none(), "this machine gives no memory cgroup: {obstacle}");
        let words = format!(
            "\nNOT TESTED: nothing ran within a limit of memory, for there is no cgroup: {obstacle}\n\n"
        );
        let _ = io::stderr().write_all(words.as_bytes()); // not by a macro, whose output tests that pass keep to themselves
        None
    }

    fn make(limit: u64) -> io::Result<MemoryGroup> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (above, version) = hierarchy()?;
        if version == Version::Two {
            fs::write(above.join("cgroup.subtree_control"), "+memory")?;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = above.join(format!("touchseal-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        let group = MemoryGroup { folder, version };
        group.limit(limit)?;
        Ok(group)
    }

    /// Sets how many bytes there are for all that run in it. Where version 1 says that more is in use, it waits: what was killed
    /// takes a moment to give its memory back.
    ///
    /// # Errors
    /// When the kernel refuses, for instance as more stays in use.
    pub fn limit(&self, bytes: u64) -> io::Result<()> {
        match self.version {
            Version::One => {
                let file = self.folder.join("memory.limit_in_bytes");
                eventually(PATIENCE, "less memory to be in use", || {
                    match fs::write(&file, bytes.to_string()) {
                        Err(busy) if busy.kind() == ErrorKind::ResourceBusy => Err(busy),
                        done => Ok(done),
                    }
                })
                .map_err(io::Error::other)?
            }
            Version::Two => {
                fs::write(self.folder.join("memory.swap.max"), "0")?;
                fs::write(self.folder.join("memory.max"), bytes.to_string())
            }
        }
    }

    /// A program with arguments that goes in there and becomes what is appended to it.
    pub fn wrapper(&self) -> Vec<String> {
        let processes = self.folder.join("cgroup.procs").display().to_string();
        ["/bin/sh", "-c", "echo $$ >\"$0\" && exec \"$@\"", &processes].map(str::to_owned).to_vec()
    }

    /// How often the kernel killed something in it for want of memory.
    pub fn kills(&self) -> u64 {
        let file = if self.version == Version::One { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.parse().ok()).unwrap_or_default()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // What was killed in it may take a moment to be gone.
        let _ = eventually(PATIENCE, "it to be empty", || fs::remove_dir(&self.folder));
    }
}

/// Where groups can be made: below our own in version 1, at the root in version 2, where none but the root may have both
/// processes and limits below it.
fn hierarchy() -> io::Result<(PathBuf, Version)> {
    let root = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    if controllers.split_whitespace().any(|controller| controller == "memory") {
        return Ok((root.to_owned(), Version::Two));
    }
    let memory = root.join("memory");
    if !memory.join("memory.limit_in_bytes").is_file() && !memory.join("tasks").is_file() {
        return Err(io::Error::other("no memory controller is mounted at /sys/fs/cgroup"));
    }
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own = own.lines().find_map(|line| line.split_once(":memory:")).map_or("/", |(_, path)| path);
    let own = memory.join(own.trim_start_matches('/'));
    Ok((if own.is_dir() { own } else { memory }, Version::One))
}
