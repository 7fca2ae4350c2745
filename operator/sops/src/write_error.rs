//! What can be wrong with encrypting, or with changing what is encrypted. No message holds a value.

use crate::error::{DecryptError, ParseError, Path};
use crate::limits;
use crate::metadata::OtherKey;

/// Why plaintext is not encrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    #[error("{0}")]
    Parse(ParseError),
    #[error("there is an entry `sops` already: the file is encrypted, or the entry needs another name")]
    AlreadyEncrypted,
    #[error("the time is not written as in 2026-01-31T08:00:00Z")]
    Time,
    #[error("sops metadata: {field}: not a pattern this version can run")]
    Selector { field: &'static str },
    #[error("too much for the pattern to be matched against (more than {} bytes)", limits::MAX_MATCHED)]
    SelectorWork,
    #[error("{path}: encrypted, a comment would match unencrypted_comment_regex")]
    CommentMatches { path: Path },
    #[error("{recipient}: the data key cannot be encrypted to this recipient")]
    Recipient { recipient: String },
    #[error("there is no randomness")]
    Randomness,
    #[error("encrypted, the document is {size} bytes long, the limit is {}", limits::MAX_BYTES)]
    TooLarge { size: usize },
    #[error("the document cannot be written so that it opens again: {problem}")]
    NotReadBack { problem: String },
}

impl EncryptError {
    /// A word from a fixed set, for scripts and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            EncryptError::Parse(error) => error.reason(),
            EncryptError::AlreadyEncrypted => "AlreadyEncrypted",
            EncryptError::Time => "TimeInvalid",
            EncryptError::Selector { .. } | EncryptError::SelectorWork => "Unsupported",
            EncryptError::CommentMatches { .. } => "CommentMatches",
            EncryptError::Recipient { .. } => "RecipientFailed",
            EncryptError::Randomness => "NoRandomness",
            EncryptError::TooLarge { .. } => "DocumentTooLarge",
            EncryptError::NotReadBack { .. } => "NotReadBack",
        }
    }
}

/// Why an encrypted document is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The document does not open.
    #[error("{0}")]
    Open(DecryptError),
    /// What it is to become cannot be encrypted.
    #[error("{0}")]
    Encrypt(EncryptError),
    /// Entries for keys of kinds this crate cannot encrypt to.
    #[error("the document has recipients the data key cannot be encrypted to here: {}", listed(kinds))]
    OtherKinds { kinds: Vec<OtherKey> },
    /// An age recipient of the document that is no X25519 one.
    #[error("{recipient}: a recipient the data key cannot be encrypted to here")]
    OtherRecipient { recipient: String },
}

impl ChangeError {
    /// As [`EncryptError::reason`].
    pub fn reason(&self) -> &'static str {
        match self {
            ChangeError::Open(error) => error.reason(),
            ChangeError::Encrypt(error) => error.reason(),
            ChangeError::OtherKinds { .. } | ChangeError::OtherRecipient { .. } => "OtherRecipients",
        }
    }
}

impl From<DecryptError> for ChangeError {
    fn from(error: DecryptError) -> ChangeError {
        ChangeError::Open(error)
    }
}

impl From<EncryptError> for ChangeError {
    fn from(error: EncryptError) -> ChangeError {
        ChangeError::Encrypt(error)
    }
}

impl From<ParseError> for EncryptError {
    fn from(error: ParseError) -> EncryptError {
        EncryptError::Parse(error)
    }
}

fn listed(kinds: &[OtherKey]) -> String {
    kinds.iter().map(|kind| kind.field()).collect::<Vec<_>>().join(", ")
}
