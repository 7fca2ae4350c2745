//! The four statements, held against a cluster: every Secret is right, numbers are right, no foreign Secret was touched, and nothing
//! needs a person any more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::model::{Eyes, Key, Model, data, key, number};
use crate::world::condition;

/// What is not so.
#[derive(Debug, PartialEq, Eq)]
pub enum Amiss {
    /// Not yet.
    Pending(String),
    /// It must never be so.
    Violated(String),
}

use Amiss::{Pending, Violated};

/// Judges objects as one look at the cluster found them: EncryptedSecrets and Secrets of these namespaces. Where all is right, it
/// notes the numbers.
///
/// # Errors
/// The first thing that is amiss.
pub fn judge(
    model: &mut Model,
    eyes: &mut Eyes,
    namespaces: &BTreeSet<String>,
    found: &[Value],
) -> Result<(), Amiss> {
    let of_kind = |kind: &str| -> BTreeMap<Key, &Value> {
        let all = found.iter().filter(|object| object["kind"] == kind);
        all.map(|object| (key(object), object)).filter(|(key, _)| namespaces.contains(&key.0)).collect()
    };
    let (objects, secrets) = (of_kind("EncryptedSecret"), of_kind("Secret"));
    for secret in secrets.values() {
        model.look(secret, eyes).map_err(Violated)?;
    }
    if let Some((gone, _)) = model.foreign.iter().find(|(key, _)| !secrets.contains_key(key)) {
        return Err(Violated(format!("Secret {}/{} is somebody else's and is gone", gone.0, gone.1)));
    }
    let mut settled = Vec::new();
    for (key, wanted) in &model.objects {
        let name = format!("{}/{}", key.0, key.1);
        let (object, secret) = (objects.get(key), secrets.get(key));
        let pending = |what: &str, seen: &Value| Err(Pending(format!("{name}: {what}: {seen}")));
        let Some(object) = object.filter(|_| wanted.there) else {
            match (object, secret) {
                (None, None) if !wanted.there => continue,
                (None, _) if wanted.there => {
                    return Err(Violated(format!("{name} is gone and was not deleted")));
                }
                (object, secret) => {
                    let there = |seen: Option<&&Value>| {
                        let fields = ["uid", "creationTimestamp", "deletionTimestamp", "ownerReferences"];
                        let of = |meta: &Value| fields.map(|field| meta[field].to_string()).join(" ");
                        seen.map_or("gone".to_owned(), |seen| of(&seen["metadata"]))
                    };
                    let (object, secret) = (there(object), there(secret));
                    return Err(Pending(format!(
                        "{name} was deleted and is not gone: EncryptedSecret {object}, Secret {secret}"
                    )));
                }
            }
        };
        let ready = condition(object, "Ready");
        if object["status"]["observedGeneration"] != object["metadata"]["generation"] {
            return pending("not looked at yet", &object["status"]);
        }
        let (status, reason) = if wanted.conflict { ("False", "Conflict") } else { ("True", "Materialised") };
        if ready["status"] != status || ready["reason"] != reason {
            return pending("not ready", ready);
        }
        if wanted.conflict {
            continue;
        }
        let Some(secret) = secret else { return pending("no Secret", &Value::Null) };
        let content = wanted.contents.last().copied().unwrap_or_default();
        let (held, owner) = (&secret["data"], &secret["metadata"]["ownerReferences"][0]["uid"]);
        if *held != data(key, content) {
            return pending(&format!("not content {content}"), held);
        }
        if *owner != object["metadata"]["uid"] {
            return pending("of an owner that is gone", owner);
        }
        match (number(secret), object["status"]["secretGeneration"].as_i64()) {
            (Some(borne), Some(told)) if borne == told || model.two_ledgers => {
                settled.push((key.clone(), borne))
            }
            (borne, told) => return Err(Pending(format!("{name}: bears {borne:?}, status says {told:?}"))),
        }
    }
    let asked_for = |key: &&Key| model.objects.contains_key(key) || model.foreign.contains_key(key);
    let strange = secrets.iter().find(|(key, secret)| number(secret).is_some() && !asked_for(key));
    if let Some((key, _)) = strange {
        return Err(Violated(format!("Secret {}/{}: nobody asked for it", key.0, key.1)));
    }
    let gaps = model.two_ledgers;
    for (key, number) in settled {
        if let Some(object) = model.objects.get_mut(&key) {
            object.settle(number, gaps).map_err(|why| Violated(format!("{}/{}: {why}", key.0, key.1)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app() -> Key {
        ("a".to_owned(), "app".to_owned())
    }

    fn model() -> Model {
        let mut model = Model::default();
        model.ask(&app(), 1);
        model.foreign.insert(("a".to_owned(), "theirs".to_owned()), foreign());
        model
    }

    fn foreign() -> Value {
        json!({ "kind": "Secret", "metadata": { "namespace": "a", "name": "theirs", "resourceVersion": "7" } })
    }

    fn object() -> Value {
        json!({ "kind": "EncryptedSecret",
                "metadata": { "namespace": "a", "name": "app", "uid": "u1", "generation": 3 },
                "status": { "observedGeneration": 3, "secretGeneration": 1, "conditions": [
                    { "type": "Ready", "status": "True", "reason": "Materialised" }] } })
    }

    fn secret() -> Value {
        json!({ "kind": "Secret", "data": data(&app(), 1),
                "metadata": { "namespace": "a", "name": "app", "ownerReferences": [{ "uid": "u1" }],
                              "annotations": { "touchseal.dev/secret-generation": "1" } } })
    }

    fn judged(model: &mut Model, found: &[Value]) -> Result<(), Amiss> {
        judge(model, &mut Eyes::default(), &["a".to_owned()].into(), found)
    }

    #[test]
    fn what_is_right_passes_and_everything_else_is_told() {
        judged(&mut model(), &[object(), secret(), foreign()]).unwrap();
        let strange = |name: &str| {
            let mut strange = secret();
            strange["metadata"]["name"] = json!(name);
            strange
        };
        let pending: [(&str, Value); 5] = [
            ("/0/status/observedGeneration", json!(2)),
            ("/0/status/conditions/0/status", json!("False")),
            ("/0/status/secretGeneration", json!(2)),
            ("/1/data/extra", json!("eA==")),
            ("/1/metadata/ownerReferences/0/uid", json!("u0")),
        ];
        for (place, value) in pending {
            let mut found = json!([object(), secret(), foreign()]);
            let (parent, field) = place.rsplit_once('/').unwrap();
            found.pointer_mut(parent).unwrap()[field] = value;
            let said = judged(&mut model(), found.as_array().unwrap());
            assert!(matches!(said, Err(Pending(_))), "{place}: {said:?}");
        }
        let violated: [&[Value]; 4] = [
            &[object(), secret()],
            &[secret(), foreign()],
            &[object(), secret(), foreign(), strange("other")],
            &[
                object(),
                secret(),
                json!({ "kind": "Secret", "metadata": { "namespace": "a", "name": "theirs" } }),
            ],
        ];
        for found in violated {
            let said = judged(&mut model(), found);
            assert!(matches!(said, Err(Violated(_))), "{found:?}: {said:?}");
        }
        // Deleted: both have to go.
        let mut model = model();
        model.objects.get_mut(&app()).unwrap().there = false;
        assert!(matches!(judged(&mut model, &[secret(), foreign()]), Err(Pending(_))));
        judged(&mut model, &[foreign()]).unwrap();
    }
}
