//! Keys in slots: GENERATE, IMPORT, and GENERAL AUTHENTICATE with a private key, under the slot's PIN and touch policies.

use p256::{
    PublicKey, SecretKey,
    ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner},
    elliptic_curve::{rand_core::OsRng, sec1::ToEncodedPoint},
};

use super::{
    Answer, Card,
    apdu::{Command, OK, REFERENCE_NOT_FOUND, SECURITY_STATUS, WRONG_DATA, WRONG_P1P2},
    management, tlv,
};

pub const ALGORITHM_P256: u8 = 0x11;
pub const PIN_NEVER: u8 = 1;
pub const PIN_ONCE: u8 = 2;
pub const PIN_ALWAYS: u8 = 3;
pub const TOUCH_NEVER: u8 = 1;
pub const TOUCH_ALWAYS: u8 = 2;
pub const TOUCH_CACHED: u8 = 3;

/// A P-256 key in a slot.
pub struct SlotKey {
    pub secret: SecretKey,
    pub pin_policy: u8,
    pub touch_policy: u8,
    pub generated: bool,
}

impl SlotKey {
    /// The public point, uncompressed (65 bytes).
    pub fn point(&self) -> Vec<u8> {
        self.secret.public_key().to_encoded_point(false).as_bytes().to_vec()
    }
}

impl Card {
    pub(crate) fn put(&mut self, slot: u8, scalar: &[u8; 32]) -> bool {
        let Ok(secret) = SecretKey::from_slice(scalar) else { return false };
        let key = SlotKey { secret, pin_policy: PIN_ONCE, touch_policy: TOUCH_ALWAYS, generated: true };
        self.slots.insert(slot, key);
        true
    }

    pub(super) fn generate(&mut self, command: &Command) -> Answer {
        if !self.session.management_authenticated {
            return SECURITY_STATUS.into();
        }
        let Some(template) = tlv::find(&command.data, 0xac) else { return WRONG_DATA.into() };
        if tlv::find(template, 0x80) != Some(&[ALGORITHM_P256]) {
            return WRONG_DATA.into();
        }
        match self.store(command.p2, SecretKey::random(&mut OsRng), template, true) {
            Ok(point) => Answer::data(tlv::element(0x7f49, &tlv::element(0x86, &point))),
            Err(answer) => answer,
        }
    }

    pub(super) fn import(&mut self, command: &Command) -> Answer {
        if !self.session.management_authenticated {
            return SECURITY_STATUS.into();
        }
        let secret = tlv::find(&command.data, 0x06).and_then(|scalar| SecretKey::from_slice(scalar).ok());
        match secret.filter(|_| command.p1 == ALGORITHM_P256) {
            Some(secret) => {
                self.store(command.p2, secret, &command.data, false).err().unwrap_or_else(|| OK.into())
            }
            None => WRONG_DATA.into(),
        }
    }

    fn store(
        &mut self,
        slot: u8,
        secret: SecretKey,
        template: &[u8],
        generated: bool,
    ) -> Result<Vec<u8>, Answer> {
        let default_pin = match slot {
            0x9c => PIN_ALWAYS,
            0x9e => PIN_NEVER,
            0x9a | 0x9d | 0x82..=0x95 => PIN_ONCE,
            _ => return Err(WRONG_P1P2.into()),
        };
        let policy = |tag, default| match tlv::find(template, tag) {
            None | Some([0]) => Ok(default),
            Some(&[policy @ 1..=3]) => Ok(policy),
            Some(_) => Err(Answer::from(WRONG_DATA)),
        };
        let key = SlotKey {
            secret,
            pin_policy: policy(0xaa, default_pin)?,
            touch_policy: policy(0xab, TOUCH_NEVER)?,
            generated,
        };
        let point = key.point();
        self.slots.insert(slot, key);
        Ok(point)
    }

    /// The touch policy that applies to a command that is otherwise ready to be performed.
    pub(super) fn touch_policy_of(&self, command: &Command) -> Option<u8> {
        if command.p2 == management::SLOT {
            return self.management.touch.then_some(TOUCH_ALWAYS);
        }
        let key = self.slots.get(&command.p2)?;
        let fresh = self.session.pin_fresh;
        (self.pin_satisfied(key, fresh) && Request::read(command).is_some()).then_some(key.touch_policy)
    }

    fn pin_satisfied(&self, key: &SlotKey, fresh: bool) -> bool {
        match key.pin_policy {
            PIN_NEVER => true,
            PIN_ALWAYS => fresh,
            _ => self.session.pin_verified,
        }
    }

    pub(super) fn use_private_key(&mut self, command: &Command, fresh: bool) -> Answer {
        let Some(key) = self.slots.get(&command.p2) else { return REFERENCE_NOT_FOUND.into() };
        if !self.pin_satisfied(key, fresh) {
            return SECURITY_STATUS.into();
        }
        let result = match Request::read(command) {
            Some(Request::Agree(peer)) => {
                self.counters.key_agreements += 1;
                p256::ecdh::diffie_hellman(key.secret.to_nonzero_scalar(), peer.as_affine())
                    .raw_secret_bytes()
                    .to_vec()
            }
            Some(Request::Sign(digest)) => {
                let signed: Result<Signature, _> = SigningKey::from(&key.secret).sign_prehash(digest);
                let Ok(signature) = signed else { return WRONG_DATA.into() };
                self.counters.signatures += 1;
                signature.to_der().as_bytes().to_vec()
            }
            None => return WRONG_DATA.into(),
        };
        self.counters.private_key_operations += 1;
        Answer::data(tlv::element(0x7c, &tlv::element(0x82, &result)))
    }
}

enum Request<'a> {
    Agree(PublicKey),
    Sign(&'a [u8]),
}

impl<'a> Request<'a> {
    fn read(command: &'a Command) -> Option<Self> {
        let template =
            tlv::find(&command.data, 0x7c).filter(|template| tlv::find(template, 0x82) == Some(&[]))?;
        if command.p1 != ALGORITHM_P256 {
            return None;
        }
        match (tlv::find(template, 0x85), tlv::find(template, 0x81)) {
            (Some(point), None) if point.len() == 65 => {
                PublicKey::from_sec1_bytes(point).ok().map(Self::Agree)
            }
            (None, Some(digest)) if digest.len() == 32 => Some(Self::Sign(digest)),
            _ => None,
        }
    }
}
