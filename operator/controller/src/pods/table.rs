//! The pods that use Secrets, in memory: a few hundred bytes each, found by the Secrets they refer to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Bound;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use touchseal_plan::consumers::{self, Consumer, Owner, Ref, Shape, Times};

/// Namespace and number of a pod.
pub type PodKey = (String, Number);
/// Names of Secrets.
pub type Names = HashSet<String>;
/// A pod's uid, which is a number of 128 bits.
type Number = u128;

/// All pods that refer to any Secret.
#[derive(Default)]
pub struct Table {
    namespaces: HashMap<String, Namespace>,
    /// Every name that shapes hold, once.
    words: HashSet<Arc<str>>,
}

/// Pods of one template are one group; a group is found by each Secret its pods refer to.
#[derive(Default)]
struct Namespace {
    pods: HashMap<Number, Arc<Shape>>,
    groups: HashMap<Arc<Shape>, Vec<(Number, Times)>>,
    secrets: BTreeMap<Arc<str>, Vec<Arc<Shape>>>,
}

impl Table {
    /// Takes in a pod as it is now. Returns the Secrets it refers to or did, where anything about it changed.
    pub fn seen(&mut self, pod: &Pod) -> Names {
        let key = key(pod);
        let now = consumers::read(pod);
        let before = self.namespaces.get(&key.0).and_then(|place| place.get(key.1));
        match (before, &now) {
            (None, None) => return Names::new(),
            (Some((shape, times)), Some((new, new_times))) if **shape == *new && times == new_times => {
                return Names::new();
            }
            _ => {}
        }
        let mut concerned = self.gone(&key);
        if let Some((shape, times)) = now {
            concerned.extend(names(&shape));
            let shape = self.shared(shape);
            self.namespaces.entry(key.0).or_default().add(key.1, shape, times);
        }
        concerned
    }

    /// A pod is gone. Returns the Secrets it referred to.
    pub fn gone(&mut self, (namespace, number): &PodKey) -> Names {
        let Some(place) = self.namespaces.get_mut(namespace) else { return Names::new() };
        let Some(shape) = place.remove(*number) else { return Names::new() };
        if place.pods.is_empty() {
            self.namespaces.remove(namespace);
        }
        let concerned = names(&shape);
        self.let_go(shape);
        concerned
    }

    /// Forgets the pods of one namespace, or of all, that are not `present`. Returns for each namespace the Secrets they
    /// referred to.
    pub fn retain(&mut self, within: Option<&str>, present: &HashSet<PodKey>) -> Vec<(String, Names)> {
        let namespaces: Vec<String> = match within {
            Some(namespace) => vec![namespace.to_owned()],
            None => self.namespaces.keys().cloned().collect(),
        };
        let mut concerned = Vec::new();
        for namespace in namespaces {
            let Some(place) = self.namespaces.get(&namespace) else { continue };
            let lost: Vec<PodKey> = place
                .pods
                .keys()
                .map(|number| (namespace.clone(), *number))
                .filter(|key| !present.contains(key))
                .collect();
            let names: Names = lost.iter().flat_map(|key| self.gone(key)).collect();
            if !names.is_empty() {
                concerned.push((namespace, names));
            }
        }
        concerned
    }

