//! The measured side of a contest: a process that does nothing but its work, on demand. It reads one request a line and
//! answers with one line, and ends when its input does.
//!
//! ```text
//! run COUNT FORMAT PATH  ->  WALL CPU DIGEST   nanoseconds for COUNT times, SHA-256 of the last result
//! peak                   ->  KIB               the most memory it ever held
//! ```
//!
//! The first `run` of a document reads it from disk before the clock starts.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::Instant;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What the benchmark program is called with to be a worker; the kind of worker follows.
pub const ARGUMENT: &str = "--worker";

pub type Failure = Box<dyn std::error::Error>;

/// One document's work, once. The result is digested after the clock has stopped.
pub type Work = Box<dyn FnMut() -> Result<Zeroizing<Vec<u8>>, Failure>>;

pub trait Contestant {
    /// Makes everything ready that a long-running program would have ready.
    fn prepare(&self, format: &str, path: &Path) -> Result<Work, Failure>;

    /// Whether the work is done by processes this one starts, which are then what is measured.
    fn by_children(&self) -> bool {
        false
    }
}

/// Answers requests until the input ends.
pub fn serve(contestant: &dyn Contestant) -> Result<(), Failure> {
    let mut works = HashMap::new();
    for request in io::stdin().lock().lines() {
        let request = request?;
        let answer = match request.split(' ').collect::<Vec<_>>()[..] {
            ["peak"] => peak(contestant.by_children())?.to_string(),
            ["run", count, format, path] => {
                if !works.contains_key(path) {
                    works.insert(path.to_owned(), contestant.prepare(format, Path::new(path))?);
                }
                let work = works.get_mut(path).ok_or("no work")?;
                measure(work, count.parse()?, contestant.by_children())?
            }
            _ => return Err(format!("not a request: {request}").into()),
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn measure(work: &mut Work, count: u32, children: bool) -> Result<String, Failure> {
    let who = if children { UsageWho::RUSAGE_CHILDREN } else { UsageWho::RUSAGE_SELF };
    let mut last = Zeroizing::default();
    let (wall, before) = (Instant::now(), processor(&getrusage(who)?));
    for _ in 0..count {
        last = work()?;
    }
    let (wall, cpu) = (wall.elapsed().as_nanos(), processor(&getrusage(who)?) - before);
    let mut answer = format!("{wall} {cpu} ");
    for byte in Sha256::digest(&*last) {
        write!(answer, "{byte:02x}")?;
    }
    Ok(answer)
}

/// User and system time in nanoseconds.
fn processor(usage: &Usage) -> i64 {
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() * 1_000_000_000 + time.tv_usec() * 1_000)
        .sum()
}

/// In KiB. A process's own peak is read where the kernel counts it anew for each program; `ru_maxrss` of a child
/// starts with what its parent held, which is little: this program as a worker.
fn peak(children: bool) -> Result<u64, Failure> {
    if children {
        return Ok(u64::try_from(getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss())?);
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    Ok(peak.ok_or("the kernel tells no VmHWM")?.trim().parse()?)
}
