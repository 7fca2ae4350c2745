//! What exactly is signed: the texts of the manifest signature and of a generation's endorsement.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde_json::{Value, json};
use touchseal_crds::keyring::KeyringSpec;

use crate::bytes::{decode_base64, encode_base64};
use crate::canonical::canonical;
use crate::id::KeyringId;
use crate::scrub::scrubbed;

const MANIFEST_LABEL: &str = "touchseal/v1/manifest\n";
const GENERATION_LABEL: &str = "touchseal/v1/generation\n";

/// `"touchseal/v1/manifest\n" + JCS(spec without signature)`; `None` for a spec that JCS cannot carry.
pub(crate) fn manifest_text(spec: &KeyringSpec) -> Option<Vec<u8>> {
    let mut value = serde_json::to_value(spec).ok()?;
    value.as_object_mut()?.remove("signature")?;
    labelled(MANIFEST_LABEL, &value)
}

/// `"touchseal/v1/generation\n" + JCS({keyring, number, verifyKey})`, signed by the generation before `number`.
pub(crate) fn endorsement_text(id: &KeyringId, number: u32, verify_key: &[u8; 32]) -> Option<Vec<u8>> {
    let value =
        json!({ "keyring": id.to_string(), "number": number, "verifyKey": encode_base64(verify_key) });
    labelled(GENERATION_LABEL, &value)
}

/// Base64 Ed25519 signature of `text`.
pub(crate) fn sign(key: &SigningKey, text: &[u8]) -> String {
    encode_base64(&scrubbed(|| key.sign(text)).to_bytes())
}

/// Strict verification (RFC 8032 with canonical points and no small-order key), so that one text has one signature.
pub(super) fn signed_by(key: &VerifyingKey, text: &[u8], signature: &str) -> bool {
    decode_base64(signature)
        .is_some_and(|bytes| key.verify_strict(text, &Signature::from_bytes(&bytes)).is_ok())
}

fn labelled(label: &str, value: &Value) -> Option<Vec<u8>> {
    Some([label, &canonical(value)?].concat().into_bytes())
}
