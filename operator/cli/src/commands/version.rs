//! `touchseal version`.

use serde_json::json;

use crate::args::Global;
use crate::error::Failure;
use crate::output::{self, Format};

/// Runs it.
pub fn run(global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml])?;
    let version = env!("CARGO_PKG_VERSION");
    match global.output {
        Format::Table => output::print(&format!("touchseal {version}\n")),
        format => output::print(&output::machine(format, &json!({ "version": version }))?),
    }
}
