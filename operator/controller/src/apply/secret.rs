//! Writes of one Secret, on the way of `apply`.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Map, Value, json};
use touchseal_crds::EncryptedSecret;
use touchseal_crds::names::FIELD_MANAGER;
use touchseal_plan::{Content, Expected, SecretWrite};

use super::{ApplyError, failed, owner};
use crate::context::Context;
use crate::{observe, secrets};

/// What came of a write.
pub struct Written {
    /// When, by the API server's clock, as times of pods are (each node's is taken to agree with it); None where the answer does
    /// not tell.
    pub at: Option<Time>,
    /// Somebody changed the Secret at once, and nobody was told: it is to be looked at again.
    pub overtaken: bool,
}

/// Writes a Secret: makes it, changes it or replaces it.
///
/// # Errors
/// See [`ApplyError`].
pub async fn write(
    context: &Context,
    object: &EncryptedSecret,
    write: &SecretWrite,
    content: Content,
) -> Result<Written, ApplyError> {
    let namespace = observe::key(object).0;
    let what = format!("Secret {namespace}/{}", write.name);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    let mut expects = write.expects.as_ref();
    let claim = context.secrets.claim(&(namespace.clone(), write.name.clone()), &observe::key(object).1);
    if expects.is_none() && claim.is_none() {
        return Err(ApplyError::Changed { what });
    }
    if let (true, Some(present)) = (write.replace, expects) {
        try_make(&api, secret(object, write, None, &namespace, &content))
            .await
            .map_err(|e| failed(&what, e))?;
        let preconditions = Preconditions {
            uid: Some(present.uid.clone()),
            resource_version: Some(present.resource_version.clone()),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        api.delete(&write.name, &params).await.map_err(|e| failed(&what, e))?;
        expects = None;
    }
    let wanted = secret(object, write, expects, &namespace, &content);
    let stored = match expects {
        Some(_) => {
            let known = context.secrets.get(&(namespace.clone(), write.name.clone()));
            let owned_by = known.and_then(|known| known.owner_uid);
            change(&api, wanted, owned_by).await
        }
        None => {
            context.names.made(&namespace, &write.name);
            api.create(&make(), &wanted).await
        }
    };
    let stored = stored.map_err(|e| failed(&what, e))?;
    context.metrics.secret_writes.inc();
    let overtaken = match claim {
        Some(claim) => claim.end(&stored),
        None => {
            context.secrets.wrote(&stored);
            false
        }
    };
    Ok(Written { at: secrets::written_at(&stored.metadata), overtaken })
}

fn make() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// Makes a Secret that is there, and is owned by the EncryptedSecret of a uid, hold exactly what is wanted.
async fn change(
    api: &Api<Secret>,
    mut wanted: Secret,
    owned_by: Option<String>,
) -> Result<Secret, kube::Error> {
    let name = wanted.metadata.name.clone().unwrap_or_default();
    let merge = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    if owned_by.is_some() && owned_by != secrets::owner_uid(&wanted.metadata) {
        // It was made with that owner, which an apply leaves; and two that both control it are refused.
        let owners = others(api, &name).await?;
        let ObjectMeta { uid, resource_version, .. } = &wanted.metadata;
        let patch = json!({ "metadata": {
            "uid": uid, "resourceVersion": resource_version, "ownerReferences": owners,
        } });
        let stored = api.patch_metadata(&name, &merge, &Patch::Merge(patch)).await?;
        wanted.metadata.resource_version = stored.metadata.resource_version;
    }
    let stored = api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&wanted)).await?;
    let Some(patch) = leftovers(&stored, &wanted) else { return Ok(stored) };
    api.patch(&name, &merge, &Patch::Merge(patch)).await
}

/// The owners of a Secret that others gave it: they stay whoever its owner of ours is.
pub async fn others(api: &Api<Secret>, name: &str) -> Result<Vec<OwnerReference>, kube::Error> {
    let present = api.get_metadata(name).await?;
    let owners = present.metadata.owner_references.into_iter().flatten();
    Ok(owners.filter(|owner| !secrets::is_ours(owner)).collect())
}

