//! Nobody asks: because no keyring needs it, because the operator refuses the keyring, has not seen it or has just started.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use touchseal_crds::Keyring;
use touchseal_crds::keyring::ReplicaState;
use touchseal_keyring::proof::Operator;

use crate::cluster::{Cluster, ClusterError};
use crate::commands::keyring::{is_new, refused};
use crate::error::{Exit, Failure};
use crate::seal_wait::Live;
use crate::terminal;

/// What there is while nobody asks.
#[derive(Debug)]
pub struct Idle {
    keyrings: Vec<Keyring>,
    /// These are all of the cluster.
    all: bool,
    /// The operator's pods; None where the person may not list pods.
    pods: Option<Pods>,
}

/// The operator's pods, by name.
#[derive(Debug, Default)]
struct Pods {
    /// All there are, also those that end: each may hand over what it has open.
    there: BTreeSet<String>,
    /// Those whose process runs.
    running: BTreeSet<String>,
    /// Some have a process that is yet to run.
    starting: bool,
}

impl Idle {
    /// Looks.
    pub fn look(cluster: &Cluster, operator: Operator<'_>, only: &[String]) -> Result<Self, Failure> {
        // The keyrings before the pods: a replica that reports in between has a pod by then.
        let listed = if only.is_empty() { allowed(cluster.keyrings())? } else { None };
        let all = listed.is_some();
        let named: Result<Vec<_>, _> = only.iter().map(|name| cluster.keyring(name)).collect();
        let keyrings = listed.unwrap_or(named?.into_iter().flatten().collect());
        let pods = allowed(cluster.pods(operator.namespace))?;
        let pods = pods.map(|pods| Pods::of(&pods, operator.service_account));
        Ok(Self { keyrings, all, pods })
    }

    /// An operator that has just started is about to ask.
    pub fn is_about_to_change(&self, namespace: &str) -> bool {
        let mut keyrings = self.keyrings.iter().filter(|object| refused(object, namespace).is_none());
        let starting = self.pods.as_ref().is_some_and(|pods| pods.starting);
        let someone = starting || !self.nobody();
        let waits = |object| !self.closed(object).is_empty() || (starting && !self.is_open(object));
        someone && keyrings.any(|object| is_new(object) || waits(object))
    }

    /// Nobody runs who could ask.
    fn nobody(&self) -> bool {
        self.pods.as_ref().is_some_and(|pods| pods.running.is_empty())
    }

    /// Whether a replica that is there says that it has the keyring open. One that is gone may have said so last.
    fn is_open(&self, object: &Keyring) -> bool {
        let there = |pod: &String| self.pods.as_ref().is_none_or(|pods| pods.there.contains(pod));
        says_open(object).any(there)
    }

    /// The running replicas that do not say that they have a keyring open.
    fn closed(&self, object: &Keyring) -> BTreeSet<String> {
        let replicas = object.status.as_ref().map(|status| status.replicas.as_slice()).unwrap_or_default();
        let by_state = |state| -> BTreeSet<String> {
            replicas
                .iter()
                .filter(|replica| replica.state == state)
                .map(|replica| replica.pod.clone())
                .collect()
        };
        match &self.pods {
            Some(pods) => pods.running.difference(&by_state(ReplicaState::Unsealed)).cloned().collect(),
            None => by_state(ReplicaState::Sealed),
        }
    }

    /// Says why nothing waits; a failure when every keyring meant is refused, or when one is sealed all the same, or nobody runs who
    /// could open it.
    pub fn explain(&self, namespace: &str) -> Result<(), Failure> {
        let (lines, ended) = self.words(namespace);
        lines.iter().for_each(|line| terminal::say(line));
        ended
    }

