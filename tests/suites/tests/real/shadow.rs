//! A Keyring under another name: its manifest is signed, its name is not.

use touchseal_keyring::manifest;
use touchseal_rig::poll::eventually;
use touchseal_suites::world::condition;
use touchseal_suites::{DEADLINE, SoftHolder, World};

/// A git writer applies a revision from before the removal of a holder, under a name that nothing is pinned for.
#[test]
fn an_older_revision_under_another_name_meets_the_pin_of_its_line() {
    let mut world = World::new("shadow");
    let (alice, bob) = (SoftHolder::generate("alice", 1), SoftHolder::generate("bob", 2));
    let (first, open) = alice.create_keyring();
    let with_bob =
        manifest::add_holder(&manifest::verify(&first).unwrap(), &open, bob.entry.clone()).unwrap();
    let without_bob =
        manifest::remove_holder(&manifest::verify(&with_bob).unwrap(), &alice.open(&with_bob), "bob")
            .unwrap();
    world.apply_keyring("prod", &without_bob);
    let _operator = world.operator();
    world.unseal("prod", &alice.open(&without_bob), 1);

    world.apply_keyring("aaa", &with_bob);
    eventually(DEADLINE, "the copy to be refused", || {
        let object = world.cluster.get(&["keyring", "aaa"]).unwrap();
        let tampered = condition(&object, "Tampered");
        if tampered["reason"] == "ManifestRolledBack" { Ok(()) } else { Err(object["status"].to_string()) }
    })
    .unwrap();
    assert!(
        world.cluster.get(&["unsealrequests", "-n", &world.system]).unwrap()["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    world.wait_for_replicas("prod", 1);
}
