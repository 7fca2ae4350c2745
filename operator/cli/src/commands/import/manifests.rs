//! Secrets out of a stream of manifests: several documents, Lists, `stringData` over `data`, as the API server reads them.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeroize::Zeroizing;

use super::error::ImportError;
use super::material::{Found, InCluster, Pair};
use super::neighbours::{self, Neighbour};
use super::object::Object;

/// The Secrets of a stream. Objects of other kinds are not looked at.
pub fn secrets(from: &str, text: &str, wanted: Option<&str>, folder: &Path) -> Result<Found, ImportError> {
    let problem = |problem: String| ImportError::Manifest { from: from.to_owned(), problem };
    let stream: Vec<Value> =
        crate::yaml::all_from_str(text).map_err(|error| problem(format!("not YAML: {error}")))?;
    let mut values = Vec::new();
    for document in &stream {
        collect(document, &mut values);
    }
    let mut found = Found::default();
    for value in values {
        let objects = match neighbours::read(value).map_err(problem)? {
            Neighbour::None => vec![read(value).map_err(problem)?],
            Neighbour::Secrets(objects) => objects,
            Neighbour::Elsewhere(which, why) => {
                found.left_out.push((format!("{which} of {from}"), why));
                continue;
            }
        };
        for object in objects {
            match object.left_out() {
                Some(why) => found.left_out.push((format!("Secret {} of {from}", object.name), why)),
                None => found.materials.push(object.into_material(
                    from,
                    wanted,
                    InCluster::Perhaps,
                    folder.to_owned(),
                )?),
            }
        }
    }
    Ok(found)
}

fn collect<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    let kind = value["kind"].as_str().unwrap_or_default();
    if kind == "List" || kind == "SecretList" {
        let items = value["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().for_each(|item| collect(item, found));
    } else if kind == "Secret" && value["apiVersion"] == "v1"
        || kind.is_empty() && value["data"].is_object()
        || neighbours::KINDS.contains(&kind)
    {
        // Items of a SecretList need not say what they are.
        found.push(value);
    }
}

fn read(value: &Value) -> Result<Object, String> {
    let object = head(value)?;
    let label = format!("Secret {}", object.name);
    if value.get("sops").is_some() {
        return Err(format!("{label} is encrypted by sops, and stands in a List or beside others"));
    }
    Ok(Object { pairs: pairs(value, &label)?, immutable: value["immutable"] == true, ..object })
}

/// All of it but its values.
pub fn head(value: &Value) -> Result<Object, String> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let name = text("/metadata/name").ok_or("a Secret in it has no name")?;
    let label = format!("Secret {name}");
    Ok(Object {
        namespace: text("/metadata/namespace"),
        type_: text("/type"),
        labels: strings(value.pointer("/metadata/labels"), &label, "labels")?,
        annotations: strings(value.pointer("/metadata/annotations"), &label, "annotations")?,
        name,
        ..Object::default()
    })
}

/// A map of texts.
pub fn strings(value: Option<&Value>, label: &str, field: &str) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    for (name, value) in map(value, label, field)? {
        let text = value.as_str().ok_or_else(|| format!("{label}: {field}: {name} is no text"))?;
        all.insert(name.clone(), text.to_owned());
    }
    Ok(all)
}

