//! The API server, one blocking call a question. Nothing outside this module knows about connections and tasks.

mod enrolments;
mod error;
mod incidents;
mod rights;

pub use error::{ClusterError, Problem};
pub use rights::Right;

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::{ApiResource, DynamicObject, NamespaceResourceScope};
use kube::{Client, Config, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use touchseal_crds::unseal_request::{Release, ShareRelease};
use touchseal_crds::{EncryptedSecret, Keyring, Recipient, UnsealRequest, keyring, names};

use crate::args::Global;

/// A connection as the kubeconfig says.
pub struct Cluster {
    runtime: tokio::runtime::Runtime,
    client: Client,
    server: String,
    timeout: Duration,
}

impl Cluster {
    /// Reads the kubeconfig (or, in a pod, the ServiceAccount) and prepares a client. Nothing is sent yet.
    pub fn connect(global: &Global) -> Result<Self, ClusterError> {
        let cannot = |problem| ClusterError::new("prepare access to the cluster", problem);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| cannot(Problem::Local(error)))?;
        let config = runtime.block_on(load(global)).map_err(|error| cannot(Problem::Config(error)))?;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config).map_err(|error| cannot(Problem::Api(error)))?
        };
        Ok(Self { runtime, client, server, timeout: global.request_timeout })
    }

    /// URL of the API server, without a slash at its end.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Version of the API server.
    pub fn version(&self) -> Result<String, ClusterError> {
        Ok(self.call("ask the API server for its version", self.client.apiserver_version())?.git_version)
    }

    /// The kinds of our group that the API server knows, plural names; empty when it knows none.
    pub fn kinds(&self) -> Result<Vec<String>, ClusterError> {
        let version = format!("{}/v1alpha1", names::GROUP);
        match self.call("list the kinds of touchseal.dev", self.client.list_api_group_resources(&version)) {
            Ok(list) => Ok(list.resources.into_iter().map(|resource| resource.name).collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Every keyring. One whose manifest cannot be read hides no other: it is there with one that verifies nowhere.
    pub fn keyrings(&self) -> Result<Vec<Keyring>, ClusterError> {
        let all = self.call("list keyrings", self.any_keyring().list(&ListParams::default()))?;
        Ok(all.items.into_iter().map(keyring::read).collect())
    }

    /// One keyring, read as [`Cluster::keyrings`] does.
    pub fn keyring(&self, name: &str) -> Result<Option<Keyring>, ClusterError> {
        let one = self.call(&format!("get keyring {name}"), self.any_keyring().get_opt(name))?;
        Ok(one.map(keyring::read))
    }

    fn any_keyring(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &ApiResource::erase::<Keyring>(&()))
    }

    /// Asks every replica to drop the keyring's keys.
    pub fn request_seal(&self, name: &str, marker: &str) -> Result<(), ClusterError> {
        let api: Api<Keyring> = Api::all(self.client.clone());
        let patch = json!({ "metadata": { "annotations": { names::SEAL_ANNOTATION: marker } } });
        self.call(
            &format!("annotate keyring {name}"),
            api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)),
        )
        .map(drop)
    }

    /// Every UnsealRequest of a namespace.
    pub fn unseal_requests(&self, namespace: &str) -> Result<Vec<UnsealRequest>, ClusterError> {
        let operation = format!("list unsealrequests in namespace {namespace}");
        self.list(&operation, Api::namespaced(self.client.clone(), namespace))
    }

    /// One UnsealRequest.
    pub fn unseal_request(&self, namespace: &str, name: &str) -> Result<Option<UnsealRequest>, ClusterError> {
        self.get(&format!("get unsealrequest {namespace}/{name}"), namespace, name)
    }

    /// Writes the release into the very request that was checked: another one of its name, or one that changed since,
    /// is a conflict.
    pub fn release(&self, request: &UnsealRequest, release: &Release) -> Result<UnsealRequest, ClusterError> {
        self.answer(request, json!({ "release": release }))
    }

    /// The same with a holder's share, beside what others have written.
    pub fn release_share(
        &self,
        request: &UnsealRequest,
        share: &ShareRelease,
    ) -> Result<UnsealRequest, ClusterError> {
        let mut shares = request.spec.shares.clone();
        shares.retain(|other| other.serial != share.serial);
        shares.push(share.clone());
        self.answer(request, json!({ "shares": shares }))
    }

    fn answer(&self, request: &UnsealRequest, spec: Value) -> Result<UnsealRequest, ClusterError> {
        let ObjectMeta { name, namespace, uid, resource_version, .. } = request.metadata.clone();
        let (name, namespace) = (name.unwrap_or_default(), namespace.unwrap_or_default());
        let api: Api<UnsealRequest> = Api::namespaced(self.client.clone(), &namespace);
        let patch = json!({ "metadata": { "uid": uid, "resourceVersion": resource_version }, "spec": spec });
        self.call(
            &format!("write the release into unsealrequest {namespace}/{name}"),
            api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)),
        )
    }

    /// One Secret, with its values.
    pub fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, ClusterError> {
        self.get(&format!("get secret {namespace}/{name}"), namespace, name)
    }

    /// One pod.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, ClusterError> {
        self.get(&format!("get pod {namespace}/{name}"), namespace, name)
    }

    /// Every pod of a namespace.
    pub fn pods(&self, namespace: &str) -> Result<Vec<Pod>, ClusterError> {
        self.list(
            &format!("list pods in namespace {namespace}"),
            Api::namespaced(self.client.clone(), namespace),
        )
    }

    /// What the API server says of a token, for one audience.
    pub fn review(&self, token: &str, audience: &str) -> Result<TokenReviewStatus, ClusterError> {
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: Some(vec![audience.to_owned()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = self.call("have a proof reviewed (create tokenreviews)", async {
            api.create(&PostParams::default(), &review).await
        })?;
        Ok(answer.status.unwrap_or_default())
    }

    /// EncryptedSecrets of a namespace, or of all.
    pub fn encrypted_secrets(&self, namespace: Option<&str>) -> Result<Vec<EncryptedSecret>, ClusterError> {
        let api = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        self.list("list encryptedsecrets", api)
    }

    /// The published recipient of a keyring in a namespace.
    pub fn recipient(&self, namespace: &str, keyring: &str) -> Result<Option<Recipient>, ClusterError> {
        self.get(&format!("get recipient {namespace}/{keyring}"), namespace, keyring)
    }

    fn get<K>(&self, operation: &str, namespace: &str, name: &str) -> Result<Option<K>, ClusterError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        self.call(operation, api.get_opt(name))
    }

    fn list<K>(&self, operation: &str, api: Api<K>) -> Result<Vec<K>, ClusterError>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
    {
        Ok(self.call(operation, api.list(&ListParams::default()))?.items)
    }

    fn call<T>(
        &self,
        operation: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ClusterError> {
        let answer = self.runtime.block_on(async {
            if self.timeout.is_zero() {
                return Some(request.await);
            }
            tokio::time::timeout(self.timeout, request).await.ok()
        });
        match answer {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(ClusterError::new(operation, Problem::Api(error))),
            None => Err(ClusterError::new(operation, Problem::TimedOut(self.timeout))),
        }
    }
}

/// `--kubeconfig`, else `$KUBECONFIG`, else `~/.kube/config`, else the pod's ServiceAccount.
async fn load(global: &Global) -> Result<Config, KubeconfigError> {
    let options = KubeConfigOptions { context: global.context.clone(), ..KubeConfigOptions::default() };
    let kubeconfig = match &global.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    match kubeconfig {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
        Err(error) if global.kubeconfig.is_none() && global.context.is_none() => {
            Config::incluster().map_err(|_| error)
        }
        Err(error) => Err(error),
    }
}
