//! Variables, files, kubelets and clocks at random: whatever happens, a generation that a running container holds is never called left,
//! and once everything has settled nothing is called stale that is not.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::consumers::{Shape, Times};
use crate::generation;
use crate::random::Random;

/// Milliseconds.
type Ms = i64;

const REFRESH: Seconds = 120;
/// What is assumed of kubelets: they hear of a change within this time, and their clocks are off by at most that much.
const LAG: Ms = 1500;
const SKEW: Ms = 1500;
/// Within this time they have refreshed mounted files.
const FRESH: Ms = 117_900;
/// By how much the operator's idea of the API server's clock is off at most: answers are dated in whole seconds.
const OFF: Ms = 999;

struct Rotation {
    number: i64,
    /// When the Secret was written.
    written: Ms,
}

/// A pod with one container that reads the Secret when it is started, or whenever it likes.
struct Modelled {
    how: How,
    created: Ms,
    /// Each start: when the value was read, what the kubelet reports as its start, and when it does.
    starts: Vec<(Ms, Ms, Ms)>,
    ended: Ms,
}

impl Modelled {
    /// The generation a container has that read it at `read`.
    fn given(&self, rotations: &[Rotation], read: Ms, random: &mut Random) -> i64 {
        // A kubelet that knows the pod already hears of a change a moment later; for a new pod it asks.
        let known = rotations.iter().filter(|r| r.written <= self.created);
        let late = if self.how == How::Env { LAG } else { FRESH };
        let heard = rotations.iter().filter(|r| r.written + random.within(0, late) <= read);
        known.chain(heard).map(|r| r.number).max().unwrap_or(0)
    }

    /// When it read what it has now.
    fn read(&self, now: Ms) -> Option<Ms> {
        let (started, ..) = self.starts.iter().rev().find(|(read, ..)| *read <= now)?;
        Some(if self.how == How::Volume { now } else { *started })
    }
}

fn time(ms: Ms) -> Time {
    Time(Timestamp::from_second(ms.div_euclid(1000)).unwrap())
}

/// The entry after these rotations, dated as the operator dates it: by its own clock, then by the API server's.
fn entry(rotations: &[(Ms, Rotation)]) -> LedgerEntry {
    let mut entry: Option<LedgerEntry> = None;
    for (decided, rotation) in rotations {
        let digests = crate::Digests {
            keyring: "prod".to_owned(),
            key: crate::LedgerKey { keyring: "id".to_owned(), generation: 1 },
            oldest_generation: 1,
            keys: [("password".to_owned(), format!("value {}", rotation.number))].into(),
            older: BTreeMap::new(),
            modified: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            fingerprint: [0; 16],
            type_: None,
            last_modified: None,
        };
        let now = time(*decided);
        let step = generation::Step {
            digests: &digests,
            source: "s",
            served_unchanged: false,
            borne: None,
            highest: None,
            floor: crate::Floor::None,
            now: &now,
        };
        let next = generation::advance(entry.as_ref(), step);
        entry = Some(generation::served(&next, &time(rotation.written)).unwrap_or(next));
    }
    entry.unwrap()
}

fn consumer(pod: &Modelled, now: Ms) -> Consumer {
    let reported = pod.starts.iter().rev().find(|(_, _, reported)| *reported <= now);
    let held = reported.map_or(Held::STARTING, |(_, started, _)| Held::since(&time(*started)));
    let reference =
        Ref { secret: "app".into(), key: Some("password".into()), how: pod.how, container: Some(0) };
    let owner = Owner { kind: "Pod".into(), name: "p".into() };
    Consumer {
        shape: Arc::new(Shape { owner, refs: [reference].into() }),
        times: Times { created: seconds(&time(pod.created)), started: [held].into() },
    }
}

fn round(seed: u64) {
    let random = &mut Random::new(seed);
    let base: Ms = 1_700_000_000_000;
    // The operator's clock is off by anything.
    let ahead = random.within(-60_000, 60_000);
    let (mut rotations, mut at) = (Vec::new(), base);
    for number in 1..=random.within(2, 5) {
        let written = at + random.within(5, 4000);
        rotations.push((at + ahead, Rotation { number, written }));
        at = written + random.within(500, 20_000);
    }
    let (_, newest) = rotations.last().unwrap();
    let (newest, last_write) = (newest.number, newest.written);
    let entry = entry(&rotations);
    let written: Vec<Rotation> = rotations.into_iter().map(|(_, rotation)| rotation).collect();
    let mut pods = Vec::new();
    for _ in 0..random.within(1, 8) {
        let created = random.within(base - 5000, last_write + 15_000);
        let how = [How::Env, How::SubPath, How::Volume][usize::try_from(random.within(0, 3)).unwrap()];
        let mut pod = Modelled { how, created, starts: Vec::new(), ended: Ms::MAX };
        let mut read = created + random.within(10, 4000);
        for _ in 0..random.within(1, 4) {
            let took = random.within(0, 800);
            let started = (read + took + random.within(-SKEW, SKEW)).max(1);
            pod.starts.push((read, started, read + took + random.within(0, 3000)));
            read += took + random.within(3000, 30_000) * random.within(1, 4);
        }
        if random.below(10) < 3 {
            pod.ended = read;
        }
        pods.push(pod);
    }
    for _ in 0..6 {
        let now = last_write + random.within(0, 400_000);
        let here: Vec<&Modelled> = pods.iter().filter(|p| p.created <= now && now < p.ended).collect();
        let consumers: Vec<Consumer> = here.iter().map(|pod| consumer(pod, now)).collect();
        let given = Given {
            target: "app",
            entry: &entry,
            rotation: None,
            main: Some(newest),
            generations: &BTreeSet::new(),
            refresh: REFRESH,
            now: seconds(&time(now + random.within(-OFF, OFF))),
        };
        let drain = judge(&consumers, &given);
        for pod in &here {
            let Some(read) = pod.read(now) else { continue };
            let holds = pod.given(&written, read, random);
            // Generation 0 is a pod older than the first content; nothing is rotated for it.
            if holds < newest && holds > 0 {
                let told = drain.holds.unwrap_or(i64::MAX);
                let (how, starts) = (pod.how, &pod.starts);
                assert!(
                    told <= holds,
                    "a pod holds {holds} ({how:?}), told is {told}; seed {seed}, {starts:?}"
                );
            }
        }
        let settled = |pod: &Modelled| {
            let last = pod.starts.iter().rev().find(|(read, ..)| *read <= now);
            let late = if pod.how == How::SubPath { 140_000 } else { 10_000 };
            last.is_some_and(|(read, _, reported)| *reported <= now && *read > last_write + late)
        };
        if now > last_write + 130_000 && here.iter().all(|pod| settled(pod)) {
            assert_eq!((drain.stale, drain.holds), (0, None), "seed {seed}");
        }
    }
}

#[test]
fn no_generation_is_called_left_while_a_container_holds_it() {
    (1..=20_000).for_each(round);
}
