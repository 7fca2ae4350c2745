//! One file with documents in it, changed in memory and written as a whole or not at all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use touchseal_sops::{Document, Format, ParseError};

use super::DocumentsError;
use super::manifest::{self, Site};
use super::nodes::{self, Node};
use super::scalar;
use crate::files;

/// A file as it was read, and as it will be written.
#[derive(Debug)]
pub struct DocumentFile {
    path: PathBuf,
    before: String,
    manifest: bool,
    documents: Vec<InPlace>,
    /// What takes the place of which document.
    changes: BTreeMap<usize, String>,
}

/// A document and its place in the file.
#[derive(Clone, Debug)]
pub struct InPlace {
    /// The document's name: its file's, or as the manifest calls it, behind that of the object if there are several.
    pub name: String,
    /// The namespace its manifest names.
    pub namespace: Option<String>,
    pub format: Format,
    /// The sops document, byte for byte.
    pub text: String,
    /// Offset of its first byte in the file.
    pub start: usize,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing was to be changed.
    Unchanged,
    /// It was, or with `dry_run` would have been, replaced.
    Changed,
}

impl InPlace {
    /// The document.
    pub fn parse(&self) -> Result<Document, ParseError> {
        Document::parse(self.text.as_bytes(), self.format)
    }
}

impl DocumentFile {
    pub(super) fn plain(path: PathBuf, name: String, format: Format, text: String) -> DocumentFile {
        let document = InPlace { name, namespace: None, format, text: text.clone(), start: 0 };
        let documents = vec![document];
        DocumentFile { path, before: text, manifest: false, documents, changes: BTreeMap::new() }
    }

