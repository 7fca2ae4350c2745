//! What can be wrong with a template, in words of our own: those of the engine may quote what it was given.

use std::fmt;

use crate::mapping::{MAX_SECRET_BYTES, MappingError};

/// Longest piece of a template in a message.
const SHOWN: usize = 64;

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The Secret key it is for.
    pub key: String,
    /// Its line, from 1, where one line is to blame.
    pub line: Option<usize>,
    /// What is wrong.
    pub wrong: Wrong,
}

impl TemplateError {
    pub(super) fn of_key(key: &str, error: MappingError) -> TemplateError {
        let wrong = match error {
            MappingError::BadKey { .. } => Wrong::BadKey,
            MappingError::TooLarge => Wrong::TooLarge,
            other => Wrong::Key(other),
        };
        TemplateError { key: key.to_owned(), line: None, wrong }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "target.template.data: {}", shown(&self.key))?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.wrong)
    }
}

impl std::error::Error for TemplateError {}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is no template. The parser has seen no value.
    #[error("it does not parse: {0}")]
    Syntax(String),
    /// A statement that there is not.
    #[error("there is no statement {0:?} here; there are if, elif, else, for and raw")]
    Statement(String),
    /// An operator or the like that there is not.
    #[error("{0} is not possible here; docs/templates.md lists what is")]
    Operation(&'static str),
    /// A filter that there is not.
    #[error("there is no filter {0:?}; there are {known}", known = super::filters::NAMES.join(", "))]
    Filter(String),
    /// A filter with other arguments than it takes.
    #[error("the filter {name} takes {takes}")]
    Arguments {
        /// The filter.
        name: &'static str,
        /// What it takes.
        takes: &'static str,
    },
    /// A list, a map or all of `data` where one text is needed.
    #[error("{0} is no text; write lists and maps with the filter tojson")]
    NotPlain(&'static str),
    /// A name that no document gives.
    #[error("no document gives the key {name:?}; {}", given(.there))]
    NoKey {
        /// The name, as the template has it.
        name: String,
        /// Names there are.
        there: Vec<String>,
    },
    /// A name that is put together, and that no document gives. It may be put together of values, so it is not shown.
    #[error("a name in data[...] that is put together is no key that the documents give")]
    NoSuchKey,
    /// What stands behind the dot is nothing there.
    #[error("{0:?} is nothing of loop; there are index, index0, first, last and length")]
    NoSuchPart(String),
    /// Values that are not text.
    #[error("{} cannot be put into a text: it is not UTF-8", .0.join(", "))]
    NotText(Vec<String>),
    /// A value that is not base64.
    #[error("what b64decode is given is not base64 of UTF-8 text")]
    NotBase64,
    /// Too deep.
    #[error("it is nested too deeply, or one tag is too long; divide it")]
    Deep,
    /// Too long.
    #[error(
        "a template may have {} bytes; divide it, or put the text into a document",
        super::parse::MAX_TEXT
    )]
    LongText,
    /// Too many.
    #[error(
        "the templates of one Secret may be {} in number and have {} bytes in all",
        super::MAX_COMPOSED,
        super::MAX_TEXTS
    )]
    TooManyTemplates,
    /// Too much work.
    #[error("it could come to more work than a template may take; use shorter loops and fewer filters")]
    TooMuch,
    /// Too large a result.
    #[error("keys and values come to more than {MAX_SECRET_BYTES} bytes, the limit of a Secret")]
    TooLarge,
    /// What the engine refuses though it was judged right.
    #[error("it cannot be rendered")]
    Engine,
    /// The key cannot be one of a Secret.
    #[error("it is no Secret key (letters, digits, '-', '_', '.'; at most 253)")]
    BadKey,
    /// The whole cannot be in a Secret.
    #[error("{0}")]
    Key(MappingError),
}

impl Wrong {
    pub(super) fn at(self, line: usize) -> Misplaced {
        Misplaced { line: (line > 0).then_some(line), wrong: self }
    }

    pub(super) const fn somewhere(self) -> Misplaced {
        Misplaced { line: None, wrong: self }
    }
}

/// What is wrong, on which line of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    line: Option<usize>,
    wrong: Wrong,
}

impl Misplaced {
    pub(super) fn of(self, key: &str) -> TemplateError {
        TemplateError { key: key.to_owned(), line: self.line, wrong: self.wrong }
    }
}

/// A piece of a template, cut to what fits into a message, without what steers a terminal.
pub(super) fn shown(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(SHOWN).map(clean).collect()
}

fn given(there: &[String]) -> String {
    const FIRST: usize = 8;
    let names: Vec<String> = there.iter().take(FIRST).map(|name| shown(name)).collect();
    match there.len() {
        0 => "they give none".to_owned(),
        all if all > FIRST => format!("they give {} and {} more", names.join(", "), all - FIRST),
        _ => format!("they give {}", names.join(", ")),
    }
}
