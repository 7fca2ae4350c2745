//! README and the pages that take a reader from nothing to a Secret and through a keyring's life, each followed to its end.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use serde_json::json;
use touchseal_rig::tools::Tool;
use touchseal_suites::chart::{self, Release};
use touchseal_suites::cli::PIN;
use touchseal_suites::world::{condition, repository, value};
use touchseal_suites::{Laptop, Operator, Page, Reading, World};

/// What an editor does in the hands of a reader: adds their age key to the creation rules, changes the password elsewhere.
const EDITOR: &str = r#"#!/bin/sh
case "$1" in
*.sops.yaml)
    key=$(sed -n 's/^# public key: //p' "$HOME/.config/sops/age/keys.txt")
    sed -i "s/\(age1[a-z0-9]*\)/\1,$key/" "$1" ;;
*) sed -i 's/correct horse/battery staple/' "$1" ;;
esac
"#;

/// A laptop in whose folder the chart lies where it lies in the repository.
fn clone(world: &World) -> Laptop {
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    symlink(repository().join("charts"), laptop.folder().join("charts")).unwrap();
    laptop
}

fn editor(laptop: &Laptop) -> PathBuf {
    let path = laptop.folder().join("editor");
    fs::write(&path, EDITOR).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The Deployment's pods find no node here, so one of them is run beside the test.
fn pods_start(world: &mut World) -> Operator {
    world.wait_until_installed();
    world.operator()
}

fn password(world: &World) -> String {
    String::from_utf8(value(&world.secret("app").unwrap(), "password").unwrap()).unwrap()
}

#[test]
fn the_readme_leads_to_a_secret() {
    let mut world = World::untouched();
    let laptop = clone(&world);
    let _key = laptop.key(0, 4_711);
    let mut operator = None;
    Reading::at(&laptop).follow_with(&Page::of("README.md"), |act| match act {
        "its pods start" => operator = Some(pods_start(&mut world)),
        other => panic!("nobody does {other:?}"),
    });
    assert_eq!(password(&world), "correct horse");
}

#[test]
fn getting_started_leads_to_a_rotated_secret() {
    let mut world = World::untouched();
    Release { name: chart::RELEASE, namespace: "touchseal-system", cluster: &world.cluster }.done(&[
        "install",
        chart::RELEASE,
        chart::folder().to_str().unwrap(),
        "--create-namespace",
    ]);
    let _operator = pods_start(&mut world);
    let laptop = clone(&world);
    let _alice = laptop.key(0, 4_711);
    let mut bob = None;
    let editor = editor(&laptop);
    let config = laptop.folder().join(".config");
    Reading::at(&laptop)
        .with("EDITOR", editor.to_str().unwrap())
        .with("XDG_CONFIG_HOME", config.to_str().unwrap())
        .follow_with(&Page::of("docs/getting-started.md"), |act| match act {
            "plug in the second YubiKey" => bob = Some(laptop.key(1, 14_041_970)),
            "unplug the second YubiKey" => laptop.reader.pull(1).unwrap(),
            other => panic!("nobody does {other:?}"),
        });
    assert!(bob.is_some());
    assert_eq!(password(&world), "battery staple");
    assert_eq!(world.encrypted_secret("app")["status"]["secretGeneration"], 2);
}

/// Where the API servers are, as they say it themselves in a cluster that publishes it; documentation's addresses.
fn publish_addresses(world: &World) {
    for (name, kind, address) in
        [("kubernetes", "IPv4", "192.0.2.10"), ("kubernetes-ipv6", "IPv6", "2001:db8::10")]
    {
        let slice = json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
            "metadata": { "name": name, "namespace": "default",
                "labels": { "kubernetes.io/service-name": "kubernetes" } },
            "endpoints": [{ "addresses": [address], "conditions": { "ready": true } }],
            "ports": [{ "name": "https", "port": 6443, "protocol": "TCP" }] });
        world.cluster.apply(&slice.to_string()).unwrap();
    }
}

#[test]
fn the_charts_readme_can_be_followed_to_its_end() {
    let world = World::untouched();
    let laptop = clone(&world);
    Reading::at(&laptop).follow(&Page::of("charts/touchseal/README.md"));
    let gone = ["get", "deployment", "-n", "touchseal-system", "-o=name"];
    assert_eq!(world.cluster.kubectl_stdout(&gone).unwrap(), "");
}

#[test]
fn what_a_runbook_begins_with_can_be_run() {
    let mut world = World::documented();
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let _alice = laptop.key(0, 4_711);
    laptop.create_keyring("prod", "alice");
    world.cluster.apply(&fs::read_to_string(laptop.folder().join("prod.keyring.yaml")).unwrap()).unwrap();
    let _operator = world.operator();
    world.requests(1);
    laptop.run(&["unseal", "--yes"], PIN).ok();
    Reading::at(&laptop).follow(&Page::of("docs/runbooks.md"));
}

#[test]
fn the_installation_can_be_followed_to_its_end() {
    let mut world = World::untouched();
    publish_addresses(&world);
    let laptop = clone(&world);
    let _key = laptop.key(0, 4_711);
    let mut operator = None;
    Reading::at(&laptop).follow_with(&Page::of("docs/install.md"), |act| match act {
        "its pods start" => operator = Some(pods_start(&mut world)),
        other => panic!("nobody does {other:?}"),
    });
    let gone = ["get", "deployment", "-n", "touchseal-system", "-o=name"];
    assert_eq!(world.cluster.kubectl_stdout(&gone).unwrap(), "");
}

