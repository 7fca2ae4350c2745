//! `touchseal keyring`: commands about the manifest in git.

mod attestation;
mod change;
mod counts;
mod create;
mod emergency_enrol;
mod enrol;
mod holders;
mod new_key;
mod pgp_key;
mod policies;
mod public_key;
mod quorum;
mod refused;
mod remove_holder;
mod retire;
mod review;
mod rotate;
mod seal_after;
mod show;

pub use create::is_object_name;
pub use refused::{is_new, refused};
pub use show::{ClusterKeyringError, fetch, warning};

use clap::Subcommand;

use crate::args::Global;
use crate::error::Failure;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Generate a key on a YubiKey and write the manifest of a new keyring
    Create(create::CreateArgs),
    /// Add another YubiKey to a keyring, with one operation of a YubiKey that opens it already
    #[command(alias = "enroll")]
    Enrol(enrol::EnrolArgs),
    /// List who opens a keyring, and when each last did
    Holders(holders::HoldersArgs),
    /// Remove a YubiKey from a keyring; what it could open so far it may have opened
    RemoveHolder(remove_holder::RemoveHolderArgs),
    /// Add a key generation, endorsed by the present one, which goes on opening what it opened
    Rotate(rotate::RotateArgs),
    /// Set how many holders it takes to open a keyring
    Quorum(quorum::QuorumArgs),
    /// Set how long after a holder's release the operator seals itself
    SealAfter(seal_after::SealAfterArgs),
    /// Drop an older key generation, once nothing needs it any more
    Retire(retire::RetireArgs),
    /// Let unsealed replicas of the operator unseal others, or make each of them need a holder
    HandOver(policies::HandOverArgs),
    /// Seal the operator when a YubiKey that is left in a node is pulled, or not
    OnKeyRemoval(policies::OnKeyRemovalArgs),
    /// Let an unsealed operator make somebody a holder for an administrator when all YubiKeys are lost, or not
    EmergencyEnrolment(policies::EmergencyEnrolmentArgs),
    /// Make somebody a holder through an unsealed operator: for when all YubiKeys are lost, and the manifest allows it
    EmergencyEnrol(emergency_enrol::EmergencyEnrolArgs),
    /// Verify a manifest and show its fingerprint, holders and key generations
    Show(show::ShowArgs),
}

/// Runs one of them.
pub fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Create(args) => create::run(args, global),
        Command::Enrol(args) => enrol::run(args, global),
        Command::Holders(args) => holders::run(args, global),
        Command::RemoveHolder(args) => remove_holder::run(args, global),
        Command::Rotate(args) => rotate::run(args, global),
        Command::Quorum(args) => quorum::run(args, global),
        Command::SealAfter(args) => seal_after::run(args, global),
        Command::Retire(args) => retire::run(args, global),
        Command::HandOver(args) => policies::hand_over(args, global),
        Command::OnKeyRemoval(args) => policies::on_key_removal(args, global),
        Command::EmergencyEnrolment(args) => policies::emergency_enrolment(args, global),
        Command::EmergencyEnrol(args) => emergency_enrol::run(args, global),
        Command::Show(args) => show::run(args, global),
    }
}
