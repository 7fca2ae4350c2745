//! Carries out the effects of one keyring's state machine, in order. Transient failures are tried again, later and
//! later; an effect that cannot be carried out lets the ones behind it go first and keeps its turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ObjectReference, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use touchseal_crds::Reason;
use touchseal_keyring::state::{Effect, Event, SealedBecause};
use touchseal_plan::Notice;

use super::{Answer, Ceremony, hand_over, report, request};
use crate::pins::{self, Stored};
use crate::words;

/// Life of a proof, in seconds; it is renewed after three quarters of it.
const PROOF_SECONDS: i64 = 3600;
/// Longest wait between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(15);
/// Attempts after which others that wait go first.
const PATIENCE: u32 = 4;

/// What waits in a keyring's queue.
pub enum Job {
    /// An effect of the state machine.
    Effect(Effect),
    /// Bring this replica's entry in the Keyring's status up to date.
    Report,
}

impl Job {
    /// Whether `newer` makes this job pointless: what it would do is undone or done again by it.
    fn is_superseded_by(&self, newer: &Job) -> bool {
        let request = |job: &Job| {
            matches!(
                job,
                Job::Effect(Effect::PublishRequest(_) | Effect::ClearRequest | Effect::IssueProof { .. })
            )
        };
        match (self, newer) {
            (Job::Report, Job::Report) => true,
            // A request shows one refusal, and each has been written down.
            (Job::Effect(Effect::RefuseRelease { .. }), Job::Effect(Effect::RefuseRelease { .. })) => true,
            (Job::Effect(Effect::PersistPin { .. }), Job::Effect(Effect::PersistPin { .. })) => true,
            // The newest word about the request counts; a proof that is asked for is about to be published.
            (old, new) => request(old) && request(new),
        }
    }
}

/// Works through one keyring's queue until the process ends. Nothing is dropped but what something newer made pointless:
/// a job that fails again and again lets the others go first and keeps its turn.
pub async fn carry_out(
    ceremony: Arc<Ceremony>,
    keyring: String,
    mut queue: mpsc::UnboundedReceiver<Job>,
    answers: mpsc::UnboundedSender<Answer>,
) {
    let mut renewal: Option<AbortHandle> = None;
    let mut waiting: VecDeque<Job> = VecDeque::new();
    let mut attempt = 0;
    loop {
        while let Ok(job) = queue.try_recv() {
            enqueue(&mut waiting, job);
        }
        let Some(job) = waiting.pop_front() else {
            let Some(job) = queue.recv().await else { return };
            enqueue(&mut waiting, job);
            continue;
        };
        let result = match &job {
            Job::Effect(effect) => perform(&ceremony, &keyring, effect, &answers, &mut renewal).await,
            Job::Report => report::write(&ceremony, &keyring).await,
        };
        let Err(error) = result else {
            attempt = 0;
            continue;
        };
        attempt += 1;
        let problem = words::of(&error);
        tracing::warn!(keyring, attempt, problem, "a step of the unseal ceremony failed; it is tried again");
        while let Ok(newer) = queue.try_recv() {
            enqueue(&mut waiting, newer);
        }
        if !waiting.iter().any(|newer| job.is_superseded_by(newer)) {
            if attempt % PATIENCE == 0 { waiting.push_back(job) } else { waiting.push_front(job) }
        }
        let wait = Duration::from_millis(100).saturating_mul(1 << attempt.min(10)).min(MAX_BACKOFF);
        tokio::time::sleep(wait).await;
    }
}

fn enqueue(waiting: &mut VecDeque<Job>, job: Job) {
    waiting.retain(|older| !older.is_superseded_by(&job));
    waiting.push_back(job);
}

