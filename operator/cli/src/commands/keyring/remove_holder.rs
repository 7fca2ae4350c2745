//! `touchseal keyring remove-holder`: a YubiKey less. What it could open so far it may have opened.

use touchseal_keyring::{VerifiedManifest, manifest};

use super::change::{Change, ChangeArgs, ChangeError};
use super::pgp_key;
use super::rotate;
use crate::args::Global;
use crate::duration::now;
use crate::error::{Exit, Explain, Failure};
use crate::secret_input::PinSource;
use crate::{local_keys, output, terminal};

#[derive(clap::Args, Debug)]
pub struct RemoveHolderArgs {
    /// The holder to remove
    #[arg(value_name = "HOLDER")]
    holder: String,
    #[command(flatten)]
    change: ChangeArgs,
    /// Add a key generation, too, that the removed holder never had
    #[arg(long)]
    rotate: bool,
}

/// Why nobody was removed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum RemoveError {
    #[error("the keyring has no holder named {0}")]
    NoSuchHolder(String, Vec<String>),
    #[error("{0} is the only holder: without any nobody opens the keyring again")]
    Last(String),
    #[error("it takes {1} holders to open the keyring: without {0} there would be fewer")]
    Quorum(String, usize),
}

impl Explain for RemoveError {
    fn hint(&self) -> String {
        match self {
            Self::NoSuchHolder(_, there) => format!("its holders are {}", there.join(", ")),
            Self::Quorum(..) => {
                "enrol another YubiKey first, or lower the number: touchseal keyring quorum".to_owned()
            }
            Self::Last(_) => "enrol another YubiKey first: touchseal keyring enrol".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoSuchHolder(..) => Exit::Failed,
            Self::Last(_) | Self::Quorum(..) => Exit::Refused,
        }
    }
}

/// Runs it.
pub fn run(args: &RemoveHolderArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    let change = Change::begin(&args.change.file, args.change.yes, args.change.dry_run)?;
    let before = change.manifest();
    check(before, &args.holder)?;
    change.accept()?;
    let others = before.spec().holders.iter().filter(|holder| holder.name != args.holder);
    let renewed = args.rotate.then(|| pgp_key::renewed(others)).transpose()?;
    let open = change.open(args.change.serial, &mut PinSource::new(&args.change.pin))?;
    let mut spec = manifest::remove_holder(before, &open, &args.holder).map_err(ChangeError::Edit)?;
    let mut both = None;
    if let Some(holders) = renewed {
        // Removed first: the new master is never wrapped to who is to lose it.
        let removed = manifest::verify(&spec).map_err(ChangeError::Verify)?;
        let open = open.reopen(&removed).map_err(|error| ChangeError::Edit(error.into()))?;
        let (rotated, newer) =
            manifest::rotate_for(&removed, &open, holders, &now()).map_err(ChangeError::Edit)?;
        spec = rotated;
        both = Some(newer);
    }
    open.seal();
    let (name, file) = (change.name().to_owned(), change.path().display().to_string());
    let generation = before.active_generation();
    let wide = before.spec().generations.len();
    if change.end(&spec)? {
        if let Some(both) = &both {
            local_keys::remember_known(both)?;
        }
        terminal::say(&format!("{file} rewritten: commit it and apply it"));
    }
    if args.rotate {
        terminal::say(&rotate::next_steps(&name, &file, generation));
    } else {
        terminal::say(&unknowing(&args.holder, &file, generation, wide));
    }
    Ok(())
}

fn check(manifest: &VerifiedManifest, holder: &str) -> Result<(), RemoveError> {
    let holders = &manifest.spec().holders;
    let names = || holders.iter().map(|one| one.name.clone()).collect();
    if !holders.iter().any(|one| one.name == holder) {
        return Err(RemoveError::NoSuchHolder(holder.to_owned(), names()));
    }
    match manifest.quorum() {
        Some(needed) if holders.len() <= needed => Err(RemoveError::Quorum(holder.to_owned(), needed)),
        _ if holders.len() == 1 => Err(RemoveError::Last(holder.to_owned())),
        _ => Ok(()),
    }
}

/// What removal does not do, in plain words.
fn unknowing(holder: &str, file: &str, generation: u32, generations: usize) -> String {
    let which = if generations > 1 {
        format!("generation {generation} and older ones")
    } else {
        format!("generation {generation}")
    };
    format!(
        "\n{holder} does not open this and later manifests. That un-knows nothing:\n\
         git history keeps manifests which that YubiKey opens, so whoever has it and its\n\
         PIN still gets the master key of {which}, and everything\n\
         encrypted under it. Unless the YubiKey was merely replaced, add a generation:\n\
         \x20 touchseal keyring rotate -f {file}\n\
         and then change the values themselves, wherever they are used."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;

    fn keyring(holders: &[(&str, u32)]) -> VerifiedManifest {
        let holders = holders.iter().map(|(name, serial)| holder(name, *serial)).collect();
        manifest::verify(&manifest::create(holders, "2026-01-01T00:00:00Z").unwrap().0).unwrap()
    }

    #[test]
    fn the_last_holder_stays_and_a_stranger_cannot_go() {
        let one = keyring(&[("anna", 1)]);
        assert_eq!(check(&one, "anna"), Err(RemoveError::Last("anna".to_owned())));
        let two = keyring(&[("anna", 1), ("ben", 2)]);
        assert_eq!(check(&two, "anna"), Ok(()));
        let unknown = check(&two, "carl").unwrap_err();
        assert_eq!(unknown.hint(), "its holders are anna, ben");
    }

    #[test]
    fn a_quorum_goes_on_being_met() {
        let two = vec![holder("anna", 1), holder("ben", 2)];
        let (spec, _) = manifest::create_with(two, Some(2), "2026-01-01T00:00:00Z").unwrap();
        let two = manifest::verify(&spec).unwrap();
        assert_eq!(check(&two, "anna"), Err(RemoveError::Quorum("anna".to_owned(), 2)));
    }

    #[test]
    fn it_says_that_removal_un_knows_nothing() {
        let text = unknowing("anna", "prod.keyring.yaml", 3, 3);
        assert!(text.contains("un-knows nothing") && text.contains("generation 3 and older ones"), "{text}");
        assert!(text.contains("touchseal keyring rotate -f prod.keyring.yaml"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
