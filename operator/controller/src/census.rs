//! Counts in each Keyring's status how many EncryptedSecrets need each of its key generations. Counted from what the watches
//! show, in the namespaces that are served; needs no key; written when it changed, at most once every few seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::time::Instant;
use touchseal_crds::Keyring;
use touchseal_crds::keyring::{DocumentCount, GenerationDocuments, KeyringSpec};
use touchseal_crds::names::FIELD_MANAGER;
use touchseal_plan::census::Census;

use crate::objects::{self, Objects};
use crate::places::{Kind, Places};
use crate::{lax, words};

/// Time from a change to the count: a thousand objects that change together make a handful of writes, and one that is
/// edited and served within it makes none.
const PAUSE: Duration = Duration::from_secs(3);
/// Time before a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

type Counted = (Vec<GenerationDocuments>, Option<DocumentCount>);

/// A Keyring as last seen.
struct Known {
    spec: KeyringSpec,
    says: Counted,
}

/// Runs until the term ends.
pub async fn follow(client: Client, (places, objects): (Arc<Places>, Arc<Objects>)) {
    let mut news = objects.news();
    // An object that is not known yet is not one that needs nothing.
    places.settled(Kind::EncryptedSecrets).await;
    let api: Api<Keyring> = Api::all(client.clone());
    let mut keyrings = lax::keyrings(client).boxed();
    let mut known = HashMap::new();
    let mut due: Option<Instant> = None;
    let mut pause = PAUSE;
    loop {
        tokio::select! {
            Some(event) = keyrings.next() => match event {
                Ok(event) => {
                    take(&mut known, event);
                    due = due.or_else(|| Some(Instant::now() + pause));
                }
                Err(error) => {
                    tracing::warn!(problem = words::of_watch(&error), "watch of Keyrings failed; it is tried again");
                }
            },
            Ok(()) = news.changed() => due = due.or_else(|| Some(Instant::now() + pause)),
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let began = Instant::now();
                let all = round(&api, &objects, &mut known).await;
                pause = objects::rest(PAUSE, began.elapsed());
                due = (!all).then(|| Instant::now() + AGAIN);
            }
            else => return,
        }
    }
}

fn take(known: &mut HashMap<String, Known>, event: Event<Keyring>) {
    match event {
        Event::Init => known.clear(),
        Event::InitDone => {}
        Event::Delete(keyring) => drop(known.remove(&keyring.name_any())),
        Event::Apply(keyring) | Event::InitApply(keyring) => {
            drop(known.insert(keyring.name_any(), learn(keyring)))
        }
    }
}

fn learn(keyring: Keyring) -> Known {
    let status = keyring.status.unwrap_or_default();
    Known { spec: keyring.spec, says: (status.documents, status.documents_unclear) }
}

/// Counts once and writes what differs; whether all of it was written.
async fn round(api: &Api<Keyring>, objects: &Objects, known: &mut HashMap<String, Known>) -> bool {
    let mut census = Census::default();
    objects.each().for_each(|object| census.add(&object));
    let mut all = true;
    for (name, known) in known {
        let counted = census.of(name, &known.spec);
        if counted == known.says {
            continue;
        }
        // No one else writes these two fields, so the version does not matter.
        let (documents, unclear) = &counted;
        let patch = json!({ "status": { "documents": documents, "documentsUnclear": unclear } });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch_status(name, &params, &Patch::Merge(patch)).await {
            Ok(_) => known.says = counted,
            Err(kube::Error::Api(status)) if status.code == 404 => {} // deleted meanwhile
            Err(error) => {
                let problem = words::of(&error);
                tracing::warn!(
                    keyring = name,
                    problem,
                    "documents could not be counted in the status; it is tried again"
                );
                all = false;
            }
        }
    }
    all
}
