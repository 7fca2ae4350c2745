//! Why no creation rule was chosen for a file.

use std::path::PathBuf;

use crate::error::{Exit, Explain};
use crate::files::FileError;

/// What is wrong, in which rule.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// The rules could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// They are no rules.
    #[error("read the creation rules {rules}: {problem}")]
    Yaml { rules: String, problem: String },
    /// None is for this file.
    #[error("choose a creation rule for {}: none in {rules} fits", .file.display())]
    NoRule { rules: String, file: PathBuf },
    /// A field is not of its type.
    #[error("read {place}: {field}: {problem}")]
    Field { place: String, field: &'static str, problem: &'static str },
    /// An expression is none, or of a kind that is not supported.
    #[error("read {place}: {field} {pattern:?} is no regular expression that is supported: {problem}")]
    Pattern { place: String, field: &'static str, pattern: String, problem: String },
    /// It names no key.
    #[error("read {place}: it names no recipient, or has a key group without one")]
    NoKeys { place: String },
    /// It names keys of other kinds.
    #[error("follow {place}: {field} is not supported, age recipients are")]
    OtherKeys { place: String, field: &'static str },
    /// An indentation nobody can write with.
    #[error("follow {rules}: {field} is no number of columns")]
    Indentation { rules: String, field: &'static str },
}

impl Explain for ChooseError {
    fn hint(&self) -> String {
        match self {
            Self::File(error) => error.hint(),
            Self::NoRule { .. } => {
                "add a rule (touchseal recipients -f FILE --for NAMESPACE --sops-yaml), or say whom to encrypt to: --namespace NAME or --age RECIPIENT"
                    .to_owned()
            }
            Self::Yaml { .. } | Self::Field { .. } | Self::NoKeys { .. } | Self::Indentation { .. } => {
                "correct it".to_owned()
            }
            Self::Pattern { .. } => "correct it; Unicode classes, \\Q and \\C are not supported".to_owned(),
            Self::OtherKeys { .. } => {
                "use sops itself for this file: sops encrypt, sops updatekeys".to_owned()
            }
        }
    }

    fn exit(&self) -> Exit {
        Exit::Failed
    }
}
