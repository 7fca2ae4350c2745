//! Which Secrets the pod templates of a namespace's workloads name. Asked only when an old Secret is about to go: a workload
//! without pods, or an older revision of one, may still need it. Reads only.

use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::Value;

/// Everything that makes pods from a template.
const KINDS: [(&str, &str, &str); 6] = [
    ("apps", "Deployment", "deployments"),
    ("apps", "StatefulSet", "statefulsets"),
    ("apps", "DaemonSet", "daemonsets"),
    ("apps", "ReplicaSet", "replicasets"),
    ("batch", "Job", "jobs"),
    ("batch", "CronJob", "cronjobs"),
];
/// Objects of one page.
const PAGE: u32 = 100;

/// Which of these names stand in a template; ReplicaSets are the revision history of Deployments and count as well.
///
/// # Errors
/// A kind cannot be listed: then nobody knows.
pub async fn named(client: &Client, namespace: &str, names: &[&str]) -> Result<Vec<String>, kube::Error> {
    let mut found: Vec<String> = Vec::new();
    for (group, kind, plural) in KINDS {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = api.list(&page).await?;
            for object in &list.items {
                found.extend(
                    names.iter().filter(|name| is_in(&object.data["spec"], name)).map(|n| (*n).to_owned()),
                );
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(found)
}

/// Whether a text anywhere in it is this name: rather one Secret kept too long than one that is needed deleted.
fn is_in(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text == name,
        Value::Array(items) => items.iter().any(|item| is_in(item, name)),
        Value::Object(fields) => fields.values().any(|field| is_in(field, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_is_found_wherever_a_template_can_have_it() {
        for reference in [
            json!({ "volumes": [{ "secret": { "secretName": "app-g1" } }] }),
            json!({ "volumes": [{ "projected": { "sources": [{ "secret": { "name": "app-g1" } }] } }] }),
            json!({ "containers": [{ "envFrom": [{ "secretRef": { "name": "app-g1" } }] }] }),
            json!({ "initContainers": [{ "env": [{ "valueFrom": { "secretKeyRef": { "name": "app-g1" } } }] }] }),
            json!({ "imagePullSecrets": [{ "name": "app-g1" }] }),
            json!({ "volumes": [{ "csi": { "nodePublishSecretRef": { "name": "app-g1" } } }] }),
        ] {
            let spec = json!({ "replicas": 0, "template": { "spec": reference } });
            assert!(is_in(&spec, "app-g1"), "{spec}");
            assert!(!is_in(&spec, "app-g") && !is_in(&spec, "app-g10"), "{spec}");
        }
    }
}
