//! The Secrets that are ours, as the watch sees them: metadata and a fingerprint each, never their data.
//!
//! Only Secrets labelled `app.kubernetes.io/managed-by=touchseal` are watched, so that memory does not follow the
//! cluster's other Secrets.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hmac::digest::generic_array::GenericArray;
use hmac::{Hmac, Mac as _};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference, Time};
use rand::RngCore as _;
use sha2::Sha256;
use touchseal_crds::names::{FIELD_MANAGER, GROUP, ROLE_ANNOTATION, SOURCE_ANNOTATION};
use touchseal_plan::{Other, OurSecret};

/// Namespace and name.
pub type Key = (String, String);

/// Compares contents of Secrets under a random key of this process; a fingerprint means nothing outside it.
pub struct Fingerprinter([u8; 64]);

impl Fingerprinter {
    /// One with a new random key.
    pub fn new() -> Fingerprinter {
        let mut key = [0; 64];
        rand::rngs::OsRng.fill_bytes(&mut key);
        Fingerprinter(key)
    }

    /// Fingerprint of keys and values.
    pub fn of<'a>(&self, data: impl Iterator<Item = (&'a str, &'a [u8])>) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new(GenericArray::from_slice(&self.0));
        for (key, value) in data {
            for part in [key.as_bytes(), value] {
                mac.update(&(part.len() as u64).to_be_bytes());
                mac.update(part);
            }
        }
        let mut out = [0; 16];
        out.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        out
    }
}

/// Every Secret of ours.
pub struct Secrets {
    known: Mutex<Known>,
    fingerprinter: Fingerprinter,
}

#[derive(Default)]
struct Known {
    secrets: HashMap<Key, Packed>,
    /// Latest resourceVersion that a watch has brought, by namespace: namespaces may have watches of their own, and one
    /// does not tell how far another is.
    watched: HashMap<String, String>,
    /// Names of the Secrets with a role, by the EncryptedSecret they come from.
    roles: HashMap<Key, BTreeSet<String>>,
    /// Names under which a Secret is being written right now.
    claims: HashMap<Key, Claimed>,
}

/// One of them in JSON: a fourth of what it takes as a structure.
struct Packed(Box<[u8]>);

impl Packed {
    fn pack(secret: &OurSecret) -> Option<Packed> {
        serde_json::to_vec(secret).ok().map(|bytes| Packed(bytes.into()))
    }

    fn unpack(&self) -> Option<OurSecret> {
        serde_json::from_slice(&self.0).ok()
    }
}

/// A write of ours under way.
struct Claimed {
    /// The EncryptedSecret it is for.
    source: String,
    /// Latest resourceVersion that the watch has brought meanwhile.
    seen: Option<String>,
}

/// The right to write the Secret of one name; ends when dropped.
pub struct Claim<'a> {
    secrets: &'a Secrets,
    /// None: it has ended.
    key: Option<Key>,
}

impl Claim<'_> {
    /// Takes in the answer to the write and ends. Returns whether the watch has brought a later state meanwhile: somebody
    /// changed the Secret at once, and nobody was told.
    pub fn end(mut self, stored: &Secret) -> bool {
        let compact = self.secrets.compact(stored);
        let mut known = self.secrets.lock();
        let seen = self.key.take().and_then(|key| known.claims.remove(&key)?.seen);
        let overtaken = seen.is_some_and(|seen| newer(&seen, &compact.resource_version));
        known.wrote(key(stored), compact);
        overtaken
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.secrets.lock().claims.remove(&key);
        }
    }
}

impl Secrets {
    /// None yet.
    pub fn new() -> Secrets {
        Secrets { known: Mutex::default(), fingerprinter: Fingerprinter::new() }
    }

    /// The fingerprinter its fingerprints are made with.
    pub fn fingerprinter(&self) -> &Fingerprinter {
        &self.fingerprinter
    }

    /// What is known of one.
    pub fn get(&self, key: &Key) -> Option<OurSecret> {
        self.lock().get(key)
    }

    /// The Secrets with a role that come from this EncryptedSecret, and the one of its own or its target's name.
    pub fn of(&self, (namespace, source): &Key, target: &str) -> Vec<Other> {
        let known = self.lock();
        let roles = known.roles.get(&(namespace.clone(), source.clone()));
        let names = roles.into_iter().flatten().map(String::as_str).chain([target]);
        names
            .filter_map(|name| {
                let secret = known.get(&(namespace.clone(), name.to_owned()))?;
                (secret.source.as_ref() == Some(source)).then(|| Other { name: name.to_owned(), secret })
            })
            .collect()
    }

