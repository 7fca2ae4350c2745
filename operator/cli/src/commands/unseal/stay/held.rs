//! A seal that a person asked for holds: a key in a node does not undo it. It is over once somebody has unsealed since, or
//! the annotation is gone.

use touchseal_crds::names::SEAL_ANNOTATION;

use crate::cluster::{Cluster, ClusterError};
use crate::commands::seal;

/// Begins the markers of seals that pulling a key asked for.
const OWN: &str = "node-key/";

/// Of a seal because the key was pulled.
pub fn own_marker() -> String {
    format!("{OWN}{}", seal::marker())
}

/// The marker of the seal that a person asked for, where the keyring is under one.
pub fn by_a_person(cluster: &Cluster, keyring: &str) -> Result<Option<String>, ClusterError> {
    let Some(object) = cluster.keyring(keyring)? else { return Ok(None) };
    let marker = object.metadata.annotations.as_ref().and_then(|all| all.get(SEAL_ANNOTATION)).cloned();
    let over = object.status.and_then(|status| status.ended_seal_request);
    Ok(marker.filter(|marker| holds(marker, over.as_deref())))
}

/// What to do about it, in words.
pub fn words(keyring: &str, marker: &str) -> String {
    format!(
        "a person sealed it ({marker}), and it stays so until a person unseals it, or: kubectl annotate keyring {keyring} {SEAL_ANNOTATION}-"
    )
}

/// `over`: the last seal that ended. Dates tell nothing, for each is of another clock.
fn holds(marker: &str, over: Option<&str>) -> bool {
    !marker.starts_with(OWN) && over != Some(marker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_seal_holds_until_somebody_unsealed_since() {
        let (one, other) = (seal::marker(), seal::marker());
        assert!(holds(&one, None) && holds(&one, Some(&other)) && !holds(&one, Some(&one)));
        assert!(holds("now", Some(&one)) && !holds("now", Some("now")), "written by hand");
        assert!(!holds(&own_marker(), None));
    }
}
