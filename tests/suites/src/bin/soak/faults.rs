//! The faults, one of which is drawn at a time, and what brings everything back that does not come back by itself.

use std::time::Duration;

use touchseal_rig::faults::{Fault, Weather};
use touchseal_rig::poll::eventually;
use touchseal_rig::process::Signal;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::ordeal::model::Key;
use touchseal_suites::{DEADLINE, Launch, Operator};

use crate::scene::Scene;

/// A kind of fault: what it is called, how likely it is, and what it does.
type Kind = (&'static str, u32, fn(&mut Scene, usize));

const KINDS: [Kind; 15] = [
    ("kill -9", 30, kill),
    ("kill -9 of both", 4, kill_both),
    ("stalled", 6, stall),
    ("API server killed", 5, kill_apiserver),
    ("etcd compacted", 4, compact),
    ("watches cut", 10, cut_watches),
    ("line cut", 8, cut_line),
    ("slow answers", 6, slow),
    ("refused and lost", 8, refuse),
    ("clock set", 6, set_clock),
    ("out of memory", 5, starve),
    ("a third by mistake", 3, third),
    ("namespace deleted", 3, delete_namespace),
    ("collector late", 5, stall_collector),
    ("sealed", 2, seal),
];

/// The namespace that is made and deleted.
const GOING: &str = "soak-apps-3";
const CLOCKS: [&str; 6] = ["+0", "+1h", "-1h", "+40d", "-40d", "+30s"];
const EVERY_FAULT: [Fault; 6] = [
    Fault::Status(409),
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(503),
    Fault::DropBefore,
    Fault::DropAfter,
];

impl Scene {
    /// One fault, for one of the operators where it is one's.
    pub fn fault(&mut self) {
        let all: u32 = KINDS.iter().map(|(_, weight, _)| weight).sum();
        let mut drawn = self.ordeal.drawn.below(all);
        let kind = KINDS.iter().find(|(_, weight, _)| {
            let here = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            here
        });
        let (name, _, happen) = kind.unwrap();
        let whose = usize::try_from(self.ordeal.drawn.below(2)).unwrap();
        self.ordeal.diary.note(format_args!("fault: {name}, operator-{}", whose + 1));
        *self.faults.entry(name).or_default() += 1;
        happen(self, whose);
    }

    /// Ends what goes on. Clocks stay as they are set, and operators that ended are started by whoever looks.
    pub fn lift(&mut self) {
        for (around, operator) in self.around.iter().zip(&mut self.ordeal.operators) {
            let seen = around.server.weather(None);
            assert!(seen.hasty.is_empty(), "asked again before Retry-After was over: {:?}", seen.hasty);
            around.line.mend();
            operator.process.signal(Signal::CONT).unwrap();
            if let Some(memory) = &around.memory {
                memory.limit(1 << 30).unwrap();
            }
        }
        self.ordeal.world.cluster.stall_controller_manager(false).unwrap();
    }
}

fn kill(scene: &mut Scene, whose: usize) {
    scene.ordeal.operators[whose].restart();
    scene.kills += 1;
}

fn kill_both(scene: &mut Scene, _: usize) {
    scene.ordeal.operators.iter_mut().for_each(Operator::restart);
    scene.kills += 2;
}

fn stall(scene: &mut Scene, whose: usize) {
    scene.ordeal.operators[whose].process.signal(Signal::STOP).unwrap();
    scene.pause(7_000);
    scene.ordeal.operators[whose].process.signal(Signal::CONT).unwrap();
}

/// An API server that has just begun does not tell of custom resources yet: a namespace that ends meanwhile is taken for empty by
/// the controller manager, and its EncryptedSecrets stay behind, which nobody deletes. So none is ending when one is killed.
fn let_namespaces_end(scene: &Scene) {
    let cluster = &scene.ordeal.world.cluster;
    cluster.stall_controller_manager(false).unwrap();
    eventually(DEADLINE, "the deleted namespace to be gone", || {
        let there = cluster.kubectl_stdout(&["get", "namespace", GOING, "--ignore-not-found", "-o", "name"]);
        there.is_ok_and(|there| there.is_empty())
    })
    .unwrap();
}

fn kill_apiserver(scene: &mut Scene, _: usize) {
    let_namespaces_end(scene);
    scene.ordeal.world.cluster.kill_apiserver();
    scene.pause(2_000);
    scene.ordeal.world.cluster.restart_apiserver().unwrap();
}

/// With one's watches cut, half of the time by an API server that starts again and so has kept nothing either.
fn compact(scene: &mut Scene, whose: usize) {
    scene.around[whose].line.cut();
    scene.pause(1_000);
    if scene.ordeal.drawn.percent(50) {
        let_namespaces_end(scene);
        scene.ordeal.world.cluster.kill_apiserver();
        scene.ordeal.world.cluster.compact().unwrap();
        scene.ordeal.world.cluster.restart_apiserver().unwrap();
    } else {
        scene.ordeal.world.cluster.compact().unwrap();
    }
    scene.around[whose].line.mend();
}

fn cut_watches(scene: &mut Scene, whose: usize) {
    scene.around[whose].server.cut_watches();
}

/// Longer than a leader writes, or shorter.
fn cut_line(scene: &mut Scene, whose: usize) {
    let bytes = scene.ordeal.drawn.below(60_000);
    scene.around[whose].line.cut_after(bytes.into());
    scene.pause(7_000);
    scene.around[whose].line.mend();
}

fn slow(scene: &mut Scene, whose: usize) {
    let late = Duration::from_millis(100 + u64::from(scene.ordeal.drawn.below(700)));
    weather(scene, whose, Weather { seed: 0, one_in: 0, faults: Vec::new(), late });
}

fn refuse(scene: &mut Scene, whose: usize) {
    let one_in = 2 + scene.ordeal.drawn.below(6);
    let weather_ = Weather { seed: 0, one_in, faults: EVERY_FAULT.to_vec(), late: Duration::ZERO };
    weather(scene, whose, weather_);
}

/// Until the round is over.
fn weather(scene: &mut Scene, whose: usize, weather: Weather) {
    let seed = scene.ordeal.drawn.seed();
    scene.around[whose].server.weather(Some(Weather { seed, ..weather }));
    scene.pause(2_000);
}

fn set_clock(scene: &mut Scene, whose: usize) {
    let to = scene.ordeal.drawn.pick(&CLOCKS).unwrap();
    scene.around[whose].clock.set(to);
}

/// Started again within less than it needs, until the round is over.
fn starve(scene: &mut Scene, whose: usize) {
    let Some(memory) = &scene.around[whose].memory else { return };
    let operator = &mut scene.ordeal.operators[whose];
    let need = operator.memory_in_use("RssAnon");
    operator.process.kill();
    let percent = 30 + u64::from(scene.ordeal.drawn.below(50));
    // What ended at its very start had no memory to speak of.
    memory.limit((need * percent / 100).max(2 << 20)).unwrap();
    operator.restart();
    scene.pause(3_000);
}

/// One that does not ask who leads, for a while.
fn third(scene: &mut Scene, _: usize) {
    let (world, number) = (&scene.ordeal.world, scene.faults.values().sum::<u32>());
    let name = format!("by-mistake-{number}");
    let pod = world.cluster.stand_in_pod(&world.system, "touchseal-operator", &name).unwrap();
    let flags = ["--leader-elect=false", "--log-level=info"].map(str::to_owned).to_vec();
    let operator =
        Operator::launched(&world.cluster, &world.system, pod, Launch { flags, ..Launch::default() });
    // It is handed the keyring, or not, as it comes.
    let _ = eventually(Duration::from_secs(8), "the third to be unsealed", || operator.is_unsealed(KEYRING));
    scene.pause(3_000);
    drop(operator);
    let world = &scene.ordeal.world;
    let delete = ["delete", "pod", &name, "-n", &world.system, "--force", "--grace-period=0"];
    eventually(DEADLINE, "its pod to be deleted", || world.cluster.kubectl_stdout(&delete)).unwrap();
}

/// One that is there for this alone, in the middle of work in it.
fn delete_namespace(scene: &mut Scene, _: usize) {
    let namespace = GOING.to_owned();
    let cluster = &scene.ordeal.world.cluster;
    // Which also makes and ends namespaces.
    cluster.stall_controller_manager(false).unwrap();
    cluster.namespace(&namespace).unwrap();
    let mut storm = scene.ordeal.storm_in(&namespace, 8);
    storm.change_all();
    scene.pause(600);
    let names: Vec<Key> = storm.names.clone();
    names.iter().for_each(|key| scene.ordeal.model().objects.get_mut(key).unwrap().there = false);
    let cluster = &scene.ordeal.world.cluster;
    cluster.kubectl_stdout(&["delete", "namespace", &namespace, "--wait=false"]).unwrap();
}

/// Until the round is over.
fn stall_collector(scene: &mut Scene, _: usize) {
    scene.ordeal.world.cluster.stall_controller_manager(true).unwrap();
}

fn seal(scene: &mut Scene, _: usize) {
    let marker = format!("touchseal.dev/seal-requested=soak-{}", scene.faults.values().sum::<u32>());
    let annotate = ["annotate", "--overwrite", "keyring", KEYRING, &marker];
    scene.ordeal.world.cluster.kubectl_stdout(&annotate).unwrap();
}
