//! Hand-over to other replicas: which requests wait, whether one is what it says, and the release that answers it.
//!
//! Every unsealed replica answers, the leader first. What they write names the very request that was checked, so a second
//! answer is a conflict and harms nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::sync::mpsc;
use touchseal_crds::keyring::{HandOver, ReplicaState};
use touchseal_crds::names::FIELD_MANAGER;
use touchseal_crds::unseal_request::Release;
use touchseal_crds::{Keyring, Reason, UnsealRequest};
use touchseal_keyring::proof::{self, Claim, Gravity, Operator, Refusal};
use touchseal_keyring::state::{Asked, Event};
use touchseal_keyring::{Offer, State};

use super::audit::{self, Act};
use super::{Answer, Ceremony, effects};
use crate::words;

/// Most requests kept; whoever may write requests could invent any number.
const MOST: usize = 256;
/// Time before the same request is looked at again.
const AGAIN: Duration = Duration::from_secs(20);
/// How long a replica that does not lead leaves a request to the leader.
const LEADER_FIRST: Duration = Duration::from_secs(2);

/// How long a keyring is unsealed before it is handed over: whoever has just unsealed it may be answering others, too.
const SETTLED: SignedDuration = SignedDuration::from_secs(3);

/// Whether a keyring is unsealed here, and not only since a moment ago.
pub fn is_due(state: &State) -> bool {
    state.keys().is_some() && state.since().is_none_or(|since| settled(since, Timestamp::now()))
}

/// A clock that was set back meanwhile must not keep others waiting until it shows that time again.
fn settled(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since).abs() >= SETTLED
}

/// Whether another replica could unseal this one, as far as the Keyring tells.
pub fn may_come(keyring: &Keyring, own: &str) -> bool {
    let replicas = keyring.status.iter().flat_map(|status| &status.replicas);
    let mut others = replicas.filter(|replica| replica.pod != own);
    keyring.spec.hand_over != Some(HandOver::Deny)
        && others.any(|replica| replica.state == ReplicaState::Unsealed)
}

/// Other processes' requests.
#[derive(Default)]
pub struct Waiting {
    /// By name.
    requests: HashMap<String, Request>,
}

struct Request {
    keyring: String,
    asked: Asked,
    /// When it was last looked at, and the nonce it had.
    looked: Option<(String, Instant)>,
}

impl Waiting {
    /// Takes in a request as it is now.
    pub fn seen(&mut self, request: &UnsealRequest) {
        let name = request.name_any();
        let Some(asked) = asked(request) else {
            self.requests.remove(&name); // answered, or not ready to be
            return;
        };
        let looked = self.requests.remove(&name).and_then(|request| request.looked);
        if self.requests.len() < MOST {
            self.requests.insert(name, Request { keyring: request.spec.keyring.clone(), asked, looked });
        }
    }

    /// It was deleted.
    pub fn gone(&mut self, name: &str) {
        self.requests.remove(name);
    }

    /// The watch begins anew.
    pub fn clear(&mut self) {
        self.requests.clear();
    }

    /// What it is time to look at, for one of these keyrings.
    pub fn due(
        &mut self,
        now: Instant,
        unsealed: impl Fn(&str) -> bool,
        budget: &mut audit::Budget,
    ) -> Vec<(String, Asked)> {
        let mut due = Vec::new();
        for Request { keyring, asked, looked } in self.requests.values_mut() {
            let recent = |at: &Instant| now.duration_since(*at) < AGAIN;
            let lately = looked.as_ref().is_some_and(|(nonce, at)| *nonce == asked.nonce && recent(at));
            if !lately && unsealed(keyring) && budget.take(now) {
                *looked = Some((asked.nonce.clone(), now));
                due.push((keyring.clone(), asked.clone()));
            }
        }
        due
    }
}

/// The request, if it is complete and nobody has answered.
fn asked(request: &UnsealRequest) -> Option<Asked> {
    let status = request.status.as_ref().filter(|_| request.spec.release.is_none())?;
    Some(Asked {
        name: request.name_any(),
        uid: request.uid()?,
        version: request.resource_version()?,
        pod: request.spec.pod.clone(),
        session_key: status.session_key.clone()?,
        nonce: status.nonce.clone()?,
        proof: status.proof.clone()?,
    })
}

