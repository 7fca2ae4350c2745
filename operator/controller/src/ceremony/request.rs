//! This process's UnsealRequest for one keyring: published while sealed, deleted once answered.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use touchseal_crds::keyring::HolderRecord;
use touchseal_crds::names::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL};
use touchseal_crds::unseal_request::ShareRelease;
use touchseal_crds::{ConditionType, Reason, UnsealRequest, UnsealRequestSpec};
use touchseal_keyring::state::{Phase, PublishedRequest};

use super::Ceremony;
use crate::reconcile::now;

/// Longest object name.
const MAX_NAME: usize = 253;

/// Creates the request, or renews its proof. What was released to an earlier session is taken out, what is for this one
/// stays. Returns the YubiKeys whose shares were for an earlier one.
pub async fn publish(
    ceremony: &Ceremony,
    keyring: &str,
    published: &PublishedRequest,
) -> Result<Vec<u32>, kube::Error> {
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
    let mut stale = Vec::new();
    match api.create(&create, &request).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let spec = json!({ "spec": { "keyring": keyring, "pod": pod } });
            let present = api.patch(&name, &merge(), &Patch::Merge(spec)).await?;
            if present.spec.release.is_some_and(|release| release.nonce != published.nonce) {
                api.patch(&name, &merge(), &Patch::Merge(json!({ "spec": { "release": null } }))).await?;
            }
            stale = sweep(ceremony, keyring, &|share| share.nonce == published.nonce).await?;
        }
        Err(error) => return Err(error),
    }
    let released = (!published.released.is_empty()).then_some(&published.released);
    let status = json!({ "status": {
        "sessionKey": published.session_key,
        "nonce": published.nonce,
        "proof": published.proof,
        "proofExpiresAt": published.proof_expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "released": released,
        "conditions": [],
    }});
    api.patch_status(&name, &merge(), &Patch::Merge(status)).await?;
    Ok(stale)
}

/// Says whose shares are in hand.
pub async fn report_released(
    ceremony: &Ceremony,
    keyring: &str,
    released: &[HolderRecord],
) -> Result<(), kube::Error> {
    let released = (!released.is_empty()).then_some(released);
    let status = json!({ "status": { "released": released } });
    gone_is_fine(api(ceremony).patch_status(&name(ceremony, keyring), &merge(), &Patch::Merge(status)).await)
}

/// Says why a share was refused, naming its holder, and takes it out, so that another can follow.
pub async fn refuse_share(
    ceremony: &Ceremony,
    keyring: &str,
    serial: u32,
    message: &str,
) -> Result<(), kube::Error> {
    let status = refusal(Reason::ReleaseInvalid, message);
    let told = api(ceremony).patch_status(&name(ceremony, keyring), &merge(), &Patch::Merge(status)).await;
    gone_is_fine(told)?;
    sweep(ceremony, keyring, &|share| share.serial != serial).await.map(drop)
}

/// Takes out every share that is not for the session and the manifest that wait now.
pub async fn sweep_stale(ceremony: &Ceremony, keyring: &str) -> Result<(), kube::Error> {
    let waiting = ceremony.keys.look(keyring, |state| match state.phase() {
        Phase::Sealed(sealed) => Some((sealed.session.nonce().to_owned(), sealed.manifest.spec().revision)),
        _ => None,
    });
    let Some((nonce, revision)) = waiting.flatten() else { return Ok(()) };
    sweep(ceremony, keyring, &|share| share.nonce == nonce && share.revision == revision).await.map(drop)
}

/// Takes out the shares that are not to be kept; returns whose. Holders write beside us: what they write meanwhile stays.
async fn sweep(
    ceremony: &Ceremony,
    keyring: &str,
    keep: &(dyn Fn(&ShareRelease) -> bool + Sync),
) -> Result<Vec<u32>, kube::Error> {
    let (api, name) = (api(ceremony), name(ceremony, keyring));
    loop {
        // A patch of nothing reads the request: the operator has no other right to look at a single one.
        let present = match api.patch(&name, &merge(), &Patch::Merge(json!({}))).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
            other => other?,
        };
        let (kept, gone): (Vec<_>, Vec<_>) = present.spec.shares.into_iter().partition(keep);
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let kept = (!kept.is_empty()).then_some(kept);
        let version = present.metadata.resource_version;
        let patch = json!({ "metadata": { "resourceVersion": version }, "spec": { "shares": kept } });
        match api.patch(&name, &merge(), &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => {
                gone_is_fine(other)?;
                return Ok(gone.iter().map(|share| share.serial).collect());
            }
        }
    }
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
    let status = refusal(reason, message);
    let told = match api.patch_status(&name, &merge(), &Patch::Merge(status)).await {
        Ok(_) => api.patch(&name, &merge(), &Patch::Merge(json!({ "spec": { "release": null } }))).await,
        Err(error) => Err(error),
    };
    gone_is_fine(told)
}

fn refusal(reason: Reason, message: &str) -> Value {
    json!({ "status": { "conditions": [{
        "type": ConditionType::ReleaseRefused.as_str(),
        "status": "True",
        "reason": reason.as_str(),
        "message": message,
        "lastTransitionTime": now(),
    }]}})
}

/// When the request is gone, what was released is gone with it.
fn gone_is_fine(result: Result<UnsealRequest, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
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
