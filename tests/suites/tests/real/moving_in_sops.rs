//! The pages about moving in from what sops encrypted, followed with files that the real sops made.

use std::fs;
use std::path::Path;

use serde_json::json;
use touchseal_suites::neighbours::{self, ISINDIR, PEAK, SopsSecrets};
use touchseal_suites::world::value;
use touchseal_suites::{Laptop, Page, Reading, Sops, World};

use super::moving_in::unsealed;

/// A document of a manifest, and the file it was.
fn wrapped(laptop: &Laptop, manifest: &str, file: &str) -> (String, String) {
    let read = |name: &str| fs::read_to_string(laptop.folder().join(name)).unwrap();
    let object: serde_json::Value = serde_norway::from_str(&read(manifest)).unwrap();
    let name = Path::new(file).file_name().and_then(|name| name.to_str());
    let mut documents = object["spec"]["documents"].as_array().unwrap().iter();
    let document = documents.find(|document| document["name"].as_str() == name).unwrap();
    (document["sops"].as_str().unwrap().to_owned(), read(file))
}

#[test]
fn what_sops_encrypted_moves_in_as_it_is() {
    let (world, laptop, _operator, _key) = unsealed();
    let mut made = None;
    let contents = || ["app", "chat"].map(|name| world.secret(name).unwrap()["data"].clone());
    Reading::at(&laptop).follow_with(&Page::of("docs/moving-in/sops.md"), |name| match name {
        "kustomize applies the generator" => {
            if neighbours::on_path("ksops").is_none() {
                apply_as_ksops(&world, &laptop);
            }
            let known = made.get_or_insert_with(contents);
            assert_eq!(*known, contents());
        }
        "values are compared" => assert_eq!(made, Some(contents())),
        _ => panic!("nobody does {name:?}"),
    });
    for (manifest, file) in [
        ("shop/app.esec.yaml", "shop/app.yaml"),
        ("shop/chat.esec.yaml", "shop/chat.env"),
        ("shop/chat.esec.yaml", "shop/settings.conf"),
    ] {
        let (document, file) = wrapped(&laptop, manifest, file);
        assert_eq!(document, file, "byte for byte");
    }
    let app = world.secret("app").unwrap();
    assert_eq!(
        (app["type"].as_str(), app["metadata"]["labels"]["team"].as_str()),
        (Some("kubernetes.io/basic-auth"), Some("payments"))
    );
    assert_eq!(value(&app, "password").unwrap(), b"correct horse");
    assert_eq!(value(&world.secret("chat").unwrap(), "CHAT_TOKEN").unwrap(), b"battery staple");

    // What is not for the namespace is not wrapped for it, and says what to do.
    let other = age::x25519::Identity::generate().to_public().to_string();
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: other, namespace: shop}\nstringData: {a: b}\n";
    let document = world.sops.encrypt_with(
        "other.yaml",
        secret,
        &["--age", &other, "--encrypted-regex", "^stringData$"],
    );
    fs::write(laptop.folder().join("shop/other.yaml"), document).unwrap();
    let words = ["shop/other.yaml is not encrypted to namespace shop", "updatekeys shop/other.yaml"];
    laptop.run_plain(&["import", "shop/other.yaml"]).refused(1, &words);
    // Nor is one whose sops file holds more than one.
    let several = world.sops.encrypt_with(
        "several.yaml",
        &format!("{secret}---\n{secret}"),
        &["--age", &other, "--encrypted-regex", "^stringData$"],
    );
    fs::write(laptop.folder().join("shop/several.yaml"), several).unwrap();
    laptop
        .run_plain(&["import", "shop/several.yaml"])
        .refused(1, &["2 manifests", "sops decrypt FILE | touchseal import -"]);
}

