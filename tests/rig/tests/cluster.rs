//! What a cluster of the rig can do, on the real control plane.

#![allow(clippy::unwrap_used)] // in the helpers of tests too

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use touchseal_rig::cluster::{AuditLevel, Cluster, Options, Pool};
use touchseal_rig::poll::eventually;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn two_start_side_by_side_and_are_separate() {
    let started = Instant::now();
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(|| Cluster::start().unwrap());
        let other = scope.spawn(|| Cluster::start().unwrap());
        (one.join().unwrap(), other.join().unwrap())
    });
    println!("two clusters side by side: {:.1?}; resident: {}", started.elapsed(), resident(&one));

    assert_ne!(one.url(), other.url());
    one.namespace("mine").unwrap();
    assert!(one.get(&["namespace/mine"]).is_ok());
    assert!(other.get(&["namespace/mine"]).is_err());
}

#[test]
fn a_pod_bound_token_proves_who_asks_and_nothing_else() {
    let cluster = Cluster::start().unwrap();
    cluster.namespace("touchseal-system").unwrap();
    cluster.kubectl_stdout(&["create", "serviceaccount", "operator", "-n=touchseal-system"]).unwrap();
    let pod = cluster.stand_in_pod("touchseal-system", "operator", "operator-0").unwrap();

    let audience = "touchseal.dev/session/0123";
    let token = cluster.token("touchseal-system", "operator", Some(&pod), Some(audience)).unwrap();
    let status = cluster.token_review(&token, audience).unwrap();
    assert_eq!(status["authenticated"], true, "{status}");
    assert_eq!(status["user"]["username"], "system:serviceaccount:touchseal-system:operator");
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-uid"], json!([pod.uid]));

    let status = cluster.token_review(&token, "touchseal.dev/session/other").unwrap();
    assert_ne!(status["authenticated"], true, "{status}");
}

#[test]
fn a_service_account_may_do_what_its_role_says() {
    let cluster =
        Cluster::start_with(Options { audit: AuditLevel::RequestResponse, ..Options::default() }).unwrap();
    cluster.namespace("shop").unwrap();
    cluster.kubectl_stdout(&["create", "serviceaccount", "reader", "-n=shop"]).unwrap();
    let pod = cluster.stand_in_pod("shop", "reader", "reader-0").unwrap();
    let kubeconfig = cluster.kubeconfig_for_service_account("shop", "reader", Some(&pod)).unwrap();
    let list = ["get", "configmaps", "-n=shop"];

    let refused = cluster.kubectl_as(&kubeconfig, &list).unwrap();
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("system:serviceaccount:shop:reader") && words.contains("forbidden"), "{words}");

    cluster
        .apply(
            &json!({
                "apiVersion": "v1", "kind": "List", "items": [
                    {
                        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                        "metadata": { "name": "reader", "namespace": "shop" },
                        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"] }],
                    },
                    {
                        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                        "metadata": { "name": "reader", "namespace": "shop" },
                        "roleRef": {
                            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader",
                        },
                        "subjects": [{ "kind": "ServiceAccount", "name": "reader", "namespace": "shop" }],
                    },
                ],
            })
            .to_string(),
        )
        .unwrap();
    eventually(SOON, "the role to count", || {
        cluster.kubectl_as(&kubeconfig, &list).unwrap().status.success()
    })
    .unwrap();

    let audit = std::fs::read_to_string(cluster.audit_log()).unwrap();
    let refusal = audit
        .lines()
        .find(|line| line.contains("serviceaccount:shop:reader") && line.contains("\"code\":403"));
    assert!(
        refusal.is_some_and(|line| line.contains("\"responseObject\"")),
        "in the audit log with its answer"
    );
}

#[test]
fn a_killed_api_server_comes_back_with_everything() {
    let cluster = Cluster::start().unwrap();
    cluster.namespace("shop").unwrap();
    cluster
        .kubectl_stdout(&["create", "secret", "generic", "app", "-n=shop", "--from-literal=key=canary"])
        .unwrap();

    let before = cluster.pids();
    cluster.kill_apiserver();
    assert!(!cluster.kubectl(&["get", "secrets", "-n=shop"]).unwrap().status.success());
    cluster.restart_apiserver().unwrap();
    assert_ne!(cluster.pids()[1], before[1]);
    assert_eq!(cluster.get(&["secret/app", "-n=shop"]).unwrap()["data"]["key"], "Y2FuYXJ5");

    cluster.namespace("after").unwrap(); // its ServiceAccount: the controller manager has found the way back
    let found =
        std::process::Command::new("grep").args(["-rq", "canary"]).arg(cluster.etcd_data_dir()).status();
    assert!(found.unwrap().success(), "etcd's folder holds the Secret as it was written");
}

#[test]
fn a_leased_cluster_is_handed_on_clean() {
    let pool = Pool::new(Some(1));
    let first = pool.lease().unwrap();
    let url = first.url();
    first.apply(CRDS).unwrap();
    eventually(SOON, "the CRD", || {
        first.kubectl_stdout(&[
            "wait",
            "--for=condition=Established",
            "crd/things.touchseal.dev",
            "--timeout=1s",
        ])
    })
    .unwrap();
    first.namespace("shop").unwrap();
    first.apply(THINGS).unwrap();
    first
        .kubectl_stdout(&["create", "clusterrole", "of-a-test", "--verb=get", "--resource=secrets"])
        .unwrap();

    let second = thread::scope(|scope| {
        let waiting = scope.spawn(|| pool.lease().unwrap());
        drop(first);
        waiting.join().unwrap()
    });
    assert_eq!(second.url(), url, "the same cluster");
    assert_eq!(second.get(&["things.touchseal.dev,rings.touchseal.dev", "-A"]).unwrap()["items"], json!([]));
    assert!(second.get(&["clusterrole/of-a-test"]).is_err());
    assert!(second.get(&["clusterrole/cluster-admin"]).is_ok());
    second.namespace("shop").unwrap(); // waits for the end of the other one
    assert!(second.get(&["configmap/left-behind", "-n=shop"]).is_err());
}

#[test]
fn a_test_that_fails_takes_its_leased_cluster_with_it() {
    let pool = Pool::new(Some(1));
    let mut failed_on = String::new();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let lease = pool.lease().unwrap();
        failed_on = lease.url();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_ne!(pool.lease().unwrap().url(), failed_on);
}

const CRDS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.touchseal.dev}
spec:
  group: touchseal.dev
  names: {kind: Thing, plural: things}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rings.touchseal.dev}
spec:
  group: touchseal.dev
  names: {kind: Ring, plural: rings}
  scope: Cluster
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object}}
";

const THINGS: &str = "
apiVersion: touchseal.dev/v1
kind: Thing
metadata: {name: held, namespace: shop, finalizers: [touchseal.dev/nobody-is-there]}
---
apiVersion: touchseal.dev/v1
kind: Ring
metadata: {name: held-too, finalizers: [touchseal.dev/nobody-is-there]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: left-behind, namespace: shop}
";

/// For the log of a test run: MiB of etcd, API server and controller manager.
fn resident(cluster: &Cluster) -> String {
    let mib = |pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    format!("{:?} MiB", cluster.pids().map(mib))
}
