//! Why something is not imported, and what to do about it. Names files, objects and keys, never a value.

use std::path::PathBuf;

use touchseal_plan::mapping::{MAX_KEYS, MAX_SECRET_BYTES};

use crate::error::{Exit, Explain};

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("--key goes with --as file")]
    KeyAlone,
    #[error("--key names one key, but there are {0} files")]
    OneKey(usize),
    #[error("{flag} is for plain files, and {from} is none")]
    NotPlain { flag: &'static str, from: String },
    #[error("--name names one Secret, but there are {0}")]
    OneName(usize),
    #[error("import: nobody said for which namespace {0} is")]
    NoNamespace(String),
    #[error("{from}: {object} is of namespace {found}, not of {wanted}")]
    OtherNamespace { from: String, object: String, found: String, wanted: String },
    #[error("import: nothing was found that can be imported")]
    Nothing,
    #[error("{0:?} cannot be the name of a Kubernetes object")]
    Name(String),
    #[error("{from}: {key:?} cannot be a key of a Secret")]
    Key { from: String, key: String },
    #[error("{from}: {key:?} cannot be a key of a Secret, and only KSOPS reads it as one")]
    Variable { from: String, key: String, secret: String },
    #[error("Secret {secret}: key {key} would come from two places")]
    KeyTwice { secret: String, key: String },
    #[error("{0} holds no value")]
    Empty(String),
    #[error("Secret {secret}: {keys} keys are more than the {MAX_KEYS} that are kept account of")]
    TooManyKeys { secret: String, keys: usize },
    #[error("Secret {secret}: {files} files are more than the 8 documents of an EncryptedSecret")]
    TooManyFiles { secret: String, files: usize },
    #[error("Secret {secret}: {size} bytes are more than the {MAX_SECRET_BYTES} of a Secret")]
    TooLarge { secret: String, size: usize },
    #[error(
        "Secret {secret}: encrypted, {document} is {size} bytes long, and an EncryptedSecret takes {limit}"
    )]
    DocumentTooLarge { secret: String, document: String, size: usize, limit: usize },
    #[error("Secret {secret}: the type {type_} makes the cluster mint credentials and is refused")]
    Type { secret: String, type_: String },
    #[error("Secret {0}: its files make a Secret of different types")]
    Types(String),
    #[error("two Secrets would be written to {}", .0.display())]
    SamePlace(PathBuf),
    #[error("{0} is encrypted already")]
    Encrypted(String),
    #[error("{0}: not UTF-8 text")]
    NotText(String),
    #[error("{from}: line {line}: {problem}")]
    Line { from: String, line: usize, problem: String },
    #[error("{from}: {problem}")]
    Settings { from: String, problem: String },
    #[error("{from}: {problem}")]
    Tls { from: String, problem: String },
    #[error("{from}: {problem}")]
    Registry { from: String, problem: String, elsewhere: bool },
    #[error("{from}: {problem}")]
    Manifest { from: String, problem: String },
    #[error("{from}: {problem}")]
    Wrapped { from: String, problem: String },
    #[error("{document} is not encrypted to namespace {namespace}")]
    Recipient { document: String, namespace: String },
    #[error("find Secret {0}: the cluster has none of that name")]
    NoSuchSecret(String),
    #[error("Secret {0}: what was written does not read back as what was imported")]
    RoundTrip(String),
}

impl Explain for ImportError {
    fn hint(&self) -> String {
        match self {
            Self::KeyAlone => "add --as file, or leave --key out",
            Self::OneKey(_) => "import the files one by one, or leave --key out",
            Self::NotPlain { flag, .. } => {
                return format!(
                    "leave {flag} out, or import the plain files by themselves: a Secret keeps its type and keys"
                );
            }
            Self::OneName(_) => "import them one by one, or leave --name out",
            Self::NoNamespace(_) => "add --namespace NAME",
            Self::OtherNamespace { .. } => {
                "leave --namespace out, or correct metadata.namespace: a document opens in the namespace it was encrypted for only"
            }
            Self::Nothing => "check the paths; --as says what a file is",
            Self::Name(_) => "give it one with --name: lower-case letters, digits, - and .; a letter or digit at both ends",
            Self::Key { .. } => "use letters, digits, -, _ and . only; or take the whole file under one key: --as file",
            Self::Variable { from, secret, .. } => {
                return format!(
                    "correct it, also what stands before the name: sops edit {from}; or take what KSOPS made of it: --from-secret {secret}"
                );
            }
            Self::KeyTwice { .. } => "give each key once, or leave --name out: each file becomes a Secret of its own then",
            Self::Empty(_) => "check that this is the file you meant",
            Self::TooManyKeys { .. } => "split it, or take the whole file under one key: --as file",
            Self::TooManyFiles { .. } => "import some of them under another --name",
            Self::TooLarge { .. } | Self::DocumentTooLarge { .. } => {
                "split it over several Secrets; what is not secret goes into a ConfigMap or a volume"
            }
            Self::Type { .. } => "let the cluster mint it: such a credential does not belong in git",
            Self::Types(_) => "say which with --type, or import them one by one",
            Self::SamePlace(_) => "import them one after the other with different --to",
            Self::Encrypted(_) => "a manifest of sops files is made with touchseal wrap; an EncryptedSecret stays where it is",
            Self::NotText(_) => "take the whole file under one key: --as file",
            Self::Line { .. } | Self::Settings { .. } => {
                "correct the file, or take the whole file under one key: --as file"
            }
            Self::Tls { .. } => "give the certificate (its chain behind it) and its own key, both PEM; --as file takes files as they are",
            Self::Registry { elsewhere: true, .. } => {
                "make one that holds them: kubectl create secret docker-registry NAME --dry-run=client -o yaml ... | touchseal import -"
            }
            Self::Registry { .. } => "correct the file, or take it as it is: --as file",
            Self::Manifest { .. } => "correct the manifest: kubectl apply --dry-run=server shows whether a cluster takes it",
            Self::Wrapped { .. } => {
                "have sops open it: sops decrypt FILE | touchseal import - (no plaintext is written)"
            }
            Self::Recipient { document, .. } => {
                return format!(
                    "add the namespace's recipient to its rule in .sops.yaml, then to the document, with a key that opens it: sops \
                     updatekeys {document}, or touchseal rekey {document}"
                );
            }
            Self::NoSuchSecret(_) => "see which there are: kubectl get secrets, and --namespace and --context",
            Self::RoundTrip(_) => "this is a bug in touchseal: please report it",
        }
        .to_owned()
    }

    fn exit(&self) -> Exit {
        match self {
            Self::KeyAlone
            | Self::OneKey(_)
            | Self::NotPlain { .. }
            | Self::OneName(_)
            | Self::NoNamespace(_)
            | Self::OtherNamespace { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}