/// The Secret as it is to be.
fn secret(
    object: &EncryptedSecret,
    write: &SecretWrite,
    expects: Option<&Expected>,
    namespace: &str,
    content: &Content,
) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(write.name.clone()),
            namespace: Some(namespace.to_owned()),
            uid: expects.map(|e| e.uid.clone()),
            resource_version: expects.map(|e| e.resource_version.clone()),
            labels: Some(write.labels.clone()),
            annotations: Some(write.annotations.clone()),
            owner_references: write.owner_uid.as_ref().map(|uid| vec![owner(object, uid)]),
            ..ObjectMeta::default()
        },
        type_: Some(write.type_.clone()),
        immutable: write.immutable.then_some(true),
        data: Some(content.data.iter().map(|(k, v)| (k.clone(), ByteString(v.to_vec()))).collect()),
        ..Secret::default()
    }
}

/// Has the API server judge a Secret without making it. A Secret in use is deleted only for one that can be made: quota,
/// the type's own rules and admission have their say before, not after.
async fn try_make(api: &Api<Secret>, mut wanted: Secret) -> Result<(), kube::Error> {
    wanted.metadata.name = None;
    wanted.metadata.generate_name = Some("touchseal-".to_owned());
    api.create(&PostParams { dry_run: true, ..make() }, &wanted).await.map(|_| ())
}

/// Takes away what a server-side apply leaves: keys that somebody else added, for a Secret of ours holds exactly its content, and
/// labels and annotations that it was made with.
fn leftovers(stored: &Secret, wanted: &Secret) -> Option<Value> {
    fn nulls<V, W>(there: &BTreeMap<String, V>, wanted: Option<&BTreeMap<String, W>>) -> Map<String, Value> {
        let extra = there.keys().filter(|key| wanted.is_none_or(|wanted| !wanted.contains_key(*key)));
        extra.map(|key| (key.clone(), Value::Null)).collect()
    }
    let (meta, empty) = (&stored.metadata, BTreeMap::new());
    let data = nulls(stored.data.as_ref().unwrap_or(&empty), wanted.data.as_ref());
    let labels = nulls(&secrets::owned_labels(meta), wanted.metadata.labels.as_ref());
    let annotations = nulls(&secrets::owned_annotations(meta), wanted.metadata.annotations.as_ref());
    if data.is_empty() && labels.is_empty() && annotations.is_empty() {
        return None;
    }
    let version = &meta.resource_version;
    Some(json!({
        "metadata": { "resourceVersion": version, "labels": labels, "annotations": annotations }, "data": data,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_any_more_is_taken_out_and_what_others_put_beside_stays() {
        let secret = |keys: &[&str], labels: &[&str]| {
            let labels = labels.iter().map(|label| ((*label).to_owned(), "x".to_owned())).collect();
            let made = json!({ "manager": FIELD_MANAGER, "operation": "Update", "fieldsV1": {
                "f:metadata": { "f:labels": { "f:ours": {}, "f:was-ours": {} } } } });
            Secret {
                metadata: ObjectMeta {
                    resource_version: Some("7".to_owned()),
                    labels: Some(labels),
                    managed_fields: serde_json::from_value(json!([made])).unwrap(),
                    ..ObjectMeta::default()
                },
                data: Some(keys.iter().map(|k| ((*k).to_owned(), ByteString(b"x".to_vec()))).collect()),
                ..Secret::default()
            }
        };
        let wanted = secret(&["ours"], &["ours"]);
        assert_eq!(leftovers(&secret(&["ours"], &["ours", "theirs"]), &wanted), None);
        assert_eq!(
            leftovers(&secret(&["ours", "planted"], &["ours", "was-ours", "theirs"]), &wanted).unwrap(),
            json!({ "metadata": { "resourceVersion": "7", "labels": { "was-ours": null }, "annotations": {} },
                    "data": { "planted": null } })
        );
    }
}
