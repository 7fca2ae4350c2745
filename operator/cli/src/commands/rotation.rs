//! `touchseal rotation`: how old each Secret key is, when it is due, who still holds an older value, and what to do next.

mod advice;
mod report;
mod state;
mod view;
mod wait;

pub use advice::{begin, revoke, under_way};
pub use state::{Leave, Roll, Word, roll_of};
pub use view::{Row, rows, stale, when};

use clap::Subcommand;
use jiff::Timestamp;

use crate::args::Global;
use crate::cluster::Cluster;
use crate::error::Failure;
use crate::output::{self, Format};
use view::{Filter, Sort};

#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RotationArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    table: TableArgs,
}

#[derive(clap::Args, Debug)]
struct TableArgs {
    /// All namespaces, which is the default without --namespace
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// What comes first
    #[arg(long, value_enum, value_name = "ORDER", default_value_t, hide_default_value = true)]
    sort: Sort,
    /// Only what is in one of these states; may be given several times
    #[arg(long = "filter", value_enum, value_name = "STATE", value_delimiter = ',')]
    filters: Vec<Filter>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Wait until no pod holds an older value of a secret
    Wait(wait::WaitArgs),
    /// Write the state of all rotations as one HTML page
    Report(report::ReportArgs),
}

/// Runs it.
pub fn run(args: &RotationArgs, global: &Global) -> Result<(), Failure> {
    match &args.command {
        Some(Command::Wait(args)) => wait::run(args, global),
        Some(Command::Report(args)) => report::run(args, global),
        None => table(&args.table, global),
    }
}

fn table(args: &TableArgs, global: &Global) -> Result<(), Failure> {
    let objects = Cluster::connect(global)?.encrypted_secrets(global.namespace.as_deref())?;
    let now = Timestamp::now();
    let mut rows = view::rows(&objects, now);
    view::filter(&mut rows, &args.filters);
    view::sort(&mut rows, args.sort);
    match global.output {
        Format::Table => output::print(&view::text(&rows, now, false)),
        Format::Wide => output::print(&view::text(&rows, now, true)),
        Format::Name => output::print(&view::names(&rows, global.namespace.as_deref())),
        format => output::print(&output::machine(format, &rows)?),
    }
}
