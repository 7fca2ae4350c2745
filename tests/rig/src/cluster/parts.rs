//! The three programs of a cluster: what they need on disk, their command lines, and when they are ready.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use p256::elliptic_curve::rand_core::{OsRng, RngCore};
use p256::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use serde_json::{Value, json};

use super::kubectl::Kubectl;
use super::{ClusterError, Options, STARTING};
use crate::node;
use crate::poll::eventually;
use crate::ports::Port;
use crate::process::{self, Process};
use crate::tools::Tool;

/// What the controller manager runs: what touches objects that exist without nodes. Not the pod garbage collector: it
/// would delete every pod that names a node, as there is none.
const CONTROLLERS: [&str; 11] = [
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "namespace-controller",
    "garbage-collector-controller",
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
];

/// With a node pods run, or do not; this one finds out, and takes a node's taints when it is ready.
const CONTROLLERS_OF_NODES: [&str; 1] = ["node-lifecycle-controller"];

/// As in a Kubernetes audit policy: `Metadata` holds who did what to which object, `RequestResponse` the objects too; `None` is for
/// what runs so long that a log would fill the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuditLevel {
    None,
    #[default]
    Metadata,
    Request,
    RequestResponse,
}

/// From where a cluster can be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// From this machine, at a port of its own.
    #[default]
    Loopback,
    /// From pods as well, where pods expect it: for a [`crate::node`], in a network of its own.
    Pods,
}

#[derive(Debug)]
pub(crate) struct Parts {
    dir: PathBuf,
    reach: Reach,
    no_streaming_lists: bool,
    etcd_client: Port,
    etcd_peer: Port,
    apiserver: Port,
}

