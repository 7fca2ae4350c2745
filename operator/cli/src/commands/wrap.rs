//! `touchseal wrap`: sops files in, an EncryptedSecret manifest out. Needs neither a card nor a cluster, and sees only
//! ciphertext: a file that is not is refused.

mod read;
mod update;

use std::path::PathBuf;

use serde_json::{Value, json};
use touchseal_crds::encrypted_secret::{
    DeletionPolicy, DocumentFormat, DocumentSource, EncryptedSecretSpec, Mapping, PathKey, Target,
};
use touchseal_crds::names::REFUSED_SECRET_TYPES;

use super::keyring::is_object_name;
use crate::args::Global;
use crate::error::{Exit, Explain, Failure};
use crate::output::{self, Format};
use crate::terminal;

#[derive(clap::Args, Debug)]
pub struct WrapArgs {
    /// sops files; a Secret key may come from only one of them
    #[arg(value_name = "FILE", required = true, num_args = 1..=16)]
    files: Vec<PathBuf>,
    /// Name of the EncryptedSecret, and of its Secret
    #[arg(long, value_name = "NAME", required_unless_present = "update")]
    name: Option<String>,
    /// Put the files into this manifest, in the place of the documents named as they are; all else in it stays as it is
    #[arg(long, value_name = "MANIFEST", conflicts_with_all = ["name", "format", "mapping", "key", "paths", "secret_type", "retain"])]
    update: Option<PathBuf>,
    /// Format of the files; default: by their names
    #[arg(long, value_enum)]
    format: Option<FormatChoice>,
    /// How a document becomes Secret keys; default: flat (binary files: file)
    #[arg(long = "as", value_enum, value_name = "MAPPING")]
    mapping: Option<MappingChoice>,
    /// With --as file: the Secret key; default: the file's name
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Pick one value: its path, and the Secret key it goes under; may be given several times
    #[arg(long = "path", value_name = "PATH=KEY", value_parser = parse_path, conflicts_with_all = ["mapping", "key"])]
    paths: Vec<PathKey>,
    /// Type of the Secret
    #[arg(long = "type", value_name = "TYPE")]
    secret_type: Option<String>,
    /// Keep the Secret when the EncryptedSecret is deleted
    #[arg(long)]
    retain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FormatChoice {
    Yaml,
    Json,
    Dotenv,
    Ini,
    Binary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum MappingChoice {
    /// Every top-level value under its own name
    Flat,
    /// The whole file under one key
    File,
    /// The document is a whole `kind: Secret` manifest
    Manifest,
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    #[error("{0:?} cannot be the name of a Kubernetes object")]
    Name(String),
    #[error("--key goes with --as file")]
    KeyAlone,
    #[error("--key names one key, but there are {0} files")]
    OneKeyManyFiles(usize),
    #[error("{0:?} cannot be a key of a Secret")]
    Key(String),
    #[error("the Secret type {0} makes the cluster mint credentials and is refused")]
    Type(String),
    #[error("the written manifest does not read back as {0}")]
    RoundTrip(String),
}

impl Explain for WrapError {
    fn hint(&self) -> String {
        match self {
            Self::Name(_) => {
                "use lower-case letters, digits, - and .; begin and end with a letter or digit".to_owned()
            }
            Self::KeyAlone => "add --as file, or leave --key out".to_owned(),
            Self::OneKeyManyFiles(_) => "wrap the files one by one, or leave --key out".to_owned(),
            Self::Key(_) => "use letters, digits, -, _ and . only (--key names another)".to_owned(),
            Self::Type(_) => "choose another --type".to_owned(),
            Self::RoundTrip(_) => "this is a bug in touchseal: please report it".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        if matches!(self, Self::RoundTrip(_)) { Exit::Failed } else { Exit::Usage }
    }
}

/// Runs it.
pub fn run(args: &WrapArgs, global: &Global) -> Result<(), Failure> {
    if let Some(manifest) = &args.update {
        output::allow(global.output, &[])?;
        return update::update(manifest, &args.files, global.namespace.as_deref());
    }
    output::allow(global.output, &[Format::Json, Format::Yaml])?;
    check(args)?;
    let documents = args.files.iter().map(|file| document(args, file)).collect::<Result<Vec<_>, _>>()?;
    let object = object(args, global.namespace.as_deref(), documents)?;
    let text = output::machine(global.output, &object)?;
    check_round_trip(&text, &object)?;
    if global.namespace.is_none() {
        terminal::say(
            "note: the manifest names no namespace: kubectl applies it to its context's, and it opens in the one the \
             documents are encrypted for only; --namespace NAME writes it down",
        );
    }
    output::print(&text)
}

fn check(args: &WrapArgs) -> Result<(), WrapError> {
    if let Some(bad) = args.name.as_ref().filter(|name| !is_object_name(name)) {
        return Err(WrapError::Name(bad.clone()));
    }
    if args.key.is_some() && args.mapping != Some(MappingChoice::File) {
        return Err(WrapError::KeyAlone);
    }
    if args.key.is_some() && args.files.len() > 1 {
        return Err(WrapError::OneKeyManyFiles(args.files.len()));
    }
    if let Some(bad) =
        args.key.iter().chain(args.paths.iter().map(|path| &path.key)).find(|key| !is_secret_key(key))
    {
        return Err(WrapError::Key(bad.clone()));
    }
    match &args.secret_type {
        Some(refused) if REFUSED_SECRET_TYPES.contains(&refused.as_str()) => {
            Err(WrapError::Type(refused.clone()))
        }
        _ => Ok(()),
    }
}

fn document(args: &WrapArgs, path: &std::path::Path) -> Result<DocumentSource, Failure> {
    let read = read::read(path, args.format.map(Into::into))?;
    let mapping = match args.mapping {
        _ if !args.paths.is_empty() => Some(Mapping::Paths(args.paths.clone())),
        None => None,
        Some(MappingChoice::Flat) => Some(Mapping::Flat {}),
        Some(MappingChoice::Manifest) => Some(Mapping::Manifest {}),
        Some(MappingChoice::File) => {
            let key = args.key.clone().unwrap_or_else(|| read.name.clone());
            if !is_secret_key(&key) {
                return Err(WrapError::Key(key).into());
            }
            Some(Mapping::File { key })
        }
    };
    Ok(DocumentSource {
        name: Some(read.name),
        sops: Some(read.text),
        config_map_key_ref: None,
        format: read.explicit_format.map(word),
        mapping,
    })
}

fn object(
    args: &WrapArgs,
    namespace: Option<&str>,
    documents: Vec<DocumentSource>,
) -> Result<Value, Failure> {
    let target = args.secret_type.clone().map(|type_| Target { type_: Some(type_), ..Target::default() });
    let deletion_policy = args.retain.then_some(DeletionPolicy::Retain);
    let spec = EncryptedSecretSpec { documents, target, deletion_policy, ..EncryptedSecretSpec::default() };
    let mut metadata = json!({ "name": args.name });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    let kind = "EncryptedSecret";
    Ok(json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec }))
}

/// One changed byte and the document's MAC is worth nothing: what is printed is read back first.
pub(super) fn check_round_trip(text: &str, object: &Value) -> Result<(), WrapError> {
    match crate::yaml::from_str::<Value>(text) {
        Ok(back) if back == *object => Ok(()),
        Ok(_) => Err(WrapError::RoundTrip("what was written".to_owned())),
        Err(problem) => Err(WrapError::RoundTrip(format!("YAML: {problem}"))),
    }
}

/// A key of a Secret's data.
pub fn is_secret_key(key: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=253).contains(&key.len()) && key.bytes().all(fits) && key != "." && !key.starts_with("..")
}

