//! What is kept of each release, under `tests/vectors/compat`: definitions, and everything that its operator and its command
//! line stored. Today's must go on from all of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::world::repository;

/// Every release of which something is kept, oldest first.
pub fn releases() -> Vec<PathBuf> {
    let folder = repository().join("tests/vectors/compat");
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut releases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    releases.sort();
    assert!(!releases.is_empty(), "nothing is kept under {}", folder.display());
    releases
}

/// The CustomResourceDefinitions of a folder, by file name.
pub fn definitions(folder: &Path) -> BTreeMap<String, Value> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let definitions: BTreeMap<String, Value> = files
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), serde_norway::from_str(&text).unwrap())
        })
        .collect();
    assert!(definitions.len() >= 5, "hardly any definition is in {}", folder.display());
    definitions
}
