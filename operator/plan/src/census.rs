//! Which key generation each EncryptedSecret needs, as its status says, and how many need each. A status that does not speak
//! of the object as it is now, or not of success, tells nothing: such an object may need any generation.

use std::collections::BTreeMap;

use touchseal_crds::keyring::{
    DocumentCount, GenerationDocuments, GenerationState, KeyringSpec, NamespaceCount,
};
use touchseal_crds::{ConditionType, EncryptedSecret};

/// Most namespaces listed of one generation, and of all generations together.
const NAMESPACES: (usize, usize) = (20, 400);

/// What an EncryptedSecret needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs<'a> {
    /// The oldest generation that a document of it needs; another document may need a newer one.
    Generation {
        /// Name of the keyring.
        keyring: &'a str,
        /// Number.
        oldest: u32,
    },
    /// It cannot be told.
    Unclear {
        /// The keyring that opened it once; `None`: it may be of any.
        keyring: Option<&'a str>,
        /// Why, in words or as a reason.
        reason: &'a str,
    },
}

/// Judges one object.
pub fn needs(object: &EncryptedSecret) -> Needs<'_> {
    let Some(status) = &object.status else {
        return Needs::Unclear { keyring: None, reason: "no status yet" };
    };
    let keyring = status.keyring.as_deref();
    let unclear = |reason| Needs::Unclear { keyring, reason };
    if status.observed_generation != object.metadata.generation {
        return unclear("changed since");
    }
    let ready = status.conditions.iter().find(|one| one.type_ == ConditionType::Ready.as_str());
    let reason = ready.map_or("no status yet", |ready| ready.reason.as_str());
    let served = ready.is_some_and(|ready| ready.status == "True");
    let oldest = status.key_generation.and_then(|number| u32::try_from(number).ok());
    match (served, keyring, oldest) {
        (true, Some(keyring), Some(oldest)) => Needs::Generation { keyring, oldest },
        _ => unclear(reason),
    }
}

/// Objects by namespace.
type Places = BTreeMap<String, u32>;

/// All EncryptedSecrets, counted.
#[derive(Debug, Default)]
pub struct Census {
    /// By keyring and generation.
    needed: BTreeMap<String, BTreeMap<u32, Places>>,
    /// By keyring, where it is known.
    unclear: BTreeMap<Option<String>, Places>,
}

impl Census {
    /// Counts one more.
    pub fn add(&mut self, object: &EncryptedSecret) {
        let places = match needs(object) {
            Needs::Generation { keyring, oldest } => {
                self.needed.entry(keyring.to_owned()).or_default().entry(oldest).or_default()
            }
            Needs::Unclear { keyring, .. } => self.unclear.entry(keyring.map(str::to_owned)).or_default(),
        };
        *places.entry(object.metadata.namespace.clone().unwrap_or_default()).or_default() += 1;
    }

    /// What the status of one keyring says: `documents`, and `documentsUnclear`. Whoever needs a generation that the
    /// keyring does not have, or not any more, is unclear.
    pub fn of(&self, name: &str, spec: &KeyringSpec) -> (Vec<GenerationDocuments>, Option<DocumentCount>) {
        let mut needed = self.needed.get(name).cloned().unwrap_or_default();
        let live: Vec<u32> = spec
            .generations
            .iter()
            .filter(|entry| entry.state != GenerationState::Retired)
            .map(|entry| entry.number)
            .collect();
        let most = NAMESPACES.0.min(NAMESPACES.1 / live.len().max(1));
        let documents = live.into_iter().map(|generation| {
            let places = needed.remove(&generation).unwrap_or_default();
            GenerationDocuments { generation, count: count(&places, most) }
        });
        let documents = documents.collect();
        let mut unclear = Places::new();
        let own = [None, Some(name.to_owned())];
        let unknown = own.iter().filter_map(|keyring| self.unclear.get(keyring)).chain(needed.values());
        for (namespace, objects) in unknown.flatten() {
            *unclear.entry(namespace.clone()).or_default() += objects;
        }
        (documents, (!unclear.is_empty()).then(|| count(&unclear, NAMESPACES.0)))
    }
}

/// The total is exact, however many namespaces there are.
fn count(places: &Places, most: usize) -> DocumentCount {
    let mut namespaces: Vec<_> = places
        .iter()
        .map(|(namespace, &objects)| NamespaceCount { namespace: namespace.clone(), objects })
        .collect();
    namespaces.sort_by(|a, b| b.objects.cmp(&a.objects).then_with(|| a.namespace.cmp(&b.namespace)));
    let more = u32::try_from(namespaces.len().saturating_sub(most)).unwrap_or(u32::MAX);
    namespaces.truncate(most);
    DocumentCount { objects: places.values().sum(), namespaces, more_namespaces: (more > 0).then_some(more) }
}

#[cfg(test)]
#[path = "census_tests.rs"]
mod tests;
