//! Incidents: open, look, change.

use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use touchseal_crds::{EncryptedSecret, Incident};

use super::{Cluster, ClusterError};

impl Cluster {
    /// Namespace of the kubeconfig's context.
    pub fn namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// One EncryptedSecret.
    pub fn encrypted_secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<EncryptedSecret>, ClusterError> {
        self.get(&format!("get encryptedsecret {namespace}/{name}"), namespace, name)
    }

    /// Every Incident.
    pub fn incidents(&self) -> Result<Vec<Incident>, ClusterError> {
        self.list("list incidents", Api::all(self.client.clone()))
    }

    /// One Incident.
    pub fn incident(&self, name: &str) -> Result<Option<Incident>, ClusterError> {
        let api: Api<Incident> = Api::all(self.client.clone());
        self.call(&format!("get incident {name}"), api.get_opt(name))
    }

    /// Opens one. One of that name that exists already is a conflict.
    pub fn open_incident(&self, incident: &Incident) -> Result<Incident, ClusterError> {
        let api: Api<Incident> = Api::all(self.client.clone());
        let name = incident.metadata.name.as_deref().unwrap_or_default();
        self.call(&format!("create incident {name}"), async {
            api.create(&PostParams::default(), incident).await
        })
    }

    /// Changes the spec of the very Incident that was looked at: one that changed since is a conflict.
    pub fn change_incident(&self, incident: &Incident, spec: &Value) -> Result<Incident, ClusterError> {
        let api: Api<Incident> = Api::all(self.client.clone());
        let metadata = &incident.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let patch = json!({
            "metadata": { "uid": metadata.uid, "resourceVersion": metadata.resource_version }, "spec": spec,
        });
        self.call(
            &format!("change incident {name}"),
            api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)),
        )
    }
}
