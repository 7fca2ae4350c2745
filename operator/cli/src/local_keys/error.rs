//! Why no key fits, and where keys are looked for.

use std::path::PathBuf;

use touchseal_sops::Document;

use super::stock::Stock;
use crate::error::{Exit, Explain};

#[derive(Debug, thiserror::Error)]
pub enum LocalKeysError {
    /// Neither named nor found.
    #[error("find the keyring: none was named, and no Keyring manifest is beside or above the files")]
    NoKeyring,
    /// Several were found.
    #[error("find the keyring: there are several: {}", list(.0))]
    SeveralKeyrings(Vec<PathBuf>),
    /// Nothing at hand opens it, and there is no keyring to try.
    #[error("find a key for a document of {recipients} recipient{}: {looked}", if *.recipients == 1 { "" } else { "s" })]
    NoKey { recipients: usize, looked: String, pgp: bool },
    /// A file that nothing says the namespace of.
    #[error("open {} with keyring {keyring}: nothing says which namespace it is of", .path.display())]
    NoNamespace { path: PathBuf, keyring: String },
    /// A file of none of the namespaces it could be of.
    #[error("open {} with keyring {keyring}: it is not encrypted for namespace {}", .path.display(), .tried.join(" or "))]
    OtherNamespace { path: PathBuf, keyring: String, tried: Vec<String> },
}

impl LocalKeysError {
    pub(super) fn no_key(document: &Document, stock: &Stock, pgp: Option<String>) -> Self {
        let groups = document.metadata().groups().iter();
        let recipients = groups.map(|group| group.age().len() + group.pgp().len()).sum();
        let looked = std::iter::once(stock.looked()).chain(pgp.clone()).collect::<Vec<_>>().join("; ");
        Self::NoKey { recipients, looked, pgp: pgp.is_some() }
    }
}

impl Explain for LocalKeysError {
    fn hint(&self) -> String {
        match self {
            Self::NoKeyring => "name it: --keyring FILE, or --keyring NAME for one of the cluster".to_owned(),
            Self::SeveralKeyrings(_) => "choose one: --keyring FILE".to_owned(),
            Self::NoKey { pgp: true, .. } => {
                "plug in the YubiKey with its PGP key and let gpg see it (gpg --card-status), or name the keyring: --keyring FILE"
                    .to_owned()
            }
            Self::NoKey { .. } => {
                "set SOPS_AGE_KEY_FILE to a file with its age identity, or name the keyring: --keyring FILE"
                    .to_owned()
            }
            Self::NoNamespace { .. } => "say it: --namespace NAME".to_owned(),
            Self::OtherNamespace { .. } => {
                "say which namespace it was encrypted for: --namespace NAME".to_owned()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::SeveralKeyrings(_) => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
