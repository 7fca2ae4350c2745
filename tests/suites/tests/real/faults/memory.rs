//! The operator within a limit of memory that is near what it needs: the kernel kills it, or it lives. With enough again, it is a
//! restart like any other.

use touchseal_rig::cgroup::MemoryGroup;
use touchseal_suites::{Launch, Ordeal};

/// Limits in percent of the memory that it needed without one, apart from its program, from too little to enough.
const LIMITS: [u64; 3] = [40, 85, 200];
/// How often a container that ends is started again.
const STARTS: u32 = 2;

#[test]
fn killed_for_want_of_memory_it_goes_on_once_there_is_enough() {
    let Some(group) = MemoryGroup::new(1 << 30) else { return };
    let mut ordeal = Ordeal::with("out-of-memory", 71, 1, |_, _| {
        let flags = ["--log-level=info".to_owned()].to_vec();
        Launch { wrapper: group.wrapper(), flags, ..Launch::default() }
    });
    let need = ordeal.operators[0].memory_in_use("RssAnon");
    assert!(need > 1 << 20, "it needs {need} bytes?");
    let (mut killed, mut lived) = (0, 0);
    for percent in LIMITS {
        ordeal.operators[0].process.kill();
        group.limit(need * percent / 100).unwrap();
        let kills = group.kills();
        let storm = ordeal.blow();
        for _ in 0..STARTS {
            ordeal.operators[0].restart();
            if ordeal.operators[0].ready().is_ok() && works(&mut ordeal) {
                break;
            }
        }
        storm.stop();
        let kills = group.kills() - kills;
        let alive = ordeal.operators[0].process.exited().is_none();
        println!(
            "{percent}% of {} KiB: {kills} kills, {}",
            need / 1024,
            if alive { "lives" } else { "dead" }
        );
        killed += kills;
        lived += u32::from(alive);
    }
    ordeal.settle();
    assert!(
        killed >= 2 && lived >= 1,
        "{killed} kills, lived within {lived} limits: neither side was reached"
    );
}

/// Unsealed, it writes a few Secrets, or is killed over it.
fn works(ordeal: &mut Ordeal) -> bool {
    let began = std::time::Instant::now();
    while began.elapsed() < touchseal_suites::DEADLINE {
        if ordeal.operators[0].process.exited().is_some() {
            return false;
        }
        if ordeal.operators[0].metric("touchseal_secret_writes_total") >= 10 {
            return true;
        }
        ordeal.unseal_now();
    }
    panic!("it neither works nor ends");
}
