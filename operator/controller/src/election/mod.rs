//! Which replica leads: the one that holds the Lease of the operator's namespace. The only writer of that Lease.
//!
//! A leader may write until the renew deadline has passed since it *sent* its last successful renewal; others take the
//! Lease no earlier than four fifths of the lease duration, which is longer, after they *saw* it. So there is a gap between
//! the two, in which what is still under way comes to an end; and the last fifth is left for the next leader to begin in.
//! Others watch the Lease, so that they see a renewal when it happens. What a watch is late with only makes them wait longer,
//! and the Lease is read anew before it is taken.

mod rules;

use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use touchseal_crds::names::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL};

use crate::identity::Identity;
use crate::leadership::{Leadership, Moment};
use crate::words;
use rules::{Candidate, Step, takeover};

/// Name of the Lease.
const LEASE: &str = "touchseal-operator";
/// Longest wait for the Lease to be given back when the process ends.
const RELEASE: Duration = Duration::from_secs(3);

/// How long a lease lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long after a renewal another one writes, at the latest; others wait four fifths of it.
    pub lease: Duration,
    /// How long the leader writes after a renewal.
    pub renew: Duration,
    /// Time between two attempts.
    pub retry: Duration,
}

impl Timing {
    /// Whether a leader stops before others begin, and has several attempts before it stops.
    ///
    /// # Errors
    /// Says which does not fit, in the words of the command line.
    pub fn check(self) -> Result<Timing, String> {
        if self.lease.subsec_nanos() != 0 || takeover(self.lease) <= self.renew {
            return Err("--lease-duration must be in whole seconds, and --renew-deadline shorter than four fifths of it".into());
        }
        if self.retry.is_zero() || self.renew < self.retry * 2 {
            return Err("--renew-deadline must be at least twice --retry-period".to_owned());
        }
        Ok(self)
    }
}

/// One process's part in the election.
pub struct Election {
    api: Api<Lease>,
    timing: Timing,
    candidate: Candidate,
    leadership: Leadership,
    /// The Lease as this process wrote it last, while nobody else has.
    held: Option<Lease>,
}

impl Election {
    /// Nothing known, nothing led.
    pub fn new(
        client: &Client,
        namespace: &str,
        who: &Identity,
        timing: Timing,
        leadership: Leadership,
    ) -> Election {
        Election {
            api: Api::namespaced(client.clone(), namespace),
            timing,
            candidate: Candidate::new(format!("{}_{}", who.pod, who.pod_uid), timing.lease),
            leadership,
            held: None,
        }
    }

    /// Takes part for as long as the process runs.
    pub async fn run(&mut self) {
        loop {
            let sent = Moment::now();
            let wait = match tokio::time::timeout(self.timing.renew / 2, self.attempt()).await {
                Ok(Ok(None)) => {
                    self.leadership.hold(sent.after(self.timing.renew));
                    self.timing.retry
                }
                Ok(Ok(Some(wait))) => {
                    self.leadership.lose();
                    self.stand_by(wait).await;
                    continue;
                }
                // What was held is held until its time is over.
                Ok(Err(error)) => self.failed(&words::of(&error)),
                Err(_) => self.failed("the API server does not answer"),
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits until the Lease may be had, starting from how long it is another's at least.
    async fn stand_by(&mut self, mut wait: Duration) {
        // It outlasts errors; a Lease it says nothing new of is looked at when the wait is over.
        let mut states = watcher::watch_object(self.api.clone(), LEASE).default_backoff().boxed();
        loop {
            let until = Moment::now().after(wait);
            tokio::select! {
                () = tokio::time::sleep(wait) => return,
                Some(state) = states.next() => match state {
                    Ok(lease) => {
                        let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
                        match self.candidate.wait(&spec, Moment::now()) {
                            Some(longer) => wait = longer,
                            None => return,
                        }
                    }
                    Err(error) => {
                        let problem = words::of_watch(&error);
                        tracing::warn!(problem, "watch of the Lease failed; it is tried again");
                        wait = until.since(Moment::now());
                    }
                },
            }
        }
    }

    fn failed(&mut self, problem: &str) -> Duration {
        self.held = None; // it may have been written all the same
        tracing::warn!(
            problem,
            leads = self.leadership.leads(),
            "the Lease could not be had or renewed; it is tried again"
        );
        self.timing.retry
    }

    /// None: it is ours now. Otherwise how long it is another's at least.
    async fn attempt(&mut self) -> Result<Option<Duration>, kube::Error> {
        loop {
            let before = match self.held.take() {
                Some(held) => Some(held),
                None => self.api.get_opt(LEASE).await?,
            };
            // A renewal of another is no younger than the answer it is seen in.
            let (now, time) = (Moment::now(), MicroTime(Timestamp::now()));
            let spec = match self.candidate.step(before.as_ref(), now, time) {
                Step::Wait(wait) => return Ok(Some(wait)),
                Step::Write(spec) => spec,
            };
            let params =
                PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            let written = match before {
                Some(before) => self.api.replace(LEASE, &params, &Lease { spec: Some(spec), ..before }).await,
                None => self.api.create(&params, &Lease { metadata: metadata(), spec: Some(spec) }).await,
            };
            match written {
                Ok(stored) => {
                    self.held = Some(stored);
                    return Ok(None);
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {} // another was first: look again
                Err(error) => return Err(error),
            }
        }
    }

    /// Leads no more and gives the Lease back, so that another need not wait for it to run out.
    pub async fn release(&mut self) {
        self.leadership.lose();
        let Some(held) = self.held.take().filter(|held| self.candidate.holds(held)) else { return };
        let spec = held.spec.as_ref().map(|spec| Candidate::released(spec, MicroTime(Timestamp::now())));
        let free = Lease { spec, ..held };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let released = tokio::time::timeout(RELEASE, self.api.replace(LEASE, &params, &free)).await;
        if !matches!(released, Ok(Ok(_))) {
            tracing::warn!("the Lease could not be given back; another replica leads when it has run out");
        }
    }
}

fn metadata() -> ObjectMeta {
    ObjectMeta {
        name: Some(LEASE.to_owned()),
        labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_must_stop_before_another_begins() {
        let timing = |lease, renew, retry| {
            let span = Duration::from_millis;
            Timing { lease: span(lease), renew: span(renew), retry: span(retry) }.check().is_ok()
        };
        assert!(timing(15_000, 10_000, 2_000));
        assert!(timing(3_000, 2_000, 500));
        assert!(!timing(10_000, 10_000, 2_000), "no gap");
        assert!(!timing(10_000, 8_000, 2_000), "others begin after 8 s");
        assert!(timing(10_000, 7_999, 2_000));
        assert!(!timing(3_500, 2_000, 500), "the Lease holds whole seconds");
        assert!(!timing(15_000, 3_000, 2_000), "one failure would end it");
        assert!(!timing(15_000, 10_000, 0));
    }
}
