//! Watches that end in the middle of what they tell, and watches that cannot go on from where they were: what happened meanwhile is
//! found by a list.

use serde_json::Value;
use touchseal_rig::faults::FaultyServer;
use touchseal_rig::line::Line;
use touchseal_suites::{Launch, Ordeal, World};

use super::pause;

const CUTS: u32 = 5;

#[test]
fn cut_during_a_storm_they_cost_nothing() {
    let mut server = None;
    let mut ordeal = Ordeal::with("watch-cut", 41, 1, |world, pod| {
        let proxy = FaultyServer::start(&world.kubeconfig_of(pod), world.cluster.dir(), "watch-cut").unwrap();
        let kubeconfig = Some(proxy.kubeconfig().to_owned());
        server = Some(proxy);
        Launch { kubeconfig, ..Launch::default() }
    });
    let (server, unseals) = (server.unwrap(), ordeal.unseals);
    let storm = ordeal.blow();
    for _ in 0..CUTS {
        pause(&mut ordeal.drawn, 500);
        server.cut_watches();
    }
    storm.stop();
    println!("{} watches cut; right {:.1?} after the storm", server.watches_cut(), ordeal.settle());
    assert!(server.watches_cut() >= u64::from(CUTS) * 2, "{} watches were cut", server.watches_cut());
    assert_eq!(ordeal.unseals, unseals);
    // Nothing of what is told from here on is missed either.
    ordeal.storm.change_all();
    ordeal.settle();
}

/// While the operator's line is cut, everything changes, etcd forgets the versions in between, and the API server starts again
/// with nothing kept. Its watches then ask for what is gone: 410.
#[test]
fn of_versions_that_etcd_has_compacted_away_they_begin_again() {
    let mut line = None;
    let mut ordeal = Ordeal::with("compaction", 42, 1, |world, pod| {
        let cut = Line::start(&world.kubeconfig_of(pod), world.cluster.dir(), "compaction").unwrap();
        let kubeconfig = Some(cut.kubeconfig().to_owned());
        line = Some(cut);
        // The same term before and after, or a new leader would list everything anyway.
        let flags = ["--lease-duration=60s", "--renew-deadline=40s"].map(str::to_owned).to_vec();
        Launch { kubeconfig, flags, ..Launch::default() }
    });
    let (line, unseals) = (line.unwrap(), ordeal.unseals);
    let kind = "/apis/touchseal.dev/v1alpha1/encryptedsecrets";
    let version = {
        let list =
            ordeal.world.cluster.kubectl_stdout(&["get", "--raw", &format!("{kind}?limit=1")]).unwrap();
        serde_json::from_str::<Value>(&list).unwrap()["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // Of these only the Secrets change, by hand: nothing else would have them looked at.
    let mut storm = ordeal.storm.clone();
    let by_hand: Vec<_> = storm.names.drain(..3).collect();
    line.cut();
    storm.strokes(4);
    storm.change_all();
    ordeal.world.cluster.kill_apiserver();
    ordeal.world.cluster.compact().unwrap();
    ordeal.world.cluster.restart_apiserver().unwrap();
    // What a watch from there is answered; the operator's are older still.
    let watch = format!("{kind}?watch=true&timeoutSeconds=5&resourceVersion={version}");
    let told = ordeal.world.cluster.kubectl(&["get", "--raw", &watch]).unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.contains("too old resource version") || told.contains("410"), "{told}");
    // The line holds back what it was told before; of this nothing was told.
    storm.change_all();
    by_hand.iter().enumerate().for_each(|(number, key)| storm.touch(key, number == 0));
    let lists = lists(&ordeal.world);

    line.mend();
    println!("right {:.1?} after the line was mended", ordeal.settle());
    let again = lists_since(&ordeal.world, lists);
    assert!(
        again.iter().any(|uri| uri.contains("/encryptedsecrets")),
        "no list of EncryptedSecrets: {again:?}"
    );
    assert!(again.iter().any(|uri| uri.contains("/secrets")), "no list of Secrets: {again:?}");
    let terms = ordeal.operators[0].process.log().matches("this replica leads").count();
    assert_eq!((terms, ordeal.unseals), (1, unseals), "it was a new leader that listed");
}

/// URIs of the lists that the operator asked for, or that its watches began with.
fn lists(world: &World) -> usize {
    listed(world).len()
}

fn lists_since(world: &World, before: usize) -> Vec<String> {
    listed(world).split_off(before)
}

fn listed(world: &World) -> Vec<String> {
    let events = world.audited().into_iter();
    let asked = events
        .map(|event| (event["verb"] == "list", event["requestURI"].as_str().unwrap_or_default().to_owned()));
    asked.filter(|(list, uri)| *list || uri.contains("sendInitialEvents=true")).map(|(_, uri)| uri).collect()
}
