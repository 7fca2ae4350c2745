//! This process's UnsealRequest for one keyring: published while sealed, deleted once answered.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use touchseal_crds::names::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL};
use touchseal_crds::{ConditionType, Reason, UnsealRequest, UnsealRequestSpec};
use touchseal_keyring::state::PublishedRequest;

use super::Ceremony;
use crate::reconcile::now;

/// Longest object name.
const MAX_NAME: usize = 253;

/// Creates the request, or renews its proof. A release made for an earlier session is taken out, one for this session
/// stays.
pub async fn publish(
    ceremony: &Ceremony,
    keyring: &str,
    published: &PublishedRequest,
) -> Result<(), kube::Error> {
    let api = api(ceremony);
    let name = name(ceremony, keyring);
    let pod = &ceremony.identity.pod;
    let mut request = UnsealRequest::new(
        &name,
        UnsealRequestSpec { keyring: keyring.to_owned(), pod: pod.clone(), ..UnsealRequestSpec::default() },
    );
    request.metadata = ObjectMeta {
        name: Some(name.clone()),
        labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
        owner_references: Some(vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: pod.clone(),
            uid: ceremony.identity.pod_uid.clone(),
            ..OwnerReference::default()
        }]),
        ..ObjectMeta::default()
    };
    let create = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&create, &request).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let spec = json!({ "spec": { "keyring": keyring, "pod": pod } });
            let present = api.patch(&name, &merge(), &Patch::Merge(spec)).await?;
            if present.spec.release.is_some_and(|release| release.nonce != published.nonce) {
                api.patch(&name, &merge(), &Patch::Merge(json!({ "spec": { "release": null } }))).await?;
            }
        }
        Err(error) => return Err(error),
    }
    let status = json!({ "status": {
        "sessionKey": published.session_key,
        "nonce": published.nonce,
        "proof": published.proof,
        "proofExpiresAt": published.proof_expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "conditions": [],
    }});
    api.patch_status(&name, &merge(), &Patch::Merge(status)).await?;
    Ok(())
}

/// Says why the release was refused and takes it out, so that another can follow.
pub async fn refuse(
    ceremony: &Ceremony,
    keyring: &str,
    reason: Reason,
    message: &str,
) -> Result<(), kube::Error> {
    let api = api(ceremony);
    let name = name(ceremony, keyring);
    let status = json!({ "status": { "conditions": [{
        "type": ConditionType::ReleaseRefused.as_str(),
        "status": "True",
        "reason": reason.as_str(),
        "message": message,
        "lastTransitionTime": now(),
    }]}});
    let told = match api.patch_status(&name, &merge(), &Patch::Merge(status)).await {
        Ok(_) => api.patch(&name, &merge(), &Patch::Merge(json!({ "spec": { "release": null } }))).await,
        Err(error) => Err(error),
    };
    match told {
        Ok(_) => Ok(()),
        // The request is gone, and the release with it.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes the request.
pub async fn clear(ceremony: &Ceremony, keyring: &str) -> Result<(), kube::Error> {
    match api(ceremony).delete(&name(ceremony, keyring), &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// `<pod>.<keyring>`, cut to what a name can hold.
fn name(ceremony: &Ceremony, keyring: &str) -> String {
    let mut name = format!("{}.{keyring}", ceremony.identity.pod);
    name.truncate(MAX_NAME);
    name.trim_end_matches(['.', '-']).to_owned()
}

fn api(ceremony: &Ceremony) -> Api<UnsealRequest> {
    Api::namespaced(ceremony.client.clone(), &ceremony.namespace)
}

fn merge() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}
