//! Restarting workloads whose pods hold an older value: what a workload's own state says to it.
//!
//! A workload is restarted by an annotation on its pod template that names EncryptedSecrets and generations, `app=3,db=7`.
//! The annotation is also the memory: a workload that bears a generation was restarted for it and never is again.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use touchseal_crds::names::ROLLED_OUT_ANNOTATION;

/// EncryptedSecrets and the generations that pods are to be restarted for.
pub type Generations = BTreeMap<String, i64>;

/// What is to be done to a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was restarted for all of them.
    Done,
    /// The annotation's new value.
    Annotate(String),
    /// Not now, or not by us.
    Wait(Wait),
}

/// Why a workload is not restarted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wait {
    /// It is paused.
    Paused,
    /// It is being rolled out.
    Busy,
    /// Its last roll-out does not come to an end.
    Failing,
    /// Its update strategy is OnDelete: its pods are replaced by whoever deletes them.
    OnDelete,
    /// It is gone, or being deleted.
    Gone,
    /// The operator may not restart it.
    Forbidden,
    /// The API server did not answer as it should.
    Unanswered,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wait::Paused => "is not restarted while it is paused",
            Wait::Busy => "is restarted once its present roll-out is through",
            Wait::Failing => "is not restarted while its last roll-out fails",
            Wait::OnDelete => "has the update strategy OnDelete: delete its pods",
            Wait::Gone => "is gone",
            Wait::Forbidden => {
                "cannot be restarted: the operator has no right to (the chart's rollout.enabled)"
            }
            Wait::Unanswered => "could not be restarted yet; it is tried again",
        })
    }
}

/// A kind of workload that can be restarted: what its state says.
pub trait Workload {
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// Its pod template.
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// What its own state holds against a restart.
    fn against(&self) -> Option<Wait>;
}

/// What is to be done so that a workload is restarted for `wanted`, once.
pub fn step(workload: &impl Workload, wanted: &Generations) -> Step {
    let meta = workload.meta();
    if meta.deletion_timestamp.is_some() {
        return Step::Wait(Wait::Gone);
    }
    let template = workload.template().and_then(|t| t.metadata.as_ref());
    let present = template.and_then(|m| m.annotations.as_ref()?.get(ROLLED_OUT_ANNOTATION));
    let mut generations = present.map(|text| parse(text)).unwrap_or_default();
    let mut grew = false;
    for (name, number) in wanted {
        if generations.get(name).is_none_or(|known| known < number) {
            generations.insert(name.clone(), *number);
            grew = true;
        }
    }
    if !grew {
        return Step::Done;
    }
    match workload.against() {
        Some(wait) => Step::Wait(wait),
        None => Step::Annotate(print(&generations)),
    }
}

fn parse(text: &str) -> Generations {
    text.split(',')
        .filter_map(|part| part.split_once('='))
        .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
        .collect()
}

fn print(generations: &Generations) -> String {
    let parts: Vec<String> = generations.iter().map(|(name, number)| format!("{name}={number}")).collect();
    parts.join(",")
}

/// Its controller has not seen the newest spec yet.
fn unseen(meta: &ObjectMeta, observed: Option<i64>) -> bool {
    observed.unwrap_or_default() < meta.generation.unwrap_or_default()
}

impl Workload for Deployment {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref().map(|spec| &spec.template)
    }

    fn against(&self) -> Option<Wait> {
        let (spec, status) = (self.spec.as_ref()?, self.status.clone().unwrap_or_default());
        if spec.paused == Some(true) {
            return Some(Wait::Paused);
        }
        if unseen(&self.metadata, status.observed_generation) {
            return Some(Wait::Busy);
        }
        let progress = status.conditions.iter().flatten().find(|c| c.type_ == "Progressing");
        if progress.is_some_and(|c| c.status == "False") {
            return Some(Wait::Failing);
        }
        let updated = status.updated_replicas.unwrap_or_default();
        let through = updated >= spec.replicas.unwrap_or(1)
            && status.replicas.unwrap_or_default() <= updated
            && progress.is_none_or(|c| c.reason.as_deref() == Some("NewReplicaSetAvailable"));
        (!through).then_some(Wait::Busy)
    }
}

impl Workload for StatefulSet {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref().map(|spec| &spec.template)
    }

    fn against(&self) -> Option<Wait> {
        let (spec, status) = (self.spec.as_ref()?, self.status.clone().unwrap_or_default());
        if spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
            return Some(Wait::OnDelete);
        }
        let same = status.update_revision.is_none() || status.current_revision == status.update_revision;
        let through = !unseen(&self.metadata, status.observed_generation)
            && same
            && status.replicas >= spec.replicas.unwrap_or(1);
        (!through).then_some(Wait::Busy)
    }
}

impl Workload for DaemonSet {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref().map(|spec| &spec.template)
    }

    fn against(&self) -> Option<Wait> {
        let (spec, status) = (self.spec.as_ref()?, self.status.clone().unwrap_or_default());
        if spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
            return Some(Wait::OnDelete);
        }
        let desired = status.desired_number_scheduled;
        let through = !unseen(&self.metadata, status.observed_generation)
            && status.updated_number_scheduled.unwrap_or_default() >= desired
            && status.number_available.unwrap_or_default() >= desired;
        (!through).then_some(Wait::Busy)
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
