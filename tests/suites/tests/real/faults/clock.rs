//! The clock of the operator's machine jumps, forwards and backwards, while it works and while it is sealed. TLS looks at the clock,
//! too, so the way to the API server is without it here.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use touchseal_rig::cluster::StandInPod;
use touchseal_rig::faults::FaultyServer;
use touchseal_suites::ordeal::Clock;
use touchseal_suites::{Launch, Ordeal, World};

const JUMPS: [&str; 3] = ["-1h", "+40d", "-40d"];

/// An operator whose clock can be set.
fn launch(world: &World, pod: &StandInPod, servers: &mut Vec<FaultyServer>) -> (Launch, Clock) {
    let clock = Clock::new(world.cluster.dir(), &pod.name);
    let server = FaultyServer::start(&world.kubeconfig_of(pod), world.cluster.dir(), &pod.name).unwrap();
    let kubeconfig = Some(server.kubeconfig().to_owned());
    servers.push(server);
    (Launch { kubeconfig, wrapper: clock.wrapper(), ..Launch::default() }, clock)
}

#[test]
fn jumps_change_neither_secrets_nor_numbers_nor_dates() {
    let (mut servers, mut clocks) = (Vec::new(), Vec::new());
    let mut ordeal = Ordeal::with("clock", 61, 1, |world, pod| {
        let (launch, clock) = launch(world, pod, &mut servers);
        clocks.push(clock);
        launch
    });
    for (number, jump) in JUMPS.iter().enumerate() {
        let unseals = ordeal.unseals;
        clocks[0].set(jump);
        ordeal.storm.stroke();
        ordeal.storm.change_all();
        ordeal.settle();
        let off = clock_of(&ordeal).duration_since(Timestamp::now().checked_add(span(jump)).unwrap());
        assert!(
            off.abs() < SignedDuration::from_mins(5),
            "{jump}: the operator's clock is off by {off:#} more"
        );
        assert_eq!(ordeal.unseals, unseals, "{jump}");
        dates_are_real(&ordeal, jump);
        // And for one that starts then.
        if number == 1 {
            ordeal.operators[0].restart();
            ordeal.storm.change_all();
            ordeal.settle();
            assert_eq!(ordeal.unseals, unseals + 1, "{jump}");
            dates_are_real(&ordeal, jump);
        }
    }
}

/// Whoever is unsealed hands the keyring over whatever its clock says.
#[test]
fn jumps_do_not_keep_a_replica_from_handing_over() {
    let (mut servers, mut clocks) = (Vec::new(), Vec::new());
    let mut ordeal = Ordeal::with("clock-hand-over", 62, 1, |world, pod| {
        let (launch, clock) = launch(world, pod, &mut servers);
        clocks.push(clock);
        launch
    });
    let unseals = ordeal.unseals;
    for jump in ["-1h", "+1h"] {
        clocks[0].set(jump);
        if ordeal.operators.len() == 1 {
            ordeal.join(|_, _| Launch::default());
        } else {
            ordeal.operators[1].restart();
        }
        ordeal.settle();
        assert_eq!(ordeal.unseals, unseals, "{jump}: a person had to unseal the other replica");
    }
}

/// When the operator wrote its newest line, by its own clock.
fn clock_of(ordeal: &Ordeal) -> Timestamp {
    let log = ordeal.operators[0].process.log();
    let dates = log.lines().rev().filter_map(|line| line.split_once("\"timestamp\":\"")?.1.split('"').next());
    dates.filter_map(|date| date.parse().ok()).next().unwrap()
}

/// By how much a jump sets a clock off.
fn span(jump: &str) -> SignedDuration {
    let (sign, rest) = jump.split_at(1);
    let hours = match rest.strip_suffix('d') {
        Some(days) => days.parse::<i64>().unwrap() * 24,
        None => rest.trim_end_matches('h').parse().unwrap(),
    };
    SignedDuration::from_hours(if sign == "-" { -hours } else { hours })
}

/// Every date in every status is the API server's: none lies ahead, and the newest are of just now.
fn dates_are_real(ordeal: &Ordeal, jump: &str) {
    let namespace = &ordeal.world.apps;
    let list = ordeal.world.cluster.get(&["encryptedsecrets", "-n", namespace]).unwrap();
    let text = list["items"].as_array().unwrap().iter().map(|o| o["status"].to_string()).collect::<String>();
    let now = Timestamp::now();
    let mut dates = 0;
    for key in ["\"since\":\"", "\"lastTransitionTime\":\""] {
        for rest in text.split(key).skip(1) {
            let date: Timestamp = rest.split('"').next().unwrap().parse().unwrap();
            let age = now.duration_since(date);
            assert!(age > SignedDuration::from_secs(-5), "{jump}: {date} is ahead of {now}");
            assert!(age < SignedDuration::from_mins(30), "{jump}: {date} is long before {now}");
            dates += 1;
        }
    }
    assert!(dates > 10, "{dates} dates");
}