/// Checks a request beside everything else, and answers if it is what it says. What cannot be asked now is asked again
/// when the request is looked at again.
pub fn check(
    ceremony: &Arc<Ceremony>,
    keyring: &str,
    asked: &Asked,
    audience: &str,
    answers: &mpsc::UnboundedSender<Answer>,
) {
    let (ceremony, answers) = (Arc::clone(ceremony), answers.clone());
    let (keyring, asked, audience) = (keyring.to_owned(), asked.clone(), audience.to_owned());
    tokio::spawn(async move {
        if !ceremony.leadership.leads() {
            tokio::time::sleep(LEADER_FIRST).await;
        }
        let Ok(_turn) = ceremony.checks.acquire().await else { return };
        let (request, pod) = (&asked.name, &asked.pod);
        match verdict(&ceremony, &asked, &audience).await {
            Ok(Ok(())) => {
                let by = ceremony.identity.pod.clone();
                // The receiver lives as long as the process.
                let _ = answers.send((keyring, Event::ProofChecked { asked: Box::new(asked), by }));
            }
            Ok(Err(refusal)) if refusal.gravity() == Gravity::Forged => {
                tracing::warn!(keyring, request, pod, %refusal, "a request for a hand-over is forged; it is not answered");
                let reason = refusal.to_string();
                let (action, keyring) = ("hand-over", keyring.as_str());
                audit::record(
                    &ceremony.metrics,
                    &Act {
                        action,
                        keyring,
                        pod,
                        request,
                        outcome: "forged",
                        reason: &reason,
                        ..Act::default()
                    },
                );
                let message = format!("request {request} is not answered: {refusal}");
                effects::refusal(&ceremony, keyring, Reason::RequestForged, message);
            }
            Ok(Err(refusal)) => {
                tracing::info!(keyring, request, pod, %refusal, "a request for a hand-over is not answered");
                let reason = refusal.to_string();
                let (action, keyring) = ("hand-over", keyring.as_str());
                audit::record(
                    &ceremony.metrics,
                    &Act {
                        action,
                        keyring,
                        pod,
                        request,
                        outcome: "refused",
                        reason: &reason,
                        ..Act::default()
                    },
                );
            }
            Err(error) => {
                let problem = words::of(&error);
                tracing::warn!(keyring, request, problem, "a request for a hand-over could not be checked");
            }
        }
    });
}

/// The same checks as a holder's command line makes.
async fn verdict(
    ceremony: &Ceremony,
    asked: &Asked,
    audience: &str,
) -> Result<Result<(), Refusal>, kube::Error> {
    let offer = match Offer::parse(&asked.session_key, &asked.nonce) {
        Ok(offer) => offer,
        Err(error) => return Ok(Err(Refusal::Malformed(error.to_string()))),
    };
    // A name that is no name of a pod must not reach a URL.
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if asked.pod.is_empty() || !asked.pod.chars().all(is_name) {
        return Ok(Err(Refusal::PodGone));
    }
    let spec = TokenReviewSpec { token: asked.proof.clone(), audiences: Some(vec![audience.to_owned()]) };
    let review = TokenReview { spec, ..TokenReview::default() };
    let reviews: Api<TokenReview> = Api::all(ceremony.client.clone());
    let review = reviews.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(ceremony.client.clone(), &ceremony.identity.namespace);
    let pod = pods.get_opt(&asked.pod).await?;
    let operator =
        Operator { namespace: &ceremony.identity.namespace, service_account: &ceremony.service_account };
    let claim = Claim { offer, audience: audience.to_owned(), token: asked.proof.clone() };
    Ok(proof::check(operator, &asked.pod, &claim, &review, pod.as_ref()))
}