async fn perform(
    ceremony: &Arc<Ceremony>,
    keyring: &str,
    effect: &Effect,
    answers: &mpsc::UnboundedSender<Answer>,
    renewal: &mut Option<AbortHandle>,
) -> Result<(), kube::Error> {
    let answer = |event: Event| {
        // The receiver lives as long as the process.
        let _ = answers.send((keyring.to_owned(), event));
    };
    match effect {
        Effect::IssueProof { audience } => {
            let (proof, expires_at) = issue_proof(ceremony, audience).await?;
            let answers = answers.clone();
            let keyring = keyring.to_owned();
            let wait = Duration::from_secs((PROOF_SECONDS as u64) * 3 / 4);
            let timer = tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                let _ = answers.send((keyring, Event::ProofExpiring));
            });
            if let Some(earlier) = renewal.replace(timer.abort_handle()) {
                earlier.abort();
            }
            answer(Event::ProofIssued { audience: audience.clone(), proof, expires_at });
        }
        Effect::PublishRequest(published) => {
            let stale = request::publish(ceremony, keyring, published).await?;
            if !stale.is_empty() {
                let yubikeys: Vec<_> = stale.iter().map(|serial| format!("YubiKey {serial}")).collect();
                dropped(ceremony, keyring, &yubikeys.join(", "));
            }
        }
        Effect::RefuseRelease { reason, message, .. } => {
            request::refuse(ceremony, keyring, *reason, message).await?;
            tracing::warn!(keyring, %reason, message, "a release was refused; the operator stays sealed");
            refusal(ceremony, keyring, *reason, format!("pod {}: {message}", ceremony.identity.pod));
        }
        Effect::RefuseShare { serial, message } => {
            request::refuse_share(ceremony, keyring, *serial, message).await?;
            ceremony.metrics.ceremonies.refused(keyring);
            tracing::warn!(keyring, serial, message, "a share was refused; nothing else changes");
            let message = format!("pod {}: {message}", ceremony.identity.pod);
            refusal(ceremony, keyring, Reason::ReleaseInvalid, message);
        }
        Effect::ReportShares { released, needed } => {
            request::report_released(ceremony, keyring, released).await?;
            report::write(ceremony, keyring).await?;
            let message = format!("pod {}: {}", ceremony.identity.pod, report::progress(released, *needed));
            tracing::info!(keyring, message, "a share was released");
            notice(ceremony, keyring, false, Reason::ShareReleased, message);
        }
        Effect::ReportSharesDropped { released } => {
            request::sweep_stale(ceremony, keyring).await?;
            request::report_released(ceremony, keyring, &[]).await?;
            report::write(ceremony, keyring).await?;
            dropped(ceremony, keyring, &report::names(released));
        }
        Effect::PersistPin { pin, .. } => {
            match pins::store(&ceremony.client, &ceremony.namespace, keyring, pin).await? {
                Stored::Done => answer(Event::PinPersisted(pin.clone())),
                Stored::Other(found) => answer(Event::PinLoaded(Some(found))),
                Stored::Unreadable => tracing::error!(
                    keyring,
                    config_map = pins::name(keyring),
                    "the pin cannot be read and is not overwritten; restore the ConfigMap, or delete it to pin the present manifest"
                ),
            }
        }
        Effect::CheckProof { asked, audience } => {
            hand_over::check(ceremony, keyring, asked, audience, answers);
        }
        Effect::HandOver { asked, release } => hand_over::release(ceremony, keyring, asked, release).await?,
        Effect::ClearRequest => request::clear(ceremony, keyring).await?,
        Effect::ReportUnsealed { holder, serial, with, handed_over_by } => {
            report::write(ceremony, keyring).await?;
            ceremony.metrics.ceremonies.unsealed(keyring);
            let others = report::names(with);
            let pod = &ceremony.identity.pod;
            tracing::info!(keyring, holder, serial, others, handed_over_by, pod, "unsealed");
            let mut message = match handed_over_by {
                None => format!("pod {pod} was unsealed by {holder} (YubiKey {serial})"),
                Some(from) => format!(
                    "pod {pod} was unsealed by a hand-over from pod {from}; first released by {holder} (YubiKey {serial})"
                ),
            };
            if !with.is_empty() {
                message.push_str(&format!(" with {}", report::names(with)));
            }
            notice(ceremony, keyring, false, Reason::Unsealed, message);
        }
        Effect::ReportSealed { why } => {
            tracing::info!(keyring, why = %why_sealed(why), pod = ceremony.identity.pod, "sealed");
            report::write(ceremony, keyring).await?;
            if !matches!(why, SealedBecause::Started) {
                let message = format!("pod {} is sealed: {}", ceremony.identity.pod, why_sealed(why));
                notice(ceremony, keyring, false, Reason::Sealed, message);
            }
        }
        Effect::ReportTampered { reason, message } => {
            tracing::error!(keyring, %reason, message, "the keyring is refused; its keys are dropped, Secrets stay as they are");
            report::write(ceremony, keyring).await?;
            notice(ceremony, keyring, true, *reason, message.clone());
        }
    }
    Ok(())
}

