//! Which rights the commands need, and whether the person has them.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use touchseal_crds::names;

use super::{Cluster, ClusterError};

/// One right, in one namespace or cluster-wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right<'a> {
    /// Such as `get`.
    pub verb: &'static str,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural name.
    pub resource: &'static str,
    /// Where; `None` for cluster-scoped resources.
    pub namespace: Option<&'a str>,
}

impl<'a> Right<'a> {
    /// What `touchseal unseal` needs.
    pub const fn of_unseal(operator_namespace: &'a str) -> [Self; 6] {
        const fn right<'a>(
            verb: &'static str,
            group: &'static str,
            resource: &'static str,
            namespace: Option<&'a str>,
        ) -> Right<'a> {
            Right { verb, group, resource, namespace }
        }
        let there = Some(operator_namespace);
        [
            right("get", names::GROUP, "keyrings", None),
            right("list", names::GROUP, "unsealrequests", there),
            right("get", names::GROUP, "unsealrequests", there),
            right("patch", names::GROUP, "unsealrequests", there),
            right("get", "", "pods", there),
            right("create", "authentication.k8s.io", "tokenreviews", None),
        ]
    }

    /// What `touchseal seal` needs beyond that.
    pub const fn of_seal(operator_namespace: &'a str) -> [Self; 3] {
        [
            Right { verb: "list", group: names::GROUP, resource: "keyrings", namespace: None },
            Right { verb: "patch", group: names::GROUP, resource: "keyrings", namespace: None },
            Right { verb: "list", group: "", resource: "pods", namespace: Some(operator_namespace) },
        ]
    }
}

impl std::fmt::Display for Right<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}

impl Cluster {
    /// Whether the person has a right.
    pub fn has(&self, right: &Right<'_>) -> Result<bool, ClusterError> {
        let attributes = ResourceAttributes {
            verb: Some(right.verb.to_owned()),
            group: Some(right.group.to_owned()),
            resource: Some(right.resource.to_owned()),
            namespace: right.namespace.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let answer = self.call(&format!("ask whether you may {right}"), async {
            api.create(&PostParams::default(), &review).await
        })?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}
