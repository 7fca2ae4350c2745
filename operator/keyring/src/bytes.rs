//! Encodings used by every part of the crate: length prefixes and fixed-length base64.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// `LP(part)`: 4-byte big-endian length, then the bytes.
pub(crate) fn push_prefixed(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&prefix(part));
    out.extend_from_slice(part);
}

/// The 4-byte big-endian length of `part`. No input of this crate comes near 4 GiB; a longer one saturates.
pub(crate) fn prefix(part: &[u8]) -> [u8; 4] {
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Standard, padded, canonical base64 of exactly `N` bytes.
pub(crate) fn decode_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}
