//! Emergency enrolments: an administrator makes somebody a holder through an unsealed operator, where the signed manifest
//! allows it and no holder's YubiKey is left. `touchseal_keyring::enrolment` judges; this asks back, tells the outcome, and
//! writes every one down.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use touchseal_crds::names::FIELD_MANAGER;
use touchseal_crds::{ConditionType, Enrolment, EnrolmentStatus, Keyring, KeyringSpec, Reason};
use touchseal_keyring::enrolment::{Challenge, Refused, Verdict, judge};
use touchseal_keyring::manifest::is_holder_name;
use touchseal_plan::Notice;

use crate::ceremony::Quiet;
use crate::ceremony::audit::{self, Act};
use crate::events::Events;
use crate::keys::Keys;
use crate::telemetry::Metrics;
use crate::{clock, lax, words};

/// Time before a status that could not be written is tried again, and between two looks at who has not answered in time.
const AGAIN: Duration = Duration::from_secs(5);

/// Follows every Enrolment of the operator's namespace, for one term.
pub struct Enrolments {
    client: Client,
    namespace: String,
    api: Api<Enrolment>,
    events: Events,
    keys: Arc<Keys>,
    metrics: Arc<Metrics>,
    /// As last seen, by uid; those that are settled are not kept.
    open: HashMap<String, Enrolment>,
    /// What this process asked, by uid. Whatever a status says, only this counts.
    asked: HashMap<String, Challenge>,
    /// Those that were written down as given: their manifest may have left this process.
    given: HashSet<String>,
    /// Those that have had their outcome in this term: the watch may still show them as they were.
    settled: HashSet<String>,
    quiet: Quiet,
}

impl Enrolments {
    /// Nothing known yet.
    pub fn new(
        client: Client,
        namespace: &str,
        events: Events,
        keys: Arc<Keys>,
        metrics: Arc<Metrics>,
    ) -> Enrolments {
        let api = Api::namespaced(client.clone(), namespace);
        Enrolments {
            client,
            namespace: namespace.to_owned(),
            api,
            events,
            keys,
            metrics,
            open: HashMap::new(),
            asked: HashMap::new(),
            given: HashSet::new(),
            settled: HashSet::new(),
            quiet: Quiet::default(),
        }
    }

    /// Runs until the term ends. `keys_ticks` ticks whenever a keyring opened or closed.
    pub async fn follow(mut self, mut keys_ticks: watch::Receiver<u64>) {
        let mut seen = lax::namespaced::<Enrolment>(self.client.clone(), &self.namespace).boxed();
        let mut again: Option<Instant> = None;
        loop {
            tokio::select! {
                Some(event) = seen.next() => match event {
                    Ok(event) => self.take(event),
                    Err(error) => {
                        tracing::warn!(problem = words::of_watch(&error), "watch of Enrolments failed; it is tried again");
                        continue;
                    }
                },
                Ok(()) = keys_ticks.changed() => {}
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
                else => return,
            }
            again = self.round().await.then(|| Instant::now() + AGAIN);
        }
    }

    fn take(&mut self, event: Event<Enrolment>) {
        match event {
            Event::Init => self.open.clear(),
            Event::InitDone => {}
            Event::Apply(enrolment) | Event::InitApply(enrolment) => {
                let uid = enrolment.uid().unwrap_or_default();
                let over = is_settled(&enrolment) || self.settled.contains(&uid);
                if over || enrolment.metadata.deletion_timestamp.is_some() {
                    self.forget(&uid);
                } else {
                    self.open.insert(uid, enrolment);
                }
            }
            Event::Delete(enrolment) => {
                let uid = enrolment.uid().unwrap_or_default();
                self.forget(&uid);
                self.settled.remove(&uid);
                self.given.remove(&uid);
            }
        }
    }

    fn forget(&mut self, uid: &str) {
        self.open.remove(uid);
        self.asked.remove(uid);
    }

