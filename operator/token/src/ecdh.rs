//! The one private-key operation of a ceremony: ECDH with the key in a slot.

use std::fmt;

use p256::elliptic_curve::sec1::ToEncodedPoint;
use zeroize::Zeroizing;

use crate::{
    card::{Card, Session},
    error::TokenError,
    pin::{LastTry, Pin},
    piv::{P256, references, sw, tlv, wire::Command},
    slot::{PinPolicy, Slot, TouchPolicy},
};

/// The x coordinate of the shared point: 32 bytes, zeroized.
pub struct SharedSecret(Box<Zeroizing<[u8; 32]>>);

impl SharedSecret {
    /// The bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret([redacted])")
    }
}

impl Card {
    /// ECDH between the key in `slot` and `peer` (SEC 1, 33 or 65 bytes): exactly one private-key operation.
    ///
    /// The PIN is presented at most once, and only if the key's policy wants it; with one try left only with `consent`.
    /// `on_touch` is called when the card is about to wait for a touch.
    ///
    /// # Errors
    /// See [`TokenError`]; wrong PIN, last try, blocked PIN, no touch in time, card removed, session lost, empty slot and a
    /// bad peer are told apart.
    pub fn ecdh(
        &mut self,
        slot: Slot,
        peer: &[u8],
        pin: Option<&Pin>,
        consent: LastTry,
        on_touch: &mut dyn FnMut(),
    ) -> Result<SharedSecret, TokenError> {
        // Refused here, so that no PIN is asked for and no touch wasted on it.
        let peer = p256::PublicKey::from_sec1_bytes(peer).map_err(|_| TokenError::BadPeer)?;
        let peer = peer.to_encoded_point(false);
        self.session(|session| {
            let serial = session.wire.serial;
            let key = session.key(slot)?.ok_or(TokenError::SlotEmpty { serial, slot })?;
            if key.pin_policy != Some(PinPolicy::Never) {
                let pin = pin.ok_or(TokenError::PinRequired { serial, slot })?;
                references::may_try(&session.wire, references::Reference::Pin, consent)?;
                session.spoiled = true;
                references::verify(&session.wire, pin)?;
            }
            let request = tlv::join(&[&[0x82, 0], &tlv::element(0x85, peer.as_bytes())]);
            let secret = session.use_key("agree on a secret", slot, &request, key.touch_policy, on_touch)?;
            let mut shared = SharedSecret(Box::new(Zeroizing::new([0; 32])));
            if secret.len() != shared.0.len() {
                return Err(session.wire.nonsense("agree on a secret"));
            }
            shared.0.copy_from_slice(&secret);
            Ok(shared)
        })
    }
}

impl Session<'_> {
    /// GENERAL AUTHENTICATE with the private key in a slot; the PIN has been verified if it must be.
    pub fn use_key(
        &self,
        operation: &'static str,
        slot: Slot,
        request: &[u8],
        touch: Option<TouchPolicy>,
        on_touch: &mut dyn FnMut(),
    ) -> Result<Zeroizing<Vec<u8>>, TokenError> {
        let wants_touch = touch != Some(TouchPolicy::Never);
        if wants_touch {
            on_touch();
        }
        let data = tlv::element(0x7c, request);
        let answer =
            self.wire.ask(&Command { operation, ins: 0x87, p1: P256, p2: slot.reference(), data: &data })?;
        match answer.sw {
            sw::OK => {}
            // The PIN is in order, so it is the touch that is missing.
            sw::SECURITY_STATUS | sw::CONDITIONS if wants_touch => {
                return Err(TokenError::TouchTimedOut { serial: self.wire.serial });
            }
            // The PIN was verified in this transaction and no touch is wanted: somebody else changed the card's state.
            sw::SECURITY_STATUS => return Err(TokenError::SessionLost { serial: self.wire.serial }),
            status => return Err(self.wire.refused(operation, status)),
        }
        let result = tlv::find(&answer.data, 0x7c).and_then(|template| tlv::find(template, 0x82));
        result.map(|result| Zeroizing::new(result.to_vec())).ok_or_else(|| self.wire.nonsense(operation))
    }
}
