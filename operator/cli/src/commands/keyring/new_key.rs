//! A key for a new holder: generated on the card in a free retired slot, or one that is there already. A card fresh from
//! the factory gets a PIN and a PUK of its own first.

use touchseal_crds::keyring::{Holder, HolderKind};
use touchseal_keyring::PivPublicKey;
use touchseal_keyring::manifest::is_holder_name;
use touchseal_token::{
    Card, GenerateOptions, LastTry, ManagementKey, Pin, PinPolicy, Slot, SlotKey, TokenError, TouchPolicy,
};
use zeroize::Zeroizing;

use crate::card;
use crate::error::{Explain, Failure};
use crate::secret_input::{self, PinSource};
use crate::terminal;

const FACTORY_PIN: &[u8] = b"123456";
const FACTORY_PUK: &[u8] = b"12345678";

/// What key is wanted.
#[derive(clap::Args, Clone, Debug)]
pub struct NewKeyArgs {
    /// Whose YubiKey it is, for people
    #[arg(long, value_name = "NAME")]
    pub holder: String,
    /// Serial number of the YubiKey to enrol; needed where several that are no holders' yet are plugged in
    #[arg(long, value_name = "NUMBER")]
    pub serial: Option<u32>,
    /// PIV slot, 82 to 95; default: the first free one
    #[arg(long, value_name = "HEX", value_parser = parse_slot)]
    pub slot: Option<Slot>,
    /// Use the P-256 key that is in --slot already
    #[arg(long, requires = "slot", conflicts_with_all = ["pin_policy", "touch_policy"])]
    pub use_existing: bool,
    /// When the card wants the PIN
    #[arg(long, value_enum, default_value_t = PinChoice::Once)]
    pub pin_policy: PinChoice,
    /// When the card wants a touch
    #[arg(long, value_enum, default_value_t = TouchChoice::Always)]
    pub touch_policy: TouchChoice,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum PinChoice {
    /// Once a card session
    Once,
    /// Before every operation
    Always,
    /// Never
    Never,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum TouchChoice {
    /// Before every operation
    Always,
    /// Unless touched within the last 15 seconds
    Cached,
    /// Never: whatever runs on the computer can use the key
    Never,
}

/// What a person typed wrongly.
#[derive(Debug, thiserror::Error)]
pub enum NewKeyError {
    /// The name does not fit the manifest.
    #[error("the holder's name must have 1 to 63 visible characters and no space at either end")]
    HolderName,
    /// The management key is not hexadecimal.
    #[error("the management key is not hexadecimal")]
    ManagementKey,
    /// The card gave a key that is no point.
    #[error("slot {0} of YubiKey {1} holds no valid P-256 key")]
    Key(Slot, u32),
    /// A new PIN or PUK is the one everybody knows.
    #[error("set a new {0}: that is the factory's {0}")]
    Factory(&'static str),
}

impl Explain for NewKeyError {
    fn hint(&self) -> String {
        match self {
            Self::HolderName => "choose a shorter name, such as anna-laptop".to_owned(),
            Self::ManagementKey => {
                "type it as ykman shows it: 48 (or 32, or 64) hexadecimal digits".to_owned()
            }
            Self::Factory(what) => {
                format!("that is the factory's {what}; choose another; nothing was changed")
            }
            Self::Key(..) => "choose another slot".to_owned(),
        }
    }
}

/// Refuses a name before anything is done for it: one that no manifest takes must not cost a slot on the card.
pub fn check_name(args: &NewKeyArgs) -> Result<(), NewKeyError> {
    if is_holder_name(&args.holder) { Ok(()) } else { Err(NewKeyError::HolderName) }
}

/// Makes or finds the key, and describes it as a holder. `keyring` goes into the name of the key on the card.
pub fn make_holder(
    keyring: &str,
    card: &mut Card,
    args: &NewKeyArgs,
    pin: &mut PinSource,
) -> Result<Holder, Failure> {
    let key = match args.slot.filter(|_| args.use_existing) {
        Some(slot) => existing(card, slot)?,
        None => generate(keyring, card, args, pin)?,
    };
    let serial = card.serial();
    let public = PivPublicKey::from_sec1(&key.public_key).map_err(|_| NewKeyError::Key(key.slot, serial))?;
    Ok(Holder {
        name: args.holder.clone(),
        kind: HolderKind::Piv,
        serial,
        slot: key.slot.to_string(),
        recipient: public.to_recipient(),
        pgp: None,
        pin_policy: key.pin_policy.map(card::pin_word),
        touch_policy: key.touch_policy.map(card::touch_word),
    })
}

/// The factory's PIN protects nothing, on a key that exists no less than on a new one.
fn existing(card: &mut Card, slot: Slot) -> Result<SlotKey, Failure> {
    let serial = card.serial();
    let key = card.key(slot)?.ok_or(TokenError::SlotEmpty { serial, slot })?;
    let pin_is_default = card.pin_is_default()? == Some(true);
    replace_defaults(card, pin_is_default)?;
    Ok(key)
}

fn generate(
    keyring: &str,
    card: &mut Card,
    args: &NewKeyArgs,
    source: &mut PinSource,
) -> Result<SlotKey, Failure> {
    let serial = card.serial();
    let pin_is_default = card.pin_is_default()? == Some(true);
    if pin_is_default && source.is_fd() {
        return Err(TokenError::DefaultPin { serial }.into());
    }
    let typed = if pin_is_default { None } else { Some(card::ask_pin(card, source)?) };
    let replaced = replace_defaults(card, pin_is_default)?;
    let mut changed = replaced.any;
    // One of the two was asked for.
    let mut pin = replaced.pin.or(typed).ok_or(TokenError::DefaultPin { serial })?;
    let mut options =
        GenerateOptions::new(format!("touchseal {keyring}").chars().take(64).collect::<String>());
    options.slot = args.slot;
    options.pin_policy = args.pin_policy.into();
    options.touch_policy = args.touch_policy.into();
    options.consent = card::consent(source);
    let mut touch = || terminal::say(&format!("touch YubiKey {serial} now"));
    loop {
        match card.generate(&options, &pin, &mut touch) {
            // Old firmware does not tell that its PIN is the factory's; the one just typed does.
            Err(TokenError::DefaultPin { .. }) if !source.is_fd() => {
                pin = replace_defaults(card, true)?.pin.ok_or(TokenError::DefaultPin { serial })?;
                changed = true;
            }
            Err(TokenError::ManagementKeyUnknown { .. }) if options.management_key.is_none() => {
                options.management_key = Some(
                    ask_management_key(serial)
                        .map_err(|failure| if changed { after_change(&failure) } else { failure })?,
                );
            }
            other => return Ok(other?),
        }
    }
}

/// What was changed on the card.
struct Replaced {
    pin: Option<Pin>,
    any: bool,
}

/// Changes the factory's PIN and PUK to ones the person chooses. Both are asked for before either is changed: whoever
/// breaks off at a prompt has changed nothing.
fn replace_defaults(card: &mut Card, pin_is_default: bool) -> Result<Replaced, Failure> {
    let serial = card.serial();
    let puk_is_default = card.puk_is_default()? == Some(true);
    let mut pin = None;
    let mut puk = None;
    if pin_is_default {
        terminal::say(&format!(
            "YubiKey {serial} has the factory's PIN: choose one of your own, 6 to 8 characters"
        ));
        pin = Some(chosen(secret_input::new_secret("a new PIN", "new PIN")?, FACTORY_PIN, "PIN")?);
    }
    if puk_is_default {
        terminal::say(&format!(
            "YubiKey {serial} has the factory's PUK, which sets a new PIN: choose one of your own, 6 to 8 characters, and keep it safe"
        ));
        puk = Some(chosen(secret_input::new_secret("a new PUK", "new PUK")?, FACTORY_PUK, "PUK")?);
    }
    if let Some(new) = &pin {
        card.change_pin(&factory(FACTORY_PIN)?, new, LastTry::Refuse)?;
    }
    if let Some(new) = &puk {
        card.change_puk(&factory(FACTORY_PUK)?, new, LastTry::Refuse)?;
    }
    Ok(Replaced { any: pin.is_some() || puk.is_some(), pin })
}

/// What was typed, unless everybody knows it.
fn chosen(typed: Zeroizing<Vec<u8>>, factory: &[u8], what: &'static str) -> Result<Pin, Failure> {
    if typed.as_slice() == factory {
        return Err(NewKeyError::Factory(what).into());
    }
    Ok(Pin::new(typed)?)
}

/// A failure after the card was changed does not say that nothing was.
fn after_change(failure: &Failure) -> Failure {
    let hint = "the new PIN and PUK are set, no key was made; run the command again when ready";
    Failure::new(failure.exit(), failure.what(), hint)
}

fn factory(digits: &[u8]) -> Result<Pin, Failure> {
    Ok(Pin::new(Zeroizing::new(digits.to_vec()))?)
}

fn ask_management_key(serial: u32) -> Result<ManagementKey, Failure> {
    let typed = terminal::ask_hidden(
        "the management key",
        &format!("management key of YubiKey {serial} (hexadecimal): "),
    )?;
    Ok(ManagementKey::new(unhex(&typed).ok_or(NewKeyError::ManagementKey)?))
}

fn unhex(digits: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let value = |digit: u8| (digit as char).to_digit(16).and_then(|v| u8::try_from(v).ok());
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    let pairs = digits.chunks_exact(2);
    if digits.is_empty() || !pairs.remainder().is_empty() {
        return None;
    }
    for pair in pairs {
        bytes.push(value(pair[0])? << 4 | value(pair[1])?);
    }
    Some(bytes)
}

fn parse_slot(text: &str) -> Result<Slot, String> {
    card::slot(text).ok_or_else(|| "give a retired PIV slot, two hexadecimal digits from 82 to 95".to_owned())
}

impl From<PinChoice> for PinPolicy {
    fn from(choice: PinChoice) -> Self {
        match choice {
            PinChoice::Once => Self::Once,
            PinChoice::Always => Self::Always,
            PinChoice::Never => Self::Never,
        }
    }
}

impl From<TouchChoice> for TouchPolicy {
    fn from(choice: TouchChoice) -> Self {
        match choice {
            TouchChoice::Always => Self::Always,
            TouchChoice::Cached => Self::Cached,
            TouchChoice::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_named_as_the_manifest_takes_it() {
        let named = |holder: &str| NewKeyArgs {
            holder: holder.to_owned(),
            serial: None,
            slot: None,
            use_existing: false,
            pin_policy: PinChoice::Once,
            touch_policy: TouchChoice::Always,
        };
        for good in ["anna", "Anna Ĉapek, laptop", &"a".repeat(63)] {
            check_name(&named(good)).unwrap();
        }
        let long = "a".repeat(64);
        for bad in ["", " anna", "an\u{200b}na", "\u{202e}anna", "anna\u{feff}", "an\nna", &long] {
            assert!(check_name(&named(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_factorys_pin_and_puk_are_no_choice() {
        let choose = |typed: &[u8], factory, what| chosen(Zeroizing::new(typed.to_vec()), factory, what);
        for (factory, what) in [(FACTORY_PIN, "PIN"), (FACTORY_PUK, "PUK")] {
            let failure = choose(factory, factory, what).unwrap_err();
            let said = format!("that is the factory's {what}; choose another");
            assert!(failure.hint().starts_with(&said), "{}", failure.hint());
            assert!(choose(b"654321", factory, what).is_ok());
        }
    }

    #[test]
    fn management_keys_are_typed_in_hexadecimal() {
        assert_eq!(unhex(b"00fF10").unwrap().to_vec(), [0, 255, 16]);
        for bad in [&b""[..], b"0", b"0g", b"+1"] {
            assert!(unhex(bad).is_none());
        }
    }
}
