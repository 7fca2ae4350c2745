//! The chart by the real helm, without a cluster: it lints, renders what was reviewed, refuses nonsense, and keeps what is
//! said of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod golden;
mod kept;
mod refused;
mod rights;

use std::fs;
use std::path::PathBuf;

use touchseal_suites::chart::{folder, helm, words};
use touchseal_suites::world::repository;

/// The files of a folder of tests/chart with their paths, in order.
fn files(of: &str) -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = fs::read_dir(repository().join("tests/chart").join(of))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    found.sort();
    found
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    let chart = folder();
    for (name, path) in files("values") {
        let said =
            helm(&["lint", "--strict", "--quiet", chart.to_str().unwrap(), "-f", path.to_str().unwrap()]);
        assert!(said.status.success(), "{name}: {}", words(&said));
    }
}
