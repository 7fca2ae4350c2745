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

/// Thousands of small objects come and go: it gives back what is free, and takes half the time of the C library's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    // As a task, so that it runs where everything it wakes and is woken by does, and not on a thread of its own.
    match runtime.block_on(runtime.spawn(run::run(args))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            tracing::error!(%error, "the operator ends");
            ExitCode::FAILURE
        }
        // What it said is not: it could quote what was being worked on.
        Err(_) => {
            tracing::error!(
                "the operator ends: a bug in touchseal; please report the place that was logged before"
            );
            ExitCode::FAILURE
        }
    }
}
