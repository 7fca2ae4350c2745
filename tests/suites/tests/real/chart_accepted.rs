//! Whatever the chart renders, a real API server takes: every field is known, every policy compiles, and the pods keep to
//! the pod security standard "restricted".

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use touchseal_rig::cluster;
use touchseal_rig::tools::Tool;
use touchseal_suites::chart::{objects, template, words};
use touchseal_suites::world::repository;

const SYSTEM: &str = "touchseal-system";
/// Namespaces that a chart makes for itself, or that are there.
const STRICT: &str = "pod-security.kubernetes.io/warn=restricted";

#[test]
fn every_object_of_every_value_set_is_accepted() {
    let cluster = cluster::lease().unwrap();
    let monitoring = fs::read_to_string(Tool::MonitoringCrds.path().unwrap()).unwrap();
    cluster.apply(&monitoring).unwrap();
    cluster
        .kubectl_stdout(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])
        .unwrap();
    let mut made = BTreeSet::from(["default".to_owned()]);
    let mut kinds = BTreeSet::new();
    let folder = repository().join("tests/chart/values");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let objects = objects(&template(&["-n", SYSTEM, "-f", path.to_str().unwrap()]));
        for object in &objects {
            kinds.insert(object["kind"].as_str().unwrap().to_owned());
            let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
            if let Some(namespace) = namespace.filter(|namespace| made.insert(namespace.clone())) {
                cluster.namespace(&namespace).unwrap();
            }
        }
        cluster.kubectl_stdout(&["label", "--overwrite", "namespace", SYSTEM, STRICT]).unwrap();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let file = cluster.dir().join("rendered.json");
        fs::write(&file, list.to_string()).unwrap();
        let apply =
            ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f"];
        let said = cluster.kubectl(&[&apply[..], &[file.to_str().unwrap()]].concat()).unwrap();
        assert!(said.status.success(), "{}: {}", path.display(), words(&said));
        // Of a pod that "restricted" would refuse, the API server warns.
        let warnings = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(!warnings.contains("Warning"), "{}: {warnings}", path.display());
        assert_eq!(String::from_utf8_lossy(&said.stdout).lines().count(), objects.len());
    }
    for kind in [
        "PodMonitor",
        "PrometheusRule",
        "ServiceMonitor",
        "ValidatingAdmissionPolicy",
        "NetworkPolicy",
        "PriorityClass",
    ] {
        assert!(kinds.contains(kind), "no value set has a {kind}");
    }
    cluster
        .kubectl_stdout(&[
            "delete",
            "crd",
            "--wait=false",
            "podmonitors.monitoring.coreos.com",
            "servicemonitors.monitoring.coreos.com",
            "prometheusrules.monitoring.coreos.com",
        ])
        .unwrap();
}

/// The check above means something: a field that does not exist is refused, and a pod that may be root is warned of.
#[test]
fn an_unknown_field_and_a_loose_pod_would_be_noticed() {
    let cluster = cluster::lease().unwrap();
    cluster.namespace(SYSTEM).unwrap();
    cluster.kubectl_stdout(&["label", "namespace", SYSTEM, STRICT]).unwrap();
    let settings = ["-n", SYSTEM, "--set", "crds.install=false,podSecurityContext.runAsNonRoot=null"];
    let rendered = objects(&template(&settings));
    let deployment = rendered.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let mut odd = deployment.clone();
    odd["spec"]["template"]["spec"]["topologySpread"] = json!([]);
    let tried = |object: &Value| {
        let file = cluster.dir().join("odd.json");
        fs::write(&file, object.to_string()).unwrap();
        let apply =
            ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", file.to_str().unwrap()];
        let said = cluster.kubectl(&apply).unwrap();
        (said.status.success(), words(&said))
    };
    let (taken, said) = tried(deployment);
    assert!(taken && said.contains("Warning: would violate PodSecurity \"restricted:latest\""), "{said}");
    let (taken, said) = tried(&odd);
    assert!(!taken && said.contains("topologySpread"), "{said}");
}
