//! What a ServiceAccount is given by the rendered chart, and what of it requests used, by the API server's audit log.

use std::collections::BTreeSet;

use serde_json::Value;

/// One right, or one use of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// In the operator's own namespace; else in any other, in all at once, or of what has none.
    pub own: bool,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name, with the subresource.
    pub resource: String,
    /// Such as `get`.
    pub verb: String,
    /// Of this object; as a right without a name of any.
    pub name: Option<String>,
}

impl Right {
    fn is_of(&self, other: &Right) -> bool {
        (&self.group, &self.resource, &self.verb) == (&other.group, &other.resource, &other.verb)
    }
}

/// What these objects give an account, `namespace/name`: a right for each group, resource, verb and name of each rule.
pub fn granted(objects: &[Value], account: &str, system: &str) -> BTreeSet<Right> {
    let words = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let text = |object: &Value, pointer: &str| {
        object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let is_account = |who: &Value| {
        who["kind"] == "ServiceAccount"
            && format!("{}/{}", text(who, "/namespace"), text(who, "/name")) == account
    };
    let bindings = objects.iter().filter(|o| o["subjects"].as_array().into_iter().flatten().any(is_account));
    let mut rights = BTreeSet::new();
    for binding in bindings {
        let (kind, name) = (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
        // A ClusterRole in a RoleBinding counts in its namespace only; what is bound may be somebody else's.
        let place = text(binding, "/metadata/namespace");
        let own = binding["kind"] == "RoleBinding" && place == system;
        let role = objects.iter().find(|role| {
            let here = kind == "ClusterRole" || text(role, "/metadata/namespace") == place;
            role["kind"] == kind.as_str() && text(role, "/metadata/name") == name && here
        });
        for rule in role.unwrap_or_else(|| panic!("no {kind} {name}"))["rules"].as_array().unwrap() {
            let names = words(rule, "resourceNames");
            let names: Vec<Option<String>> =
                if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
            for group in words(rule, "apiGroups") {
                for resource in words(rule, "resources") {
                    for verb in words(rule, "verbs") {
                        rights.extend(names.iter().map(|name| Right {
                            own,
                            group: group.clone(),
                            resource: resource.clone(),
                            verb: verb.clone(),
                            name: name.clone(),
                        }));
                    }
                }
            }
        }
    }
    rights
}

/// What these requests of the audit log used, and the requests that were refused.
pub fn used(requests: &[Value], system: &str) -> (BTreeSet<Right>, Vec<String>) {
    let (mut rights, mut refused) = (BTreeSet::new(), Vec::new());
    for event in requests {
        let text =
            |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if event["responseStatus"]["code"] == 403 {
            refused.push(format!("{} {}", text("/verb"), text("/requestURI")));
        }
        let resource = [text("/objectRef/resource"), text("/objectRef/subresource")];
        let resource = resource.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        // Server-side apply of what is not there needs the right to create, too; and a watch that streams what there is needs
        // lists to go back to.
        let created = text("/verb") == "patch" && event["responseStatus"]["code"] == 201;
        let streamed = text("/requestURI").contains("sendInitialEvents=true");
        let more = [created.then(|| "create".to_owned()), streamed.then(|| "list".to_owned())];
        for verb in more.into_iter().flatten().chain([text("/verb")]) {
            rights.insert(Right {
                own: text("/objectRef/namespace") == system,
                group: text("/objectRef/apiGroup"),
                resource: resource.clone(),
                verb,
                name: Some(text("/objectRef/name")).filter(|name| !name.is_empty()),
            });
        }
    }
    (rights, refused)
}

/// Rights that nothing needed. One of the operator's own namespace is used there; one of all namespaces anywhere, but elsewhere
/// if the other would have done.
pub fn unused(granted: &BTreeSet<Right>, used: &BTreeSet<Right>) -> Vec<Right> {
    let needed = |right: &Right| {
        let covered = granted.iter().any(|other| other.own && other.is_of(right));
        used.iter().any(|use_| {
            let place = if right.own || covered { use_.own == right.own } else { true };
            use_.is_of(right) && place && (right.name.is_none() || use_.name == right.name)
        })
    };
    granted.iter().filter(|right| !needed(right)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects() -> Vec<Value> {
        let subjects = json!([{ "kind": "ServiceAccount", "name": "a", "namespace": "sys" }]);
        let rule = |groups: &[&str], resources: &[&str], verbs: &[&str], names: &[&str]| json!({ "apiGroups": groups, "resources": resources, "verbs": verbs, "resourceNames": names });
        let role = |kind: &str, name: &str, namespace: &str, rules: Value| json!({ "kind": kind, "metadata": { "name": name, "namespace": namespace }, "rules": rules });
        let bind = |kind: &str, to: &str, namespace: &str| {
            json!({ "kind": format!("{kind}Binding"), "metadata": { "name": to, "namespace": namespace },
                "roleRef": { "kind": kind, "name": to }, "subjects": subjects })
        };
        vec![
            role("ClusterRole", "a", "", json!([rule(&["", "apps"], &["pods"], &["list"], &[])])),
            bind("ClusterRole", "a", ""),
            role("Role", "a", "elsewhere", json!([rule(&[""], &["secrets"], &["get"], &[])])),
            role(
                "Role",
                "a",
                "sys",
                json!([
                    rule(&[""], &["pods"], &["list"], &[]),
                    rule(&[""], &["leases"], &["get"], &["one", "two"])
                ]),
            ),
            bind("Role", "a", "sys"),
        ]
    }

    fn request(verb: &str, namespace: &str, group: &str, resource: &str, name: &str, code: u16) -> Value {
        json!({ "verb": verb, "responseStatus": { "code": code }, "requestURI": "/x", "objectRef": {
            "namespace": namespace, "apiGroup": group, "resource": resource, "name": name } })
    }

    fn words(rights: &[Right]) -> Vec<String> {
        let word = |right: &Right| {
            let place = if right.own { "own" } else { "any" };
            format!("{place} {}/{} {} {:?}", right.group, right.resource, right.verb, right.name.as_deref())
        };
        rights.iter().map(word).collect()
    }

    #[test]
    fn a_right_is_used_where_it_is_needed_with_its_group_and_name() {
        let granted = granted(&objects(), "sys/a", "sys");
        assert_eq!(granted.len(), 5, "{granted:?}");
        let left = |requests: &[Value]| words(&unused(&granted, &used(requests, "sys").0));
        assert_eq!(left(&[]).len(), 5);
        // In its own namespace it has another right to this; and of two groups this is one, of two names one.
        let requests =
            [request("list", "sys", "", "pods", "", 200), request("get", "sys", "", "leases", "one", 200)];
        assert_eq!(
            left(&requests),
            ["any /pods list None", "any apps/pods list None", "own /leases get Some(\"two\")"]
        );
        let more = [
            request("list", "", "", "pods", "", 200),
            request("list", "sys", "apps", "pods", "", 200),
            request("get", "sys", "", "leases", "two", 200),
        ];
        assert_eq!(left(&[&requests[..], &more].concat()), Vec::<String>::new());
    }

    #[test]
    fn applying_what_is_not_there_makes_it_and_a_refusal_is_told() {
        let (rights, refused) = used(&[request("patch", "b", "", "secrets", "x", 201)], "sys");
        assert_eq!(rights.iter().map(|right| right.verb.as_str()).collect::<Vec<_>>(), ["create", "patch"]);
        assert!(refused.is_empty());
        assert_eq!(used(&[request("get", "b", "", "secrets", "x", 403)], "sys").1, ["get /x"]);
    }
}
