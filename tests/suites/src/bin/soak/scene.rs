//! Two operators, each with a clock that can be set, within a limit of memory, behind a line that can be cut and an API server that
//! can misbehave; and one round of faults.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use touchseal_rig::cgroup::MemoryGroup;
use touchseal_rig::cluster::{AuditLevel, Options, Pool, Reach};
use touchseal_rig::faults::FaultyServer;
use touchseal_rig::line::Line;
use touchseal_suites::ordeal::Clock;
use touchseal_suites::{Launch, Ordeal, World};

/// Nothing reads an audit log of hours here, and the disk is no place for it.
static CLUSTERS: Pool =
    Pool::of(Some(1), Options { audit: AuditLevel::None, reach: Reach::Loopback, no_streaming_lists: false });

/// Most faults of a round.
const MOST: u32 = 4;
/// A log that is longer is cut.
const LONGEST_LOG: u64 = 16 << 20;

/// What stands between one operator and the world.
pub struct Around {
    pub server: FaultyServer,
    pub line: Line,
    pub clock: Clock,
    pub memory: Option<MemoryGroup>,
}

/// Everything, and what has been counted.
pub struct Scene {
    // Before what they stand on.
    pub ordeal: Ordeal,
    pub around: Vec<Around>,
    pub seed: u64,
    pub faults: BTreeMap<&'static str, u32>,
    pub kills: u32,
    operations: u64,
    checks: u32,
    slowest: Duration,
    /// What the operators need at rest: at the beginning, now, and the most that one ever had.
    rss: (u64, u64, u64),
}

impl Scene {
    pub fn new(usual: u64) -> Scene {
        let seed = std::env::var("TOUCHSEAL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
        let world = World::on(CLUSTERS.lease().unwrap(), "soak-system", "soak-apps");
        let mut ordeal = Ordeal::on(world, seed);
        let mut around = Vec::new();
        for _ in 0..2 {
            ordeal.join(|world, pod| {
                let folder = world.cluster.dir();
                let line = Line::start(&world.kubeconfig_of(pod), folder, &pod.name).unwrap();
                let server = FaultyServer::start(line.kubeconfig(), folder, &pod.name).unwrap();
                let (clock, memory) = (Clock::new(folder, &pod.name), MemoryGroup::new(1 << 30));
                let mut wrapper = memory.as_ref().map(MemoryGroup::wrapper).unwrap_or_default();
                wrapper.extend(clock.wrapper());
                let kubeconfig = Some(server.kubeconfig().to_owned());
                around.push(Around { server, line, clock, memory });
                Launch { kubeconfig, wrapper, flags: vec!["--log-level=info".to_owned()] }
            });
        }
        ordeal.storm.change_all();
        ordeal.settle();
        let mut scene = Scene {
            ordeal,
            around,
            seed,
            faults: BTreeMap::new(),
            kills: 0,
            operations: 0,
            checks: 1,
            slowest: Duration::ZERO,
            rss: (0, 0, 0),
        };
        scene.measure();
        scene.rss.0 = scene.rss.1;
        scene
    }

    /// Some faults while people work, then rest: everything must be right.
    ///
    /// # Errors
    /// What is not.
    pub fn round(&mut self) -> Result<(), String> {
        let storm = self.ordeal.blow();
        for _ in 0..=self.ordeal.drawn.below(MOST) {
            self.pause(1_500);
            self.fault();
        }
        self.pause(1_000);
        self.lift();
        self.operations += storm.stop();
        self.ordeal.diary.note("the storm is over");
        let began = Instant::now();
        self.ordeal.try_settle()?;
        self.slowest = self.slowest.max(began.elapsed());
        self.ordeal.diary.note(format_args!("all is right after {:.1?}", began.elapsed()));
        self.checks += 1;
        self.measure();
        self.cut_logs();
        Ok(())
    }

    pub fn pause(&mut self, most: u32) {
        std::thread::sleep(Duration::from_millis(self.ordeal.drawn.below(most).into()));
    }

    /// The figures so far, in one line.
    pub fn summary(&self, passed: Duration) -> String {
        let all: u32 = self.faults.values().sum();
        let kinds: Vec<String> = self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let kib = |bytes: u64| bytes / 1024;
        let starved: u64 = self.around.iter().filter_map(|a| a.memory.as_ref()).map(MemoryGroup::kills).sum();
        format!(
            "soak: seed {} {:.1} min: {} operations, {} states of Secrets seen, {all} faults ({}), {} kills and {starved} for want of memory, {} starts after an end of their own, {} unseals, \
             RSS of an operator {} KiB at the start, {} KiB now, {} KiB at most; {} checks, all right within {:.1?}",
            self.seed,
            passed.as_secs_f64() / 60.0,
            self.operations,
            self.ordeal.witness.seen(),
            kinds.join(", "),
            self.kills,
            self.ordeal.starts,
            self.ordeal.unseals,
            kib(self.rss.0),
            kib(self.rss.1),
            kib(self.rss.2),
            self.checks,
            self.slowest,
        )
    }

    fn measure(&mut self) {
        let most = |which: &str| {
            let of_all = self.ordeal.operators.iter().map(|operator| operator.memory_in_use(which));
            of_all.max().unwrap_or_default()
        };
        (self.rss.1, self.rss.2) = (most("VmRSS"), self.rss.2.max(most("VmHWM")));
    }

    fn cut_logs(&self) {
        for entry in fs::read_dir(self.ordeal.world.cluster.dir()).unwrap().flatten() {
            let long = entry.metadata().is_ok_and(|file| file.is_file() && file.len() > LONGEST_LOG);
            if long && entry.path().extension().is_some_and(|extension| extension == "log") {
                // Whoever writes it appends.
                fs::File::options().write(true).open(entry.path()).and_then(|log| log.set_len(0)).unwrap();
            }
        }
    }
}