/// A repository with a keyring of alice's, the settings of `shop` encrypted and served.
fn served(world: &World, laptop: &Laptop, keyring: &str) {
    laptop.create_keyring(keyring, "alice");
    let manifest = format!("{keyring}.keyring.yaml");
    laptop.run(&["recipients", "-f", &manifest, "--for", "shop", "--sops-yaml"], PIN).ok();
    commit(laptop, &[("app", "password: correct horse\n")]);
    let file = |name: &str| laptop.folder().join(name).display().to_string();
    world
        .cluster
        .kubectl_stdout(&["apply", "-f", &file(&manifest), "-f", &file("shop/app.esec.yaml")])
        .unwrap();
    world.requests(1);
    laptop.run(&["unseal", "--yes"], PIN).ok();
    world.wait_for("app", "True", "Materialised");
}

/// Encrypts, wraps and commits documents of `shop`.
pub fn commit(laptop: &Laptop, documents: &[(&str, &str)]) {
    fs::create_dir_all(laptop.folder().join("shop")).unwrap();
    for (name, plain) in documents {
        let file = format!("shop/{name}.yaml");
        fs::write(laptop.folder().join(&file), plain).unwrap();
        let mut sops = Tool::Sops.command().unwrap();
        let encrypted = sops.args(["encrypt", "--in-place", &file]).current_dir(laptop.folder()).status();
        assert!(encrypted.unwrap().success(), "{file}");
        let manifest = laptop.run_plain(&["wrap", &file, "--name", name, "--namespace", "shop"]).ok().out;
        fs::write(laptop.folder().join(format!("shop/{name}.esec.yaml")), manifest).unwrap();
    }
    laptop.git(&["init", "-q"]);
    laptop.git(&["add", "*.keyring.yaml", ".sops.yaml", "shop"]);
    laptop.git(&["commit", "-qm", "Settings of the shop"]);
}

#[test]
fn the_ceremony_can_be_followed() {
    let mut world = World::documented();
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let alice = laptop.key(0, 4_711);
    laptop.create_keyring("prod", "alice");
    world.cluster.apply(&fs::read_to_string(laptop.folder().join("prod.keyring.yaml")).unwrap()).unwrap();
    let _operator = world.operator();
    world.requests(1);
    let before = alice.counters().private_key_operations;
    Reading::at(&laptop).follow(&Page::of("docs/ceremony.md"));
    assert_eq!(
        alice.counters().private_key_operations,
        before + 1,
        "one operation, and none where nobody asks"
    );
}

/// The pages of the kinds show commands, too: on a cluster that serves `app`, which is the namespace they are typed in.
#[test]
fn the_pages_of_the_kinds_can_be_followed() {
    let mut world = World::documented();
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let _alice = laptop.key(0, 4_711);
    let _operator = world.operator();
    served(&world, &laptop, "prod");
    let kubeconfig = laptop.folder().join("kubeconfig");
    fs::copy(world.cluster.admin_kubeconfig(), &kubeconfig).unwrap();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let namespace = ["config", "set-context", "--current", "--namespace=shop", "--kubeconfig", kubeconfig];
    world.cluster.kubectl_stdout(&namespace).unwrap();
    for page in ["crds/encryptedsecret.md", "crds/incident.md"] {
        Reading::at(&laptop).with("KUBECONFIG", kubeconfig).follow(&Page::of(page));
    }
    let incident = world.cluster.get(&["incident", "ci-leak"]).unwrap();
    assert_eq!(condition(&incident, "Closed")["reason"], "AllSafe");
}

#[test]
fn people_and_keys_come_and_go() {
    let mut world = World::documented();
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let _alice = laptop.key(0, 4_711);
    let _operator = world.operator();
    served(&world, &laptop, "prod");
    let _bob = laptop.key(1, 4_712);
    let mut carol = None;
    Reading::at(&laptop).follow_with(&Page::of("docs/keys.md"), |act| match act {
        "Alice goes with her YubiKey" => laptop.reader.pull(0).unwrap(),
        "enrol another holder" => {
            carol = Some(laptop.key(0, 4_713));
            let enrol = ["keyring", "enrol", "-f", "prod.keyring.yaml", "--holder", "carol", "--serial=4713"];
            laptop.run(&enrol, PIN).ok();
        }
        other => panic!("nobody does {other:?}"),
    });
    let manifest = laptop.manifest("prod");
    let holders: Vec<_> = manifest.holders.iter().map(|holder| holder.name.as_str()).collect();
    assert_eq!((holders, manifest.quorum), (vec!["bob", "carol"], Some(2)));
    assert_eq!(password(&world), "correct horse");
}

#[test]
fn a_yubikey_is_left_in_a_node() {
    let mut world = World::untouched();
    let release = Release { name: chart::RELEASE, namespace: "touchseal-system", cluster: &world.cluster };
    release.done(&["install", chart::RELEASE, chart::folder().to_str().unwrap(), "--create-namespace"]);
    let _operator = pods_start(&mut world);
    world.cluster.namespace("shop").unwrap();
    let laptop = clone(&world);
    let _alice = laptop.key(0, 4_711);
    served(&world, &laptop, "edge");
    let _edge = laptop.key(1, 12_345_678);
    Reading::at(&laptop).answer("PIN of the node's YubiKey", PIN).follow_with(
        &Page::of("docs/edge.md"),
        |act| match act {
            "the YubiKey is plugged into the node" => laptop.reader.pull(1).unwrap(),
            other => panic!("nobody does {other:?}"),
        },
    );
    let kept = world.cluster.get(&["secret", "node-key-pin", "-n=touchseal-node-key"]).unwrap();
    assert_eq!(value(&kept, "pin").unwrap(), PIN.as_bytes());
    let deployments = world.cluster.get(&["deployments", "-n=touchseal-node-key"]).unwrap();
    assert_eq!(deployments["items"].as_array().unwrap().len(), 1);
}
