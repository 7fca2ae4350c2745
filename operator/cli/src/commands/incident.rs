//! `touchseal incident`: everything that existed at a moment is exposed; follow it until nothing of it is in use.

mod accept;
mod advice;
mod close;
mod from_audit;
mod open;
mod report;
mod scope;
mod status;

pub use advice::{Advice, revocation};
pub use scope::{Scope, subject};

use clap::Subcommand;
use touchseal_crds::{ConditionType, Incident};

use crate::args::Global;
use crate::cluster::Cluster;
use crate::error::{Explain, Failure};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Declare every value that existed at a moment exposed
    Open(open::OpenArgs),
    /// Show incidents, or what remains of one
    Status(status::StatusArgs),
    /// Declare a secret or one of its keys not affected, with the reason
    Accept(accept::AcceptArgs),
    /// Stop following an incident
    Close(close::CloseArgs),
    /// Write what happened and what remains as one HTML page
    Report(report::ReportArgs),
}

/// Runs one of them.
pub fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Open(args) => open::run(args, global),
        Command::Status(args) => status::run(args, global),
        Command::Accept(args) => accept::run(args, global),
        Command::Close(args) => close::run(args, global),
        Command::Report(args) => report::run(args, global),
    }
}

/// An incident that is not there, or not as it should be.
#[derive(Debug, thiserror::Error)]
enum IncidentError {
    #[error("incident {0} does not exist")]
    Missing(String),
    #[error("incident {0} is closed already")]
    Closed(String),
    #[error("incident {0} exists already; nothing was changed")]
    Exists(String),
}

impl Explain for IncidentError {
    fn hint(&self) -> String {
        match self {
            Self::Missing(_) => "see which there are: touchseal incident status".to_owned(),
            Self::Exists(name) => {
                format!(
                    "see what it is about: touchseal incident status {name}; another exposure gets another name"
                )
            }
            Self::Closed(_) => "what is closed stays closed; open another one if there is news".to_owned(),
        }
    }
}

fn get(cluster: &Cluster, name: &str) -> Result<Incident, Failure> {
    Ok(cluster.incident(name)?.ok_or_else(|| IncidentError::Missing(name.to_owned()))?)
}

/// The same, where it is still followed.
fn get_open(cluster: &Cluster, name: &str) -> Result<Incident, Failure> {
    let incident = get(cluster, name)?;
    let closed = incident.status.as_ref().is_some_and(|status| status.closed_at.is_some());
    if closed { Err(IncidentError::Closed(name.to_owned()).into()) } else { Ok(incident) }
}

/// What the operator says of it, once it has looked at its present spec.
pub fn word(incident: &Incident) -> Option<String> {
    let status = incident.status.as_ref()?;
    let current = status.observed_generation == incident.metadata.generation;
    let closed = status.conditions.iter().find(|c| c.type_ == ConditionType::Closed.as_str())?;
    (current || status.closed_at.is_some()).then(|| closed.message.clone())
}

/// Open or closed, in a word.
pub fn state(incident: &Incident) -> &'static str {
    match (&incident.status, word(incident)) {
        (Some(status), _) if status.closed_at.is_some() => "Closed",
        (_, Some(_)) => "Open",
        (_, None) => "Unseen",
    }
}