/// What KSOPS makes of `shop/generator.yaml`.
fn apply_as_ksops(world: &World, laptop: &Laptop) {
    let keys = laptop.folder().join("keys.txt");
    let app = neighbours::values(laptop, &keys, "shop/app.yaml");
    let mut data = neighbours::values(laptop, &keys, "shop/chat.env");
    data["settings.conf"] = neighbours::opened(laptop, &keys, "shop/settings.conf", &[]).into();
    let chat = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "chat", "namespace": "shop" },
        "stringData": data });
    for secret in [app, chat] {
        world.cluster.apply(&secret.to_string()).unwrap();
    }
}

/// What KSOPS and kustomize make of a file, and its text does not tell.
#[test]
fn what_ksops_reads_its_own_way_is_said() {
    let (sops, laptop) = (Sops::new(), Laptop::new(Path::new("/nonexistent/kubeconfig")));
    let recipient = age::x25519::Identity::generate().to_public().to_string();
    let put = |name: &str, text: &str, more: &[&str]| {
        let document = sops.encrypt_with(name, text, &[&["--age", &recipient], more].concat());
        fs::write(laptop.folder().join(name), document).unwrap();
    };
    let secret = |name: &str, annotation: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  annotations:\n    \
             kustomize.config.k8s.io/{annotation}\nstringData: {{a: b}}\n"
        )
    };
    put("hashed.yaml", &secret("hashed", "needs-hash: \"true\""), &["--encrypted-regex", "^stringData$"]);
    put("merged.yaml", &secret("merged", "behavior: merge"), &["--encrypted-regex", "^stringData$"]);
    put("chat.env", "TOKEN=\"battery staple\"\n", &[]);
    let generator = |env: &str| {
        format!(
            "apiVersion: viaduct.ai/v1\nkind: ksops\nmetadata: {{name: all}}\nfiles: [hashed.yaml, merged.yaml]\n\
             secretFrom:\n- metadata: {{name: chat}}\n  envs: [{env}]\n"
        )
    };
    fs::write(laptop.folder().join("generator.yaml"), generator("chat.env")).unwrap();
    let import = ["import", "--namespace", "shop", "--dry-run", "generator.yaml"];
    let said = laptop.run_plain(&import).ok();
    for words in [
        "shop/hashed: kustomize put a hash behind its name",
        "shop/merged: kustomize puts it into another Secret of this name (merge)",
        "shop/chat: values of chat.env are what stands there",
    ] {
        assert!(said.err.contains(words), "no {words:?} in {}{}", said.out, said.err);
    }

    put("exported.env", "export TOKEN=x\n", &[]);
    fs::write(laptop.folder().join("generator.yaml"), generator("exported.env")).unwrap();
    let words = ["exported.env: \"export TOKEN\" cannot be a key", "--from-secret chat"];
    laptop.run_plain(&import).refused(1, &words);
}

/// The objects of both operators, spread over custom resources of a real API server.
#[test]
fn sops_secrets_move_in_and_back() {
    let (world, laptop, _operator, _key) = unsealed();
    let page = Page::of("docs/moving-in/sopssecrets.md");
    // At once, for a garbage collector takes half a minute to learn of kinds.
    let [isindir, peak] =
        [ISINDIR, PEAK].map(|whose| SopsSecrets::start(whose, &world.cluster, &laptop, "shop", "keys.txt"));
    Reading::at(&laptop).follow_with(&page, |name| match name {
        "sops-secrets-operator serves shop" => isindir.serves("shop", "objects/shop.yaml"),
        "sops-secrets-operator suspends shop" => isindir.suspends("shop"),
        "sops-operator serves peak" => peak.serves("peak", "objects/peak.yaml"),
        _ => panic!("nobody does {name:?}"),
    });
    for name in ["mail", "ledger"] {
        let secret = world.secret(name).unwrap();
        assert_eq!(
            (value(&secret, "password").unwrap().as_slice(), secret["metadata"]["labels"]["team"].as_str()),
            (&b"correct horse"[..], Some("payments"))
        );
    }
    let left = laptop.run_plain(&["import", "objects/peak.yaml"]);
    left.refused(1, &["left out: SopsSecret peak of objects/peak.yaml: have sops open it: sops decrypt FILE | touchseal import -"]);
}
