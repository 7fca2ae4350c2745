//! A Kubernetes control plane of one's own: etcd, kube-apiserver with RBAC, ServiceAccounts and an audit log, and
//! kube-controller-manager, on loopback ports and in a private folder. No node and no scheduler: pods are only written
//! down, unless a [`crate::node`] joins. A test that shares takes one by [`lease`]; a test that breaks the API server
//! starts its own.

mod backup;
mod error;
mod etcd;
mod identity;
mod kubectl;
mod parts;
mod pool;
mod reset;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::poll::eventually;
use crate::process::{Process, Signal};
use crate::scratch::Scratch;

pub use error::ClusterError;
pub use identity::StandInPod;
pub use parts::{AuditLevel, Reach};
pub use pool::{Lease, Pool, fresh, lease};

pub(crate) use parts::Parts;

/// Generous: a machine with two cores may be compiling at the same time.
const STARTING: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How much of each request the audit log keeps.
    pub audit: AuditLevel,
    /// From where it can be reached.
    pub reach: Reach,
    /// Its API server streams no lists.
    pub no_streaming_lists: bool,
}

/// Ends, with everything it wrote, when dropped or when this process ends.
#[derive(Debug)]
pub struct Cluster {
    running: Mutex<Running>,
    parts: Parts,
    scratch: Scratch,
}

#[derive(Debug)]
struct Running {
    // In the order in which they are to end.
    controller_manager: Process,
    apiserver: Process,
    etcd: Process,
}

impl Cluster {
    /// Starts one and waits until it serves and its controllers work.
    ///
    /// # Errors
    /// When a tool is missing, or a part does not start; the message then carries the end of its log.
    pub fn start() -> Result<Self, ClusterError> {
        Self::start_with(Options::default())
    }

    /// [`Cluster::start`] with options.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_with(options: Options) -> Result<Self, ClusterError> {
        let scratch = Scratch::new("cluster").map_err(ClusterError::Folder)?;
        let parts = Parts::prepare(scratch.path(), options)?;
        let mut etcd = parts.start_etcd()?;
        let mut apiserver = parts.start_apiserver()?;
        parts.wait_until_ready(&mut [&mut etcd, &mut apiserver])?;
        let mut controller_manager = parts.start_controller_manager()?;
        parts.wait_for_controllers(&mut [&mut etcd, &mut apiserver, &mut controller_manager])?;
        Ok(Self { running: Mutex::new(Running { controller_manager, apiserver, etcd }), parts, scratch })
    }

    /// `https://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        self.parts.url()
    }

    /// A kubeconfig file of a member of `system:masters`.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.parts.admin_kubeconfig()
    }

    /// Where etcd keeps its data, to be searched for what must not be there.
    pub fn etcd_data_dir(&self) -> PathBuf {
        self.parts.etcd_data_dir()
    }

    /// The audit log, one JSON event a line; the API server appends to it.
    pub fn audit_log(&self) -> PathBuf {
        self.parts.audit_log()
    }

    /// The folder of everything of this cluster; others may keep here what should end with it.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// What the programs of a node need to know of it.
    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The process ids of etcd, kube-apiserver and kube-controller-manager.
    pub fn pids(&self) -> [u32; 3] {
        let running = self.running();
        [running.etcd.pid(), running.apiserver.pid(), running.controller_manager.pid()]
    }

    /// kill -9 of the API server; what is written is in etcd.
    pub fn kill_apiserver(&self) {
        self.running().apiserver.kill();
    }

    /// Starts the API server again, at the same address, and waits until it serves. Kills it first if it runs.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn restart_apiserver(&self) -> Result<(), ClusterError> {
        let mut running = self.running();
        running.apiserver.kill();
        running.apiserver = self.parts.start_apiserver()?;
        let running = &mut *running;
        self.parts.wait_until_ready(&mut [&mut running.etcd, &mut running.apiserver])
    }

    /// Stops the controller manager, as one that is slow, or lets it go on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stall_controller_manager(&self, stalled: bool) -> Result<(), ClusterError> {
        let signal = if stalled { Signal::STOP } else { Signal::CONT };
        Ok(self.running().controller_manager.signal(signal)?)
    }

    /// kill -9 of the controller manager: from now on no ServiceAccounts, no garbage collection, no Deployments.
    pub fn kill_controller_manager(&self) {
        self.running().controller_manager.kill();
    }

    /// Makes a namespace and waits for its default ServiceAccount, without which no pod can be made. One of the same
    /// name that is still being deleted is waited for.
    ///
    /// # Errors
    /// When it exists already, or the control plane does not do its part in time.
    pub fn namespace(&self, name: &str) -> Result<(), ClusterError> {
        eventually(STARTING, &format!("the end of an older namespace {name}"), || {
            match self.kubectl_stdout(&[
                "get",
                "namespace",
                name,
                "-o=jsonpath={.status.phase}",
                "--ignore-not-found",
            ]) {
                Ok(phase) if phase == "Terminating" => Err(phase),
                _ => Ok(()),
            }
        })?;
        self.kubectl_stdout(&["create", "namespace", name])?;
        eventually(STARTING, &format!("the default ServiceAccount of namespace {name}"), || {
            self.kubectl_stdout(&["get", "serviceaccount", "default", "-n", name])
        })?;
        Ok(())
    }

    /// The last lines of each log, for people who look at a failed test.
    pub fn log_tails(&self) -> String {
        let running = self.running();
        [&running.etcd, &running.apiserver, &running.controller_manager].map(|part| part.tail(15)).join("\n")
    }

    /// A test that panicked with the lock held has nothing of it half changed.
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tails());
        }
    }
}
