//! What the rendered rights, names and pods must never become, in any value set.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use touchseal_suites::chart::{folder, helm, objects, render, template};
use touchseal_suites::world::repository;

use crate::files;

fn all() -> Vec<(String, Vec<Value>)> {
    files("values")
        .into_iter()
        .map(|(name, path)| {
            let text = template(&["-n", "touchseal-system", "-f", path.to_str().unwrap()]);
            (name, objects(&text))
        })
        .collect()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(rule: &'a Value, field: &str) -> Vec<&'a str> {
    rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn nothing_is_granted_by_a_wildcard() {
    let mut roles = 0;
    for (name, objects) in all() {
        for role in objects.iter().filter(|object| text(object, "/kind").ends_with("Role")) {
            roles += 1;
            for rule in role["rules"].as_array().unwrap() {
                for field in ["apiGroups", "resources", "verbs", "nonResourceURLs"] {
                    assert!(!list(rule, field).contains(&"*"), "{name}: {role}");
                }
            }
        }
    }
    assert!(roles > 10);
}

/// With a list of namespaces, what reaches further is what has no namespace, and those namespaces by their names.
#[test]
fn limited_to_namespaces_it_reads_no_secret_config_map_or_pod_elsewhere() {
    const OF_THE_CLUSTER: [&str; 6] =
        ["keyrings", "keyrings/status", "incidents", "incidents/status", "tokenreviews", "namespaces"];
    let settings = ["watchNamespaces={shop,billing}", "rollout.enabled=true", "roles.create=false"];
    let limited = render("touchseal-system", &settings);
    let cluster_roles: Vec<&Value> =
        limited.iter().filter(|object| object["kind"] == "ClusterRole").collect();
    assert_eq!(cluster_roles.len(), 1);
    for rule in cluster_roles[0]["rules"].as_array().unwrap() {
        let resources = list(rule, "resources");
        assert!(resources.iter().all(|resource| OF_THE_CLUSTER.contains(resource)), "{rule}");
        if resources == ["namespaces"] {
            assert_eq!(rule["resourceNames"], json!(["shop", "billing"]));
        }
    }
    let places: BTreeSet<&str> = limited
        .iter()
        .filter(|object| object["kind"] == "Role")
        .filter(|role| {
            let rules = role["rules"].as_array().unwrap();
            rules.iter().any(|rule| list(rule, "resources").contains(&"secrets"))
        })
        .map(|role| text(role, "/metadata/namespace"))
        .collect();
    assert_eq!(places, BTreeSet::from(["shop", "billing"]));

    // And in there it may do what it may do everywhere without the list.
    let everywhere = render("touchseal-system", &[]);
    let rules = |objects: &[Value], kind: &str, namespace: &str| -> Vec<Value> {
        let role = objects.iter().find(|object| {
            object["kind"] == kind
                && text(object, "/metadata/name") == "touchseal-operator.touchseal-system"
                && text(object, "/metadata/namespace") == namespace
        });
        role.unwrap()["rules"].as_array().unwrap().clone()
    };
    let mut together = rules(&limited, "ClusterRole", "");
    together.extend(rules(&limited, "Role", "shop"));
    for rule in &mut together {
        rule.as_object_mut().unwrap().remove("resourceNames");
    }
    assert_eq!(together, rules(&everywhere, "ClusterRole", ""));
}

/// Two releases of other names, or of one name in two namespaces, with the shared parts in one of them.
#[test]
fn two_releases_do_not_meet() {
    let chart = folder();
    let mut seen = BTreeSet::new();
    for (release, namespace) in
        [("touchseal", "a"), ("touchseal", "b"), ("other", "a-b"), ("touchseal-a", "b"), ("touchseal", "a-b")]
    {
        let said = helm(&[
            "template",
            release,
            chart.to_str().unwrap(),
            "-n",
            namespace,
            "--set",
            "crds.install=false,roles.create=false,rollout.enabled=true,watchNamespaces={shop,default}",
        ]);
        let objects = objects(&String::from_utf8(said.stdout).unwrap());
        assert!(objects.len() > 10);
        for object in &objects {
            let id = ["/kind", "/metadata/namespace", "/metadata/name"]
                .map(|pointer| text(object, pointer).to_owned());
            assert!(seen.insert(id.clone()), "{release} in {namespace}: {id:?} is another release's, too");
        }
    }
}

#[test]
fn every_object_says_whose_it_is() {
    const LABELS: [&str; 6] = ["name", "instance", "managed-by", "component", "part-of", "version"];
    for (name, objects) in all() {
        for object in &objects {
            let id = format!("{name}: {} {}", text(object, "/kind"), text(object, "/metadata/name"));
            if id.ends_with(" beside") || id.ends_with("-text") {
                continue; // of extraObjects, as they were given
            }
            for label in LABELS {
                let value = text(object, &format!("/metadata/labels/app.kubernetes.io~1{label}"));
                assert!(!value.is_empty(), "{id}: {label}");
            }
            // An operator lists Secrets and ConfigMaps of its own by this label.
            assert_eq!(text(object, "/metadata/labels/app.kubernetes.io~1managed-by"), "Helm", "{id}");
        }
    }
}

/// Without an election two processes at a time would both write.
#[test]
fn without_an_election_no_update_runs_two_at_a_time() {
    let strategy = |settings: &[&str]| {
        let objects = render("touchseal-system", settings);
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        deployment["spec"]["strategy"].clone()
    };
    assert_eq!(strategy(&["leaderElection.enabled=false", "replicaCount=1"]), json!({ "type": "Recreate" }));
    let rolling = strategy(&[]);
    assert_eq!(rolling["rollingUpdate"], json!({ "maxSurge": 1, "maxUnavailable": 0 }));
}

#[test]
fn the_operators_pod_keeps_to_the_strictest_standard() {
    for (name, objects) in all() {
        let deployment = objects
            .iter()
            .find(|object| {
                object["kind"] == "Deployment" && text(object, "/metadata/name").ends_with("-operator")
            })
            .unwrap();
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        for container in pod["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }), "{name}");
        }
        for account in objects.iter().filter(|object| object["kind"] == "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{name}");
        }
    }
}

fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind && text(object, "/metadata/name") == name)
}

