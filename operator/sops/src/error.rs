//! What can be wrong with a document, and whose fault it is. No message holds a value: keys, line numbers and names of
//! metadata fields only, and keys are quoted and cut.

use std::fmt;

use crate::format::Format;
use crate::limits;

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whoever wrote the document: it is not a document sops would have made.
    Author,
    /// Whoever chose the recipients: the document is not encrypted to a key held here.
    Recipients,
    /// Somebody changed the document after it was encrypted.
    Tampered,
    /// Nobody: the document is good sops, of a kind this crate does not open.
    Unsupported,
}

/// Why bytes are not a sops document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("the document is {size} bytes long, the limit is {}", limits::MAX_BYTES)]
    TooLarge { size: usize },
    #[error("the document is empty")]
    Empty,
    #[error("the document is not UTF-8 (byte {offset})")]
    NotUtf8 { offset: usize },
    #[error("line {line}: not valid {format}: {problem}")]
    Syntax { format: Format, line: u32, problem: &'static str },
    #[error("line {line}: maps and lists nest more than {} deep", limits::MAX_DEPTH)]
    TooDeep { line: u32 },
    #[error(
        "the document holds too much: more than {} values, or {} bytes of them, aliases expanded, or {} brackets and \
         commas in YAML",
        limits::MAX_NODES,
        limits::MAX_BYTES,
        limits::MAX_FLOW_SIGNS
    )]
    TooManyNodes,
    #[error("{path}: the key occurs twice")]
    DuplicateKey { path: Path },
    #[error(
        "{path}: the key is longer than {} bytes, or the whole path than {}",
        limits::MAX_KEY,
        limits::MAX_PATH
    )]
    KeyTooLong { path: Path },
    #[error("line {line}: a key is not a string")]
    KeyNotText { line: u32 },
    #[error("line {line}: {problem}")]
    Unsupported { line: u32, problem: &'static str },
    #[error("the document is not encrypted: it has no sops metadata")]
    NotEncrypted,
    #[error("sops metadata: {field}: {problem}")]
    Metadata { field: String, problem: &'static str },
    #[error("sops metadata: {field}: {problem}")]
    MetadataUnsupported { field: String, problem: &'static str },
}

impl ParseError {
    /// A word from a fixed set, for metrics and conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            ParseError::TooLarge { .. } => "DocumentTooLarge",
            ParseError::Empty => "DocumentEmpty",
            ParseError::NotUtf8 { .. } => "NotUtf8",
            ParseError::Syntax { .. } => "SyntaxError",
            ParseError::TooDeep { .. } => "TooDeep",
            ParseError::TooManyNodes => "TooManyValues",
            ParseError::DuplicateKey { .. } => "DuplicateKey",
            ParseError::KeyTooLong { .. } => "KeyTooLong",
            ParseError::KeyNotText { .. } => "KeyNotText",
            ParseError::NotEncrypted => "NotEncrypted",
            ParseError::Metadata { .. } => "MetadataInvalid",
            ParseError::Unsupported { .. } | ParseError::MetadataUnsupported { .. } => "Unsupported",
        }
    }

    /// The line it is about, where there is one.
    pub fn line(&self) -> Option<u32> {
        let line = match self {
            ParseError::Syntax { line, .. }
            | ParseError::TooDeep { line }
            | ParseError::KeyNotText { line }
            | ParseError::Unsupported { line, .. } => *line,
            ParseError::DuplicateKey { path } | ParseError::KeyTooLong { path } => path.line(),
            _ => 0,
        };
        (line > 0).then_some(line)
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            ParseError::Unsupported { .. } | ParseError::MetadataUnsupported { .. } => Fault::Unsupported,
            _ => Fault::Author,
        }
    }
}

/// Why a parsed document does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    #[error("none of the document's {recipients} recipients is a key held here")]
    NoMatchingKey { recipients: usize },
    /// `closed` are the places of the groups that do not open, counted from 1.
    #[error(
        "the data key is split: {needed} key groups are needed, {opened} can be opened here; no key is held for group {}",
        listed(closed)
    )]
    NotEnoughShares { needed: usize, opened: usize, closed: Vec<usize> },
    #[error("the data key wrapped for {recipient} is damaged")]
    DataKey { recipient: String },
    #[error("the data key's shares do not fit together")]
    Shares,
    #[error("{path}: the value should be encrypted and is not")]
    NotCiphertext { path: Path },
    #[error(
        "{path}: the value is not what was encrypted there: it, or its place in the document, was changed"
    )]
    Value { path: Path },
    #[error("{path}: the value has a type this version does not know")]
    ValueType { path: Path },
    #[error("the document has no MAC")]
    MacMissing,
    #[error("the MAC or the time of last modification was changed")]
    MacDamaged,
    #[error("the MAC does not fit the values: a value or the order of keys was changed")]
    MacMismatch,
    #[error("sops metadata: {field}: not a pattern this version can run")]
    Selector { field: &'static str },
    #[error("too much for the pattern to be matched against (more than {} bytes)", limits::MAX_MATCHED)]
    SelectorWork,
}

impl DecryptError {
    /// A word from a fixed set, for metrics and conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            DecryptError::NoMatchingKey { .. } => "NoMatchingKey",
            DecryptError::NotEnoughShares { .. } => "NotEnoughShares",
            DecryptError::DataKey { .. } | DecryptError::Shares => "DataKeyDamaged",
            DecryptError::NotCiphertext { .. } => "NotCiphertext",
            DecryptError::Value { .. } => "ValueTampered",
            DecryptError::ValueType { .. } => "Unsupported",
            DecryptError::MacMissing => "MacMissing",
            DecryptError::MacDamaged => "MacDamaged",
            DecryptError::MacMismatch => "MacMismatch",
            DecryptError::Selector { .. } | DecryptError::SelectorWork => "Unsupported",
        }
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            DecryptError::NoMatchingKey { .. } | DecryptError::NotEnoughShares { .. } => Fault::Recipients,
            DecryptError::NotCiphertext { .. } => Fault::Author,
            DecryptError::DataKey { .. }
            | DecryptError::Shares
            | DecryptError::Value { .. }
            | DecryptError::MacMissing
            | DecryptError::MacDamaged
            | DecryptError::MacMismatch => Fault::Tampered,
            DecryptError::ValueType { .. } | DecryptError::Selector { .. } | DecryptError::SelectorWork => {
                Fault::Unsupported
            }
        }
    }
}

/// The first of some numbers.
fn listed(numbers: &[usize]) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = numbers.iter().take(SHOWN).map(usize::to_string).collect();
    if numbers.len() > SHOWN {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// A path of keys and the line it ends on, for messages: cut to a readable length, control characters escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    keys: String,
    line: u32,
}

impl Path {
    const SHOWN: usize = 128;

    pub(crate) fn new<'a>(keys: impl IntoIterator<Item = &'a str>, line: u32) -> Path {
        let mut shown = String::new();
        for key in keys {
            if !shown.is_empty() {
                shown.push('.');
            }
            for c in key.chars().flat_map(char::escape_debug) {
                if shown.len() >= Path::SHOWN {
                    shown.push('…');
                    return Path { keys: shown, line };
                }
                shown.push(c);
            }
        }
        Path { keys: shown, line }
    }

    /// The line it ends on, 0 where the format gives none.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The keys, joined by dots, without the line.
    pub fn keys(&self) -> &str {
        &self.keys
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        f.write_str(&self.keys)
    }
}

/// A text of the document as it may be shown: cut, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    Path::new([text], 0).keys
}
