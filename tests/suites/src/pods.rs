//! Pods where no node runs: made on the real API server, their status written as a kubelet would write it.

use k8s_openapi::jiff::{Timestamp, ToSpan as _, Unit};
use serde_json::{Value, json};
use touchseal_rig::poll::eventually;

use crate::{Apps, DEADLINE, World};

/// A container that takes one key of a Secret from the environment.
pub fn env(secret: &str, key: &str) -> Value {
    json!({ "env": [{ "name": "VALUE", "valueFrom": { "secretKeyRef": { "name": secret, "key": key } } }] })
}

/// A container that takes a whole Secret from the environment.
pub fn env_from(secret: &str) -> Value {
    json!({ "envFrom": [{ "secretRef": { "name": secret } }] })
}

/// The spec of a pod of this one container, on a node that does not exist.
pub fn spec(container: &Value) -> Value {
    let mut main = container.clone();
    main["name"] = json!("main");
    main["image"] = json!("none.invalid/none");
    json!({ "nodeName": "nowhere", "terminationGracePeriodSeconds": 0, "containers": [main] })
}

/// The spec of a pod that mounts a Secret.
pub fn mounting(secret: &str) -> Value {
    let mut spec = spec(&json!({ "volumeMounts": [{ "name": "secret", "mountPath": "/secret" }] }));
    spec["volumes"] = json!([{ "name": "secret", "secret": { "secretName": secret } }]);
    spec
}

impl World {
    /// The pods of the test's namespace.
    pub fn pods(&self) -> Vec<Value> {
        self.cluster.get(&["pods", "-n", &self.apps]).unwrap()["items"].as_array().unwrap().clone()
    }

    /// Does for a moment what a kubelet does: runs what is new, removes what is being deleted.
    pub fn kubelet(&self) {
        for pod in self.pods() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            if pod["metadata"]["deletionTimestamp"].is_string() {
                let _ = self.cluster.kubectl(&[
                    "-n",
                    &self.apps,
                    "delete",
                    "pod",
                    name,
                    "--force",
                    "--grace-period=0",
                ]);
            } else if pod["status"]["phase"] == "Pending" {
                let container = pod["spec"]["containers"][0]["name"].as_str().unwrap();
                let started = Timestamp::now().round(Unit::Second).unwrap().to_string();
                let patch = json!({ "status": running(container, &started) }).to_string();
                let arguments = [
                    "-n",
                    &self.apps,
                    "patch",
                    "pod",
                    name,
                    "--subresource=status",
                    "--type=merge",
                    "-p",
                    &patch,
                ];
                // It may be gone by now.
                let _ = self.cluster.kubectl(&arguments);
            }
        }
    }

    /// Waits until the clock shows another second than now, so that what happens from here on can be told from what was.
    pub fn next_second(&self) {
        let now = Timestamp::now().as_second();
        eventually(DEADLINE, "the next second", || Timestamp::now().as_second() > now + 1).unwrap();
    }
}

impl Apps {
    /// Makes a pod and runs it.
    pub fn run_pod(&self, name: &str, spec: &Value) {
        self.make_pod(name, spec);
        self.run_container(name, "main");
    }

    /// Makes a pod that no kubelet has said anything about.
    pub fn make_pod(&self, name: &str, spec: &Value) {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": self.apps }, "spec": spec });
        self.cluster.create(&pod).unwrap();
    }

    /// A container is started, now, and nothing else of the pod runs.
    pub fn run_container(&self, pod: &str, container: &str) {
        let started = Timestamp::now().round(Unit::Second).unwrap();
        self.write_status(pod, &running(container, &started.to_string()));
    }

    /// The kubelet restarted a pod's container in a while, beyond what counts as a moment after a change.
    pub fn restart_container(&self, pod: &str, container: &str) {
        let started = Timestamp::now().round(Unit::Second).unwrap() + 10.seconds();
        self.write_status(pod, &running(container, &started.to_string()));
    }

    /// Writes into a pod's status.
    pub fn write_status(&self, pod: &str, status: &Value) {
        let patch = json!({ "status": status }).to_string();
        self.kubectl(&["patch", "pod", pod, "--subresource=status", "--type=merge", "-p", &patch]);
    }

    /// Ends a pod at once.
    pub fn end_pod(&self, name: &str) {
        self.kubectl(&["delete", "pod", name, "--force", "--grace-period=0"]);
    }

    /// Waits, with a kubelet at work, until the EncryptedSecret is as `right` wants it.
    pub fn wait_with_kubelet(&self, name: &str, what: &str, right: impl Fn(&Value) -> bool) -> Value {
        eventually(DEADLINE, &format!("EncryptedSecret {name}: {what}"), || {
            self.kubelet();
            let object = self.encrypted_secret(name);
            if right(&object) { Ok(object) } else { Err(object["status"].to_string()) }
        })
        .unwrap()
    }

    /// Waits until the EncryptedSecret's Draining has this status and reason.
    pub fn wait_for_draining(&self, name: &str, status: &str, reason: &str) -> Value {
        eventually(DEADLINE, &format!("EncryptedSecret {name}: Draining={status} {reason}"), || {
            let object = self.encrypted_secret(name);
            let draining = crate::world::condition(&object, "Draining");
            let found = draining["status"] == status && draining["reason"] == reason;
            if found { Ok(object) } else { Err(object["status"].to_string()) }
        })
        .unwrap()
    }

    /// Waits until so many pods are current and so many stale.
    pub fn wait_for_consumers(&self, name: &str, current: i64, stale: i64) -> Value {
        eventually(DEADLINE, &format!("EncryptedSecret {name}: {current} current, {stale} stale"), || {
            let object = self.encrypted_secret(name);
            let counts = &object["status"]["consumers"];
            let found = counts["known"] == true && counts["current"] == current && counts["stale"] == stale;
            if found { Ok(object) } else { Err(object["status"].to_string()) }
        })
        .unwrap()
    }
}

/// The status of a pod that runs one container.
pub fn running(container: &str, started: &str) -> Value {
    let condition = |type_: &str| json!({ "type": type_, "status": "True", "lastTransitionTime": started });
    json!({
        "phase": "Running", "startTime": started,
        "conditions": [condition("Ready"), condition("ContainersReady"), condition("Initialized")],
        "containerStatuses": [{
            "name": container, "image": "none.invalid/none", "imageID": "", "ready": true, "started": true,
            "restartCount": 0, "state": { "running": { "startedAt": started } },
        }],
    })
}
