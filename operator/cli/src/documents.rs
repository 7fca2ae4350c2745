//! Documents where authors keep them: plain sops files, and the sops strings inside EncryptedSecret and ConfigMap
//! manifests, edited in place. The one way from a file or folder named on the command line to a document, and back.
//!
//! [`find`] names the files, [`Candidate::read`] tells what is in one, [`DocumentFile::replace`] exchanges a document in
//! memory, [`DocumentFile::write`] puts the file back as a whole.

mod candidate;
mod error;
mod file;
mod manifest;
pub mod nodes;
mod open;
mod progress;
mod scalar;

pub use candidate::{Candidate, Reading, find};
pub use error::DocumentsError;
pub use file::{DocumentFile, InPlace, Written};
pub use open::Opened;
pub use progress::Progress;

use crate::error::{Exit, Failure};

/// What a command that works on a tree ends with where there is nothing for it in so many files: most likely the path is
/// another one than was meant.
pub fn nothing_in(files: usize) -> Failure {
    let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    Failure::new(
        Exit::Failed,
        format!("no document is in {files}"),
        "check the path; a file given by name must hold a document",
    )
}
