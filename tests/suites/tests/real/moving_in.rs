//! The pages about moving in, followed with files and objects that the real tools made.

use std::fs;

use touchseal_rig::poll::eventually;
use touchseal_suites::DEADLINE;
use touchseal_suites::cli::PIN;
use touchseal_suites::world::value;
use touchseal_suites::{Laptop, Operator, Page, Reading, World, neighbours};

/// A cluster with an unsealed operator, and the laptop of a holder who has nothing in it yet.
fn unsealed() -> (World, Laptop, Operator, touchseal_softkey::SoftKey) {
    let mut world = World::documented();
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let key = laptop.key(0, 4_711);
    laptop.create_keyring("prod", "alice");
    world.cluster.apply(&fs::read_to_string(laptop.folder().join("prod.keyring.yaml")).unwrap()).unwrap();
    let operator = world.operator();
    world.requests(1);
    laptop.run(&["unseal", "--yes"], PIN).ok();
    laptop.git(&["init", "-q"]);
    (world, laptop, operator, key)
}

#[test]
fn plain_files_and_secrets_made_by_hand_move_in() {
    let (world, laptop, _operator, key) = unsealed();
    let before = key.counters().private_key_operations;
    Reading::at(&laptop).follow(&Page::of("docs/moving-in.md").without("The mounted file"));
    assert_eq!(
        key.counters().private_key_operations,
        before + 3,
        "for the rule and twice for going back; importing takes no key"
    );
    let shop = world.secret("shop").unwrap();
    assert_eq!(value(&shop, "DB_PASSWORD").unwrap(), b"correct horse");
    let mail = world.secret("mail").unwrap();
    assert_eq!(value(&mail, "password").unwrap(), b"correct horse");
    assert!(mail["metadata"]["ownerReferences"].is_null());
}

/// The document of a manifest, and the file it was.
fn wrapped(laptop: &Laptop, manifest: &str, file: &str) -> (String, String) {
    let read = |name: &str| fs::read_to_string(laptop.folder().join(name)).unwrap();
    let object: serde_json::Value = serde_norway::from_str(&read(manifest)).unwrap();
    (object["spec"]["documents"][0]["sops"].as_str().unwrap().to_owned(), read(file))
}

/// The real controller, its keys, and kubeseal.
#[test]
fn sealed_secrets_move_in_and_back() {
    let (world, laptop, _operator, _key) = unsealed();
    let _controller = neighbours::sealed_secrets(&world.cluster);
    let keys =
        ["get", "secrets", "-n=kube-system", "-l=sealedsecrets.bitnami.com/sealed-secrets-key", "-o=name"];
    eventually(DEADLINE, "the controller's key", || !world.cluster.kubectl_stdout(&keys).unwrap().is_empty())
        .unwrap();
    Reading::at(&laptop).follow(&Page::of("docs/moving-in/sealed-secrets.md"));
    assert_eq!(value(&world.secret("mail").unwrap(), "password").unwrap(), b"correct horse");
    let sealed = laptop.run_plain(&["import", "shop/mail.sealed.yaml"]);
    sealed
        .refused(1, &["left out: SealedSecret mail of shop/mail.sealed.yaml", "kubeseal --recovery-unseal"]);
}

#[test]
fn external_secrets_move_in_and_back() {
    let (world, laptop, _operator, _key) = unsealed();
    let _external = neighbours::external_secrets(&world.cluster);
    Reading::at(&laptop).follow(&Page::of("docs/moving-in/external-secrets.md"));
    let mail = world.secret("mail").unwrap();
    assert_eq!(
        (value(&mail, "password").unwrap().as_slice(), mail["metadata"]["labels"]["team"].as_str()),
        (&b"correct horse"[..], Some("payments"))
    );
    let manifest = fs::read_to_string(laptop.folder().join("shop/mail.esec.yaml")).unwrap();
    assert!(manifest.contains("team: payments") && !manifest.contains("external-secrets.io"), "{manifest}");
    let left = laptop.run_plain(&["import", "shop/mail.external.yaml"]);
    left.refused(1, &["left out: ExternalSecret mail", "--from-secret mail"]);
}

#[test]
fn what_sops_encrypted_moves_in_as_it_is() {
    let (world, laptop, _operator, _key) = unsealed();
    Reading::at(&laptop).follow(&Page::of("docs/moving-in/sops.md"));
    for (manifest, file) in
        [("shop/app.esec.yaml", "shop/app.yaml"), ("shop/chat.esec.yaml", "shop/chat.env")]
    {
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
    let ledger = world.secret("ledger").unwrap();
    assert_eq!(
        (value(&ledger, "password").unwrap().as_slice(), ledger["metadata"]["labels"]["team"].as_str()),
        (&b"correct horse"[..], Some("payments"))
    );

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
    let left = laptop.run_plain(&["import", "shop/peak.yaml"]);
    left.refused(1, &["left out: SopsSecret peak of shop/peak.yaml: have sops open it: sops decrypt FILE | touchseal import -"]);
}
