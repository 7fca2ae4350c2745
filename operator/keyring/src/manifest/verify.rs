//! From a spec that anybody may have written to a [`VerifiedManifest`]: shape, limits, chain, signature, in this order.

use std::collections::HashSet;

use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};
use touchseal_crds::duration;
use touchseal_crds::keyring::{GenerationState, Holder, HolderKind, KeyGeneration, KeyringSpec};

use super::error::{ActiveRule, ManifestError};
use super::quorum;
use super::signing::{endorsement_text, manifest_text, signed_by};
use super::{Active, MANIFEST_VERSION, VerifiedManifest};
use crate::agefile::{ARMOR_BEGIN, MAX_ARMORED_BYTES};
use crate::bytes::decode_base64;
use crate::canonical::MAX_INTEGER;
use crate::holder::{HolderKey, OPENPGP_SLOT, is_pgp_entry};
use crate::id::KeyringId;

const MAX_HOLDERS: usize = 64;
const MAX_GENERATIONS: usize = 1024;
const MAX_NAME_CHARS: usize = 63;
const MAX_TIME_BYTES: usize = 40;
/// More live ciphertext than this does not fit an object of the API server anyway.
const MAX_WRAPPED_TOTAL: usize = 1024 * 1024;

/// Checks everything that public data can tell about a manifest.
///
/// The signature stops a git writer from adding a holder (their key would be wrapped to at the next edit) or changing
/// any other word; the endorsements stop them from appending a generation whose master they know.
pub fn verify(spec: &KeyringSpec) -> Result<VerifiedManifest, ManifestError> {
    if *spec == KeyringSpec::unreadable() {
        return Err(ManifestError::Unreadable);
    }
    if spec.version != MANIFEST_VERSION {
        return Err(ManifestError::Version(spec.version));
    }
    let id = KeyringId::parse(&spec.id).map_err(|_| ManifestError::Id)?;
    if !(1..=MAX_INTEGER).contains(&spec.revision) {
        return Err(ManifestError::Revision(spec.revision));
    }
    let holder_keys = holders(&spec.holders)?;
    let verify_keys = generations(&spec.generations, spec.quorum.is_some())?;
    quorum::shares(spec)?;
    if spec.seal_after.as_deref().is_some_and(|span| duration::seconds(span).is_none_or(|span| span < 1)) {
        return Err(ManifestError::SealAfter);
    }
    let (last, verify_key) =
        spec.generations.last().zip(verify_keys.last().copied()).ok_or(ManifestError::NoGenerations)?;
    let active =
        Active { number: last.number, verify_key, wrapped: last.wrapped.clone().unwrap_or_default() };

    chain(&id, &spec.generations, &verify_keys)?;
    let text = manifest_text(spec).ok_or(ManifestError::Signature(active.number))?;
    if !signed_by(&active.verify_key, &text, &spec.signature) {
        return Err(ManifestError::Signature(active.number));
    }
    let digest = Sha256::digest(&text).into();
    Ok(VerifiedManifest { spec: spec.clone(), id, holder_keys, verify_keys, digest, active })
}

