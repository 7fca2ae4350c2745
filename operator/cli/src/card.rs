//! The YubiKey as the commands use it: which one, its PIN, and opening a keyring with exactly one operation each.

mod pgp;
mod quorum;

use touchseal_crds::keyring::{Holder, HolderKind, PinPolicy as PinWord, TouchPolicy as TouchWord};
use touchseal_keyring::{
    MasterKey, OpenError, OpenKeyring, PivPublicKey, Share, ShareError, UnwrapError, VerifiedManifest, holder,
};
use touchseal_token::{
    Card, CardInfo, LastTry, Pin, PinFormat, PinPolicy, Slot, TokenError, TouchPolicy, Which,
};
use zeroize::Zeroizing;

use crate::error::{Exit, Explain, Failure};
use crate::secret_input::PinSource;
use crate::{ceremony, terminal};

impl Explain for TokenError {
    fn hint(&self) -> String {
        match self {
            Self::LastTry { .. } => {
                "be sure of the PIN and pass --allow-last-pin-try, or set a new PIN with the PUK: \
                 ykman piv access unblock-pin"
                    .to_owned()
            }
            Self::DefaultPin { .. } => {
                "run it in a terminal, where it asks for a new PIN, or change it with ykman piv access change-pin".to_owned()
            }
            other => other.help(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::LastTry { .. } | Self::LastPukTry { .. } => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

impl Explain for PinFormat {
    fn hint(&self) -> String {
        match self {
            Self::TooLong => {
                "PINs and PUKs have 6 to 8 characters; if you touched the YubiKey, it typed for you".into()
            }
            _ => "PINs and PUKs have 6 to 8 characters".to_owned(),
        }
    }
}

/// Why a keyring was not opened, beyond what the card says.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailure {
    /// The slot holds a key that is not the holder's.
    #[error("slot {slot} of YubiKey {serial} holds another key than the one enrolled as {holder}")]
    OtherKey { slot: String, serial: u32, holder: String },
    /// The manifest's entry is not one of its kind.
    #[error("holder {0} has no PIV slot, and no PGP key")]
    NoSlot(String),
    /// The wrapped master did not open.
    #[error("open keyring {0}: {1}")]
    Unwrap(String, String),
    /// The share is not the manifest's.
    #[error("open the share of {0}")]
    Share(String, #[source] ShareError),
    /// The master is not the manifest's.
    #[error("open keyring {0}")]
    Master(String, #[source] OpenError),
}

impl Explain for OpenFailure {
    fn hint(&self) -> String {
        match self {
            Self::OtherKey { .. } => {
                "the slot was overwritten: use another holder's YubiKey, then enrol this one again".into()
            }
            Self::NoSlot(_) | Self::Unwrap(..) | Self::Share(..) | Self::Master(..) => {
                "the manifest is damaged: use its last version from git that opens".to_owned()
            }
        }
    }
}

/// The YubiKeys plugged in; none is an empty list.
pub fn present() -> Result<Vec<CardInfo>, TokenError> {
    match touchseal_token::cards() {
        Err(TokenError::NoReader | TokenError::NoCard) => Ok(Vec::new()),
        other => other,
    }
}

/// A holder's YubiKey, ready for its one operation.
pub enum Token {
    /// Its PIV applet.
    Card(Card),
    /// Its OpenPGP applet, by the person's GnuPG.
    Gpg,
}

impl Token {
    /// That of this holder.
    pub fn of(holder: &Holder) -> Result<Self, TokenError> {
        match holder.kind {
            HolderKind::Piv => Card::open(Which::Serial(holder.serial)).map(Self::Card),
            HolderKind::Pgp => Ok(Self::Gpg),
        }
    }
}

/// Chooses and opens the YubiKey of a holder of the keyring.
pub fn open_holder<'a>(
    name: &str,
    manifest: &'a VerifiedManifest,
    wanted: Option<u32>,
) -> Result<(Token, &'a Holder), Failure> {
    let holder = choose(name, &manifest.spec().holders, wanted)?;
    Ok((Token::of(holder)?, holder))
}

/// Of the YubiKeys that are plugged in, else of those whose PGP key GnuPG knows: which is plugged in is for GnuPG to find out.
pub fn choose<'a>(name: &str, holders: &'a [Holder], wanted: Option<u32>) -> Result<&'a Holder, Failure> {
    let there = present().map_err(Failure::from).and_then(|cards| {
        let serials: Vec<u32> = cards.iter().map(|card| card.serial).collect();
        Ok(ceremony::choose_holder(name, holders, &serials, wanted)?)
    });
    there.or_else(|failure| match pgp::known(holders).as_slice() {
        [] => Err(failure),
        known => ceremony::choose_holder(name, holders, known, wanted).map_err(|_| failure),
    })
}

/// Opens the keyring at this laptop: by one holder, or by as many as it takes, one YubiKey after the other.
pub fn unlock(
    name: &str,
    manifest: &VerifiedManifest,
    wanted: Option<u32>,
    pin: &mut PinSource,
) -> Result<OpenKeyring, Failure> {
    if let Some(needed) = manifest.quorum() {
        return quorum::open(name, manifest, needed, wanted, pin);
    }
    let (mut token, holder) = open_holder(name, manifest, wanted)?;
    terminal::say(&format!("opening keyring {name} with YubiKey {} of {}", holder.serial, holder.name));
    open_keyring(name, manifest, &mut token, holder, pin)
}

/// Opens the share of `holder`, of a keyring with a quorum, with ONE private-key operation.
pub fn open_share(
    name: &str,
    manifest: &VerifiedManifest,
    token: &mut Token,
    as_holder: &Holder,
    pin: &mut PinSource,
) -> Result<Share, Failure> {
    let bytes = operate(name, manifest, token, as_holder, pin)?;
    let share = Share::recognise(manifest, as_holder.serial, bytes);
    Ok(share.map_err(|error| OpenFailure::Share(as_holder.name.clone(), error))?)
}

/// Opens the keyring as `holder`: asks for the PIN if the key wants it, then ONE private-key operation.
pub fn open_keyring(
    name: &str,
    manifest: &VerifiedManifest,
    token: &mut Token,
    as_holder: &Holder,
    pin: &mut PinSource,
) -> Result<OpenKeyring, Failure> {
    let master = operate(name, manifest, token, as_holder, pin)?;
    Ok(OpenKeyring::open(manifest, master).map_err(|error| OpenFailure::Master(name.to_owned(), error))?)
}

/// What is wrapped to this holder: the master, or their share.
fn operate(
    name: &str,
    manifest: &VerifiedManifest,
    token: &mut Token,
    as_holder: &Holder,
    pin: &mut PinSource,
) -> Result<MasterKey, Failure> {
    match token {
        Token::Card(card) => by_piv(name, manifest, card, as_holder, pin),
        Token::Gpg => pgp::operate(name, manifest, as_holder),
    }
}

fn by_piv(
    name: &str,
    manifest: &VerifiedManifest,
    card: &mut Card,
    as_holder: &Holder,
    pin: &mut PinSource,
) -> Result<MasterKey, Failure> {
    let wrapped =
        manifest.wrapped_for(as_holder).ok_or_else(|| OpenFailure::NoSlot(as_holder.name.clone()))?;
    let slot = slot(&as_holder.slot).ok_or_else(|| OpenFailure::NoSlot(as_holder.name.clone()))?;
    let public = key_of(manifest, as_holder).ok_or_else(|| OpenFailure::NoSlot(as_holder.name.clone()))?;
    let serial = card.serial();
    // Looked at before the PIN is asked for: neither a try nor a touch is spent on the wrong key.
    let key = card.key(slot)?.ok_or(TokenError::SlotEmpty { serial, slot })?;
    if key.public_key != *public.compressed() {
        let (slot, holder) = (as_holder.slot.clone(), as_holder.name.clone());
        return Err(OpenFailure::OtherKey { slot, serial, holder }.into());
    }
    let consent = consent(pin);
    let pin = match key.pin_policy {
        Some(PinPolicy::Never) => None,
        _ => Some(ask_pin(card, pin)?),
    };
    let touch = &mut || terminal::say(&format!("touch YubiKey {serial} now"));
    let mut ecdh = |peer: &[u8; 33]| -> Result<_, TokenError> {
        let shared = card.ecdh(slot, peer, pin.as_ref(), consent, touch)?;
        Ok(Zeroizing::new(*shared.expose()))
    };
    holder::unwrap(wrapped, public, &mut ecdh).map_err(|error| match error {
        UnwrapError::Token(error) => error.into(),
        other => OpenFailure::Unwrap(name.to_owned(), other.to_string()).into(),
    })
}

/// The PIN of a card, refused beforehand where asking for it makes no sense.
pub fn ask_pin(card: &mut Card, source: &mut PinSource) -> Result<Pin, Failure> {
    let serial = card.serial();
    let tries = card.pin_tries_left()?;
    match tries {
        Some(0) => return Err(TokenError::PinBlocked { serial }.into()),
        Some(1) if !source.allow_last_try => return Err(TokenError::LastTry { serial }.into()),
        _ => {}
    }
    let left = match tries {
        Some(1) => ", THE LAST TRY".to_owned(),
        Some(tries) if tries < 3 => format!(", {tries} tries left"),
        _ => String::new(),
    };
    let typed = source.read(serial, &format!("PIN of YubiKey {serial}{left}: "))?;
    Ok(Pin::new(typed)?)
}

/// What the person said about the last try.
pub const fn consent(source: &PinSource) -> LastTry {
    if source.allow_last_try { LastTry::Allow } else { LastTry::Refuse }
}

/// A slot as two hexadecimal digits.
pub fn slot(text: &str) -> Option<Slot> {
    u8::from_str_radix(text, 16).ok().filter(|_| text.len() == 2).and_then(Slot::new)
}

/// The manifest's word for a PIN policy.
pub const fn pin_word(policy: PinPolicy) -> PinWord {
    match policy {
        PinPolicy::Never => PinWord::Never,
        PinPolicy::Once => PinWord::Once,
        PinPolicy::Always => PinWord::Always,
    }
}

/// The manifest's word for a touch policy.
pub const fn touch_word(policy: TouchPolicy) -> TouchWord {
    match policy {
        TouchPolicy::Never => TouchWord::Never,
        TouchPolicy::Always => TouchWord::Always,
        TouchPolicy::Cached => TouchWord::Cached,
    }
}

fn key_of<'a>(manifest: &'a VerifiedManifest, wanted: &Holder) -> Option<&'a PivPublicKey> {
    manifest.holders().find(|(holder, _)| *holder == wanted).and_then(|(_, key)| key.piv())
}

