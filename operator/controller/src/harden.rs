//! Keeps what is in memory in memory: no core dumps, no ptrace by other processes of the same user, no panic message.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// No core dump, no ptrace by processes of the same user (`PR_SET_DUMPABLE 0`, `RLIMIT_CORE 0`).
///
/// # Errors
/// The kernel refused; the operator does not start then.
pub fn harden() -> std::io::Result<()> {
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}

/// A panic is a bug; its message may quote what was being worked on, so only its place is logged.
pub fn hide_panic_messages() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a bug in touchseal: an operation was given up; please report the place");
    }));
}