    /// Judges all that are open; whether some of them has to be looked at again without anybody's doing.
    async fn round(&mut self) -> bool {
        for (uid, enrolment) in self.open.clone() {
            if let Err(error) = self.settle(&uid, &enrolment).await {
                let (enrolment, problem) = (enrolment.name_any(), words::of(&error));
                tracing::warn!(
                    enrolment,
                    problem,
                    "the status of an Enrolment could not be written; it is tried again"
                );
            }
        }
        !self.open.is_empty()
    }

    async fn settle(&mut self, uid: &str, enrolment: &Enrolment) -> Result<(), kube::Error> {
        let asked = self.asked.get(uid);
        let judged = self
            .keys
            .look(&enrolment.spec.keyring, |state| judge(&enrolment.spec, state.keys(), asked, clock::now()));
        let settles = matches!(judged, Some(Verdict::Enrol(_) | Verdict::Refuse(_)));
        let told = match judged {
            None | Some(Verdict::Sealed) => {
                let keyring = &enrolment.spec.keyring;
                let message =
                    format!("keyring {keyring} is not unsealed in the replica that leads, or not there");
                self.tell(enrolment, EnrolmentStatus::default(), Reason::Sealed, &message).await?
            }
            Some(Verdict::Ask) => {
                let challenge = Challenge::generate(clock::now());
                self.asked.insert(uid.to_owned(), challenge.clone());
                self.ask(enrolment, &challenge).await?
            }
            // Told again until it stands there: what was lost on its way cannot be answered.
            Some(Verdict::Wait) => match self.asked.get(uid) {
                Some(challenge) if shown(enrolment) != Some(&challenge.text) => {
                    self.ask(enrolment, challenge).await?
                }
                _ => false,
            },
            Some(Verdict::Enrol(spec)) => {
                // Before it leaves this process, so that none goes unrecorded; once, however often it has to be sent.
                if self.given.insert(uid.to_owned()) {
                    self.record(enrolment, "given", &enrolment.spec.reason);
                }
                self.enrol(enrolment, &spec).await?
            }
            Some(Verdict::Refuse(why)) => self.refuse(enrolment, &why).await?,
        };
        if told && settles {
            self.forget(uid);
            self.settled.insert(uid.to_owned());
        }
        Ok(())
    }

    async fn ask(&self, enrolment: &Enrolment, challenge: &Challenge) -> Result<bool, kube::Error> {
        let status = EnrolmentStatus {
            challenge: Some(challenge.text.clone()),
            challenge_expires_at: Some(Time(challenge.expires_at)),
            ..EnrolmentStatus::default()
        };
        let message = "repeat status.challenge in spec.answer";
        self.tell(enrolment, status, Reason::ChallengeIssued, message).await
    }

    async fn enrol(&self, enrolment: &Enrolment, next: &KeyringSpec) -> Result<bool, kube::Error> {
        let manifest = serde_json::to_string(next).map_err(kube::Error::SerdeError)?;
        let status = EnrolmentStatus { manifest: Some(manifest), ..EnrolmentStatus::default() };
        let message = format!(
            "{} is a holder in revision {}, once that is committed and applied",
            enrolment.spec.holder.name, next.revision
        );
        if !self.tell(enrolment, status, Reason::HolderEnrolled, &message).await? {
            return Ok(false);
        }
        let Holder { name, serial } = holder(enrolment);
        let note = format!(
            "{} made {name} (YubiKey {serial}) a holder of revision {}, without a holder: {}",
            enrolment.spec.requested_by, next.revision, enrolment.spec.reason
        );
        self.publish(enrolment, Reason::HolderEnrolled, note);
        Ok(true)
    }

