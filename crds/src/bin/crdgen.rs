//! Writes `crds/*.yaml` from the Rust types; `--check` only compares and fails when a file is stale.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

const HEADER: &str =
    "# Generated from crds/src by `cargo run -p touchseal-crds --bin crdgen`. Do not edit.\n";

fn main() -> ExitCode {
    let check = env::args().any(|arg| arg == "--check");
    match run(Path::new(env!("CARGO_MANIFEST_DIR")), check) {
        Ok(stale) if stale.is_empty() => ExitCode::SUCCESS,
        Ok(stale) => {
            eprintln!("stale: {}\nrun: cargo run -p touchseal-crds --bin crdgen", stale.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("crdgen: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Names of the files that differ from the types (in check mode nothing is written).
fn run(dir: &Path, check: bool) -> io::Result<Vec<String>> {
    let mut stale = Vec::new();
    for (name, crd) in touchseal_crds::all() {
        let yaml = serde_norway::to_string(&crd).map_err(io::Error::other)?;
        // Kubernetes knows no unsigned format and warns of it; the bounds are in the schema all the same.
        let yaml = yaml.replace("format: uint32", "format: int64");
        let wanted = format!("{HEADER}{yaml}");
        let path = dir.join(name);
        if fs::read_to_string(&path).is_ok_and(|present| present == wanted) {
            continue;
        }
        if check {
            stale.push(name.to_owned());
        } else {
            fs::write(&path, wanted)?;
            println!("wrote crds/{name}");
        }
    }
    Ok(stale)
}
