//! How the versions of this program and of the operator's replicas stand to each other, and whether that matters. Versions
//! of one series read and write each other's keyrings, releases and manifests; a series is a major version, and before
//! 1.0 a minor one.

use std::collections::BTreeMap;

use semver::Version;
use serde::Serialize;
use touchseal_crds::Keyring;

use crate::seal_wait::Live;

/// What each replica says of its version, by pod; None where it says nothing.
pub type Reported = BTreeMap<String, Option<String>>;

/// The versions of the operator, and what to say about them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Skew {
    /// Each version there is, with its replicas; one that none reports comes first.
    pub operator: Vec<Running>,
    /// Something should be done about it.
    pub matters: bool,
    /// What there is to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// One version of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// Absent where its replicas are older than any that says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its pods.
    pub pods: Vec<String>,
}

/// A finding, and what to do about it where it matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What is so.
    pub finding: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What the replicas that still exist report; all that ever did, where nobody knows which exist.
pub fn reported(keyrings: &[Keyring], live: Option<&Live>) -> Reported {
    let replicas = keyrings.iter().flat_map(|keyring| &keyring.status).flat_map(|status| &status.replicas);
    let there = replicas.filter(|replica| live.is_none_or(|live| live.holds(&replica.pod)));
    let mut all = Reported::new();
    for replica in there {
        let version = all.entry(replica.pod.clone()).or_default();
        // A keyring it has not reported on for long may not have it.
        *version = version.take().or_else(|| replica.version.clone());
    }
    all
}

/// Judges them by the version of this program.
pub fn judge(own: &str, reported: &Reported) -> Skew {
    let mut by_version: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
    for (pod, version) in reported {
        by_version.entry(version.clone()).or_default().push(pod.clone());
    }
    let mut skew = Skew::default();
    for (version, pods) in by_version {
        if let Some(note) = compare(own, version.as_deref(), &pods) {
            skew.notes.push(note);
        }
        skew.operator.push(Running { version, pods });
    }
    if skew.operator.len() > 1 {
        skew.notes.push(Note {
            finding: "the replicas run different versions: an update is under way, or it is stuck".to_owned(),
            next: Some(
                "see that it ends: kubectl rollout status deployment, in the operator's namespace".to_owned(),
            ),
        });
    }
    skew.matters = skew.notes.iter().any(|note| note.next.is_some());
    skew
}

/// What there is to say of one version of the operator.
fn compare(own: &str, other: Option<&str>, pods: &[String]) -> Option<Note> {
    let Some(other) = other else {
        return Some(older(own, &format!("{} does not say its version", pods.join(", "))));
    };
    if own == other {
        return None;
    }
    let (Ok(ours), Ok(theirs)) = (Version::parse(own), Version::parse(other)) else {
        let finding = format!("{other:?} and {own:?} cannot be compared");
        return Some(Note { finding, next: Some("use releases of one version".to_owned()) });
    };
    if series(&ours) == series(&theirs) {
        let finding = format!("{own} and {other} are of one series and work together");
        return Some(Note { finding, next: None });
    }
    if theirs < ours {
        return Some(older(own, &format!("the operator's {other} is older than this touchseal")));
    }
    let finding = format!(
        "the operator's {other} is newer than this touchseal: this one may refuse the keyrings and manifests of its \
         time, and write releases it refuses"
    );
    Some(Note { finding, next: Some(format!("update touchseal to {other}")) })
}

fn older(own: &str, what: &str) -> Note {
    let finding = format!("{what}: it may refuse keyrings, releases and manifests that this one writes");
    let next = format!("upgrade the operator to {own}, or use the touchseal of its version with it");
    Note { finding, next: Some(next) }
}

