//! The rules of a quorum: how many it may be, and that every holder has exactly one share.

use std::collections::HashSet;

use touchseal_crds::keyring::{KeyGeneration, KeyringSpec};

use super::error::ManifestError;
use crate::agefile::ARMOR_BEGIN;
use crate::bytes::decode_base64;

/// Longest share that is looked at: one stanza and 32 bytes take about 450.
const MAX_SHARE_BYTES: usize = 8192;
/// A quorum of one is no quorum.
const LEAST: u32 = 2;

/// Whether as many holders as the quorum wants can ever come together, each with a YubiKey of their own.
pub(super) fn numbers(spec: &KeyringSpec) -> Result<(), ManifestError> {
    let Some(quorum) = spec.quorum else { return Ok(()) };
    if quorum < LEAST || usize::try_from(quorum).is_ok_and(|quorum| quorum > spec.holders.len()) {
        return Err(ManifestError::Quorum("is not 2 to the number of holders"));
    }
    let mut serials = HashSet::new();
    if !spec.holders.iter().all(|holder| serials.insert(holder.serial)) {
        return Err(ManifestError::Quorum("counts YubiKeys, and two holders have the same one"));
    }
    Ok(())
}

/// Shares stand in the Active generation of a keyring with a quorum and nowhere else, one for each holder, in order.
pub(super) fn shares(spec: &KeyringSpec) -> Result<(), ManifestError> {
    numbers(spec)?;
    for (position, generation) in spec.generations.iter().enumerate() {
        let split = spec.quorum.is_some() && position + 1 == spec.generations.len();
        let right = if split { one_each(spec, generation) } else { generation.shares.is_empty() };
        if !right {
            return Err(ManifestError::Generation { generation: generation.number, field: "shares" });
        }
    }
    Ok(())
}

fn one_each(spec: &KeyringSpec, generation: &KeyGeneration) -> bool {
    let shares = &generation.shares;
    shares.len() == spec.holders.len()
        && shares.iter().zip(&spec.holders).zip(1..).all(|((share, holder), place)| {
            share.holder == holder.name
                && share.index == place
                && decode_base64::<32>(&share.commitment).is_some()
                && share.wrapped.len() <= MAX_SHARE_BYTES
                && share.wrapped.starts_with(ARMOR_BEGIN)
        })
}