/// `data` and `stringData`, as the API server stores them.
pub fn pairs(value: &Value, label: &str) -> Result<Vec<Pair>, String> {
    let mut pairs: BTreeMap<String, Zeroizing<Vec<u8>>> = BTreeMap::new();
    for (key, value) in map(value.get("data"), label, "data")? {
        let encoded = match value {
            Value::Null => "",
            value => value.as_str().ok_or_else(|| format!("{label}: data.{key} is no text"))?,
        };
        let packed: Zeroizing<Vec<u8>> =
            Zeroizing::new(encoded.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
        let bytes = STANDARD
            .decode(&*packed)
            .map_err(|_| format!("{label}: data.{key} is not base64; plain text belongs under stringData"))?;
        pairs.insert(key.clone(), Zeroizing::new(bytes));
    }
    for (key, value) in map(value.get("stringData"), label, "stringData")? {
        let text = match value {
            Value::Null => "",
            value => value
                .as_str()
                .ok_or_else(|| format!("{label}: stringData.{key} is no text: put it in quotes"))?,
        };
        pairs.insert(key.clone(), Zeroizing::new(text.as_bytes().to_vec()));
    }
    Ok(pairs.into_iter().collect())
}

fn map<'v>(
    value: Option<&'v Value>,
    label: &str,
    field: &str,
) -> Result<Box<dyn Iterator<Item = (&'v String, &'v Value)> + 'v>, String> {
    match value {
        None | Some(Value::Null) => Ok(Box::new(std::iter::empty())),
        Some(Value::Object(map)) => Ok(Box::new(map.iter())),
        Some(_) => Err(format!("{label}: {field} is not a map")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::import::material::Part;

    const HEAD: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: app, namespace: shop}\n";

    fn found(text: &str) -> Result<Found, String> {
        secrets("x.yaml", text, None, Path::new(".")).map_err(|error| error.to_string())
    }

    fn values(text: &str) -> Vec<(String, Vec<u8>)> {
        let found = found(text).unwrap();
        let [material] = found.materials.as_slice() else { panic!("{}", found.materials.len()) };
        let [Part::Values { pairs, .. }] = material.documents.as_slice() else { panic!() };
        pairs.iter().map(|(key, value)| (key.clone(), value.to_vec())).collect()
    }

    #[test]
    fn values_are_what_the_api_server_would_store() {
        let text = format!(
            "{HEAD}data:\n  a: |\n    aHVu\n    dGVyMg==\n  b: eA==\n  z: /w==\n  m:\nstringData: {{b: c}}\n"
        );
        let expected = [("a", &b"hunter2"[..]), ("b", b"c"), ("m", b""), ("z", b"\xff")];
        assert_eq!(values(&text), expected.map(|(key, value)| (key.to_owned(), value.to_vec())));
    }

    #[test]
    fn lists_and_streams_are_read_and_other_kinds_are_not() {
        let item = "apiVersion: v1, kind: Secret, stringData: {a: b}";
        let text = format!(
            "apiVersion: v1\nkind: List\nitems:\n- {{{item}, metadata: {{name: one, namespace: shop}}}}\n---\n---\nkind: Service\napiVersion: v1\n---\nkind: SecretList\napiVersion: v1\nitems:\n- {{metadata: {{name: two, namespace: shop}}, data: {{a: eA==}}}}\n"
        );
        let names: Vec<String> = found(&text).unwrap().materials.into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["one", "two"]);
    }

    #[test]
    fn type_and_labels_stay_and_noise_goes() {
        let text = "apiVersion: v1\nkind: Secret\nimmutable: true\ntype: example.com/x\nmetadata:\n  name: app\n  namespace: shop\n  uid: 1\n  labels: {team: a, app.kubernetes.io/managed-by: Helm}\n  annotations:\n    note: b\n    kubectl.kubernetes.io/last-applied-configuration: hunter2\nstringData: {a: b}\n";
        let material = found(text).unwrap().materials.remove(0);
        assert_eq!(material.secret_type.as_deref(), Some("example.com/x"));
        assert_eq!(material.labels.keys().collect::<Vec<_>>(), ["team"]);
        assert_eq!(material.annotations.keys().collect::<Vec<_>>(), ["note"]);
        assert!(material.notes[0].contains("immutable is not kept"), "{:?}", material.notes);
    }

    #[test]
    fn what_the_cluster_makes_itself_is_left_out() {
        for (type_, words) in [
            ("kubernetes.io/service-account-token", "the cluster makes"),
            ("bootstrap.kubernetes.io/token", "the cluster makes"),
            ("helm.sh/release.v1", "Helm's record"),
        ] {
            let found = found(&format!("{HEAD}type: {type_}\nstringData: {{a: b}}\n")).unwrap();
            assert!(found.materials.is_empty() && found.left_out[0].1.contains(words));
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_a_value() {
        for (text, words) in [
            ("data: {a: hunter2!}\n", "data.a is not base64"),
            ("stringData: {a: 5432}\n", "stringData.a is no text"),
            ("stringData: {a: {b: hunter2}}\n", "stringData.a is no text"),
            ("stringData: [hunter2]\n", "stringData is not a map"),
            ("stringData: {a: hunter2}\nsops: {mac: x}\n", "encrypted by sops"),
            ("stringData: {a: hunter2\n", "not YAML"),
            ("stringData: {a: hunter2, a: b}\n", "not YAML"),
        ] {
            let said = found(&format!("{HEAD}{text}")).err().unwrap();
            assert!(said.contains(words) && !said.contains("hunter2"), "{text}: {said}");
        }
        let nameless =
            found("apiVersion: v1\nkind: Secret\nmetadata: {generateName: a}\nstringData: {a: b}\n");
        assert!(nameless.err().unwrap().contains("has no name"));
    }
}