    fn words(&self, namespace: &str) -> (Vec<String>, Result<(), Failure>) {
        let mut lines = Vec::new();
        let mut ended = Ok(());
        let (mut bad, mut new) = (0, 0);
        let mut sealed = None;
        for object in &self.keyrings {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let closed = self.closed(object);
            if let Some(refused) = refused(object, namespace) {
                bad += 1;
                let what = format!("the operator refuses keyring {name}: {}", refused.message);
                lines.push(format!("{what}\n  {}", refused.hint));
                if ended.is_ok() {
                    ended = Err(Failure::new(Exit::Failed, what, refused.hint));
                }
            } else if is_new(object) {
                new += 1;
                lines.push(format!("no operator has looked at keyring {name} yet: see touchseal doctor"));
            } else if !closed.is_empty() {
                let pods: Vec<String> = closed.into_iter().collect();
                sealed.get_or_insert_with(|| {
                    format!(
                        "keyring {name} is not open in pod {}, which does not ask for it yet",
                        pods.join(", ")
                    )
                });
            } else if self.nobody() && !self.is_open(object) {
                sealed.get_or_insert_with(|| {
                    let nobody = format!("no pod of the operator runs in namespace {namespace}");
                    if says_open(object).next().is_some() {
                        // Nobody is left to take it back.
                        format!("{nobody}; keyring {name} is unsealed only by the status that pods left")
                    } else {
                        format!("keyring {name} is sealed, and {nobody}")
                    }
                });
            }
        }
        if let Some(what) = sealed {
            let elsewhere = if self.nobody() {
                "; if it runs elsewhere: --operator-namespace, --service-account"
            } else {
                ""
            };
            let hint = format!(
                "run the command again in a moment; if it stays so, see touchseal doctor and the operator's pods{elsewhere}"
            );
            return (lines, Err(Failure::new(Exit::Failed, what, hint)));
        }
        let rest = match bad + new {
            0 if self.all && self.keyrings.is_empty() => {
                "there is no keyring on this cluster yet; apply its manifest: kubectl apply -f NAME.keyring.yaml"
            }
            0 => "no keyring needs unsealing",
            _ => "no other keyring needs unsealing",
        };
        if bad == 0 || bad < self.keyrings.len() {
            lines.push(format!("nothing waits in namespace {namespace}: {rest}"));
            return (lines, Ok(()));
        }
        // The first is told as the error.
        lines.remove(0);
        (lines, ended)
    }
}

/// The pods of replicas that say, or said last, that they have the keyring open.
fn says_open(object: &Keyring) -> impl Iterator<Item = &String> {
    let replicas = object.status.as_ref().map(|status| status.replicas.as_slice()).unwrap_or_default();
    replicas.iter().filter(|replica| replica.state == ReplicaState::Unsealed).map(|replica| &replica.pod)
}

/// Unsealing needs no right to list keyrings, or pods.
fn allowed<T>(answer: Result<T, ClusterError>) -> Result<Option<T>, ClusterError> {
    match answer {
        Err(error) if error.is_forbidden() => Ok(None),
        answer => answer.map(Some),
    }
}

impl Pods {
    fn of(pods: &[Pod], service_account: &str) -> Self {
        let named = |which: &dyn Fn(&Pod) -> bool| {
            let pods: Vec<Pod> = pods.iter().filter(|pod| which(pod)).cloned().collect();
            Live::of(&pods, service_account).operators
        };
        let stays = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
        Self {
            there: named(&|_| true),
            running: named(&|pod| stays(pod) && !is_pending(pod)),
            starting: !named(&|pod| stays(pod) && is_pending(pod)).is_empty(),
        }
    }
}

