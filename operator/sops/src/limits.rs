//! What a document from a hostile author may cost: the numbers checked at the door, before any key is touched.
//! Every store charges a [`Budget`] while it parses; [`crate::door`] checks the finished tree.

use crate::error::ParseError;

/// The largest document, in bytes. An object in etcd cannot hold much more.
pub const MAX_BYTES: usize = 1024 * 1024;
/// How deep maps and lists may nest.
pub const MAX_DEPTH: usize = 64;
/// How many values, comments, maps and lists a document may hold, aliases expanded.
pub const MAX_NODES: usize = 50_000;
/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// The longest path (`key1:key2:`) to a value, in bytes: it is authenticated once per value, so length times count is work.
pub const MAX_PATH: usize = 4096;
/// How many key entries (of all kinds) the metadata may list.
pub const MAX_RECIPIENTS: usize = 256;
/// How many key groups the metadata may list: Shamir shares are numbered by one byte.
pub const MAX_GROUPS: usize = 255;
/// The longest armored age file that may wrap a data key, in bytes. A post-quantum stanza takes half of it.
pub const MAX_WRAPPED_KEY: usize = 4096;
/// How many wrapped data keys are tried before giving up, over all groups.
pub const MAX_ATTEMPTS: usize = 32;
/// The longest selector pattern, in bytes.
pub const MAX_PATTERN: usize = 1024;
/// How many of `,[]{}` a YAML file may hold, wherever. Its parser holds back the tokens of a whole collection in brackets,
/// a hundred times the text, before the first of them can be counted. Values encrypted by sops hold six each.
pub const MAX_FLOW_SIGNS: usize = 100_000;
/// How many bytes of keys and comments a selector pattern may be run over.
pub const MAX_MATCHED: usize = 256 * 1024;

/// Counts what a parser builds and stops it in time. Bytes are counted as expanded, so that a few aliases to one
/// long string are as expensive as they will be.
pub(crate) struct Budget {
    nodes: usize,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget { nodes: MAX_NODES, bytes: MAX_BYTES }
    }

    /// Refuses YAML that would be too much before anything of it could be charged.
    pub(crate) fn check_flow_signs(text: &str) -> Result<(), ParseError> {
        if text.len() <= MAX_FLOW_SIGNS {
            return Ok(());
        }
        // In a form the compiler makes many comparisons at once of; brackets and braces differ in one bit.
        let sign = |b: &u8| u8::from(*b == b',') | u8::from(b & 0xdf == b'[') | u8::from(b & 0xdf == b']');
        let signs: usize =
            text.as_bytes().chunks(128).map(|chunk| usize::from(chunk.iter().map(sign).sum::<u8>())).sum();
        if signs > MAX_FLOW_SIGNS { Err(ParseError::TooManyNodes) } else { Ok(()) }
    }

    /// Charges `nodes` nodes holding `bytes` bytes of text.
    pub(crate) fn charge(&mut self, nodes: usize, bytes: usize) -> Result<(), ParseError> {
        self.nodes = self.nodes.checked_sub(nodes).ok_or(ParseError::TooManyNodes)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(ParseError::TooManyNodes)?;
        Ok(())
    }
}