    /// Every pod that refers to the Secret `target`, its previous one or one of its generations.
    pub fn consumers(&self, namespace: &str, target: &str) -> Vec<Consumer> {
        let Some(place) = self.namespaces.get(namespace) else { return Vec::new() };
        let generations = format!("{target}-g");
        let of_generations = place
            .secrets
            .range::<str, _>((Bound::Included(generations.as_str()), Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(&generations))
            .map(|(_, shapes)| shapes);
        let shapes: HashSet<&Arc<Shape>> = place
            .secrets
            .get(target)
            .into_iter()
            .chain(place.secrets.get(format!("{target}-previous").as_str()))
            .chain(of_generations)
            .flatten()
            .collect();
        let pods =
            shapes.into_iter().flat_map(|shape| place.groups.get(shape).into_iter().map(move |g| (shape, g)));
        pods.flat_map(|(shape, group)| {
            group.iter().map(|(_, times)| Consumer { shape: Arc::clone(shape), times: times.clone() })
        })
        .collect()
    }

    /// The shape with names that all shapes share.
    fn shared(&mut self, shape: Shape) -> Shape {
        let mut word = |text: Arc<str>| match self.words.get(&text) {
            Some(known) => Arc::clone(known),
            None => {
                self.words.insert(Arc::clone(&text));
                text
            }
        };
        let owner = Owner { kind: word(shape.owner.kind), name: word(shape.owner.name) };
        let refs = shape.refs.into_iter();
        let refs = refs.map(|r| Ref { secret: word(r.secret), key: r.key.map(&mut word), ..r }).collect();
        Shape { owner, refs }
    }

    /// Forgets the names nobody else has.
    fn let_go(&mut self, shape: Arc<Shape>) {
        let of_refs = shape.refs.iter().flat_map(|r| [Some(&r.secret), r.key.as_ref()]).flatten();
        let words: HashSet<Arc<str>> =
            of_refs.chain([&shape.owner.kind, &shape.owner.name]).cloned().collect();
        drop(shape);
        for word in words {
            // This one, and the one among all words.
            if Arc::strong_count(&word) == 2 {
                self.words.remove(&word);
            }
        }
    }
}

impl Namespace {
    fn get(&self, number: Number) -> Option<(&Arc<Shape>, &Times)> {
        let shape = self.pods.get(&number)?;
        let (_, times) = self.groups.get(shape)?.iter().find(|(other, _)| *other == number)?;
        Some((shape, times))
    }

    fn add(&mut self, number: Number, shape: Shape, times: Times) {
        let known = self.groups.get_key_value(&shape).map(|(known, _)| Arc::clone(known));
        let shape = known.unwrap_or_else(|| {
            let shape = Arc::new(shape);
            for secret in secrets(&shape) {
                push(self.secrets.entry(Arc::clone(secret)).or_default(), Arc::clone(&shape));
            }
            shape
        });
        push(self.groups.entry(Arc::clone(&shape)).or_default(), (number, times));
        self.pods.insert(number, shape);
    }

    fn remove(&mut self, number: Number) -> Option<Arc<Shape>> {
        let shape = self.pods.remove(&number)?;
        let group = self.groups.get_mut(&shape)?;
        group.retain(|(other, _)| *other != number);
        if group.is_empty() {
            self.groups.remove(&shape);
            for secret in secrets(&shape) {
                let Some(shapes) = self.secrets.get_mut(secret) else { continue };
                shapes.retain(|other| !Arc::ptr_eq(other, &shape));
                if shapes.is_empty() {
                    self.secrets.remove(secret);
                }
            }
        }
        Some(shape)
    }
}

/// Most lists have one element, and room for four would be most of what they take.
fn push<T>(list: &mut Vec<T>, element: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.push(element);
}

/// Namespace and number of a pod.
pub fn key(pod: &Pod) -> PodKey {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let digits: String = uid.chars().filter(|c| *c != '-').collect();
    let number = Number::from_str_radix(&digits, 16).unwrap_or_else(|_| {
        // No uid as Kubernetes makes them.
        let mut hash = DefaultHasher::new();
        (uid, &pod.metadata.name).hash(&mut hash);
        Number::from(hash.finish())
    });
    (pod.metadata.namespace.clone().unwrap_or_default(), number)
}

fn names(shape: &Shape) -> Names {
    secrets(shape).into_iter().map(|name| name.to_string()).collect()
}

/// The Secrets a shape refers to, each once.
fn secrets(shape: &Shape) -> HashSet<&Arc<str>> {
    shape.refs.iter().map(|reference| &reference.secret).collect()
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
