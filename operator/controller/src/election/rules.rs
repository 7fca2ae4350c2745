//! When a Lease may be taken. Pure: the Lease as it was read, and the time on this process's own clock.
//!
//! Times in the Lease are other machines' and are compared with each other only: a holder that has not renewed counts as
//! gone when most of its lease duration ([`takeover`]) has passed since this process first saw its last renewal.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::leadership::Moment;

/// How long others wait for a holder that does not renew: less than its lease lasts, so that another writes before it is
/// over, and longer than it writes itself ([`super::Timing::check`]).
pub fn takeover(lease: Duration) -> Duration {
    lease * 4 / 5
}

/// One process that wants to lead.
#[derive(Debug)]
pub struct Candidate {
    /// Its pod: a restarted container goes on with the lease of the one before, which has ended.
    identity: String,
    duration: Duration,
    /// The renewal of somebody else that was seen last, and when.
    seen: Option<(Renewal, Moment)>,
}

/// What changes with each renewal.
#[derive(Clone, Debug, PartialEq)]
struct Renewal {
    holder: String,
    at: Option<MicroTime>,
    transitions: Option<i32>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write this over what was read, or where nothing was; who succeeds leads.
    Write(LeaseSpec),
    /// Another leads. For so long it cannot be gone.
    Wait(Duration),
}

impl Candidate {
    /// A process that has seen nothing yet.
    pub const fn new(identity: String, duration: Duration) -> Candidate {
        Candidate { identity, duration, seen: None }
    }

    /// What to do about the Lease as it is. `time` is what is written as time of the renewal.
    pub fn step(&mut self, lease: Option<&Lease>, now: Moment, time: MicroTime) -> Step {
        let spec = lease.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        match self.wait(&spec, now) {
            None => Step::Write(self.lease(&spec, time)),
            Some(wait) => Step::Wait(wait),
        }
    }

    /// Takes in the Lease as it is: for how long its holder cannot be gone; None where it may be taken.
    pub fn wait(&mut self, spec: &LeaseSpec, now: Moment) -> Option<Duration> {
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return None;
        }
        let renewal = Renewal { holder, at: spec.renew_time.clone(), transitions: spec.lease_transitions };
        let since = match &self.seen {
            Some((seen, since)) if *seen == renewal => *since,
            _ => now,
        };
        self.seen = Some((renewal, since));
        // What its holder promised, not what we would have; nobody promises nothing and goes on holding it.
        let promised = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|span| *span > 0);
        let over = since.after(takeover(promised.map_or(self.duration, Duration::from_secs)));
        (now < over).then(|| over.since(now))
    }

    /// Whether the Lease is held by this process.
    pub fn holds(&self, lease: &Lease) -> bool {
        lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.identity)
    }

    /// The Lease given back, so that another need not wait.
    pub fn released(spec: &LeaseSpec, time: MicroTime) -> LeaseSpec {
        LeaseSpec {
            holder_identity: None,
            lease_duration_seconds: Some(1),
            renew_time: Some(time),
            ..spec.clone()
        }
    }

    fn lease(&self, before: &LeaseSpec, time: MicroTime) -> LeaseSpec {
        let goes_on = before.holder_identity.as_ref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            acquire_time: before.acquire_time.clone().filter(|_| goes_on).or(Some(time.clone())),
            renew_time: Some(time),
            lease_transitions: Some(if goes_on { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn candidate() -> Candidate {
        Candidate::new("b".to_owned(), DURATION)
    }

    fn time(second: i64) -> MicroTime {
        MicroTime(Timestamp::from_second(second).unwrap())
    }

    fn lease(holder: Option<&str>, renewed: i64, seconds: i32) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: Some(seconds),
                acquire_time: Some(time(1)),
                renew_time: Some(time(renewed)),
                lease_transitions: Some(4),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    fn written(step: Step) -> (Option<String>, i32, MicroTime) {
        let Step::Write(spec) = step else { panic!("it waits: {step:?}") };
        (spec.holder_identity, spec.lease_transitions.unwrap(), spec.acquire_time.unwrap())
    }

    #[test]
    fn what_nobody_holds_is_taken_at_once() {
        let now = Moment::now();
        let me = Some("b".to_owned());
        assert_eq!(written(candidate().step(None, now, time(100))), (me.clone(), 1, time(100)));
        let free = lease(None, 99, 1);
        assert_eq!(written(candidate().step(Some(&free), now, time(100))), (me.clone(), 5, time(100)));
        let own = lease(Some("b"), 99, 15);
        assert_eq!(written(candidate().step(Some(&own), now, time(100))), (me, 4, time(1)));
    }

    /// However wrong the other's clock is: its times are only compared with each other.
    #[test]
    fn a_holder_is_gone_when_its_lease_has_passed_since_its_last_renewal_was_seen() {
        for renewed in [0, 100, 4_000_000_000] {
            let (mut me, start) = (candidate(), Moment::now());
            let seconds = |s| start.after(Duration::from_secs(s));
            let held = lease(Some("a"), renewed, 20);
            assert_eq!(me.step(Some(&held), start, time(100)), Step::Wait(Duration::from_secs(16)));
            assert_eq!(me.step(Some(&held), seconds(15), time(100)), Step::Wait(Duration::from_secs(1)));
            let renewal = lease(Some("a"), renewed + 1, 20);
            assert_eq!(me.step(Some(&renewal), seconds(15), time(100)), Step::Wait(Duration::from_secs(16)));
            assert_eq!(me.step(Some(&renewal), seconds(30), time(100)), Step::Wait(Duration::from_secs(1)));
            let taken = me.step(Some(&renewal), seconds(31), time(100));
            assert_eq!(written(taken), (Some("b".to_owned()), 5, time(100)));
        }
    }

    #[test]
    fn another_holder_starts_the_count_anew() {
        let (mut me, start) = (candidate(), Moment::now());
        me.step(Some(&lease(Some("a"), 5, 15)), start, time(1));
        let later = start.after(DURATION);
        assert_eq!(me.step(Some(&lease(Some("c"), 5, 15)), later, time(1)), Step::Wait(takeover(DURATION)));
    }

    #[test]
    fn a_lease_given_back_is_free() {
        let held = lease(Some("a"), 5, 15);
        let free = Lease { spec: held.spec.map(|s| Candidate::released(&s, time(6))), ..Lease::default() };
        assert!(matches!(candidate().step(Some(&free), Moment::now(), time(7)), Step::Write(_)));
    }
}
