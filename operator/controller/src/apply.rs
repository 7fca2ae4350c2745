//! The only writer of Secrets, of what stands beside them, and of EncryptedSecret statuses. Every write names the object it
//! expects to find.

mod beside;
mod secret;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use kube::api::{ObjectMeta, PostParams};
use kube::core::Request;
use serde_json::{Value, json};
use touchseal_crds::names::FIELD_MANAGER;
use touchseal_crds::{EncryptedSecret, EncryptedSecretStatus, Reason};
use touchseal_plan::{Content, Decision, LedgerEntry, Notice, Trouble, generation};

use crate::context::Context;
use crate::ledger::{LedgerError, Turn};
use crate::{client, observe, reconcile, words};

/// Why a decision could not be carried out. What was written stays; the next reconcile goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The world changed between observing and writing.
    #[error("{what} changed meanwhile; looking again")]
    Changed {
        /// Object.
        what: String,
    },
    /// A write was refused or failed.
    #[error("writing {what}: {problem}")]
    Write {
        /// Object.
        what: String,
        /// What the API server said, without anything of the request.
        problem: String,
        /// True where trying again without a change cannot help.
        permanent: bool,
    },
}

/// What a decision is carried out with.
pub struct Material {
    /// The ledger's entry it was decided on.
    pub ledger: Option<LedgerEntry>,
    /// To commit another.
    pub turn: Option<Turn>,
    /// The plaintext, where the documents opened.
    pub content: Option<Content>,
    /// The content that is about to be overwritten, where it is to be kept.
    pub outgoing: Option<Content>,
}

/// Carries out a decision, in the order of its fields: whatever stops in between, the next reconcile goes on from there.
///
/// # Errors
/// See [`ApplyError`].
pub async fn apply(
    context: &Context,
    object: &EncryptedSecret,
    mut decision: Decision,
    material: Material,
) -> Result<(), ApplyError> {
    let key = observe::key(object);
    let Material { ledger: before, turn, content, outgoing } = material;
    let generation = decision.ledger.as_ref().or(before.as_ref()).map_or(0, |entry| entry.generation);
    let overtaken =
        |name: &str| ApplyError::Changed { what: format!("Secret {}/{name}, just written,", key.0) };
    if let (Some(write), Some(outgoing)) = (&decision.previous, outgoing)
        && secret::write(context, object, write, outgoing).await?.overtaken
    {
        return Err(overtaken(&write.name));
    }
    let since = before.as_ref().map(|entry| entry.since.clone());
    let entry = decision.ledger.take();
    if let Some(entry) = entry.clone() {
        context.ledger.commit(&key.0, &key.1, before, entry, turn).await?;
    }
    if let (Some(write), Some(content)) = (&decision.secret, content) {
        let written = secret::write(context, object, write, content).await?;
        let at = written.at.unwrap_or_else(reconcile::now);
        let entry = entry.filter(|entry| Some(&entry.since) != since.as_ref());
        if let Some((entry, dated)) = entry.and_then(|e| generation::served(&e, &at).map(|d| (e, d))) {
            context.ledger.commit(&key.0, &key.1, Some(entry), dated, None).await?;
            return Err(ApplyError::Changed { what: format!("the date of Secret {}/{}", key.0, write.name) });
        }
        if written.overtaken {
            return Err(overtaken(&write.name));
        }
    }
    beside::write(context, object, &decision).await?;
    context.watches.want_secrets(&key, decision.watch_foreign);
    context.rollouts.want(&key, reference(object), generation, &decision.restart);
    match decision.status {
        Some(status) => write_status(context, object, status).await?,
        None => context.echoes.right(&key, object.status.as_ref()),
    }
    for notice in decision.notices {
        context.events.publish(&reference(object), &notice, "Reconcile");
    }
    Ok(())
}

/// Ready=False and an Event with what the API server refused, so that a person sees why nothing happens.
///
/// # Errors
/// The status could not be written either.
pub async fn report(
    context: &Context,
    object: &EncryptedSecret,
    status: EncryptedSecretStatus,
    trouble: &Trouble,
) -> Result<(), ApplyError> {
    write_status(context, object, status).await?;
    let notice = Notice { warning: true, reason: trouble.reason, message: trouble.message.clone() };
    context.events.publish(&reference(object), &notice, "Reconcile");
    Ok(())
}

