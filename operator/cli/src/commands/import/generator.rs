//! Generators of KSOPS, a plugin of kustomize: which sops files make which Secret. The files are wrapped as they are.

use std::path::Path;

use serde::Deserialize;

use super::encrypted;
use super::error::ImportError;
use super::material::{Found, InCluster, Material};
use super::object::Object;
use crate::commands::wrap::is_secret_key;
use crate::error::one_line;
use crate::files;

/// The largest file that is looked into.
const MAX_BYTES: u64 = 1024 * 1024;

/// One object `kind: ksops`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generator {
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    secret_from: Vec<SecretFrom>,
}

/// A Secret that it makes of files.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretFrom {
    #[serde(default)]
    metadata: Metadata,
    #[serde(rename = "type")]
    type_: Option<String>,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    binary_files: Vec<String>,
    #[serde(default)]
    envs: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    namespace: Option<String>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// Whether a file is one.
pub fn is_one(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    text.contains("viaduct.ai/v1") && text.lines().any(|line| line.trim_end() == "kind: ksops")
}

/// The Secrets it makes. Its paths are read as kustomize reads them: from its own folder on.
pub fn secrets(from: &str, text: &str, wanted: Option<&str>, folder: &Path) -> Result<Found, ImportError> {
    let problem = |problem: String| ImportError::Manifest { from: from.to_owned(), problem };
    let generators: Vec<Generator> = crate::yaml::all_from_str(text).map_err(problem)?;
    let mut found = Found::default();
    for generator in generators {
        for path in &generator.files {
            let (shown, name, text) = read(folder, path)?;
            let secret = encrypted::secret(&shown, &name, &text, wanted, folder)?;
            found
                .materials
                .push(secret.ok_or_else(|| problem(format!("{shown} is not a Secret that sops encrypted")))?);
        }
        for secret in generator.secret_from {
            found.materials.push(made(from, secret, wanted, folder)?);
        }
    }
    Ok(found)
}

fn made(
    from: &str,
    secret: SecretFrom,
    wanted: Option<&str>,
    folder: &Path,
) -> Result<Material, ImportError> {
    let SecretFrom { metadata, type_, files, binary_files, envs } = secret;
    let object = Object {
        name: metadata.name,
        namespace: metadata.namespace,
        labels: metadata.labels,
        annotations: metadata.annotations,
        type_,
        ..Object::default()
    };
    let mut material = object.into_material(from, wanted, InCluster::Perhaps, folder.to_owned())?;
    material.documents.clear();
    for listed in files.iter().chain(&binary_files) {
        // `KEY=PATH`, else the key is the file's name.
        let (key, path) =
            listed.split_once('=').map_or((None, listed.as_str()), |(key, path)| (Some(key), path));
        let (shown, name, text) = read(folder, path)?;
        material.documents.push(encrypted::file(&shown, &name, &text, Some(key.unwrap_or(&name)))?);
    }
    for path in &envs {
        let (shown, name, text) = read(folder, path)?;
        let part = encrypted::file(&shown, &name, &text, None)?;
        if let Some(key) = part.keys().into_iter().find(|key| !is_secret_key(key)) {
            let (key, secret) = (key.to_owned(), material.name.clone());
            return Err(ImportError::Variable { from: shown, key, secret });
        }
        material.documents.push(part);
        material.notes.push(format!(
            "values of {shown} are what stands there; KSOPS takes quotes and blanks around them away and what follows ` #`, and \
             puts others in for $NAME: where one has any of these, --from-secret {} takes what KSOPS made of it",
            material.name
        ));
    }
    Ok(material)
}

/// How it is shown, its name, its text.
fn read(folder: &Path, path: &str) -> Result<(String, String, String), ImportError> {
    let whole = folder.join(path);
    let shown = one_line(&whole.display().to_string());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let text = files::read_text(&whole, MAX_BYTES)
        .map_err(|error| ImportError::Wrapped { from: shown.clone(), problem: error.of_its_file() })?;
    Ok((shown, name, text))
}
