//! `touchseal audit`: what was public once, before it was encrypted.

mod finding;
mod git;
mod history;
mod needles;
mod pieces;
mod report;
mod repository;
mod style;
mod values;

use clap::Subcommand;

use crate::args::Global;
use crate::error::Failure;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find values in use that were ever committed in the clear
    Git(git::GitArgs),
}

/// Runs one of them.
pub fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Git(args) => git::run(args, global),
    }
}
