//! Pods as consumers of Secrets: what a pod refers to, and since when its containers hold what they read at their start.
//!
//! Pods of one workload refer to the same Secrets in the same way, so that part, the [`Shape`], is kept once for all of
//! them; a pod itself is a few numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ContainerStatus, EnvFromSource, EnvVar, KeyToPath, Pod, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};

/// Label the Deployment controller puts on the pods of its ReplicaSets; a ReplicaSet's name ends in its value.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// More references than this are kept without the keys they name: they then count as references to the whole Secret.
const MANY: usize = 64;

/// Whole seconds since 1970. The API stores times in seconds.
pub type Seconds = u32;

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// What it refers to.
    pub shape: Arc<Shape>,
    /// Its times.
    pub times: Times,
}

/// What a pod refers to and whose pod it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The workload.
    pub owner: Owner,
    /// References to Secrets; sorted, never empty.
    pub refs: Box<[Ref]>,
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Deployment, StatefulSet, DaemonSet, Job, ...; Pod where a pod has no owner.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// One reference to a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ref {
    /// Name of the Secret.
    pub secret: Arc<str>,
    /// The one key that is read; None for all.
    pub key: Option<Arc<str>>,
    /// How it is read.
    pub how: How,
    /// Index into [`Times::started`] of the container that reads it; None where no container does.
    pub container: Option<u16>,
}

/// How a pod reads a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum How {
    /// One environment variable; frozen when the container starts.
    Env,
    /// All keys as environment variables; frozen when the container starts.
    EnvFrom,
    /// A single file or folder of a volume; frozen when the container starts.
    SubPath,
    /// Files that an init container reads. What it makes of them, a configuration file for instance, is there for as long as
    /// the pod, and no restart of another container makes it anew.
    Init,
    /// Files the kubelet refreshes.
    Volume,
    /// By the driver of a volume, when it mounts that for the pod.
    Driver,
    /// By the kubelet, to pull images; read anew at each pull.
    Pull,
}

impl How {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            How::Env => "env",
            How::EnvFrom => "envFrom",
            How::SubPath => "subPath",
            How::Init => "initContainer",
            How::Volume => "volume",
            How::Driver => "volumeDriver",
            How::Pull => "imagePullSecrets",
        }
    }
}

/// When a pod was made and its containers were started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// When the pod was made.
    pub created: Seconds,
    /// For each container that refers to a Secret, since when it holds what it read.
    pub started: Box<[Held]>,
}

/// Since when a container holds what it read at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held(Seconds);

impl Held {
    /// It was not given to a kubelet yet.
    pub const NOTHING: Held = Held(0);
    /// It does not run as far as is known, but its kubelet may be starting it and not have said so yet.
    pub const STARTING: Held = Held(Seconds::MAX);

    /// It runs since then.
    pub fn since(time: &Time) -> Held {
        Held(seconds(time).clamp(1, Seconds::MAX - 1))
    }

    /// It was started then; without a time as long ago as can be.
    fn from_start(time: Option<&Time>) -> Held {
        time.map_or(Held(1), Held::since)
    }

    /// When it was started; None where it does not run.
    pub fn started(self) -> Option<Seconds> {
        (self != Held::NOTHING && self != Held::STARTING).then_some(self.0)
    }
}

/// A time as whole seconds; one before 1970 is 0.
pub fn seconds(time: &Time) -> Seconds {
    Seconds::try_from(time.0.as_second().max(0)).unwrap_or(Seconds::MAX - 1)
}

/// What a pod is to the Secrets of its namespace. None where it is nothing: it has ended, or it refers to none.
pub fn read(pod: &Pod) -> Option<(Shape, Times)> {
    let spec = pod.spec.as_ref()?;
    let status = pod.status.as_ref();
    if matches!(status.and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return None;
    }
    let drivers = spec.volumes.iter().flatten().filter_map(of_driver);
    let mut refs: BTreeSet<Ref> = drivers.map(|name| reference(name, None, How::Driver, None)).collect();
    let volumes = volumes(spec.volumes.as_deref().unwrap_or_default());
    let mut started = Vec::new();
    let mut mounted = BTreeSet::new();
    let idle = if spec.node_name.is_some() { Held::STARTING } else { Held::NOTHING };
    for container in containers(pod) {
        let Ok(index) = u16::try_from(started.len()) else { break };
        let of_container = references(&container, &volumes, index);
        mounted.extend(container.mounts.iter().map(|mount| mount.name.as_str()));
        if !of_container.is_empty() {
            refs.extend(of_container);
            started.push(container.held.unwrap_or(idle));
        }
    }
    for (_, sources) in volumes.iter().filter(|(name, _)| !mounted.contains(*name)) {
        refs.extend(sources.iter().flat_map(|source| source.refs(How::Volume, None)));
    }
    let pulls = spec.image_pull_secrets.iter().flatten().filter(|pull| !pull.name.is_empty());
    refs.extend(pulls.map(|pull| reference(&pull.name, None, How::Pull, None)));
    if refs.len() > MANY {
        refs = refs.into_iter().map(|r| Ref { key: None, ..r }).collect();
    }
    if refs.is_empty() {
        return None;
    }
    let shape = Shape { owner: owner(pod), refs: refs.into_iter().collect() };
    let created = pod.metadata.creation_timestamp.as_ref().map(seconds).unwrap_or_default();
    Some((shape, Times { created, started: started.into() }))
}

