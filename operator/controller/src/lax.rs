//! Watches of objects that people other than the operator write, read so that none of them can blind it: one that this version
//! cannot read is told apart, and the others come through. A typed watch fails as a whole, again and again.

use futures::{Stream, StreamExt as _};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use touchseal_crds::{Keyring, keyring};

/// Every Keyring. A spec that cannot be read is one that verifies nowhere.
pub fn keyrings(client: Client) -> impl Stream<Item = watcher::Result<Event<Keyring>>> + Send {
    let api = Api::all_with(client, &ApiResource::erase::<Keyring>(&()));
    watcher::watcher(api, watcher::Config::default()).default_backoff().filter_map(|event| {
        std::future::ready(event.map(|event| decode(event, |object| Some(keyring::read(object)))).transpose())
    })
}

/// One Keyring.
///
/// # Errors
/// Of the API server.
pub async fn keyring(client: &Client, name: &str) -> Result<Option<Keyring>, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<Keyring>(&()));
    Ok(api.get_opt(name).await?.map(keyring::read))
}

/// The objects of a kind in one namespace; those that cannot be read are passed over.
pub fn namespaced<K>(
    client: Client,
    namespace: &str,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Send,
{
    let api = Api::namespaced_with(client, namespace, &ApiResource::erase::<K>(&()));
    readable(watcher::watcher(api, watcher::Config::default()).default_backoff())
}

/// What a watch brings, without the objects that cannot be read.
pub fn readable<K: Resource<DynamicType = ()> + DeserializeOwned + Send>(
    events: impl Stream<Item = watcher::Result<Event<DynamicObject>>> + Send,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send {
    events.filter_map(|event| std::future::ready(event.map(|event| decode(event, read)).transpose()))
}

fn decode<K>(event: Event<DynamicObject>, read: impl Fn(DynamicObject) -> Option<K>) -> Option<Event<K>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(read(object)?),
        Event::Apply(object) => Event::Apply(read(object)?),
        Event::Delete(object) => Event::Delete(read(object)?),
    })
}

fn read<K: Resource<DynamicType = ()> + DeserializeOwned>(object: DynamicObject) -> Option<K> {
    let name = object.name_any();
    let read = object.try_parse();
    if read.is_err() {
        // Its text may quote what somebody wrote.
        tracing::warn!(object = name, kind = %K::kind(&()), "an object is passed over: this version cannot read it");
    }
    read.ok()
}
