//! `touchseal incident report`: one page that a manager can read, a printer print and a browser open without network.

use std::path::PathBuf;

use jiff::Timestamp;

use super::get;
use crate::args::Global;
use crate::cluster::Cluster;
use crate::error::Failure;
use crate::output;
use crate::report;

#[derive(clap::Args, Debug)]
pub struct ReportArgs {
    /// Name of the incident
    #[arg(value_name = "NAME")]
    name: String,
    /// Where to write the page; - is stdout
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

/// Runs it.
pub fn run(args: &ReportArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    let cluster = Cluster::connect(global)?;
    let incident = get(&cluster, &args.name)?;
    let objects = cluster.encrypted_secrets(None)?;
    let page = report::incident(&incident, &objects, Timestamp::now());
    report::write(&args.file, &page)
}
