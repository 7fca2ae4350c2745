//! Which Secrets the pod templates of a namespace's workloads name. Asked only when an old Secret is about to go: a workload
//! without pods, or an older revision of one, may still need it. Reads only.
//!
//! One pass over a namespace serves all its objects: what a template named not long ago stays without another pass, once. Who
//! asks again, and whatever is about to go, has everything looked at anew.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Everything that makes pods from a template.
const KINDS: [(&str, &str, &str); 7] = [
    ("", "ReplicationController", "replicationcontrollers"),
    ("apps", "Deployment", "deployments"),
    ("apps", "StatefulSet", "statefulsets"),
    ("apps", "DaemonSet", "daemonsets"),
    ("apps", "ReplicaSet", "replicasets"),
    ("batch", "Job", "jobs"),
    ("batch", "CronJob", "cronjobs"),
];
/// Objects of one page.
const PAGE: u32 = 100;
/// How long a pass answers for others. What it held back is asked for again after 10 minutes (`LOOK_AGAIN` in `plan/deliver`).
const BELIEVED: Duration = Duration::from_secs(590);

/// What the last pass over each namespace found and nobody has asked for since.
#[derive(Default)]
pub struct Templates(Mutex<HashMap<String, Pass>>);

struct Pass {
    began: Instant,
    named: HashSet<String>,
}

impl Pass {
    fn is_believed(&self, now: Instant) -> bool {
        now.duration_since(self.began) < BELIEVED
    }
}

impl Templates {
    /// Which of these names stand in a template; ReplicaSets are the revision history of Deployments and count as well.
    /// `ours` tells the names worth remembering for others that will ask.
    ///
    /// # Errors
    /// A kind cannot be listed: then nobody knows.
    pub async fn named(
        &self,
        client: &Client,
        namespace: &str,
        names: &[&str],
        ours: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, kube::Error> {
        let mut passes = self.0.lock().await;
        let now = Instant::now();
        passes.retain(|_, pass| pass.is_believed(now));
        let all_named = |pass: &Pass| names.iter().all(|name| pass.named.contains(*name));
        if !passes.get(namespace).is_some_and(all_named) {
            let wanted = |text: &str| names.contains(&text) || ours(text);
            let named = look(client, namespace, wanted).await?;
            passes.insert(namespace.to_owned(), Pass { began: now, named });
        }
        let Some(pass) = passes.get_mut(namespace) else { return Ok(Vec::new()) };
        Ok(names.iter().filter_map(|name| pass.named.take(*name)).collect())
    }
}

async fn look(
    client: &Client,
    namespace: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<HashSet<String>, kube::Error> {
    let mut found = HashSet::new();
    for (group, kind, plural) in KINDS {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = api.list(&page).await?;
            list.items.iter().for_each(|object| texts(&object.data["spec"], &wanted, &mut found));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(found)
}

/// The wanted texts anywhere in it: rather one Secret kept too long than one that is needed deleted.
fn texts(value: &Value, wanted: &impl Fn(&str) -> bool, found: &mut HashSet<String>) {
    match value {
        Value::String(text) if wanted(text) => drop(found.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, wanted, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, wanted, found)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lists::tests::client;

    fn is_in(value: &Value, name: &str) -> bool {
        let mut found = HashSet::new();
        texts(value, &|text| text == name, &mut found);
        found.contains(name)
    }

    #[tokio::test]
    async fn one_pass_serves_what_all_objects_of_a_namespace_hold_back() {
        let (client, asked) = client();
        let templates = Templates::default();
        let began = Instant::now();
        let named = ["a-g1", "b-g1"].map(str::to_owned).into();
        templates.0.lock().await.insert("apps".to_owned(), Pass { began, named });
        for names in [["a-g1"], ["b-g1"]] {
            assert_eq!(templates.named(&client, "apps", &names, |_| false).await.unwrap(), names);
        }
        assert_eq!(asked.lock().unwrap().len(), 0);
        // For who asks again, and before something goes, everything is looked at, each kind once; now nothing is named.
        for (namespace, names) in [("apps", &["a-g1", "c-g1"][..]), ("apps", &["a-g1"]), ("other", &["b-g1"])]
        {
            assert!(templates.named(&client, namespace, names, |_| false).await.unwrap().is_empty());
            let asked = std::mem::take(&mut *asked.lock().unwrap());
            assert_eq!(asked.len(), KINDS.len(), "{asked:?}");
            for (_, _, plural) in KINDS {
                assert!(
                    asked.iter().any(|(uri, _)| uri.contains(&format!("/{namespace}/{plural}?"))),
                    "{plural}"
                );
            }
        }
    }

    #[test]
    fn what_was_named_is_looked_for_again_before_its_object_asks_again() {
        let began = Instant::now();
        let pass = Pass { began, named: HashSet::new() };
        assert!(pass.is_believed(began + Duration::from_secs(500)));
        assert!(!pass.is_believed(began + Duration::from_secs(600)));
    }

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
