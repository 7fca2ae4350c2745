//! Who still holds an older value: judges each pod against the ledger's entry, and notes in the entry which secret
//! generations were left. The words for it are in `draining`.
//!
//! What a container reads at its start it holds until it ends. It is judged by the time it was started: after the value in
//! question was first served, or not. Times are whole seconds and clocks differ, so a container of a pod that was there
//! before the change must have been started [`SETTLE`] seconds after it, and for files after its kubelet has refreshed them;
//! and whatever cannot be told apart is stale.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use touchseal_crds::rotation::{Delivery, Mounts, Rotation, WorkloadStatus};

use crate::consumers::{Consumer, Held, How, Owner, Ref, Seconds, seconds};
use crate::entry::{LedgerEntry, Past};

/// How long after a change a container restarted within an older pod may still be given the value before, in seconds: the
/// kubelet hears of a changed Secret a moment later, and its clock is not the API server's.
pub const SETTLE: Seconds = 5;

/// What pods are judged against.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Name of the target, from which the names of the Secrets of single generations are made.
    pub target: &'a str,
    /// The ledger's entry.
    pub entry: &'a LedgerEntry,
    /// spec.rotation
    pub rotation: Option<&'a Rotation>,
    /// Number of the content of the Secret that has the target's own name, where there is one; 0 where it holds something else.
    pub main: Option<i64>,
    /// Numbers of the Secrets of single generations that there are, also where an earlier delivery left them.
    pub generations: &'a BTreeSet<i64>,
    /// How long the kubelet may take to refresh mounted files, in seconds.
    pub refresh: Seconds,
    /// Now.
    pub now: Seconds,
}

/// What the pods of one EncryptedSecret hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// Pods on the newest content.
    pub current: usize,
    /// Pods that hold, or may hold, an older value; those that refresh are among them.
    pub stale: usize,
    /// Pods of which nothing is stale but files the kubelet may not have refreshed yet.
    pub refreshing: usize,
    /// When the kubelets have had their time.
    pub refreshed: Option<Seconds>,
    /// Oldest generation a pod may hold; 0 where the history does not reach back to it, None where none holds any.
    pub holds: Option<i64>,
    /// Workloads with stale pods, most pods first; not cut.
    pub workloads: Vec<WorkloadStatus>,
    /// Workloads of which a restart would give pods the newest value.
    pub restart: BTreeSet<Owner>,
    /// Numbers N for which a pod refers to the Secret `<target>-g<N>`.
    pub named: BTreeSet<i64>,
    /// A pod refers to `<target>-previous`.
    pub previous: bool,
}

/// Judges all pods.
pub fn judge(pods: &[Consumer], given: &Given<'_>) -> Drain {
    let scale = Scale::new(given);
    let mut drain = Drain::default();
    let mut workloads: BTreeMap<&Owner, Stale> = BTreeMap::new();
    for pod in pods {
        let mut found = Found::default();
        for reference in &pod.shape.refs {
            match which(given, &reference.secret) {
                Some(Which::Main) => found.add(scale.main(pod, reference), reference.how.word()),
                Some(Which::Generation(number)) => {
                    drain.named.insert(number);
                    found.add(scale.exact(number), "immutable");
                }
                Some(Which::Previous) => drain.previous = true,
                None => {}
            }
        }
        match found.worst {
            None => {}
            Some(State::Current) => drain.current += 1,
            Some(state) => {
                drain.stale += 1;
                drain.refreshing += usize::from(state == State::Refreshing);
                let stale = workloads.entry(&pod.shape.owner).or_default();
                stale.add(&found);
                if found.restart {
                    drain.restart.insert(pod.shape.owner.clone());
                }
            }
        }
    }
    if drain.refreshing > 0 {
        drain.refreshed = Some(scale.refreshed);
    }
    drain.holds = workloads.values().map(|stale| stale.holds).min();
    drain.workloads = workloads.into_iter().map(|(owner, stale)| stale.status(owner)).collect();
    drain
        .workloads
        .sort_by(|a, b| b.pods.cmp(&a.pods).then_with(|| (&a.kind, &a.name).cmp(&(&b.kind, &b.name))));
    drain
}