/// Writes the release into exactly the request that was checked.
pub async fn release(
    ceremony: &Ceremony,
    keyring: &str,
    asked: &Asked,
    release: &Release,
) -> Result<(), kube::Error> {
    let api: Api<UnsealRequest> = Api::namespaced(ceremony.client.clone(), &ceremony.namespace);
    let patch = json!({
        "metadata": { "uid": asked.uid, "resourceVersion": asked.version },
        "spec": { "release": release },
    });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch(&asked.name, &params, &Patch::Merge(patch)).await {
        Ok(_) => {}
        // Somebody answered first, or it asks anew.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(()),
        Err(error) => return Err(error),
    }
    let (from, to) = (&ceremony.identity.pod, &asked.pod);
    tracing::info!(keyring, from, to, holder = release.holder, serial = release.serial, "handed over");
    let (action, outcome, request) = ("hand-over", "given", asked.name.as_str());
    let (holder, serial, reason) = (release.holder.as_str(), release.serial, format!("by pod {from}"));
    audit::record(
        &ceremony.metrics,
        &Act { action, keyring, holder, serial, pod: to, request, outcome, reason: &reason },
    );
    let message = format!(
        "pod {from} handed the keyring over to pod {to}; first released by {} (YubiKey {})",
        release.holder, release.serial
    );
    effects::notice(ceremony, keyring, false, Reason::HandedOver, message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use touchseal_crds::{UnsealRequestSpec, UnsealRequestStatus};

    use super::*;

    fn request(name: &str, nonce: &str) -> UnsealRequest {
        let spec =
            UnsealRequestSpec { keyring: "main".to_owned(), pod: name.to_owned(), ..Default::default() };
        let mut request = UnsealRequest::new(name, spec);
        request.metadata.uid = Some(format!("uid-{name}"));
        request.metadata.resource_version = Some("1".to_owned());
        request.status = Some(UnsealRequestStatus {
            session_key: Some("key".to_owned()),
            nonce: Some(nonce.to_owned()),
            proof: Some("token".to_owned()),
            ..UnsealRequestStatus::default()
        });
        request
    }

    fn due(waiting: &mut Waiting, now: Instant) -> Vec<String> {
        let mut budget = audit::Budget::new(u32::MAX, AGAIN, now);
        waiting
            .due(now, |keyring| keyring == "main", &mut budget)
            .into_iter()
            .map(|(_, asked)| asked.nonce)
            .collect()
    }

    #[test]
    fn a_keyring_is_handed_over_after_a_moment_whatever_is_done_to_the_clock() {
        let now = Timestamp::now();
        for (seconds, over) in [(0, false), (2, false), (3, true), (3_600, true), (-1, false), (-3_600, true)]
        {
            let since = now.checked_sub(SignedDuration::from_secs(seconds)).unwrap();
            assert_eq!(settled(since, now), over, "{seconds}");
        }
    }

    #[test]
    fn a_request_is_looked_at_once_a_while_and_at_once_when_it_asks_anew() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.seen(&request("a", "1"));
        let mut none = audit::Budget::new(0, AGAIN, now);
        assert!(waiting.due(now, |_| false, &mut none).is_empty(), "nothing is unsealed here");
        assert!(waiting.due(now, |_| true, &mut none).is_empty(), "too many were looked at just now");
        assert_eq!(due(&mut waiting, now), ["1"]);
        waiting.seen(&request("a", "1"));
        assert!(due(&mut waiting, now).is_empty(), "the watch shows the same one many times");
        waiting.seen(&request("a", "2"));
        assert_eq!(due(&mut waiting, now), ["2"]);
        assert_eq!(due(&mut waiting, now + AGAIN), ["2"], "nobody has answered yet");
    }

    #[test]
    fn what_is_answered_incomplete_or_gone_is_not_looked_at() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let mut answered = request("a", "1");
        answered.spec.release = Some(Release::default());
        let mut incomplete = request("b", "1");
        incomplete.status.as_mut().unwrap().proof = None;
        waiting.seen(&request("a", "1"));
        waiting.seen(&answered);
        waiting.seen(&incomplete);
        waiting.seen(&request("c", "1"));
        waiting.gone("c");
        assert!(due(&mut waiting, now).is_empty());
    }

    #[test]
    fn invented_requests_take_a_bounded_place() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for number in 0..2 * MOST {
            waiting.seen(&request(&format!("r{number}"), "1"));
        }
        assert_eq!(due(&mut waiting, now).len(), MOST);
    }
}