/// A token of our own ServiceAccount, bound to our pod, whose only audience is the session.
async fn issue_proof(ceremony: &Ceremony, audience: &str) -> Result<(String, Timestamp), kube::Error> {
    let accounts: Api<ServiceAccount> =
        Api::namespaced(ceremony.client.clone(), &ceremony.identity.namespace);
    let wanted = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(vec![audience.to_owned()]),
            expiration_seconds: Some(PROOF_SECONDS),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(ceremony.identity.pod.clone()),
                uid: Some(ceremony.identity.pod_uid.clone()),
            }),
        }),
        ..TokenRequest::default()
    };
    let issued =
        accounts.create_token_request(&ceremony.service_account, &PostParams::default(), &wanted).await?;
    let status = issued.status.unwrap_or_default();
    let (Some(token), Some(expires)) = (status.token, status.expiration_timestamp) else {
        return Err(kube::Error::Service("the API server issued no token".into()));
    };
    Ok((token, expires.0))
}

/// The reason in words.
pub fn why_sealed(why: &SealedBecause) -> String {
    match why {
        SealedBecause::Started => "it has just started".to_owned(),
        SealedBecause::TimeOver => "its time since a holder's release is over (sealAfter)".to_owned(),
        SealedBecause::Requested { marker } => format!("a person asked for it ({marker})"),
        SealedBecause::NewActiveGeneration(number) => {
            format!("key generation {number} became active and needs a holder")
        }
        SealedBecause::Unopenable { message } => message.clone(),
        SealedBecause::ManifestGone => "the Keyring was deleted".to_owned(),
    }
}

/// Shares are in memory only: those who released them hear that they have to do it again.
fn dropped(ceremony: &Ceremony, keyring: &str, whose: &str) {
    let message = format!(
        "pod {}: what was released by {whose} is void, for another session or manifest asks now: touchseal unseal",
        ceremony.identity.pod
    );
    tracing::warn!(keyring, message, "released shares were dropped");
    notice(ceremony, keyring, true, Reason::SharesDropped, message);
}

/// Says in an Event that something from outside was refused, unless that was said very often just now.
pub fn refusal(ceremony: &Ceremony, keyring: &str, reason: Reason, message: String) {
    let message = match ceremony.quiet.may_tell(keyring, reason, Instant::now()) {
        None => return,
        Some(0) => message,
        Some(untold) => format!("{message} ({untold} more of this reason were not told)"),
    };
    notice(ceremony, keyring, true, reason, message);
}

/// Says something of a keyring in an Event.
pub fn notice(ceremony: &Ceremony, keyring: &str, warning: bool, reason: Reason, message: String) {
    let about = ObjectReference {
        api_version: Some("touchseal.dev/v1alpha1".to_owned()),
        kind: Some("Keyring".to_owned()),
        name: Some(keyring.to_owned()),
        uid: ceremony.uid(keyring),
        ..ObjectReference::default()
    };
    ceremony.events.publish(&about, &Notice { warning, reason, message }, "Unseal");
}
