//! GET DATA and PUT DATA (SP 800-73-4 part 2, 3.1.2 and 3.3.2).

use zeroize::Zeroizing;

use super::{
    sw, tlv,
    wire::{Command, Wire},
};
use crate::error::TokenError;

/// The certificate of the card's own attestation key.
pub const ATTESTATION_CERTIFICATE: [u8; 3] = [0x5f, 0xff, 0x01];
/// Where ykman and age-plugin-yubikey note how the management key is kept.
pub const ADMIN_DATA: [u8; 3] = [0x5f, 0xff, 0x00];
/// "Printed information": readable with the PIN only, and so where a PIN-protected management key is kept.
pub const PRINTED: [u8; 3] = [0x5f, 0xc1, 0x09];

/// An object's content, or nothing when it does not exist.
pub fn get(wire: &Wire<'_>, object: [u8; 3]) -> Result<Option<Zeroizing<Vec<u8>>>, TokenError> {
    const OPERATION: &str = "read an object";
    let data = tlv::element(0x5c, &object);
    let answer = wire.ask(&Command { operation: OPERATION, ins: 0xcb, p1: 0x3f, p2: 0xff, data: &data })?;
    match answer.sw {
        sw::OK => {
            let content = tlv::find(&answer.data, 0x53).ok_or_else(|| wire.nonsense(OPERATION))?;
            Ok(Some(Zeroizing::new(content.to_vec())).filter(|content| !content.is_empty()))
        }
        sw::NOT_FOUND => Ok(None),
        status => Err(wire.refused(OPERATION, status)),
    }
}

/// Writes an object; needs the management key.
pub fn put(wire: &Wire<'_>, object: [u8; 3], content: &[u8]) -> Result<(), TokenError> {
    let data = tlv::join(&[&tlv::element(0x5c, &object), &tlv::element(0x53, content)]);
    let command = Command { operation: "write an object", ins: 0xdb, p1: 0x3f, p2: 0xff, data: &data };
    wire.expect(&command).map(drop)
}