/// Notes which generations were left, where that can be told now, and takes back what turns out to be wrong. Without
/// knowledge nothing changes.
pub fn settle(entry: &mut LedgerEntry, drain: Option<&Drain>, can_tell: bool, now: &Time) {
    let Some(drain) = drain else { return };
    let newest = entry.generation;
    for past in entry.history.iter_mut().filter(|past| past.number < newest) {
        if drain.holds.is_none_or(|oldest| past.number < oldest) {
            past.drained = past.drained.take().or_else(|| can_tell.then(|| now.clone()));
        } else {
            past.drained = None;
        }
    }
}

/// Which Secret of an EncryptedSecret a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Main,
    Previous,
    Generation(i64),
}

fn which(given: &Given<'_>, secret: &str) -> Option<Which> {
    let rest = secret.strip_prefix(given.target)?;
    match rest {
        "" => Some(Which::Main),
        "-previous" => Some(Which::Previous),
        _ => generation_of(rest)
            .filter(|number| *number <= given.entry.generation)
            .filter(|number| {
                immutable(given)
                    || given.generations.contains(number)
                    || given.entry.left_single.is_some_and(|highest| *number <= highest)
            })
            .map(Which::Generation),
    }
}

/// `-g<N>`, written in the one way the operator writes it.
fn generation_of(suffix: &str) -> Option<i64> {
    let number: i64 = suffix.strip_prefix("-g")?.parse().ok()?;
    (number > 0 && suffix == format!("-g{number}")).then_some(number)
}

fn immutable(given: &Given<'_>) -> bool {
    given.rotation.and_then(|r| r.delivery) == Some(Delivery::Immutable)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Current,
    Refreshing,
    Stale,
}

/// What one reference of one pod holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    state: State,
    /// A restart of the pod would make it current.
    restart: bool,
    /// Oldest generation it may hold; 0 where that is not known.
    holds: i64,
}

const CURRENT: Verdict = Verdict { state: State::Current, restart: false, holds: i64::MAX };

/// The ledger's entry, made ready to judge many pods.
struct Scale<'a> {
    given: &'a Given<'a>,
    since: Seconds,
    refreshed: Seconds,
    restart_mounts: bool,
    /// Since when each generation was served, newest first.
    starts: Vec<(i64, Seconds)>,
    /// The main Secret is behind the newest generation: an earlier delivery left it, or somebody put an old one back.
    main_behind: Option<i64>,
}

