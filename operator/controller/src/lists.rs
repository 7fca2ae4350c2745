//! The watches of objects that tenants make, listed in pages small enough for the operator's memory. `within` is the
//! namespace to watch; None: all.

use futures::Stream;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use touchseal_crds::names::{MANAGED_BY, MANAGED_BY_LABEL};
use touchseal_crds::{EncryptedSecret, Incident, Recipient};

/// Objects of one page. A page is held as text and as objects at once, and an object can have 1.5 MiB (etcd's limit of a
/// request), so this takes 75 MiB of the 128 MiB the operator may have where a tenant fills it; for 5,000 objects it is
/// 200 requests. Streaming lists would need no pages, but an API server that does not offer them refuses the watch, and
/// the client has no way back to lists.
const PAGE: u32 = 25;

/// EncryptedSecrets.
pub fn encrypted_secrets(
    client: Client,
    within: Option<&str>,
) -> impl Stream<Item = watcher::Result<Event<EncryptedSecret>>> + Send + use<> {
    watcher::watcher(api(client, within), pages()).default_backoff()
}

/// Every Incident.
pub fn incidents(client: Client) -> impl Stream<Item = watcher::Result<Event<Incident>>> + Send {
    watcher::watcher(Api::all(client), pages()).default_backoff()
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
    let ours = pages().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    watcher::watcher(api(client, within), ours).default_backoff()
}

/// The pods that have not ended.
pub fn pods(
    client: Client,
    within: Option<&str>,
) -> impl Stream<Item = watcher::Result<Event<Pod>>> + Send + use<> {
    let alive = pages().fields("status.phase!=Succeeded,status.phase!=Failed");
    watcher::watcher(api(client, within), alive).default_backoff()
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
    watcher::watcher(api, pages()).default_backoff()
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

fn pages() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

#[cfg(test)]
pub mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures::StreamExt as _;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::client::Body;

    use super::*;

    /// One request: its path with the query, and what it accepts.
    pub type Asked = Arc<Mutex<Vec<(String, String)>>>;

    /// A client whose API server has nothing in any list and tells nothing in any watch.
    pub fn client() -> (Client, Asked) {
        let asked = Asked::default();
        let note = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let uri = request.uri().to_string();
            let accept = request.headers().get(http::header::ACCEPT);
            let accept = accept.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
            let watches = uri.contains("watch=true");
            note.lock().unwrap().push((uri, accept));
            async move {
                if watches {
                    std::future::pending::<()>().await;
                }
                let list =
                    r#"{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":"1"},"items":[]}"#;
                Ok::<_, Infallible>(http::Response::new(Body::from(list.as_bytes().to_vec())))
            }
        });
        (Client::new(service, "default"), asked)
    }

    /// Follows until the first list is through and gives the request that asked for it.
    async fn listed<K>(
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        asked: &Asked,
    ) -> (String, String) {
        let mut done =
            std::pin::pin!(events.filter(|e| std::future::ready(matches!(e, Ok(Event::InitDone)))));
        assert!(tokio::time::timeout(Duration::from_secs(10), done.next()).await.unwrap().is_some());
        std::mem::take(&mut *asked.lock().unwrap()).swap_remove(0)
    }

    #[tokio::test]
    async fn lists_come_in_pages_that_fit_in_memory() {
        const MIB: u32 = 1024 * 1024;
        const {
            assert!(
                PAGE * 3 * MIB <= (128 - 40) * MIB,
                "text and objects of a full page, beside what is held anyway"
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
