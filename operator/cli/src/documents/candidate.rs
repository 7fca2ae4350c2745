//! Which files of a tree hold documents. A file that was named must hold one; in a folder everything else is passed over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use touchseal_sops::{Document, Format, ParseError};
use walkdir::{DirEntry, WalkDir};

use super::DocumentsError;
use super::file::DocumentFile;
use crate::files;

/// Larger files hold no documents: one is at most 1 MiB, and a manifest at most what the API server takes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A file that may hold documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub path: PathBuf,
    /// Named on the command line, not found in a folder.
    pub named: bool,
}

/// What a file turned out to be.
#[derive(Debug)]
pub enum Reading {
    /// It holds documents.
    Documents(DocumentFile),
    /// It holds none.
    Other,
    /// It holds what sops writes, but is no document, and its name says neither: a text about sops, or a damaged file.
    Doubtful,
}

/// The files among `paths` and below them, each once, in the order of their names. `.git` is left out, and links are
/// followed only where they are named.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Candidate>, DocumentsError> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            add(&mut found, &mut seen, path.clone(), true);
            continue;
        }
        let walk = WalkDir::new(path).follow_root_links(true).sort_by_file_name().into_iter();
        for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_ours_or_gits(entry)) {
            let entry = entry
                .map_err(|error| DocumentsError::List(error.path().unwrap_or(path).to_owned(), error))?;
            if entry.file_type().is_file() {
                add(&mut found, &mut seen, entry.into_path(), false);
            }
        }
    }
    Ok(found)
}

fn add(found: &mut Vec<Candidate>, seen: &mut BTreeSet<PathBuf>, path: PathBuf, named: bool) {
    if seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
        found.push(Candidate { path, named });
    }
}

/// `.git`, a folder or, in a worktree, a file; and files that are about to be renamed.
fn is_ours_or_gits(entry: &DirEntry) -> bool {
    entry.file_name() == ".git" || entry.file_name().to_string_lossy().starts_with(".touchseal-")
}

impl Candidate {
    /// A file that was named.
    pub fn named(path: &Path) -> Candidate {
        Candidate { path: path.to_owned(), named: true }
    }

    /// Reads a file that must hold documents. `format` is for a plain sops file whose name does not tell.
    pub fn read_documents(&self, format: Option<Format>) -> Result<DocumentFile, DocumentsError> {
        match self.read(format)? {
            Reading::Documents(file) => Ok(file),
            _ => Err(DocumentsError::Neither(self.path.clone())),
        }
    }

    /// Reads the file and tells what it is.
    pub fn read(&self, format: Option<Format>) -> Result<Reading, DocumentsError> {
        if !self.named && self.path.metadata().is_ok_and(|metadata| metadata.len() > MAX_BYTES) {
            return Ok(Reading::Other);
        }
        let text = match String::from_utf8(files::read(&self.path, MAX_BYTES)?) {
            Ok(text) => text,
            Err(_) if self.named => return Err(DocumentsError::Neither(self.path.clone())),
            Err(_) => return Ok(Reading::Other),
        };
        self.judge(text, format)
    }

    /// Tells what a file that was read already is.
    pub fn judge(&self, text: String, format: Option<Format>) -> Result<Reading, DocumentsError> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let by_name = format.or_else(|| Format::from_file_name(&name));
        let sops =
            text.contains("ENC[AES256_GCM,") || (text.contains("sops") && text.contains("lastmodified"));
        let encrypted_secret = text.contains("EncryptedSecret") && text.contains("touchseal.dev/");
        let manifest = encrypted_secret || (sops && text.contains("ConfigMap"));
        if !(sops || manifest) {
            return self.nothing();
        }
        let told = by_name.unwrap_or_else(|| Format::detect(text.as_bytes()));
        let problem = match Document::parse(text.as_bytes(), told) {
            Ok(_) => return Ok(Reading::Documents(DocumentFile::plain(self.path.clone(), name, told, text))),
            Err(problem) => problem,
        };
        let may_be_manifest = self.named || matches!(by_name, Some(Format::Yaml | Format::Json));
        if manifest && may_be_manifest && format.is_none() {
            match DocumentFile::manifest(self.path.clone(), text.clone()) {
                Ok(Some(file)) => return Ok(Reading::Documents(file)),
                Ok(None) => {}
                Err(problem) if encrypted_secret => return Err(problem),
                Err(_) => {}
            }
        }
        if !sops {
            return self.nothing();
        }
        // In YAML and JSON of other kinds ciphertext may stand anywhere; without the metadata it is no sops file.
        if problem == ParseError::NotEncrypted && !self.named {
            return Ok(Reading::Doubtful);
        }
        if self.named || by_name.is_some() || text.trim_start().starts_with('{') {
            return Err(DocumentsError::NotSops { path: self.path.clone(), format: told, source: problem });
        }
        Ok(Reading::Doubtful)
    }

    fn nothing(&self) -> Result<Reading, DocumentsError> {
        if self.named { Err(DocumentsError::Neither(self.path.clone())) } else { Ok(Reading::Other) }
    }
}
