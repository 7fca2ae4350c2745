//! The EncryptedSecrets of a manifest, checked against the schema and rules that the API server will apply.

use std::sync::LazyLock;

use kube::CustomResourceExt;
use serde_json::Value;
use touchseal_crds::EncryptedSecret;
use touchseal_crds::encrypted_secret::EncryptedSecretSpec;
use touchseal_crds::names::REFUSED_SECRET_TYPES;

use crate::commands::keyring::is_object_name;
use crate::documents::DocumentFile;

/// One of them.
pub struct Judged {
    /// `metadata.name`, or nothing.
    pub name: String,
    pub namespace: Option<String>,
    /// The name of the Secret it makes.
    pub target: String,
    pub problems: Vec<String>,
}

/// What is wrong with them; each line names its object.
pub fn problems(file: &DocumentFile) -> Vec<String> {
    match judge(file) {
        Ok((objects, agreed)) => {
            let named = objects.into_iter().flat_map(|object| {
                let Judged { name, problems, .. } = object;
                problems.into_iter().map(move |what| format!("EncryptedSecret {name}: {what}"))
            });
            named.chain((!agreed).then(|| DISAGREEMENT.to_owned())).collect()
        }
        Err(problem) => vec![format!("read it: {problem}")],
    }
}

/// What is said where YAML readers do not agree.
pub const DISAGREEMENT: &str =
    "YAML readers do not agree about its documents: write them as blocks (sops: |)";

/// The EncryptedSecrets of a manifest in their order, and whether a second reader of the same text sees the same documents.
///
/// # Errors
/// It is no YAML.
pub fn judge(file: &DocumentFile) -> Result<(Vec<Judged>, bool), String> {
    if !file.is_manifest() {
        return Ok((Vec::new(), true));
    }
    let text = file.text().map_err(|problem| problem.of_its_file())?;
    let stream = crate::yaml::all_from_str(&text)?;
    let objects: Vec<&Value> =
        stream.iter().flat_map(listed).filter(|object| is_encrypted_secret(object)).collect();
    let inline = objects.iter().flat_map(|object| {
        let documents = object.pointer("/spec/documents").and_then(Value::as_array).into_iter().flatten();
        documents.filter_map(|document| document.get("sops")?.as_str())
    });
    let seen = |text: &str| file.documents().iter().any(|document| document.text == text);
    let agreed = inline.into_iter().all(seen);
    Ok((objects.into_iter().map(judged).collect(), agreed))
}

fn judged(object: &Value) -> Judged {
    let text = |path| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let name = text("/metadata/name").unwrap_or_default();
    Judged {
        namespace: text("/metadata/namespace"),
        target: text("/spec/target/name").unwrap_or_else(|| name.clone()),
        name,
        problems: of_object(object),
    }
}

/// The definition of the kind, made once.
static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(EncryptedSecret::crd()).unwrap_or_default());

fn listed(object: &Value) -> Vec<&Value> {
    match (object.get("kind").and_then(Value::as_str), object.get("items").and_then(Value::as_array)) {
        (Some("List"), Some(items)) => items.iter().collect(),
        _ => vec![object],
    }
}

fn is_encrypted_secret(object: &Value) -> bool {
    let field = |name| object.get(name).and_then(Value::as_str).unwrap_or_default();
    field("kind") == "EncryptedSecret" && field("apiVersion").starts_with("touchseal.dev/")
}

fn of_object(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if object.get("apiVersion").and_then(Value::as_str) != Some("touchseal.dev/v1alpha1") {
        return vec!["apiVersion: only touchseal.dev/v1alpha1 is known".to_owned()];
    }
    if !object.pointer("/metadata/name").and_then(Value::as_str).is_some_and(is_object_name) {
        found.push("metadata.name: not the name of a Kubernetes object".to_owned());
    }
    let spec = object.get("spec").cloned().unwrap_or_default();
    if let Some(schema) = SCHEMA.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec") {
        unknown(&spec, schema, "spec", &mut found);
    }
    match serde_json::from_value::<EncryptedSecretSpec>(spec) {
        Ok(spec) => rules(&spec, &mut found),
        Err(problem) => found.push(format!("spec: {}", without_values(&problem.to_string()))),
    }
    found
}

