//! What stands beside the Secret an EncryptedSecret makes: the content before, old generations, the ConfigMap of the newest
//! name; and the content that is about to be overwritten, where it is to be kept. Reads only.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt as _};
use touchseal_crds::EncryptedSecret;
use touchseal_crds::names::SOURCE_ANNOTATION;
use touchseal_crds::rotation::Delivery;
use touchseal_plan::{
    AliasSeen, Content, Digests, Expected, LedgerEntry, Live, Opened, Other, OurAlias, SecretSeen, decide,
    deliver,
};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::keys::NamespaceKeys;
use crate::observe::{self, ObserveError};
use crate::secrets::{self, Key};
use crate::{open, words};

/// What was found.
#[derive(Default)]
pub struct Beside {
    /// With delivery Previous, the Secret that holds the content before.
    pub previous: SecretSeen,
    /// Our further Secrets.
    pub others: Vec<Other>,
    /// The ConfigMap of the newest name.
    pub alias: AliasSeen,
}

/// Looks at everything that does not depend on the documents.
///
/// # Errors
/// A read failed.
pub async fn look(context: &Context, object: &EncryptedSecret, key: &Key) -> Result<Beside, ObserveError> {
    let others: Vec<Other> = context
        .secrets
        .of(key, decide::target_name(object))
        .into_iter()
        .filter(|other| deliver::is_other(object, &other.name, other.role()))
        .collect();
    let delivery = deliver::delivery(object);
    let previous = match delivery {
        Delivery::Previous => observe::look_at_secret(context, &deliver::previous_name(object), key).await?,
        Delivery::InPlace | Delivery::Immutable => SecretSeen::Absent,
    };
    let generations = others.iter().any(|other| other.role() == Some(deliver::GENERATION));
    let alias = if delivery == Delivery::Immutable || generations {
        look_at_alias(context, &deliver::alias_name(object), key).await?
    } else {
        AliasSeen::Absent
    };
    Ok(Beside { previous, others, alias })
}

async fn look_at_alias(context: &Context, name: &str, key: &Key) -> Result<AliasSeen, ObserveError> {
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &key.0);
    let found = api.get_opt(name).await.map_err(|error| ObserveError::Read {
        what: format!("ConfigMap {}/{name}", key.0),
        problem: words::of(&error),
    })?;
    let Some(map) = found else { return Ok(AliasSeen::Absent) };
    let source = map.annotations().get(SOURCE_ANNOTATION);
    if source != Some(&key.1) {
        let owner =
            source.map_or_else(|| "somebody else".to_owned(), |name| format!("EncryptedSecret {name}"));
        return Ok(AliasSeen::Foreign { owner });
    }
    let told = |field: &str| map.data.as_ref().and_then(|data| data.get(field)).cloned();
    Ok(AliasSeen::Ours(OurAlias {
        expected: Expected {
            uid: map.metadata.uid.clone().unwrap_or_default(),
            resource_version: map.metadata.resource_version.clone().unwrap_or_default(),
        },
        secret_name: told("secretName"),
        generation: told("generation"),
        owner_uid: secrets::owner_uid(&map.metadata),
    }))
}

/// The content that is about to be overwritten, where it is to be kept and is exactly what the ledger says; `secret` is
/// then told as it was read.
///
/// # Errors
/// The Secret cannot be read.
pub async fn live(
    context: &Context,
    object: &EncryptedSecret,
    key: &Key,
    secret: &mut SecretSeen,
    (opened, ledger, keys): (&Opened, Option<&LedgerEntry>, &NamespaceKeys),
) -> Result<(Live, Option<Content>), ObserveError> {
    let nothing = Ok((Live::Unknown, None));
    let (Opened::Content(digests), Some(entry)) = (opened, ledger) else { return nothing };
    if deliver::delivery(object) != Delivery::Previous || !is_outgoing(secret, digests, entry) {
        return nothing;
    }
    let name = deliver::secret_name(object, entry.generation);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &key.0);
    let found = api.get_opt(&name).await.map_err(|error| ObserveError::Read {
        what: format!("Secret {}/{name}", key.0),
        problem: words::of_secret(&error),
    })?;
    let Some(found) = found else {
        *secret = SecretSeen::Absent;
        return nothing;
    };
    *secret = observe::classify(context, &found, &key.1);
    let content = content(found);
    let intact = is_outgoing(secret, digests, entry) && holds(&content, entry, keys, &key.1);
    Ok(if intact { (Live::Intact, Some(content)) } else { (Live::Unknown, None) })
}

/// Whether a Secret holds another content than the documents, under the ledger's present number.
fn is_outgoing(secret: &SecretSeen, digests: &Digests, entry: &LedgerEntry) -> bool {
    let SecretSeen::Ours(ours) = secret else { return false };
    ours.fingerprint != digests.fingerprint && ours.generation() == Some(entry.generation)
}

fn content(secret: Secret) -> Content {
    let mut content = Content::default();
    let data = secret.data.into_iter().flatten();
    content.data = data.map(|(name, value)| (name, Zeroizing::new(value.0))).collect();
    content
}

/// Whether a content has exactly the ledger's digests. Where their key is gone nobody can tell.
fn holds(content: &Content, entry: &LedgerEntry, keys: &NamespaceKeys, name: &str) -> bool {
    let keyring = keys.open.iter().find(|keyring| keyring.id == entry.key.keyring);
    let Some(key) = keyring.and_then(|keyring| keyring.digests.get(&entry.key.generation)) else {
        return false;
    };
    content.data.len() == entry.keys.len()
        && content.data.iter().all(|(secret_key, value)| {
            let known = entry.keys.get(secret_key).map(|known| &known.digest);
            known == Some(&open::digest_of(key, name, secret_key, value))
        })
}
