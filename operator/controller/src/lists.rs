//! The watches of objects that tenants make. What there is comes as a stream, object by object (streaming lists, Kubernetes 1.34
//! and up unless switched off), and from an API server that refuses that in pages small enough for the operator's memory.
//! `within` is the namespace to watch; None: all.

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::core::{ApiResource, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use touchseal_crds::names::{MANAGED_BY, MANAGED_BY_LABEL};
use touchseal_crds::{EncryptedSecret, Incident, Recipient};

use crate::lax;

/// Objects of one page. A page is held as text and as objects at once, an object can have 1.5 MiB (etcd's limit of a request),
/// and EncryptedSecrets, Secrets and pods are listed side by side, so this takes 81 MiB of the 128 MiB the operator may have where
/// a tenant fills it; for 5,000 objects it is 556 requests.
const PAGE: u32 = 9;

/// EncryptedSecrets.
pub fn encrypted_secrets(
    client: Client,
    within: Option<&str>,
) -> impl Stream<Item = watcher::Result<Event<EncryptedSecret>>> + Send + use<> {
    followed(api(client, within), watcher::Config::default())
}

/// Every Incident that can be read.
pub fn incidents(client: Client) -> impl Stream<Item = watcher::Result<Event<Incident>>> + Send {
    let api = Api::all_with(client, &ApiResource::erase::<Incident>(&()));
    lax::readable(followed(api, watcher::Config::default()))
}

/// Recipients; they are small.
pub fn recipients(
    client: Client,
    within: Option<&str>,
) -> impl Stream<Item = watcher::Result<Event<Recipient>>> + Send + use<> {
    watcher::watcher(api(client, within), watcher::Config::default()).default_backoff()
}

/// The Secrets that bear our label.
pub fn our_secrets(
    client: Client,
    within: Option<&str>,
) -> impl Stream<Item = watcher::Result<Event<Secret>>> + Send + use<> {
    let ours = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    followed(api(client, within), ours)
}

/// The pods that have not ended.
pub fn pods(
    client: Client,
    within: Option<&str>,
) -> impl Stream<Item = watcher::Result<Event<Pod>>> + Send + use<> {
    let alive = watcher::Config::default().fields("status.phase!=Succeeded,status.phase!=Failed");
    followed(api(client, within), alive)
}

/// One namespace, or all. RBAC can hold a watch of one, told by its name, to that name.
pub fn namespaces(
    client: Client,
    named: Option<&str>,
) -> impl Stream<Item = watcher::Result<Event<PartialObjectMeta<Namespace>>>> + Send + use<> {
    let config = watcher::Config::default();
    let config = match named {
        Some(name) => config.fields(&format!("metadata.name={name}")),
        None => config,
    };
    watcher::watcher(Api::all(client), config).default_backoff()
}

/// What is called what in a namespace: metadata is all the API server is asked for.
pub fn metadata<K>(
    client: Client,
    namespace: &str,
) -> impl Stream<Item = watcher::Result<Event<PartialObjectMeta<K>>>> + Send + use<K>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::namespaced(client, namespace);
    followed(api, watcher::Config::default())
}

fn api<K>(client: Client, within: Option<&str>) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match within {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

/// A watch that begins with a stream of what there is, or with pages once the API server has refused that.
fn followed<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let streamed = watcher::watcher(api.clone(), config.clone().streaming_lists());
    let paged = watcher::watcher(api, config.page_size(PAGE));
    let offered =
        |event: &watcher::Result<Event<K>>| std::future::ready(!event.as_ref().is_err_and(is_refused));
    streamed.take_while(offered).chain(paged).default_backoff()
}

/// Whether an API server says that it streams no lists: one that does not know how, or is not to, finds the request invalid.
fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if matches!(status.code, 400 | 422))
}