impl Parts {
    pub fn prepare(dir: &Path, options: Options) -> Result<Self, ClusterError> {
        let parts = Self {
            dir: dir.into(),
            reach: options.reach,
            no_streaming_lists: options.no_streaming_lists,
            etcd_client: Port::claim()?,
            etcd_peer: Port::claim()?,
            apiserver: Port::claim()?,
        };
        let (token, node_token) = (random_token(), random_token());
        let key = p256::SecretKey::random(&mut OsRng);
        let public = key.public_key().to_public_key_pem(LineEnding::LF).map_err(|_| ClusterError::Key)?;
        let key = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| ClusterError::Key)?;
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{ "level": format!("{:?}", options.audit) }],
        });
        let admin = parts.kubeconfig("admin", json!({ "token": token }));
        let node = parts.kubeconfig("node", json!({ "token": node_token }));
        let tokens = format!(
            "{token},rig-admin,rig-admin,system:masters\n{node_token},system:node:{name},node,system:nodes\n",
            name = node::NAME
        );

        fs::write(parts.dir.join("service-accounts.key"), key.as_bytes())
            .and_then(|()| fs::write(parts.dir.join("service-accounts.pub"), public))
            .and_then(|()| fs::write(parts.dir.join("tokens.csv"), tokens))
            .and_then(|()| fs::write(parts.dir.join("audit-policy.json"), policy.to_string()))
            .and_then(|()| fs::write(parts.admin_kubeconfig(), admin.to_string()))
            .and_then(|()| fs::write(parts.node_kubeconfig(), node.to_string()))
            .map_err(ClusterError::Folder)?;
        Ok(parts)
    }

    pub fn start_etcd(&self) -> Result<Process, ClusterError> {
        let client = format!("http://127.0.0.1:{}", self.etcd_client.number());
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer.number());
        self.start(
            Tool::Etcd,
            &[
                format!("--data-dir={}", self.etcd_data_dir().display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                "--unsafe-no-fsync".into(),
                "--log-level=warn".into(),
            ],
        )
    }

    pub fn start_apiserver(&self) -> Result<Process, ClusterError> {
        let file = |name: &str| self.dir.join(name).display().to_string();
        let reach: &[&str] = match self.reach {
            Reach::Loopback => &["--bind-address=127.0.0.1", "--authorization-mode=RBAC"],
            Reach::Pods => &node::API_SERVER_FLAGS,
        };
        let mut flags: Vec<String> = reach.iter().copied().map(str::to_owned).collect();
        flags.extend(self.no_streaming_lists.then(|| "--feature-gates=WatchList=false".to_owned()));
        flags.extend([
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_client.number()),
            format!("--cert-dir={}", file("certs")),
            format!("--secure-port={}", self.address().1),
            "--endpoint-reconciler-type=none".into(),
            "--service-cluster-ip-range=10.0.0.0/24".into(),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", file("service-accounts.pub")),
            format!("--service-account-signing-key-file={}", file("service-accounts.key")),
            format!("--audit-policy-file={}", file("audit-policy.json")),
            format!("--audit-log-path={}", self.audit_log().display()),
        ]);
        self.start(Tool::KubeApiserver, &flags)
    }

    pub fn start_controller_manager(&self) -> Result<Process, ClusterError> {
        let file = |name: &str| self.dir.join(name).display().to_string();
        let of_nodes = if self.reach == Reach::Pods { &CONTROLLERS_OF_NODES[..] } else { &[] };
        self.start(
            Tool::KubeControllerManager,
            &[
                format!("--kubeconfig={}", self.admin_kubeconfig().display()),
                format!("--service-account-private-key-file={}", file("service-accounts.key")),
                format!("--root-ca-file={}", file("certs/apiserver.crt")),
                format!("--controllers={}", [&CONTROLLERS, of_nodes].concat().join(",")),
                "--leader-elect=false".into(),
                "--secure-port=0".into(), // it serves nothing, so it needs no port
            ],
        )
    }

    /// Waits until the API server says so; an exit of one of `parts` ends the wait at once.
    pub fn wait_until_ready(&self, parts: &mut [&mut Process]) -> Result<(), ClusterError> {
        self.wait(parts, "the API server to be ready", || {
            // First without kubectl, whose start costs more than the whole wait is likely to last.
            TcpStream::connect(self.address()).map_err(|error| error.to_string())?;
            self.kubectl().stdout(&["get", "--raw=/readyz"]).map(drop).map_err(|error| error.to_string())
        })
    }

    /// Waits until the controller manager has done one of its tasks.
    pub fn wait_for_controllers(&self, parts: &mut [&mut Process]) -> Result<(), ClusterError> {
        self.wait(parts, "the controller manager to make the default ServiceAccount", || {
            let account = ["get", "serviceaccount/default", "configmap/kube-root-ca.crt", "-n=default"];
            self.kubectl().stdout(&account).map(drop).map_err(|error| error.to_string())
        })
    }

    pub(super) fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.admin_kubeconfig(), &self.dir.join("kubectl-cache"))
    }

    /// A kubeconfig for this API server and `user`, in JSON, which is YAML.
    pub fn kubeconfig(&self, name: &str, user: Value) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "rig",
                "cluster": { "server": self.url(), "certificate-authority": self.dir.join("certs/apiserver.crt") },
            }],
            "users": [{ "name": name, "user": user }],
            "contexts": [{ "name": name, "context": { "cluster": "rig", "user": name } }],
            "current-context": name,
        })
    }

    pub fn url(&self) -> String {
        let (address, port) = self.address();
        format!("https://{address}:{port}")
    }

    fn address(&self) -> (&'static str, u16) {
        match self.reach {
            Reach::Loopback => ("127.0.0.1", self.apiserver.number()),
            Reach::Pods => node::API_SERVER,
        }
    }

    pub fn etcd_port(&self) -> u16 {
        self.etcd_client.number()
    }

    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// Who a kubelet is.
    pub fn node_kubeconfig(&self) -> PathBuf {
        self.dir.join("node.kubeconfig")
    }

    pub fn etcd_data_dir(&self) -> PathBuf {
        self.dir.join("etcd")
    }

    pub fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    /// Starts a program of the cluster.
    pub fn start(&self, tool: Tool, arguments: &[String]) -> Result<Process, ClusterError> {
        let mut command = process::command(tool.path()?);
        command.args(arguments).current_dir(&self.dir);
        self.spawn(tool, command)
    }

    /// The same for a command that is complete.
    pub fn spawn(&self, tool: Tool, command: Command) -> Result<Process, ClusterError> {
        Ok(process::spawn(tool.name(), command, &self.dir.join(format!("{}.log", tool.name())))?)
    }

    /// Waits for what `ready` finds; an exit of one of `parts` ends the wait at once.
    pub fn wait(
        &self,
        parts: &mut [&mut Process],
        what: &str,
        mut ready: impl FnMut() -> Result<(), String>,
    ) -> Result<(), ClusterError> {
        let waited = eventually(STARTING, what, || {
            match parts.iter_mut().find_map(|part| part.exited().map(|_| (part.name(), part.tail(15)))) {
                Some((part, log)) => Ok(Err(ClusterError::Ended { part: part.into(), log })),
                None => ready().map(Ok),
            }
        });
        waited.unwrap_or_else(|source| {
            let log = parts.iter().map(|part| part.tail(15)).collect::<Vec<_>>().join("\n");
            Err(ClusterError::NotReady { source, log })
        })
    }
}

fn random_token() -> String {
    let mut token = [0; 16];
    OsRng.fill_bytes(&mut token);
    hex::encode(token)
}

impl From<io::Error> for ClusterError {
    fn from(error: io::Error) -> Self {
        Self::Folder(error)
    }
}
