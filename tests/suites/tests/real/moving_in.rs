//! The pages about moving in, followed with files and objects that the real tools made.

use std::fs;

use touchseal_rig::poll::eventually;
use touchseal_suites::DEADLINE;
use touchseal_suites::cli::PIN;
use touchseal_suites::world::value;
use touchseal_suites::{Laptop, Operator, Page, Reading, World, neighbours};

/// A cluster with an unsealed operator, and the laptop of a holder who has nothing in it yet.
pub fn unsealed() -> (World, Laptop, Operator, touchseal_softkey::SoftKey) {
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
