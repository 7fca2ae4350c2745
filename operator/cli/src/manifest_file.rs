//! The Keyring manifest as a file in git: read, checked, written.

use std::path::Path;

use serde_json::{Value, json};
use touchseal_crds::KeyringSpec;
use touchseal_keyring::{ManifestError, VerifiedManifest, manifest};

use crate::error::Explain;
use crate::files::{self, Existing, FileError};

/// More than the largest manifest the API server would take.
const MAX_BYTES: u64 = 3 * 1024 * 1024;

/// A Keyring manifest of a file, verified. What is not its spec (labels, annotations) is kept for writing back.
#[derive(Debug)]
pub struct ManifestFile {
    object: Value,
    name: String,
    verified: VerifiedManifest,
}

/// Why a file is no Keyring manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFileError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not YAML, or not one object.
    #[error("read the keyring manifest {path}: {problem}")]
    Yaml { path: String, problem: String },
    /// It is YAML of something else.
    #[error("read the keyring manifest {path}: this is not a touchseal.dev/v1alpha1 Keyring ({problem})")]
    NotAKeyring { path: String, problem: String },
    /// Its signature or chain is wrong.
    #[error("verify the keyring manifest {path}")]
    Invalid { path: String, source: ManifestError },
}

impl Explain for ManifestFileError {
    fn hint(&self) -> String {
        match self {
            Self::File(error) => error.hint(),
            Self::Yaml { .. } | Self::NotAKeyring { .. } => {
                "give the file that `touchseal keyring create` wrote".to_owned()
            }
            Self::Invalid { .. } => {
                "somebody changed it by hand: look at its history in git, and use the last version \
                                     that verifies"
                    .to_owned()
            }
        }
    }

    fn exit(&self) -> crate::error::Exit {
        match self {
            Self::Invalid { .. } => crate::error::Exit::Refused,
            _ => crate::error::Exit::Failed,
        }
    }
}

impl ManifestFile {
    /// Reads and verifies a file.
    pub fn read(path: &Path) -> Result<Self, ManifestFileError> {
        Self::parse(&files::read_text(path, MAX_BYTES)?, &path.display().to_string())
    }

    /// Reads and verifies text; `path` is for messages.
    pub fn parse(text: &str, path: &str) -> Result<Self, ManifestFileError> {
        let path = path.to_owned();
        let object: Value = match crate::yaml::from_str(text) {
            Ok(object) => object,
            Err(problem) => return Err(ManifestFileError::Yaml { path, problem }),
        };
        let field = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        if field("apiVersion") != "touchseal.dev/v1alpha1" || field("kind") != "Keyring" {
            let problem = format!("apiVersion {:?}, kind {:?}", field("apiVersion"), field("kind"));
            return Err(ManifestFileError::NotAKeyring { path, problem });
        }
        let name = object.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
        let Some(name) = name else {
            return Err(ManifestFileError::NotAKeyring { path, problem: "it has no name".to_owned() });
        };
        let spec = object.get("spec").cloned().unwrap_or_default();
        let spec: KeyringSpec = match serde_json::from_value(spec) {
            Ok(spec) => spec,
            Err(error) => return Err(ManifestFileError::NotAKeyring { path, problem: error.to_string() }),
        };
        match manifest::verify(&spec) {
            Ok(verified) => Ok(Self { object, name, verified }),
            Err(source) => Err(ManifestFileError::Invalid { path, source }),
        }
    }

    /// Name of the keyring.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The manifest.
    pub const fn verified(&self) -> &VerifiedManifest {
        &self.verified
    }

    /// The file's text with another spec; everything beside the spec stays, comments do not.
    pub fn with_spec(&self, spec: &KeyringSpec) -> Result<String, serde_json::Error> {
        let mut object = self.object.clone();
        object["spec"] = serde_json::to_value(spec)?;
        crate::yaml::to_string(&object)
    }
}

/// The text of a new manifest file.
pub fn render(name: &str, spec: &KeyringSpec) -> Result<String, serde_json::Error> {
    crate::yaml::to_string(&json!({
        "apiVersion": "touchseal.dev/v1alpha1",
        "kind": "Keyring",
        "metadata": { "name": name },
        "spec": spec,
    }))
}

/// Writes the text of a manifest after reading it back: what goes to git must verify as it stands there.
pub fn write(path: &Path, text: &str, existing: Existing) -> Result<(), ManifestFileError> {
    ManifestFile::parse(text, &path.display().to_string())?;
    Ok(files::write(path, text, existing, false)?)
}
