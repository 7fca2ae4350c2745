//! Cleaning a cluster between two tests.

use std::time::Duration;

use serde_json::Value;

use super::{Cluster, ClusterError};
use crate::poll::eventually;

const KUBERNETES_OWN: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Cluster-wide settings that would act on the next test.
const CLUSTER_WIDE: &str = "validatingwebhookconfigurations,mutatingwebhookconfigurations,\
                            validatingadmissionpolicies,validatingadmissionpolicybindings";

impl Cluster {
    /// Deletes all objects of the group `touchseal.dev` and waits until they are gone, then what the cluster would still
    /// act on: webhooks, policies, cluster roles that are not Kubernetes' own, and every namespace that is not. These
    /// take seconds to vanish; [`Cluster::namespace`] waits if the same name is wanted again. CRDs stay.
    ///
    /// # Errors
    /// When the API server cannot be reached or does not finish in time.
    pub fn reset(&self) -> Result<(), ClusterError> {
        self.delete_touchseal_objects()?;
        self.kubectl_stdout(&["delete", "--all", CLUSTER_WIDE])?;
        self.kubectl_stdout(&[
            "delete",
            "clusterroles,clusterrolebindings",
            "-l=kubernetes.io/bootstrapping!=rbac-defaults",
        ])?;

        let namespaces = self.names(&["namespaces"])?;
        let made: Vec<_> =
            namespaces.iter().map(String::as_str).filter(|name| !KUBERNETES_OWN.contains(name)).collect();
        if !made.is_empty() {
            // A pod that names a node would wait for a kubelet to stop it.
            self.kubectl_stdout(&[
                "delete",
                "pods",
                "--all",
                "-A",
                "--force",
                "--grace-period=0",
                "--wait=false",
            ])?;
            self.kubectl_stdout(
                &[&["delete", "namespace", "--wait=false", "--ignore-not-found"], &made[..]].concat(),
            )?;
        }
        Ok(())
    }

    fn delete_touchseal_objects(&self) -> Result<(), ClusterError> {
        let kinds = self.kubectl_stdout(&[
            "api-resources",
            "--api-group=touchseal.dev",
            "--verbs=list,delete",
            "-o=name",
        ])?;
        let kinds = kinds.lines().collect::<Vec<_>>().join(",");
        if kinds.is_empty() {
            return Ok(());
        }
        // Nobody is there any more to do what a finalizer waits for.
        for object in self.items(&[&kinds, "-A"])? {
            if object.pointer("/metadata/finalizers").is_some() {
                self.remove_finalizers(&object)?;
            }
        }
        self.kubectl_stdout(&["delete", &kinds, "--all", "-A", "--wait=false"])?;
        eventually(Duration::from_secs(30), "the end of all objects of touchseal.dev", || {
            let left = self.names(&[&kinds, "-A"]).map_err(|error| error.to_string())?;
            if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
        })?;
        Ok(())
    }

    fn remove_finalizers(&self, object: &Value) -> Result<(), ClusterError> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let group = text("/apiVersion").split('/').next().unwrap_or_default();
        let object = format!("{}.{group}/{}", text("/kind").to_lowercase(), text("/metadata/name"));
        let patch = r#"{"metadata":{"finalizers":null}}"#;
        let namespace = format!("--namespace={}", text("/metadata/namespace"));
        self.kubectl_stdout(&["patch", &object, &namespace, "--type=merge", "-p", patch]).map(drop)
    }

    fn names(&self, what: &[&str]) -> Result<Vec<String>, ClusterError> {
        let names =
            self.kubectl_stdout(&[&["get", "-o=jsonpath={.items[*].metadata.name}"], what].concat())?;
        Ok(names.split_whitespace().map(str::to_owned).collect())
    }

    fn items(&self, what: &[&str]) -> Result<Vec<Value>, ClusterError> {
        Ok(self.get(what)?["items"].as_array().cloned().unwrap_or_default())
    }
}
