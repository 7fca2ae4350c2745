//! Gathers everything one reconcile needs into one value. Reads only.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, ResourceExt as _};
use touchseal_crds::EncryptedSecret;
use touchseal_crds::names::{ADOPT_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL};
use touchseal_crds::rotation::Delivery;
use touchseal_plan::number::Place;
use touchseal_plan::{
    Consumers, Content, Floor, LedgerEntry, Live, Opened, Other, SecretSeen, decide, deliver,
};

use crate::beside::{self, Beside};
use crate::context::Context;
use crate::desk::{Desk, Fell};
use crate::ledger::{LedgerError, Turn};
use crate::names::Look;
use crate::objects::Found;
use crate::open::Given;
use crate::pods::Seen;
use crate::secrets::Key;
use crate::{open, sources, words};

/// What was gathered, plaintext apart.
pub struct Gathered {
    /// The object, with our own newest status.
    pub object: Arc<EncryptedSecret>,
    /// Digest of the ciphertext.
    pub source: Option<String>,
    /// What became of the documents.
    pub opened: Opened,
    /// The Secret that holds, or is to hold, the ledger's present number.
    pub secret: SecretSeen,
    /// With delivery Immutable and changed content, the Secret of the next number's name.
    pub fresh: SecretSeen,
    /// What stands beside it.
    pub beside: Beside,
    /// Whether the content about to be overwritten is what the ledger knows.
    pub live: Live,
    /// The ledger's entry.
    pub ledger: Option<LedgerEntry>,
    /// To commit another.
    pub turn: Turn,
    /// The least number that is given out.
    pub floor: Floor,
    /// The plaintext, where the documents opened.
    pub content: Option<Content>,
    /// The content that is about to be overwritten, where it is to be kept.
    pub outgoing: Option<Content>,
}

/// Why gathering failed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A read failed.
    #[error("reading {what}: {problem}")]
    Read {
        /// What was read.
        what: String,
        /// What went wrong, without anything of the answer.
        problem: String,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Derivation.
    #[error("deriving keys of namespace {namespace}: {source}")]
    Derive {
        /// Namespace.
        namespace: String,
        /// What went wrong.
        source: touchseal_keyring::DeriveError,
    },
}

/// The object with the text of its documents; None where it is gone.
///
/// # Errors
/// The API server was to be asked for it and did not answer.
pub async fn whole(context: &Context, found: Found) -> Result<Option<EncryptedSecret>, ObserveError> {
    if found.whole {
        return Ok(Some(found.object));
    }
    let (namespace, name) = key(&found.object);
    let api: Api<EncryptedSecret> = Api::namespaced(context.client.clone(), &namespace);
    api.get_opt(&name).await.map_err(|error| ObserveError::Read {
        what: format!("EncryptedSecret {namespace}/{name}"),
        problem: words::of(&error),
    })
}

/// Whether an object is what is stored.
///
/// # Errors
/// The API server did not answer.
pub async fn is_latest(context: &Context, object: &EncryptedSecret) -> Result<bool, ObserveError> {
    let (namespace, name) = key(object);
    let api: Api<EncryptedSecret> = Api::namespaced(context.client.clone(), &namespace);
    let stored = api.get_metadata_opt(&name).await.map_err(|error| ObserveError::Read {
        what: format!("EncryptedSecret {namespace}/{name}"),
        problem: words::of(&error),
    })?;
    let of = |meta: &ObjectMeta| (meta.uid.clone(), meta.generation, meta.deletion_timestamp.is_some());
    Ok(stored.is_some_and(|stored| of(&stored.metadata) == of(&object.metadata)))
}

/// The object with the status that was written to it, where the watch is yet to bring it.
pub fn as_written(context: &Context, mut object: EncryptedSecret) -> Arc<EncryptedSecret> {
    let version = object.metadata.resource_version.as_deref().unwrap_or_default();
    if let Some((version, status)) = context.echoes.status(&key(&object), version) {
        object.status = Some(status);
        object.metadata.resource_version = Some(version);
    }
    Arc::new(object)
}

