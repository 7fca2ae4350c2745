//! Logging to stderr with `-v`. The PIN passes through the card libraries, and the client of the API server quotes whole answers,
//! proofs in them: their own logs are cut off here, in code, so that no level and no variable can bring them back.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Card libraries that log what they send to the card (the PIN included) at their most talkative, and clients that log bodies.
/// What they would say of a failure the error says.
const SILENT: [&str; 4] = ["yubikey", "pcsc", "kube_client", "kube_runtime"];

/// Installs the logger for `-v LEVEL` as kubectl counts: 0 warnings, 1 information, 2 to 5 debug, 6 and up everything.
pub fn install(verbosity: u8) {
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter(verbosity));
    // A second call in one process (tests) finds a logger installed already; the first one keeps the same caps.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

fn filter(verbosity: u8) -> Targets {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2..=5 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let targets = Targets::new().with_default(level);
    SILENT.iter().fold(targets, |targets, library| targets.with_target(*library, LevelFilter::OFF))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn libraries_that_quote_pins_or_bodies_say_nothing_at_any_level() {
        for verbosity in [0, 1, 6, u8::MAX] {
            for target in [
                "yubikey",
                "yubikey::transaction",
                "pcsc",
                "pcsc::context",
                "kube_client::client",
                "kube_runtime",
            ] {
                for level in [Level::ERROR, Level::TRACE] {
                    assert!(!filter(verbosity).would_enable(target, &level), "{target} at -v {verbosity}");
                }
            }
        }
        assert!(filter(9).would_enable("touchseal_cli", &Level::TRACE));
        assert!(!filter(0).would_enable("touchseal_cli", &Level::INFO));
    }
}
