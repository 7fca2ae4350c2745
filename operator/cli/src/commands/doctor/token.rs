//! Reader, card, PIN and keys.

use touchseal_token::{Card, CardInfo, Slot, TokenError, Which};

use super::check::Check;
use crate::error::Failure;

const SERVICE: &str = "pcscd";
const CARD: &str = "yubikey";

/// All findings about cards.
pub fn checks() -> Vec<Check> {
    match touchseal_token::cards() {
        Err(error @ TokenError::NoService) => vec![Check::failed(SERVICE, &error.into())],
        Err(error) => vec![service_answers(), Check::failed(CARD, &error.into())],
        Ok(cards) if cards.is_empty() => {
            vec![service_answers(), Check::failed(CARD, &TokenError::NoCard.into())]
        }
        Ok(cards) => std::iter::once(service_answers()).chain(cards.iter().flat_map(one)).collect(),
    }
}

fn service_answers() -> Check {
    Check::ok(SERVICE, "the smart card service answers")
}

fn one(info: &CardInfo) -> Vec<Check> {
    let mut checks = vec![Check::ok(
        CARD,
        format!("YubiKey {}, firmware {}, in reader {}", info.serial, info.firmware, info.reader),
    )];
    checks.push(tries(info.serial, info.pin_tries_left));
    match details(info.serial) {
        Ok(more) => checks.extend(more),
        Err(failure) => checks.push(Check::failed(CARD, &failure)),
    }
    checks
}

fn tries(serial: u32, left: Option<u8>) -> Check {
    match left {
        None => Check::warn(
            "pin",
            format!("YubiKey {serial} does not tell how many PIN tries are left"),
            "use it with care",
        ),
        Some(0) => Check::failed("pin", &TokenError::PinBlocked { serial }.into()),
        Some(1) => Check::warn(
            "pin",
            format!("YubiKey {serial} has ONE PIN try left"),
            "set a new PIN with the PUK if in doubt: ykman piv access unblock-pin",
        ),
        Some(left) => Check::ok("pin", format!("YubiKey {serial} has {left} PIN tries left")),
    }
}

fn details(serial: u32) -> Result<Vec<Check>, Failure> {
    let mut card = Card::open(Which::Serial(serial))?;
    let mut checks = Vec::new();
    for (what, is_default, error) in [
        ("PIN", card.pin_is_default()?, TokenError::DefaultPin { serial }),
        ("PUK", card.puk_is_default()?, TokenError::DefaultPuk { serial }),
    ] {
        checks.push(match is_default {
            Some(true) => Check::warn("pin", error.to_string(), error.help()),
            Some(false) => Check::ok("pin", format!("the {what} of YubiKey {serial} is not the factory's")),
            None => Check::ok(
                "pin",
                format!("YubiKey {serial} does not tell whether its {what} is the factory's"),
            ),
        });
    }
    let keys = card.keys()?;
    for key in &keys {
        let name = key.name.clone().unwrap_or_else(|| "no name".to_owned());
        checks.push(Check::ok("slot", format!("YubiKey {serial} slot {}: P-256 key, {name}", key.slot)));
    }
    if keys.is_empty() {
        let all = Slot::all().count();
        checks
            .push(Check::ok("slot", format!("YubiKey {serial} has no P-256 key in its {all} retired slots")));
    }
    Ok(checks)
}
