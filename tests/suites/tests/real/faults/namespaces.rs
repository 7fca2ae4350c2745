//! A namespace is deleted in the middle of work in it, and made again with what git has of it.

use touchseal_rig::poll::eventually;
use touchseal_suites::{DEADLINE, Ordeal};

use super::pause;

const OBJECTS: usize = 12;

#[test]
fn deleted_in_the_middle_of_work_it_leaves_nothing_and_comes_back_with_its_numbers() {
    let mut ordeal = Ordeal::new("namespace", 91, 1);
    let unseals = ordeal.unseals;
    let namespace = format!("{}-3", ordeal.world.apps);
    ordeal.world.cluster.namespace(&namespace).unwrap();
    ordeal.populate(&namespace, OBJECTS);
    let mine = |ordeal: &Ordeal| -> Vec<_> {
        ordeal.storm.names.iter().filter(|key| key.0 == namespace).cloned().collect()
    };
    let manifests: Vec<_> = mine(&ordeal).iter().map(|key| ordeal.storm.change(key)).collect();
    ordeal.storm.apply(&manifests);
    ordeal.settle();

    let others = ordeal.blow_outside(&namespace);
    let manifests: Vec<_> = mine(&ordeal).iter().map(|key| ordeal.storm.change(key)).collect();
    ordeal.storm.apply(&manifests);
    pause(&mut ordeal.drawn, 150);
    mine(&ordeal).iter().for_each(|key| ordeal.model().objects.get_mut(key).unwrap().there = false);
    ordeal.world.cluster.kubectl_stdout(&["delete", "namespace", &namespace, "--wait=false"]).unwrap();
    eventually(DEADLINE, "the end of the namespace", || {
        let look = ["get", "namespace", &namespace, "--ignore-not-found", "-o=name"];
        ordeal.world.cluster.kubectl_stdout(&look).is_ok_and(|left| left.is_empty())
    })
    .unwrap();
    others.stop();
    println!("right {:.1?} after its end", ordeal.settle());

    // As git has it: what was served keeps its number, what came too late may be new.
    ordeal.world.cluster.namespace(&namespace).unwrap();
    let manifests: Vec<_> = mine(&ordeal).iter().map(|key| ordeal.storm.same(key)).collect();
    ordeal.storm.apply(&manifests);
    ordeal.settle();
    assert_eq!(ordeal.unseals, unseals);
    let log = ordeal.operators[0].process.log();
    assert!(!log.contains("a bug in touchseal"), "{log}");
}