impl<'a> Scale<'a> {
    fn new(given: &'a Given<'a>) -> Scale<'a> {
        let past = |p: &Past| (p.number, seconds(&p.since));
        let mut starts: Vec<_> = given.entry.history.iter().map(past).collect();
        if starts.is_empty() {
            starts.push((given.entry.generation, seconds(&given.entry.since)));
        }
        let since = seconds(&given.entry.since);
        Scale {
            given,
            since,
            refreshed: since.saturating_add(given.refresh),
            restart_mounts: given.rotation.and_then(|r| r.mounts) == Some(Mounts::Restart),
            starts,
            main_behind: given.main.filter(|main| *main < given.entry.generation),
        }
    }

    /// A reference to the Secret of the target's own name.
    fn main(&self, pod: &Consumer, reference: &Ref) -> Verdict {
        if let Some(number) = self.main_behind {
            return Verdict { state: State::Stale, restart: false, holds: number };
        }
        if reference.how == How::Pull || self.given.entry.generation <= 1 {
            return CURRENT;
        }
        let Some(changed) = self.changed(reference.key.as_deref()) else { return CURRENT };
        if reference.how == How::Driver {
            // Nothing tells when it mounted the volume, but that of a new pod it mounts anew.
            let holds = self.held_at(pod.times.created);
            let state = if pod.times.created > changed { State::Current } else { State::Stale };
            return Verdict { state, restart: state == State::Stale, holds };
        }
        let frozen = reference.how != How::Volume || self.restart_mounts;
        let held = reference.container.and_then(|at| pod.times.started.get(usize::from(at)));
        match held {
            Some(held) if frozen => self.frozen(pod, *held, changed, self.margin(reference.how)),
            // Nobody has it in memory; what the kubelet has put there is refreshed.
            _ => self.refreshed_by_kubelet(pod, changed),
        }
    }

    /// How long after a change a container restarted within an older pod may still be given the value before. Variables are
    /// read anew by the kubelet; of files it gets what the volume holds, which is refreshed without waiting for anybody.
    fn margin(&self, how: How) -> Seconds {
        match how {
            How::Env | How::EnvFrom => SETTLE,
            How::SubPath | How::Init | How::Volume | How::Driver | How::Pull => {
                SETTLE.saturating_add(self.given.refresh)
            }
        }
    }

    /// What a container holds that read it when it was started. One of a pod made after the change is current whatever its
    /// node's clock says.
    fn frozen(&self, pod: &Consumer, held: Held, changed: Seconds, margin: Seconds) -> Verdict {
        if pod.times.created > changed {
            return CURRENT;
        }
        let Some(started) = held.started() else {
            // It may have been started before the change without its kubelet having said so yet.
            return if held == Held::STARTING { self.refreshed_by_kubelet(pod, changed) } else { CURRENT };
        };
        let certain = started.saturating_sub(margin);
        if certain > changed {
            return CURRENT;
        }
        Verdict { state: State::Stale, restart: true, holds: self.held_at(certain) }
    }

    /// What the kubelet brings up to date by itself. A pod made after the change never saw another.
    fn refreshed_by_kubelet(&self, pod: &Consumer, changed: Seconds) -> Verdict {
        let until = changed.saturating_add(self.given.refresh);
        if pod.times.created > changed || self.given.now >= until {
            return CURRENT;
        }
        Verdict { state: State::Refreshing, restart: false, holds: self.held_at(pod.times.created) }
    }

    /// A reference to the Secret of one generation.
    fn exact(&self, number: i64) -> Verdict {
        if number == self.given.entry.generation {
            return CURRENT;
        }
        Verdict { state: State::Stale, restart: false, holds: number }
    }

    /// When a key, or anything at all, got its present value or was removed. None where it never had another.
    fn changed(&self, key: Option<&str>) -> Option<Seconds> {
        let entry = self.given.entry;
        let Some(key) = key else { return Some(self.since) };
        if let Some(known) = entry.keys.get(key) {
            let since = seconds(&known.since);
            let (oldest, began) = self.starts.last().copied()?;
            // Where the second generation came within the second of the first, nobody can tell.
            let mut rest = self.starts.iter().rev().skip(1);
            let always_so =
                oldest == 1 && since <= began && rest.next().is_none_or(|(_, next)| *next > began);
            return (!always_so).then_some(since);
        }
        match entry.gone.get(key) {
            Some(gone) => Some(seconds(&gone.since)),
            // Its removal may have been forgotten.
            None if entry.history.is_empty() => Some(self.since),
            None => entry.forgotten.as_ref().map(seconds),
        }
    }

    /// The generation that was served just before `moment`; 0 where the history does not reach back to it.
    fn held_at(&self, moment: Seconds) -> i64 {
        let served = self.starts.iter().find(|(_, since)| *since < moment);
        let oldest = self.starts.last().filter(|(number, _)| *number == 1);
        served.or(oldest).map_or(0, |(number, _)| *number)
    }
}

/// What was found out about one pod.
#[derive(Default)]
struct Found {
    worst: Option<State>,
    restart: bool,
    holds: Option<i64>,
    uses: BTreeSet<&'static str>,
}

impl Found {
    fn add(&mut self, verdict: Verdict, word: &'static str) {
        self.worst = self.worst.max(Some(verdict.state));
        self.restart |= verdict.restart;
        if verdict.state > State::Current {
            self.uses.insert(word);
            self.holds = Some(self.holds.map_or(verdict.holds, |before| before.min(verdict.holds)));
        }
    }
}

/// The stale pods of one workload.
struct Stale {
    pods: i32,
    holds: i64,
    uses: BTreeSet<&'static str>,
}

impl Default for Stale {
    fn default() -> Stale {
        Stale { pods: 0, holds: i64::MAX, uses: BTreeSet::new() }
    }
}

impl Stale {
    fn add(&mut self, found: &Found) {
        self.pods = self.pods.saturating_add(1);
        self.holds = self.holds.min(found.holds.unwrap_or_default());
        self.uses.extend(&found.uses);
    }

    fn status(self, owner: &Owner) -> WorkloadStatus {
        WorkloadStatus {
            kind: owner.kind.to_string(),
            name: owner.name.to_string(),
            pods: self.pods,
            oldest_generation: (self.holds > 0).then_some(self.holds),
            uses: self.uses.into_iter().map(str::to_owned).collect(),
        }
    }
}

#[cfg(test)]
#[path = "drain_model_tests.rs"]
mod model;

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
