//! The operator is killed (kill -9) while it starts, while it waits to be unsealed and in the middle of its work, again and again,
//! and people go on changing things. `TOUCHSEAL_KILLS` says how often.

use std::time::{Duration, Instant};

use touchseal_rig::poll::eventually;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::{DEADLINE, Ordeal};

use super::pause;

/// Kills in `make test`.
const KILLS: u32 = 10;
/// Kills between two looks at everything.
const ROUND: u32 = 10;

#[test]
fn killed_at_random_during_a_storm_it_comes_back_to_the_right_secrets() {
    let kills = std::env::var("TOUCHSEAL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let began = Instant::now();
    let mut ordeal = Ordeal::new("kills", 21, 1);
    let (mut at_work, mut changes, mut settling, mut killed) = (0, 0, Duration::ZERO, 0);
    while killed < kills {
        let storm = ordeal.blow();
        for _ in 0..ROUND.min(kills - killed) {
            if ordeal.drawn.percent(25) {
                pause(&mut ordeal.drawn, 700);
            } else {
                at_work += 1;
                into_its_work(&mut ordeal);
            }
            ordeal.operators[0].restart();
            killed += 1;
        }
        changes += storm.stop();
        settling = settling.max(ordeal.settle());
    }
    println!(
        "{killed} kills, {at_work} of them at work; {changes} changes by people, {} states of Secrets seen, {} unseals, right within {settling:.1?}; {:.0?} in all",
        ordeal.witness.seen(),
        ordeal.unseals,
        began.elapsed(),
    );
    assert!(
        at_work * 2 >= kills,
        "{at_work} of {kills} kills came while it worked: too few to mean anything"
    );
    assert!(ordeal.witness.seen() > u64::from(kills), "hardly anything was written");
}

/// Unsealed, and some writes further: how many is drawn. There is always more to write, for what people changed while it was
/// sealed waits, and they go on.
fn into_its_work(ordeal: &mut Ordeal) {
    ordeal.operators[0].wait_until_ready();
    // A release can come too late for the process that asked; then the next one asks again.
    eventually(DEADLINE, "the operator to be unsealed", || {
        let unsealed = ordeal.operators[0].is_unsealed(KEYRING);
        if !unsealed {
            ordeal.unseal_now();
        }
        unsealed
    })
    .unwrap();
    let writes = 1 + u64::from(ordeal.drawn.below(12));
    let operator = &ordeal.operators[0];
    eventually(DEADLINE, &format!("{writes} writes of Secrets"), || {
        let done = operator.metric("touchseal_secret_writes_total");
        if done >= writes { Ok(()) } else { Err(format!("{done}")) }
    })
    .unwrap();
    pause(&mut ordeal.drawn, 30);
}
