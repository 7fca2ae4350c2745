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
                (None, _) if wanted.there => return Err(Violated(format!("{name} is gone and was not deleted"))),
                _ => return Err(Pending(format!("{name} was deleted and is not gone"))),
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
            (Some(borne), Some(told)) if borne == told => settled.push((key.clone(), borne)),
            (borne, told) => return Err(Pending(format!("{name}: bears {borne:?}, status says {told:?}"))),
        }
    }
    let asked_for = |key: &&Key| model.objects.contains_key(key) || model.foreign.contains_key(key);
    let strange = secrets.iter().find(|(key, secret)| number(secret).is_some() && !asked_for(key));
    if let Some((key, _)) = strange {
        return Err(Violated(format!("Secret {}/{}: nobody asked for it", key.0, key.1)));
    }
    let gaps = model.gaps;
    for (key, number) in settled {
        if let Some(object) = model.objects.get_mut(&key) {
            object.settle(number, gaps).map_err(|why| Violated(format!("{}/{}: {why}", key.0, key.1)))?;
        }
    }
    Ok(())
}
