//! Objects of other operators that stand for Secrets. Those that sops opened hold their values; what another key opened, or lies
//! elsewhere, comes from where it is in the clear anyway.

use serde_json::Value;

use super::manifests::{pairs, strings};
use super::object::Object;

/// Kinds that are looked at.
pub const KINDS: [&str; 4] = ["SopsSecret", "GlobalSopsSecret", "SealedSecret", "ExternalSecret"];

/// What an object is.
pub enum Neighbour {
    /// Nobody's.
    None,
    /// The Secrets it stands for.
    Secrets(Vec<Object>),
    /// It has no value in the clear: which it is, and where they are.
    Elsewhere(String, String),
}

/// Looks at one.
pub fn read(value: &Value) -> Result<Neighbour, String> {
    let group =
        value["apiVersion"].as_str().and_then(|version| version.split('/').next()).unwrap_or_default();
    let kind = value["kind"].as_str().unwrap_or_default();
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let label = format!("{kind} {name}");
    let list = match (group, kind) {
        ("isindir.github.com", "SopsSecret") => "/spec/secretTemplates",
        ("addons.projectcapsule.dev", "SopsSecret" | "GlobalSopsSecret") => "/spec/secrets",
        ("bitnami.com", "SealedSecret") => {
            let why = "kubeseal opens it with the controller's keys: kubeseal --recovery-unseal --recovery-private-key KEYS -o yaml \
                       < FILE | touchseal import -; or take what it made: --from-secret NAME";
            return Ok(Neighbour::Elsewhere(label, why.to_owned()));
        }
        ("external-secrets.io", "ExternalSecret") => {
            let target = value.pointer("/spec/target/name").and_then(Value::as_str).unwrap_or(name);
            return Ok(Neighbour::Elsewhere(label, format!("take what it made: --from-secret {target}")));
        }
        _ => return Ok(Neighbour::None),
    };
    if value.get("sops").is_some() {
        return Ok(Neighbour::Elsewhere(
            label,
            "have sops open it: sops decrypt FILE | touchseal import -".to_owned(),
        ));
    }
    let items =
        value.pointer(list).and_then(Value::as_array).ok_or_else(|| format!("{label} lists no Secrets"))?;
    items.iter().map(|item| secret(value, item, &label)).collect::<Result<_, _>>().map(Neighbour::Secrets)
}

/// One of the Secrets it lists. What is said for all of them is in `spec.metadata`.
fn secret(value: &Value, item: &Value, label: &str) -> Result<Object, String> {
    let text =
        |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let name = text(item, "/name").ok_or_else(|| format!("a Secret of {label} has no name"))?;
    let around = |field: &str| text(value, &format!("/spec/metadata/{field}")).unwrap_or_default();
    let all = |field: &str| {
        let mut all = strings(value.pointer(&format!("/spec/metadata/{field}")), label, field)?;
        all.extend(strings(item.get(field), label, field)?);
        Ok::<_, String>(all)
    };
    Ok(Object {
        namespace: text(item, "/namespace").or_else(|| text(value, "/metadata/namespace")),
        type_: text(item, "/type"),
        labels: all("labels")?,
        annotations: all("annotations")?,
        pairs: pairs(item, &format!("Secret {name} of {label}"))?,
        immutable: item["immutable"] == true,
        owners: Vec::new(),
        name: format!("{}{name}{}", around("prefix"), around("suffix")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secrets(value: &Value) -> Vec<Object> {
        match read(value) {
            Ok(Neighbour::Secrets(objects)) => objects,
            _ => panic!("{value}"),
        }
    }

    #[test]
    fn what_sops_opened_gives_its_secrets() {
        let isindir = json!({ "apiVersion": "isindir.github.com/v1alpha3", "kind": "SopsSecret", "metadata": { "name": "x", "namespace": "shop" },
            "spec": { "secretTemplates": [
                { "name": "one", "labels": { "a": "b" }, "type": "example.com/x", "stringData": { "k": "v" } },
                { "name": "two", "data": { "k": "/w==" } } ] } });
        let all = secrets(&isindir);
        assert_eq!(
            (all[0].name.as_str(), all[0].type_.as_deref(), all[0].labels["a"].as_str()),
            ("one", Some("example.com/x"), "b")
        );
        assert_eq!((all[1].namespace.as_deref(), all[1].pairs[0].1.as_slice()), (Some("shop"), &b"\xff"[..]));
        let peak = json!({ "apiVersion": "addons.projectcapsule.dev/v1alpha1", "kind": "GlobalSopsSecret", "metadata": { "name": "x" },
            "spec": { "metadata": { "prefix": "p-", "labels": { "a": "all", "b": "c" } },
                "secrets": [ { "name": "one", "namespace": "chat", "labels": { "a": "own" }, "stringData": { "k": "v" } } ] } });
        let one = secrets(&peak).remove(0);
        assert_eq!((one.name.as_str(), one.namespace.as_deref()), ("p-one", Some("chat")));
        assert_eq!((one.labels["a"].as_str(), one.labels["b"].as_str()), ("own", "c"));
    }

    #[test]
    fn what_is_not_in_the_clear_is_told_where_it_is() {
        for (version, kind, words) in [
            ("bitnami.com/v1alpha1", "SealedSecret", "kubeseal --recovery-unseal"),
            ("external-secrets.io/v1", "ExternalSecret", "--from-secret app"),
            ("isindir.github.com/v1alpha3", "SopsSecret", "sops decrypt"),
        ] {
            let value = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "app" }, "sops": {}, "spec": {} });
            let Ok(Neighbour::Elsewhere(_, why)) = read(&value) else { panic!("{kind}") };
            assert!(why.contains(words), "{why}");
        }
    }
}
