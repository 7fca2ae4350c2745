//! Holders in a Keyring's spec: a key on a YubiKey, of one kind or another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A YubiKey that can open the keyring.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Holder {
    /// Whose key it is, for people.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Kind of key.
    pub kind: HolderKind,
    /// Serial number of the YubiKey.
    pub serial: u32,
    /// PIV slot, two hexadecimal digits: 82..95; `OpenPGP` for a key of kind Pgp.
    #[schemars(regex(pattern = "^(8[2-9a-f]|9[0-5]|OpenPGP)$"))]
    pub slot: String,
    /// `age1yubikey1...`: the P-256 public key of the slot; for kind Pgp `age1...`, an identity that the PGP key opens.
    #[schemars(length(max = 128))]
    pub recipient: String,
    /// For kind Pgp: the PGP key, and the holder's age identity encrypted to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgp: Option<PgpKey>,
    /// PIN policy of the slot, as enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_policy: Option<PinPolicy>,
    /// Touch policy of the slot, as enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touch_policy: Option<TouchPolicy>,
}

/// Kind of key a holder has.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HolderKind {
    /// P-256 key in a retired PIV slot.
    Piv,
    /// Decryption key of the YubiKey's OpenPGP applet.
    Pgp,
}

/// A PGP key that a holder has on their YubiKey.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PgpKey {
    /// Fingerprint of the primary key, upper-case hexadecimal.
    #[schemars(regex(pattern = "^([0-9A-F]{40}|[0-9A-F]{64})$"))]
    pub fingerprint: String,
    /// The public key, armored.
    #[schemars(length(max = 16384))]
    pub public_key: String,
    /// An age identity (`AGE-SECRET-KEY-1...`) as an armored PGP message to this key; new with each key generation.
    #[schemars(length(max = 8192))]
    pub identity: String,
}

/// When the card wants the PIN (SP 800-73 extension of the YubiKey).
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PinPolicy {
    /// Never.
    Never,
    /// Once a card session.
    Once,
    /// Before every operation.
    Always,
}

/// When the card wants to be touched.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TouchPolicy {
    /// Never.
    Never,
    /// Before every operation.
    Always,
    /// Unless touched within the last 15 seconds.
    Cached,
}
