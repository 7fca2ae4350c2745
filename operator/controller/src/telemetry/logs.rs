//! Logs: text or JSON, and what may not be said at any level. A reconcile's lines bear its span: object, generation and the
//! number of the reconcile.

use tracing::Level;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::args::{Args, LogFormat};

/// Targets that print bodies, or errors that quote them, and the most they may say whatever is asked for: bodies can be
/// Secrets. What they would say of failures the operator says itself, without bodies.
const CAPPED: [(&str, Option<Level>); 7] = [
    ("kube_client", None),
    ("kube_runtime", None),
    ("hyper", Some(Level::INFO)),
    ("h2", Some(Level::INFO)),
    ("tower", Some(Level::INFO)),
    ("rustls", Some(Level::INFO)),
    ("hyper_util", Some(Level::INFO)),
];

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
    match CAPPED.iter().find(|(capped, _)| *capped == krate) {
        Some((_, cap)) => cap.is_some_and(|cap| level <= cap),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_print_bodies_are_capped_and_ours_are_not() {
        for (target, level) in [
            ("kube_client::client", Level::ERROR),
            ("kube_runtime::watcher", Level::WARN),
            ("hyper::proto::h1::io", Level::TRACE),
            ("hyper_util::client::legacy", Level::DEBUG),
        ] {
            assert!(!allowed(target, level), "{target} {level}");
        }
        for (target, level) in [
            ("hyper::client", Level::WARN),
            ("touchseal_operator::run", Level::TRACE),
            ("hyperion", Level::TRACE),
        ] {
            assert!(allowed(target, level), "{target} {level}");
        }
    }
}
