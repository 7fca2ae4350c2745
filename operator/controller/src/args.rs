//! Command line of `touchseal-operator`. No flag takes a secret.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};
use touchseal_crds::names;

/// Turns EncryptedSecrets into Secrets once a holder has unsealed it.
#[derive(Clone, Debug, Parser)]
#[command(name = "touchseal-operator", version)]
pub struct Args {
    /// Namespace of UnsealRequests, pins and the ledger; default: the namespace of the operator's own ServiceAccount.
    #[arg(long, env = "TOUCHSEAL_OPERATOR_NAMESPACE")]
    pub operator_namespace: Option<String>,

    /// ServiceAccount the operator runs as; unseal proofs are its tokens.
    #[arg(long, default_value = names::DEFAULT_SERVICE_ACCOUNT)]
    pub service_account: String,

    /// Path of a kubeconfig; default: the in-cluster configuration.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<std::path::PathBuf>,

    /// Address of /healthz and /readyz.
    #[arg(long, default_value = "0.0.0.0:8081")]
    pub health_probe_bind_address: SocketAddr,

    /// Address of /metrics.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub metrics_bind_address: SocketAddr,

    /// Objects worked on at the same time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// Longest time a kubelet takes to refresh a mounted Secret after a change: until then pods that mount it count as
    /// stale. The default fits a kubelet's own defaults (its syncFrequency, a minute, and as much again for its caches).
    #[arg(long, default_value = "2m", value_parser = span)]
    pub mount_refresh: u32,

    /// Log level, or a filter such as `touchseal=debug,kube=info`.
    #[arg(long, default_value = "info", env = "TOUCHSEAL_LOG")]
    pub log_level: String,

    /// Log format.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Seconds of a span such as `2m`.
fn span(text: &str) -> Result<u32, String> {
    let seconds = touchseal_crds::duration::seconds(text).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or_else(|| "not a span such as 2m or 90s".to_owned())
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
