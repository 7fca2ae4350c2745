//! `touchseal` as a person at a laptop runs it: an own configuration folder, a reader with software YubiKeys (test
//! equipment), the PIN from a file descriptor instead of the terminal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use touchseal_crds::keyring::KeyringSpec;
use touchseal_rig::scratch::Scratch;
use touchseal_softkey::{Reader, SoftKey};

use crate::binaries;

/// PIN of the keys made here; not the factory's, which is refused.
pub const PIN: &str = "739152";
const PUK: &str = "86420975";
/// Who commits with git.
pub(crate) const AUTHOR: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "alice"),
    ("GIT_AUTHOR_EMAIL", "alice@example.invalid"),
    ("GIT_COMMITTER_NAME", "alice"),
    ("GIT_COMMITTER_EMAIL", "alice@example.invalid"),
];

/// A laptop with a reader.
pub struct Laptop {
    /// What `~/.config` is.
    pub home: Scratch,
    /// The reader; two slots.
    pub reader: Reader,
    pins: Scratch,
    kubeconfig: PathBuf,
    /// Where commands run.
    folder: PathBuf,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Asserts that it went well.
    pub fn ok(self) -> Said {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Asserts that it failed with this exit code, saying all of `words` on standard error, an error and a hint.
    pub fn refused(self, code: i32, words: &[&str]) -> Said {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        for word in words.iter().chain(&["error: ", "hint: "]) {
            assert!(self.err.contains(word), "no {word:?} in:\n{}", self.err);
        }
        assert!(!self.err.contains(PIN) && !self.out.contains(PIN), "the PIN was printed");
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

impl Laptop {
    /// One with an empty reader; commands run in its home.
    pub fn new(kubeconfig: &Path) -> Laptop {
        let home = Scratch::new("laptop").unwrap();
        Laptop { folder: home.path().to_owned(), home, ..Laptop::at(Path::new("/"), kubeconfig) }
    }

    /// One whose commands run in `folder`.
    pub fn at(folder: &Path, kubeconfig: &Path) -> Laptop {
        Laptop {
            folder: folder.to_owned(),
            home: Scratch::new("laptop").unwrap(),
            reader: Reader::start().unwrap(),
            pins: Scratch::new("pins").unwrap(),
            kubeconfig: kubeconfig.to_owned(),
        }
    }

    /// Where commands run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A software YubiKey that touches itself at once, plugged into `slot`.
    pub fn key(&self, slot: usize, serial: u32) -> SoftKey {
        let key = SoftKey::builder(serial).firmware(5, 7, 1).pin(PIN).puk(PUK).build().unwrap();
        self.reader.insert(slot, &key).unwrap();
        key
    }

    /// Creates a keyring on the one plugged-in key and returns its manifest.
    pub fn create_keyring(&self, name: &str, holder: &str) -> KeyringSpec {
        self.run(&["keyring", "create", name, "--holder", holder], PIN).ok();
        self.manifest(name)
    }

    /// A keyring's manifest as the commands wrote it.
    pub fn manifest(&self, name: &str) -> KeyringSpec {
        let text = fs::read_to_string(self.folder.join(format!("{name}.keyring.yaml"))).unwrap();
        let object: Value = serde_norway::from_str(&text).unwrap();
        serde_json::from_value(object["spec"].clone()).unwrap()
    }

    /// Forgets every fingerprint, as a laptop that never saw the keyring.
    pub fn forget_keyrings(&self) {
        fs::remove_dir_all(self.home.path().join("touchseal")).unwrap();
    }

    /// Runs a command with a PIN at hand.
    pub fn run(&self, arguments: &[&str], pin: &str) -> Said {
        self.start(arguments, pin).wait_with_output().unwrap().into()
    }

    /// Runs a command that needs no PIN.
    pub fn run_plain(&self, arguments: &[&str]) -> Said {
        self.command(arguments).stdin(Stdio::null()).output().unwrap().into()
    }

    /// Runs git, which must succeed.
    pub fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        let said: Said = self.at_home(git.args(arguments)).envs(AUTHOR).output().unwrap().into();
        assert_eq!(said.code, 0, "git {arguments:?}: {}{}", said.out, said.err);
    }

    /// Starts a command that needs no PIN.
    pub fn start_plain(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts a command with a PIN at hand, on descriptor 3; `--new-pin-fd 4` finds the same PIN.
    pub fn start(&self, arguments: &[&str], pin: &str) -> Child {
        self.with_pin(arguments, pin).spawn().unwrap()
    }

    /// A command with a PIN at hand, ready to start or to be given more of an environment. It becomes the command line
    /// itself: its process is the one that is started.
    pub fn with_pin(&self, arguments: &[&str], pin: &str) -> Command {
        let file = self.pins.path().join("pin");
        fs::write(&file, format!("{pin}\n")).unwrap();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "exec \"$0\" \"$@\" 3<\"$PIN_FILE\" 4<\"$PIN_FILE\""]).env("PIN_FILE", file);
        shell.arg(binaries::touchseal()).args(arguments).args(["--pin-fd", "3"]);
        self.at_home(&mut shell).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    }

    /// Everything the command line keeps on the laptop.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found)
                } else {
                    found.push((path.clone(), fs::read(path).unwrap()))
                }
            }
        }
        let mut found = Vec::new();
        walk(self.home.path(), &mut found);
        found
    }

    /// A command that needs no PIN, ready to start.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binaries::touchseal());
        self.at_home(command.args(arguments));
        command
    }

    pub(crate) fn at_home<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PCSCLITE_CSOCK_NAME", self.reader.socket())
            .env("XDG_CONFIG_HOME", self.home.path())
            .current_dir(&self.folder)
    }
}