async fn write_status(
    context: &Context,
    object: &EncryptedSecret,
    status: EncryptedSecretStatus,
) -> Result<(), ApplyError> {
    let key = observe::key(object);
    let what = format!("status of EncryptedSecret {}/{}", key.0, key.1);
    let body = serde_json::to_vec(&replacement(object, &status)).map_err(|e| ApplyError::Write {
        what: what.clone(),
        problem: format!("it cannot be put into words ({e})"),
        permanent: true,
    })?;
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    context.echoes.right(&key, Some(&status));
    let request = Request::new(EncryptedSecret::url_path(&(), Some(&key.0)))
        .replace_subresource("status", &key.1, &params, body);
    let version = client::stored_version(&context.client, request).await.map_err(|e| failed(&what, e))?;
    context.echoes.wrote(&key, &version, status);
    Ok(())
}

/// What replaces a status. Of a custom resource's `status` the API server takes nothing else (its `spec` and metadata stay), so
/// nothing else is sent, and a replacement costs it less than a patch. The uid keeps it off a namesake; the version off an object
/// that moved on, which is looked at again: a status that was long on its way never takes the place of a newer one.
fn replacement(object: &EncryptedSecret, status: &EncryptedSecretStatus) -> Value {
    let ObjectMeta { name, namespace, uid, resource_version, .. } = &object.metadata;
    json!({
        "apiVersion": EncryptedSecret::api_version(&()), "kind": EncryptedSecret::kind(&()),
        "metadata": { "name": name, "namespace": namespace, "uid": uid, "resourceVersion": resource_version },
        "status": status,
    })
}

fn owner(object: &EncryptedSecret, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: EncryptedSecret::api_version(&()).into_owned(),
        kind: EncryptedSecret::kind(&()).into_owned(),
        name: object.metadata.name.clone().unwrap_or_default(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

fn reference(object: &EncryptedSecret) -> ObjectReference {
    ObjectReference { ..object.object_ref(&()) }
}

fn failed(what: &str, error: kube::Error) -> ApplyError {
    let permanent = match &error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => {
            return ApplyError::Changed { what: what.to_owned() };
        }
        kube::Error::Api(status) => matches!(status.code, 400 | 403 | 413 | 422),
        _ => false,
    };
    ApplyError::Write { what: what.to_owned(), problem: words::of_secret(&error), permanent }
}

/// The trouble a permanent refusal is shown as.
pub fn trouble(error: &ApplyError) -> Option<Trouble> {
    match error {
        ApplyError::Write { permanent: true, .. } => {
            Some(Trouble::new(Reason::ApiError, format!("{error}; see the operator's log and its rights")))
        }
        // Nothing new is served while numbers cannot be stored; the Secret stays as it is.
        ApplyError::Ledger(ledger @ (LedgerError::Api { .. } | LedgerError::Corrupt { .. })) => {
            Some(Trouble::new(Reason::ApiError, ledger.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use touchseal_crds::EncryptedSecretSpec;

    use super::*;

    fn object(status: Option<EncryptedSecretStatus>) -> EncryptedSecret {
        let mut object = EncryptedSecret::new("app", EncryptedSecretSpec::default());
        object.metadata.uid = Some("uid-1".to_owned());
        object.metadata.resource_version = Some("7".to_owned());
        object.status = status;
        object
    }

    #[test]
    fn a_status_is_replaced_in_the_object_and_version_it_was_decided_on() {
        let status = EncryptedSecretStatus { secret_generation: Some(2), ..EncryptedSecretStatus::default() };
        assert_eq!(
            replacement(&object(None), &status),
            json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
                    "metadata": { "name": "app", "namespace": null, "uid": "uid-1", "resourceVersion": "7" },
                    "status": { "secretGeneration": 2 } })
        );
    }

    #[test]
    fn refusals_tell_a_moved_world_from_a_wrong_request_from_a_server_in_trouble() {
        let api = |code: u16| {
            failed(
                "Secret apps/app",
                kube::Error::Api(Status::failure("hunter2", "Word").with_code(code).boxed()),
            )
        };
        for code in [404, 409] {
            assert!(matches!(api(code), ApplyError::Changed { .. }), "{code}");
        }
        for (code, wrong) in
            [(400, true), (403, true), (413, true), (422, true), (429, false), (500, false), (503, false)]
        {
            let error = api(code);
            assert!(matches!(error, ApplyError::Write { permanent, .. } if permanent == wrong), "{code}");
            assert_eq!(trouble(&error).is_some(), wrong, "{code}");
            let words = error.to_string();
            assert!(words.starts_with("writing Secret apps/app: ") && !words.contains("hunter2"), "{words}");
        }
    }
}