    async fn refuse(&self, enrolment: &Enrolment, why: &Refused) -> Result<bool, kube::Error> {
        let message = why.to_string();
        if !self.tell(enrolment, EnrolmentStatus::default(), Reason::EnrolmentRefused, &message).await? {
            return Ok(false);
        }
        self.record(enrolment, "refused", &message);
        let Holder { name, serial } = holder(enrolment);
        let note = format!(
            "{} asked to make {name} (YubiKey {serial}) a holder: {message}",
            enrolment.spec.requested_by
        );
        self.publish(enrolment, Reason::EnrolmentRefused, note);
        Ok(true)
    }

    fn record(&self, enrolment: &Enrolment, outcome: &'static str, reason: &str) {
        let spec = &enrolment.spec;
        let (request, reason) =
            (enrolment.name_any(), format!("asked for by {}: {reason}", spec.requested_by));
        let (request, reason, holder) = (request.as_str(), reason.as_str(), &*holder(enrolment).name);
        let about = Act { action: "enrol", keyring: &spec.keyring, outcome, ..Act::default() };
        audit::record(&self.metrics, &Act { holder, serial: spec.holder.serial, request, reason, ..about });
    }

    fn publish(&self, enrolment: &Enrolment, reason: Reason, message: String) {
        // Log and count have those that are not told.
        if self.quiet.may_tell(&enrolment.spec.keyring, reason, Moment::now()).is_none() {
            return;
        }
        let about = ObjectReference {
            api_version: Some(Keyring::api_version(&()).into_owned()),
            kind: Some(Keyring::kind(&()).into_owned()),
            name: Some(enrolment.spec.keyring.clone()),
            ..ObjectReference::default()
        };
        self.events.publish(&about, &Notice { reason, warning: true, message }, "Enrol");
    }

    /// Writes the whole status of the very object that was judged, where it says something else; whether it was written.
    async fn tell(
        &self,
        enrolment: &Enrolment,
        status: EnrolmentStatus,
        reason: Reason,
        message: &str,
    ) -> Result<bool, kube::Error> {
        let said = enrolment.status.as_ref().and_then(|status| status.conditions.first());
        let status_word = if reason == Reason::HolderEnrolled { "True" } else { "False" };
        if said.is_some_and(|said| said.reason == reason.as_str() && said.message == message)
            && status.challenge.is_none()
        {
            return Ok(false);
        }
        let condition = Condition {
            type_: ConditionType::Enrolled.to_string(),
            status: status_word.to_owned(),
            reason: reason.to_string(),
            message: message.to_owned(),
            observed_generation: enrolment.metadata.generation,
            last_transition_time: Time(clock::now()),
        };
        let patch = json!({
            "metadata": { "resourceVersion": enrolment.resource_version() },
            "status": {
                "challenge": status.challenge,
                "challengeExpiresAt": status.challenge_expires_at,
                "manifest": status.manifest,
                "conditions": [condition],
            },
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match self.api.patch_status(&enrolment.name_any(), &params, &Patch::Merge(patch)).await {
            Ok(_) => Ok(true),
            // Deleted, or it changed: what it is now comes by the watch.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

struct Holder<'a> {
    name: Cow<'a, str>,
    serial: u32,
}

/// A name that no manifest takes could pretend to be something else where it is read.
fn holder(enrolment: &Enrolment) -> Holder<'_> {
    let asked = &enrolment.spec.holder;
    let plain = is_holder_name(&asked.name);
    let name = if plain { Cow::from(&asked.name) } else { Cow::from(format!("{:?}", asked.name)) };
    Holder { name, serial: asked.serial }
}

/// The challenge that stands in its status.
fn shown(enrolment: &Enrolment) -> Option<&String> {
    enrolment.status.as_ref()?.challenge.as_ref()
}

/// Whether it has had its outcome, which does not change any more.
fn is_settled(enrolment: &Enrolment) -> bool {
    let conditions = enrolment.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let settled = [Reason::HolderEnrolled, Reason::EnrolmentRefused].map(Reason::as_str);
    conditions.iter().any(|condition| settled.contains(&condition.reason.as_str()))
}
