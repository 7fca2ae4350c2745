//! `touchseal status`: sealed or not, by whom, who waits, and which secrets are not ready and why.

mod view;

use jiff::Timestamp;

use crate::args::{AccountArgs, Global};
use crate::cluster::Cluster;
use crate::error::Failure;
use crate::output::{self, Format};
use crate::seal_wait::Live;

#[derive(clap::Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    operator: AccountArgs,
}

/// Runs it.
pub fn run(args: &StatusArgs, global: &Global) -> Result<(), Failure> {
    let cluster = Cluster::connect(global)?;
    let keyrings = cluster.keyrings()?;
    let account = args.operator.account();
    // The status before the pods: a replica that reports in between has a pod by then.
    let live = match cluster.pods(account.namespace) {
        Ok(pods) => Some(Live::of(&pods, account.service_account)),
        Err(error) if error.is_forbidden() => None,
        Err(error) => return Err(error.into()),
    };
    let replicas = view::Replicas { live: live.as_ref(), namespace: account.namespace };
    let requests = cluster.unseal_requests(account.namespace)?;
    let secrets = cluster.encrypted_secrets(global.namespace.as_deref())?;
    let view = view::View::new(&keyrings, replicas, &requests, &secrets);
    match global.output {
        Format::Table => output::print(&view.text(Timestamp::now(), false)),
        Format::Wide => output::print(&view.text(Timestamp::now(), true)),
        Format::Name => output::print(&view.names()),
        format => output::print(&output::machine(format, &view)?),
    }
}
