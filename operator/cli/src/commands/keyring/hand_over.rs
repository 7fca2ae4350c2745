//! `touchseal keyring hand-over`: whether unsealed replicas of the operator unseal others. In the signed manifest, so that nobody
//! but a holder switches it.

use clap::ValueEnum;
use touchseal_crds::keyring::HandOver;
use touchseal_keyring::manifest;

use super::change::{Change, ChangeArgs, ChangeError};
use crate::args::Global;
use crate::error::Failure;
use crate::secret_input::PinSource;
use crate::{output, terminal};

#[derive(clap::Args, Debug)]
pub struct HandOverArgs {
    /// allow: rolling updates and single crashes need no holder; deny: each replica needs one
    #[arg(value_enum)]
    policy: Policy,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    Allow,
    Deny,
}

/// Runs it.
pub fn run(args: &HandOverArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    let change = Change::begin(&args.change.file, args.change.yes, args.change.dry_run)?;
    let wanted = match args.policy {
        Policy::Allow => HandOver::Allow,
        Policy::Deny => HandOver::Deny,
    };
    if change.manifest().spec().hand_over.unwrap_or(HandOver::Allow) == wanted {
        terminal::say(&format!("hand-over is {wanted:?} already: nothing to do"));
        return Ok(());
    }
    let open = change.open(args.change.serial, &mut PinSource::new(&args.change.pin))?;
    let spec = manifest::set_hand_over(change.manifest(), &open, wanted).map_err(ChangeError::Edit)?;
    open.seal();
    let file = change.path().display().to_string();
    if change.end(&spec)? {
        terminal::say(&format!(
            "{file} rewritten: commit it and apply it; replicas that are unsealed stay so"
        ));
    }
    Ok(())
}