#[cfg(test)]
pub mod testing {
    //! Holders without cards.

    use super::*;
    use p256::elliptic_curve::sec1::ToEncodedPoint;

    /// A holder whose key is the scalar `serial`.
    pub fn holder(name: &str, serial: u32) -> Holder {
        let mut scalar = [0; 32];
        scalar[28..].copy_from_slice(&serial.to_be_bytes());
        let point = p256::SecretKey::from_slice(&scalar).unwrap().public_key().to_encoded_point(true);
        Holder {
            name: name.to_owned(),
            kind: HolderKind::Piv,
            serial,
            slot: "82".to_owned(),
            recipient: PivPublicKey::from_sec1(point.as_bytes()).unwrap().to_recipient(),
            pgp: None,
            pin_policy: Some(PinWord::Once),
            touch_policy: Some(TouchWord::Always),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_two_hexadecimal_digits() {
        assert_eq!(slot("82"), Slot::new(0x82));
        assert_eq!(slot("9A"), None, "the authentication slot");
        for bad in ["", "8", "082", "+2", "zz"] {
            assert_eq!(slot(bad), None, "{bad}");
        }
    }

    #[test]
    fn refusing_the_last_try_is_a_safety_refusal_and_says_how_to_consent() {
        let failure = Failure::from(TokenError::LastTry { serial: 1 });
        assert_eq!(failure.exit(), Exit::Refused);
        assert!(failure.hint().contains("--allow-last-pin-try"));
    }
}
