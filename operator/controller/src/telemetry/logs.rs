//! Logs: text or JSON, and what may not be said at any level. A reconcile's lines bear its span: object, generation and the
//! number of the reconcile.

use tracing::Level;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::args::{Args, LogFormat};

/// Ours: written with the rule in mind that nothing secret is said at any level. Crates, and the target of the audit's lines.
const OURS: [&str; 7] = [
    "touchseal_operator",
    "touchseal_crds",
    "touchseal_keyring",
    "touchseal_plan",
    "touchseal_shamir",
    "touchseal_sops",
    "audit",
];
/// Targets whose very errors quote bodies, which can be Secrets. What they would say of failures the operator says itself.
const SILENT: [&str; 2] = ["kube_client", "kube_runtime"];
/// The most that anybody else may say: what libraries print below it nobody here has read, and the next version may print more.
const OTHERS: Level = Level::INFO;

/// Starts logging to standard error.
///
/// # Errors
/// The filter is not one.
pub fn start_logs(args: &Args) -> Result<(), String> {
    let asked = EnvFilter::try_new(&args.log_level).map_err(|e| format!("--log-level: {e}"))?;
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    let lines = match args.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().with_span_list(false).boxed(),
    };
    // Two filters, and a line passes both: a directive of `asked` cannot lift a cap.
    let capped = filter_fn(|metadata| allowed(metadata.target(), *metadata.level()));
    tracing_subscriber::registry().with(lines.with_filter(asked.and(capped))).init();
    Ok(())
}

fn allowed(target: &str, level: Level) -> bool {
    let krate = target.split("::").next().unwrap_or(target);
    OURS.contains(&krate) || (level <= OTHERS && !SILENT.contains(&krate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_say_everything_others_little_and_those_that_print_bodies_nothing() {
        for (target, level) in [
            ("kube_client::client", Level::ERROR),
            ("kube_runtime::watcher", Level::WARN),
            ("hyper::proto::h1::io", Level::TRACE),
            ("hyper_util::client::legacy", Level::DEBUG),
            ("tower::buffer::worker", Level::TRACE),
            ("a_crate_of_tomorrow", Level::DEBUG),
            ("touchseal_operator_of_somebody", Level::DEBUG),
        ] {
            assert!(!allowed(target, level), "{target} {level}");
        }
        for (target, level) in [
            ("hyper::client", Level::WARN),
            ("a_crate_of_tomorrow", Level::INFO),
            ("touchseal_operator::run", Level::TRACE),
            ("touchseal_keyring::state", Level::TRACE),
            ("audit", Level::INFO),
        ] {
            assert!(allowed(target, level), "{target} {level}");
        }
    }
}
