//! One sops file: its text as it is, its format, and the proof that it is ciphertext.

use std::path::{Path, PathBuf};

use touchseal_sops::{Document, Format, ParseError};

use crate::error::{Exit, Explain, Failure};
use crate::{files, terminal};

/// The API server takes no larger document.
const MAX_BYTES: u64 = 1024 * 1024;

/// A sops file that may go into a manifest.
#[derive(Debug)]
pub struct SopsFile {
    /// The file's name, without its directory.
    pub name: String,
    /// Its text, byte for byte.
    pub text: String,
    /// The format, where the name does not tell it.
    pub explicit_format: Option<Format>,
}

/// Why a file may not.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not a sops document.
    #[error("{} is not a sops document{}", .path.display(), of_format(*.format))]
    NotSops { path: PathBuf, format: Option<Format>, source: ParseError },
    /// The path ends in no name.
    #[error("{} names no file", .0.display())]
    Name(PathBuf),
}

impl Explain for ReadError {
    fn hint(&self) -> String {
        match self {
            Self::NotSops { path, .. } => format!(
                "encrypt it first (sops encrypt --in-place {}), or give its --format; if it holds secrets in plain text \
                 and was ever pushed, change them",
                path.display()
            ),
            Self::Name(_) => "give the path of a file".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// Reads a file and makes sure that sops encrypted it.
pub fn read(path: &Path, wanted: Option<Format>) -> Result<SopsFile, Failure> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| ReadError::Name(path.to_owned()))?;
    let text = files::read_text(path, MAX_BYTES)?;
    let by_name = Format::from_file_name(&name);
    let told = wanted.or(by_name);
    let format = told.unwrap_or_else(|| Format::detect(text.as_bytes()));
    let document = Document::parse(text.as_bytes(), format).map_err(|source| ReadError::NotSops {
        path: path.to_owned(),
        format: told,
        source,
    })?;
    if document.age_recipients().next().is_none() {
        terminal::say(&format!(
            "warning: {} is encrypted to no age recipient: Touchseal will not be able to open it (touchseal rekey adds its namespace's)",
            path.display()
        ));
    }
    let explicit_format = (by_name != Some(format)).then_some(format);
    Ok(SopsFile { name, text, explicit_format })
}

fn of_format(format: Option<Format>) -> String {
    format.map(|format| format!(" of format {format}")).unwrap_or_default()
}
