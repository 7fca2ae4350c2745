//! Which replica leads: the one that holds the Lease of the operator's namespace. The only writer of that Lease.
//!
//! A leader may write until the renew deadline has passed since it *sent* its last successful renewal; others take the
//! lease no earlier than the longer lease duration after they saw it. So there is a gap between the two, in which what is
//! still under way comes to an end.

mod rules;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use touchseal_crds::names::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL};

use crate::identity::Identity;
use crate::leadership::{Leadership, Moment};
use crate::words;
use rules::{Candidate, Step};

/// Name of the Lease.
const LEASE: &str = "touchseal-operator";
/// Longest wait for the Lease to be given back when the process ends.
const RELEASE: Duration = Duration::from_secs(3);

/// How long a lease lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait after a renewal.
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
        if self.lease.subsec_nanos() != 0 || self.lease <= self.renew {
            return Err("--lease-duration must be in whole seconds and longer than --renew-deadline".into());
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
                    wait.min(self.timing.retry)
                }
                // What was held is held until its time is over.
                Ok(Err(error)) => self.failed(&words::of(&error)),
                Err(_) => self.failed("the API server does not answer"),
            };
            tokio::time::sleep(wait).await;
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
        assert!(!timing(3_500, 2_000, 500), "the Lease holds whole seconds");
        assert!(!timing(15_000, 3_000, 2_000), "one failure would end it");
        assert!(!timing(15_000, 10_000, 0));
    }
}