/// Without it whoever applies git makes holders, so no value takes it away, least of all one that is about other things.
#[test]
fn the_policy_of_enrolments_is_always_there() {
    let nothing = render("touchseal-system", &["admission.operator.enabled=false"]);
    let name = "touchseal-enrolments.touchseal-system";
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        assert!(named(&nothing, kind, name).is_some(), "{kind} {name}");
        assert_eq!(nothing.iter().filter(|object| object["kind"] == kind).count(), 1, "and no other");
    }
}

/// A kubelet probes from the pod's own node, which no NetworkPolicy keeps out; nobody else has anything to ask there.
#[test]
fn no_pod_reaches_the_probes() {
    let mut policies = 0;
    for (name, objects) in all() {
        for policy in objects.iter().filter(|object| object["kind"] == "NetworkPolicy") {
            policies += 1;
            assert!(list(&policy["spec"], "policyTypes").contains(&"Ingress"), "{name}");
            let ports: Vec<&Value> = policy["spec"]["ingress"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|rule| rule["ports"].as_array().expect("a rule without ports lets everything in"))
                .map(|port| &port["port"])
                .collect();
            assert!(ports.iter().all(|port| **port == "metrics"), "{name}: {ports:?}");
        }
    }
    assert!(policies > 2);
}

/// Pods of an operator push no others out; they are only the last to go.
#[test]
fn the_priority_preempts_nobody() {
    let classes: Vec<Value> =
        all().into_iter().flat_map(|(_, objects)| objects).filter(|o| o["kind"] == "PriorityClass").collect();
    assert!(classes.len() > 1);
    assert!(classes.iter().all(|class| class["preemptionPolicy"] == "Never"), "{classes:?}");
}

/// What only the operator's namespace has, nobody gets in all of them.
#[test]
fn who_unseals_reads_no_pod_and_no_request_elsewhere() {
    let objects = render("touchseal-system", &[]);
    let resources = |kind: &str| -> BTreeSet<String> {
        let role = named(&objects, kind, "touchseal-unsealer").unwrap();
        let rules = role["rules"].as_array().unwrap().iter();
        rules.flat_map(|rule| list(rule, "resources")).map(str::to_owned).collect()
    };
    let set = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    assert_eq!(
        resources("ClusterRole"),
        set(&["keyrings", "encryptedsecrets", "recipients", "tokenreviews"])
    );
    assert_eq!(resources("Role"), set(&["unsealrequests", "pods"]));
    let role = named(&objects, "Role", "touchseal-unsealer").unwrap();
    assert_eq!(role["metadata"]["namespace"], "touchseal-system");
}

#[test]
fn every_role_for_people_stands_in_the_installation_and_beside_its_switch() {
    let page = fs::read_to_string(repository().join("docs/install.md")).unwrap();
    let values = fs::read_to_string(folder().join("values.yaml")).unwrap();
    let mut roles = 0;
    for role in render("touchseal-system", &[]) {
        if text(&role, "/metadata/labels/app.kubernetes.io~1component") != "roles" {
            continue;
        }
        roles += 1;
        let name = text(&role, "/metadata/name");
        assert!(page.contains(&format!("\n| `{name}` |")), "docs/install.md: no row for {name}");
        let short = name.strip_prefix("touchseal").unwrap();
        assert!(values.contains(short), "values.yaml: {name} is not listed");
    }
    assert!(roles >= 6);
}
