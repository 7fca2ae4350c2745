//! What is read of a pod: each way to refer to a Secret, by the pod's own JSON.

use serde_json::{Value, json};

use super::*;

const CREATED: &str = "2026-03-01T00:00:00Z";
const STARTED: &str = "2026-03-01T00:00:09Z";

fn at(text: &str) -> Seconds {
    seconds(&Time(text.parse().unwrap()))
}

/// A running pod of one container `main`, changed by `spec` and `status` (merged into what is there).
fn pod(spec: Value, status: Value) -> Pod {
    let mut pod = json!({
        "metadata": { "name": "web-1", "namespace": "apps", "creationTimestamp": CREATED },
        "spec": { "nodeName": "node", "containers": [{ "name": "main" }] },
        "status": { "phase": "Running", "containerStatuses": [
            { "name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0,
              "state": { "running": { "startedAt": STARTED } } }] },
    });
    for (part, changes) in [("spec", spec), ("status", status)] {
        for (field, value) in changes.as_object().unwrap() {
            pod[part][field] = value.clone();
        }
    }
    serde_json::from_value(pod).unwrap()
}

fn status(name: &str, state: Value) -> Value {
    json!({ "name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state })
}

/// `secret[/key] how container` of each reference.
fn refs(pod: &Pod) -> Vec<String> {
    let Some((shape, _)) = read(pod) else { return Vec::new() };
    let word = |r: &Ref| {
        let key = r.key.as_ref().map(|key| format!("/{key}")).unwrap_or_default();
        let container = r.container.map(|at| format!(" {at}")).unwrap_or_default();
        format!("{}{key} {}{container}", r.secret, r.how.word())
    };
    shape.refs.iter().map(word).collect()
}

fn main(container: Value) -> Value {
    let mut container = container;
    container["name"] = json!("main");
    json!({ "containers": [container] })
}

#[test]
fn environment_variables() {
    let spec = main(json!({
        "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "app", "key": "password" } } },
                { "name": "B", "value": "plain" },
                { "name": "C", "valueFrom": { "configMapKeyRef": { "name": "app", "key": "x" } } }],
        "envFrom": [{ "secretRef": { "name": "db" } }, { "configMapRef": { "name": "map" } }],
    }));
    assert_eq!(refs(&pod(spec, json!({}))), ["app/password env 0", "db envFrom 0"]);
}

#[test]
fn volumes_whole_by_item_projected_and_by_sub_path() {
    let volumes = json!([
        { "name": "all", "secret": { "secretName": "app" } },
        { "name": "some", "secret": { "secretName": "tls", "items": [
            { "key": "tls.key", "path": "keys/private" }, { "key": "tls.crt", "path": "crt" }] } },
        { "name": "mixed", "projected": { "sources": [
            { "secret": { "name": "db" } }, { "configMap": { "name": "map" } },
            { "secret": { "name": "mq", "items": [{ "key": "token", "path": "mq/token" }] } }] } },
        { "name": "empty", "emptyDir": {} },
    ]);
    let with = |mounts: Value| {
        let mut spec = main(json!({ "volumeMounts": mounts }));
        spec["volumes"] = volumes.clone();
        refs(&pod(spec, json!({})))
    };
    let mount = |name: &str, sub: &str| json!({ "name": name, "mountPath": "/x", "subPath": sub });
    let of = |found: Vec<String>, secret: &str| -> Vec<String> {
        found.into_iter().filter(|r| r.starts_with(secret) && r.ends_with(" 0")).collect()
    };
    let whole = with(json!([{ "name": "all", "mountPath": "/x" }, { "name": "mixed", "mountPath": "/y" },
        { "name": "some", "mountPath": "/z" }, { "name": "empty", "mountPath": "/e" }]));
    let expected =
        ["app volume 0", "db volume 0", "mq/token volume 0", "tls/tls.crt volume 0", "tls/tls.key volume 0"];
    assert_eq!(whole, expected);
    // A file of a volume without items is named after its key.
    assert_eq!(of(with(json!([mount("all", "password")])), "app"), ["app/password subPath 0"]);
    assert_eq!(of(with(json!([mount("some", "crt")])), "tls"), ["tls/tls.crt subPath 0"]);
    assert_eq!(of(with(json!([mount("some", "keys")])), "tls"), ["tls/tls.key subPath 0"]);
    // What cannot be told is everything it might be.
    assert_eq!(
        of(with(json!([mount("some", "other")])), "tls"),
        ["tls/tls.crt subPath 0", "tls/tls.key subPath 0"]
    );
    let computed = json!([{ "name": "some", "mountPath": "/x", "subPathExpr": "$(WHICH)" }]);
    assert_eq!(of(with(computed), "tls"), ["tls subPath 0"]);
    // A folder of the volume, be it one of the kubelet's own, is all of it.
    for folder in [".", "./", "..data", "..2026_03_01", "..data/password", "some/where"] {
        assert_eq!(of(with(json!([mount("all", folder)])), "app"), ["app subPath 0"], "{folder}");
    }
    let items = of(with(json!([mount("some", "..data")])), "tls");
    assert_eq!(items, ["tls/tls.crt subPath 0", "tls/tls.key subPath 0"]);
    assert_eq!(
        of(with(json!([mount("all", ".dockerconfigjson")])), "app"),
        ["app/.dockerconfigjson subPath 0"]
    );
    // An empty subPath is none.
    assert_eq!(of(with(json!([mount("all", "")])), "app"), ["app volume 0"]);
}

#[test]
fn volumes_nobody_mounts_and_pull_secrets_belong_to_no_container() {
    let spec = json!({
        "volumes": [{ "name": "unused", "secret": { "secretName": "app" } }],
        "imagePullSecrets": [{ "name": "registry" }],
    });
    assert_eq!(refs(&pod(spec, json!({}))), ["app volume", "registry imagePullSecrets"]);
}

#[test]
fn what_drivers_of_volumes_are_given_is_used() {
    for volume in [
        json!({ "csi": { "driver": "d", "nodePublishSecretRef": { "name": "app" } } }),
        json!({ "flexVolume": { "driver": "d", "secretRef": { "name": "app" } } }),
        json!({ "cephfs": { "monitors": ["m"], "secretRef": { "name": "app" } } }),
        json!({ "rbd": { "monitors": ["m"], "image": "i", "secretRef": { "name": "app" } } }),
        json!({ "iscsi": { "iqn": "i", "lun": 0, "targetPortal": "t", "secretRef": { "name": "app" } } }),
        json!({ "azureFile": { "shareName": "s", "secretName": "app" } }),
    ] {
        let mut volume = volume;
        volume["name"] = json!("v");
        let spec = json!({ "volumes": [volume], "containers": [] });
        assert_eq!(refs(&pod(spec.clone(), json!({}))), ["app volumeDriver"], "{spec}");
    }
}

#[test]
fn init_containers_count_also_when_they_are_done_and_so_do_sidecars_and_ephemeral_ones() {
    let env =
        |name: &str| json!([{ "name": "A", "valueFrom": { "secretKeyRef": { "name": name, "key": "k" } } }]);
    let spec = json!({
        "initContainers": [
            { "name": "migrate", "env": env("init") },
            { "name": "proxy", "restartPolicy": "Always", "env": env("sidecar") }],
        "ephemeralContainers": [{ "name": "debug", "env": env("ephemeral") }],
    });
    let with = |state: Value| {
        refs(&pod(spec.clone(), json!({ "initContainerStatuses": [status("migrate", state)] })))
    };
    let all = ["ephemeral/k env 2", "init/k env 0", "sidecar/k env 1"];
    assert_eq!(with(json!({ "running": { "startedAt": STARTED } })), all);
    assert_eq!(with(json!({ "terminated": { "exitCode": 1 } })), all, "it is tried again");
    assert_eq!(with(json!({ "terminated": { "exitCode": 0 } })), all, "it may have handed on what it read");
}

#[test]
fn what_an_init_container_read_is_held_from_its_start_for_as_long_as_the_pod() {
    let mount = json!([{ "name": "secret", "mountPath": "/x" }]);
    let spec = json!({
        "volumes": [{ "name": "secret", "secret": { "secretName": "app" } }],
        "initContainers": [{ "name": "render", "volumeMounts": mount }],
        "containers": [{ "name": "main", "volumeMounts": mount }],
    });
    let with = |state: Value| {
        let pod = pod(spec.clone(), json!({ "initContainerStatuses": [status("render", state)] }));
        assert_eq!(refs(&pod), ["app initContainer 0", "app volume 1"]);
        read(&pod).unwrap().1.started[0]
    };
    let started = Held::since(&Time(STARTED.parse().unwrap()));
    assert_eq!(with(json!({ "running": { "startedAt": STARTED } })), started);
    assert_eq!(with(json!({ "terminated": { "exitCode": 0, "startedAt": STARTED } })), started);
    assert_eq!(with(json!({ "terminated": { "exitCode": 0 } })).started(), Some(1), "as long as can be");
    for again in [json!({ "terminated": { "exitCode": 1, "startedAt": STARTED } }), json!({ "waiting": {} })]
    {
        assert_eq!(with(again), Held::STARTING);
    }
}

#[test]
fn times_are_those_of_the_containers_that_refer_to_secrets() {
    let env = json!([{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "app", "key": "k" } } }]);
    let spec = json!({ "containers": [{ "name": "plain" }, { "name": "main", "env": env }] });
    let with = |spec: &Value, statuses: Value| {
        read(&pod(spec.clone(), json!({ "containerStatuses": statuses }))).unwrap().1
    };
    let running = with(&spec, json!([status("main", json!({ "running": { "startedAt": STARTED } }))]));
    assert_eq!(running.created, at(CREATED));
    assert_eq!(running.started.as_ref(), [Held::since(&Time(STARTED.parse().unwrap()))]);
    assert_eq!(running.started[0].started(), Some(at(STARTED)));
    // Running without a time: for as long as can be.
    let timeless = with(&spec, json!([status("main", json!({ "running": {} }))]));
    assert_eq!(timeless.started[0].started(), Some(1));
    for state in [json!({ "waiting": {} }), json!({ "terminated": { "exitCode": 1 } })] {
        assert_eq!(with(&spec, json!([status("main", state)])).started.as_ref(), [Held::STARTING]);
    }
    assert_eq!(with(&spec, json!([])).started.as_ref(), [Held::STARTING], "its kubelet has said nothing yet");
    let mut pending = spec.clone();
    pending["nodeName"] = Value::Null;
    assert_eq!(with(&pending, json!([])).started.as_ref(), [Held::NOTHING]);
}

