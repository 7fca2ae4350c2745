//! Why a document was not found in a file, or not put back into it. Nothing here quotes a file's text.

use std::path::PathBuf;

use touchseal_sops::{Format, ParseError};

use crate::error::{Exit, Explain, Failure, chain};
use crate::files::FileError;

/// What failed, on which file.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder could not be listed.
    #[error("list {}", .0.display())]
    List(PathBuf, #[source] walkdir::Error),
    /// The file holds no document of either kind.
    #[error("{} is neither a sops file nor an EncryptedSecret manifest with a document in it", .0.display())]
    Neither(PathBuf),
    /// It was encrypted by sops once, or should have been.
    #[error("{} is not a sops document of format {format}", .path.display())]
    NotSops { path: PathBuf, format: Format, source: ParseError },
    /// A manifest that is no YAML.
    #[error("read {}: line {line}: not valid YAML", .path.display())]
    NotYaml { path: PathBuf, line: usize },
    /// A key is there twice.
    #[error("read {}: {key:?} is there twice in one map", .path.display())]
    Twice { path: PathBuf, key: String },
    /// The document is written elsewhere in the file, or used elsewhere, too.
    #[error("read {}: document {document} is shared by a YAML anchor", .path.display())]
    Shared { path: PathBuf, document: String },
    /// The manifest did not read back as intended.
    #[error("exchange document {document} in {}: its layout is not understood", .path.display())]
    Layout { path: PathBuf, document: String },
    /// Somebody else wrote the file in between.
    #[error("write {}: it was changed by somebody else meanwhile", .0.display())]
    Changed(PathBuf),
    /// The new document is not text.
    #[error("write {}: the new document is not text", .0.display())]
    NotText(PathBuf),
    /// `--document` names none of them.
    #[error("{} has no document {wanted}", .path.display())]
    NoSuch { path: PathBuf, wanted: String, there: String },
    /// One is needed and there are several.
    #[error("{} holds several documents", .path.display())]
    Several { path: PathBuf, there: String },
    /// `--namespace` contradicts the manifest.
    #[error("{} is for namespace {found}, not for {wanted}", .path.display())]
    Namespace { path: PathBuf, found: String, wanted: String },
}

impl DocumentsError {
    /// What is wrong with a file, where its name stands beside it already.
    pub fn of_its_file(&self) -> String {
        match self {
            Self::File(error) => error.of_its_file(),
            Self::Neither(_) => "neither a sops file nor a manifest with a document in it".to_owned(),
            Self::NotSops { format, source, .. } => {
                format!("not a sops document of format {format}: {source}")
            }
            Self::NotYaml { line, .. } => format!("line {line}: not valid YAML"),
            Self::Twice { key, .. } => format!("{key:?} is there twice in one map"),
            Self::Shared { document, .. } => format!("document {document} is shared by a YAML anchor"),
            Self::Layout { document, .. } => {
                format!("exchange document {document}: the layout around it is not understood")
            }
            Self::Changed(_) => "it was changed by somebody else meanwhile".to_owned(),
            Self::NotText(_) => "the new document is not text".to_owned(),
            Self::Namespace { found, wanted, .. } => format!("it is for namespace {found}, not for {wanted}"),
            Self::List(..) | Self::NoSuch { .. } | Self::Several { .. } => chain(self),
        }
    }

    /// The same as a failure.
    pub fn beside_its_file(&self) -> Failure {
        Failure::new(self.exit(), self.of_its_file(), self.hint())
    }
}

impl Explain for DocumentsError {
    fn hint(&self) -> String {
        match self {
            Self::File(error) => error.hint(),
            Self::List(..) => "check the folder and its permissions".to_owned(),
            Self::Neither(_) => "check that this is the file you meant; a plain file is encrypted with \
                                 touchseal encrypt"
                .to_owned(),
            Self::NotSops { .. } => {
                "use its last version from git that was right; if it holds secrets in plain text and was ever pushed, \
                 change them"
                    .to_owned()
            }
            Self::NotYaml { .. } | Self::Twice { .. } => "correct the manifest first".to_owned(),
            Self::Shared { .. } => "write the document out at its place, without & and *".to_owned(),
            Self::Layout { .. } => {
                "the file was not changed; write the document as a block (sops: |), as touchseal wrap does".to_owned()
            }
            Self::Changed(_) => "nothing was written; run the command again".to_owned(),
            Self::NotText(_) => "this is a bug in touchseal: please report it".to_owned(),
            Self::NoSuch { there, .. } => format!("choose one of {there}"),
            Self::Several { there, .. } => format!("choose one with --document: {there}"),
            Self::Namespace { .. } => {
                "leave --namespace out: a manifest that names its namespace is encrypted for that one".to_owned()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoSuch { .. } | Self::Several { .. } | Self::Namespace { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}
