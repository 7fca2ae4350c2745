//! The keyrings as reconciles see them: which are open in this process, and what opens a namespace's documents.
//!
//! Holds the state machine of every keyring. `ceremony` feeds it events; namespace keys are derived on first use and
//! dropped whenever a keyring's standing changes, so that nothing derived outlives its keyring.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::{self, Discriminant};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use touchseal_crds::RecipientSpec;
use touchseal_keyring::state::{Effect, Event, Phase};
use touchseal_keyring::{DeriveError, DigestKey, OpenKeyring, State};
use touchseal_sops::Opener;

/// What this process knows of each keyring in the cluster.
#[derive(Default)]
pub struct Keys {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    keyrings: BTreeMap<String, State>,
    /// Those whose manifest is in the cluster.
    present: HashSet<String>,
    /// Derived keys by namespace.
    namespaces: HashMap<String, Arc<NamespaceKeys>>,
}

/// Everything that opens documents of one namespace.
pub struct NamespaceKeys {
    /// One entry an open keyring.
    pub open: Vec<KeyringKeys>,
    /// Names of keyrings that are sealed here.
    pub sealed: Vec<String>,
    /// Names of keyrings that are refused.
    pub refused: Vec<String>,
}

/// One keyring's keys for one namespace.
pub struct KeyringKeys {
    /// Keyring name.
    pub name: String,
    /// Keyring id, hexadecimal.
    pub id: String,
    /// Active generation.
    pub active: u32,
    /// Decrypts documents.
    pub opener: Opener,
    /// Generation of each recipient the opener holds.
    pub recipients: HashMap<String, u32>,
    /// Makes digests, by live generation.
    pub digests: BTreeMap<u32, DigestKey>,
}

impl Keys {
    /// Feeds an event to the state machine of one keyring. It takes effect before this returns: after a seal request no
    /// key is left here, whatever becomes of the effects.
    pub fn step(&self, keyring: &str, event: Event) -> Vec<Effect> {
        let mut inner = self.lock();
        let before = inner.standing(keyring);
        match &event {
            Event::ManifestSeen(_) => drop(inner.present.insert(keyring.to_owned())),
            Event::ManifestGone => drop(inner.present.remove(keyring)),
            _ => {}
        }
        let state = inner.keyrings.remove(keyring).unwrap_or_default();
        let (state, effects) = state.step(event, Timestamp::now());
        inner.keyrings.insert(keyring.to_owned(), state);
        if inner.standing(keyring) != before {
            inner.namespaces.clear();
        }
        effects
    }

    /// What others derive from: anything that changes it changes this.
    pub fn standing(&self, keyring: &str) -> Standing {
        self.lock().standing(keyring)
    }

    /// Looks at the state of one keyring.
    pub fn look<R>(&self, keyring: &str, look: impl FnOnce(&State) -> R) -> Option<R> {
        self.lock().keyrings.get(keyring).map(look)
    }

    /// Looks at every keyring whose manifest is in the cluster.
    pub fn each(&self, mut look: impl FnMut(&str, &State)) {
        let inner = self.lock();
        let present = inner.keyrings.iter().filter(|(name, _)| inner.present.contains(*name));
        present.for_each(|(name, state)| look(name, state));
    }

    /// The keys of a namespace.
    ///
    /// # Errors
    /// Derivation failed, which well-formed keyrings do not come to.
    pub fn namespace(&self, namespace: &str) -> Result<Arc<NamespaceKeys>, DeriveError> {
        let mut inner = self.lock();
        if let Some(keys) = inner.namespaces.get(namespace) {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(derive(&inner, namespace)?);
        inner.namespaces.insert(namespace.to_owned(), Arc::clone(&keys));
        Ok(keys)
    }

    /// The published recipients of a namespace, by keyring name, of all open keyrings.
    ///
    /// # Errors
    /// As [`Keys::namespace`].
    pub fn recipients(&self, namespace: &str) -> Result<Vec<(String, RecipientSpec)>, DeriveError> {
        let inner = self.lock();
        let open = inner.keyrings.iter().filter_map(|(name, state)| Some((name, state.keys()?)));
        open.map(|(name, keyring)| Ok((name.clone(), keyring.recipient_spec(namespace)?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether its manifest is in the cluster, where it stands, and digest of the manifest that the keys in hand were opened at.
pub type Standing = (bool, Option<(Discriminant<Phase>, Option<[u8; 32]>)>);

impl Inner {
    fn standing(&self, keyring: &str) -> Standing {
        let state = self.keyrings.get(keyring).map(|state| {
            let opened_at = state.keys().map(|open| *open.manifest().digest());
            (mem::discriminant(state.phase()), opened_at)
        });
        (self.present.contains(keyring), state)
    }
}

fn derive(inner: &Inner, namespace: &str) -> Result<NamespaceKeys, DeriveError> {
    let mut keys = NamespaceKeys { open: Vec::new(), sealed: Vec::new(), refused: Vec::new() };
    for (name, state) in &inner.keyrings {
        match state.phase() {
            // Its manifest is there and its pin cannot be told: it may yet open, so nothing is known of its documents.
            Phase::Absent if inner.present.contains(name) => keys.sealed.push(name.clone()),
            Phase::Absent => {}
            Phase::Sealed(_) | Phase::Opening(_) => keys.sealed.push(name.clone()),
            Phase::Tampered(_) => keys.refused.push(name.clone()),
            Phase::Unsealed(unsealed) => keys.open.push(keyring_keys(name, &unsealed.open, namespace)?),
        }
    }
    Ok(keys)
}

fn keyring_keys(name: &str, keyring: &OpenKeyring, namespace: &str) -> Result<KeyringKeys, DeriveError> {
    let mut opener = Opener::new();
    let mut recipients = HashMap::new();
    let mut digests = BTreeMap::new();
    for (generation, identity) in keyring.namespace(namespace)? {
        recipients.insert(identity.recipient().to_owned(), generation);
        opener = opener.with_x25519(identity.identity().clone());
        digests.extend(keyring.digest_key(namespace, generation)?.map(|key| (generation, key)));
    }
    Ok(KeyringKeys {
        name: name.to_owned(),
        id: keyring.id().to_string(),
        active: keyring.manifest().active_generation(),
        opener,
        recipients,
        digests,
    })
}
