//! A release from its installation to its end, by the real helm: an upgrade changes CRDs, nothing ever deletes a Secret.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::chart::{self, Release, words};
use touchseal_suites::world::value;
use touchseal_suites::{DEADLINE, Operator, SoftHolder, World};

const DEFINITION: &str = "encryptedsecrets.touchseal.dev";
const NODE_KEY: [&str; 5] = [
    "nodeKey.enabled=true",
    "nodeKey.namespace=life-node-key",
    "nodeKey.serial=4711",
    "nodeKey.fingerprint=SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    r"nodeKey.nodeSelector.kubernetes\.io/hostname=edge-1",
];

fn release<'a>(world: &'a World, name: &'a str) -> Release<'a> {
    Release { name, namespace: &world.system, cluster: &world.cluster }
}

/// A cluster that has never seen Touchseal; the namespace takes pods of the strictest standard only.
fn fresh(test: &str) -> World {
    let world = World::bare(test);
    let definitions: Vec<String> =
        touchseal_crds::all().into_iter().filter_map(|(_, crd)| crd.metadata.name).collect();
    let definitions: Vec<&str> = definitions.iter().map(String::as_str).collect();
    world
        .cluster
        .kubectl_stdout(&[&["delete", "crd", "--ignore-not-found"], &definitions[..]].concat())
        .unwrap();
    let label = "pod-security.kubernetes.io/enforce=restricted";
    world.cluster.kubectl_stdout(&["label", "namespace", &world.system, label]).unwrap();
    world
}

/// The chart as it was in one respect and might have been in another: an older version, whose PriorityClass pushed others out,
/// which cannot be changed, and whose EncryptedSecrets could not be suspended.
fn older(at: &Path) -> PathBuf {
    let chart = at.join("older");
    copy(&chart::folder(), &chart);
    let definition = chart.join("files/crds/touchseal.dev_encryptedsecrets.yaml");
    let mut crd: Value = serde_norway::from_str(&fs::read_to_string(&definition).unwrap()).unwrap();
    let spec = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap();
    assert!(spec.as_object_mut().unwrap().remove("suspend").is_some());
    fs::write(&definition, serde_norway::to_string(&crd).unwrap()).unwrap();
    for (file, now, then) in [
        ("_deployment.tpl", "(list . \"priority\")", "(list . \"operator\")"),
        ("priorityclass.yaml", "preemptionPolicy: Never\n", ""),
    ] {
        let file = chart.join("templates").join(file);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(now), "{}", file.display());
        fs::write(&file, text.replace(now, then)).unwrap();
    }
    let about = chart.join("Chart.yaml");
    let text = fs::read_to_string(&about).unwrap().replace(env!("CARGO_PKG_VERSION"), "0.0.1");
    fs::write(&about, text).unwrap();
    chart
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Whether the API server knows the field that the older version had not.
fn knows_suspend(world: &World) -> bool {
    let crd = world.cluster.get(&["crd", DEFINITION]).unwrap();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend").is_some()
}

/// What must stay as it is.
fn identity(world: &World) -> [Value; 2] {
    let secret = world.secret("app").expect("the Secret is gone");
    ["uid", "resourceVersion"].map(|field| secret["metadata"][field].clone())
}

