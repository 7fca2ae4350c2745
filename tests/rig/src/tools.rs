//! Where the tools are that `make tools` provides.

use std::env::JoinPathsError;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    Etcd,
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
    Kubelet,
    Containerd,
    Kubectl,
    Helm,
    /// Not a program: definitions of the Prometheus operator's kinds, to be applied.
    MonitoringCrds,
    /// Controller of Sealed Secrets.
    SealedSecrets,
    /// Its definitions, as with [`Tool::MonitoringCrds`].
    SealedSecretsCrds,
    Kubeseal,
    /// Operator of External Secrets, with its provider `fake` only.
    ExternalSecrets,
    /// Its definitions.
    ExternalSecretsCrds,
    Sops,
    PreCommit,
    Krew,
    ValidateKrewManifest,
    AgePluginYubikey,
    Age,
    AgeKeygen,
    Pcscd,
    Chromium,
    Gitopsview,
    Prometheus,
    Promtool,
    Buildah,
    CargoCyclonedx,
}

impl Tool {
    /// All that every machine has; containerd comes from Debian, and what needs it says so where there is none.
    pub const ALL: &[Self] = &[
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubelet,
        Self::Kubectl,
        Self::Helm,
        Self::MonitoringCrds,
        Self::SealedSecrets,
        Self::SealedSecretsCrds,
        Self::Kubeseal,
        Self::ExternalSecrets,
        Self::ExternalSecretsCrds,
        Self::Sops,
        Self::PreCommit,
        Self::Krew,
        Self::ValidateKrewManifest,
        Self::AgePluginYubikey,
        Self::Age,
        Self::AgeKeygen,
        Self::Pcscd,
        Self::Chromium,
        Self::Gitopsview,
        Self::Prometheus,
        Self::Promtool,
        Self::Buildah,
        Self::CargoCyclonedx,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Containerd => "containerd",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::MonitoringCrds => "monitoring-crds",
            Self::SealedSecrets => "sealed-secrets",
            Self::SealedSecretsCrds => "sealed-secrets-crds",
            Self::Kubeseal => "kubeseal",
            Self::ExternalSecrets => "external-secrets",
            Self::ExternalSecretsCrds => "external-secrets-crds",
            Self::Sops => "sops",
            Self::PreCommit => "pre-commit",
            Self::Krew => "krew",
            Self::ValidateKrewManifest => "validate-krew-manifest",
            Self::AgePluginYubikey => "age-plugin-yubikey",
            Self::Age => "age",
            Self::AgeKeygen => "age-keygen",
            Self::Pcscd => "pcscd",
            Self::Chromium => "chromium",
            Self::Gitopsview => "gitopsview",
            Self::Prometheus => "prometheus",
            Self::Promtool => "promtool",
            Self::Buildah => "buildah",
            Self::CargoCyclonedx => "cargo-cyclonedx",
        }
    }

    /// The executable: from `KUBEBUILDER_ASSETS` if it has one, else what `make tools` made, or for a tool that comes as
    /// a system package, the system's.
    ///
    /// # Errors
    /// [`MissingTool`], which says what to do.
    pub fn path(self) -> Result<PathBuf, MissingTool> {
        self.folders()
            .into_iter()
            .map(|folder| folder.join(self.name()))
            .find(|path| path.is_file())
            .ok_or_else(|| MissingTool::of(self))
    }

    /// A command that runs it.
    ///
    /// # Errors
    /// As [`Tool::path`].
    pub fn command(self) -> Result<Command, MissingTool> {
        let mut command = Command::new(self.path()?);
        if self == Self::Sops {
            command.env("SOPS_DISABLE_VERSION_CHECK", "1"); // else it asks the network for a newer one
        }
        if self == Self::Helm {
            // Not the user's: neither repositories nor plugins.
            for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
                command.env(home, made().join("../helm"));
            }
        }
        Ok(command)
    }

    fn folders(self) -> Vec<PathBuf> {
        match self {
            Self::Etcd | Self::KubeApiserver | Self::Kubectl => {
                let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
                assets.into_iter().chain([made()]).collect()
            }
            Self::KubeControllerManager
            | Self::KubeScheduler
            | Self::Kubelet
            | Self::Containerd
            | Self::Helm
            | Self::MonitoringCrds
            | Self::SealedSecrets
            | Self::SealedSecretsCrds
            | Self::Kubeseal
            | Self::ExternalSecrets
            | Self::ExternalSecretsCrds
            | Self::Sops
            | Self::PreCommit
            | Self::Krew
            | Self::ValidateKrewManifest
            | Self::AgePluginYubikey
            | Self::Chromium
            | Self::Gitopsview
            | Self::Prometheus
            | Self::Promtool
            | Self::CargoCyclonedx => vec![made()],
            Self::Age | Self::AgeKeygen | Self::Pcscd | Self::Buildah => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&path).chain(["/usr/bin".into(), "/usr/sbin".into()]).collect()
            }
        }
    }
}

/// The folder of executables that `make tools` fills, to be put in front of `PATH` where a tool calls another by name
/// (age its plugins, sops age).
pub fn made() -> PathBuf {
    let tools = match std::env::var_os("TOUCHSEAL_TOOLS") {
        Some(tools) => PathBuf::from(tools),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/tools"),
    };
    tools.join("bin")
}

/// `PATH` as it is here, with folders in front.
///
/// # Errors
/// When the name of a folder holds a colon.
pub fn path_behind(folders: impl IntoIterator<Item = PathBuf>) -> Result<OsString, JoinPathsError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path)))
}

/// `Debug` reads like `Display`, so that `unwrap` in a test prints a sentence.
#[derive(thiserror::Error)]
#[error("{name} is missing: run `make tools`")]
pub struct MissingTool {
    name: &'static str,
}

impl MissingTool {
    pub(crate) fn of(tool: Tool) -> Self {
        Self { name: tool.name() }
    }
}

impl std::fmt::Debug for MissingTool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn make_tools_has_provided_all_of_them() {
        for tool in Tool::ALL {
            assert!(tool.path().unwrap().is_file(), "{tool:?}");
        }
    }

    #[test]
    fn a_missing_one_says_what_to_do() {
        let error = MissingTool { name: "etcd" };
        assert_eq!(error.to_string(), "etcd is missing: run `make tools`");
    }
}
