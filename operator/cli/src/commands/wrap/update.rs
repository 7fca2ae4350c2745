//! `touchseal wrap --update`: new versions of sops files into a manifest that is there, which keeps everything else: how it
//! is rotated, its mapping, its comments.

use std::path::{Path, PathBuf};

use super::read;
use crate::documents::{Candidate, DocumentsError, Written};
use crate::error::Failure;
use crate::terminal;

/// Exchanges the documents of the same names as the files.
pub fn update(manifest: &Path, files: &[PathBuf], namespace: Option<&str>) -> Result<(), Failure> {
    let mut there = Candidate::named(manifest).read_documents(None)?;
    if !there.is_manifest() {
        return Err(DocumentsError::Neither(manifest.to_owned()).into());
    }
    for path in files {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| read::ReadError::Name(path.clone()))?;
        let index = there.choose_one(Some(&name)).map_err(|problem| no_such(problem, manifest, path))?;
        there.namespace(index, namespace)?;
        let format = there.documents()[index].format;
        let read = read::read(path, Some(format))?;
        there.replace(index, read.text.as_bytes())?;
    }
    let shown = manifest.display();
    match there.write(false)? {
        Written::Unchanged => terminal::say(&format!("{shown}: no change")),
        Written::Changed => terminal::say(&format!("{shown} written: only the documents' own lines changed")),
    }
    Ok(())
}

fn no_such(problem: DocumentsError, manifest: &Path, path: &Path) -> Failure {
    let DocumentsError::NoSuch { there, .. } = problem else { return problem.into() };
    Failure::usage(
        format!("{} has no document named as {}", manifest.display(), path.display()),
        format!(
            "its documents are {there}; another one is added by wrapping all of them anew, without --update"
        ),
    )
}
