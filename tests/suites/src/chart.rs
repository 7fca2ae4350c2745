//! The chart by the real helm: rendered for those who apply its objects themselves, or installed as a release.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use touchseal_rig::cluster::Cluster;
use touchseal_rig::tools::Tool;

use crate::world::repository;

/// The release's name; with it the operator's objects are called `touchseal-operator`.
pub const RELEASE: &str = "touchseal";

/// Where the chart is.
pub fn folder() -> PathBuf {
    repository().join("charts/touchseal")
}

/// All objects of a release in `namespace`, in the order in which helm installs them; `settings` as for `--set`.
pub fn render(namespace: &str, settings: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["-n", namespace];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    objects(&template(&arguments))
}

/// What `helm template` prints with these arguments.
pub fn template(arguments: &[&str]) -> String {
    let folder = folder();
    let all = [&["template", RELEASE, folder.to_str().unwrap()], arguments].concat();
    let said = helm(&all);
    assert!(said.status.success(), "helm {}:\n{}", all.join(" "), words(&said));
    String::from_utf8(said.stdout).unwrap()
}

/// The objects of a stream of manifests.
pub fn objects(manifests: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    serde_norway::Deserializer::from_str(manifests)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

/// Runs helm without a cluster, whatever comes of it.
pub fn helm(arguments: &[&str]) -> Output {
    Tool::Helm.command().unwrap().args(arguments).output().unwrap()
}

/// Everything a program said.
pub fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A release on a cluster, by an administrator.
pub struct Release<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Where it is.
    pub cluster: &'a Cluster,
}

impl Release<'_> {
    /// `helm install` of a chart.
    pub fn install(&self, chart: &Path, settings: &[&str]) -> String {
        self.done(&Self::with("install", &[self.name, chart.to_str().unwrap()], settings))
    }

    /// `helm upgrade` to a chart.
    pub fn upgrade(&self, chart: &Path, settings: &[&str]) -> String {
        self.done(&Self::with("upgrade", &[self.name, chart.to_str().unwrap()], settings))
    }

    /// Any other command, which must succeed; what it said.
    pub fn done(&self, arguments: &[&str]) -> String {
        let said = self.tried(arguments);
        assert!(said.status.success(), "helm {}:\n{}", arguments.join(" "), words(&said));
        words(&said)
    }

    /// The same, whatever comes of it.
    pub fn tried(&self, arguments: &[&str]) -> Output {
        let mut command = Tool::Helm.command().unwrap();
        command.arg("--kubeconfig").arg(self.cluster.admin_kubeconfig());
        command.args(["-n", self.namespace]).args(arguments).output().unwrap()
    }

    fn with<'b>(command: &'b str, arguments: &[&'b str], settings: &[&'b str]) -> Vec<&'b str> {
        let settings = settings.iter().flat_map(|setting| ["--set", *setting]);
        [command].into_iter().chain(arguments.iter().copied()).chain(settings).collect()
    }
}
