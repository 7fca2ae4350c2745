//! `touchseal keyring enrol`: one more YubiKey that opens the keyring, plugged in or by its public key alone.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use touchseal_crds::keyring::Holder;
use touchseal_keyring::{VerifiedManifest, manifest};
use touchseal_token::{Card, Which};

use super::change::{Change, ChangeError};
use super::new_key::{self, NewKeyArgs};
use super::pgp_key::{self, PgpArgs};
use super::public_key::PublicKeyArgs;
use crate::args::Global;
use crate::card;
use crate::error::{Exit, Explain, Failure};
use crate::secret_input::{PinArgs, PinSource};
use crate::{output, terminal};

const SWAP_TIME: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(300);

#[derive(clap::Args, Debug)]
pub struct EnrolArgs {
    /// The keyring's manifest; rewritten in place
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    key: NewKeyArgs,
    #[command(flatten)]
    public: PublicKeyArgs,
    #[command(flatten)]
    pgp: PgpArgs,
    /// Serial number of the YubiKey that opens the keyring
    #[arg(long, value_name = "NUMBER")]
    with_serial: Option<u32>,
    #[command(flatten)]
    pin: PinArgs,
    /// Read the new YubiKey's PIN from this open file descriptor; with --pin-fd alone both have that PIN
    #[arg(long, value_name = "FD", conflicts_with_all = ["recipient", "attestation", "pgp"])]
    new_pin_fd: Option<u32>,
    /// Accept a keyring not seen before without asking
    #[arg(long)]
    yes: bool,
    /// With --recipient, --attestation or --pgp: do and show everything, the YubiKey's operation included, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Why nobody was enrolled.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnrolError {
    #[error("the keyring has a holder named {0} already")]
    NameTaken(String),
    #[error("YubiKey {0} is that of holder {1} already")]
    HolderAlready(u32, String),
    #[error("choose the YubiKey to enrol: {0} could be meant")]
    Several(String),
    #[error("no new YubiKey was plugged in within {} s", SWAP_TIME.as_secs())]
    NoNewCard,
    #[error("the key is that of holder {0} already")]
    KeyTaken(String),
    #[error("--dry-run does nothing on the YubiKey to enrol, so there is no key to try")]
    NothingToTry,
}