/// The API server would drop these, and apply what is left.
fn unknown(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let Some(known) = schema.get("properties").and_then(Value::as_object) else { return };
            for (key, child) in map {
                match known.get(key) {
                    Some(schema) => unknown(child, schema, &format!("{path}.{key}"), found),
                    None => found.push(format!("{path}: there is no field {key:?}")),
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                unknown(item, schema, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn rules(spec: &EncryptedSecretSpec, found: &mut Vec<String>) {
    if !(1..=8).contains(&spec.documents.len()) {
        found.push("spec.documents: 1 to 8 are allowed".to_owned());
    }
    for (index, document) in spec.documents.iter().enumerate() {
        if document.sops.is_some() == document.config_map_key_ref.is_some() {
            found.push(format!("spec.documents[{index}]: give exactly one of sops and configMapKeyRef"));
        }
    }
    let kind = spec.target.as_ref().and_then(|target| target.type_.as_deref());
    if kind.is_some_and(|kind| REFUSED_SECRET_TYPES.contains(&kind)) {
        found.push(
            "spec.target.type: this Secret type makes the cluster mint credentials and is refused".to_owned(),
        );
    }
    let name = spec.target.as_ref().and_then(|target| target.name.as_deref());
    if name.is_some_and(|name| !is_object_name(name)) {
        found.push("spec.target.name: not the name of a Kubernetes object".to_owned());
    }
}

/// A type error quotes what it found; only what it expected is repeated.
fn without_values(problem: &str) -> String {
    match problem.split_once("expected ") {
        Some((_, expected)) => format!("not the right type; expected {expected}"),
        None if problem.starts_with("missing field") => problem.to_owned(),
        None => "it does not fit the schema".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(spec: Value) -> Vec<String> {
        of_object(&json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret", "metadata": { "name": "app" }, "spec": spec,
        }))
    }

    #[test]
    fn a_good_object_has_no_problem() {
        let spec = json!({
            "documents": [{ "name": "a.yaml", "sops": "x", "mapping": { "paths": [{ "path": "a", "key": "A" }] } }],
            "target": { "labels": { "any": "thing" }, "type": "Opaque" }, "suspend": false,
        });
        assert_eq!(of(spec), Vec::<String>::new());
    }

    #[test]
    fn each_rule_is_told_apart_and_no_value_is_shown() {
        for (spec, word) in [
            (
                json!({ "documents": [{ "sop": "x", "configMapKeyRef": { "name": "a", "key": "b" } }] }),
                "\"sop\"",
            ),
            (json!({ "documents": [{ "sops": "x" }], "target": { "labls": {} } }), "\"labls\""),
            (json!({ "documents": [] }), "1 to 8"),
            (json!({}), "missing field"),
            (json!({ "documents": [{}] }), "exactly one"),
            (json!({ "documents": [{ "sops": "x" }], "suspend": "hunter2" }), "expected a boolean"),
            (json!({ "documents": [{ "sops": "x" }], "deletionPolicy": "hunter2" }), "expected `Delete`"),
            (json!({ "documents": [{ "sops": "x" }], "target": { "name": "Up" } }), "target.name"),
            (
                json!({ "documents": [{ "sops": "x" }], "target": { "type": "bootstrap.kubernetes.io/token" } }),
                "mint",
            ),
        ] {
            let found = of(spec.clone()).join("; ");
            assert!(found.contains(word) && !found.contains("hunter2"), "{spec}: {found}");
        }
        assert!(of_object(&json!({ "apiVersion": "touchseal.dev/v2" }))[0].contains("apiVersion"));
    }
}
