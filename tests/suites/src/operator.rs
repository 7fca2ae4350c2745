//! One operator process, run beside the test as the shipped ServiceAccount, bound to a pod that stands in for its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use touchseal_rig::cluster::{Cluster, StandInPod};
use touchseal_rig::poll::eventually;
use touchseal_rig::ports::Port;
use touchseal_rig::process::{self, Process};

use crate::{DEADLINE, binaries};

/// Short, for tests kill operators and wait for the next to lead; and pods of killed operators stay.
const WAITS: [&str; 4] =
    ["--lease-duration=4s", "--renew-deadline=3s", "--retry-period=300ms", "--hand-over-wait=0s"];

/// A running operator.
pub struct Operator {
    /// Its process.
    pub process: Process,
    /// Its pod.
    pub pod: StandInPod,
    /// Flags beyond those every operator of a test has.
    pub flags: Vec<String>,
    probes: Port,
    metrics: Port,
}

impl Operator {
    /// Starts one in `namespace` and waits until it is ready, which it is while sealed.
    pub fn start(cluster: &Cluster, namespace: &str, name: &str) -> Operator {
        Operator::start_with(cluster, namespace, name, &[])
    }

    /// The same with more flags.
    pub fn start_with(cluster: &Cluster, namespace: &str, name: &str, flags: &[&str]) -> Operator {
        let pod = cluster.stand_in_pod(namespace, "touchseal-operator", name).unwrap();
        Operator::start_as_with(cluster, namespace, pod, flags)
    }

    /// Starts one as a pod that exists already: a restarted container.
    pub fn start_as(cluster: &Cluster, namespace: &str, pod: StandInPod) -> Operator {
        Operator::start_as_with(cluster, namespace, pod, &[])
    }

    /// The same with more flags.
    pub fn start_as_with(cluster: &Cluster, namespace: &str, pod: StandInPod, flags: &[&str]) -> Operator {
        let kubeconfig =
            cluster.kubeconfig_for_service_account(namespace, "touchseal-operator", Some(&pod)).unwrap();
        Operator::start_through(cluster, namespace, pod, &kubeconfig, flags)
    }

    /// The same, reaching the API server as `kubeconfig` says.
    pub fn start_through(
        cluster: &Cluster,
        namespace: &str,
        pod: StandInPod,
        kubeconfig: &Path,
        flags: &[&str],
    ) -> Operator {
        let command = process::command(binaries::operator());
        Operator::launch(cluster, namespace, pod, kubeconfig, command, flags)
    }

    /// Starts one that may lock no memory: without capabilities, and with a limit of nothing.
    pub fn start_without_locked_memory(cluster: &Cluster, namespace: &str, name: &str) -> Operator {
        let pod = cluster.stand_in_pod(namespace, "touchseal-operator", name).unwrap();
        let kubeconfig =
            cluster.kubeconfig_for_service_account(namespace, "touchseal-operator", Some(&pod)).unwrap();
        let mut command = process::command("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--", "prlimit", "--memlock=0", "--"]);
        command.arg(binaries::operator());
        Operator::launch(cluster, namespace, pod, &kubeconfig, command, &[])
    }

    fn launch(
        cluster: &Cluster,
        namespace: &str,
        pod: StandInPod,
        kubeconfig: &Path,
        mut command: Command,
        flags: &[&str],
    ) -> Operator {
        let (probes, metrics) = (Port::claim().unwrap(), Port::claim().unwrap());
        command
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg(format!("--health-probe-bind-address=127.0.0.1:{}", probes.number()))
            .arg(format!("--metrics-bind-address=127.0.0.1:{}", metrics.number()))
            .args(["--log-format", "json"])
            .args(WAITS)
            .args(flags);
        if !flags.iter().any(|flag| flag.starts_with("--log-level")) {
            command.args(["--log-level", "trace"]);
        }
        let log = cluster.dir().join(format!("{namespace}.{}.log", pod.name));
        let process = process::spawn(&pod.name, command, &log).unwrap();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut operator = Operator { process, pod, flags, probes, metrics };
        operator.wait_until_ready();
        operator
    }

    fn wait_until_ready(&mut self) {
        let ready = eventually(DEADLINE, "the operator to be ready", || {
            if let Some(status) = self.process.exited() {
                panic!("the operator ended with {status}:\n{}", self.process.tail(20));
            }
            (http_get(self.probes.number(), "/readyz")?.contains(" 200 ")).then_some(())
        });
        if let Err(timed_out) = ready {
            panic!("{timed_out:?}\n{}", self.process.tail(30));
        }
    }

    /// What /healthz or /readyz answers.
    pub fn probe(&self, path: &str) -> String {
        http_get(self.probes.number(), path).unwrap_or_default()
    }

    /// A connection to the port of the probes.
    pub fn connect_to_probes(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.probes.number())).unwrap()
    }

    /// The metrics page.
    pub fn metrics(&self) -> String {
        http_get(self.metrics.number(), "/metrics").unwrap_or_default()
    }

    /// Port of /metrics.
    pub fn metrics_port(&self) -> u16 {
        self.metrics.number()
    }

    /// Waits until this process has finished so many reconciles.
    pub fn wait_for_reconciles(&self, count: u64) {
        eventually(DEADLINE, &format!("{count} reconciles"), || {
            let page = self.metrics();
            let done: u64 = page
                .lines()
                .filter(|line| line.starts_with("touchseal_reconciles_total{"))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum();
            if done >= count { Ok(()) } else { Err(format!("{done}")) }
        })
        .unwrap();
    }

    /// Whether it is the replica that writes.
    pub fn leads(&self) -> bool {
        self.metrics().contains("touchseal_leads 1\n")
    }

    /// Where in the process's memory `needle` stands.
    pub fn memory_holds(&self, needle: &[u8]) -> Vec<u64> {
        let finder = memchr::memmem::Finder::new(needle);
        let regions = self.memory();
        let found =
            regions.iter().flat_map(|(from, bytes)| finder.find_iter(bytes).map(move |at| from + at as u64));
        found.collect()
    }

    /// Everything the process can write to: heaps, stacks, static data; each region with its address. Needs root, as the
    /// operator forbids ptrace to everybody else.
    pub fn memory(&self) -> Vec<(u64, Vec<u8>)> {
        use std::os::unix::fs::FileExt as _;
        let pid = self.process.pid();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut regions = Vec::new();
        for line in maps.lines() {
            let mut words = line.split(' ');
            let (range, rights) = (words.next().unwrap(), words.next().unwrap());
            if !rights.starts_with("rw") || line.ends_with("[vvar]") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            // A region that was unmapped meanwhile is gone; any other must be readable, or the search means nothing.
            match memory.read_exact_at(&mut bytes, from) {
                Ok(()) => regions.push((from, bytes)),
                Err(_) => assert!(!self.maps_hold(range), "memory {range} of the operator cannot be read"),
            }
        }
        let size: usize = regions.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(size > 1024 * 1024, "hardly any memory of the operator could be read");
        regions
    }

    fn maps_hold(&self, range: &str) -> bool {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.process.pid())).unwrap();
        maps.lines().any(|line| line.starts_with(range))
    }
}

fn http_get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
