//! The record of who released what to whom: one log line of fixed fields and one count for each act, at the moment it takes
//! effect, whatever becomes of the API server afterwards. What comes from outside cannot make Events without number.
//!
//! Name and serial are those the release bears: whoever released wrote them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use touchseal_crds::Reason;
use touchseal_keyring::state::{Effect, Rejected};

use super::effects::why_sealed;
use crate::telemetry::Metrics;

/// One act; what does not apply is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Act<'a> {
    /// release, share, hand-over, seal, manifest or enrol.
    pub action: &'static str,
    /// Name of the keyring.
    pub keyring: &'a str,
    /// Name of the holder, as the release bears it.
    pub holder: &'a str,
    /// Serial number of the YubiKey, as the release bears it.
    pub serial: u32,
    /// The replica it is about: it was unsealed or sealed, or asked for a hand-over.
    pub pod: &'a str,
    /// The UnsealRequest.
    pub request: &'a str,
    /// accepted, given, refused, forged, garbage or done.
    pub outcome: &'static str,
    /// Why, in words.
    pub reason: &'a str,
}

/// Writes an act down.
pub fn record(metrics: &Metrics, act: &Act<'_>) {
    let Act { action, keyring, holder, serial, pod, request, outcome, reason } = act;
    tracing::info!(target: "audit", action, keyring, holder, serial, pod, request, outcome, reason);
    metrics.ceremonies.act(keyring, action, outcome);
}

/// Writes down what an effect of this process's state machine is an act of.
pub fn effect(metrics: &Metrics, keyring: &str, pod: &str, effect: &Effect) {
    let about = Act { keyring, pod, ..Act::default() };
    let request = format!("{pod}.{keyring}");
    match effect {
        Effect::ReportUnsealed { holder, serial, handed_over_by, .. } => {
            let (action, reason) = match handed_over_by {
                Some(from) => ("hand-over", format!("from pod {from}")),
                None => ("release", String::new()),
            };
            let (outcome, request, reason) = ("accepted", request.as_str(), reason.as_str());
            record(metrics, &Act { action, holder, serial: *serial, request, outcome, reason, ..about });
        }
        Effect::ReportShares { released, .. } => {
            if let Some(newest) = released.last() {
                let (holder, serial, outcome) = (newest.holder.as_str(), newest.serial, "accepted");
                record(
                    metrics,
                    &Act { action: "share", holder, serial, request: &request, outcome, ..about },
                );
            }
        }
        Effect::RefuseRelease { message, rejected, holder, serial, .. } => {
            let outcome = match rejected {
                Rejected::Refused => "refused",
                Rejected::Forged => "forged",
                Rejected::Garbage => "garbage",
            };
            // Also those whose turn to be told never comes.
            metrics.ceremonies.refused(keyring);
            let (request, reason) = (request.as_str(), message.as_str());
            record(
                metrics,
                &Act { action: "release", holder, serial: *serial, request, outcome, reason, ..about },
            );
        }
        Effect::RefuseShare { serial, message } => {
            let (request, outcome, reason) = (request.as_str(), "refused", message.as_str());
            record(metrics, &Act { action: "share", serial: *serial, request, outcome, reason, ..about });
        }
        Effect::ReportSealed { why } => {
            record(metrics, &Act { action: "seal", outcome: "done", reason: &why_sealed(why), ..about });
        }
        Effect::ReportTampered { message, .. } => {
            record(metrics, &Act { action: "manifest", outcome: "refused", reason: message, ..about });
        }
        _ => {}
    }
}

/// So many at once, and one more each time a span has passed.
#[derive(Debug)]
pub struct Budget {
    most: u32,
    each: Duration,
    left: u32,
    at: Instant,
}

impl Budget {
    /// A full one.
    pub const fn new(most: u32, each: Duration, now: Instant) -> Budget {
        Budget { most, each, left: most, at: now }
    }

    /// When there is one more than now.
    pub fn next(&self) -> Instant {
        self.at + self.each
    }

    /// One less, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        while self.left < self.most && now.saturating_duration_since(self.at) >= self.each {
            self.at += self.each;
            self.left += 1;
        }
        if self.left == self.most {
            self.at = now;
        }
        let some = self.left > 0;
        self.left -= u32::from(some);
        some
    }
}

/// Which Events of refusals are told: whoever may write requests could cause any number, all of them different.
#[derive(Default)]
pub struct Quiet(Mutex<HashMap<(String, Reason), (Budget, u64)>>);

/// Events of one keyring and reason at once, and the time until one more.
const EVENTS: (u32, Duration) = (10, Duration::from_secs(30));

impl Quiet {
    /// Whether one may be told, and how many were not since the last one that was.
    pub fn may_tell(&self, keyring: &str, reason: Reason, now: Instant) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || (Budget::new(EVENTS.0, EVENTS.1, now), 0);
        let (budget, untold) = all.entry((keyring.to_owned(), reason)).or_insert_with(fresh);
        if budget.take(now) {
            return Some(std::mem::take(untold));
        }
        *untold += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_ten_times_then_twice_a_minute_and_nothing_is_lost_of_the_count() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        let told: Vec<_> =
            (0..200).filter_map(|_| quiet.may_tell("main", Reason::ReleaseInvalid, start)).collect();
        assert_eq!(told, [0; 10]);
        assert_eq!(quiet.may_tell("other", Reason::ReleaseInvalid, start), Some(0), "others are heard");
        let later = start + Duration::from_secs(31);
        assert_eq!(quiet.may_tell("main", Reason::ReleaseInvalid, later), Some(190));
        assert_eq!(quiet.may_tell("main", Reason::ReleaseInvalid, later), None);
    }

    /// When the next five go, for who waits for each.
    fn five(budget: &mut Budget, mut now: Instant) -> Vec<Instant> {
        let next = || {
            if !budget.take(now) {
                now = budget.next();
                assert!(budget.take(now));
            }
            now
        };
        std::iter::repeat_with(next).take(5).collect()
    }

    #[test]
    fn a_burst_goes_at_once_and_what_follows_evenly() {
        let (start, gap) = (Instant::now(), Duration::from_millis(100));
        let mut budget = Budget::new(3, gap, start);
        assert_eq!(five(&mut budget, start), [start, start, start, start + gap, start + 2 * gap]);
        // What is not used is saved up to a burst.
        let later = start + 600 * gap;
        assert_eq!(five(&mut budget, later), [later, later, later, later + gap, later + 2 * gap]);
    }

    #[test]
    fn a_budget_fills_up_to_its_most_and_no_further() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut budget = Budget::new(3, second, start);
        let long = start + 100 * second;
        assert_eq!((0..9).filter(|_| budget.take(long)).count(), 3);
        assert_eq!((0..9).filter(|_| budget.take(long + second)).count(), 1);
        assert_eq!(
            (0..9).filter(|_| budget.take(start)).count(),
            0,
            "a clock that stands still fills nothing"
        );
    }
}
