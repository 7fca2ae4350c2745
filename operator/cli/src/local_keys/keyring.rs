//! The keyring of a run: named or found, verified, accepted by the person, and opened at most once.

use std::path::{Path, PathBuf};

use touchseal_crds::RecipientSpec;
use touchseal_keyring::{NamespaceIdentity, OpenKeyring, VerifiedManifest};

use super::{KeyArgs, find};
use crate::args::Global;
use crate::card;
use crate::cluster::Cluster;
use crate::commands::keyring::fetch;
use crate::error::{Exit, Failure};
use crate::known::Store;
use crate::manifest_file::ManifestFile;
use crate::published;
use crate::secret_input::PinSource;

/// A keyring that the person trusts.
pub struct FoundKeyring {
    name: String,
    cluster: Option<Cluster>,
    manifest: VerifiedManifest,
    opened: Opened,
}

enum Opened {
    NotYet,
    Open(Box<OpenKeyring>),
    /// What was said then: nobody is asked for another PIN at the next document.
    Failed(Failure),
}

/// The keyring named on the command line, else the one found near the files.
pub fn find(args: &KeyArgs, global: &Global, places: &[PathBuf]) -> Result<Option<FoundKeyring>, Failure> {
    let (name, cluster, manifest) = match &args.keyring {
        Some(named) if is_file(named) => of_file(ManifestFile::read(Path::new(named))?),
        Some(name) => {
            let cluster = Cluster::connect(global)?;
            let manifest = fetch(&cluster, name)?;
            (name.clone(), Some(cluster), manifest)
        }
        None => match near(places)? {
            Some((_, file)) => of_file(file),
            None => return Ok(None),
        },
    };
    let server = cluster.as_ref().map(Cluster::server);
    // Whoever can write to the tree can put a keyring of theirs beside a file: nobody said yes to that one.
    let yes = args.yes && args.keyring.is_some();
    Store::open()?.accept(server, &name, &manifest, yes)?;
    Ok(Some(FoundKeyring { name, cluster, manifest, opened: Opened::NotYet }))
}

/// The manifest near these places, if nobody has to be asked about it.
pub fn find_known(places: &[PathBuf]) -> Result<Option<(String, VerifiedManifest)>, Failure> {
    let store = Store::open()?;
    let found = near(places)?.map(|(_, file)| (file.name().to_owned(), file.verified().clone()));
    Ok(found.filter(|(name, manifest)| store.knows(None, name, manifest)))
}

fn near(places: &[PathBuf]) -> Result<Option<(PathBuf, ManifestFile)>, Failure> {
    let store = Store::open()?;
    find::manifest(places, &|file| store.knows(None, file.name(), file.verified()))
}

impl FoundKeyring {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its manifest.
    pub const fn manifest(&self) -> &VerifiedManifest {
        &self.manifest
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.opened, Opened::Open(_))
    }

    /// What the operator published for a namespace, if the keyring is the cluster's and that is up to date.
    pub(super) fn published(&self, namespace: &str) -> Result<Option<RecipientSpec>, Failure> {
        match &self.cluster {
            Some(cluster) => published::current(cluster, &self.name, &self.manifest, namespace),
            None => Ok(None),
        }
    }

    /// Derived in the keyring, which is opened now if it is not yet.
    pub(super) fn recipients(&mut self, args: &KeyArgs, namespace: &str) -> Result<RecipientSpec, Failure> {
        if matches!(self.opened, Opened::NotYet) {
            self.opened = match self.touch(args) {
                Ok(open) => Opened::Open(Box::new(open)),
                Err(failure) => Opened::Failed(failure),
            };
        }
        Ok(self.open()?.recipient_spec(namespace).map_err(published::NotDerived::of(namespace))?)
    }

    /// The identities of a namespace, newest generation first, once the keyring is open.
    pub(super) fn identities(&self, namespace: &str) -> Result<Vec<NamespaceIdentity>, Failure> {
        let identities = self.open()?.namespace(namespace).map_err(published::NotDerived::of(namespace))?;
        Ok(identities.into_iter().map(|(_, identity)| identity).collect())
    }

    /// What opening it failed with.
    pub(super) fn failure(&self) -> Option<Failure> {
        match &self.opened {
            Opened::Failed(failure) => Some(failure.again()),
            _ => None,
        }
    }

    fn open(&self) -> Result<&OpenKeyring, Failure> {
        match &self.opened {
            Opened::Open(open) => Ok(open),
            Opened::Failed(failure) => Err(failure.again()),
            Opened::NotYet => Err(Failure::new(
                Exit::Failed,
                format!("open keyring {}: nobody did", self.name),
                "this is a bug in touchseal: please report it",
            )),
        }
    }

    /// The PIN is gone when this returns.
    fn touch(&self, args: &KeyArgs) -> Result<OpenKeyring, Failure> {
        card::unlock(&self.name, &self.manifest, args.serial, &mut PinSource::new(&args.pin))
    }
}

fn of_file(file: ManifestFile) -> (String, Option<Cluster>, VerifiedManifest) {
    (file.name().to_owned(), None, file.verified().clone())
}

/// A path, or a name of a keyring. Names of keyrings have no slash and no such ending.
fn is_file(named: &str) -> bool {
    let path = Path::new(named);
    let ending = path.extension().and_then(|ending| ending.to_str());
    named.contains(['/', '\\']) || matches!(ending, Some("yaml" | "yml" | "json")) || path.is_file()
}

#[cfg(test)]
impl FoundKeyring {
    /// One that is open already.
    pub(super) fn opened(open: OpenKeyring) -> Self {
        let manifest = open.manifest().clone();
        Self { name: "main".to_owned(), cluster: None, manifest, opened: Opened::Open(Box::new(open)) }
    }

    /// One whose YubiKey failed.
    pub(super) fn failed(manifest: &VerifiedManifest, failure: Failure) -> Self {
        let opened = Opened::Failed(failure);
        Self { name: "main".to_owned(), cluster: None, manifest: manifest.clone(), opened }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_a_name() {
        for file in ["./prod", "keyrings/prod", "prod.yaml", "prod.keyring.yml", "x.json"] {
            assert!(is_file(file), "{file}");
        }
        for name in ["prod", "prod-1", "prod.eu"] {
            assert!(!is_file(name), "{name}");
        }
    }
}