#[cfg(test)]
pub mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures::StreamExt as _;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// One request: its path with the query, and what it accepts.
    pub type Asked = Arc<Mutex<Vec<(String, String)>>>;

    /// A client whose API server has nothing in any list, tells nothing in any watch, and streams no lists.
    pub fn client() -> (Client, Asked) {
        client_of(json!([]))
    }

    /// The same with these objects in every list.
    fn client_of(items: Value) -> (Client, Asked) {
        let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items });
        let list = list.to_string().into_bytes();
        let asked = Asked::default();
        let note = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let uri = request.uri().to_string();
            let accept = request.headers().get(http::header::ACCEPT);
            let accept = accept.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
            let watches = uri.contains("watch=true");
            let streams = uri.contains("sendInitialEvents=true");
            note.lock().unwrap().push((uri, accept));
            let list = list.clone();
            async move {
                if streams {
                    let refusal = kube::core::Status::failure("no streaming", "Invalid").with_code(422);
                    let text = serde_json::to_vec(&refusal).unwrap();
                    let refused = http::Response::builder().status(422).body(Body::from(text)).unwrap();
                    return Ok::<_, Infallible>(refused);
                }
                if watches {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(http::Response::new(Body::from(list)))
            }
        });
        (Client::new(service, "default"), asked)
    }

    /// Follows until the first list is through and gives the request that asked for it, after a stream was asked for in vain.
    async fn listed<K>(
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        asked: &Asked,
    ) -> (String, String) {
        let mut done =
            std::pin::pin!(events.filter(|e| std::future::ready(matches!(e, Ok(Event::InitDone)))));
        assert!(tokio::time::timeout(Duration::from_secs(10), done.next()).await.unwrap().is_some());
        let mut asked = std::mem::take(&mut *asked.lock().unwrap());
        let listed = asked.pop().unwrap();
        let path = |uri: &str| uri.split('?').next().unwrap().to_owned();
        let streams = |(uri, accept): &(String, String)| {
            let same = (path(uri), accept.contains("as=PartialObjectMetadata"))
                == (path(&listed.0), listed.1.contains("as=PartialObjectMetadata"));
            uri.contains("sendInitialEvents=true") && same
        };
        assert!(asked.iter().all(streams), "{asked:?}");
        listed
    }

    #[tokio::test]
    async fn where_lists_are_not_streamed_they_come_in_pages_that_fit_in_memory() {
        const MIB: u32 = 1024 * 1024;
        const {
            assert!(
                3 * PAGE * 3 * MIB <= (128 - 40) * MIB,
                "text and objects of a full page of three kinds, beside what is held anyway"
            );
        }
        let (client, asked) = client();
        let limit = format!("limit={PAGE}");
        for (path, (uri, _)) in [
            ("/v1alpha1/encryptedsecrets?", listed(encrypted_secrets(client.clone(), None), &asked).await),
            (
                "/apps/encryptedsecrets?",
                listed(encrypted_secrets(client.clone(), Some("apps")), &asked).await,
            ),
            ("/api/v1/secrets?", listed(our_secrets(client.clone(), None), &asked).await),
            ("/namespaces/apps/secrets?", listed(our_secrets(client.clone(), Some("apps")), &asked).await),
            ("/secrets?", listed(metadata::<Secret>(client.clone(), "apps"), &asked).await),
            ("/configmaps?", listed(metadata::<ConfigMap>(client.clone(), "apps"), &asked).await),
            ("/api/v1/pods?", listed(pods(client.clone(), None), &asked).await),
            ("/namespaces/apps/pods?", listed(pods(client, Some("apps")), &asked).await),
        ] {
            assert!(uri.contains(path) && uri.contains(&limit), "{uri}");
        }
    }

    #[tokio::test]
    async fn an_incident_that_cannot_be_read_keeps_no_other_from_being_followed() {
        let incident = |name: &str, exposed: &str| {
            json!({
                "apiVersion": "touchseal.dev/v1alpha1", "kind": "Incident", "metadata": { "name": name },
                "spec": { "exposedAt": exposed },
            })
        };
        // Offsets beyond a day are no times to us; the API server looks at the form.
        let odd = incident("odd", "2026-01-01T00:00:00+99:99");
        let (client, _) = client_of(json!([odd, incident("good", "2026-01-01T00:00:00Z")]));
        let mut events = std::pin::pin!(incidents(client));
        let mut names = Vec::new();
        loop {
            let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap();
            match event {
                Ok(Event::InitApply(incident)) => names.extend(incident.metadata.name),
                Ok(Event::InitDone) => break,
                Ok(_) => {}
                Err(error) => assert!(is_refused(&error), "{error}"),
            }
        }
        assert_eq!(names, ["good"]);
    }

    #[tokio::test]
    async fn of_other_peoples_objects_only_metadata_is_asked_for() {
        let (client, asked) = client();
        let (uri, accept) = listed(metadata::<Secret>(client.clone(), "apps"), &asked).await;
        assert!(uri.contains("/namespaces/apps/secrets"), "{uri}");
        assert!(accept.contains("as=PartialObjectMetadataList"), "{accept}");
        let (uri, _) = listed(our_secrets(client, None), &asked).await;
        assert!(uri.contains("labelSelector=app.kubernetes.io%2Fmanaged-by%3Dtouchseal"), "{uri}");
    }

    #[tokio::test]
    async fn a_named_namespace_is_asked_for_by_its_name_alone() {
        let (client, asked) = client();
        let (uri, _) = listed(namespaces(client.clone(), Some("apps")), &asked).await;
        assert!(uri.starts_with("/api/v1/namespaces?"), "{uri}");
        assert!(uri.contains("fieldSelector=metadata.name%3Dapps"), "{uri}");
        let (uri, _) = listed(namespaces(client, None), &asked).await;
        assert!(!uri.contains("fieldSelector"), "{uri}");
    }
}
