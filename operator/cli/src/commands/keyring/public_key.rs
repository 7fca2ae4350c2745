//! A holder of whom only the public key is at hand: its YubiKey and its owner need not be.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use touchseal_crds::keyring::{Holder, HolderKind};
use touchseal_keyring::PivPublicKey;

use super::attestation::{self, Attested};
use super::new_key::NewKeyArgs;
use crate::error::{Exit, Explain, Failure};
use crate::{card, terminal};

/// The key, and what vouches for it.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct PublicKeyArgs {
    /// Enrol this key (age1yubikey1..., as `age-plugin-yubikey --list` shows it) of a YubiKey that need not be here; with
    /// --serial and --slot
    #[arg(long, value_name = "RECIPIENT", conflicts_with_all = ["use_existing", "pin_policy", "touch_policy"])]
    pub recipient: Option<String>,
    /// The YubiKey's attestation of its key, PEM: `ykman piv keys attest SLOT -`, then `ykman piv certificates export f9 -`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["use_existing", "pin_policy", "touch_policy"])]
    pub attestation: Option<PathBuf>,
    /// Authorities the attestation must lead to, PEM, instead of Yubico's
    #[arg(long, value_name = "FILE", requires = "attestation")]
    pub attestation_root: Option<PathBuf>,
}

