//! The clock of the operator's machine jumps, forwards and backwards, while it works and while it is sealed. The system's calls are
//! answered by libfaketime, as no process has a clock of its own that could be set; what shows how much time has passed (Linux'
//! monotonic clocks) goes on as it does when somebody sets a clock. TLS looks at the clock, too, so the way here is without it.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use touchseal_rig::cluster::StandInPod;
use touchseal_rig::faults::FaultyServer;
use touchseal_suites::{Launch, Ordeal, World};

const JUMPS: [&str; 5] = ["+1h", "-1h", "+40d", "-40d", "+0"];

/// Sets the clock.
fn set(clock: &Path, offset: &str) {
    // In one step, for it is read all the time.
    let new = clock.with_extension("new");
    fs::write(&new, offset).unwrap();
    fs::rename(&new, clock).unwrap();
}

/// An operator whose clock is what a file says.
fn launch(world: &World, pod: &StandInPod, servers: &mut Vec<FaultyServer>) -> (Launch, PathBuf) {
    let clock = world.cluster.dir().join(format!("{}.clock", pod.name));
    set(&clock, "+0");
    let server = FaultyServer::start(&world.kubeconfig_of(pod), world.cluster.dir(), &pod.name).unwrap();
    let kubeconfig = Some(server.kubeconfig().to_owned());
    servers.push(server);
    let library = ["x86_64", "aarch64"]
        .map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1"))
        .into_iter()
        .find(|library| Path::new(library).is_file());
    let library = library.expect("libfaketime is not there: make tools");
    let wrapper = [
        "env".to_owned(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    (Launch { kubeconfig, wrapper: wrapper.to_vec(), ..Launch::default() }, clock)
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
        set(&clocks[0], jump);
        assert!(clock_of(&ordeal).contains(&shown(jump)), "{jump}: the operator's clock shows {}", clock_of(&ordeal));
        ordeal.storm.stroke();
        ordeal.storm.change_all();
        ordeal.settle();
        assert_eq!(ordeal.unseals, unseals, "{jump}");
        dates_are_real(&ordeal, jump);
        // And for one that starts then, once.
        if number == 2 {
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
        set(&clocks[0], jump);
        if ordeal.operators.len() == 1 {
            ordeal.join(|_, _| Launch::default());
        } else {
            ordeal.operators[1].restart();
        }
        ordeal.settle();
        assert_eq!(ordeal.unseals, unseals, "{jump}: a person had to unseal the other replica");
    }
}

/// What the operator's newest log line is dated, by its own clock.
fn clock_of(ordeal: &Ordeal) -> String {
    let began = ordeal.operators[0].process.log().lines().count();
    touchseal_rig::poll::eventually(touchseal_suites::DEADLINE, "a line of the log", || {
        let log = ordeal.operators[0].process.log();
        let line = log.lines().nth(began + 2)?;
        let at = line.split_once("\"timestamp\":\"")?.1;
        Some(at.get(..13)?.to_owned())
    })
    .unwrap()
}

/// What a clock shows that is off by so much, up to the hour.
fn shown(jump: &str) -> String {
    let (sign, rest) = jump.split_at(1);
    let hours = match rest.strip_suffix('d') {
        Some(days) => days.parse::<i64>().unwrap() * 24,
        None => rest.trim_end_matches('h').parse().unwrap(),
    };
    let span = SignedDuration::from_hours(if sign == "-" { -hours } else { hours });
    Timestamp::now().checked_add(span).unwrap().to_string()[..13].to_owned()
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
