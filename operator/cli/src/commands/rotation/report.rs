//! `touchseal rotation report`: the state of all rotations as one page.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::args::Global;
use crate::cluster::Cluster;
use crate::error::Failure;
use crate::output;
use crate::report;

#[derive(clap::Args, Debug)]
pub struct ReportArgs {
    /// Where to write the page; - is stdout
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

/// Runs it.
pub fn run(args: &ReportArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    let objects = Cluster::connect(global)?.encrypted_secrets(global.namespace.as_deref())?;
    report::write(&args.file, &report::rotation(&objects, global.namespace.as_deref(), Timestamp::now()))
}
