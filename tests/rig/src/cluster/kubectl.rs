//! The real kubectl, as an administrator of one cluster or as somebody else.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Cluster, ClusterError};
use crate::tools::{MissingTool, Tool};

impl Cluster {
    /// Runs kubectl as administrator, whatever comes of it.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Output, ClusterError> {
        self.parts.kubectl().run(arguments, Stdio::null())
    }

    /// Runs kubectl as administrator and returns what it printed.
    ///
    /// # Errors
    /// When it fails, with its own words.
    pub fn kubectl_stdout(&self, arguments: &[&str]) -> Result<String, ClusterError> {
        self.parts.kubectl().stdout(arguments)
    }

    /// [`Cluster::kubectl`] with another kubeconfig.
    ///
    /// # Errors
    /// As [`Cluster::kubectl`].
    pub fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<Output, ClusterError> {
        Kubectl { kubeconfig: kubeconfig.into(), ..self.parts.kubectl() }.run(arguments, Stdio::null())
    }

    /// A kubectl command as administrator, for what the others do not offer: another input, an environment, a terminal.
    ///
    /// # Errors
    /// When `make tools` has not run.
    pub fn kubectl_command(&self) -> Result<Command, MissingTool> {
        self.parts.kubectl().command()
    }

    /// The objects that `kubectl get ... -o json` finds, for instance `&["secret/app", "-n", "shop"]`.
    ///
    /// # Errors
    /// When kubectl fails, for instance because a named object does not exist.
    pub fn get(&self, arguments: &[&str]) -> Result<Value, ClusterError> {
        let arguments = [&["get", "-o=json"], arguments].concat();
        parse(&arguments, &self.kubectl_stdout(&arguments)?)
    }

    /// Applies manifests, server side, as administrator.
    ///
    /// # Errors
    /// When the API server refuses one, with its words.
    pub fn apply(&self, manifests: &str) -> Result<(), ClusterError> {
        let arguments =
            ["apply", "--server-side", "--force-conflicts", "--field-manager=touchseal-rig", "-f", "-"];
        self.parts.kubectl().stdout_for(&arguments, manifests).map(drop)
    }

    /// Creates one object and returns what the API server made of it; for the kinds that answer a question, such as
    /// TokenReview.
    ///
    /// # Errors
    /// As [`Cluster::apply`].
    pub fn create(&self, manifest: &Value) -> Result<Value, ClusterError> {
        let arguments = ["create", "-o=json", "-f", "-"];
        parse(&arguments, &self.parts.kubectl().stdout_for(&arguments, &manifest.to_string())?)
    }
}

pub(super) struct Kubectl {
    kubeconfig: PathBuf,
    /// Not the user's: kubectl keeps what a server offers by its address, and addresses come back with other servers.
    cache: PathBuf,
}

impl Kubectl {
    pub fn new(kubeconfig: &Path, cache: &Path) -> Self {
        Self { kubeconfig: kubeconfig.into(), cache: cache.into() }
    }

    pub fn command(&self) -> Result<Command, MissingTool> {
        let mut command = Tool::Kubectl.command()?;
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--cache-dir").arg(&self.cache);
        Ok(command)
    }

    pub fn run(&self, arguments: &[&str], input: Stdio) -> Result<Output, ClusterError> {
        let mut command = self.command()?;
        command.arg("--request-timeout=60s").args(arguments).stdin(input);
        command.output().map_err(|source| ClusterError::RunKubectl { arguments: arguments.join(" "), source })
    }

    pub fn stdout(&self, arguments: &[&str]) -> Result<String, ClusterError> {
        successful(arguments, &self.run(arguments, Stdio::null())?)
    }

    /// From a file, not a pipe: with many manifests kubectl prints before it has read all of them.
    pub fn stdout_for(&self, arguments: &[&str], input: &str) -> Result<String, ClusterError> {
        let path = self.cache.with_extension(format!("{:?}.in", std::thread::current().id()));
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        std::fs::remove_file(&path)?; // open files need no name
        file.write_all(input.as_bytes())?;
        file.rewind()?;
        successful(arguments, &self.run(arguments, file.into())?)
    }
}

fn successful(arguments: &[&str], output: &Output) -> Result<String, ClusterError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ClusterError::Kubectl { arguments: arguments.join(" "), stderr })
}

fn parse(arguments: &[&str], answer: &str) -> Result<Value, ClusterError> {
    serde_json::from_str(answer)
        .map_err(|source| ClusterError::Answer { arguments: arguments.join(" "), source })
}
