//! Writes `crds/*.yaml`, the chart's copies of them and the reference page from the Rust types; `--check` only compares and
//! fails when a file is stale, missing, or nobody's.

mod reference;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use serde_json::Value;

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
    let mut schemas = Vec::new();
    for (name, crd) in &definitions {
        let mut definition = serde_json::to_value(crd).map_err(io::Error::other)?;
        bound(&mut definition);
        let yaml = serde_norway::to_string(&definition).map_err(io::Error::other)?;
        for folder in FOLDERS {
            keep(format!("{folder}/{name}"), &format!("{HEADER}{yaml}"))?;
        }
        schemas.push(definition);
    }
    keep(REFERENCE.to_owned(), &reference::page(&schemas))?;
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

/// Kubernetes knows no unsigned formats and warns of them. What they mean is said in its words instead: a number that does not
/// fit the type would make the whole object unreadable for us.
fn bound(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let most = match fields.get("format").and_then(Value::as_str) {
                Some("uint8") => Some(("int32", u64::from(u8::MAX))),
                Some("uint32") => Some(("int64", u64::from(u32::MAX))),
                _ => None,
            };
            if let Some((format, most)) = most {
                fields.insert("format".to_owned(), format.into());
                fields.entry("maximum").or_insert_with(|| most.into());
                fields.entry("minimum").or_insert_with(|| 0.into());
            }
            fields.values_mut().for_each(bound);
        }
        Value::Array(items) => items.iter_mut().for_each(bound),
        _ => {}
    }
}
