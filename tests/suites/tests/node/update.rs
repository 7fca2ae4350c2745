//! An update of the operator: new pods are handed the keyring by old ones, so nobody with a YubiKey is asked for.

use std::collections::BTreeSet;

use touchseal_suites::image;

use crate::app::{App, Use};
use crate::world::{KEYRING, NEXT, on_the_node};

#[test]
#[ignore = "run by on_a_real_node"]
fn an_update_of_the_operator_needs_no_holder() {
    let namespace = "update";
    on_the_node(namespace, |world| {
        world.apply_password(namespace, "first");
        let files = App::deploy(world, namespace, Use::Files);
        files.wait_for("first");
        let (before, operations) = (files.run(), world.operations());
        let last_unseal = world.cluster.get(&["keyring", KEYRING]).unwrap()["status"]["lastUnseal"].clone();

        let answers = files.meanwhile(|| {
            for (tag, password) in [(NEXT, "second"), (image::TAG, "third")] {
                let old: Vec<_> =
                    world.operators().iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
                world.helm(&["upgrade", "--reset-then-reuse-values", "--set", &format!("image.tag={tag}")]);
                world.wait_for_replicas(2);
                let new = world.operators();
                assert_eq!(new.len(), 2);
                let image = format!("{}:{tag}", image::REPOSITORY);
                for pod in &new {
                    assert!(!old.contains(&pod["metadata"]["uid"]), "an old one is left");
                    assert_eq!(pod["spec"]["containers"][0]["image"], image.as_str());
                }
                world.apply_password(namespace, password);
                files.wait_for(password);
            }
        });
        assert_eq!(answers, BTreeSet::from(["first", "second", "third"].map(str::to_owned)));
        assert_eq!(world.operations(), operations, "a YubiKey was asked");
        let keyring = world.cluster.get(&["keyring", KEYRING]).unwrap();
        assert_eq!(keyring["status"]["lastUnseal"], last_unseal, "a holder was asked");
        assert_eq!(files.run(), before, "the application was restarted");
    });
}
