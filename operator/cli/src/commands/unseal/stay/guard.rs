//! What must hold before a PIN is presented with nobody there: no try is spent already, and no touch is wanted.

use touchseal_crds::keyring::{HolderKind, TouchPolicy as TouchWord};
use touchseal_keyring::VerifiedManifest;
use touchseal_token::{Card, TokenError};

use crate::card;
use crate::error::{Exit, Explain, Failure};

/// Tries a PIN has where the card does not tell: from the factory.
const USUAL_TRIES: u8 = 3;

/// Why this YubiKey is not used without a person.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum NeedsAPerson {
    #[error("YubiKey {serial} has {left} of {of} PIN tries left, and none is spent with nobody there")]
    Tries { serial: u32, left: u8, of: u8 },
    #[error("YubiKey {serial} does not tell how many PIN tries are left")]
    Unknown { serial: u32 },
    #[error(
        "YubiKey {serial} opens keyring {keyring} by its OpenPGP applet, whose PIN GnuPG asks a person for"
    )]
    Pgp { serial: u32, keyring: String },
    #[error("the key in slot {slot} of YubiKey {serial}, for keyring {keyring}, wants a touch ({policy:?})")]
    Touch { serial: u32, slot: String, keyring: String, policy: TouchWord },
}

impl Explain for NeedsAPerson {
    fn hint(&self) -> String {
        match self {
            Self::Tries { left: 0, .. } => {
                "set a new PIN with the PUK (ykman piv access unblock-pin) and put it into the file".to_owned()
            }
            Self::Tries { left: 1, .. } => {
                "correct the PIN in the file, then use the PIN once by hand, which brings the tries back: touchseal \
                 unseal --allow-last-pin-try"
                    .to_owned()
            }
            Self::Tries { left, .. } => format!(
                "correct the PIN in the file; then use the PIN once by hand (touchseal unseal), which brings the tries \
                 back, or allow one more with --min-pin-tries {left}"
            ),
            Self::Unknown { .. } => "use another YubiKey".to_owned(),
            Self::Pgp { .. } => "enrol a key in a PIV slot of it: touchseal keyring enrol -f FILE --holder NAME".to_owned(),
            Self::Touch { .. } => {
                "enrol a key that wants none: touchseal keyring enrol -f FILE --holder NAME --touch-policy never".to_owned()
            }
        }
    }

    fn exit(&self) -> Exit {
        Exit::Refused
    }
}

/// Stops a wrong PIN from blocking the card by restarts: a try that was spent is not followed by another one unless a
/// person says so. The inner error is one of the card, and may pass.
pub fn tries(card: &mut Card, least: Option<u8>) -> Result<Result<(), TokenError>, Failure> {
    match card.pin_tries_left().and_then(|left| Ok((left, card.pin_tries_of()?))) {
        Ok((left, of)) => Ok(Ok(enough(card.serial(), left, of.unwrap_or(USUAL_TRIES), least)?)),
        Err(error) => Ok(Err(error)),
    }
}

fn enough(serial: u32, left: Option<u8>, of: u8, least: Option<u8>) -> Result<(), NeedsAPerson> {
    match left {
        None => Err(NeedsAPerson::Unknown { serial }),
        Some(left) if left < least.unwrap_or(of) => Err(NeedsAPerson::Tries { serial, left, of }),
        Some(_) => Ok(()),
    }
}

/// Refuses a key that waits for a hand. What the card says counts; where it says nothing, what was enrolled.
pub fn touch(card: &mut Card, keyring: &str, manifest: &VerifiedManifest) -> Result<(), Failure> {
    let serial = card.serial();
    // Not a holder, or none of its keys there: the ceremony tells that better.
    let Some(holder) = manifest.spec().holders.iter().find(|holder| holder.serial == serial) else {
        return Ok(());
    };
    if holder.kind == HolderKind::Pgp {
        return Err(NeedsAPerson::Pgp { serial, keyring: keyring.to_owned() }.into());
    }
    let Some(slot) = card::slot(&holder.slot) else { return Ok(()) };
    let told: Result<_, TokenError> = card.key(slot);
    let told = told.ok().flatten().and_then(|key| key.touch_policy).map(card::touch_word);
    match told.or(holder.touch_policy) {
        Some(policy @ (TouchWord::Always | TouchWord::Cached)) => {
            let (slot, keyring) = (holder.slot.clone(), keyring.to_owned());
            Err(NeedsAPerson::Touch { serial, slot, keyring, policy }.into())
        }
        Some(TouchWord::Never) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_try_is_not_followed_by_another_unless_a_person_says_so() {
        assert_eq!(enough(1, Some(3), 3, None), Ok(()));
        assert_eq!(enough(1, Some(8), 8, None), Ok(()));
        for (left, of) in [(2, 3), (1, 3), (0, 3), (7, 8)] {
            let refused = enough(1, Some(left), of, None).unwrap_err();
            assert_eq!(refused, NeedsAPerson::Tries { serial: 1, left, of });
            assert_eq!(Failure::from(refused).exit(), Exit::Refused);
        }
        assert_eq!(enough(1, Some(2), 3, Some(2)), Ok(()));
        assert!(enough(1, Some(1), 3, Some(2)).is_err());
        assert!(enough(1, None, 3, Some(2)).is_err());
    }
}
