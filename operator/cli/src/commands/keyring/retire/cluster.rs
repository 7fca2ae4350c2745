//! The cluster's side: what its EncryptedSecrets say they were opened with. A status is a claim of whoever may write it, and
//! only one that speaks of the object as it is now counts; all else is unclear.

use std::collections::BTreeSet;

use touchseal_crds::EncryptedSecret;
use touchseal_keyring::VerifiedManifest;
use touchseal_plan::census::{self, Needs};

use super::super::show;
use super::need::{Need, Why};
use crate::args::Global;
use crate::cluster::Cluster;
use crate::error::{Exit, Explain, Failure};
use crate::known::Store;

/// What was seen.
pub struct Seen {
    pub needs: Vec<Need>,
    /// Where EncryptedSecrets are.
    pub namespaces: BTreeSet<String>,
}

/// The cluster's keyring is not the file's.
#[derive(Debug, thiserror::Error)]
#[error("keyring {0} of the cluster is another one than the file's: its fingerprint is {1}, the file's {2}")]
struct OtherKeyring(String, String, String);

impl Explain for OtherKeyring {
    fn hint(&self) -> String {
        "choose the right cluster with --context, or leave it out with --no-cluster".to_owned()
    }

    fn exit(&self) -> Exit {
        Exit::Refused
    }
}

/// Asks the cluster.
pub fn look(
    global: &Global,
    keyring: &str,
    manifest: &VerifiedManifest,
    generation: u32,
    yes: bool,
) -> Result<Seen, Failure> {
    let cluster = Cluster::connect(global)?;
    let there = show::fetch(&cluster, keyring)?;
    if there.fingerprint() != manifest.fingerprint() {
        let fingerprints = (there.fingerprint().to_string(), manifest.fingerprint().to_string());
        return Err(OtherKeyring(keyring.to_owned(), fingerprints.0, fingerprints.1).into());
    }
    Store::open()?.accept(Some(cluster.server()), keyring, &there, yes)?;
    let objects = cluster.encrypted_secrets(None)?;
    let namespaces = objects.iter().filter_map(|object| object.metadata.namespace.clone()).collect();
    let mut needs: Vec<Need> =
        objects.iter().filter_map(|object| judge(object, keyring, generation)).collect();
    needs.sort_by(|one, other| one.place.cmp(&other.place));
    Ok(Seen { needs, namespaces })
}

fn judge(object: &EncryptedSecret, keyring: &str, generation: u32) -> Option<Need> {
    let meta = &object.metadata;
    let (namespace, name) =
        (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let need = |why| Some(Need { place: format!("EncryptedSecret {namespace}/{name}"), why });
    match census::needs(object) {
        // One that another keyring opened is none of this one's; one of this keyring that failed since may be anything.
        Needs::Unclear { keyring: Some(other), .. } | Needs::Generation { keyring: other, .. }
            if other != keyring =>
        {
            None
        }
        Needs::Unclear { reason, .. } => need(Why::NotServed { reason: reason.to_owned() }),
        Needs::Generation { oldest, .. } if oldest > generation => None,
        Needs::Generation { oldest, .. } => need(Why::Served { generation: oldest.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(observed: i64, ready: &str, keyring: Option<&str>, generation: Option<i32>) -> EncryptedSecret {
        serde_json::from_value(json!({
            "metadata": { "name": "app", "namespace": "shop", "generation": 2 },
            "spec": { "documents": [] },
            "status": {
                "observedGeneration": observed, "keyring": keyring, "keyGeneration": generation,
                "conditions": [{ "type": "Ready", "status": ready, "reason": "Materialised", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z" }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn only_what_is_served_with_a_newer_generation_as_it_is_now_needs_nothing() {
        let why = |object: &EncryptedSecret| judge(object, "main", 2).map(|need| need.why);
        let main = Some("main");
        assert_eq!(why(&object(2, "True", main, Some(3))), None);
        assert_eq!(why(&object(2, "True", Some("other"), Some(1))), None);
        for oldest in [1, 2] {
            assert_eq!(
                why(&object(2, "True", main, Some(oldest))),
                Some(Why::Served { generation: oldest.into() })
            );
        }
        let mut bare = object(2, "True", main, Some(3));
        bare.status = None;
        let unclear = [
            object(1, "True", main, Some(3)),
            object(2, "False", main, Some(3)),
            object(2, "True", main, None),
            object(2, "True", None, None),
            bare,
        ];
        for object in &unclear {
            assert!(matches!(why(object), Some(Why::NotServed { .. })), "{object:?}");
        }
    }
}
