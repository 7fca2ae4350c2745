//! `touchseal-operator`: see operator/ARCHITECTURE.md.

mod apply;
mod args;
mod beside;
mod census;
mod ceremony;
mod client;
mod clock;
mod context;
mod desk;
mod echoes;
mod election;
mod enrolments;
mod events;
mod floor;
mod harden;
mod http;
mod identity;
mod incidents;
mod keys;
mod lax;
mod lead;
mod leadership;
mod ledger;
mod lists;
mod merge;
mod moved;
mod names;
mod objects;
mod observe;
mod open;
mod pins;
mod places;
mod pods;
mod queue;
mod recipients;
mod reconcile;
mod rollout;
mod run;
mod scope;
mod secrets;
mod sources;
mod telemetry;
mod templates;
mod watches;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    if let Err(error) = telemetry::start_logs(&args) {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    harden::hide_panic_messages();
    if let Err(error) = harden::harden() {
        tracing::error!(%error, "memory cannot be protected from dumps; not starting");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot start");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the operator ends");
            ExitCode::FAILURE
        }
    }
}
