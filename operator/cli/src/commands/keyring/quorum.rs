//! `touchseal keyring quorum`: how many holders it takes to open the keyring.

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
pub struct QuorumArgs {
    /// How many holders it takes; 1: any of them alone
    #[arg(value_name = "NUMBER")]
    quorum: u32,
    #[command(flatten)]
    change: ChangeArgs,
    /// Add a key generation, too, that nobody could ever open with fewer
    #[arg(long)]
    rotate: bool,
}

/// Why the number stays.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum QuorumError {
    #[error("a quorum of {0} cannot be met: the keyring has {1} holders")]
    TooMany(u32, usize),
    #[error("a quorum cannot be 0")]
    Zero,
    #[error("holders {0} and {1} are on one YubiKey, {2}: together they are one holder of a quorum")]
    OneYubiKey(String, String, u32),
    #[error("it takes {0} already")]
    Same(u32),
}

impl Explain for QuorumError {
    fn hint(&self) -> String {
        match self {
            Self::TooMany(..) => "enrol more first: touchseal keyring enrol".to_owned(),
            Self::Zero => "1 lets any holder open it alone".to_owned(),
            Self::OneYubiKey(_, second, _) => format!("touchseal keyring remove-holder {second} -f FILE"),
            Self::Same(_) => "nothing was changed".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        if matches!(self, Self::Zero) { Exit::Usage } else { Exit::Failed }
    }
}

/// Runs it.
pub fn run(args: &QuorumArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    let change = Change::begin(&args.change.file, args.change.yes, args.change.dry_run)?;
    let before = change.manifest();
    check(before, args.quorum)?;
    let raised = before.spec().quorum.unwrap_or(1) < args.quorum;
    change.accept()?;
    let renewed = args.rotate.then(|| pgp_key::renewed(&before.spec().holders)).transpose()?;
    let open = change.open(args.change.serial, &mut PinSource::new(&args.change.pin))?;
    let quorum = (args.quorum > 1).then_some(args.quorum);
    let mut spec = manifest::set_quorum(before, &open, quorum).map_err(ChangeError::Edit)?;
    let mut both = None;
    if let Some(holders) = renewed {
        // The number first: the new master is never wrapped to fewer.
        let edited = manifest::verify(&spec).map_err(ChangeError::Verify)?;
        let open = open.reopen(&edited).map_err(|error| ChangeError::Edit(error.into()))?;
        let (rotated, newer) =
            manifest::rotate_for(&edited, &open, holders, &now()).map_err(ChangeError::Edit)?;
        spec = rotated;
        both = Some(newer);
    }
    open.seal();
    let (name, file) = (change.name().to_owned(), change.path().display().to_string());
    let generation = before.active_generation();
    if change.end(&spec)? {
        if let Some(both) = &both {
            local_keys::remember_known(both)?;
        }
        terminal::say(&format!("{file} rewritten: commit it and apply it"));
    }
    if args.rotate {
        terminal::say(&rotate::next_steps(&name, &file, generation));
    } else if raised {
        terminal::say(&unknowing(&file, generation));
    }
    Ok(())
}

fn check(manifest: &VerifiedManifest, quorum: u32) -> Result<(), QuorumError> {
    let holders = &manifest.spec().holders;
    if quorum == 0 {
        return Err(QuorumError::Zero);
    }
    if manifest.spec().quorum.unwrap_or(1) == quorum {
        return Err(QuorumError::Same(quorum));
    }
    if usize::try_from(quorum).is_ok_and(|quorum| quorum > holders.len()) {
        return Err(QuorumError::TooMany(quorum, holders.len()));
    }
    for (place, holder) in holders.iter().enumerate().filter(|_| quorum > 1) {
        if let Some(earlier) = holders.iter().take(place).find(|other| other.serial == holder.serial) {
            let (first, second) = (earlier.name.clone(), holder.name.clone());
            return Err(QuorumError::OneYubiKey(first, second, holder.serial));
        }
    }
    Ok(())
}

/// What a higher number does not do, in plain words.
fn unknowing(file: &str, generation: u32) -> String {
    format!(
        "\nThat un-knows nothing: git history keeps manifests that fewer holders open, so\n\
         they still get the master key of generation {generation} and older ones, and everything\n\
         encrypted under them. Add a generation that was never theirs alone:\n\
         \x20 touchseal keyring rotate -f {file}\n\
         Next time: touchseal keyring quorum NUMBER --rotate -f {file}\n\
         does both at once."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;

    #[test]
    fn a_number_that_cannot_be_met_is_refused_before_anybody_touches() {
        let mut twice = holder("anna-again", 3);
        twice.serial = 1;
        let holders = vec![holder("anna", 1), holder("ben", 2)];
        let three = [holders.clone(), vec![twice]].concat();
        let keyring =
            |holders| manifest::verify(&manifest::create(holders, "2026-01-01T00:00:00Z").unwrap().0);
        let two = keyring(holders).unwrap();
        assert_eq!(check(&two, 2), Ok(()));
        assert_eq!(check(&two, 3), Err(QuorumError::TooMany(3, 2)));
        assert_eq!(check(&two, 1), Err(QuorumError::Same(1)));
        assert_eq!(check(&two, 0), Err(QuorumError::Zero));
        let one_key = check(&keyring(three).unwrap(), 2).unwrap_err();
        assert_eq!(one_key, QuorumError::OneYubiKey("anna".into(), "anna-again".into(), 1));
    }

    #[test]
    fn it_says_that_a_higher_number_un_knows_nothing() {
        let text = unknowing("prod.keyring.yaml", 2);
        assert!(text.contains("un-knows nothing") && text.contains("keyring rotate -f prod.keyring.yaml"));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
