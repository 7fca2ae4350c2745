//! A backup of objects, as tools take it that read and create through the API: what an administrator wrote comes back, with
//! new uids, without statuses and without who owned what.

use serde_json::{Map, Value, json};

use crate::World;

/// Objects that were put aside.
pub struct Backup(Vec<Value>);

/// Whether it is brought back who wrote which field; tools differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Managers {
    /// As it was.
    Kept,
    /// Everything is the restorer's.
    Lost,
}

/// What every namespace is given by itself.
const GIVEN: [&str; 1] = ["kube-root-ca.crt"];

impl Backup {
    /// Puts aside all objects of these kinds, of a namespace or cluster-wide.
    pub fn take(world: &World, namespace: Option<&str>, kinds: &str) -> Backup {
        let scope = namespace.map_or_else(Vec::new, |namespace| vec!["-n", namespace]);
        let all = [&["get", kinds, "-o=json", "--show-managed-fields"][..], &scope].concat();
        let text = world.cluster.kubectl_stdout(&all).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        let given = |o: &Value| GIVEN.iter().any(|name| o["metadata"]["name"] == *name);
        Backup(list["items"].as_array().unwrap().iter().filter(|o| !given(o)).cloned().collect())
    }

    /// Another one's objects, too.
    pub fn and(mut self, other: Backup) -> Backup {
        self.0.extend(other.0);
        self
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Deletes what was put aside, as a lost cluster has none of it; what holds a finalizer is let go.
    pub fn lose(&self, world: &World) {
        for object in &self.0 {
            let name = named(object);
            let arguments: Vec<&str> = name.iter().map(String::as_str).collect();
            world
                .cluster
                .kubectl_stdout(&[&["delete", "--ignore-not-found"], &arguments[..]].concat())
                .unwrap();
        }
    }

    /// Creates the objects again.
    pub fn restore(&self, world: &World, managers: Managers) {
        for object in &self.0 {
            let mut again = object.clone();
            let metadata = object["metadata"].as_object().unwrap();
            let keep = ["name", "namespace", "labels", "annotations", "finalizers"];
            let kept: Map<String, Value> = metadata
                .iter()
                .filter(|(key, _)| keep.contains(&key.as_str()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            again["metadata"] = Value::Object(kept);
            again.as_object_mut().unwrap().remove("status");
            let file = world.cluster.dir().join("backup.json");
            std::fs::write(&file, again.to_string()).unwrap();
            world.cluster.kubectl_stdout(&["create", "-f", file.to_str().unwrap()]).unwrap();
            if managers == Managers::Kept {
                let patch = json!({ "metadata": { "managedFields": metadata["managedFields"] } }).to_string();
                let name = named(object);
                let arguments: Vec<&str> = name.iter().map(String::as_str).collect();
                let patch = ["patch", "--type=merge", "-p", &patch];
                world.cluster.kubectl_stdout(&[&patch[..], &arguments].concat()).unwrap();
            }
        }
    }
}

/// As kubectl takes it.
fn named(object: &Value) -> Vec<String> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let group =
        text("/apiVersion").split_once('/').map_or_else(String::new, |(group, _)| format!(".{group}"));
    let mut words = vec![format!("{}{group}", text("/kind").to_lowercase()), text("/metadata/name")];
    if let Some(namespace) = object["metadata"]["namespace"].as_str() {
        words.extend(["-n".to_owned(), namespace.to_owned()]);
    }
    words
}