/// What matters of a container of any of the three kinds.
struct Container<'a> {
    env: &'a [EnvVar],
    env_from: &'a [EnvFromSource],
    mounts: &'a [VolumeMount],
    /// It does its work once, before the others start.
    init: bool,
    /// None where it does not run.
    held: Option<Held>,
}

/// Every container. An init container that has done its work counts from its start: it may have handed on what it read.
fn containers(pod: &Pod) -> Vec<Container<'_>> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let status = pod.status.as_ref();
    let mut found = Vec::new();
    let init_statuses = status.and_then(|s| s.init_container_statuses.as_deref());
    for init in spec.init_containers.iter().flatten() {
        let status = named(init_statuses, &init.name);
        let sidecar = init.restart_policy.as_deref() == Some("Always");
        let container = container(&init.env, &init.env_from, &init.volume_mounts, status);
        if sidecar {
            found.push(container);
            continue;
        }
        // One that failed is run again.
        let done =
            status.and_then(|s| s.state.as_ref()?.terminated.as_ref()).filter(|end| end.exit_code == 0);
        let held = container.held.or(done.map(|end| Held::from_start(end.started_at.as_ref())));
        found.push(Container { init: true, held, ..container });
    }
    let statuses = status.and_then(|s| s.container_statuses.as_deref());
    for main in &spec.containers {
        let status = named(statuses, &main.name);
        found.push(container(&main.env, &main.env_from, &main.volume_mounts, status));
    }
    let statuses = status.and_then(|s| s.ephemeral_container_statuses.as_deref());
    for debug in spec.ephemeral_containers.iter().flatten() {
        let status = named(statuses, &debug.name);
        found.push(container(&debug.env, &debug.env_from, &debug.volume_mounts, status));
    }
    found
}

fn named<'a>(statuses: Option<&'a [ContainerStatus]>, name: &str) -> Option<&'a ContainerStatus> {
    statuses.unwrap_or_default().iter().find(|status| status.name == name)
}

fn container<'a>(
    env: &'a Option<Vec<EnvVar>>,
    env_from: &'a Option<Vec<EnvFromSource>>,
    mounts: &'a Option<Vec<VolumeMount>>,
    status: Option<&ContainerStatus>,
) -> Container<'a> {
    let running = status.and_then(|s| s.state.as_ref()?.running.as_ref());
    let held = running.map(|r| Held::from_start(r.started_at.as_ref()));
    Container {
        env: env.as_deref().unwrap_or_default(),
        env_from: env_from.as_deref().unwrap_or_default(),
        mounts: mounts.as_deref().unwrap_or_default(),
        init: false,
        held,
    }
}

/// What one container refers to.
fn references(container: &Container<'_>, volumes: &BTreeMap<&str, Vec<Source<'_>>>, index: u16) -> Vec<Ref> {
    let mut refs = Vec::new();
    let of_env = container.env.iter().filter_map(|v| v.value_from.as_ref()?.secret_key_ref.as_ref());
    refs.extend(of_env.map(|r| reference(&r.name, Some(&r.key), How::Env, Some(index))));
    let files = if container.init { How::Init } else { How::Volume };
    let from = container.env_from.iter().filter_map(|from| from.secret_ref.as_ref());
    refs.extend(from.map(|r| reference(&r.name, None, How::EnvFrom, Some(index))));
    for mount in container.mounts {
        for source in volumes.get(mount.name.as_str()).into_iter().flatten() {
            match (mount.sub_path.as_deref(), mount.sub_path_expr.as_deref()) {
                (None | Some(""), None | Some("")) => refs.extend(source.refs(files, Some(index))),
                (Some(path), None | Some("")) if !path.is_empty() => {
                    refs.extend(source.sub_path(path, index))
                }
                _ => refs.push(reference(source.secret, None, How::SubPath, Some(index))),
            }
        }
    }
    refs
}

