//! An API server that answers slowly, refuses some requests and loses others, at random and all at once: what is refused is asked
//! again, not before it may be, and nothing is done twice.

use std::time::Duration;

use touchseal_rig::faults::{Fault, FaultyServer, Weather};
use touchseal_suites::{Launch, Ordeal};

const STROKES: u32 = 4;

struct Scene {
    // Before its API server.
    ordeal: Ordeal,
    server: FaultyServer,
}

impl Scene {
    fn new(test: &str, seed: u64) -> Scene {
        let mut server = None;
        let ordeal = Ordeal::with(test, seed, 1, |world, pod| {
            let proxy = FaultyServer::start(&world.kubeconfig_of(pod), world.cluster.dir(), test).unwrap();
            let kubeconfig = Some(proxy.kubeconfig().to_owned());
            server = Some(proxy);
            // Renewals of the Lease are refused, too; that a leader then stops is shown elsewhere.
            let flags = ["--lease-duration=60s", "--renew-deadline=40s"].map(str::to_owned).to_vec();
            Launch { kubeconfig, flags, ..Launch::default() }
        });
        Scene { ordeal, server: server.unwrap() }
    }

    fn weather(&mut self, one_in: u32, faults: &[Fault], late: Duration) {
        let seed = self.ordeal.drawn.seed();
        self.server.weather(Some(Weather { seed, one_in, faults: faults.to_vec(), late }));
    }

    fn strokes(&mut self) {
        self.ordeal.storm.strokes(STROKES);
        self.ordeal.storm.change_all();
    }
}

#[test]
fn slow_ones_only_take_longer() {
    let mut scene = Scene::new("slow", 51);
    let unseals = scene.ordeal.unseals;
    scene.weather(0, &[], Duration::from_millis(400));
    scene.strokes();
    let took = scene.ordeal.settle();
    let seen = scene.server.weather(None);
    println!("{} requests, each up to 400 ms late; right {took:.1?} after the storm", seen.requests);
    assert!(seen.requests > 40, "{} requests: too few to mean anything", seen.requests);
    assert_eq!(scene.ordeal.unseals, unseals);
}

#[test]
fn refused_and_lost_ones_are_repeated_when_they_may_be() {
    let mut scene = Scene::new("refused", 52);
    let unseals = scene.ordeal.unseals;
    let faults =
        [Fault::Status(409), Fault::Status(429), Fault::Status(500), Fault::DropBefore, Fault::DropAfter];
    scene.weather(4, &faults, Duration::ZERO);
    scene.strokes();
    // Right while it goes on.
    let took = scene.ordeal.settle();
    let seen = scene.server.weather(None);
    println!("{} requests, of these {:?}; right {took:.1?} after the storm", seen.requests, seen.faults);
    for fault in faults {
        let met = seen.faults.get(&format!("{fault:?}")).copied().unwrap_or_default();
        assert!(met >= 3, "{met} times {fault:?}: too few to mean anything");
    }
    assert!(seen.hasty.is_empty(), "asked again before Retry-After was over: {:?}", seen.hasty);
    assert_eq!(scene.ordeal.unseals, unseals);
}
