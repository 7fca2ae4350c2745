//! A holder by a PGP key: their own GnuPG does the one operation, on the OpenPGP applet of their YubiKey. What is in the message is
//! in this process as long as it takes to open the master with it.

use touchseal_crds::keyring::{Holder, HolderKind};
use touchseal_keyring::{MasterKey, VerifiedManifest, holder};

use super::OpenFailure;
use crate::error::Failure;
use crate::gpg::Gpg;
use crate::terminal;

/// The YubiKeys, by their serial numbers, of holders by PGP whose key this person's GnuPG knows: plugged in or not, for scdaemon
/// keeps others off a card that it uses. Nothing is run for a keyring without such holders.
pub fn known(holders: &[Holder]) -> Vec<u32> {
    let mut by_pgp = holders.iter().filter(|holder| holder.kind == HolderKind::Pgp).peekable();
    if by_pgp.peek().is_none() {
        return Vec::new();
    }
    let secret = Gpg::of_environment().secret_keys().unwrap_or_default();
    let known =
        by_pgp.filter(|holder| holder.pgp.as_ref().is_some_and(|key| secret.contains(&key.fingerprint)));
    known.map(|holder| holder.serial).collect()
}

/// What is wrapped to this holder: the master, or their share. ONE operation of the PGP key.
pub fn operate(name: &str, manifest: &VerifiedManifest, as_holder: &Holder) -> Result<MasterKey, Failure> {
    let damaged = || OpenFailure::NoSlot(as_holder.name.clone());
    let key = as_holder.pgp.as_ref().ok_or_else(damaged)?;
    let wrapped = manifest.wrapped_for(as_holder).ok_or_else(damaged)?;
    let gpg = Gpg::of_environment();
    let secret = gpg.secret_keys()?;
    terminal::say(&format!(
        "gpg asks for the PIN of the OpenPGP applet if it does not have it; touch YubiKey {} if it blinks",
        as_holder.serial
    ));
    let identity = gpg.open(&key.identity, &secret)?;
    let master = holder::unwrap_as(wrapped, as_holder, &identity);
    Ok(master.map_err(|error| OpenFailure::Unwrap(name.to_owned(), error.to_string()))?)
}
