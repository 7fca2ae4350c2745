//! A document: encrypted bytes parsed and checked at the door, ready to be decrypted any number of times, and printed.

use std::fmt;

use crate::cipher::Cipher;
use crate::data_key::{self, Unwrapped};
use crate::error::{DecryptError, ParseError};
use crate::format::Format;
use crate::limits::MAX_BYTES;
use crate::metadata::{self, Block, Metadata};
use crate::opener::Opener;
use crate::plain::Plain;
use crate::store::{self, Layout};
use crate::tree::{Map, Value, pairs};
use crate::walk::{self, Kept};

/// An encrypted sops document.
pub struct Document {
    format: Format,
    branches: Vec<Map>,
    /// The `sops` block as it stands in the document; `metadata` is what it says.
    block: Value,
    metadata: Metadata,
    layout: Layout,
}

impl Document {
    /// Parses bytes of any origin. Costs time and memory in proportion to the limits in [`crate::limits`] at most.
    ///
    /// # Errors
    /// Whatever makes it no sops document, a document beyond a limit, or one with a key twice.
    pub fn parse(bytes: &[u8], format: Format) -> Result<Document, ParseError> {
        if bytes.len() > MAX_BYTES {
            return Err(ParseError::TooLarge { size: bytes.len() });
        }
        let text = store::text(bytes)?;
        if text.trim_ascii().is_empty() {
            return Err(ParseError::Empty);
        }
        let loaded = store::load(text, format)?;
        let flat = matches!(format, Format::Dotenv | Format::Ini);
        let metadata = metadata::read(&loaded.metadata, flat)?;
        let store::Loaded { branches, metadata: block, layout } = loaded;
        Ok(Document { format, branches, block, metadata, layout })
    }

    /// A document made here.
    pub(crate) fn from_parts(
        format: Format,
        branches: Vec<Map>,
        block: Block,
        layout: Layout,
    ) -> Result<Document, ParseError> {
        let block = block.into_value();
        let metadata = metadata::read(&block, false)?;
        Ok(Document { format, branches, block, metadata, layout })
    }

    /// The file, as sops 3.11 would write it: a document it wrote comes out as it went in.
    pub fn emit(&self) -> Vec<u8> {
        // A tree that was parsed from its format, or made by one of its plaintext, fits it.
        store::emit_sealed(&self.branches, self.block().into_value(), &self.layout, self.format)
            .unwrap_or_default()
    }

    /// The same document with this many columns an indent, as sops writes it with `stores.yaml.indent`, `stores.json.indent`
    /// or `stores.json_binary.indent`. A document that was parsed keeps the indentation it came with.
    #[must_use]
    pub fn indented(mut self, columns: usize) -> Document {
        self.layout.indent = Some(columns);
        self
    }

    /// The format it was parsed as.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What the document says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The names of the top-level keys, in document order: sops encrypts no name.
    pub fn top_level_keys(&self) -> impl Iterator<Item = &str> {
        self.branches.first().into_iter().flat_map(pairs).map(|pair| pair.key.as_str())
    }

    /// The age recipients of all key groups, in document order, as written.
    pub fn age_recipients(&self) -> impl Iterator<Item = &str> {
        self.metadata.groups().iter().flat_map(|group| group.age()).map(|key| key.recipient())
    }

    /// The names of the top-level keys, each with those of the map that stands under it, as [`Plain::top_level`] gives them:
    /// sops encrypts no name.
    pub fn names(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let top_level = self.branches.first().into_iter().flat_map(pairs);
        top_level.map(|pair| match &pair.value {
            Value::Map(map) => (pair.key.as_str(), pairs(map).map(|inner| inner.key.as_str()).collect()),
            _ => (pair.key.as_str(), Vec::new()),
        })
    }

    /// Decrypts with whichever identity fits and checks the MAC. Nothing comes out of a document that was changed.
    /// Where the identities stay the same, an [`Opener`] is faster, and finds its recipient among any number: here
    /// the first [`MAX_ATTEMPTS`](crate::limits::MAX_ATTEMPTS) are tried.
    ///
    /// # Errors
    /// No identity fits, or the document was tampered with, or it needs something this crate does not do.
    pub fn decrypt(&self, identities: &[&dyn age::Identity]) -> Result<Plain, DecryptError> {
        self.open(identities, None)
    }

    /// As [`Document::decrypt`], with identities prepared once: goes straight to the recipient it holds the key of.
    /// Of several of its recipients in one document the one that was added first is taken; [`Plain::opened_by`] tells.
    ///
    /// # Errors
    /// As [`Document::decrypt`].
    pub fn decrypt_with(&self, opener: &Opener) -> Result<Plain, DecryptError> {
        self.open(&opener.identities(), Some(opener))
    }

    fn open(
        &self,
        identities: &[&dyn age::Identity],
        opener: Option<&Opener>,
    ) -> Result<Plain, DecryptError> {
        let Unwrapped { key, opened_by, .. } = data_key::unwrap(&self.metadata, identities, opener)?;
        Ok(Plain::new(self.format, self.open_tree(&Cipher::new(&key), None)?, opened_by))
    }

    /// The plaintext tree, under a data key that was unwrapped.
    pub(crate) fn open_tree(
        &self,
        cipher: &Cipher,
        kept: Option<&mut Kept>,
    ) -> Result<Vec<Map>, DecryptError> {
        walk::decrypt(&self.branches, &self.metadata, cipher, kept)
    }

    /// Whether every value and the MAC are right.
    pub(crate) fn check(&self, cipher: &Cipher) -> Result<(), DecryptError> {
        self.open_tree(cipher, None).map(drop)
    }

    pub(crate) fn branches(&self) -> &[Map] {
        &self.branches
    }

    pub(crate) fn block(&self) -> Block {
        Block::of(&self.block, &self.metadata)
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// Clear-text values of an encrypted document are nobody's business either.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("format", &self.format).finish_non_exhaustive()
    }
}
