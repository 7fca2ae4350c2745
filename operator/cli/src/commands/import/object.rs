//! A Secret, out of a manifest or of the cluster, as it is to be made again, and what a person does before that.

use std::collections::BTreeMap;
use std::path::PathBuf;

use touchseal_crds::names::{REFUSED_SECRET_TYPES, SOURCE_ANNOTATION};

use super::error::ImportError;
use super::kept::Traces;
use super::material::{InCluster, Material, Pair, Part};

/// A Secret as it was found.
#[derive(Default)]
pub struct Object {
    pub name: String,
    pub namespace: Option<String>,
    pub type_: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub pairs: Vec<Pair>,
    pub immutable: bool,
    /// Objects that own it in the cluster, as `KIND NAME`.
    pub owners: Vec<String>,
}

impl Object {
    /// Why it is not imported, if it is not.
    pub fn left_out(&self) -> Option<String> {
        let type_ = self.type_.as_deref().unwrap_or_default();
        if let Some(source) = self.annotations.get(SOURCE_ANNOTATION) {
            return Some(format!("it is Touchseal's already, of EncryptedSecret {source}"));
        }
        if REFUSED_SECRET_TYPES.contains(&type_) {
            return Some(format!("the cluster makes Secrets of type {type_}"));
        }
        if type_.starts_with("helm.sh/release") {
            return Some("it is Helm's record of a release".to_owned());
        }
        None
    }

    /// What becomes of it. `wanted` is the namespace that a person named.
    pub fn into_material(
        self,
        from: &str,
        wanted: Option<&str>,
        cluster: InCluster,
        folder: PathBuf,
    ) -> Result<Material, ImportError> {
        let object = format!("Secret {}", self.name);
        let namespace = match (self.namespace.clone(), wanted) {
            (Some(found), Some(wanted)) if found != wanted => {
                let (from, wanted) = (from.to_owned(), wanted.to_owned());
                return Err(ImportError::OtherNamespace { from, object, found, wanted });
            }
            (Some(namespace), _) => namespace,
            (None, Some(namespace)) => namespace.to_owned(),
            (None, None) => return Err(ImportError::NoNamespace(object)),
        };
        let mut notes = self.notes(&namespace, cluster == InCluster::Yes);
        let Self { name, type_, labels, annotations, pairs, .. } = self;
        let traces = Traces::of(&pairs);
        Ok(Material {
            from: vec![from.to_owned()],
            plain: Vec::new(),
            cluster,
            folder,
            secret_type: type_.filter(|type_| !type_.is_empty() && type_ != "Opaque"),
            labels: traces.without("label", labels, &mut notes),
            annotations: traces.without("annotation", annotations, &mut notes),
            documents: vec![Part::Values { name: format!("{name}.yaml"), pairs }],
            name,
            namespace,
            notes,
        })
    }

    fn notes(&self, namespace: &str, live: bool) -> Vec<String> {
        let Self { name, .. } = self;
        let mut notes = Vec::new();
        if self.immutable && live {
            notes.push(format!(
                "it is immutable and cannot be taken over: import it under another --name, move its consumers there, then \
                 delete Secret {name}"
            ));
        } else if self.immutable {
            notes.push(
                "immutable is not kept: spec.rotation.delivery Immutable makes one Secret for each content"
                    .to_owned(),
            );
        }
        let of_kustomize = |name: &str| self.annotations.get(&format!("kustomize.config.k8s.io/{name}"));
        if of_kustomize("needs-hash").is_some_and(|word| word == "true") {
            notes.push(format!(
                "kustomize put a hash behind its name: pods refer to {name} from now on, and spec.rotation.rollout restarts them"
            ));
        }
        if let Some(behavior) = of_kustomize("behavior").filter(|word| *word == "merge" || *word == "replace")
        {
            notes.push(format!(
                "kustomize puts it into another Secret of this name ({behavior}), which is not in it: --from-secret {name} takes what \
                 came of both"
            ));
        }
        if !live {
            return notes;
        }
        for owner in &self.owners {
            let kind = owner.split(' ').next().unwrap_or_default();
            let resource = kind.to_lowercase();
            let which = owner.split(' ').next_back().unwrap_or_default();
            notes.push(format!(
                "{owner} owns it, and it can have one owner: before the annotation and the EncryptedSecret, kubectl delete {resource} \
                 {which} -n {namespace} --cascade=orphan, which leaves the Secret as it is"
            ));
        }
        if self.annotations.contains_key("meta.helm.sh/release-name") {
            notes.push(format!(
                "a Helm release made it and deletes it with its template: first kubectl annotate secret {name} -n {namespace} \
                 helm.sh/resource-policy=keep, and put that into the template, too"
            ));
        }
        for (tool, label, keep) in [
            ("Flux", "kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/prune=disabled"),
            ("Argo CD", "argocd.argoproj.io/tracking-id", "argocd.argoproj.io/sync-options=Prune=false"),
        ] {
            if self.labels.contains_key(label) || self.annotations.contains_key(label) {
                notes.push(format!(
                    "{tool} applied it and deletes it when its manifest goes from git: first kubectl annotate secret {name} -n \
                     {namespace} {keep}"
                ));
            }
        }
        if self.annotations.contains_key("kubectl.kubernetes.io/last-applied-configuration") {
            notes.push(format!(
                "an annotation of kubectl holds its present values and goes on doing so: kubectl annotate secret {name} -n \
                 {namespace} kubectl.kubernetes.io/last-applied-configuration-"
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_or_annotation_that_holds_a_value_does_not_go_along() {
        let map = |name: &str, text: &str| BTreeMap::from([(name.to_owned(), text.to_owned())]);
        let object = Object {
            name: "app".to_owned(),
            labels: map("user", "hunter2"),
            annotations: map("example.com/applied", r#"{"data": {"password": "b2xkZXI="}}"#),
            pairs: vec![("password".to_owned(), b"hunter2".to_vec().into())],
            ..Object::default()
        };
        let made = object.into_material("x", Some("shop"), InCluster::Perhaps, PathBuf::new());
        let made = made.unwrap();
        assert!(made.labels.is_empty() && made.annotations.is_empty());
        let named = |note: &str, name: &str| note.starts_with(name) && !note.contains("hunter2");
        assert!(
            named(&made.notes[0], "label user ") && named(&made.notes[1], "annotation example.com/applied ")
        );
    }

    #[test]
    fn a_namespace_is_never_overridden() {
        let object = |namespace: Option<&str>| Object {
            name: "app".to_owned(),
            namespace: namespace.map(str::to_owned),
            ..Object::default()
        };
        let of = |found, wanted| {
            object(found)
                .into_material("x", wanted, InCluster::Perhaps, PathBuf::new())
                .map(|one| one.namespace)
        };
        assert_eq!(of(Some("shop"), None).ok().as_deref(), Some("shop"));
        assert_eq!(of(None, Some("shop")).ok().as_deref(), Some("shop"));
        assert!(matches!(of(Some("shop"), Some("chat")), Err(ImportError::OtherNamespace { .. })));
        assert!(matches!(of(None, None), Err(ImportError::NoNamespace(_))));
    }
}
