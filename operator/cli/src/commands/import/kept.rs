//! Which labels and annotations go along with a Secret: not those that other tools wrote for themselves, and none that holds a
//! value. A manifest has them in the clear.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;
use touchseal_crds::names::{GROUP, MANAGED_BY_LABEL};
use zeroize::Zeroizing;

use super::material::Pair;

/// Domains of labels and annotations that are of tools, not of the Secret: the tool that applied it, or made it.
const OF_TOOLS: [&str; 20] = [
    "kubectl.kubernetes.io", // the last applied configuration, which holds the values
    "kapp.k14s.io",          // the same, as `original`
    "banzaicloud.com",       // the same, as `last-applied`, compressed
    "banzaicloud.io",
    "kopf.zalando.org", // the same, as `last-handled-configuration`
    "kopf.dev",
    "meta.helm.sh",
    "helm.sh",
    "helm.toolkit.fluxcd.io",
    "kustomize.toolkit.fluxcd.io",
    "kustomize.config.k8s.io",
    "config.kubernetes.io",
    "argocd.argoproj.io",
    "sealedsecrets.bitnami.com",
    "external-secrets.io",
    "isindir.github.com",
    "sopssecret", // of the same operator
    "addons.projectcapsule.dev",
    "cattle.io",
    GROUP,
];
/// Shorter values stand in texts by chance.
const SHORTEST: usize = 4;

/// What the values of a Secret would look like in other texts of it.
pub struct Traces(Vec<Zeroizing<String>>);

impl Traces {
    pub fn of(pairs: &[Pair]) -> Self {
        let long = pairs.iter().map(|(_, value)| value).filter(|value| value.trim_ascii().len() >= SHORTEST);
        let as_text = |value: &[u8]| String::from_utf8(value.trim_ascii().to_vec()).ok();
        Self(
            long.flat_map(|value| as_text(value).into_iter().chain([STANDARD_NO_PAD.encode(value)]))
                .map(Zeroizing::new)
                .collect(),
        )
    }

    /// The labels, or annotations, that go along; a note for each that does not because of what is in it.
    pub fn without(
        &self,
        what: &str,
        all: BTreeMap<String, String>,
        notes: &mut Vec<String>,
    ) -> BTreeMap<String, String> {
        let mut kept = BTreeMap::new();
        for (name, text) in all.into_iter().filter(|(name, _)| !is_of_tool(name)) {
            if self.0.iter().any(|trace| text.contains(trace.as_str())) || is_secret(&text) {
                notes.push(format!("{what} {name} is not kept: it holds a value, or a whole Secret"));
            } else {
                kept.insert(name, text);
            }
        }
        kept
    }
}

/// A Secret as a whole, or an object around one, perhaps of other values than today's.
fn is_secret(text: &str) -> bool {
    fn has_data(value: &Value) -> bool {
        match value {
            Value::Object(map) => {
                map.contains_key("data") || map.contains_key("stringData") || map.values().any(has_data)
            }
            Value::Array(items) => items.iter().any(has_data),
            _ => false,
        }
    }
    serde_json::from_str::<Value>(text).is_ok_and(|value| has_data(&value))
}

/// By the domain before the slash, or a domain above it.
fn is_of_tool(name: &str) -> bool {
    let domain = name.split_once('/').map_or("", |(domain, _)| domain);
    let within =
        |tool: &&str| domain.strip_suffix(*tool).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    name == MANAGED_BY_LABEL || OF_TOOLS.iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_wrote_for_themselves_goes() {
        for tool in [
            "kubectl.kubernetes.io/last-applied-configuration",
            "kapp.k14s.io/original",
            "banzaicloud.com/last-applied",
            "kopf.zalando.org/last-handled-configuration",
            "meta.helm.sh/release-name",
            "reconcile.external-secrets.io/data-hash",
            "app.kubernetes.io/managed-by",
            "sopssecret/managed",
            "touchseal.dev/adopt",
        ] {
            assert!(is_of_tool(tool), "{tool}");
        }
        for own in [
            "app",
            "team",
            "app.kubernetes.io/name",
            "nothelm.sh/x",
            "example.com/x",
            "jenkins.io/credentials-type",
        ] {
            assert!(!is_of_tool(own), "{own}");
        }
    }

    /// Whether an annotation of this text goes along with a Secret of these values; a note names the one that does not.
    fn is_kept(values: &[&[u8]], text: &str) -> bool {
        let pairs: Vec<Pair> =
            values.iter().map(|value| ("k".to_owned(), Zeroizing::new(value.to_vec()))).collect();
        let all = BTreeMap::from([("example.com/x".to_owned(), text.to_owned())]);
        let mut notes = Vec::new();
        let kept = Traces::of(&pairs).without("annotation", all, &mut notes);
        assert_eq!(notes.len(), 1 - kept.len());
        assert!(notes.iter().all(|note| note.contains("annotation example.com/x") && !note.contains(text)));
        !kept.is_empty()
    }

    #[test]
    fn what_holds_a_value_stays_behind() {
        for (value, text) in [
            (&b"hunter2"[..], "user=shop password=hunter2"),
            (b"hunter2\n", "hunter2"),
            (b"hunter2", "aHVudGVyMg=="),
            (b"hunter2", "x:aHVudGVyMg"),
            (b"\xff\xfe\xfd\xfc", "//79/A=="),
            (b"1234", "pin 1234"),
        ] {
            assert!(!is_kept(&[b"other", value], text), "{text}");
        }
        for (value, text) in
            [(&b"123"[..], "123"), (b"", "x"), (b"   \n ", "a    \n b"), (b"hunter2", "hunter")]
        {
            assert!(is_kept(&[value], text), "{text}");
        }
    }

    #[test]
    fn so_does_a_whole_secret_whatever_its_values_were() {
        for text in [
            r#"{"kind": "Secret", "data": {"k": "b2xkZXI="}}"#,
            r#" {"stringData": {"k": "older"}}"#,
            r#"{"items": [{"spec": {"template": {"data": {"k": "older"}}}}]}"#,
            r#"[{"data": {"k": "older"}}]"#,
        ] {
            assert!(!is_kept(&[b"hunter2"], text), "{text}");
        }
        for text in ["data", "{\"team\": \"data\"}", "{data: x", "17"] {
            assert!(is_kept(&[b"hunter2"], text), "{text}");
        }
    }
}
