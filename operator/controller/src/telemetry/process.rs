//! The process as its kernel sees it, under the names that every exporter uses.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// This process.
#[derive(Debug)]
pub struct Process {
    /// Seconds since 1970.
    started: f64,
}

impl Default for Process {
    fn default() -> Process {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Process { started: now.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let seconds = Some(&Unit::Seconds);
        let started = encoder.encode_descriptor(
            "process_start_time",
            "When it started, since 1970.",
            seconds,
            MetricType::Gauge,
        )?;
        ConstGauge::new(self.started).encode(started)?;
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let used = as_seconds(usage.user_time()) + as_seconds(usage.system_time());
            let cpu = encoder.encode_descriptor(
                "process_cpu",
                "Processor time used.",
                seconds,
                MetricType::Counter,
            )?;
            ConstCounter::new(used).encode(cpu)?;
        }
        if let Some(bytes) = resident() {
            let bytes_of = Some(&Unit::Bytes);
            let memory = encoder.encode_descriptor(
                "process_resident_memory",
                "Memory in use.",
                bytes_of,
                MetricType::Gauge,
            )?;
            ConstGauge::new(bytes).encode(memory)?;
        }
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss)] // microseconds of a process's life
fn as_seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// Readable also where the process protects its memory.
pub(super) fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kilobytes.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_has_used_time() {
        assert!(resident().unwrap() > 1024 * 1024);
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        assert!(as_seconds(usage.user_time()) + as_seconds(usage.system_time()) > 0.0);
    }
}
