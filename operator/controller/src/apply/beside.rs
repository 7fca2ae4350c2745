//! Writes of what stands beside the Secret, on the way of `apply`: the ConfigMap of the newest name, owners of old Secrets,
//! and the removal of what nobody needs any more.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use serde_json::json;
use touchseal_crds::EncryptedSecret;
use touchseal_crds::names::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL, SOURCE_ANNOTATION};
use touchseal_plan::{AliasWrite, Decision, Expected, Removal, Removed, Reown};

use super::secret::others;
use super::{ApplyError, failed, owner};
use crate::context::Context;
use crate::secrets::Key;
use crate::{observe, words};

/// Carries out what a decision says of it.
///
/// # Errors
/// See [`ApplyError`].
pub async fn write(
    context: &Context,
    object: &EncryptedSecret,
    decision: &Decision,
) -> Result<(), ApplyError> {
    let key = observe::key(object);
    if let Some(write) = &decision.alias {
        write_alias(context, object, &key, write).await?;
    }
    for change in &decision.reown {
        reown(context, object, &key, change).await?;
    }
    let kept = kept(context, &key.0, &decision.remove).await;
    for removal in decision.remove.iter().filter(|removal| !kept.contains(&removal.name)) {
        remove(context, &key.0, removal).await?;
    }
    Ok(())
}

async fn write_alias(
    context: &Context,
    object: &EncryptedSecret,
    key: &Key,
    write: &AliasWrite,
) -> Result<(), ApplyError> {
    let what = format!("ConfigMap {}/{}", key.0, write.name);
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &key.0);
    let expects = write.expects.as_ref();
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(write.name.clone()),
            namespace: Some(key.0.clone()),
            uid: expects.map(|e| e.uid.clone()),
            resource_version: expects.map(|e| e.resource_version.clone()),
            labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
            annotations: Some([(SOURCE_ANNOTATION.to_owned(), key.1.clone())].into()),
            owner_references: write.owner_uid.as_ref().map(|uid| vec![owner(object, uid)]),
            ..ObjectMeta::default()
        },
        data: Some(
            [("secretName", &write.secret_name), ("generation", &write.generation)]
                .map(|(field, value)| (field.to_owned(), value.clone()))
                .into(),
        ),
        ..ConfigMap::default()
    };
    // As with Secrets: where none is expected, nothing is forced on one that is there after all.
    let params = PatchParams { force: expects.is_some(), ..PatchParams::apply(FIELD_MANAGER) };
    api.patch(&write.name, &params, &Patch::Apply(&map)).await.map_err(|e| failed(&what, e))?;
    Ok(())
}

/// The owner alone: an old Secret's data is not at hand, and what a server-side apply leaves out it takes away.
async fn reown(
    context: &Context,
    object: &EncryptedSecret,
    key: &Key,
    change: &Reown,
) -> Result<(), ApplyError> {
    let what = format!("owner of Secret {}/{}", key.0, change.name);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &key.0);
    let Expected { uid, resource_version } = &change.expects;
    let mut owners = others(&api, &change.name).await.map_err(|e| failed(&what, e))?;
    owners.extend(change.owner_uid.iter().map(|uid| owner(object, uid)));
    let patch = json!({ "metadata": {
        "uid": uid, "resourceVersion": resource_version, "ownerReferences": owners,
    } });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let stored =
        api.patch(&change.name, &params, &Patch::Merge(patch)).await.map_err(|e| failed(&what, e))?;
    context.secrets.wrote(&stored);
    Ok(())
}

/// The names that must stay: a workload's template names them, or it cannot be told.
async fn kept(context: &Context, namespace: &str, removals: &[Removal]) -> Vec<String> {
    let asked: Vec<&str> =
        removals.iter().filter(|removal| removal.unless_in_a_template).map(|r| r.name.as_str()).collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let ours = |name: &str| context.secrets.get(&(namespace.to_owned(), name.to_owned())).is_some();
    match context.templates.named(&context.client, namespace, &asked, ours).await {
        Ok(named) => named,
        Err(error) => {
            let problem = words::of(&error);
            tracing::warn!(
                namespace,
                problem,
                "old Secrets stay: the workloads that may name them cannot be listed"
            );
            asked.into_iter().map(str::to_owned).collect()
        }
    }
}

/// Deletes exactly this object.
async fn remove(context: &Context, namespace: &str, removal: &Removal) -> Result<(), ApplyError> {
    let Removal { what, name, expects, .. } = removal;
    let preconditions = Preconditions {
        uid: Some(expects.uid.clone()),
        resource_version: Some(expects.resource_version.clone()),
    };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let client = context.client.clone();
    let (kind, deleted) = match what {
        Removed::Secret => {
            let api: Api<Secret> = Api::namespaced(client, namespace);
            ("Secret", api.delete(name, &params).await.map(drop))
        }
        Removed::Alias => {
            let api: Api<ConfigMap> = Api::namespaced(client, namespace);
            ("ConfigMap", api.delete(name, &params).await.map(drop))
        }
    };
    deleted.map_err(|e| failed(&format!("{kind} {namespace}/{name}"), e))
}
