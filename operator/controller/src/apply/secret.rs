//! Writes of one Secret, on the way of `apply`.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Map, Value, json};
use touchseal_crds::EncryptedSecret;
use touchseal_crds::names::FIELD_MANAGER;
use touchseal_plan::{Content, Expected, SecretWrite};

use super::{ApplyError, failed, owner};
use crate::context::Context;
use crate::{observe, secrets};

/// Writes a Secret: makes it, changes it or replaces it. Gives the time of that by the API server's clock, as times of pods are
/// (each node's is taken to agree with it); None where the answer does not tell.
///
/// # Errors
/// See [`ApplyError`].
pub async fn write(
    context: &Context,
    object: &EncryptedSecret,
    write: &SecretWrite,
    content: Content,
) -> Result<Option<Time>, ApplyError> {
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
    // Without a Secret to expect nothing is forced: were a foreign one there after all, its fields stay its owner's (and
    // the shipped admission policy refuses the write altogether).
    let params = PatchParams { force: expects.is_some(), ..PatchParams::apply(FIELD_MANAGER) };
    let mut stored =
        api.patch(&write.name, &params, &Patch::Apply(&wanted)).await.map_err(|e| failed(&what, e))?;
    let written = secrets::applied_at(&stored.metadata);
    if let Some(extra) = extra_keys(&stored, &content) {
        let version = stored.metadata.resource_version.clone();
        let patch = json!({ "metadata": { "resourceVersion": version }, "data": extra });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        stored = api.patch(&write.name, &params, &Patch::Merge(patch)).await.map_err(|e| failed(&what, e))?;
    }
    context.secrets.wrote(&stored);
    context.metrics.secret_writes.inc();
    Ok(written)
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
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    api.create(&params, &wanted).await.map(|_| ())
}

/// Keys somebody else added; server-side apply leaves them, a Secret of ours holds exactly its content.
fn extra_keys(stored: &Secret, content: &Content) -> Option<Map<String, Value>> {
    let empty = BTreeMap::new();
    let data = stored.data.as_ref().unwrap_or(&empty);
    let extra: Map<String, Value> =
        data.keys().filter(|k| !content.data.contains_key(*k)).map(|k| (k.clone(), Value::Null)).collect();
    (!extra.is_empty()).then_some(extra)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_others_are_taken_out_and_ours_stay() {
        let secret = |keys: &[&str]| Secret {
            data: Some(keys.iter().map(|k| ((*k).to_owned(), ByteString(b"x".to_vec()))).collect()),
            ..Secret::default()
        };
        let mut content = Content::default();
        content.data.insert("ours".to_owned(), zeroize::Zeroizing::new(b"x".to_vec()));
        assert_eq!(extra_keys(&secret(&["ours"]), &content), None);
        let extra = extra_keys(&secret(&["ours", "planted"]), &content).unwrap();
        assert_eq!(Value::Object(extra), json!({ "planted": null }));
    }
}
