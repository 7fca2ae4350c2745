//! The release: the Active master, or a holder's share of it, HPKE-sealed to one session (RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256, ChaCha20Poly1305).
//!
//! Sealing happens at the holder (or, for a hand-over, in an unsealed replica); opening happens in the session. What
//! passes the API server in between is ciphertext for this one session.

use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::OsRng;
use sha2::{Digest, Sha256};
use touchseal_crds::keyring::HolderRecord;
use touchseal_crds::names::SESSION_AUDIENCE_PREFIX;
use touchseal_crds::unseal_request::{HandOverRecord, Release, ShareRelease};

use crate::bytes::{decode_base64, encode_base64, push_prefixed};
use crate::derive::{DeriveError, verify_key};
use crate::id::KeyringId;
use crate::manifest::VerifiedManifest;
use crate::master::{MASTER_KEY_BYTES, MasterKey};
use crate::open::OpenKeyring;
use crate::scrub::scrubbed;
use crate::share::{Share, ShareError};

const RELEASE_LABEL: &[u8] = b"touchseal/v1/release";
const SHARE_LABEL: &[u8] = b"touchseal/v1/release-share";
const SESSION_LABEL: &[u8] = b"touchseal/v1/session";
const NONCE_HEX: usize = 32;
const AEAD_TAG_BYTES: usize = 16;
const MAX_HOLDER_BYTES: usize = 63 * 4;

/// What a session offers in `UnsealRequest.status`: its public key and nonce. Public data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    session_key: [u8; 32],
    nonce: String,
}

/// Why a session's offer cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Not 32 bytes of base64.
    #[error("session key is not an X25519 public key in base64")]
    SessionKey,
    /// Not 16 bytes of hexadecimal.
    #[error("nonce is not 32 lower-case hexadecimal digits")]
    Nonce,
}

impl Offer {
    /// From `status.sessionKey` (base64) and `status.nonce` (hexadecimal).
    pub fn parse(session_key: &str, nonce: &str) -> Result<Self, OfferError> {
        let session_key = decode_base64(session_key).ok_or(OfferError::SessionKey)?;
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if nonce.len() != NONCE_HEX || !nonce.bytes().all(digit) {
            return Err(OfferError::Nonce);
        }
        Ok(Self { session_key, nonce: nonce.to_owned() })
    }

    pub(crate) const fn new(session_key: [u8; 32], nonce: String) -> Self {
        Self { session_key, nonce }
    }

    /// The session's X25519 public key, base64.
    pub fn session_key(&self) -> String {
        encode_base64(&self.session_key)
    }

    /// 32 lower-case hexadecimal digits.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// The audience a proof for this session must have: a token for it is worth nothing anywhere else.
    pub fn audience(&self, keyring: &KeyringId) -> String {
        let mut text = SESSION_LABEL.to_vec();
        push_prefixed(&mut text, &self.session_key);
        push_prefixed(&mut text, keyring.as_bytes());
        push_prefixed(&mut text, self.nonce.as_bytes());
        format!("{SESSION_AUDIENCE_PREFIX}{}", hex::encode(Sha256::digest(text)))
    }

    fn info(&self, label: &[u8], keyring: &KeyringId) -> Vec<u8> {
        let mut info = label.to_vec();
        push_prefixed(&mut info, keyring.as_bytes());
        push_prefixed(&mut info, self.nonce.as_bytes());
        push_prefixed(&mut info, &self.session_key);
        info
    }
}

/// Why no release was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The session key is a point that yields no secret.
    #[error("seal the release: the session key is not usable")]
    SessionKey,
}

/// Seals the Active master to one session, in the name of a holder. Check the session's proof first.
pub fn seal_release(open: &OpenKeyring, to: &Offer, holder: &str, serial: u32) -> Result<Release, SealError> {
    release_to(open, to, holder, serial, None)
}

