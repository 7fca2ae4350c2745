//! Programs that a test runs beside itself: their output goes to a file, and they end with this process, however it ends.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

pub use rustix::process::Signal;

use crate::poll::{TimedOut, eventually};

/// A command for [`spawn`]: `program`, started so that the kernel kills it when this process ends.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts a [`command`], with no input and with both outputs appended to `log`. `name` is what errors call it.
///
/// # Errors
/// When the log cannot be opened or the program cannot be started. A program that is not there shows as one that exits
/// at once with a line in its log.
pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Process, ProcessError> {
    let failed = |source| ProcessError::Start { name: name.into(), source };
    let output = File::options().create(true).append(true).open(log).map_err(failed)?;
    command.stdin(Stdio::null()).stdout(output.try_clone().map_err(failed)?).stderr(output);
    let child = spawn_for_good(command).map_err(failed)?;
    Ok(Process { name: name.into(), child, log: log.into() })
}

/// A running or ended program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All it has written so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines it has written, under a heading, for people who look at a failed test.
    pub fn tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        let last = all[all.len().saturating_sub(lines)..].join("\n");
        format!("--- {}: last lines of {} ---\n{last}", self.name, self.log.display())
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal. One that has ended already is left alone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<(), ProcessError> {
        if self.exited().is_some() {
            return Ok(());
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .map_err(|error| ProcessError::Signal { name: self.name.clone(), source: error.into() })
    }

    /// kill -9, and waits until it is gone. Does nothing to one that has ended.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it still runs at the deadline; it keeps running then.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus, TimedOut> {
        let what = format!("the end of {}", self.name);
        eventually(deadline, &what, || self.exited().ok_or("it still runs"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("starting {name}")]
    Start { name: String, source: io::Error },
    #[error("sending a signal to {name}")]
    Signal { name: String, source: io::Error },
}

/// The kernel ties a child's life to the *thread* that started it (prctl(2), PR_SET_PDEATHSIG), and the thread of a test
/// ends with the test. So one thread that lives as long as the process starts them all.
fn spawn_for_good(command: Command) -> io::Result<Child> {
    struct Job {
        command: Command,
        answer: Sender<io::Result<Child>>,
    }
    static STARTER: LazyLock<Sender<Job>> = LazyLock::new(|| {
        let (sender, jobs) = channel::<Job>();
        std::thread::spawn(move || {
            for mut job in jobs {
                let _ = job.answer.send(job.command.spawn());
            }
        });
        sender
    });
    let (answer, child) = channel();
    STARTER.send(Job { command, answer }).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::os::unix::process::ExitStatusExt;

    fn sh(script: &str, scratch: &Scratch) -> Process {
        let mut command = command("/bin/sh");
        command.args(["-c", script]);
        spawn("sh", command, &scratch.path().join("sh.log")).unwrap()
    }

    #[test]
    fn keeps_both_outputs_and_the_exit_code() {
        let scratch = Scratch::new("process-test").unwrap();
        let mut process = sh("echo one; echo two >&2; exit 3", &scratch);
        assert_eq!(process.wait(Duration::from_secs(10)).unwrap().code(), Some(3));
        assert_eq!(process.log(), "one\ntwo\n");
        assert!(process.tail(1).ends_with("---\ntwo"));
    }

    #[test]
    fn outlives_the_thread_that_started_it_and_dies_by_signal() {
        let scratch = Scratch::new("process-test").unwrap();
        std::thread::scope(|scope| {
            let starter = scope.spawn(|| {
                let process = sh("echo up; exec sleep 1000", &scratch);
                eventually(Duration::from_secs(10), "its first line", || process.log() == "up\n").unwrap();
                process
            });
            let mut process = starter.join().unwrap();
            assert!(process.wait(Duration::from_millis(200)).is_err(), "it ended with its thread");
            process.signal(Signal::TERM).unwrap();
            let status = process.wait(Duration::from_secs(10)).unwrap();
            assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
            process.signal(Signal::TERM).unwrap();
        });
    }

    #[test]
    fn a_dropped_one_is_gone() {
        let scratch = Scratch::new("process-test").unwrap();
        let process = sh("exec sleep 1000", &scratch);
        let proc = PathBuf::from(format!("/proc/{}", process.pid()));
        assert!(proc.exists());
        drop(process);
        assert!(!proc.exists());
    }
}