/// What versions have in common that work together. One before its release is alone.
fn series(version: &Version) -> (u64, u64, &str) {
    let minor = if version.major == 0 { version.minor } else { 0 };
    (version.major, minor, version.pre.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use touchseal_crds::KeyringSpec;

    use super::*;

    fn of(versions: &[Option<&str>]) -> Reported {
        let pods = versions.iter().enumerate();
        pods.map(|(n, version)| (format!("op-{n}"), version.map(str::to_owned))).collect()
    }

    fn findings(own: &str, versions: &[Option<&str>]) -> (bool, String) {
        let skew = judge(own, &of(versions));
        (skew.matters, skew.notes.into_iter().map(|note| note.finding).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn one_version_everywhere_needs_no_word() {
        let skew = judge("0.1.0", &of(&[Some("0.1.0"), Some("0.1.0")]));
        assert!(!skew.matters && skew.notes.is_empty());
        let all =
            Running { version: Some("0.1.0".to_owned()), pods: vec!["op-0".to_owned(), "op-1".to_owned()] };
        assert_eq!(skew.operator, [all]);
        assert_eq!(judge("0.1.0", &of(&[])), Skew::default());
    }

    #[test]
    fn it_matters_between_series_and_says_who_is_older() {
        for (own, other, word) in [
            ("0.2.0", "0.1.9", "older"),
            ("0.1.9", "0.2.0", "newer"),
            ("1.0.0", "0.9.0", "older"),
            ("1.9.0", "2.0.0", "newer"),
            ("0.2.0", "0.2.0-rc.1", "older"),
            ("0.2.0-rc.1", "0.2.0-rc.2", "newer"),
            ("0.10.0", "0.9.0", "older"),
        ] {
            let (matters, said) = findings(own, &[Some(other)]);
            assert!(matters && said.contains(&format!("{other} is {word}")), "{own} {other}: {said}");
        }
        for (own, other) in
            [("0.1.0", "0.1.7"), ("0.1.7", "0.1.0"), ("1.2.0", "1.9.3"), ("1.0.0", "1.0.0+build")]
        {
            let (matters, said) = findings(own, &[Some(other)]);
            assert!(!matters && said.contains("work together"), "{own} {other}: {said}");
        }
    }

    #[test]
    fn who_says_nothing_is_older_and_nonsense_is_not_believed() {
        let (matters, said) = findings("0.1.0", &[None]);
        assert!(matters && said.starts_with("op-0 does not say its version"), "{said}");
        let (matters, said) = findings("0.1.0", &[Some("latest\u{1b}[0m")]);
        assert!(matters && said.contains("cannot be compared") && !said.contains('\u{1b}'), "{said}");
    }

    #[test]
    fn replicas_of_two_versions_are_an_update_under_way() {
        let (matters, said) = findings("0.1.1", &[Some("0.1.0"), Some("0.1.1")]);
        assert!(matters && said.contains("different versions"), "{said}");
    }

    #[test]
    fn a_pod_says_it_once_whatever_keyrings_there_are_and_one_that_is_gone_does_not_count() {
        let replica = |pod: &str, version: Option<&str>| json!({ "pod": pod, "state": "Sealed", "since": "2026-01-01T00:00:00Z", "version": version });
        let keyring = |replicas: serde_json::Value| {
            let spec = json!({ "version": 1, "id": "", "revision": 1, "holders": [], "generations": [], "signature": "" });
            let mut keyring = Keyring::new("main", serde_json::from_value::<KeyringSpec>(spec).unwrap());
            keyring.status = serde_json::from_value(json!({ "replicas": replicas })).unwrap();
            keyring
        };
        let keyrings = [
            keyring(json!([replica("a", Some("0.1.0")), replica("gone", Some("0.0.9"))])),
            keyring(json!([replica("a", None), replica("b", None)])),
        ];
        let live = Live { all: ["a".to_owned(), "b".to_owned()].into(), ..Live::default() };
        let known = |version: &str| Some(version.to_owned());
        let expected = Reported::from([("a".to_owned(), known("0.1.0")), ("b".to_owned(), None)]);
        assert_eq!(reported(&keyrings, Some(&live)), expected);
        assert_eq!(reported(&keyrings, None).get("gone"), Some(&known("0.0.9")));
    }
}
