//! The three programs of a node: their configuration and their command lines.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::cluster::{ClusterError, Parts};
use crate::process::{self, Process};
use crate::tools::{self, MissingTool, Tool};

/// Where containerd listens. Fixed, like all of a node's paths: they are inside.
pub const SOCKET: &str = "/run/node/containerd.sock";

/// Made by tools.sh; also what holds a pod's network while its containers come and go.
pub const BUSYBOX_IMAGE: &str = "localhost/touchseal-rig/busybox:1";

/// The least that kernels since 2005 let a process without capabilities lock: 64 KiB. Newer ones give 8 MiB.
const MEMLOCK: &str = "--memlock=65536:65536";

impl Parts {
    pub(super) fn start_containerd(&self) -> Result<Process, ClusterError> {
        let debian = containerd_folder()?;
        let file = |path: &str| debian.join(path).display().to_string();
        fs::create_dir_all("/run/node/cni")?;
        fs::write("/run/node/cni/10-rig.conflist", network().to_string())?;
        fs::write("/run/node/containerd.toml", configuration(&file("usr/sbin/runc"), &file("usr/lib/cni")))?;

        let mut command = process::command("prlimit");
        command
            .args([MEMLOCK, "--"])
            .arg(file("usr/bin/containerd"))
            .args(["--config", "/run/node/containerd.toml"]);
        // It finds its shims by name.
        let path = tools::path_behind([debian.join("usr/bin")]).map_err(std::io::Error::other)?;
        command.env("PATH", path);
        self.spawn(Tool::Containerd, command)
    }

    pub(super) fn start_kubelet(&self) -> Result<Process, ClusterError> {
        fs::write("/run/node/kubelet.json", kubelet().to_string())?;
        self.start(
            Tool::Kubelet,
            &[
                "--config=/run/node/kubelet.json".into(),
                format!("--kubeconfig={}", self.node_kubeconfig().display()),
                format!("--hostname-override={}", super::NAME),
                "--node-ip=10.1.0.1".into(),
            ],
        )
    }

    pub(super) fn start_scheduler(&self) -> Result<Process, ClusterError> {
        self.start(
            Tool::KubeScheduler,
            &[
                format!("--kubeconfig={}", self.admin_kubeconfig().display()),
                "--leader-elect=false".into(),
                "--secure-port=0".into(), // it serves nothing, so it needs no port
            ],
        )
    }
}

/// Where the Debian packages are unpacked that containerd comes from.
pub(super) fn containerd_folder() -> Result<PathBuf, ClusterError> {
    let program = Tool::Containerd.path()?.canonicalize()?;
    let missing = || MissingTool::of(Tool::Containerd);
    Ok(program.ancestors().nth(3).ok_or_else(missing)?.to_owned())
}

/// In containerd's own language; AppArmor and OOM scores are the machine's, not a namespace's.
fn configuration(runc: &str, plugins: &str) -> String {
    format!(
        r#"
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{BUSYBOX_IMAGE}"
disable_apparmor = true
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "/run/node/cni"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"#
    )
}

/// How pods are connected: a link each to the node, and nothing beyond it.
fn network() -> serde_json::Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "rig",
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/node/addresses",
                "ranges": [[{ "subnet": "10.2.0.0/24" }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    })
}

/// Mounted Secrets follow at once: each change is watched, and each pod looked at every second (the default is a minute).
fn kubelet() -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "healthzPort": 0,
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "syncFrequency": "1s",
        "nodeStatusUpdateFrequency": "2s",
        // Of the machine it takes what it finds, and changes nothing.
        "failCgroupV1": false,
        "failSwapOn": false,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "makeIPTablesUtilChains": false,
        "localStorageCapacityIsolation": false,
        "evictionHard": { "memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%" },
        "resolvConf": "",
    })
}
