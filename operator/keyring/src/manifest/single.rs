//! Whether the loss of one YubiKey would be the loss of everything: said while it can still be changed.

use touchseal_crds::Reason;
use touchseal_crds::keyring::KeyringSpec;

/// What is wrong with a valid keyring that one lost or broken YubiKey closes for ever, in words; None where it has another
/// one to spare.
pub fn single_holder(spec: &KeyringSpec) -> Option<(Reason, String)> {
    let first = spec.holders.first()?;
    if let Some(needed) = spec.quorum {
        let all = usize::try_from(needed).is_ok_and(|needed| needed >= spec.holders.len());
        return all.then(|| {
            (Reason::EveryHolderNeeded, format!("all {needed} YubiKeys are needed to open this keyring; if one is lost or breaks, so is everything encrypted: enrol another one"))
        });
    }
    if spec.holders.iter().any(|holder| holder.serial != first.serial) {
        return None;
    }
    let which = match spec.holders.as_slice() {
        [_] => format!("only YubiKey {} opens this keyring", first.serial),
        _ => format!("all holders are on YubiKey {}", first.serial),
    };
    let message = format!("{which}; if it is lost or breaks, so is everything encrypted: enrol a second one");
    Some((Reason::OneYubiKey, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holders on YubiKeys of these serial numbers.
    fn spec(serials: &[u32], quorum: Option<u32>) -> KeyringSpec {
        let holder = |(name, serial): (usize, &u32)| serde_json::json!({ "name": format!("h{name}"), "kind": "Piv", "serial": serial, "slot": "82", "recipient": "" });
        let holders: Vec<_> = serials.iter().enumerate().map(holder).collect();
        serde_json::from_value(serde_json::json!({
            "version": 1, "id": "", "revision": 1, "holders": holders, "quorum": quorum, "generations": [], "signature": "",
        }))
        .unwrap()
    }

    #[test]
    fn one_yubikey_to_spare_is_enough_and_none_is_told() {
        let reason =
            |serials: &[u32], quorum| single_holder(&spec(serials, quorum)).map(|(reason, _)| reason);
        assert_eq!(reason(&[7], None), Some(Reason::OneYubiKey));
        assert_eq!(reason(&[7, 7], None), Some(Reason::OneYubiKey), "two slots of one YubiKey");
        assert_eq!(reason(&[7, 8], None), None);
        assert_eq!(reason(&[7, 8], Some(2)), Some(Reason::EveryHolderNeeded));
        assert_eq!(reason(&[7, 8, 9], Some(2)), None);
        assert_eq!(reason(&[7, 8, 9], Some(3)), Some(Reason::EveryHolderNeeded));
        assert_eq!(reason(&[], None), None, "not a manifest at all");
    }
}
