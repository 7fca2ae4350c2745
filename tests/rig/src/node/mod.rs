//! A real node: containerd with runc, a kubelet and a scheduler, so that pods of a [`Cluster`] run. It needs root and a
//! network, processes and mounts of its own: see [`isolated`], inside which everything here is to be called.
//!
//! Pods get addresses of their own and reach the API server as on any cluster: by the address of the Service
//! `kubernetes`, which here is the API server's own. There are no other Services, and no image registry.

pub mod isolated;
mod parts;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cluster::{Cluster, ClusterError};
use crate::process::Process;

/// An image for pods: busybox, which does nothing unless told.
pub use parts::BUSYBOX_IMAGE;

/// Its name, at which the API server reaches its kubelet.
pub const NAME: &str = "localhost";
/// Where the Service `kubernetes` is, and here the API server itself.
pub(crate) const API_SERVER: (&str, u16) = ("10.0.0.1", 443);

/// What makes an API server usable for pods and kubelets.
pub(crate) const API_SERVER_FLAGS: [&str; 5] = [
    "--bind-address=0.0.0.0",
    "--advertise-address=10.1.0.1",
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--kubelet-preferred-address-types=Hostname",
];

/// The programs of a node. They end when it is dropped; containers end with the namespaces they are in.
#[derive(Debug)]
pub struct Node {
    // In the order in which they are to end.
    scheduler: Process,
    kubelet: Process,
    containerd: Process,
}

impl Node {
    /// Joins `cluster`, which has to be of [`Reach::Pods`](crate::cluster::Reach), and waits until pods can be scheduled.
    ///
    /// # Errors
    /// When a tool is missing, or a part does not start; the message then carries the end of its log.
    pub fn start(cluster: &Cluster) -> Result<Self, ClusterError> {
        let parts = cluster.parts();
        let mut containerd = parts.start_containerd()?;
        parts.wait(&mut [&mut containerd], "containerd to serve", || ctr(&["version"]).map(drop))?;
        import(&parts::containerd_folder()?.join("../busybox.oci.tar"), BUSYBOX_IMAGE)
            .map_err(ClusterError::Image)?;
        let mut kubelet = parts.start_kubelet()?;
        let mut scheduler = parts.start_scheduler()?;
        parts.wait(&mut [&mut containerd, &mut kubelet, &mut scheduler], "the node to be ready", || {
            let node = cluster.get(&["node", NAME]).map_err(|error| error.to_string())?;
            let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
            let conditions = node["status"]["conditions"].as_array();
            let taints = &node["spec"]["taints"];
            if conditions.is_some_and(|all| all.iter().any(ready)) && taints.is_null() {
                Ok(())
            } else {
                Err(format!("{} with taints {taints}", node["status"]["conditions"]))
            }
        })?;
        Ok(Self { scheduler, kubelet, containerd })
    }

    /// Gives it busybox by a name that pods pull it by elsewhere.
    ///
    /// # Errors
    /// When containerd refuses, in its words.
    pub fn call_busybox(&self, name: &str) -> Result<(), String> {
        ctr(&["images", "tag", BUSYBOX_IMAGE, name]).map(drop)
    }

    /// Gives it an image: a tar file in OCI's layout. Pods find it as `name`, with `imagePullPolicy: Never`.
    ///
    /// # Errors
    /// When containerd refuses it, in its words.
    pub fn import(&self, tar: &Path, name: &str) -> Result<(), String> {
        import(tar, name)
    }

    /// kill -9 of the first process of a running container.
    ///
    /// # Errors
    /// When there is no such container, in containerd's words.
    pub fn kill_container(&self, id: &str) -> Result<(), String> {
        let id = id.trim_start_matches("containerd://");
        ctr(&["tasks", "kill", "--signal", "SIGKILL", id]).map(drop)
    }

    /// The last lines of each log, for people who look at a failed test.
    pub fn log_tails(&self) -> String {
        [&self.containerd, &self.kubelet, &self.scheduler].map(|part| part.tail(15)).join("\n")
    }
}

fn import(tar: &Path, name: &str) -> Result<(), String> {
    let tar = tar.display().to_string();
    let said = ctr(&["images", "import", &tar])?;
    // "unpacking NAME (DIGEST)...done"
    let imported = said.split_whitespace().nth(1).ok_or_else(|| format!("no name in {said:?}"))?;
    if imported != name {
        ctr(&["images", "tag", "--force", imported, name])?;
    }
    Ok(())
}

/// containerd's own command line, about what belongs to Kubernetes.
fn ctr(arguments: &[&str]) -> Result<String, String> {
    let ctr = parts::containerd_folder().map_err(|error| error.to_string())?.join("usr/bin/ctr");
    let mut command = Command::new(ctr);
    command.args(["--address", parts::SOCKET, "--namespace", "k8s.io"]).args(arguments);
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("ctr {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}
