//! `touchseal doctor`: what works, what does not, and what to do about it; nothing is changed, no PIN try is spent.

mod check;
mod cluster;
mod token;

use std::path::PathBuf;

use check::{Check, Level};

use crate::args::{AccountArgs, Global};
use crate::error::{Exit, Failure};
use crate::manifest_file::ManifestFile;
use crate::output::{self, Format};

#[derive(clap::Args, Debug)]
pub struct DoctorArgs {
    /// Look at this manifest, too
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Leave the cluster out
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    operator: AccountArgs,
}

/// Runs it.
pub fn run(args: &DoctorArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml, Format::Wide])?;
    let mut checks = token::checks();
    if let Some(path) = &args.file {
        checks.push(match ManifestFile::read(path) {
            Ok(file) => cluster::keyring(file.name(), file.verified()),
            Err(error) => Check::failed("manifest", &Failure::from(error)),
        });
    }
    if !args.offline {
        checks.extend(cluster::checks(global, args.operator.account()));
    }
    match global.output {
        Format::Table | Format::Wide => output::print(&check::render(&checks, output::colour()))?,
        format => output::print(&output::machine(format, &checks)?)?,
    }
    match checks.iter().filter(|check| check.level == Level::Fail).count() {
        0 => Ok(()),
        failed => Err(Failure::new(
            Exit::Failed,
            format!("{failed} of {} checks failed", checks.len()),
            "begin with the first line marked fail",
        )),
    }
}
