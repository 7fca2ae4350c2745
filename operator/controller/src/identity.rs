//! Who this process is, as the API server sees it: the pod its token is bound to, and the ServiceAccount.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client};

/// The pod and ServiceAccount of this process.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// Pod name.
    pub pod: String,
    /// Pod uid.
    pub pod_uid: String,
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The question failed.
    #[error("cannot ask the API server who this operator is; check its credentials")]
    Ask(#[source] kube::Error),
    /// Not a ServiceAccount.
    #[error(
        "the operator runs as {user:?}, not as a ServiceAccount; give it a pod-bound ServiceAccount token"
    )]
    NotAServiceAccount {
        /// User name.
        user: String,
    },
    /// The token names no pod.
    #[error(
        "the operator's token is not bound to a pod, so it cannot prove which process asks to be unsealed"
    )]
    NotPodBound,
}

/// Asks the API server.
///
/// # Errors
/// See [`IdentityError`].
pub async fn discover(client: &Client) -> Result<Identity, IdentityError> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .map_err(IdentityError::Ask)?;
    let user = review.status.and_then(|s| s.user_info).unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let namespace = name
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
        .map(|(namespace, _)| namespace.to_owned())
        .ok_or(IdentityError::NotAServiceAccount { user: name.clone() })?;
    let extra = |key: &str| user.extra.as_ref()?.get(key)?.first().cloned();
    Ok(Identity {
        namespace,
        pod: extra("authentication.kubernetes.io/pod-name").ok_or(IdentityError::NotPodBound)?,
        pod_uid: extra("authentication.kubernetes.io/pod-uid").ok_or(IdentityError::NotPodBound)?,
    })
}