/// Why no holder came of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum PublicKeyError {
    #[error("{0:?} is not the public key of a YubiKey")]
    Recipient(String),
    #[error("with --recipient alone, {0} must be given")]
    Missing(&'static str),
    #[error("the attestation is of {what} {attested}, not of {said}")]
    Other { what: &'static str, attested: String, said: String },
}

impl Explain for PublicKeyError {
    fn hint(&self) -> String {
        match self {
            Self::Recipient(_) => {
                "it begins with age1yubikey1; its owner finds it with age-plugin-yubikey --list".to_owned()
            }
            Self::Missing(_) => {
                "its owner finds it with age-plugin-yubikey --list, or makes an --attestation".to_owned()
            }
            Self::Other { .. } => "enrol nothing before its owner has told which is right".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Other { .. } => Exit::Refused,
            _ => Exit::Usage,
        }
    }
}

/// A holder by its public key, and whether its YubiKey attested it.
pub struct Given {
    pub holder: Holder,
    attested: bool,
}

impl Given {
    /// Says what vouches for it.
    pub fn tell(&self) {
        let Holder { serial, slot, recipient, .. } = &self.holder;
        terminal::say(&if self.attested {
            format!("attested: the key was generated in slot {slot} of YubiKey {serial} and cannot leave it")
        } else {
            format!(
                "warning: nothing proves that {recipient} is in a YubiKey, or whose it is: compare it with its owner, or ask for an attestation"
            )
        });
    }
}

impl PublicKeyArgs {
    /// Whether the key comes from here and not from a card.
    pub const fn given(&self) -> bool {
        self.recipient.is_some() || self.attestation.is_some()
    }

    /// The holder, verified as far as there is an attestation.
    pub fn holder(&self, key: &NewKeyArgs) -> Result<Given, Failure> {
        let attested = match &self.attestation {
            Some(path) => {
                let now = Duration::from_secs(u64::try_from(Timestamp::now().as_second()).unwrap_or(0));
                Some(attestation::verify(path, self.attestation_root.as_deref(), now)?)
            }
            None => None,
        };
        let holder = assemble(self.recipient.as_deref(), key, attested.as_ref())?;
        Ok(Given { holder, attested: attested.is_some() })
    }
}

fn assemble(
    recipient: Option<&str>,
    key: &NewKeyArgs,
    attested: Option<&Attested>,
) -> Result<Holder, PublicKeyError> {
    let said = match recipient {
        Some(text) => {
            let parsed = text.parse::<PivPublicKey>();
            Some(parsed.map_err(|_| PublicKeyError::Recipient(text.chars().take(80).collect()))?)
        }
        None => None,
    };
    let public = one("the key", said, attested.map(|it| it.key.clone()))?
        .ok_or(PublicKeyError::Missing("--recipient"))?;
    let serial = one("YubiKey", key.serial, attested.map(|it| it.serial))?
        .ok_or(PublicKeyError::Missing("--serial"))?;
    let slot = one("slot", key.slot, attested.map(|it| it.slot))?.ok_or(PublicKeyError::Missing("--slot"))?;
    Ok(Holder {
        name: key.holder.clone(),
        kind: HolderKind::Piv,
        serial,
        slot: slot.to_string(),
        recipient: public.to_recipient(),
        pgp: None,
        pin_policy: attested.and_then(|it| it.pin_policy).map(card::pin_word),
        touch_policy: attested.and_then(|it| it.touch_policy).map(card::touch_word),
    })
}

/// What is said and what is attested must not differ.
fn one<T: PartialEq + ToString>(
    what: &'static str,
    said: Option<T>,
    attested: Option<T>,
) -> Result<Option<T>, PublicKeyError> {
    match (said, attested) {
        (Some(said), Some(attested)) if said != attested => {
            Err(PublicKeyError::Other { what, attested: attested.to_string(), said: said.to_string() })
        }
        (said, attested) => Ok(attested.or(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;
    use crate::commands::keyring::new_key::{PinChoice, TouchChoice};
    use touchseal_token::{PinPolicy, Slot, TouchPolicy};

    fn key(serial: Option<u32>, slot: Option<u8>) -> NewKeyArgs {
        NewKeyArgs {
            holder: "carl".to_owned(),
            serial,
            slot: slot.and_then(Slot::new),
            use_existing: false,
            pin_policy: PinChoice::Once,
            touch_policy: TouchChoice::Always,
        }
    }

    fn attested(of: u32) -> Attested {
        Attested {
            key: holder("x", of).recipient.parse().unwrap(),
            serial: of,
            slot: Slot::new(0x82).unwrap(),
            pin_policy: Some(PinPolicy::Always),
            touch_policy: Some(TouchPolicy::Cached),
        }
    }

    #[test]
    fn a_recipient_alone_needs_serial_and_slot_and_has_no_policies() {
        let recipient = holder("x", 7).recipient;
        let made = assemble(Some(&recipient), &key(Some(7), Some(0x83)), None).unwrap();
        assert_eq!((made.name.as_str(), made.serial, made.slot.as_str()), ("carl", 7, "83"));
        assert_eq!((made.recipient, made.pin_policy, made.touch_policy), (recipient.clone(), None, None));
        let missing = |serial, slot| assemble(Some(&recipient), &key(serial, slot), None).unwrap_err();
        assert_eq!(missing(None, Some(0x82)), PublicKeyError::Missing("--serial"));
        assert_eq!(missing(Some(7), None), PublicKeyError::Missing("--slot"));
        let bad = assemble(Some("age1abc"), &key(Some(7), Some(0x82)), None).unwrap_err();
        assert_eq!(bad.exit(), Exit::Usage);
    }

    #[test]
    fn an_attestation_says_all_and_nothing_may_contradict_it() {
        let made = assemble(None, &key(None, None), Some(&attested(7))).unwrap();
        let mut expected = holder("carl", 7);
        expected.pin_policy = Some(touchseal_crds::keyring::PinPolicy::Always);
        expected.touch_policy = Some(touchseal_crds::keyring::TouchPolicy::Cached);
        assert_eq!(made, expected);
        let other = holder("x", 8).recipient;
        let cases = [(Some(other.as_str()), None, None), (None, Some(8), None), (None, None, Some(0x83))];
        for (recipient, serial, slot) in cases {
            let refused = assemble(recipient, &key(serial, slot), Some(&attested(7))).unwrap_err();
            assert_eq!(refused.exit(), Exit::Refused, "{refused}");
        }
    }
}
