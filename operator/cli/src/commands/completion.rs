//! `touchseal completion SHELL`.

use clap_complete::Shell;

use crate::error::Failure;
use crate::output;

#[derive(clap::Args, Debug)]
pub struct CompletionArgs {
    /// The shell; load the script with, for instance: source <(touchseal completion bash)
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs it.
pub fn run(args: &CompletionArgs, mut command: clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "touchseal", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
