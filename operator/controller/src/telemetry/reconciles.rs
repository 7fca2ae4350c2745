//! Reconciles: how long they take, what came of them, and what waits for one and how long.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::secrets::Key;

/// Seconds; a reconcile with nothing to do takes less than a millisecond, one that writes some ten.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0];

/// Label `outcome`, a word from a fixed list.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Label `reason`, a word from a fixed list.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Shared; cheap to clone.
#[derive(Clone)]
pub struct Reconciles {
    outcomes: Family<OutcomeLabel, Counter<u64, AtomicU64>>,
    errors: Family<ReasonLabel, Counter<u64, AtomicU64>>,
    duration: Histogram,
    waited: Histogram,
    running: Gauge<i64, AtomicI64>,
    waiting: Gauge<i64, AtomicI64>,
    /// Since when each object waits, by a hash of its name: a few bytes an object.
    queue: Arc<Mutex<HashMap<u64, Instant>>>,
}

impl Default for Reconciles {
    fn default() -> Reconciles {
        Reconciles {
            outcomes: Family::default(),
            errors: Family::default(),
            duration: Histogram::new(BUCKETS),
            waited: Histogram::new(BUCKETS),
            running: Gauge::default(),
            waiting: Gauge::default(),
            queue: Arc::default(),
        }
    }
}

impl Reconciles {
    /// Names them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("reconciles", "Reconciles by outcome: Ready's reason", self.outcomes.clone());
        registry.register(
            "reconcile_errors",
            "Reconciles that are tried again, by reason",
            self.errors.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "Time of one reconcile",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register_with_unit(
            "reconcile_queue_wait",
            "Time from a change to the beginning of its reconcile",
            Unit::Seconds,
            self.waited.clone(),
        );
        registry.register(
            "reconcile_queue_length",
            "Objects that wait for a reconcile",
            self.waiting.clone(),
        );
        registry.register("reconciles_running", "Reconciles going on now", self.running.clone());
    }

    /// Something changed: the object waits from now on, if it does not already.
    pub fn wait(&self, object: &Key) {
        let mut queue = self.queue();
        queue.entry(hash(object)).or_insert_with(Instant::now);
        self.show(&queue);
    }

    /// A reconcile begins, and lasts until the turn is dropped.
    pub fn begin(&self, object: &Key) -> Turn {
        if let Some(since) = self.forget(object) {
            self.waited.observe(since.elapsed().as_secs_f64());
        }
        self.running.inc();
        Turn { duration: self.duration.clone(), running: self.running.clone(), began: Instant::now() }
    }

    /// What a reconcile decided.
    pub fn decided(&self, outcome: &'static str) {
        self.outcomes.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// A reconcile failed.
    pub fn failed(&self, reason: &'static str) {
        self.errors.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// The object does not wait any more; since when it did.
    pub fn forget(&self, object: &Key) -> Option<Instant> {
        let mut queue = self.queue();
        let since = queue.remove(&hash(object));
        self.show(&queue);
        since
    }

    /// Nothing waits any more.
    pub fn clear(&self) {
        let mut queue = self.queue();
        *queue = HashMap::new();
        self.show(&queue);
    }

    fn show(&self, queue: &HashMap<u64, Instant>) {
        self.waiting.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
    }

    fn queue(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reconcile. Counted also if it is dropped in the middle, as at the end of a term.
pub struct Turn {
    duration: Histogram,
    running: Gauge<i64, AtomicI64>,
    began: Instant,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.running.dec();
        self.duration.observe(self.began.elapsed().as_secs_f64());
    }
}

fn hash(object: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("apps".to_owned(), name.to_owned())
    }

    #[test]
    fn an_object_waits_once_from_its_first_change_to_its_reconcile() {
        let all = Reconciles::default();
        for name in ["a", "b", "a"] {
            all.wait(&key(name));
        }
        assert_eq!((all.waiting.get(), all.running.get()), (2, 0));
        let turn = all.begin(&key("a"));
        assert_eq!((all.waiting.get(), all.running.get(), all.waited.count()), (1, 1, 1));
        // It changes while it is worked on: it waits again.
        all.wait(&key("a"));
        assert_eq!(all.waiting.get(), 2);
        drop(turn);
        assert_eq!((all.running.get(), all.duration.count()), (0, 1));
        // One that nobody asked for, as its time has come, did not wait.
        drop(all.begin(&key("c")));
        assert_eq!((all.waited.count(), all.duration.count()), (1, 2));
        all.forget(&key("b"));
        assert_eq!(all.waiting.get(), 1);
        all.clear();
        assert_eq!(all.waiting.get(), 0);
    }
}
