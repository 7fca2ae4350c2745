//! Command line of `touchseal-operator`. No flag takes a secret.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use touchseal_crds::names;

use crate::scope;

/// Turns EncryptedSecrets into Secrets once a holder has unsealed it.
#[derive(Clone, Debug, Parser)]
#[command(name = "touchseal-operator", version, args_override_self = true)]
pub struct Args {
    /// Namespace of UnsealRequests, pins and the ledger; default: the namespace of the operator's own ServiceAccount.
    #[arg(long, env = "TOUCHSEAL_OPERATOR_NAMESPACE")]
    pub operator_namespace: Option<String>,

    /// ServiceAccount the operator runs as; unseal proofs are its tokens.
    #[arg(long, default_value = names::DEFAULT_SERVICE_ACCOUNT)]
    pub service_account: String,

    /// Namespaces to serve, separated by commas; default: all. Limited so, the operator needs Roles in these namespaces
    /// instead of rights in all, and leaves EncryptedSecrets elsewhere alone.
    #[arg(long, env = "TOUCHSEAL_NAMESPACES", value_delimiter = ',', value_parser = scope::namespace)]
    pub namespaces: Vec<String>,

    /// Path of a kubeconfig; default: the in-cluster configuration.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// Address of /healthz and /readyz.
    #[arg(long, default_value = "0.0.0.0:8081")]
    pub health_probe_bind_address: SocketAddr,

    /// Address of /metrics. One that other machines reach needs --metrics-auth.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub metrics_bind_address: SocketAddr,

    /// Who may read /metrics. kubernetes: who sends a Bearer token of somebody that may get the path /metrics (the API server
    /// is asked), over TLS. none: whoever reaches the address, which is the default on loopback.
    #[arg(long, value_enum)]
    pub metrics_auth: Option<MetricsAuth>,

    /// Certificate of /metrics with its chain, PEM; read anew when it changes. Without it a self-signed one is made at each
    /// start where --metrics-auth asks for TLS.
    #[arg(long, requires = "metrics_tls_key_file")]
    pub metrics_tls_cert_file: Option<PathBuf>,

    /// Key of that certificate, PEM.
    #[arg(long, requires = "metrics_tls_cert_file")]
    pub metrics_tls_key_file: Option<PathBuf>,

    /// Objects worked on at the same time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// Take part in the election of a leader among all replicas; only the leader writes Secrets. Without it this process
    /// leads always: no other may run then.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub leader_elect: bool,

    /// How long after a leader's last renewal of its Lease another one writes, in whole seconds: others take the Lease after
    /// four fifths of it, and begin in what is left.
    #[arg(long, default_value = "15s", value_parser = fine_span)]
    pub lease_duration: Duration,

    /// How long a leader that cannot renew its Lease goes on writing; shorter than four fifths of
    /// --lease-duration.
    #[arg(long, default_value = "10s", value_parser = fine_span)]
    pub renew_deadline: Duration,

    /// Time between two attempts to take or renew the Lease.
    #[arg(long, default_value = "2s", value_parser = fine_span)]
    pub retry_period: Duration,

    /// How long a sealed replica waits for another to hand the keyrings over before it says that it is ready, where another
    /// is unsealed and may. So a rolling update does not end the last unsealed replica too early.
    #[arg(long, default_value = "20s", value_parser = fine_span)]
    pub hand_over_wait: Duration,

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

impl Args {
    /// Words for what is switched on, for the metrics.
    pub fn features(&self) -> Vec<&'static str> {
        let all = [
            (self.leader_elect, "leader-elect"),
            (self.metrics_auth == Some(MetricsAuth::Kubernetes), "metrics-auth"),
        ];
        all.into_iter().filter_map(|(on, word)| on.then_some(word)).collect()
    }
}

/// Seconds of a span such as `2m`.
fn span(text: &str) -> Result<u32, String> {
    let seconds = touchseal_crds::duration::seconds(text).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or_else(|| "not a span such as 2m or 90s".to_owned())
}

/// A span such as `2s` or `500ms`.
fn fine_span(text: &str) -> Result<Duration, String> {
    let millis = text.strip_suffix("ms").and_then(|number| number.parse().ok()).map(Duration::from_millis);
    match millis {
        Some(span) => Ok(span),
        None => span(text).map(|seconds| Duration::from_secs(seconds.into())),
    }
}

/// Who may read /metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetricsAuth {
    /// Whom the API server knows and lets get the path /metrics.
    Kubernetes,
    /// Everybody who reaches the address.
    None,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(flags: &[&str]) -> Result<Vec<String>, String> {
        let args = Args::try_parse_from([&["touchseal-operator"], flags].concat());
        args.map(|args| args.namespaces).map_err(|error| error.to_string())
    }

    #[test]
    fn namespaces_are_a_list_and_nothing_stands_for_all_but_its_absence() {
        assert_eq!(namespaces(&[]).unwrap(), Vec::<String>::new());
        assert_eq!(namespaces(&["--namespaces=a,b"]).unwrap(), ["a", "b"]);
        assert_eq!(namespaces(&["--namespaces=a,b", "--namespaces", "c"]).unwrap(), ["a", "b", "c"]);
        for empty in ["--namespaces=", "--namespaces=a,", "--namespaces=*"] {
            let said = namespaces(&[empty]).unwrap_err();
            assert!(said.contains("no name of a namespace; leave it out to serve all"), "{said}");
        }
    }
}
