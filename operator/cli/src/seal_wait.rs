//! Whether every process that may hold a keyring's keys has dropped them at our request.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use touchseal_crds::keyring::{KeyringStatus, ReplicaState, ReplicaStatus};

/// One replica, as seen while waiting.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Replica {
    pub keyring: String,
    pub pod: String,
    pub state: Progress,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Progress {
    /// It has acted on this request and holds no key.
    Sealed,
    /// Its pod does not exist any more, or has ended, and its memory with it.
    Gone,
    /// It has not reported yet.
    Waiting,
}

/// The pods whose processes may still have memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Of the operator's namespace.
    pub all: BTreeSet<String>,
    /// Of these, the ones that run as the operator.
    pub operators: BTreeSet<String>,
    /// Of these, the ones that cannot run, and why.
    pub stuck: BTreeMap<String, String>,
}

impl Live {
    /// Sorts the pods of the operator's namespace. One that is being deleted is live until it is gone.
    pub fn of(pods: &[Pod], service_account: &str) -> Self {
        let mut live = Self::default();
        for pod in pods {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            let Some(name) =
                pod.metadata.name.clone().filter(|_| !matches!(phase, Some("Succeeded" | "Failed")))
            else {
                continue;
            };
            let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
            if account == Some(service_account) {
                live.operators.insert(name.clone());
                if let Some(why) = obstacle(pod) {
                    live.stuck.insert(name.clone(), why);
                }
            }
            live.all.insert(name);
        }
        live
    }

    /// Whether a replica's memory may still exist.
    pub fn holds(&self, pod: &str) -> bool {
        self.all.contains(pod)
    }
}

/// What a container waits for in an ordinary start.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// Why nothing of a pod runs, in a word of its node's or the scheduler's: ImagePullBackOff.
fn obstacle(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = || status.container_statuses.iter().flatten();
    if containers().any(|container| container.state.as_ref().is_some_and(|state| state.running.is_some())) {
        return None;
    }
    let waiting = status.init_container_statuses.iter().flatten().chain(containers()).find_map(|container| {
        let reason = container.state.as_ref()?.waiting.as_ref()?.reason.clone()?;
        Some(reason).filter(|reason| !STARTING.contains(&reason.as_str()))
    });
    let unscheduled = || {
        let mut conditions = status.conditions.iter().flatten();
        let placed = conditions.find(|condition| condition.type_ == "PodScheduled")?;
        placed.reason.clone().filter(|_| placed.status == "False")
    };
    waiting.or_else(unscheduled)
}

/// Every replica that the Keyring's status names, and every live pod of the operator whether named there or not: the
/// status tells who has reported, not who holds keys.
pub fn progress(keyring: &str, status: Option<&KeyringStatus>, marker: &str, live: &Live) -> Vec<Replica> {
    let reported: BTreeMap<&str, &ReplicaStatus> = status
        .iter()
        .flat_map(|status| &status.replicas)
        .map(|replica| (replica.pod.as_str(), replica))
        .collect();
    let pods: BTreeSet<&str> =
        reported.keys().copied().chain(live.operators.iter().map(String::as_str)).collect();
    let state = |pod: &str| match reported.get(pod) {
        Some(replica)
            if replica.last_handled_seal_request.as_deref() == Some(marker)
                && replica.state == ReplicaState::Sealed =>
        {
            Progress::Sealed
        }
        _ if live.holds(pod) => Progress::Waiting,
        _ => Progress::Gone,
    };
    pods.into_iter()
        .map(|pod| Replica { keyring: keyring.to_owned(), pod: pod.to_owned(), state: state(pod) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, account: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "serviceAccountName": account, "containers": [] },
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_that_cannot_run_is_told_with_its_reason() {
        let stuck = |status: serde_json::Value| {
            let mut pod = pod("op-1", "op", "Pending");
            pod.status = serde_json::from_value(status).unwrap();
            Live::of(&[pod], "op").stuck
        };
        let container = |state: serde_json::Value| json!({ "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state });
        let waiting = |reason: &str| container(json!({ "waiting": { "reason": reason } }));
        let waits = json!({ "containerStatuses": [waiting("ImagePullBackOff")] });
        let begins = json!({ "initContainerStatuses": [waiting("ErrImagePull")], "containerStatuses": [waiting("PodInitializing")] });
        assert_eq!(stuck(begins)["op-1"], "ErrImagePull");
        // An ordinary start, and a sidecar that is in nobody's way.
        assert!(stuck(json!({ "containerStatuses": [waiting("ContainerCreating")] })).is_empty());
        let runs = container(json!({ "running": {} }));
        assert!(stuck(json!({ "containerStatuses": [waiting("ImagePullBackOff"), runs] })).is_empty());
        let placed = |status: &str| json!({ "conditions": [{ "type": "PodScheduled", "status": status, "reason": "Unschedulable" }] });
        assert_eq!(stuck(waits)["op-1"], "ImagePullBackOff");
        assert_eq!(stuck(placed("False"))["op-1"], "Unschedulable");
        assert!(stuck(placed("True")).is_empty());
    }

    fn states(status: Option<&KeyringStatus>, live: &Live) -> Vec<(String, Progress)> {
        progress("main", status, "m", live).into_iter().map(|replica| (replica.pod, replica.state)).collect()
    }

    #[test]
    fn sealed_means_sealed_by_this_request() {
        let replica = |pod: &str, state: &str, marker: &str| json!({ "pod": pod, "state": state, "since": "2026-01-01T00:00:00Z", "lastHandledSealRequest": marker });
        let status: KeyringStatus = serde_json::from_value(json!({ "replicas": [
            replica("done", "Sealed", "m"),
            replica("earlier", "Sealed", "other"),
            replica("gone", "Unsealed", "other"),
            replica("unsealed-again", "Unsealed", "m"),
        ]}))
        .unwrap();
        let live =
            Live::of(&["done", "earlier", "unsealed-again"].map(|name| pod(name, "other", "Running")), "op");
        let states: Vec<_> = states(Some(&status), &live).into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, [Progress::Sealed, Progress::Waiting, Progress::Gone, Progress::Waiting]);
    }

    /// The status is written by those who may have lost the way to the API server.
    #[test]
    fn a_live_pod_of_the_operator_must_confirm_although_no_status_names_it() {
        let pods = [
            pod("silent", "op", "Running"),
            pod("starting", "op", "Pending"),
            pod("ended", "op", "Failed"),
            pod("done", "op", "Succeeded"),
            pod("stranger", "other", "Running"),
        ];
        let live = Live::of(&pods, "op");
        assert!(live.stuck.is_empty());
        let waiting = ["silent", "starting"].map(|name| (name.to_owned(), Progress::Waiting));
        assert_eq!(states(None, &live), waiting);
        assert_eq!(states(Some(&KeyringStatus::default()), &live), waiting);
        assert_eq!(states(None, &Live::default()), []);
    }
}
