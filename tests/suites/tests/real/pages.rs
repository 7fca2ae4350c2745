//! The pages under `docs/` and the examples beside them, as their readers use them: commands in a terminal, manifests as they
//! stand.

use std::fs;
use std::path::PathBuf;

use touchseal_keyring::{MasterKey, OpenKeyring, manifest};
use touchseal_rig::poll::eventually;
use touchseal_rig::tools::Tool;
use touchseal_suites::world::{repository, value};
use touchseal_suites::{DEADLINE, Laptop, Operator, Page, Reading, Sops, World};

#[test]
fn the_page_about_gitops_can_be_followed() {
    let mut world = World::documented();
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let _key = laptop.key(0, 14_041_969);
    let _operator = world.operator();
    Reading::at(&laptop).follow(&Page::of("docs/gitops.md"));
    let secret = world.secret("app").unwrap();
    assert_eq!(value(&secret, "password").unwrap(), b"battery staple");
}

/// What the examples make: the same of each.
const APP: [(&str, &str); 2] = [("username", "shop"), ("password", "correct horse")];
const CHAT: &str = "CHAT_USER=shop\nCHAT_TOKEN=battery staple\n";

/// The keyring whose keys the vectors publish, served in the namespace the examples are for.
fn world_of_examples() -> (World, Operator) {
    let mut world = World::documented();
    let spec = vector();
    world.apply_keyring("main", &spec);
    let operator = world.operator();
    let master = MasterKey::fill_with(|bytes| {
        bytes.fill(2);
        Ok::<_, std::convert::Infallible>(())
    });
    let open = OpenKeyring::open(&manifest::verify(&spec).unwrap(), master.unwrap()).unwrap();
    world.unseal("main", &open, 1);
    (world, operator)
}

fn vector() -> touchseal_crds::keyring::KeyringSpec {
    let path = repository().join("tests/vectors/keyring/manifest-2.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn example(name: &str) -> PathBuf {
    repository().join("docs/examples").join(name)
}

fn wait_for_secrets(world: &World) {
    world.wait_for("app", "True", "Materialised");
    world.wait_for("chat", "True", "Materialised");
    let app = world.secret("app").unwrap();
    assert_eq!(app["data"].as_object().unwrap().len(), APP.len());
    for (key, text) in APP {
        assert_eq!(value(&app, key).unwrap(), text.as_bytes());
    }
    let chat = world.secret("chat").unwrap();
    assert_eq!(value(&chat, ".env").unwrap(), CHAT.as_bytes());
}

fn delete(world: &World) {
    world.cluster.kubectl_stdout(&["delete", "esec,configmaps", "--all", "-n", &world.apps]).unwrap();
    eventually(DEADLINE, "the Secrets to be gone", || {
        world.secret("app").is_none() && world.secret("chat").is_none()
    })
    .unwrap();
}

#[test]
fn each_example_gives_the_secrets_it_promises() {
    let (world, _operator) = world_of_examples();
    let apply = |how: &str, path: &str| {
        let path = example(path);
        world.cluster.kubectl_stdout(&["apply", how, path.to_str().unwrap(), "-n", &world.apps]).unwrap();
    };
    apply("-f", "plain");
    wait_for_secrets(&world);
    delete(&world);

    apply("-k", "kustomize");
    wait_for_secrets(&world);
    delete(&world);

    let helm = |arguments: &[&str]| {
        let mut command = Tool::Helm.command().unwrap();
        command.arg("--kubeconfig").arg(world.cluster.admin_kubeconfig());
        let output = command.args(["-n", &world.apps]).args(arguments).output().unwrap();
        assert!(output.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    helm(&["lint", "--strict", example("helm").to_str().unwrap()]);
    helm(&["install", "shop", example("helm").to_str().unwrap()]);
    wait_for_secrets(&world);
    // Not a byte of a document changes on its way through the template.
    for (name, file) in [("app", "app.yaml"), ("chat", "chat.env")] {
        let there = world.encrypted_secret(name)["spec"]["documents"][0]["sops"].clone();
        let here = fs::read_to_string(example("helm/documents").join(file)).unwrap();
        assert_eq!(there, here.as_str(), "{file}");
    }
    helm(&["uninstall", "shop"]);
    eventually(DEADLINE, "the Secrets to be gone", || world.secret("app").is_none()).unwrap();
}

#[test]
#[ignore = "writes docs/examples"]
fn write_examples() {
    let master = MasterKey::fill_with(|bytes| {
        bytes.fill(2);
        Ok::<_, std::convert::Infallible>(())
    });
    let open = OpenKeyring::open(&manifest::verify(&vector()).unwrap(), master.unwrap()).unwrap();
    let recipient = open.recipient_spec("shop").unwrap().recipient;
    let app: String = APP.iter().map(|(key, text)| format!("{key}: {text}\n")).collect();
    let app = Sops::new().encrypt("app.yaml", &app, &recipient);
    let chat = Sops::new().encrypt("chat.env", CHAT, &recipient);
    for folder in ["kustomize", "helm/documents"] {
        fs::write(example(folder).join("app.yaml"), &app).unwrap();
        fs::write(example(folder).join("chat.env"), &chat).unwrap();
    }
    // As `touchseal wrap` makes them.
    let laptop = Laptop::at(&example("kustomize"), std::path::Path::new("/nonexistent/kubeconfig"));
    let wrap = |arguments: &[&str]| laptop.run_plain(&[&["wrap"], arguments].concat()).ok().out;
    fs::write(example("plain/app.yaml"), wrap(&["app.yaml", "--name", "app", "--namespace", "shop"]))
        .unwrap();
    let chat = wrap(&["chat.env", "--name", "chat", "--namespace", "shop", "--as", "file", "--key", ".env"]);
    fs::write(example("plain/chat.yaml"), chat).unwrap();
}
