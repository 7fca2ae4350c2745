//! Builds the Go program that opens documents with sops's own library, into `target/bench`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cannot run go: install it and run this again")]
    Go(#[source] io::Error),
    #[error("tests/gosops does not build; what go said is above")]
    Build,
}

/// The program, built anew if its source or its modules changed: go itself knows.
///
/// # Errors
/// When there is no go, or it fails.
pub fn build(folder: &Path) -> Result<PathBuf, BuildError> {
    let program = folder.join("godecrypt");
    if !program.is_file() {
        eprintln!("bench: building sops's Go library to compare with (about 2 minutes the first time) ...");
    }
    let go = Command::new("go")
        .arg("-C")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../gosops"))
        .args(["build", "-mod=readonly", "-trimpath", "-o"])
        .arg(&program)
        .arg("./godecrypt")
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .spawn();
    if go.and_then(wait).map_err(BuildError::Go)? { Ok(program) } else { Err(BuildError::Build) }
}

/// Whether it went well; a line every half minute, so that a long build does not look like a hang.
fn wait(mut go: Child) -> io::Result<bool> {
    let (started, mut said) = (Instant::now(), 0);
    loop {
        if let Some(status) = go.try_wait()? {
            return Ok(status.success());
        }
        std::thread::sleep(Duration::from_millis(50));
        let seconds = started.elapsed().as_secs();
        if seconds >= said + 30 {
            said = seconds;
            eprintln!("bench: ... still at it after {seconds} s");
        }
    }
}
