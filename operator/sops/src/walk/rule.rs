//! A selector ready to run, on a budget.

use regex_lite::{Regex, RegexBuilder};

use crate::limits::MAX_MATCHED;
use crate::metadata::Selector;
use crate::text::Text;

/// A selector ready to run. Patterns are Go's, run by an engine of the same family: linear time, no backtracking.
pub(super) enum Rule<'a> {
    UnencryptedSuffix(&'a str),
    EncryptedSuffix(&'a str),
    Unencrypted(Regex),
    Encrypted(Regex),
    UnencryptedComment(Regex),
    EncryptedComment(Regex),
}

/// A rule cannot be run.
pub(crate) enum RuleError {
    Pattern {
        field: &'static str,
    },
    /// More than [`MAX_MATCHED`] bytes to match against.
    Work,
}

impl Rule<'_> {
    /// Memory for a compiled pattern, in bytes; it bounds the time spent on each byte matched, too.
    const COMPILED: usize = 32 * 1024;
    const NESTING: u32 = 50;

    pub(super) fn compile(selector: &Selector) -> Result<Rule<'_>, RuleError> {
        let pattern = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(Self::COMPILED)
                .nest_limit(Self::NESTING)
                .build()
                .map_err(|_| RuleError::Pattern { field: selector.field() })
        };
        Ok(match selector {
            Selector::UnencryptedSuffix(suffix) => Rule::UnencryptedSuffix(suffix),
            Selector::EncryptedSuffix(suffix) => Rule::EncryptedSuffix(suffix),
            Selector::UnencryptedRegex(text) => Rule::Unencrypted(pattern(text)?),
            Selector::EncryptedRegex(text) => Rule::Encrypted(pattern(text)?),
            Selector::UnencryptedCommentRegex(text) => Rule::UnencryptedComment(pattern(text)?),
            Selector::EncryptedCommentRegex(text) => Rule::EncryptedComment(pattern(text)?),
        })
    }

    pub(super) fn encrypts(&self, matched: bool) -> bool {
        match self {
            Rule::UnencryptedSuffix(_) | Rule::Unencrypted(_) | Rule::UnencryptedComment(_) => !matched,
            Rule::EncryptedSuffix(_) | Rule::Encrypted(_) | Rule::EncryptedComment(_) => matched,
        }
    }

    /// `spent` counts the bytes a pattern was run over.
    pub(super) fn matches_key(&self, key: &str, spent: &mut usize) -> Result<bool, RuleError> {
        match self {
            Rule::UnencryptedSuffix(suffix) | Rule::EncryptedSuffix(suffix) => Ok(key.ends_with(suffix)),
            Rule::Unencrypted(pattern) | Rule::Encrypted(pattern) => {
                spend(spent, key.len())?;
                Ok(pattern.is_match(key))
            }
            Rule::UnencryptedComment(_) | Rule::EncryptedComment(_) => Ok(false),
        }
    }

    pub(super) fn matches_comment(&self, text: &Text, spent: &mut usize) -> Result<bool, RuleError> {
        match self {
            Rule::UnencryptedComment(pattern) | Rule::EncryptedComment(pattern) => {
                spend(spent, text.len())?;
                Ok(text.as_str().is_some_and(|text| pattern.is_match(text)))
            }
            _ => Ok(false),
        }
    }
}

fn spend(spent: &mut usize, bytes: usize) -> Result<(), RuleError> {
    *spent += bytes;
    if *spent > MAX_MATCHED { Err(RuleError::Work) } else { Ok(()) }
}
