//! The recipients the operator publishes in the cluster. Each is worth what its keyring is: one that is not the accepted one,
//! or that the operator refuses, publishes recipients somebody else opens.

use touchseal_crds::{ConditionType, Keyring, RecipientSpec};
use touchseal_keyring::{DeriveError, VerifiedManifest, manifest};

use crate::cluster::Cluster;
use crate::commands::keyring::ClusterKeyringError;
use crate::error::{Exit, Explain, Failure};

/// Why what was published is not what to encrypt to.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    #[error("namespace {0} has no published recipient of keyring {1}")]
    Missing(String, String),
    #[error("the operator refuses keyring {0}: {1}")]
    Tampered(String, String),
    #[error(
        "the published recipient of namespace {namespace} is of key generation {found}, and keyring {keyring} is at {active}"
    )]
    Outdated { namespace: String, keyring: String, found: u32, active: u32 },
}

impl Explain for PublishedError {
    fn hint(&self) -> String {
        match self {
            Self::Missing(..) => {
                "the operator publishes recipients once the keyring is unsealed (touchseal \
                                       status); with a YubiKey leave --published out"
                    .to_owned()
            }
            Self::Tampered(..) => {
                "encrypt nothing to it; apply the last version from git that its holders signed (touchseal keyring show -f FILE)"
                    .to_owned()
            }
            Self::Outdated { .. } => {
                "the operator publishes the new ones once it is unsealed with the newest manifest (touchseal status); \
                 with a YubiKey leave --published out"
                    .to_owned()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Tampered(..) => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

/// A namespace that nothing can be derived for.
#[derive(Debug, thiserror::Error)]
#[error("derive the keys of namespace {0}: {1}")]
pub struct NotDerived(String, DeriveError);

impl NotDerived {
    /// For `map_err`.
    pub fn of(namespace: &str) -> impl FnOnce(DeriveError) -> Self {
        let namespace = namespace.to_owned();
        |error| Self(namespace, error)
    }
}

impl Explain for NotDerived {
    fn hint(&self) -> String {
        match self.1 {
            DeriveError::Namespace(_) => {
                "use lower-case letters, digits and -, as kubectl get namespaces shows them".to_owned()
            }
            DeriveError::Library(_) => "this is a bug in touchseal: please report it".to_owned(),
        }
    }
}

/// The manifest of a keyring that exists, verifies, and that the operator has not found tampered with.
pub fn honest(name: &str, keyring: Option<Keyring>) -> Result<VerifiedManifest, Failure> {
    let keyring = keyring.ok_or_else(|| ClusterKeyringError::Missing(name.to_owned()))?;
    let verified = manifest::verify(&keyring.spec)
        .map_err(|error| ClusterKeyringError::Invalid(name.to_owned(), error))?;
    let mut conditions = keyring.status.iter().flat_map(|status| &status.conditions);
    let tampered = conditions.find(|c| c.type_ == ConditionType::Tampered.as_str() && c.status == "True");
    match tampered {
        Some(condition) => Err(PublishedError::Tampered(name.to_owned(), condition.message.clone()).into()),
        None => Ok(verified),
    }
}

/// The recipient of a namespace, published for this manifest's Active generation.
pub fn recipient(
    cluster: &Cluster,
    keyring: &str,
    manifest: &VerifiedManifest,
    namespace: &str,
) -> Result<RecipientSpec, Failure> {
    let missing = || PublishedError::Missing(namespace.to_owned(), keyring.to_owned());
    let spec = cluster.recipient(namespace, keyring)?.ok_or_else(missing)?.spec;
    check_generation(namespace, keyring, &spec, manifest)?;
    Ok(spec)
}

/// The same where there is another way: `None` for what is missing or outdated, or nobody may read.
pub fn current(
    cluster: &Cluster,
    keyring: &str,
    manifest: &VerifiedManifest,
    namespace: &str,
) -> Result<Option<RecipientSpec>, Failure> {
    if honest(keyring, cluster.keyring(keyring)?)? != *manifest {
        return Ok(None);
    }
    Ok(recipient(cluster, keyring, manifest, namespace).ok())
}

/// What was published before a rotation is not what to encrypt to after it: the old master may have leaked.
fn check_generation(
    namespace: &str,
    keyring: &str,
    spec: &RecipientSpec,
    manifest: &VerifiedManifest,
) -> Result<(), PublishedError> {
    let (found, active) = (spec.key_generation, manifest.active_generation());
    if found == active {
        return Ok(());
    }
    let (namespace, keyring) = (namespace.to_owned(), keyring.to_owned());
    Err(PublishedError::Outdated { namespace, keyring, found, active })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;
    use serde_json::json;

    fn keyring(tampered: &str) -> Keyring {
        let (spec, _) = manifest::create(vec![holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap();
        let condition = json!({
            "type": "Tampered", "status": tampered, "reason": "ManifestForked", "message": "not the pinned one",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let value =
            json!({ "metadata": { "name": "main" }, "spec": spec, "status": { "conditions": [condition] } });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_keyring_that_is_missing_forged_or_tampered_with_gives_no_recipients() {
        let exit = |keyring| honest("main", keyring).map(drop).map_err(|failure| failure.exit());
        assert_eq!(exit(Some(keyring("False"))), Ok(()));
        assert_eq!(exit(None), Err(Exit::Failed));
        assert_eq!(exit(Some(keyring("True"))), Err(Exit::Refused));
        let mut forged = keyring("False");
        forged.spec.revision += 1;
        assert_eq!(exit(Some(forged)), Err(Exit::Refused));
    }

    #[test]
    fn a_recipient_of_another_generation_than_the_active_one_is_refused() {
        let manifest = honest("main", Some(keyring("False"))).unwrap();
        let of = |key_generation| RecipientSpec {
            recipient: String::new(),
            key_generation,
            generations: Vec::new(),
        };
        assert!(check_generation("shop", "main", &of(1), &manifest).is_ok());
        assert!(check_generation("shop", "main", &of(2), &manifest).is_err());
    }
}
