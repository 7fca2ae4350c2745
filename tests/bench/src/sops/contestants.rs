//! Two contestants: our crate in a warm process, and the sops program started for each document.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use touchseal_sops::{Document, Format, Opener};
use zeroize::Zeroizing;

use crate::worker::{Contestant, Failure, Work};

/// Where every contestant finds the age identity; sops's own name for it.
pub const IDENTITY: &str = "SOPS_AGE_KEY";
/// Where [`Program`] finds the sops executable.
pub const PROGRAM: &str = "TOUCHSEAL_BENCH_SOPS";

/// Our crate: bytes of a document to bytes of its plaintext, with an opener made once.
pub struct Ours(Rc<Opener>);

impl Ours {
    pub fn from_environment() -> Result<Ours, Failure> {
        let identity = Zeroizing::new(std::env::var(IDENTITY)?);
        Ok(Ours(Rc::new(Opener::new().with_x25519(identity.parse()?))))
    }
}

impl Contestant for Ours {
    fn prepare(&self, format: &str, path: &Path) -> Result<Work, Failure> {
        let (bytes, format): (_, Format) = (std::fs::read(path)?, format.parse()?);
        let opener = Rc::clone(&self.0);
        Ok(Box::new(move || {
            let plain = Document::parse(&bytes, format)?.decrypt_with(&opener)?;
            plain.emit().ok_or_else(|| "the plaintext does not fit its format".into())
        }))
    }
}

/// The sops program, one process a document.
pub struct Program(PathBuf);

impl Program {
    pub fn from_environment() -> Result<Program, Failure> {
        Ok(Program(std::env::var_os(PROGRAM).ok_or("which sops?")?.into()))
    }
}

impl Contestant for Program {
    fn prepare(&self, format: &str, path: &Path) -> Result<Work, Failure> {
        let mut command = Command::new(&self.0);
        command.args(["decrypt", "--input-type", format, "--output-type", format]).arg(path);
        command.stdin(Stdio::null()).stderr(Stdio::inherit());
        Ok(Box::new(move || {
            let output = command.output()?;
            if !output.status.success() {
                return Err("sops failed".into());
            }
            Ok(Zeroizing::new(output.stdout))
        }))
    }

    fn by_children(&self) -> bool {
        true
    }
}
