//! Emergency enrolments: ask, look, answer.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use touchseal_crds::Enrolment;

use super::{Cluster, ClusterError};

impl Cluster {
    /// The user name the API server knows the person by.
    pub fn user(&self) -> Result<String, ClusterError> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = SelfSubjectReview::default();
        let answer = self.call("ask the API server who you are", async {
            api.create(&PostParams::default(), &review).await
        })?;
        Ok(answer.status.and_then(|status| status.user_info?.username).unwrap_or_default())
    }

    /// Asks for an enrolment, under a name of its own.
    pub fn request_enrolment(
        &self,
        namespace: &str,
        enrolment: &Enrolment,
    ) -> Result<Enrolment, ClusterError> {
        let api: Api<Enrolment> = Api::namespaced(self.client.clone(), namespace);
        self.call(&format!("create an enrolment in namespace {namespace}"), async {
            api.create(&PostParams::default(), enrolment).await
        })
    }

    /// One Enrolment.
    pub fn enrolment(&self, namespace: &str, name: &str) -> Result<Option<Enrolment>, ClusterError> {
        self.get(&format!("get enrolment {namespace}/{name}"), namespace, name)
    }

    /// Repeats the challenge of the very Enrolment that was looked at.
    pub fn answer_enrolment(&self, enrolment: &Enrolment, answer: &str) -> Result<(), ClusterError> {
        let metadata = &enrolment.metadata;
        let (name, namespace) = (metadata.name.as_deref(), metadata.namespace.as_deref());
        let (name, namespace) = (name.unwrap_or_default(), namespace.unwrap_or_default());
        let api: Api<Enrolment> = Api::namespaced(self.client.clone(), namespace);
        let patch = json!({ "metadata": { "uid": metadata.uid }, "spec": { "answer": answer } });
        let operation = format!("write the answer into enrolment {namespace}/{name}");
        self.call(&operation, api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))).map(drop)
    }

    /// Clears an Enrolment away; what became of it is in the operator's log and Events.
    pub fn delete_enrolment(&self, namespace: &str, name: &str) -> Result<(), ClusterError> {
        let api: Api<Enrolment> = Api::namespaced(self.client.clone(), namespace);
        let operation = format!("delete enrolment {namespace}/{name}");
        self.call(&operation, async { api.delete(name, &DeleteParams::default()).await }).map(drop)
    }
}
