//! A quorum at one laptop: YubiKeys of several holders, plugged in together or one after the other, one operation each.

use std::time::{Duration, Instant};

use touchseal_crds::keyring::Holder;
use touchseal_keyring::{OpenKeyring, VerifiedManifest};

use super::{OpenFailure, Token, choose, open_share, pgp, present};
use crate::ceremony;
use crate::error::{Exit, Explain, Failure};
use crate::secret_input::PinSource;
use crate::terminal;

/// How long a person has to plug in the next one.
const SWAP_TIME: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Why a quorum did not come together.
#[derive(Debug, thiserror::Error)]
#[error("open keyring {keyring}: {found} of {needed} YubiKeys were there, and no other was plugged in within {} s", SWAP_TIME.as_secs())]
struct Incomplete {
    keyring: String,
    found: usize,
    needed: usize,
    others: String,
}

impl Explain for Incomplete {
    fn hint(&self) -> String {
        format!("this needs {} holders at one laptop; still to come: of {}", self.needed, self.others)
    }

    fn exit(&self) -> Exit {
        Exit::TimedOut
    }
}

/// Opens a keyring that takes `needed` holders. `first` is `--serial`. What was typed on a descriptor is taken for the PIN
/// of every one of them.
pub fn open(
    name: &str,
    manifest: &VerifiedManifest,
    needed: usize,
    first: Option<u32>,
    pin: &mut PinSource,
) -> Result<OpenKeyring, Failure> {
    pin.share();
    let mut shares = Vec::new();
    let mut used = Vec::new();
    while shares.len() < needed {
        let holder = match (used.is_empty(), first) {
            (true, Some(_)) => choose(name, &manifest.spec().holders, first)?,
            _ => next(name, manifest, needed, &used)?,
        };
        let mut token = Token::of(holder)?;
        terminal::say(&format!(
            "opening keyring {name} with YubiKey {} of {}, {} of {needed}",
            holder.serial,
            holder.name,
            used.len() + 1
        ));
        shares.push(open_share(name, manifest, &mut token, holder, pin)?);
        used.push(holder.serial);
    }
    Ok(OpenKeyring::open_with_shares(manifest, shares)
        .map_err(|error| OpenFailure::Master(name.to_owned(), error))?)
}

/// The next holder whose YubiKey is there. The first must be there at once, as without a quorum.
fn next<'m>(
    name: &str,
    manifest: &'m VerifiedManifest,
    needed: usize,
    used: &[u32],
) -> Result<&'m Holder, Failure> {
    let holders = &manifest.spec().holders;
    let deadline = Instant::now() + SWAP_TIME;
    let mut asked = false;
    let by_pgp = pgp::known(holders);
    loop {
        let mut present = match serials() {
            // GnuPG keeps others off a YubiKey that it uses.
            Err(_) if !by_pgp.is_empty() => Vec::new(),
            present => present?,
        };
        present.extend(&by_pgp);
        if let Some(holder) = fresh(holders, used).find(|holder| present.contains(&holder.serial)) {
            return Ok(holder);
        }
        if used.is_empty() {
            ceremony::choose_holder(name, holders, &present, None)?;
        }
        let others: Vec<_> = fresh(holders, used).map(|of| format!("{} ({})", of.name, of.serial)).collect();
        let others = others.join(", ");
        if Instant::now() >= deadline {
            let keyring = name.to_owned();
            return Err(Incomplete { keyring, found: used.len(), needed, others }.into());
        }
        if !asked {
            let missing = needed - used.len();
            terminal::say(&format!("{missing} more needed: now plug in the YubiKey of one of {others}"));
            asked = true;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn fresh<'h>(holders: &'h [Holder], used: &[u32]) -> impl Iterator<Item = &'h Holder> {
    holders.iter().filter(|holder| !used.contains(&holder.serial))
}

fn serials() -> Result<Vec<u32>, Failure> {
    Ok(present()?.iter().map(|card| card.serial).collect())
}