fn is_pending(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn keyring(name: &str, status: &Value) -> Keyring {
        serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "version": 1, "id": "", "revision": 1, "holders": [], "generations": [], "signature": "" },
            "status": status,
        }))
        .unwrap()
    }

    fn words(keyrings: &[Keyring], namespace: &str) -> (Vec<String>, Result<(), Failure>) {
        Idle { keyrings: keyrings.to_vec(), all: true, pods: Some(run(&["p"])) }.words(namespace)
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Pods that run, and no others.
    fn run(names: &[&str]) -> Pods {
        Pods { there: set(names), running: set(names), starting: false }
    }

    /// Pods that are there and do not run yet.
    fn start(names: &[&str]) -> Pods {
        Pods { there: set(names), running: BTreeSet::new(), starting: true }
    }

    fn tampered(reason: &str) -> Value {
        json!({ "conditions": [{ "type": "Tampered", "status": "True", "reason": reason, "message": "it is another",
            "lastTransitionTime": "2026-01-01T00:00:00Z" }] })
    }

    #[test]
    fn a_refused_keyring_is_a_failure_with_its_way_out() {
        for reason in ["FingerprintChanged", "ManifestForked", "ManifestRolledBack"] {
            let failure = words(&[keyring("main", &tampered(reason))], "ts").1.unwrap_err();
            assert_eq!(failure.exit(), Exit::Failed);
            assert!(failure.what().contains("main: it is another"), "{failure}");
            assert!(failure.hint().contains("kubectl delete configmap touchseal-pin-main -n ts"));
        }
        let failure = words(&[keyring("main", &tampered("ManifestInvalid"))], "ts").1.unwrap_err();
        assert!(!failure.hint().contains("delete"), "{}", failure.hint());
    }

    #[test]
    fn beside_others_it_is_mentioned_and_a_new_one_is_no_idle_one() {
        let good =
            json!({ "replicas": [{ "pod": "p", "state": "Unsealed", "since": "2026-01-01T00:00:00Z" }] });
        let (lines, ended) = words(&[keyring("main", &good)], "ts");
        assert_eq!(lines, ["nothing waits in namespace ts: no keyring needs unsealing"]);
        assert!(ended.is_ok());
        let (lines, ended) =
            words(&[keyring("main", &good), keyring("odd", &tampered("ManifestForked"))], "ts");
        assert!(ended.is_ok() && lines[0].contains("refuses keyring odd") && lines[1].contains("no other"));
        let (lines, ended) = words(&[keyring("main", &Value::Null)], "ts");
        assert!(ended.is_ok() && lines[0].contains("no operator has looked at keyring main yet"));
    }

    #[test]
    fn a_keyring_that_is_sealed_is_never_called_idle() {
        let replicas = |state: &str| json!({ "replicas": [{ "pod": "p", "state": state, "since": "2026-01-01T00:00:00Z" }] });
        for (state, pods, sealed) in [
            ("Sealed", Some(run(&["p"])), Some("p")),
            ("Sealed", None, Some("p")),
            // A pod that has not reported yet; the one that has is of the past, or serves on.
            ("Unsealed", Some(run(&["q"])), Some("q")),
            ("Unsealed", Some(run(&["p", "q"])), Some("q")),
            ("Unsealed", Some(run(&["p"])), None),
            ("Unsealed", None, None),
        ] {
            let keyrings = vec![keyring("main", &replicas(state))];
            let idle = Idle { keyrings, all: true, pods };
            assert_eq!(idle.is_about_to_change("ts"), sealed.is_some(), "{idle:?}");
            match (idle.words("ts"), sealed) {
                ((lines, Ok(())), None) => assert!(lines[0].contains("no keyring needs unsealing")),
                ((lines, Err(failure)), Some(pod)) => {
                    assert!(lines.is_empty(), "{lines:?}");
                    assert!(failure.what().contains(&format!("main is not open in pod {pod},")), "{failure}");
                }
                (said, _) => panic!("{said:?}: {idle:?}"),
            }
        }
        let idle = |status: &Value, pods| Idle {
            keyrings: vec![keyring("main", status)],
            all: true,
            pods: Some(pods),
        };
        assert!(idle(&Value::Null, run(&["p"])).is_about_to_change("ts"));
        assert!(!idle(&Value::Null, run(&[])).is_about_to_change("ts"));
        let more = Pods { starting: true, ..run(&["p"]) };
        assert!(!idle(&tampered("ManifestForked"), more).is_about_to_change("ts"));
        // Nobody runs: sealed is not idle then, either, and a pod that is about to run is waited for.
        let nobody = idle(&replicas("Sealed"), run(&[]));
        assert!(!nobody.is_about_to_change("ts"));
        let failure = nobody.words("ts").1.unwrap_err();
        assert!(
            failure.what().contains("main is sealed, and no pod of the operator runs in namespace ts"),
            "{failure}"
        );
        assert!(idle(&replicas("Sealed"), start(&["q"])).is_about_to_change("ts"));
        // Nor is what a pod that is gone left behind; others in its place are waited for, and then named.
        let left = "no pod of the operator runs in namespace ts; keyring main is unsealed only by the status";
        for (pods, changes) in [(run(&[]), false), (start(&["q"]), true)] {
            let idle = idle(&replicas("Unsealed"), pods);
            assert_eq!(idle.is_about_to_change("ts"), changes, "{idle:?}");
            let failure = idle.words("ts").1.unwrap_err();
            assert!(failure.what().contains(left), "{failure}");
        }
        // One that ends, or that started again, has it open still.
        let ends = Pods { starting: true, running: BTreeSet::new(), there: set(&["p", "q"]) };
        let idle = idle(&replicas("Unsealed"), ends);
        assert!(!idle.is_about_to_change("ts") && idle.words("ts").1.is_ok());
    }

    #[test]
    fn a_cluster_without_a_keyring_is_told_from_one_whose_keyrings_are_open_or_not_seen() {
        let said = |all| {
            let (lines, ended) = Idle { keyrings: Vec::new(), all, pods: None }.words("ts");
            assert!(ended.is_ok());
            lines.join("\n")
        };
        assert!(said(true).contains("there is no keyring on this cluster yet"), "{}", said(true));
        assert!(said(false).contains("no keyring needs unsealing"), "{}", said(false));
    }

    #[test]
    fn a_pod_without_a_process_will_not_ask() {
        let pod = |name: &str, phase: &str, deleted: Value| -> Pod {
            serde_json::from_value(json!({
                "metadata": { "name": name, "deletionTimestamp": deleted },
                "spec": { "serviceAccountName": "ts", "containers": [] }, "status": { "phase": phase },
            }))
            .unwrap()
        };
        let pods = vec![
            pod("runs", "Running", Value::Null),
            pod("starts", "Pending", Value::Null),
            pod("failed", "Failed", Value::Null),
            pod("goes", "Running", json!("2026-01-01T00:00:00Z")),
        ];
        let ours = Pods::of(&pods, "ts");
        assert!(ours.starting && !Pods::of(&pods, "other").starting);
        assert_eq!(ours.running, set(&["runs"]));
        assert!(ours.there.contains("goes"), "{ours:?}");
    }
}
