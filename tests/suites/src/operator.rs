//! One operator process, run beside the test as the shipped ServiceAccount, bound to a pod that stands in for its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use touchseal_rig::cluster::{Cluster, StandInPod};
use touchseal_rig::poll::eventually;
use touchseal_rig::ports::Port;
use touchseal_rig::process::{self, Process};

use crate::{DEADLINE, binaries};

/// Short, for tests kill operators and wait for the next to lead; and pods of killed operators stay.
const WAITS: [&str; 4] =
    ["--lease-duration=4s", "--renew-deadline=3s", "--retry-period=300ms", "--hand-over-wait=0s"];

/// The times of the Lease as they are shipped: for where a busy machine must not end a term, or they are what is looked at.
pub const SHIPPED_LEASE: [&str; 3] = ["--lease-duration=15s", "--renew-deadline=10s", "--retry-period=2s"];

/// A running operator.
pub struct Operator {
    /// Its process.
    pub process: Process,
    /// Its pod.
    pub pod: StandInPod,
    /// Flags beyond those every operator of a test has.
    pub flags: Vec<String>,
    /// The whole command, for another process like this one.
    command: Vec<String>,
    log: PathBuf,
    probes: Port,
    metrics: Port,
}

/// How an operator is started, where that is not as usual.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Flags beyond those every operator of a test has.
    pub flags: Vec<String>,
    /// How it reaches the API server; None: straight.
    pub kubeconfig: Option<PathBuf>,
    /// A program with arguments that becomes what is appended to it: the operator.
    pub wrapper: Vec<String>,
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
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let launch = Launch { flags, kubeconfig: Some(kubeconfig.to_owned()), ..Launch::default() };
        Operator::launch(cluster, namespace, pod, launch)
    }

    /// Starts one that may lock no memory: without capabilities, and with a limit of nothing.
    pub fn start_without_locked_memory(cluster: &Cluster, namespace: &str, name: &str) -> Operator {
        let pod = cluster.stand_in_pod(namespace, "touchseal-operator", name).unwrap();
        let wrapper =
            ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", "prlimit", "--memlock=0", "--"];
        let launch = Launch { wrapper: wrapper.map(str::to_owned).to_vec(), ..Launch::default() };
        Operator::launch(cluster, namespace, pod, launch)
    }

    /// Starts one as `launch` says and waits until it is ready.
    pub fn launch(cluster: &Cluster, namespace: &str, pod: StandInPod, launch: Launch) -> Operator {
        let mut operator = Operator::launched(cluster, namespace, pod, launch);
        operator.wait_until_ready();
        operator
    }

    /// The same without waiting for anything.
    pub fn launched(cluster: &Cluster, namespace: &str, pod: StandInPod, launch: Launch) -> Operator {
        let own =
            || cluster.kubeconfig_for_service_account(namespace, "touchseal-operator", Some(&pod)).unwrap();
        let kubeconfig = launch.kubeconfig.clone().unwrap_or_else(own);
        let (probes, metrics) = (Port::claim().unwrap(), Port::claim().unwrap());
        let mut command = launch.wrapper;
        command.extend(
            [binaries::operator(), "--kubeconfig".into(), kubeconfig].map(|part| part.display().to_string()),
        );
        command.extend([
            format!("--health-probe-bind-address=127.0.0.1:{}", probes.number()),
            format!("--metrics-bind-address=127.0.0.1:{}", metrics.number()),
        ]);
        command.extend(["--log-level", "trace", "--log-format", "json"].map(str::to_owned));
        command.extend(WAITS.map(str::to_owned));
        command.extend(launch.flags.iter().cloned());
        let log = cluster.dir().join(format!("{namespace}.{}.log", pod.name));
        let process = spawn(&pod, &command, &log);
        Operator { process, pod, flags: launch.flags, command, log, probes, metrics }
    }

    /// kill -9, and another process as the same pod: sealed, as a kubelet restarts a container. Waits for nothing.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = spawn(&self.pod, &self.command, &self.log);
    }

    /// Whether it is ready; an error says what it is instead.
    ///
    /// # Errors
    /// It has ended, or does not say that it is ready in time.
    pub fn ready(&mut self) -> Result<(), String> {
        let ready = eventually(DEADLINE, "the operator to be ready", || {
            if let Some(status) = self.process.exited() {
                return Ok(Err(format!("the operator ended with {status}:\n{}", self.process.tail(20))));
            }
            let answer = http_get(self.probes.number(), "/readyz").unwrap_or_default();
            if answer.contains(" 200 ") { Ok(Ok(())) } else { Err(answer) }
        });
        ready.unwrap_or_else(|timed_out| Err(format!("{timed_out:?}\n{}", self.process.tail(30))))
    }

    /// The same; panics where it is not.
    pub fn wait_until_ready(&mut self) {
        if let Err(why) = self.ready() {
            panic!("{why}");
        }
    }

    /// The value of a metric that has no labels; zero where it is not told.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.metrics();
        let mut values = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// Bytes of memory that are its own, by a line of /proc/PID/status such as `VmRSS` or `VmHWM`.
    pub fn memory_in_use(&self, which: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
        let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kibibytes.unwrap_or_default() * 1024
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

    /// Whether it holds a keyring's keys.
    pub fn is_unsealed(&self, keyring: &str) -> bool {
        self.metrics().contains(&format!("touchseal_keyring_unsealed{{keyring=\"{keyring}\"}} 1"))
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

fn spawn(pod: &StandInPod, command: &[String], log: &Path) -> Process {
    let mut started = process::command(&command[0]);
    started.args(&command[1..]);
    process::spawn(&pod.name, started, log).unwrap()
}

fn http_get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