fn holders(holders: &[Holder]) -> Result<Vec<HolderKey>, ManifestError> {
    if holders.is_empty() {
        return Err(ManifestError::NoHolders);
    }
    if holders.len() > MAX_HOLDERS {
        return Err(ManifestError::TooLarge("holders"));
    }
    let (mut names, mut seen) = (HashSet::new(), HashSet::new());
    let mut keys = Vec::new();
    for (position, holder) in holders.iter().enumerate() {
        let invalid = |field| ManifestError::Holder { position, field };
        let duplicate = |field| ManifestError::DuplicateHolder { position, field };
        if !is_holder_name(&holder.name) {
            return Err(invalid("name"));
        }
        let (fits, pgp) = match holder.kind {
            HolderKind::Piv => (is_retired_slot(&holder.slot), holder.pgp.is_none()),
            HolderKind::Pgp => (holder.slot == OPENPGP_SLOT, holder.pgp.as_ref().is_some_and(is_pgp_entry)),
        };
        if !fits {
            return Err(invalid("slot"));
        }
        if !pgp {
            return Err(invalid("pgp"));
        }
        let key = HolderKey::of(holder).map_err(|_| invalid("recipient"))?;
        if !names.insert(holder.name.as_str()) {
            return Err(duplicate("name"));
        }
        // Equal PIV keys have equal tags; two keys with one tag would cost a holder a second private-key operation.
        let named = match &key {
            HolderKey::Piv(key) => key.tag().to_vec(),
            HolderKey::Pgp(key) => key.to_string().into_bytes(),
        };
        if !seen.insert(named) {
            return Err(duplicate("key"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Whether [`verify`] takes a holder's name: 1 to 63 characters that cannot pretend to be something else on a terminal
/// or in a log, no space at either end.
pub fn is_holder_name(name: &str) -> bool {
    let printable = |c: char| !c.is_control() && !is_invisible(c);
    (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && name.chars().all(printable) && name.trim() == name
}

/// Line separators, zero-width and bidirectional formatting characters.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `82` to `95`, lower case.
fn is_retired_slot(slot: &str) -> bool {
    slot.len() == 2
        && !slot.bytes().any(|b| b.is_ascii_uppercase())
        && u8::from_str_radix(slot, 16).is_ok_and(|number| (0x82..=0x95).contains(&number))
}

fn generations(generations: &[KeyGeneration], split: bool) -> Result<Vec<VerifyingKey>, ManifestError> {
    if generations.len() > MAX_GENERATIONS {
        return Err(ManifestError::TooLarge("key generations"));
    }
    let wrapped = generations.iter().filter_map(|g| g.wrapped.as_deref());
    let shares = generations.iter().flat_map(|g| &g.shares).map(|share| share.wrapped.as_str());
    if wrapped.chain(shares).map(str::len).sum::<usize>() > MAX_WRAPPED_TOTAL {
        return Err(ManifestError::TooLarge("wrapped master keys"));
    }
    let mut seen = HashSet::new();
    let mut keys = Vec::new();
    for (position, generation) in generations.iter().enumerate() {
        let expected = u32::try_from(position + 1).unwrap_or(u32::MAX);
        if generation.number != expected {
            return Err(ManifestError::GenerationNumber { position, number: generation.number, expected });
        }
        let key = generation_entry(generation, position + 1 == generations.len(), split)?;
        if !seen.insert(key.to_bytes()) {
            return Err(ManifestError::DuplicateVerifyKey(generation.number));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn generation_entry(
    generation: &KeyGeneration,
    last: bool,
    split: bool,
) -> Result<VerifyingKey, ManifestError> {
    let invalid = |field| ManifestError::Generation { generation: generation.number, field };
    match (generation.state == GenerationState::Active, last) {
        (false, true) => return Err(ManifestError::ActiveState(generation.number, ActiveRule::BeActive)),
        (true, false) => return Err(ManifestError::ActiveState(generation.number, ActiveRule::NotBeActive)),
        _ => {}
    }
    if !is_time(&generation.created_at) {
        return Err(invalid("createdAt"));
    }
    let wrapped_fits = match (&generation.wrapped, generation.state) {
        (None, state) => state == GenerationState::Retired || (last && split),
        (Some(_), GenerationState::Active) if split => false,
        (Some(_), GenerationState::Retired) => false,
        (Some(armored), _) => armored.len() <= MAX_ARMORED_BYTES && armored.starts_with(ARMOR_BEGIN),
    };
    if !wrapped_fits {
        return Err(invalid("wrapped"));
    }
    decode_base64(&generation.verify_key)
        .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
        .filter(|key| !key.is_weak())
        .ok_or(invalid("verifyKey"))
}

/// RFC 3339, at most 40 characters.
pub(super) fn is_time(text: &str) -> bool {
    text.len() <= MAX_TIME_BYTES && text.parse::<jiff::Timestamp>().is_ok()
}

/// The first generation stands by itself (the fingerprint names it); each later one is signed for by the one before.
fn chain(id: &KeyringId, generations: &[KeyGeneration], keys: &[VerifyingKey]) -> Result<(), ManifestError> {
    let mut before: Option<&VerifyingKey> = None;
    for (generation, key) in generations.iter().zip(keys) {
        let endorsed = match (before, &generation.endorsement) {
            (None, None) => true,
            (Some(before), Some(endorsement)) => endorsement_text(id, generation.number, key.as_bytes())
                .is_some_and(|text| signed_by(before, &text, endorsement)),
            _ => false,
        };
        if !endorsed {
            return Err(ManifestError::Endorsement(generation.number));
        }
        before = Some(key);
    }
    Ok(())
}
