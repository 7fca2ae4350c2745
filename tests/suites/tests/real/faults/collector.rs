//! EncryptedSecrets that are deleted and made again while the garbage collector is at the Secrets of those before: at once, late, or
//! all at the same time. The real controller manager collects.

use touchseal_suites::Ordeal;
use touchseal_suites::ordeal::model::Key;

use super::pause;

const ROUNDS: u32 = 3;

#[test]
fn races_with_the_garbage_collector_lose_no_secret() {
    let mut ordeal = Ordeal::new("collector", 95, 1);
    let unseals = ordeal.unseals;
    let names = ordeal.storm.names.clone();
    let (here, _): (Vec<Key>, Vec<Key>) = names.into_iter().partition(|key| key.0 == ordeal.world.apps);
    for round in 0..ROUNDS {
        // It sleeps in every other round, and then finds a mixture of old and new owners.
        let late = round % 2 == 1;
        ordeal.world.cluster.stall_controller_manager(late).unwrap();
        for _ in 0..2 {
            ordeal.storm.delete(&here);
            pause(&mut ordeal.drawn, 120);
            let again: Vec<_> =
                here.iter()
                    .map(|key| {
                        if ordeal.drawn.percent(50) {
                            ordeal.storm.same(key)
                        } else {
                            ordeal.storm.change(key)
                        }
                    })
                    .collect();
            ordeal.storm.apply(&again);
            pause(&mut ordeal.drawn, 120);
        }
        if late {
            // The Secrets are right before it wakes up, and after.
            ordeal.settle();
        }
        ordeal.world.cluster.stall_controller_manager(false).unwrap();
        ordeal.settle();
    }
    // What it had begun to collect is done by now, or never: another look after work of its own.
    ordeal.storm.delete(&here[..1]);
    ordeal.settle();
    assert_eq!(ordeal.unseals, unseals);
}
