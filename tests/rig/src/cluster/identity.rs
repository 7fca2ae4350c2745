//! Being somebody else than the administrator: ServiceAccounts with tokens bound to a pod, as a kubelet would mount them.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::{Cluster, ClusterError};

/// A pod that is written down in the cluster and run by nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandInPod {
    pub name: String,
    pub uid: String,
}

impl Cluster {
    /// Makes a pod of a ServiceAccount, so that tokens can be bound to it and lookups find it. A program that a test
    /// runs beside itself passes as that pod's. It names no node, so deleting it takes effect at once, and keeps to the pod security
    /// standard "restricted".
    ///
    /// # Errors
    /// When the API server refuses, for instance as the ServiceAccount does not exist.
    pub fn stand_in_pod(
        &self,
        namespace: &str,
        service_account: &str,
        name: &str,
    ) -> Result<StandInPod, ClusterError> {
        let pod = self.create(&json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "namespace": namespace, "name": name },
            "spec": {
                "serviceAccountName": service_account,
                "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "main",
                    "image": "none.invalid/none",
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "capabilities": { "drop": ["ALL"] },
                    },
                }],
            },
        }))?;
        Ok(StandInPod { name: name.into(), uid: text(&pod, "/metadata/uid") })
    }

    /// A token from the TokenRequest API, valid for four hours; for the API server itself when no audience is given.
    ///
    /// # Errors
    /// When the API server refuses, for instance as the pod is gone or of another ServiceAccount.
    pub fn token(
        &self,
        namespace: &str,
        service_account: &str,
        bound_to: Option<&StandInPod>,
        audience: Option<&str>,
    ) -> Result<String, ClusterError> {
        let mut arguments = vec!["create", "token", service_account, "-n", namespace, "--duration=4h"];
        if let Some(pod) = bound_to {
            arguments.extend(["--bound-object-kind=Pod", "--bound-object-name", &pod.name]);
            arguments.extend(["--bound-object-uid", &pod.uid]);
        }
        if let Some(audience) = audience {
            arguments.extend(["--audience", audience]);
        }
        Ok(self.kubectl_stdout(&arguments)?.trim().into())
    }

    /// A kubeconfig file for a program that acts as this ServiceAccount. Its token is in a file of its own, as in a pod.
    ///
    /// # Errors
    /// As [`Cluster::token`].
    pub fn kubeconfig_for_service_account(
        &self,
        namespace: &str,
        service_account: &str,
        bound_to: Option<&StandInPod>,
    ) -> Result<PathBuf, ClusterError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let token = self.token(namespace, service_account, bound_to, None)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = |what: &str| self.dir().join(format!("{namespace}.{service_account}.{number}.{what}"));
        let kubeconfig = self.parts.kubeconfig(service_account, json!({ "tokenFile": file("token") }));
        fs::write(file("token"), token)?;
        fs::write(file("kubeconfig"), kubeconfig.to_string())?;
        Ok(file("kubeconfig"))
    }

    /// The status of a TokenReview: who a token belongs to, if it is valid for the audience.
    ///
    /// # Errors
    /// When the API server does not answer; a token that is not valid is an answer.
    pub fn token_review(&self, token: &str, audience: &str) -> Result<Value, ClusterError> {
        let review = self.create(&json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": token, "audiences": [audience] },
        }))?;
        Ok(review["status"].clone())
    }
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().into()
}