/// The same by an unsealed replica, whose own release named this holder. Check the session's proof first.
pub(crate) fn release_to(
    open: &OpenKeyring,
    to: &Offer,
    holder: &str,
    serial: u32,
    hand_over: Option<HandOverRecord>,
) -> Result<Release, SealError> {
    let generation = open.manifest().active_generation();
    let info = to.info(RELEASE_LABEL, open.id());
    let associated = associated(generation, holder, serial, hand_over.as_ref());
    let sealed = seal(open.masters().active(), to, &info, &associated)?;
    Ok(Release {
        nonce: to.nonce.clone(),
        generation,
        holder: holder.to_owned(),
        serial,
        hand_over,
        encapsulated_key: sealed.encapsulated_key,
        ciphertext: sealed.ciphertext,
    })
}

/// Seals a holder's share to one session. Check the session's proof first.
pub fn seal_share(share: &Share, keyring: &KeyringId, to: &Offer) -> Result<ShareRelease, SealError> {
    let HolderRecord { holder, serial } = share.of();
    let info = to.info(SHARE_LABEL, keyring);
    let sealed = seal(share.bytes(), to, &info, &associated_share(share.revision(), holder, *serial))?;
    Ok(ShareRelease {
        nonce: to.nonce.clone(),
        revision: share.revision(),
        holder: holder.clone(),
        serial: *serial,
        encapsulated_key: sealed.encapsulated_key,
        ciphertext: sealed.ciphertext,
    })
}

/// What HPKE makes of 32 secret bytes, in base64.
struct SealedBytes {
    encapsulated_key: String,
    ciphertext: String,
}

fn seal(key: &MasterKey, to: &Offer, info: &[u8], associated: &[u8]) -> Result<SealedBytes, SealError> {
    scrubbed(|| {
        let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&to.session_key)
            .map_err(|_| SealError::SessionKey)?;
        let mut sealed = key.duplicate();
        let (encapsulated, tag) =
            hpke::single_shot_seal_in_place_detached::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256, _>(
                &OpModeS::Base,
                &public,
                info,
                sealed.expose_mut(),
                associated,
                &mut OsRng,
            )
            .map_err(|_| SealError::SessionKey)?;
        Ok(SealedBytes {
            encapsulated_key: encode_base64(&encapsulated.to_bytes()),
            ciphertext: encode_base64(&[sealed.expose().as_slice(), &tag.to_bytes()].concat()),
        })
    })
}

