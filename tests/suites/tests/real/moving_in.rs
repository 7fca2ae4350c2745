//! The pages about moving in, followed with files and objects that the real tools made.

use std::fs;

use touchseal_suites::cli::PIN;
use touchseal_suites::world::value;
use touchseal_suites::{Laptop, Operator, Page, Reading, World};

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
    Reading::at(&laptop).follow(&Page::of("docs/moving-in.md"));
    assert_eq!(
        key.counters().private_key_operations,
        before + 1,
        "for the rule alone; importing takes no key"
    );
    let shop = world.secret("shop").unwrap();
    assert_eq!(value(&shop, "DB_PASSWORD").unwrap(), b"correct horse");
    let mail = world.secret("mail").unwrap();
    assert_eq!(value(&mail, "password").unwrap(), b"correct horse");
    assert!(mail["metadata"]["ownerReferences"].is_null());
}