impl Explain for EnrolError {
    fn hint(&self) -> String {
        match self {
            Self::NameTaken(_) => "choose another --holder".to_owned(),
            Self::HolderAlready(..) => "enrol another YubiKey, or remove that holder first".to_owned(),
            Self::Several(_) => "name one with --serial".to_owned(),
            Self::NoNewCard => "nothing was changed; plug it in and run the command again".to_owned(),
            Self::KeyTaken(_) => "enrol another key, or remove that holder first".to_owned(),
            Self::NothingToTry => "give the key with --recipient, --attestation or --pgp".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoNewCard => Exit::TimedOut,
            Self::NothingToTry => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

/// Runs it.
pub fn run(args: &EnrolArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    new_key::check_name(&args.key)?;
    if args.dry_run && !args.public.given() && args.pgp.pgp.is_none() {
        return Err(EnrolError::NothingToTry.into());
    }
    let change = Change::begin(&args.file, args.yes, args.dry_run)?;
    let before = change.manifest();
    check_name_is_free(before, &args.key.holder)?;
    let given = if args.public.given() { Some(args.public.holder(&args.key)?) } else { None };
    if let Some(given) = &given {
        check_key(before, &given.holder)?;
        given.tell();
    }

    let mut pin = PinSource::shared(&args.pin);
    let open = change.open(args.with_serial, &mut pin).map_err(|failure| {
        let hint = failure.hint().replace("--serial", "--with-serial");
        Failure::new(failure.exit(), failure.what(), hint)
    })?;
    let new = match (given, &args.pgp.pgp) {
        (Some(given), _) => given.holder,
        (None, Some(fingerprint)) => {
            let new = pgp_key::holder(&args.key, fingerprint)?;
            check_key(before, &new)?;
            new
        }
        (None, None) => {
            let mut own = args.new_pin_fd.map(|fd| PinSource::new(&PinArgs { pin_fd: Some(fd), ..args.pin }));
            on_card(&change, &args.key, own.as_mut().unwrap_or(&mut pin))?
        }
    };
    let spec = manifest::add_holder(before, &open, new).map_err(ChangeError::Edit)?;
    open.seal();
    let file = change.path().display().to_string();
    if change.end(&spec)? {
        terminal::say(&format!("{file} rewritten: commit it and apply it"));
    }
    Ok(())
}

/// A key on a YubiKey that is plugged in.
pub(super) fn on_card(change: &Change, args: &NewKeyArgs, pin: &mut PinSource) -> Result<Holder, Failure> {
    let mut card = new_card(&change.manifest().spec().holders, args.serial)?;
    terminal::say(&format!("enrolling YubiKey {} for {}", card.serial(), args.holder));
    let new = new_key::make_holder(change.name(), &mut card, args, pin)?;
    check_key(change.manifest(), &new)?;
    Ok(new)
}

/// A name stands for one holder.
pub(super) fn check_name_is_free(manifest: &VerifiedManifest, name: &str) -> Result<(), EnrolError> {
    let taken = manifest.spec().holders.iter().any(|holder| holder.name == name);
    if taken { Err(EnrolError::NameTaken(name.to_owned())) } else { Ok(()) }
}

/// A key opens a keyring once, and a YubiKey is one holder, whichever of its applets the key is in: a second entry would hide
/// how few YubiKeys there are, and `--serial` could not tell the two apart. A PGP holder's recipient is another one each time.
pub(super) fn check_key(manifest: &VerifiedManifest, new: &Holder) -> Result<(), EnrolError> {
    let holders = &manifest.spec().holders;
    let pgp = |holder: &Holder| holder.pgp.as_ref().map(|key| key.fingerprint.clone());
    let same_key = |holder: &&Holder| {
        holder.recipient == new.recipient || (new.pgp.is_some() && pgp(holder) == pgp(new))
    };
    if let Some(holder) = holders.iter().find(same_key) {
        return Err(EnrolError::KeyTaken(holder.name.clone()));
    }
    check_serial(holders, new.serial)
}

fn check_serial(holders: &[Holder], serial: u32) -> Result<(), EnrolError> {
    match holders.iter().find(|holder| holder.serial == serial) {
        Some(holder) => Err(EnrolError::HolderAlready(serial, holder.name.clone())),
        None => Ok(()),
    }
}

/// The YubiKey to enrol; with only one port it is plugged in after the other one did its part.
pub(super) fn new_card(holders: &[Holder], wanted: Option<u32>) -> Result<Card, Failure> {
    let deadline = Instant::now() + SWAP_TIME;
    let mut asked = false;
    loop {
        let present: Vec<u32> = card::present()?.iter().map(|card| card.serial).collect();
        if let Some(serial) = choose_new(holders, &present, wanted)? {
            return Ok(Card::open(Which::Serial(serial))?);
        }
        if Instant::now() >= deadline {
            return Err(EnrolError::NoNewCard.into());
        }
        if !asked {
            terminal::say("now plug in the YubiKey to enrol");
            asked = true;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn choose_new(holders: &[Holder], present: &[u32], wanted: Option<u32>) -> Result<Option<u32>, EnrolError> {
    let enrolled = |serial: u32| holders.iter().any(|holder| holder.serial == serial);
    if let Some(wanted) = wanted {
        check_serial(holders, wanted)?;
        return Ok(present.contains(&wanted).then_some(wanted));
    }
    let fresh: Vec<u32> = present.iter().copied().filter(|serial| !enrolled(*serial)).collect();
    match fresh[..] {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        _ => Err(EnrolError::Several(fresh.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;

    #[test]
    fn the_new_card_is_one_that_is_no_holder_yet() {
        let holders = [holder("anna", 1)];
        let choose =
            |present: &[u32], wanted| choose_new(&holders, present, wanted).map_err(|e| e.to_string());
        assert_eq!(choose(&[1], None), Ok(None));
        assert_eq!(choose(&[1, 2], None), Ok(Some(2)));
        assert_eq!(choose(&[1], Some(2)), Ok(None), "not plugged in yet");
        assert_eq!(choose(&[1, 2, 3], Some(3)), Ok(Some(3)));
        assert!(choose(&[1, 2, 3], None).is_err());
        assert!(choose(&[1, 2], Some(1)).is_err());
    }

    #[test]
    fn a_key_is_enrolled_once() {
        let (spec, _) = manifest::create(vec![holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap();
        let verified = manifest::verify(&spec).unwrap();
        assert!(check_key(&verified, &holder("ben", 2)).is_ok());
        assert!(check_key(&verified, &holder("anna-again", 1)).is_err());
    }

    #[test]
    fn a_yubikey_is_one_holder_whichever_applet_its_key_is_in() {
        let (spec, _) = manifest::create(vec![holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap();
        let verified = manifest::verify(&spec).unwrap();
        let mut by_pgp = holder("anna-by-pgp", 2);
        (by_pgp.serial, by_pgp.slot) = (1, "OpenPGP".to_owned());
        let refused = check_key(&verified, &by_pgp).unwrap_err();
        assert_eq!(refused.to_string(), "YubiKey 1 is that of holder anna already");
        assert!(refused.hint().contains("remove that holder"));
    }
}
