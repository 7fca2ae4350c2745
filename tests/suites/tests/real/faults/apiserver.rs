//! The API server is killed (kill -9) in the middle of everybody's work and comes back after a while. The operator keeps its keys.

use touchseal_suites::Ordeal;

use super::pause;

#[test]
fn killed_and_restarted_during_a_storm_it_costs_no_unseal() {
    let mut ordeal = Ordeal::new("apiserver", 31, 1);
    let (process, unseals) = (ordeal.operators[0].process.pid(), ordeal.unseals);
    let storm = ordeal.blow();
    pause(&mut ordeal.drawn, 2_500);
    ordeal.world.cluster.kill_apiserver();
    pause(&mut ordeal.drawn, 1_500);
    ordeal.world.cluster.restart_apiserver().unwrap();
    pause(&mut ordeal.drawn, 1_000);
    let changes = storm.stop();
    println!("right {:.1?} after the storm of {changes} changes", ordeal.settle());
    assert!(changes > 5, "{changes} changes: too few to mean anything");
    assert_eq!((ordeal.operators[0].process.pid(), ordeal.unseals), (process, unseals));
    assert!(ordeal.operators[0].process.exited().is_none(), "the operator ended");
}
