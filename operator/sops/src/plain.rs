//! What comes out of a document: an ordered tree of plaintext, zeroized on drop and never printed by accident.

use std::fmt;

use zeroize::Zeroizing;

use crate::format::Format;
use crate::lookup::{self, Index, LookupError, PathSegment};
use crate::store;
use crate::tree::{Entry, Item, Kind, Map, Value, pairs};

/// A decrypted document.
pub struct Plain {
    format: Format,
    branches: Vec<Map>,
    opened_by: Vec<String>,
}

impl Plain {
    pub(crate) fn new(format: Format, branches: Vec<Map>, opened_by: Vec<String>) -> Plain {
        Plain { format, branches, opened_by }
    }

    /// The recipients of the [`Opener`](crate::Opener) whose identities really opened the data key: one, or one for each
    /// key group whose share was needed. What the document names its recipients is not authenticated; this is. Empty
    /// without an opener.
    pub fn opened_by(&self) -> impl Iterator<Item = &str> {
        self.opened_by.iter().map(String::as_str)
    }

    /// The document's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How many YAML documents it holds; 1 in every other format. All but [`Plain::emit`] look at the first only.
    pub fn documents(&self) -> usize {
        self.branches.len()
    }

    /// The top-level keys in document order. In ini they are the sections, the one before the first header being `DEFAULT`;
    /// in a binary document there is the one key `data`.
    pub fn top_level(&self) -> impl Iterator<Item = (&str, Node<'_>)> {
        self.branches.first().into_iter().flat_map(pairs).map(|pair| (pair.key.as_str(), Node(&pair.value)))
    }

    /// For looking up several paths: as [`Plain::get`] and [`Plain::lookup`], and no map is read through twice.
    pub fn finder(&self) -> Finder<'_> {
        Finder { plain: self, index: Index::default() }
    }

    /// What stands at a path. Reads through the maps on the way; for many paths take a [`Plain::finder`].
    ///
    /// # Errors
    /// Nothing stands there, or an ini section of that name occurs twice.
    pub fn get(&self, path: &[PathSegment<'_>]) -> Result<Node<'_>, LookupError> {
        self.finder().get(path)
    }

    /// What stands at a path written as text: `a.b[0].c`, with `["..."]` around keys that hold dots or brackets, as in
    /// `stringData["tls.crt"]`.
    ///
    /// # Errors
    /// As [`Plain::get`], or the text is no path.
    pub fn lookup(&self, path: &str) -> Result<Node<'_>, LookupError> {
        self.finder().lookup(path)
    }

    pub(crate) fn branches(&self) -> &[Map] {
        &self.branches
    }

    /// The whole plaintext file, as `sops -d` prints it. `None` if the tree does not fit the format, which no document
    /// made by sops comes to.
    pub fn emit(&self) -> Option<Zeroizing<Vec<u8>>> {
        store::emit(&self.branches, self.format).map(Zeroizing::new)
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("format", &self.format).finish_non_exhaustive()
    }
}

/// Looks up paths in one decrypted document.
pub struct Finder<'a> {
    plain: &'a Plain,
    index: Index<'a>,
}

impl<'a> Finder<'a> {
    /// As [`Plain::get`].
    ///
    /// # Errors
    /// As [`Plain::get`].
    pub fn get(&mut self, path: &[PathSegment<'_>]) -> Result<Node<'a>, LookupError> {
        let root = self.plain.branches.first().ok_or(LookupError::NotFound { at: 0 })?;
        self.index.walk(root, path).map(Node)
    }

    /// As [`Plain::lookup`].
    ///
    /// # Errors
    /// As [`Plain::lookup`].
    pub fn lookup(&mut self, path: &str) -> Result<Node<'a>, LookupError> {
        let path = lookup::parse(path)?;
        let path: Vec<_> = path.iter().map(lookup::Segment::borrow).collect();
        self.get(&path)
    }
}

impl fmt::Debug for Finder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finder").finish_non_exhaustive()
    }
}

/// A place in a decrypted document.
#[derive(Clone, Copy)]
pub struct Node<'a>(&'a Value);

impl<'a> Node<'a> {
    pub(crate) const fn new(value: &'a Value) -> Node<'a> {
        Node(value)
    }

    /// The value's bytes as a Secret should hold them: a string's own, numbers in plain decimal, `true` or `false`, times in
    /// RFC 3339. `None` for null, maps and lists.
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self.0 {
            Value::Scalar(scalar) if scalar.kind == Kind::Bool => {
                Some(if scalar.text.as_bytes() == b"True" { b"true" } else { b"false" })
            }
            Value::Scalar(scalar) => Some(scalar.text.as_bytes()),
            _ => None,
        }
    }

    /// The value's type, `None` for null, maps and lists.
    pub fn kind(self) -> Option<Kind> {
        match self.0 {
            Value::Scalar(scalar) => Some(scalar.kind),
            _ => None,
        }
    }

    pub fn is_null(self) -> bool {
        matches!(self.0, Value::Null)
    }

    /// A map's keys in document order.
    pub fn entries(self) -> Option<impl Iterator<Item = (&'a str, Node<'a>)>> {
        match self.0 {
            Value::Map(map) => Some(map.iter().filter_map(|entry| match entry {
                Entry::Pair(pair) => Some((pair.key.as_str(), Node(&pair.value))),
                Entry::Comment(_) => None,
            })),
            _ => None,
        }
    }

    /// A list's values.
    pub fn items(self) -> Option<impl Iterator<Item = Node<'a>>> {
        match self.0 {
            Value::List(items) => Some(items.iter().filter_map(|item| match item {
                Item::Value(value) => Some(Node(value)),
                Item::Comment(_) => None,
            })),
            _ => None,
        }
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Value::Null => "null",
            Value::Scalar(_) => "[redacted]",
            Value::List(_) => "[list]",
            Value::Map(_) => "[map]",
        })
    }
}