/// A Secret in a volume.
struct Source<'a> {
    secret: &'a str,
    /// Keys and the paths they are put at; None for each key at its own name.
    items: Option<&'a [KeyToPath]>,
}

impl Source<'_> {
    fn refs(&self, how: How, container: Option<u16>) -> Vec<Ref> {
        match self.items {
            None => vec![reference(self.secret, None, how, container)],
            Some(items) => {
                items.iter().map(|i| reference(self.secret, Some(&i.key), how, container)).collect()
            }
        }
    }

    /// The part of it that lies under one path.
    fn sub_path(&self, path: &str, container: u16) -> Vec<Ref> {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        let how = How::SubPath;
        let Some(items) = self.items else {
            // A file of a volume without items has the name of its key; no key is `.` or begins with `..`, as the kubelet's
            // own folders do.
            let no_key = matches!(path, "" | ".") || path.starts_with("..") || path.contains('/');
            let key = (!no_key).then_some(path);
            return vec![reference(self.secret, key, how, Some(container))];
        };
        let under = |at: &str| at == path || at.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let found: Vec<Ref> = items
            .iter()
            .filter(|item| under(&item.path))
            .map(|item| reference(self.secret, Some(&item.key), how, Some(container)))
            .collect();
        if found.is_empty() { self.refs(how, Some(container)) } else { found }
    }
}

/// The Secret that a volume's driver is given.
fn of_driver(volume: &Volume) -> Option<&str> {
    let csi = volume.csi.as_ref().and_then(|v| v.node_publish_secret_ref.as_ref());
    let flex = || volume.flex_volume.as_ref().and_then(|v| v.secret_ref.as_ref());
    let ceph = || volume.cephfs.as_ref().and_then(|v| v.secret_ref.as_ref());
    let rbd = || volume.rbd.as_ref().and_then(|v| v.secret_ref.as_ref());
    let iscsi = || volume.iscsi.as_ref().and_then(|v| v.secret_ref.as_ref());
    let reference = csi.or_else(flex).or_else(ceph).or_else(rbd).or_else(iscsi);
    let azure = || volume.azure_file.as_ref().map(|v| v.secret_name.as_str());
    reference.map(|r| r.name.as_str()).or_else(azure).filter(|name| !name.is_empty())
}

/// The Secrets in volumes, by the volume's name.
fn volumes(volumes: &[Volume]) -> BTreeMap<&str, Vec<Source<'_>>> {
    let mut found: BTreeMap<&str, Vec<Source<'_>>> = BTreeMap::new();
    for volume in volumes {
        let plain = volume.secret.iter().filter_map(|s| Some((s.secret_name.as_deref()?, &s.items)));
        let projected = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
        let projected = projected.filter_map(|p| p.secret.as_ref().map(|s| (s.name.as_str(), &s.items)));
        let sources: Vec<Source<'_>> = plain
            .chain(projected)
            .filter(|(secret, _)| !secret.is_empty())
            .map(|(secret, items)| Source { secret, items: items.as_deref().filter(|i| !i.is_empty()) })
            .collect();
        if !sources.is_empty() {
            found.insert(&volume.name, sources);
        }
    }
    found
}

fn reference(secret: &str, key: Option<&str>, how: How, container: Option<u16>) -> Ref {
    Ref { secret: secret.into(), key: key.map(Into::into), how, container }
}

/// The workload of a pod. A ReplicaSet stands for its Deployment where its name tells that one's: it is named after the
/// Deployment and the hash of the template, which its pods bear as a label.
fn owner(pod: &Pod) -> Owner {
    let controller = |o: &&OwnerReference| o.controller == Some(true);
    let Some(owner) = pod.metadata.owner_references.iter().flatten().find(controller) else {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        return Owner { kind: "Pod".into(), name: name.into() };
    };
    let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get(TEMPLATE_HASH));
    let deployment = hash
        .filter(|_| kind(owner) == "ReplicaSet")
        .and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    match deployment.filter(|name| !name.is_empty()) {
        Some(name) => Owner { kind: "Deployment".into(), name: name.into() },
        None => Owner { kind: kind(owner).into(), name: owner.name.as_str().into() },
    }
}

/// An owner's kind. Others than Kubernetes' own bear their group, so that somebody's StatefulSet is not taken for the one of
/// `apps`.
fn kind(owner: &OwnerReference) -> String {
    match owner.api_version.split_once('/').map(|(group, _)| group) {
        None | Some("apps" | "batch") => owner.kind.clone(),
        Some(group) => format!("{}.{group}", owner.kind),
    }
}

#[cfg(test)]
#[path = "consumers_tests.rs"]
mod tests;
