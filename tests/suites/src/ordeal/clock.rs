//! A clock that can be set, for one process. The system's calls are answered by libfaketime, as Linux gives no process a clock of
//! its own that could be set; what shows how much time has passed (the monotonic clocks) goes on, as it does when somebody sets the
//! clock of a machine.

use std::fs;
use std::path::{Path, PathBuf};

/// By how much it is off stands in a file.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// One that is right, kept in `folder`.
    pub fn new(folder: &Path, name: &str) -> Clock {
        let clock = Clock { file: folder.join(format!("{name}.clock")) };
        clock.set("+0");
        clock
    }

    /// Sets it off by so much, such as `+1h`, `-40d` or `+0`.
    pub fn set(&self, offset: &str) {
        // In one step, for it is read all the time.
        let new = self.file.with_extension("new");
        fs::write(&new, offset).unwrap();
        fs::rename(&new, &self.file).unwrap();
    }

    /// A program with arguments that becomes what is appended to it, which then goes by this clock.
    pub fn wrapper(&self) -> Vec<String> {
        let places = ["x86_64", "aarch64"];
        let places =
            places.map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1"));
        let library = places.into_iter().find(|library| Path::new(library).is_file());
        let library = library.expect("libfaketime is not there: make tools");
        let settings = [
            format!("LD_PRELOAD={library}"),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        ["env".to_owned()].into_iter().chain(settings).collect()
    }
}
