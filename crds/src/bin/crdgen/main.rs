//! Writes `crds/*.yaml`, the chart's copies of them and the reference page from the Rust types; `--check` only compares and
//! fails when a file is stale, missing, or nobody's.

mod reference;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

const HEADER: &str =
    "# Generated from crds/src by `cargo run -p touchseal-crds --bin crdgen`. Do not edit.\n";
/// From the root. Helm reads no file outside its chart, and not everything that fetches charts follows links.
const FOLDERS: [&str; 2] = ["crds", "charts/touchseal/files/crds"];
const REFERENCE: &str = "docs/reference.md";

fn main() -> ExitCode {
    let check = env::args().any(|arg| arg == "--check");
    match run(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), check) {
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

/// Paths of the files that differ from the types (in check mode nothing is written).
fn run(root: &Path, check: bool) -> io::Result<Vec<String>> {
    let mut stale = Vec::new();
    let mut keep = |name: String, wanted: &str| -> io::Result<()> {
        let path = root.join(&name);
        if fs::read_to_string(&path).is_ok_and(|present| present == wanted) {
            return Ok(());
        }
        if check {
            stale.push(name);
        } else {
            fs::write(&path, wanted)?;
            println!("wrote {name}");
        }
        Ok(())
    };
    let definitions = touchseal_crds::all();
    for (name, crd) in &definitions {
        let yaml = serde_norway::to_string(crd).map_err(io::Error::other)?;
        // Kubernetes knows no unsigned format and warns of it; the bounds are in the schema all the same.
        let yaml = yaml.replace("format: uint32", "format: int64").replace("format: uint8", "format: int32");
        for folder in FOLDERS {
            keep(format!("{folder}/{name}"), &format!("{HEADER}{yaml}"))?;
        }
    }
    let schemas: Result<Vec<_>, _> = definitions.iter().map(|(_, crd)| serde_json::to_value(crd)).collect();
    keep(REFERENCE.to_owned(), &reference::page(&schemas?))?;
    for folder in FOLDERS {
        for entry in fs::read_dir(root.join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".yaml") && definitions.iter().all(|(known, _)| *known != name) {
                stale.push(format!("{folder}/{name} (of no kind there is: remove it)"));
            }
        }
    }
    Ok(stale)
}
