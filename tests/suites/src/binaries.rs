//! The programs under test. `make` has them built and says where (`TOUCHSEAL_PROGRAMS`); a plain `cargo test` builds each
//! once a process, so that no test runs a stale one.

use std::collections::HashSet;
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{LazyLock, Mutex};

static BUILT: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Path of the program `name` of the package `package`.
pub fn path(package: &str, name: &str) -> PathBuf {
    if let Some(folder) = env::var_os("TOUCHSEAL_PROGRAMS") {
        return PathBuf::from(folder).join(name);
    }
    let me = env::current_exe().unwrap();
    let folder = me.ancestors().find(|p| p.join("deps").is_dir()).unwrap();
    let mut built = BUILT.lock().unwrap();
    if built.insert(package.to_owned()) {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--bins", "--package", package])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(status.success(), "{package} does not build");
    }
    folder.join(name)
}

/// The operator.
pub fn operator() -> PathBuf {
    path("touchseal-controller", "touchseal-operator")
}

/// The command line.
pub fn touchseal() -> PathBuf {
    path("touchseal-cli", "touchseal")
}
