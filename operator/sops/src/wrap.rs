//! Wrapping a data key, or the shares of one, for recipients.

use std::io::Write;

use age::armor::{ArmoredWriter, Format};
use rand_core::CryptoRngCore;
use touchseal_shamir as shamir;
use zeroize::Zeroizing;

use crate::data_key::DataKey;
use crate::limits::MAX_WRAPPED_KEY;
use crate::metadata::{Keys, Wrapped};
use crate::recipient::{Recipient, Recipients, Wrap};
use crate::write_error::EncryptError;

/// Wraps `key` for all groups.
pub(crate) fn wrap(
    key: &DataKey,
    recipients: &Recipients,
    random: &mut dyn CryptoRngCore,
) -> Result<Vec<Keys>, EncryptError> {
    let shares = match recipients.threshold() {
        None => vec![Zeroizing::new(key.expose().to_vec())],
        Some(needed) => shamir::split(key.expose(), recipients.groups().len(), needed, random)
            .ok_or(EncryptError::Randomness)?,
    };
    let groups = recipients.groups().iter().zip(&shares);
    groups
        .map(|(group, share)| {
            let keys = group.iter().map(|recipient| wrap_for(recipient, share, random));
            Ok(Keys::default().with_age(keys.collect::<Result<_, _>>()?))
        })
        .collect()
}

/// Wraps a key or share for one recipient.
pub(crate) fn wrap_for(
    recipient: &Recipient,
    share: &[u8],
    random: &mut dyn CryptoRngCore,
) -> Result<Wrapped, EncryptError> {
    let wrapped = match &recipient.wrap {
        Wrap::X25519(key) => key.seal(share, random),
        Wrap::Other(key) => by_age(&**key, share),
    };
    let failed = || EncryptError::Recipient { recipient: crate::error::shown(recipient.text()) };
    let wrapped = wrapped.filter(|wrapped| wrapped.len() <= MAX_WRAPPED_KEY).ok_or_else(failed)?;
    Ok(Wrapped { recipient: recipient.text().to_owned(), wrapped })
}

fn by_age(recipient: &dyn age::Recipient, share: &[u8]) -> Option<String> {
    let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).ok()?;
    let mut writer =
        age::Encryptor::with_recipients([recipient].into_iter()).ok()?.wrap_output(armored).ok()?;
    writer.write_all(share).ok()?;
    let mut armored = String::from_utf8(writer.finish().ok()?.finish().ok()?).ok()?;
    if !armored.ends_with('\n') {
        armored.push('\n');
    }
    Some(armored)
}
