//! What waits for nothing but time: hand-overs, `sealAfter`, readiness, and replicas that are gone.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use touchseal_keyring::state::Event;
use touchseal_keyring::{State, locked};

use super::{Desk, effects, hand_over};

impl Desk {
    /// A sealed replica is as ready as another, but one that is about to be unsealed is worth a moment's wait.
    pub(super) fn tell_ready(&mut self) {
        let ceremony = &self.ceremony;
        if self.listed_once.is_some() || ceremony.ready.get() {
            return;
        }
        let sealed =
            |keyring: &String| ceremony.keys.look(keyring, |state| !state.holds_keys()) == Some(true);
        if Instant::now() >= ceremony.ready_by || !self.elsewhere.iter().any(sealed) {
            ceremony.ready.set();
        }
    }

    /// Answers those that wait for what is unsealed here.
    pub(super) fn hand_over(&mut self) {
        let keys = Arc::clone(&self.ceremony.keys);
        let unsealed = |keyring: &str| keys.look(keyring, hand_over::is_due) == Some(true);
        for (keyring, asked) in self.waiting.due(Instant::now(), unsealed, &mut self.checks) {
            self.feed(&keyring, Event::HandOverAsked(Box::new(asked)));
        }
    }

    /// What waits for nothing but time. The leader takes replicas whose pod is gone out of the Keyrings' statuses.
    pub(super) fn tick(&mut self) {
        self.watch_memory();
        self.seal_in_time();
        self.hand_over();
        if self.outdated && self.keyrings_listed && self.ceremony.leadership.leads() {
            self.outdated = false;
            let queues = self.present.iter().filter_map(|keyring| self.queues.get(keyring));
            queues.for_each(|queue| drop(queue.send(effects::Job::Report)));
        }
    }

    /// Says once that keys could not be locked in memory; it goes on.
    fn watch_memory(&self) {
        let metrics = &self.ceremony.metrics;
        let locked::Locking { bytes, trouble } = locked::state();
        metrics.locked_memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        if let Some(problem) = trouble
            && metrics.memory_not_locked.set(1) == 0
        {
            tracing::warn!(
                problem,
                "keys cannot be locked in memory and may be swapped to disk: raise the limit of locked memory, or turn swap off"
            );
        }
    }

    /// By `sealAfter`.
    fn seal_in_time(&mut self) {
        let now = Timestamp::now();
        let over = |state: &State| state.seals_at().is_some_and(|at| now >= at);
        let keys = &self.ceremony.keys;
        let over = self.present.iter().filter(|keyring| keys.look(keyring, over) == Some(true)).cloned();
        for keyring in over.collect::<Vec<_>>() {
            self.feed(&keyring, Event::Tick);
        }
    }
}
