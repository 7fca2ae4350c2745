//! The program `touchseal`, also as `kubectl-touchseal` and `kubectl_complete-touchseal`: all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    touchseal_cli::main()
}
