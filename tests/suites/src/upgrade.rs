//! What is kept of each release, under `tests/vectors/compat`: definitions, and everything that its operator and its command
//! line stored. Today's must go on from all of it. `keep` writes it, once a release.

mod keep;
mod release;

pub use keep::keep;
pub use release::{Release, YubiKey};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::world::repository;

/// Every release of which something is kept, oldest first.
pub fn releases() -> Vec<Release> {
    let folder = folder();
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut releases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    releases.sort();
    assert!(!releases.is_empty(), "nothing is kept under {}", folder.display());
    releases.into_iter().map(|folder| Release { folder }).collect()
}

fn folder() -> PathBuf {
    repository().join("tests/vectors/compat")
}

/// The CustomResourceDefinitions of a folder, by file name.
pub fn definitions(folder: &Path) -> BTreeMap<String, Value> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let definitions: BTreeMap<String, Value> = files.map(|path| (name_of(&path), read_yaml(&path))).collect();
    assert!(definitions.len() >= 5, "hardly any definition is in {}", folder.display());
    definitions
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn read_yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    serde_norway::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
