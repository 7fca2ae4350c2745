//! What is imported: one Secret's worth of plaintext, from wherever it came, on its way to a manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use touchseal_crds::encrypted_secret::Mapping;
use touchseal_crds::names::REFUSED_SECRET_TYPES;
use touchseal_plan::mapping::{MAX_KEYS, MAX_SECRET_BYTES};
use touchseal_sops::Format;
use zeroize::Zeroizing;

use super::error::ImportError;
use crate::commands::keyring::is_object_name;
use crate::commands::wrap::is_secret_key;

/// Documents that an EncryptedSecret takes.
const MAX_DOCUMENTS: usize = 8;

/// A Secret key and its value.
pub type Pair = (String, Zeroizing<Vec<u8>>);

/// One Secret to be.
pub struct Material {
    pub name: String,
    pub namespace: String,
    /// Where it comes from, for people.
    pub from: Vec<String>,
    /// Files that hold it in plain text.
    pub plain: Vec<PathBuf>,
    /// Whether it is in the cluster as it is.
    pub cluster: InCluster,
    /// Where its manifest goes unless somebody says otherwise.
    pub folder: PathBuf,
    pub secret_type: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub documents: Vec<Part>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// Whether a Secret of that name is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InCluster {
    /// It was read from there.
    Yes,
    /// Its manifest was found, which somebody may have applied.
    Perhaps,
    /// Nothing says so.
    Unknown,
}

/// What becomes one document.
pub enum Part {
    /// Values, each under its own key.
    Values { name: String, pairs: Vec<Pair> },
    /// A whole file under one key, byte for byte.
    File { key: String, bytes: Zeroizing<Vec<u8>> },
    /// A document of sops, kept as it is.
    Sops(Sops),
}

/// What sops encrypted already.
pub struct Sops {
    pub name: String,
    pub text: String,
    pub format: Format,
    pub mapping: Option<Mapping>,
    pub recipients: Vec<String>,
    /// The Secret's keys it gives.
    pub keys: Vec<String>,
}

/// What was found, and what of it is not taken.
#[derive(Default)]
pub struct Found {
    pub materials: Vec<Material>,
    /// Which, and why.
    pub left_out: Vec<(String, String)>,
}

impl Found {
    pub fn add(&mut self, other: Found) {
        self.materials.extend(other.materials);
        self.left_out.extend(other.left_out);
    }
}

impl Part {
    /// Keys of a Secret that come of it.
    pub fn keys(&self) -> Vec<&str> {
        match self {
            Self::Values { pairs, .. } => pairs.iter().map(|(key, _)| key.as_str()).collect(),
            Self::File { key, .. } => vec![key.as_str()],
            Self::Sops(sops) => sops.keys.iter().map(String::as_str).collect(),
        }
    }
}

impl Material {
    /// Its Secret's keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.documents.iter().flat_map(Part::keys)
    }

    /// How messages call it.
    pub fn label(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn size(&self) -> usize {
        let of_part = |part: &Part| match part {
            Part::Values { pairs, .. } => pairs.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Part::File { key, bytes } => key.len() + bytes.len(),
            // Ciphertext is longer than what it holds; whoever opens it knows.
            Part::Sops(_) => 0,
        };
        self.documents.iter().map(of_part).sum()
    }

    /// Whether the cluster would take it.
    pub fn check(&self) -> Result<(), ImportError> {
        let label = || self.label();
        if !is_object_name(&self.name) {
            return Err(ImportError::Name(self.name.clone()));
        }
        if let Some(refused) =
            self.secret_type.as_deref().filter(|type_| REFUSED_SECRET_TYPES.contains(type_))
        {
            return Err(ImportError::Type { secret: label(), type_: refused.to_owned() });
        }
        let mut seen = BTreeSet::new();
        for key in self.keys() {
            if !is_secret_key(key) {
                return Err(ImportError::Key { from: self.from.join(", "), key: key.to_owned() });
            }
            if !seen.insert(key) {
                return Err(ImportError::KeyTwice { secret: label(), key: key.to_owned() });
            }
        }
        match (seen.len(), self.documents.len()) {
            (0, _) => Err(ImportError::Empty(self.from.join(", "))),
            (keys, _) if keys > MAX_KEYS => Err(ImportError::TooManyKeys { secret: label(), keys }),
            (_, documents) if documents > MAX_DOCUMENTS => {
                Err(ImportError::TooManyFiles { secret: label(), files: documents })
            }
            _ if self.size() > MAX_SECRET_BYTES => {
                Err(ImportError::TooLarge { secret: label(), size: self.size() })
            }
            _ => Ok(()),
        }
    }
}
