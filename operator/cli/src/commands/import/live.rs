//! Secrets that are in the cluster, read once and left as they are.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Secret;
use zeroize::Zeroizing;

use super::ImportArgs;
use super::error::ImportError;
use super::material::{Found, InCluster};
use super::object::Object;
use crate::args::Global;
use crate::cluster::Cluster;
use crate::error::Failure;

/// The Secrets of these names.
pub fn gather(names: &[String], args: &ImportArgs, global: &Global) -> Result<Found, Failure> {
    let mut found = Found::default();
    if names.is_empty() {
        return Ok(found);
    }
    let namespace = global.namespace.as_deref();
    let namespace = namespace.ok_or_else(|| ImportError::NoNamespace(format!("Secret {}", names[0])))?;
    let cluster = Cluster::connect(global)?;
    for name in names {
        let label = format!("{namespace}/{name}");
        let secret = cluster.secret(namespace, name)?.ok_or(ImportError::NoSuchSecret(label))?;
        let mut object = object(secret);
        if let Some(why) = object.left_out() {
            found.left_out.push((format!("Secret {name}"), why));
            continue;
        }
        let same = args.name.as_ref().is_none_or(|other| other == name);
        let in_cluster = if same { InCluster::Yes } else { InCluster::Unknown };
        object.name = args.name.clone().unwrap_or(object.name);
        found.materials.push(object.into_material(
            &format!("Secret {name}"),
            Some(namespace),
            in_cluster,
            PathBuf::from("."),
        )?);
    }
    Ok(found)
}

fn object(secret: Secret) -> Object {
    let Secret { data, immutable, metadata, type_, .. } = secret;
    let owners = metadata.owner_references.unwrap_or_default();
    Object {
        name: metadata.name.unwrap_or_default(),
        namespace: metadata.namespace,
        type_,
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
        pairs: data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, Zeroizing::new(value.0)))
            .collect(),
        immutable: immutable.unwrap_or_default(),
        owners: owners.into_iter().map(|owner| format!("{} {}", owner.kind, owner.name)).collect(),
    }
}