    /// `None` if the text holds no EncryptedSecret.
    pub(super) fn manifest(path: PathBuf, text: String) -> Result<Option<DocumentFile>, DocumentsError> {
        let stream = stream(&path, &text)?;
        let sites = sites(&path, &stream)?;
        if sites.objects == 0 {
            return Ok(None);
        }
        let several = sites.objects > 1;
        let documents = sites
            .documents
            .into_iter()
            .map(|site| in_place(&path, site, several))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(DocumentFile { path, before: text, manifest: true, documents, changes: BTreeMap::new() }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True for EncryptedSecret manifests, false for plain sops files.
    pub const fn is_manifest(&self) -> bool {
        self.manifest
    }

    /// The documents in it; a manifest may hold none (all in ConfigMaps).
    pub fn documents(&self) -> &[InPlace] {
        &self.documents
    }

    /// The file's text with what was exchanged. In a manifest only the documents' own lines differ; the result is read
    /// back, and must be what was there before but for them.
    pub fn text(&self) -> Result<Cow<'_, str>, DocumentsError> {
        let Some((first, new)) = self.changes.first_key_value() else {
            return Ok(Cow::Borrowed(&self.before));
        };
        if !self.manifest {
            return Ok(Cow::Borrowed(new));
        }
        let document = || self.documents[*first].name.clone();
        exchange(&self.path, &self.before, &self.changes).map(Cow::Owned).map_err(|problem| {
            problem
                .unwrap_or_else(|| DocumentsError::Layout { path: self.path.clone(), document: document() })
        })
    }

    /// Which documents a `--document` means: one, or without it all.
    pub fn choose(&self, wanted: Option<&str>) -> Result<Vec<usize>, DocumentsError> {
        let all = || (0..self.documents.len()).collect::<Vec<_>>();
        let Some(wanted) = wanted else { return Ok(all()) };
        let is_meant = |name: &str| {
            name == wanted || name.strip_suffix(wanted).is_some_and(|before| before.ends_with('/'))
        };
        let mut meant = all();
        meant.retain(|index| is_meant(&self.documents[*index].name));
        let (path, there) = (self.path.clone(), self.names());
        match meant.len() {
            1 => Ok(meant),
            0 => Err(DocumentsError::NoSuch { path, wanted: wanted.to_owned(), there }),
            _ => Err(DocumentsError::Several { path, there }),
        }
    }

    /// The one document meant.
    pub fn choose_one(&self, wanted: Option<&str>) -> Result<usize, DocumentsError> {
        match self.choose(wanted)?.as_slice() {
            [one] => Ok(*one),
            [] => Err(DocumentsError::Neither(self.path.clone())),
            _ => Err(DocumentsError::Several { path: self.path.clone(), there: self.names() }),
        }
    }

    /// The namespace a document is for: its manifest's, else the one on the command line. They must not contradict.
    pub fn namespace<'s>(
        &'s self,
        index: usize,
        wanted: Option<&'s str>,
    ) -> Result<Option<&'s str>, DocumentsError> {
        match (self.documents.get(index).and_then(|document| document.namespace.as_deref()), wanted) {
            (Some(found), Some(wanted)) if found != wanted => Err(DocumentsError::Namespace {
                path: self.path.clone(),
                found: found.to_owned(),
                wanted: wanted.to_owned(),
            }),
            (found, wanted) => Ok(found.or(wanted)),
        }
    }

    /// Exchanges a document in memory.
    pub fn replace(&mut self, index: usize, new: &[u8]) -> Result<(), DocumentsError> {
        let Some(document) = self.documents.get_mut(index) else { return Ok(()) };
        let new = std::str::from_utf8(new).map_err(|_| DocumentsError::NotText(self.path.clone()))?;
        if document.text != new {
            new.clone_into(&mut document.text);
            self.changes.insert(index, new.to_owned());
        }
        Ok(())
    }

    /// Puts the file back, if anything changed: in one step, and only over what was read.
    pub fn write(&self, dry_run: bool) -> Result<Written, DocumentsError> {
        let text = self.text()?;
        if *text == self.before {
            return Ok(Written::Unchanged);
        }
        let limit = self.before.len() as u64 + 1;
        let now = files::read(&self.path, limit);
        if !now.is_ok_and(|now| now == self.before.as_bytes()) {
            return Err(DocumentsError::Changed(self.path.clone()));
        }
        if !dry_run {
            files::exchange(&self.path, self.before.as_bytes(), text.as_bytes())?;
        }
        Ok(Written::Changed)
    }

    fn names(&self) -> String {
        self.documents.iter().map(|document| document.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

fn in_place(path: &Path, site: Site<'_>, several: bool) -> Result<InPlace, DocumentsError> {
    let Some(scalar) = site.scalar.filter(|scalar| !scalar.anchored) else {
        return Err(DocumentsError::Shared { path: path.to_owned(), document: site.name });
    };
    let name = match (several, site.object) {
        (true, Some(object)) => match site.namespace {
            Some(namespace) => format!("{namespace}/{object}/{}", site.name),
            None => format!("{object}/{}", site.name),
        },
        _ => site.name,
    };
    let namespace = site.namespace.map(str::to_owned);
    Ok(InPlace { name, namespace, format: site.format, text: scalar.text.clone(), start: scalar.start })
}

/// An error of `None` is a layout that was not understood. However many documents change, the text is read twice.
fn exchange(
    path: &Path,
    text: &str,
    changes: &BTreeMap<usize, String>,
) -> Result<String, Option<DocumentsError>> {
    let before = stream(path, text).map_err(Some)?;
    let sites = sites(path, &before).map_err(Some)?;
    let json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let mut meant: Meant<'_> = BTreeMap::new();
    let mut edits: Vec<Edit> = Vec::new();
    for (index, new) in changes {
        let at = sites.documents.get(*index).and_then(|site| site.scalar).ok_or(None)?;
        edits.push(scalar::exchange(text, at, new, json).ok_or(None)?);
        meant.insert(std::ptr::from_ref(at).addr(), new);
    }
    spliced(text, edits, &before, &meant).ok_or(None)
}

/// A place in the text and what comes there.
type Edit = (Range<usize>, String);

/// The text with its edits, if it then reads as what was meant.
fn spliced(text: &str, mut edits: Vec<Edit>, before: &[Node], meant: &Meant<'_>) -> Option<String> {
    edits.sort_by_key(|(place, _)| place.start);
    let (mut after, mut done) = (String::with_capacity(text.len()), 0);
    for (place, with) in &edits {
        after.push_str(text.get(done..place.start)?);
        after.push_str(with);
        done = place.end;
    }
    after.push_str(text.get(done..)?);
    reads_back(before, &after, meant).then_some(after)
}

/// Whether a text is what was there before but for what was meant to change.
fn reads_back(before: &[Node], after: &str, meant: &Meant<'_>) -> bool {
    let Ok(now) = nodes::parse(after) else { return false };
    before.len() == now.len() && before.iter().zip(&now).all(|(a, b)| same_but(a, b, meant))
}

/// What scalars should have become, by the address they have in the tree.
type Meant<'t> = BTreeMap<usize, &'t str>;

fn same_but(before: &Node, now: &Node, meant: &Meant<'_>) -> bool {
    match (before, now) {
        (Node::Scalar(before), Node::Scalar(now)) => match meant.get(&std::ptr::from_ref(before).addr()) {
            Some(new) => now.text == *new,
            None => before == now,
        },
        (Node::Map(before), Node::Map(now)) => {
            before.len() == now.len()
                && before.iter().zip(now).all(|(a, b)| a.0 == b.0 && same_but(&a.1, &b.1, meant))
        }
        (Node::List(before), Node::List(now)) => {
            before.len() == now.len() && before.iter().zip(now).all(|(a, b)| same_but(a, b, meant))
        }
        (before, now) => before == now,
    }
}

fn stream(path: &Path, text: &str) -> Result<Vec<Node>, DocumentsError> {
    nodes::parse(text)
        .map_err(|problem| DocumentsError::NotYaml { path: path.to_owned(), line: problem.line })
}

fn sites<'n>(path: &Path, stream: &'n [Node]) -> Result<manifest::Sites<'n>, DocumentsError> {
    manifest::sites(stream).map_err(|nodes::Twice(key)| DocumentsError::Twice { path: path.to_owned(), key })
}

#[cfg(test)]
mod tests;
