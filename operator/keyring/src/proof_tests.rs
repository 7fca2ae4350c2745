//! One honest request, and every way of not being it.

use super::*;
use serde_json::{Value, json};

const KEYRING: KeyringId = KeyringId::from_bytes([7; 16]);
const OPERATOR: Operator<'_> = Operator { namespace: "ts", service_account: "op" };

fn session() -> Offer {
    Offer::parse("AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=", &"ab".repeat(16)).unwrap()
}

fn request() -> Value {
    json!({
        "metadata": { "name": "r", "namespace": "ts" },
        "spec": { "keyring": "main", "pod": "op-1" },
        "status": { "sessionKey": session().session_key(), "nonce": session().nonce(), "proof": "token",
                    "proofExpiresAt": "2026-01-01T01:00:00Z" },
    })
}

fn review() -> Value {
    json!({
        "authenticated": true,
        "audiences": [session().audience(&KEYRING)],
        "user": { "username": "system:serviceaccount:ts:op",
                  "extra": { POD_NAME: ["op-1"], POD_UID: ["uid-1"] } },
    })
}

fn pod() -> Value {
    json!({
        "metadata": { "name": "op-1", "uid": "uid-1" },
        "spec": { "containers": [], "serviceAccountName": "op" },
        "status": { "phase": "Running" },
    })
}

fn verdict(request: Value, review: Value, pod: Option<Value>) -> Result<(), Refusal> {
    let request: UnsealRequest = serde_json::from_value(request).unwrap();
    let review: TokenReviewStatus = serde_json::from_value(review).unwrap();
    let pod: Option<Pod> = pod.map(|pod| serde_json::from_value(pod).unwrap());
    let claim = claim(&request, &KEYRING, "2026-01-01T00:00:00Z".parse().unwrap())?;
    check(OPERATOR, &request.spec.pod, &claim, &review, pod.as_ref())
}

fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    *value.pointer_mut(pointer).unwrap() = new;
    value
}

#[test]
fn an_honest_request_passes() {
    assert_eq!(verdict(request(), review(), Some(pod())), Ok(()));
}

#[test]
fn a_proof_the_api_server_does_not_vouch_for_is_forged() {
    let other = Offer::parse(&session().session_key(), &"cd".repeat(16)).unwrap().audience(&KEYRING);
    for (pointer, value) in [
        ("/authenticated", json!(false)),
        ("/authenticated", json!(null)),
        ("/audiences", json!([])),
        ("/audiences", json!(null)),
        ("/audiences", json!(["https://kubernetes.default.svc"])),
        ("/audiences", json!([other])),
        ("/user", json!(null)),
    ] {
        let refusal = verdict(request(), with(review(), pointer, value), Some(pod())).unwrap_err();
        assert_eq!((refusal.gravity(), &refusal), (Gravity::Forged, &Refusal::NotVouched), "{pointer}");
    }
}

#[test]
fn a_proof_of_somebody_else_is_forged() {
    for username in ["system:serviceaccount:ts:other", "system:serviceaccount:other:op", "op", ""] {
        let refusal =
            verdict(request(), with(review(), "/user/username", json!(username)), Some(pod())).unwrap_err();
        assert_eq!(refusal, Refusal::WrongAccount(username.to_owned()));
        assert_eq!(refusal.gravity(), Gravity::Forged);
    }
}

#[test]
fn a_proof_bound_to_no_pod_or_another_is_forged() {
    for names in [json!([]), json!(["op-2"]), json!(["op-1", "op-2"])] {
        let review = with(review(), &format!("/user/extra/{}", POD_NAME.replace('/', "~1")), names);
        let refusal = verdict(request(), review, Some(pod())).unwrap_err();
        assert!(matches!(refusal, Refusal::WrongPod(..)), "{refusal}");
        assert_eq!(refusal.gravity(), Gravity::Forged);
    }
    for uids in [json!([]), json!(["uid-2"])] {
        let review = with(review(), &format!("/user/extra/{}", POD_UID.replace('/', "~1")), uids);
        assert_eq!(verdict(request(), review, Some(pod())), Err(Refusal::ReplacedPod("op-1".into())));
    }
    // Neither side may pass for the other by having no uid at all.
    let mut anonymous = pod();
    anonymous["metadata"].as_object_mut().unwrap().remove("uid");
    let no_uid = with(review(), &format!("/user/extra/{}", POD_UID.replace('/', "~1")), json!([]));
    assert_eq!(verdict(request(), no_uid, Some(anonymous)), Err(Refusal::ReplacedPod("op-1".into())));
}

#[test]
fn the_pod_itself_must_be_alive_and_the_operators() {
    assert_eq!(verdict(request(), review(), None), Err(Refusal::PodGone));
    let mut leaving = pod();
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(verdict(request(), review(), Some(leaving)), Err(Refusal::PodEnding("being deleted")));
    for phase in ["Succeeded", "Failed"] {
        let refusal =
            verdict(request(), review(), Some(with(pod(), "/status/phase", json!(phase)))).unwrap_err();
        assert_eq!(refusal.gravity(), Gravity::Stale);
    }
    let foreign = with(pod(), "/spec/serviceAccountName", json!("default"));
    assert_eq!(verdict(request(), review(), Some(foreign)), Err(Refusal::ForeignPod("op-1".into())));
    let replaced = with(pod(), "/metadata/uid", json!("uid-2"));
    assert_eq!(verdict(request(), review(), Some(replaced)), Err(Refusal::ReplacedPod("op-1".into())));
}

#[test]
fn a_request_without_session_is_early_and_one_out_of_time_is_late() {
    for field in ["/status/sessionKey", "/status/nonce", "/status/proof", "/status"] {
        let early = verdict(with(request(), field, json!(null)), review(), Some(pod()));
        assert_eq!(early, Err(Refusal::NotReady), "{field}");
    }
    let late = with(request(), "/status/proofExpiresAt", json!("2025-12-31T23:59:59Z"));
    assert_eq!(verdict(late, review(), Some(pod())), Err(Refusal::Expired));
    let malformed = with(request(), "/status/nonce", json!("x"));
    assert_eq!(verdict(malformed, review(), Some(pod())).unwrap_err().gravity(), Gravity::Forged);
}

/// The audience is computed here, from the session key that would be sealed to: a proof copied from an honest request
/// under another session key is a proof for another audience.
#[test]
fn the_audience_follows_the_session_key() {
    let swapped =
        with(request(), "/status/sessionKey", json!("AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="));
    assert_eq!(verdict(swapped, review(), Some(pod())), Err(Refusal::NotVouched));
}
