//! A seal that a person asked for holds: a key in a node does not undo it. It is over once somebody has unsealed since, or
//! the annotation is gone.

use jiff::{SignedDuration, Timestamp};
use touchseal_crds::names::SEAL_ANNOTATION;

use crate::cluster::{Cluster, ClusterError};
use crate::commands::seal;

/// Begins the markers of seals that pulling a key asked for.
const OWN: &str = "node-key/";

/// How much later than a seal an unseal that it ended may be dated.
const SLACK: SignedDuration = SignedDuration::from_secs(2);

/// Of a seal because the key was pulled.
pub fn own_marker() -> String {
    format!("{OWN}{}", seal::marker())
}

/// Whether a person asked for the seal the keyring is under.
pub fn by_a_person(cluster: &Cluster, keyring: &str) -> Result<bool, ClusterError> {
    let Some(object) = cluster.keyring(keyring)? else { return Ok(false) };
    let marker = object.metadata.annotations.as_ref().and_then(|all| all.get(SEAL_ANNOTATION));
    let last = object.status.as_ref().and_then(|status| status.last_unseal.as_ref()).map(|last| last.at.0);
    Ok(holds(marker.map(String::as_str), last))
}

/// What to do about it, in words.
pub fn words(keyring: &str) -> String {
    format!(
        "a person sealed it, and it stays so until a person unseals it, or: kubectl annotate keyring {keyring} {SEAL_ANNOTATION}-"
    )
}

/// A marker that is not dated holds until it is gone.
fn holds(marker: Option<&str>, last_unseal: Option<Timestamp>) -> bool {
    let Some(marker) = marker.filter(|marker| !marker.starts_with(OWN)) else { return false };
    let asked = marker.split('/').next().and_then(|time| time.parse::<Timestamp>().ok());
    match (asked, last_unseal) {
        // An unseal is dated in whole seconds, by another clock: what seems to have come right after the seal came before it.
        (Some(asked), Some(unsealed)) => unsealed.duration_since(asked) <= SLACK,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_seal_holds_until_somebody_unsealed_since() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let (before, after) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:09Z"));
        let person = Some("2026-01-01T00:00:05.5Z/0123456789abcdef");
        assert!(holds(person, before) && holds(person, None) && !holds(person, after));
        assert!(holds(person, at("2026-01-01T00:00:06Z")), "the unseal before it, rounded");
        assert!(holds(Some("now"), after), "not dated");
        assert!(!holds(None, before));
        assert!(holds(Some(&seal::marker()), before) && !holds(Some(&own_marker()), before));
    }
}