#[test]
fn a_pod_that_has_ended_or_uses_no_secret_is_no_consumer() {
    let spec = json!({ "imagePullSecrets": [{ "name": "registry" }] });
    for phase in ["Succeeded", "Failed"] {
        assert_eq!(read(&pod(spec.clone(), json!({ "phase": phase }))), None, "{phase}");
    }
    for phase in ["Pending", "Running", "Unknown"] {
        assert!(read(&pod(spec.clone(), json!({ "phase": phase }))).is_some(), "{phase}");
    }
    assert_eq!(read(&pod(json!({}), json!({}))), None);
}

#[test]
fn a_pod_belongs_to_its_controller_and_a_replica_set_to_its_deployment() {
    let owned = |kind: &str, name: &str, hash: Option<&str>| {
        let mut pod = pod(json!({ "imagePullSecrets": [{ "name": "registry" }] }), json!({}));
        pod.metadata.labels = hash.map(|hash| [(TEMPLATE_HASH.to_owned(), hash.to_owned())].into());
        let owner = |kind: &str, name: &str, controller| OwnerReference {
            kind: kind.to_owned(),
            name: name.to_owned(),
            controller: Some(controller),
            ..OwnerReference::default()
        };
        pod.metadata.owner_references = Some(vec![owner("Node", "other", false), owner(kind, name, true)]);
        let owner = read(&pod).unwrap().0.owner;
        format!("{} {}", owner.kind, owner.name)
    };
    assert_eq!(owned("ReplicaSet", "web-app-5d8f", Some("5d8f")), "Deployment web-app");
    assert_eq!(owned("ReplicaSet", "web-5d8f", None), "ReplicaSet web-5d8f");
    assert_eq!(owned("ReplicaSet", "web-5d8f", Some("77")), "ReplicaSet web-5d8f");
    assert_eq!(owned("StatefulSet", "db-5d8f", Some("5d8f")), "StatefulSet db-5d8f");
    let mut foreign = pod(json!({ "imagePullSecrets": [{ "name": "registry" }] }), json!({}));
    foreign.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "apps.kruise.io/v1beta1".to_owned(),
        kind: "StatefulSet".to_owned(),
        controller: Some(true),
        ..OwnerReference::default()
    }]);
    assert_eq!(&*read(&foreign).unwrap().0.owner.kind, "StatefulSet.apps.kruise.io");
    let bare =
        read(&pod(json!({ "imagePullSecrets": [{ "name": "registry" }] }), json!({}))).unwrap().0.owner;
    assert_eq!((&*bare.kind, &*bare.name), ("Pod", "web-1"));
}

#[test]
fn very_many_references_to_keys_are_kept_as_references_to_the_secret() {
    let env: Vec<Value> = (0..=MANY)
        .map(|n| json!({ "name": "A", "valueFrom": { "secretKeyRef": { "name": "app", "key": format!("k{n}") } } }))
        .collect();
    assert_eq!(refs(&pod(main(json!({ "env": env })), json!({}))), ["app env 0"]);
    assert_eq!(refs(&pod(main(json!({ "env": env[..MANY] })), json!({}))).len(), MANY);
}

#[test]
fn pods_of_one_template_have_one_shape() {
    let spec = json!({ "imagePullSecrets": [{ "name": "registry" }] });
    let mut other = pod(spec.clone(), json!({}));
    other.metadata.name = Some("web-2".to_owned());
    let owner = OwnerReference {
        kind: "Job".into(),
        name: "j".into(),
        controller: Some(true),
        ..OwnerReference::default()
    };
    let mut one = pod(spec, json!({}));
    for pod in [&mut one, &mut other] {
        pod.metadata.owner_references = Some(vec![owner.clone()]);
    }
    assert_eq!(read(&one).unwrap().0, read(&other).unwrap().0);
}
