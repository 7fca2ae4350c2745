//! What a process has used so far, by /proc.

use std::fs;

use super::Fault;

/// Processor time (user and system) in seconds.
pub fn cpu_seconds(pid: u32) -> Result<f64, Fault> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(") ").ok_or("no stat")?.1.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).ok_or("no ticks");
    Ok((ticks(11)? + ticks(12)?) / rustix::param::clock_ticks_per_second() as f64)
}

/// A line of /proc/PID/status in MiB: `VmHWM`, `VmRSS`, `RssAnon`.
pub fn memory_mib(pid: u32, line: &str) -> Result<f64, Fault> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    let kib: f64 = found.and_then(|l| l.trim().strip_suffix(" kB")).ok_or("no such line")?.parse()?;
    Ok(kib / 1024.0)
}
