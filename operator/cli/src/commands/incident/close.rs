//! `touchseal incident close`: a person stops following an incident; what remained is kept in its status.

use serde_json::json;
use touchseal_crds::incident::IncidentTotals;

use super::get_open;
use crate::args::Global;
use crate::cluster::Cluster;
use crate::error::{Exit, Explain, Failure};
use crate::output::{self, Format};

#[derive(clap::Args, Debug)]
pub struct CloseArgs {
    /// Name of the incident
    #[arg(value_name = "NAME")]
    name: String,
    /// Also while something is exposed or draining
    #[arg(long)]
    force: bool,
}

/// Why it stays open.
#[derive(Debug, thiserror::Error)]
enum CloseError {
    #[error("incident {name} is not over: {} exposed, {} draining", .totals.exposed, .totals.draining)]
    Remains { name: String, totals: IncidentTotals },
    #[error("incident {0} has not been looked at by the operator yet")]
    Unseen(String),
}

impl Explain for CloseError {
    fn hint(&self) -> String {
        match self {
            Self::Remains { .. } => {
                "it closes by itself when nothing remains; accept what is not affected, or close it with --force".to_owned()
            }
            Self::Unseen(_) => "see whether the operator runs: touchseal status; or close it with --force".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Refused
    }
}

/// Runs it.
pub fn run(args: &CloseArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml, Format::Wide])?;
    let cluster = Cluster::connect(global)?;
    let incident = get_open(&cluster, &args.name)?;
    let totals = incident.status.as_ref().and_then(|status| status.totals);
    if !args.force {
        check(&args.name, totals)?;
    }
    let stored = cluster.change_incident(&incident, &json!({ "closed": true }))?;
    match global.output {
        Format::Table | Format::Wide => output::print(&format!("incident {} is closed\n", args.name)),
        format => output::print(&output::machine(format, &stored)?),
    }
}

fn check(name: &str, totals: Option<IncidentTotals>) -> Result<(), CloseError> {
    match totals {
        None => Err(CloseError::Unseen(name.to_owned())),
        Some(totals) if totals.exposed + totals.draining > 0 => {
            Err(CloseError::Remains { name: name.to_owned(), totals })
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_closed_by_hand_while_something_remains() {
        let totals = |exposed, draining| Some(IncidentTotals { exposed, draining, safe: 1, accepted: 1 });
        assert!(check("leak", totals(0, 0)).is_ok());
        for open in [totals(1, 0), totals(0, 1), None] {
            assert_eq!(check("leak", open).unwrap_err().exit(), Exit::Refused);
        }
    }
}
