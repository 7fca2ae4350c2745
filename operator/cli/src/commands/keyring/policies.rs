//! What a keyring's holders allow, a command each: `hand-over`, `on-key-removal`, `emergency-enrolment`. It stands in the signed
//! manifest, so that nobody but a holder switches it.

use clap::ValueEnum;
use touchseal_crds::KeyringSpec;
use touchseal_crds::keyring::{EmergencyEnrolment, HandOver, KeyRemoval};
use touchseal_keyring::{EditError, OpenKeyring, VerifiedManifest, manifest};

use super::change::{Change, ChangeArgs, ChangeError};
use crate::args::Global;
use crate::error::Failure;
use crate::secret_input::PinSource;
use crate::{output, terminal};

#[derive(clap::Args, Debug)]
pub struct HandOverArgs {
    /// allow: rolling updates and single crashes need no holder; deny: each replica needs one
    #[arg(value_enum)]
    policy: Permission,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(clap::Args, Debug)]
pub struct OnKeyRemovalArgs {
    /// seal: every replica drops its keys when a YubiKey that is left in a node is pulled; keep: nothing follows
    #[arg(value_enum)]
    policy: Removal,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(clap::Args, Debug)]
pub struct EmergencyEnrolmentArgs {
    /// allow: an administrator can make somebody a holder through an unsealed operator, when all YubiKeys are lost; deny: nobody can
    #[arg(value_enum)]
    policy: Permission,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Permission {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Removal {
    Seal,
    Keep,
}

/// `touchseal keyring hand-over`.
pub fn hand_over(args: &HandOverArgs, global: &Global) -> Result<(), Failure> {
    let wanted = match args.policy {
        Permission::Allow => HandOver::Allow,
        Permission::Deny => HandOver::Deny,
    };
    let now = |spec: &KeyringSpec| spec.hand_over.unwrap_or(HandOver::Allow);
    switch(&args.change, global, "hand-over", (wanted, now), manifest::set_hand_over)
}

/// `touchseal keyring on-key-removal`.
pub fn on_key_removal(args: &OnKeyRemovalArgs, global: &Global) -> Result<(), Failure> {
    let wanted = match args.policy {
        Removal::Seal => KeyRemoval::Seal,
        Removal::Keep => KeyRemoval::Keep,
    };
    let now = |spec: &KeyringSpec| spec.on_key_removal.unwrap_or(KeyRemoval::Keep);
    switch(&args.change, global, "on-key-removal", (wanted, now), manifest::set_on_key_removal)
}

/// `touchseal keyring emergency-enrolment`.
pub fn emergency_enrolment(args: &EmergencyEnrolmentArgs, global: &Global) -> Result<(), Failure> {
    let wanted = match args.policy {
        Permission::Allow => EmergencyEnrolment::Allow,
        Permission::Deny => EmergencyEnrolment::Deny,
    };
    let now = |spec: &KeyringSpec| spec.emergency_enrolment.unwrap_or(EmergencyEnrolment::Deny);
    switch(&args.change, global, "emergency-enrolment", (wanted, now), manifest::set_emergency_enrolment)
}

/// Switches one of them, if it is not so already.
fn switch<P: PartialEq + std::fmt::Debug>(
    args: &ChangeArgs,
    global: &Global,
    what: &str,
    (wanted, now): (P, impl Fn(&KeyringSpec) -> P),
    set: impl Fn(&VerifiedManifest, &OpenKeyring, P) -> Result<KeyringSpec, EditError>,
) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    let change = Change::begin(&args.file, args.yes, args.dry_run)?;
    if now(change.manifest().spec()) == wanted {
        terminal::say(&format!("{what} is {wanted:?} already: nothing to do"));
        return Ok(());
    }
    let open = change.open(args.serial, &mut PinSource::new(&args.pin))?;
    let spec = set(change.manifest(), &open, wanted).map_err(ChangeError::Edit)?;
    open.seal();
    let file = change.path().display().to_string();
    if change.end(&spec)? {
        terminal::say(&format!(
            "{file} rewritten: commit it and apply it; replicas that are unsealed stay so"
        ));
    }
    Ok(())
}
