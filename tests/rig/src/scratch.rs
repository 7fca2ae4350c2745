//! A private folder for what a test starts. It disappears with its owner, even when that is killed: a small shell waits
//! at the end of a pipe and tidies up when the pipe closes, which the kernel does for every process that ends.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Whoever still writes into the folder when its owner ends is about to be killed too, hence more than one attempt.
const TIDY_UP: &str =
    r#"read -r _; n=0; until rm -rf -- "$1" || [ $n -ge 100 ]; do n=$((n+1)); sleep 0.1; done"#;

/// A folder readable by this user only. With `TOUCHSEAL_RIG_KEEP` in the environment it stays, to be looked at.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    janitor: Option<Child>,
}

impl Scratch {
    /// Makes one under the system's folder for temporary files; `label` is part of its name.
    ///
    /// # Errors
    /// When the folder cannot be made or the shell cannot be started.
    pub fn new(label: &str) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path =
                std::env::temp_dir().join(format!("touchseal-{label}-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        if std::env::var_os("TOUCHSEAL_RIG_KEEP").is_some() {
            eprintln!("keeping {}", path.display());
            return Ok(Self { path, janitor: None });
        }
        let janitor = Command::new("/bin/sh")
            .args(["-c", TIDY_UP, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // Ctrl-C in a terminal is for us, not for it
            .spawn()?;
        Ok(Self { path, janitor: Some(janitor) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(janitor) = &mut self.janitor {
            drop(janitor.stdin.take());
            let _ = janitor.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn is_private_and_goes_with_its_owner() {
        let scratch = Scratch::new("scratch-test").unwrap();
        let path = scratch.path().to_path_buf();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::create_dir(path.join("folder")).unwrap();
        std::fs::write(path.join("folder/file"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