    /// Before writing the Secret of EncryptedSecret `source`: None where it is another one's, or about to be. Two that name one
    /// target both see nothing there. Of a state that the watch brings of it meanwhile nobody is told: it is what is being
    /// written, or [`Claim::end`] tells.
    pub fn claim(&self, key: &Key, source: &str) -> Option<Claim<'_>> {
        let mut known = self.lock();
        let taken = known.get(key).and_then(|s| s.source).is_some_and(|by| by != source)
            || known.claims.contains_key(key);
        if taken {
            return None;
        }
        known.claims.insert(key.clone(), Claimed { source: source.to_owned(), seen: None });
        Some(Claim { secrets: self, key: Some(key.clone()) })
    }

    /// Takes in a state the watch brings. Returns whether it is news: later than what is known. The watch lags behind the
    /// answers to our own writes; what it brings late changes nothing.
    pub fn seen(&self, secret: &Secret) -> bool {
        let compact = self.compact(secret);
        let mut known = self.lock();
        let key = key(secret);
        known.watched_up_to(&key.0, &compact.resource_version);
        let claimed =
            known.claims.get_mut(&key).filter(|claim| Some(&claim.source) == compact.source.as_ref());
        let is_ours = claimed.is_some();
        if let Some(claim) = claimed {
            claim.seen = Some(compact.resource_version.clone());
        }
        known.take_in(key, compact) && !is_ours
    }

    /// Takes in the answer to a write of ours.
    pub fn wrote(&self, secret: &Secret) {
        let compact = self.compact(secret);
        self.lock().wrote(key(secret), compact);
    }

    /// Takes in a removal.
    pub fn gone(&self, secret: &Secret) {
        let mut known = self.lock();
        let key = key(secret);
        known.watched_up_to(&key.0, secret.metadata.resource_version.as_deref().unwrap_or_default());
        let same = known.get(&key).is_some_and(|k| Some(&k.uid) == secret.metadata.uid.as_ref());
        if same {
            known.remove(&key);
        }
    }

    /// After a fresh list of one namespace, or of all: forgets what is not in it. Returns the forgotten.
    pub fn retain(&self, within: Option<&str>, listed: &HashSet<Key>) -> Vec<(Key, OurSecret)> {
        let mut known = self.lock();
        let lost = known.secrets.keys().filter(|key| is_within(key, within) && !listed.contains(*key));
        let lost: Vec<Key> = lost.cloned().collect();
        lost.into_iter().filter_map(|k| known.remove(&k).map(|secret| (k, secret))).collect()
    }

    /// The compact form of a Secret.
    pub fn compact(&self, secret: &Secret) -> OurSecret {
        let meta = &secret.metadata;
        let empty = BTreeMap::new();
        let data = secret.data.as_ref().unwrap_or(&empty);
        OurSecret {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            fingerprint: self.fingerprinter.of(data.iter().map(|(k, v)| (k.as_str(), v.0.as_slice()))),
            type_: secret.type_.clone().unwrap_or_default(),
            immutable: secret.immutable == Some(true),
            deleting: meta.deletion_timestamp.is_some(),
            source: source(meta).map(str::to_owned),
            labels: owned_labels(meta),
            annotations: owned_annotations(meta),
            claimed: meta.annotations.as_ref().and_then(OurSecret::number),
            altered: altered(meta),
            owner_uid: owner_uid(meta),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn get(&self, key: &Key) -> Option<OurSecret> {
        self.secrets.get(key)?.unpack()
    }

    fn watched_up_to(&mut self, namespace: &str, version: &str) {
        match self.watched.get_mut(namespace) {
            Some(watched) if newer(version, watched) => version.clone_into(watched),
            Some(_) => {}
            None => drop(self.watched.insert(namespace.to_owned(), version.to_owned())),
        }
    }

    /// Unless the watch is past it: then it knows better, for instance that the Secret is gone again.
    fn wrote(&mut self, key: Key, secret: OurSecret) {
        if self.watched.get(&key.0).is_none_or(|watched| newer(&secret.resource_version, watched)) {
            self.take_in(key, secret);
        }
    }

    fn take_in(&mut self, key: Key, secret: OurSecret) -> bool {
        let before = self.get(&key);
        let news =
            before.as_ref().is_none_or(|before| newer(&secret.resource_version, &before.resource_version));
        if news {
            before.iter().for_each(|before| self.leave_role(&key, before));
            if let (true, Some(source)) = (has_role(&secret), &secret.source) {
                self.roles.entry((key.0.clone(), source.clone())).or_default().insert(key.1.clone());
            }
            // What cannot be packed is asked for when it is needed.
            if let Some(packed) = Packed::pack(&secret) {
                self.secrets.insert(key, packed);
            }
        }
        news
    }

    fn remove(&mut self, key: &Key) -> Option<OurSecret> {
        let secret = self.secrets.remove(key)?.unpack()?;
        self.leave_role(key, &secret);
        Some(secret)
    }

    fn leave_role(&mut self, key: &Key, secret: &OurSecret) {
        if let (true, Some(source)) = (has_role(secret), &secret.source) {
            let of = (key.0.clone(), source.clone());
            let names = self.roles.get_mut(&of);
            let left = names.map(|names| {
                names.remove(&key.1);
                names.len()
            });
            if left == Some(0) {
                self.roles.remove(&of);
            }
        }
    }
}

/// Whether resourceVersion `a` is later than `b` (decimal numbers that only grow, Kubernetes 1.35 and up; earlier ones
/// behave the same). Where they are no numbers, any difference counts.
pub fn newer(a: &str, b: &str) -> bool {
    match (a.parse::<u128>(), b.parse::<u128>()) {
        (Ok(a), Ok(b)) => a > b,
        _ => a != b,
    }
}

/// Whether an object is in one namespace; all are everywhere.
pub fn is_within((namespace, _): &Key, within: Option<&str>) -> bool {
    within.is_none_or(|within| within == namespace)
}

/// Namespace and name of a Secret.
pub fn key(secret: &Secret) -> Key {
    (secret.metadata.namespace.clone().unwrap_or_default(), secret.metadata.name.clone().unwrap_or_default())
}

/// The EncryptedSecret a Secret says it comes from.
pub fn source(meta: &ObjectMeta) -> Option<&str> {
    meta.annotations.as_ref()?.get(SOURCE_ANNOTATION).map(String::as_str)
}

/// uid of the EncryptedSecret that owns an object.
pub fn owner_uid(meta: &ObjectMeta) -> Option<String> {
    meta.owner_references.iter().flatten().find(|owner| is_ours(owner)).map(|owner| owner.uid.clone())
}

/// Whether an owner is an EncryptedSecret.
pub fn is_ours(owner: &OwnerReference) -> bool {
    owner.kind == "EncryptedSecret" && owner.api_version.starts_with(GROUP)
}

fn has_role(secret: &OurSecret) -> bool {
    secret.annotations.contains_key(ROLE_ANNOTATION)
}

/// Whether anybody but us wrote values: a value belongs to whoever wrote it last. A Secret without a role may have been taken
/// over from somebody who wrote the same values before.
fn altered(meta: &ObjectMeta) -> bool {
    let role = meta.annotations.as_ref().is_some_and(|a| a.contains_key(ROLE_ANNOTATION));
    let ours = written_at(meta).filter(|_| !role);
    meta.managed_fields.iter().flatten().filter(|entry| !is_our_entry(entry)).any(|entry| {
        let data = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:data")?.as_object());
        let values = data.is_some_and(|data| data.keys().any(|name| name.starts_with("f:")));
        // In the same second nobody knows who was first.
        values && entry.time.as_ref().is_none_or(|time| ours.as_ref().is_none_or(|ours| time >= ours))
    })
}

/// When we last changed an object, by the API server's clock.
pub fn written_at(meta: &ObjectMeta) -> Option<Time> {
    let ours = meta.managed_fields.iter().flatten().filter(|entry| is_our_entry(entry));
    ours.filter_map(|entry| entry.time.clone()).max()
}

/// A Secret is made by a create, which the API server records as an update, and changed by server-side applies.
fn is_our_entry(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.subresource.is_none()
}

/// The labels that we own.
pub fn owned_labels(meta: &ObjectMeta) -> BTreeMap<String, String> {
    owned(meta, "f:labels", meta.labels.as_ref())
}

/// The annotations that we own.
pub fn owned_annotations(meta: &ObjectMeta) -> BTreeMap<String, String> {
    owned(meta, "f:annotations", meta.annotations.as_ref())
}

/// The pairs that we own; what others put beside them is theirs.
fn owned(
    meta: &ObjectMeta,
    field: &str,
    pairs: Option<&BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let ours = meta.managed_fields.iter().flatten().filter(|entry| is_our_entry(entry));
    let mut owned = BTreeMap::new();
    for entry in ours {
        let names =
            entry.fields_v1.as_ref().and_then(|f| f.0.pointer(&format!("/f:metadata/{field}"))?.as_object());
        for name in names.into_iter().flat_map(|names| names.keys()).filter_map(|n| n.strip_prefix("f:")) {
            if let Some(value) = pairs.and_then(|pairs| pairs.get(name)) {
                owned.insert(name.to_owned(), value.clone());
            }
        }
    }
    owned
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
