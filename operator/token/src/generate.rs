//! Making a key on the card, for a holder: generated in a retired slot, with the certificate age-plugin-yubikey looks for.

use p256::PublicKey;
use sha2::{Digest, Sha256};
use x509_cert::der::Encode;

use crate::{
    card::{Card, Session, compress},
    error::TokenError,
    pin::{LastTry, Pin},
    piv::{
        P256, certificate,
        management::{self, ManagementKey},
        objects,
        references::{self, Reference},
        tlv,
        wire::Command,
    },
    slot::{PinPolicy, Slot, SlotKey, TouchPolicy},
};

/// How a key is to be made.
#[derive(Debug)]
pub struct GenerateOptions {
    /// In which slot; the first free one if `None`.
    pub slot: Option<Slot>,
    /// Destroy what is in the slot.
    pub replace: bool,
    /// When the key wants the PIN.
    pub pin_policy: PinPolicy,
    /// When the key wants a touch.
    pub touch_policy: TouchPolicy,
    /// Its name: the certificate's common name, 1 to 64 characters.
    pub name: String,
    /// The management key, if neither the default nor kept on the card. It is not stored or changed.
    pub management_key: Option<ManagementKey>,
    /// Whether the last PIN try may be spent.
    pub consent: LastTry,
}

impl GenerateOptions {
    /// PIN once a session, a touch each time, the first free slot: age-plugin-yubikey's defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            slot: None,
            replace: false,
            pin_policy: PinPolicy::Once,
            touch_policy: TouchPolicy::Always,
            name: name.into(),
            management_key: None,
            consent: LastTry::Refuse,
        }
    }
}

impl Card {
    /// Makes a key on the card and writes its self-signed certificate. A default management key is replaced by a random
    /// one, kept on the card behind the PIN. `on_touch` is called when the card is about to wait for a touch.
    ///
    /// If signing the certificate fails (no touch, card pulled), the key stays in the slot without one.
    ///
    /// # Errors
    /// With the factory's PIN or PUK in place (firmware before 5.3 tells neither: there the given PIN is looked at), an
    /// occupied slot, an unknown management key, and everything a PIN or a touch can fail with.
    pub fn generate(
        &mut self,
        options: &GenerateOptions,
        pin: &Pin,
        on_touch: &mut dyn FnMut(),
    ) -> Result<SlotKey, TokenError> {
        let length = options.name.chars().count();
        if !(1..=64).contains(&length) || options.name.chars().any(char::is_control) {
            return Err(TokenError::BadName);
        }
        self.session(|session| {
            session.refuse_factory_values(pin)?;
            let slot = session.choose(options)?;
            references::may_try(&session.wire, Reference::Pin, options.consent)?;
            session.spoiled = true;
            references::verify(&session.wire, pin)?;
            management::unlock(&session.wire, options.management_key.as_ref())?;
            let public = session.make_key(slot, options)?;
            session.certify(slot, &public, options, pin, on_touch)?;
            session.key(slot)?.ok_or_else(|| session.wire.nonsense("read the new key back"))
        })
    }
}

impl Session<'_> {
    /// With the factory's PIN anybody who finds the card can use it; with the factory's PUK they can set a PIN of their own.
    fn refuse_factory_values(&self, pin: &Pin) -> Result<(), TokenError> {
        let serial = self.wire.serial;
        if pin.is_factory_pin() || references::is_default(&self.wire, Reference::Pin)? == Some(true) {
            return Err(TokenError::DefaultPin { serial });
        }
        if references::is_default(&self.wire, Reference::Puk)? == Some(true) {
            return Err(TokenError::DefaultPuk { serial });
        }
        Ok(())
    }

    fn choose(&self, options: &GenerateOptions) -> Result<Slot, TokenError> {
        let serial = self.wire.serial;
        if let Some(slot) = options.slot {
            let occupied = !options.replace && self.is_occupied(slot)?;
            return if occupied { Err(TokenError::SlotOccupied { serial, slot }) } else { Ok(slot) };
        }
        for slot in Slot::all() {
            if !self.is_occupied(slot)? {
                return Ok(slot);
            }
        }
        Err(TokenError::NoFreeSlot { serial })
    }

    /// GENERATE ASYMMETRIC KEY PAIR with Yubico's policies.
    fn make_key(&self, slot: Slot, options: &GenerateOptions) -> Result<PublicKey, TokenError> {
        const OPERATION: &str = "generate a key";
        let policies =
            [0x80, 1, P256, 0xaa, 1, options.pin_policy.code(), 0xab, 1, options.touch_policy.code()];
        let data = tlv::element(0xac, &policies);
        let command = Command { operation: OPERATION, ins: 0x47, p1: 0, p2: slot.reference(), data: &data };
        let answer = self.wire.expect(&command)?;
        tlv::find(&answer, 0x7f49)
            .and_then(|template| tlv::find(template, 0x86))
            .and_then(|point| PublicKey::from_sec1_bytes(&compress(point)?).ok())
            .ok_or_else(|| self.wire.nonsense(OPERATION))
    }

    fn certify(
        &self,
        slot: Slot,
        public: &PublicKey,
        options: &GenerateOptions,
        pin: &Pin,
        on_touch: &mut dyn FnMut(),
    ) -> Result<(), TokenError> {
        const OPERATION: &str = "sign the key's certificate";
        let nonsense = |_| self.wire.nonsense(OPERATION);
        let to_sign = certificate::to_sign(public, &options.name, options.pin_policy, options.touch_policy)
            .map_err(nonsense)?;
        let digest = Sha256::digest(to_sign.to_der().map_err(nonsense)?);
        if options.pin_policy == PinPolicy::Always {
            // This policy wants the PIN immediately before; it was right a moment ago.
            references::verify(&self.wire, pin)?;
        }
        let request = tlv::join(&[&[0x82, 0], &tlv::element(0x81, &digest)]);
        let signature = self.use_key(OPERATION, slot, &request, Some(options.touch_policy), on_touch)?;
        let object = certificate::object(to_sign, &signature).map_err(nonsense)?;
        objects::put(&self.wire, slot.object(), &object)
    }
}