/// Gathers.
///
/// # Errors
/// A read failed; nothing was changed, the reconcile is tried again.
pub async fn observe(context: &Context, object: Arc<EncryptedSecret>) -> Result<Gathered, ObserveError> {
    let key = key(&object);
    let references = object.spec.documents.iter().filter_map(|d| d.config_map_key_ref.as_ref());
    let alias = (deliver::delivery(&object) == Delivery::Immutable).then(|| deliver::alias_name(&object));
    let maps = references.map(|reference| reference.name.clone()).chain(alias);
    context.watches.want_config_maps(&key, maps);

    let turn = context.ledger.turn(&key.0, &key.1);
    let mut ledger = context.ledger.get(&key.0, &key.1).await?;
    let beside = beside::look(context, &object, &key).await?;
    let mut secret = look_at_held(context, &object, &key, ledger.as_ref(), &beside.others).await?;
    let borne = beside.others.iter().filter_map(Other::generation).chain(secret.generation()).max();
    if borne > ledger.as_ref().map(|entry| entry.generation) {
        // Another process gave out a number since this one read the ledger.
        ledger = context.ledger.get_fresh(&key.0, &key.1).await?;
        secret = look_at_held(context, &object, &key, ledger.as_ref(), &beside.others).await?;
    }
    let fetched = sources::fetch(&context.client, &key.0, &object.spec).await.map_err(|error| {
        ObserveError::Read { what: format!("a ConfigMap of namespace {}", key.0), problem: words::of(&error) }
    })?;
    let keys = context
        .keys
        .namespace(&key.0)
        .map_err(|source| ObserveError::Derive { namespace: key.0.clone(), source })?;
    let (source, opened, content) = match fetched {
        Err(trouble) => (None, Opened::Failed(trouble), None),
        Ok(found) => {
            // Short documents may stand behind templates that take their time.
            let composes = object.spec.target.as_ref().is_some_and(|target| target.template.is_some());
            let least = if composes { Desk::TEMPLATES } else { 0 };
            let size = found.iter().map(|source| source.bytes.len()).sum::<usize>().max(least);
            let keys = Arc::clone(&keys);
            let (object, secrets) = (Arc::clone(&object), Arc::clone(&context.secrets));
            let (ledger, name) = (ledger.clone(), key.1.clone());
            let work = move || {
                let (opened, content) = open::open(Given {
                    spec: &object.spec,
                    sources: &found,
                    keys: &keys,
                    ledger: ledger.as_ref(),
                    name: &name,
                    fingerprinter: secrets.fingerprinter(),
                });
                (Some(sources::digest(&object.spec, &found)), opened, content)
            };
            context.desk.work(size, work).await.unwrap_or_else(|Fell| (None, open::unreadable(), None))
        }
    };
    let known = (&opened, ledger.as_ref(), &*keys);
    let (live, outgoing) = beside::live(context, &object, &key, &mut secret, known).await?;
    let mut gathered = Gathered {
        object,
        source,
        opened,
        secret,
        fresh: SecretSeen::Absent,
        beside,
        live,
        ledger,
        turn,
        floor: context.floor.get(),
        content,
        outgoing,
    };
    if let Some(name) = gathered.place().fresh_name(&crate::reconcile::now()) {
        gathered.fresh = look_at_secret(context, &name, &key).await?;
    }
    Ok(gathered)
}

impl Gathered {
    /// What decides where the content goes.
    fn place(&self) -> Place<'_> {
        Place {
            object: &self.object,
            opened: &self.opened,
            source: self.source.as_deref(),
            secret: &self.secret,
            others: &self.beside.others,
            ledger: self.ledger.as_ref(),
            floor: self.floor,
        }
    }
}

/// What is known of the pods that use an object's Secrets.
pub async fn consumers(context: &Context, object: &EncryptedSecret) -> Consumers {
    let key = key(object);
    let seen = context.pods.consumers(&key, decide::target_name(object)).await;
    let (blind, listing) = (matches!(seen, Seen::Interrupted(_)), matches!(seen, Seen::Listing));
    let (known, pods) = match seen {
        Seen::Known(pods) | Seen::Interrupted(pods) => (true, pods),
        Seen::Listing | Seen::Denied => (false, Vec::new()),
    };
    Consumers {
        known,
        listing,
        blind,
        pods,
        refresh: context.mount_refresh,
        waits: context.rollouts.waits(&key),
    }
}

/// Namespace and name of an EncryptedSecret.
pub fn key(object: &EncryptedSecret) -> Key {
    (object.metadata.namespace.clone().unwrap_or_default(), object.metadata.name.clone().unwrap_or_default())
}

/// The Secret that holds the present number; with delivery Immutable there may be no number yet.
async fn look_at_held(
    context: &Context,
    object: &EncryptedSecret,
    key: &Key,
    ledger: Option<&LedgerEntry>,
    others: &[Other],
) -> Result<SecretSeen, ObserveError> {
    let held = deliver::held(ledger, others);
    match (held, deliver::delivery(object)) {
        (None, Delivery::Immutable) => Ok(SecretSeen::Absent),
        (held, _) => {
            look_at_secret(context, &deliver::secret_name(object, held.unwrap_or_default()), key).await
        }
    }
}

/// A Secret by its name. Where the watch knows none of ours, the API server is asked: a foreign Secret is not watched,
/// and one of ours may have lost its label.
pub async fn look_at_secret(context: &Context, name: &str, key: &Key) -> Result<SecretSeen, ObserveError> {
    let place = (key.0.clone(), name.to_owned());
    if let Some(ours) = context.secrets.get(&place)
        && ours.source.as_ref() == Some(&key.1)
    {
        return Ok(SecretSeen::Ours(ours));
    }
    let (look, _turn) = context.names.look(&key.0, name).await;
    if look == Look::Absent {
        return Ok(SecretSeen::Absent);
    }
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &key.0);
    let found = api.get_opt(name).await.map_err(|error| ObserveError::Read {
        what: format!("Secret {}/{name}", key.0),
        problem: words::of_secret(&error),
    })?;
    Ok(match found {
        None => SecretSeen::Absent,
        Some(secret) => classify(context, &secret, &key.1),
    })
}

/// Ours are exactly the Secrets whose annotation names this EncryptedSecret.
pub fn classify(context: &Context, secret: &Secret, name: &str) -> SecretSeen {
    let compact = context.secrets.compact(secret);
    if compact.source.as_deref() == Some(name) {
        return SecretSeen::Ours(compact);
    }
    let owner = match &compact.source {
        Some(other) => format!("EncryptedSecret {other}"),
        None => match secret.labels().get(MANAGED_BY_LABEL) {
            Some(manager) if manager != MANAGED_BY => manager.clone(),
            _ => "somebody else".to_owned(),
        },
    };
    SecretSeen::Foreign {
        consents: secret.annotations().get(ADOPT_ANNOTATION).is_some_and(|allowed| allowed == name),
        uid: compact.uid,
        resource_version: compact.resource_version,
        owner,
        type_: compact.type_,
        immutable: compact.immutable,
    }
}
