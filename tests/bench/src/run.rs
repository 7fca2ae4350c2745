//! Programs measured from outside: one run after the other, by their processor time, the clock and their memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use crate::Outcome;

type Fault = Box<dyn std::error::Error>;

/// One run of a program: seconds of the processors, of all its threads, and of the clock.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub cpu: f64,
    pub wall: f64,
}

/// The command line, built as it is shipped.
pub fn touchseal() -> Result<PathBuf, Fault> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let build = cargo.args(["build", "--release", "--package", "touchseal-cli"]).current_dir(&root);
    if !build.stdout(Stdio::null()).status()?.success() {
        return Err("the command line cannot be built".into());
    }
    Ok(crate::report::folder()?.join("../release/touchseal"))
}

/// Runs it to its end, which has to be this exit code, and looks at what it wrote.
pub fn measure(
    command: &mut Command,
    code: Option<i32>,
    check: impl FnOnce(&[u8]) -> Outcome,
) -> Result<Run, Fault> {
    let (started, before) = (Instant::now(), cpu()?);
    let output = command.stdin(Stdio::null()).output()?;
    let run = Run { wall: started.elapsed().as_secs_f64(), cpu: cpu()? - before };
    if output.status.code() != code {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{command:?} ended with {}: {said}", output.status).into());
    }
    check(&output.stdout)?;
    Ok(run)
}

/// The most of these lines of `/proc/PID/status` in MiB, looked at while it runs. What it writes goes nowhere.
pub fn peaks<const N: usize>(command: &mut Command, lines: [&str; N]) -> Result<[f64; N], Fault> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut most = [0.0_f64; N];
    while child.try_wait()?.is_none() {
        for (most, line) in most.iter_mut().zip(lines) {
            // It may have ended in between.
            *most = most.max(crate::scale::process::memory_mib(child.id(), line).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(most)
}

/// For the file of raw numbers.
pub fn numbers(runs: &[Run]) -> Value {
    let of = |part: fn(&Run) -> f64| runs.iter().map(part).collect::<Vec<_>>();
    json!({ "cpu_s": of(|run| run.cpu), "wall_s": of(|run| run.wall) })
}

/// Seconds that ended children have used.
fn cpu() -> Result<f64, Fault> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}
