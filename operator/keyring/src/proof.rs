//! Whether an UnsealRequest is what it says: a live process of the operator, and nobody else's session key.
//!
//! Without this check, whoever may write an UnsealRequest would have the master sealed to a key of their own. The proof
//! is a ServiceAccount token whose audience is a hash of this very session, so that it proves nothing about another key;
//! it is bound to its pod, and the pod is looked up because a deleted pod's token passes TokenReview for a while.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use k8s_openapi::api::core::v1::Pod;
use touchseal_crds::UnsealRequest;

use crate::id::KeyringId;
use crate::release::Offer;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Who may ask.
#[derive(Clone, Copy, Debug)]
pub struct Operator<'a> {
    /// Namespace of the operator's pods.
    pub namespace: &'a str,
    /// Their ServiceAccount.
    pub service_account: &'a str,
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The operator has not written its session key and proof yet.
    #[error("it has no session key and proof yet")]
    NotReady,
    /// The proof has run out; a live operator renews it.
    #[error("its proof has run out")]
    Expired,
    /// The pod is not there any more.
    #[error("its pod is gone")]
    PodGone,
    /// The pod is being deleted, or has ended.
    #[error("its pod is {0}")]
    PodEnding(&'static str),
    /// Session key or nonce make no sense.
    #[error("its session is malformed: {0}")]
    Malformed(String),
    /// The API server does not vouch for the proof, for this session.
    #[error("the API server does not accept its proof for this session")]
    NotVouched,
    /// The proof is somebody else's.
    #[error("its proof belongs to {0}")]
    WrongAccount(String),
    /// The proof names no pod, or another one.
    #[error("its proof is bound to {0}, not to pod {1}")]
    WrongPod(String, String),
    /// There is a pod of that name, but it is another one.
    #[error("pod {0} is not the one its proof is bound to")]
    ReplacedPod(String),
    /// The pod runs under another ServiceAccount.
    #[error("pod {0} does not run as the operator's ServiceAccount")]
    ForeignPod(String),
}

/// How bad a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// It may be answerable in a moment.
    Later,
    /// Left over by a process that is gone: nobody waits there.
    Stale,
    /// No honest operator looks like this.
    Forged,
}

impl Refusal {
    /// How bad it is.
    pub const fn gravity(&self) -> Gravity {
        match self {
            Self::NotReady | Self::Expired => Gravity::Later,
            Self::PodGone | Self::PodEnding(_) => Gravity::Stale,
            _ => Gravity::Forged,
        }
    }
}

/// A session with its proof, as the request's status has them: what is sent to TokenReview.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Session key and nonce.
    pub offer: Offer,
    /// The audience the proof must have.
    pub audience: String,
    /// The token.
    pub token: String,
}

/// What the request claims.
pub fn claim(request: &UnsealRequest, keyring: &KeyringId, now: Timestamp) -> Result<Claim, Refusal> {
    let status = request.status.as_ref().ok_or(Refusal::NotReady)?;
    let (Some(key), Some(nonce), Some(token)) = (&status.session_key, &status.nonce, &status.proof) else {
        return Err(Refusal::NotReady);
    };
    if status.proof_expires_at.as_ref().is_some_and(|expires| expires.0 <= now) {
        return Err(Refusal::Expired);
    }
    let offer = Offer::parse(key, nonce).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let audience = offer.audience(keyring);
    Ok(Claim { offer, audience, token: token.clone() })
}

/// Whether the API server vouches for the claim of pod `name` and that pod is alive. `pod` is what a GET of it gave.
pub fn check(
    operator: Operator<'_>,
    name: &str,
    claim: &Claim,
    review: &TokenReviewStatus,
    pod: Option<&Pod>,
) -> Result<(), Refusal> {
    let echoed = review.audiences.as_ref().is_some_and(|audiences| audiences.contains(&claim.audience));
    // A server that does not know audiences would accept the token for anything: no echo, no proof.
    if review.authenticated != Some(true) || !echoed {
        return Err(Refusal::NotVouched);
    }
    let user = review.user.as_ref().ok_or(Refusal::NotVouched)?;
    let username = user.username.as_deref().unwrap_or_default();
    if username != format!("system:serviceaccount:{}:{}", operator.namespace, operator.service_account) {
        return Err(Refusal::WrongAccount(username.to_owned()));
    }
    let extra = |key: &str| match user.extra.as_ref().and_then(|extra| extra.get(key)).map(Vec::as_slice) {
        Some([only]) => Some(only.as_str()),
        _ => None,
    };
    let (bound_name, bound_uid) = (extra(POD_NAME), extra(POD_UID));
    if bound_name != Some(name) {
        let bound = bound_name.map_or_else(|| "no pod".to_owned(), |pod| format!("pod {pod}"));
        return Err(Refusal::WrongPod(bound, name.to_owned()));
    }
    let pod = pod.ok_or(Refusal::PodGone)?;
    if pod.metadata.name.as_deref() != Some(name)
        || bound_uid.is_none()
        || pod.metadata.uid.as_deref() != bound_uid
    {
        return Err(Refusal::ReplacedPod(name.to_owned()));
    }
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
    if account != Some(operator.service_account) {
        return Err(Refusal::ForeignPod(name.to_owned()));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Err(Refusal::PodEnding("being deleted"));
    }
    match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Succeeded" | "Failed") => Err(Refusal::PodEnding("not running any more")),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