fn parse_path(text: &str) -> Result<PathKey, String> {
    match text.rsplit_once('=') {
        Some((path, key)) if !path.is_empty() && !key.is_empty() => {
            Ok(PathKey { path: path.to_owned(), key: key.to_owned() })
        }
        _ => Err("give PATH=KEY, for instance database.password=DB_PASSWORD".to_owned()),
    }
}

pub(super) const fn word(format: touchseal_sops::Format) -> DocumentFormat {
    match format {
        touchseal_sops::Format::Yaml => DocumentFormat::Yaml,
        touchseal_sops::Format::Json => DocumentFormat::Json,
        touchseal_sops::Format::Dotenv => DocumentFormat::Dotenv,
        touchseal_sops::Format::Ini => DocumentFormat::Ini,
        touchseal_sops::Format::Binary => DocumentFormat::Binary,
    }
}

impl From<FormatChoice> for touchseal_sops::Format {
    fn from(choice: FormatChoice) -> Self {
        match choice {
            FormatChoice::Yaml => Self::Yaml,
            FormatChoice::Json => Self::Json,
            FormatChoice::Dotenv => Self::Dotenv,
            FormatChoice::Ini => Self::Ini,
            FormatChoice::Binary => Self::Binary,
        }
    }
}

#[cfg(test)]
mod tests;