#[test]
fn a_release_is_installed_upgraded_rolled_back_and_uninstalled_and_its_secrets_stay() {
    let mut world = fresh("life");
    let older = older(world.cluster.dir());
    let said = release(&world, chart::RELEASE).install(&older, &[]);
    assert!(said.contains("touchseal keyring create prod"), "{said}");
    assert!(said.contains("touchseal unseal --operator-namespace life-system"), "{said}");
    assert!(said.contains("networkPolicy.apiServer.cidrs"), "what is left open is told: {said}");
    world.wait_until_installed();
    assert!(!knows_suspend(&world));
    // The controllers make the Deployment's pods, which this namespace lets in.
    eventually(DEADLINE, "both pods", || {
        let pods =
            world.cluster.get(&["pods", "-n", &world.system, "-l=app.kubernetes.io/component=operator"]);
        let count = pods.unwrap()["items"].as_array().unwrap().len();
        if count == 2 { Ok(()) } else { Err(format!("{count} pods")) }
    })
    .unwrap();

    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    world.apply_keyring("prod", &spec);
    let operator = world.operator();
    world.unseal("prod", &open, 1);
    let recipient = world.recipient(&world.apps, "prod");
    let serve = |world: &World, password: &str| {
        let document = world.sops.encrypt("app.yaml", &format!("password: {password}\n"), &recipient);
        world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    };
    serve(&world, "first");
    world.wait_for("app", "True", "Materialised");
    let before = identity(&world);

    // Upgrade: the CRD with it, and the operator goes on with its rights. A YubiKey is left in a node, and its PIN there.
    release(&world, chart::RELEASE)
        .upgrade(&chart::folder(), &[&["rollout.enabled=true"], &NODE_KEY[..]].concat());
    let pin =
        ["create", "secret", "generic", "node-key-pin", "--from-literal=pin=123456", "-n=life-node-key"];
    world.cluster.kubectl_stdout(&pin).unwrap();
    assert!(knows_suspend(&world));
    assert_eq!(identity(&world), before);
    serve(&world, "second");
    world.wait_for_generation("app", 2);
    assert_eq!(value(&world.secret("app").unwrap(), "password").unwrap(), b"second");
    let before = identity(&world);

    // Back, and forth again.
    release(&world, chart::RELEASE).done(&["rollback", chart::RELEASE, "1"]);
    assert!(!knows_suspend(&world));
    release(&world, chart::RELEASE).upgrade(&chart::folder(), &[]);
    assert!(knows_suspend(&world));
    assert_eq!(identity(&world), before);

    // Gone, but for what people have in it.
    release(&world, chart::RELEASE).done(&["uninstall", chart::RELEASE]);
    let account = format!("--as=system:serviceaccount:{}:touchseal-operator", world.system);
    let may = ["auth", "can-i", "delete", "secrets", "-n", &world.apps, &account];
    eventually(DEADLINE, "the rights to be gone", || {
        world.cluster.kubectl(&may).is_ok_and(|answer| words(&answer).trim() == "no")
    })
    .unwrap();
    assert!(knows_suspend(&world), "the CRD stays");
    world.cluster.get(&["secret", "node-key-pin", "-n=life-node-key"]).unwrap();
    world.cluster.get(&["keyring", "prod"]).unwrap();
    assert_eq!(world.encrypted_secret("app")["status"]["secretGeneration"], 2);
    assert_eq!(identity(&world), before);
    let Operator { process, pod, .. } = operator;
    drop(process);

    // And back: the same release takes over what stayed, and nothing is written once it is unsealed.
    release(&world, chart::RELEASE).install(&chart::folder(), &[]);
    world.wait_until_installed();
    let _operator = Operator::start_as(&world.cluster, &world.system, pod);
    world.unseal("prod", &open, 1);
    serve(&world, "third");
    world.wait_for_generation("app", 3);
    assert_eq!(identity(&world)[0], before[0], "the same Secret");
}

#[test]
fn a_second_release_leaves_the_shared_parts_to_the_first() {
    let world = fresh("second");
    let settings = ["watchNamespaces={second-apps}", "networkPolicy.apiServer.cidrs={192.0.2.10/32}"];
    let said = release(&world, chart::RELEASE).install(&chart::folder(), &settings);
    assert!(!said.contains("networkPolicy.apiServer.cidrs"), "{said}");
    assert!(said.contains("serves these namespaces alone: second-apps"), "{said}");
    world.cluster.namespace("second-other").unwrap();
    let other = Release { name: chart::RELEASE, namespace: "second-other", cluster: &world.cluster };
    let folder = chart::folder();
    let refused = other.tried(&["install", chart::RELEASE, folder.to_str().unwrap()]);
    let said = words(&refused);
    assert!(
        !refused.status.success() && said.contains("cannot be imported into the current release"),
        "{said}"
    );
    let settings = ["crds.install=false", "roles.create=false", "watchNamespaces={second-other}"];
    other.install(&folder, &settings);
    let held = |namespace: &str, what: &str, within: &str| {
        let account = format!("--as=system:serviceaccount:{namespace}:touchseal-operator");
        let said = world.cluster.kubectl(&["auth", "can-i", "list", what, "-n", within, &account]).unwrap();
        words(&said).trim() == "yes"
    };
    eventually(DEADLINE, "the rights to be there", || held("second-other", "secrets", "second-other"))
        .unwrap();
    assert!(held(&world.system, "secrets", &world.apps));
    assert!(!held("second-other", "secrets", &world.apps) && !held(&world.system, "secrets", "second-other"));
    other.done(&["uninstall", chart::RELEASE]);
    assert!(held(&world.system, "secrets", &world.apps));
    assert!(knows_suspend(&world));
}
