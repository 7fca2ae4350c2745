//! What can go wrong with a cluster. `Debug` reads like `Display` with its causes, so that `unwrap` in a test prints
//! sentences.

use std::error::Error;
use std::{fmt, io};

use crate::poll::TimedOut;
use crate::ports::PortError;
use crate::process::ProcessError;
use crate::tools::MissingTool;

#[derive(thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Tool(#[from] MissingTool),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error("writing into the cluster's folder")]
    Folder(#[source] io::Error),
    #[error("making the key that signs ServiceAccount tokens")]
    Key,
    #[error("starting {part}: it ended early\n{log}")]
    Ended { part: String, log: String },
    #[error("starting the cluster\n{log}")]
    NotReady { source: TimedOut, log: String },
    #[error("giving the node an image: {0}")]
    Image(String),
    #[error("running kubectl {arguments}")]
    RunKubectl { arguments: String, source: io::Error },
    #[error("kubectl {arguments}: {stderr}")]
    Kubectl { arguments: String, stderr: String },
    #[error("storing {key} in etcd: {answer}")]
    Store { key: String, answer: String },
    #[error("reading the answer of kubectl {arguments}")]
    Answer { arguments: String, source: serde_json::Error },
}

impl fmt::Debug for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