/// Why a release was refused. It leaves the process as sealed as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// It answers another request, or this one before it was renewed.
    #[error("release is for another nonce than this session's")]
    Nonce,
    /// It carries another generation's master than the manifest's Active one.
    #[error("release is of key generation {found}, the active one is {active}")]
    Generation {
        /// Generation the release names.
        found: u32,
        /// Active generation of the manifest.
        active: u32,
    },
    /// A share of another revision's sharing: it does not add up with those of the manifest in hand.
    #[error("share is of revision {found} of the manifest, the operator has revision {here}")]
    Revision {
        /// Revision the share names.
        found: i64,
        /// Revision of the manifest.
        here: i64,
    },
    /// It is not the share the manifest commits to.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// A field has the wrong form.
    #[error("release has an invalid {0}")]
    Malformed(&'static str),
    /// It was not sealed to this session for this keyring, or its holder, serial or ciphertext was changed.
    #[error("release does not open with this session's key")]
    DoesNotOpen,
    /// It opens to something that is not the manifest's Active master.
    #[error("release opens to a key that is not the master of key generation {0}")]
    WrongKey(u32),
    /// Deriving the verify key failed.
    #[error(transparent)]
    Derive(#[from] DeriveError),
}

/// Opens a release with the session's secret; accepts nothing but the manifest's Active master.
pub(crate) fn open_release(
    secret: &[u8; 32],
    offer: &Offer,
    manifest: &VerifiedManifest,
    release: &Release,
) -> Result<MasterKey, ReleaseError> {
    let active = manifest.active_generation();
    if release.nonce != offer.nonce {
        return Err(ReleaseError::Nonce);
    }
    if release.generation != active {
        return Err(ReleaseError::Generation { found: release.generation, active });
    }
    if release.holder.len() > MAX_HOLDER_BYTES {
        return Err(ReleaseError::Malformed("holder"));
    }
    let info = offer.info(RELEASE_LABEL, manifest.id());
    let associated =
        associated(release.generation, &release.holder, release.serial, release.hand_over.as_ref());
    let master = unseal(secret, &release.encapsulated_key, &release.ciphertext, &info, &associated)?;
    if verify_key(&master, manifest.id())? != *manifest.active_verify_key().as_bytes() {
        return Err(ReleaseError::WrongKey(active));
    }
    Ok(master)
}

/// Opens a holder's share with the session's secret; accepts nothing but what the manifest commits to.
pub(crate) fn open_share(
    secret: &[u8; 32],
    offer: &Offer,
    manifest: &VerifiedManifest,
    release: &ShareRelease,
) -> Result<Share, ReleaseError> {
    if release.nonce != offer.nonce {
        return Err(ReleaseError::Nonce);
    }
    if manifest.quorum().is_none() {
        return Err(ShareError::NoQuorum.into());
    }
    let here = manifest.spec().revision;
    if release.revision != here {
        return Err(ReleaseError::Revision { found: release.revision, here });
    }
    if release.holder.len() > MAX_HOLDER_BYTES {
        return Err(ReleaseError::Malformed("holder"));
    }
    let info = offer.info(SHARE_LABEL, manifest.id());
    let associated = associated_share(release.revision, &release.holder, release.serial);
    let bytes = unseal(secret, &release.encapsulated_key, &release.ciphertext, &info, &associated)?;
    Ok(Share::recognise(manifest, release.serial, bytes)?)
}

fn unseal(
    secret: &[u8; 32],
    encapsulated_key: &str,
    ciphertext: &str,
    info: &[u8],
    associated: &[u8],
) -> Result<MasterKey, ReleaseError> {
    let encapsulated: [u8; 32] =
        decode_base64(encapsulated_key).ok_or(ReleaseError::Malformed("encapsulatedKey"))?;
    let ciphertext: [u8; MASTER_KEY_BYTES + AEAD_TAG_BYTES] =
        decode_base64(ciphertext).ok_or(ReleaseError::Malformed("ciphertext"))?;
    scrubbed(|| {
        let (sealed, tag) = ciphertext.split_at(MASTER_KEY_BYTES);
        let mut key = MasterKey::zeroed();
        key.expose_mut().copy_from_slice(sealed);
        hpke::single_shot_open_in_place_detached::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &<X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(secret)?,
            &<X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&encapsulated)?,
            info,
            key.expose_mut(),
            associated,
            &AeadTag::from_bytes(tag)?,
        )?;
        Ok(key)
    })
    .map_err(|_: hpke::HpkeError| ReleaseError::DoesNotOpen)
}

/// The public X25519 key of a session secret.
pub(crate) fn session_public_key(secret: &[u8; 32]) -> [u8; 32] {
    scrubbed(|| {
        <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(secret)
            .map(|key| X25519HkdfSha256::sk_to_pk(&key).to_bytes().into())
            .unwrap_or_default()
    })
}

/// `LP(be32 generation) | LP(holder name) | LP(be32 serial)`, of a hand-over followed by `LP("hand-over") | LP(pod) |
/// LP(released at)` and, if there was one, `LP(seal request)`.
fn associated(generation: u32, holder: &str, serial: u32, hand_over: Option<&HandOverRecord>) -> Vec<u8> {
    let mut text = Vec::new();
    push_prefixed(&mut text, &generation.to_be_bytes());
    push_prefixed(&mut text, holder.as_bytes());
    push_prefixed(&mut text, &serial.to_be_bytes());
    if let Some(HandOverRecord { pod, released_at, seal_request }) = hand_over {
        push_prefixed(&mut text, b"hand-over");
        push_prefixed(&mut text, pod.as_bytes());
        push_prefixed(&mut text, released_at.as_bytes());
        seal_request.iter().for_each(|request| push_prefixed(&mut text, request.as_bytes()));
    }
    text
}

/// `LP(be64 revision) | LP(holder name) | LP(be32 serial)`.
fn associated_share(revision: i64, holder: &str, serial: u32) -> Vec<u8> {
    let mut text = Vec::new();
    push_prefixed(&mut text, &revision.to_be_bytes());
    push_prefixed(&mut text, holder.as_bytes());
    push_prefixed(&mut text, &serial.to_be_bytes());
    text
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
