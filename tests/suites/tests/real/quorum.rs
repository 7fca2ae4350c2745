//! A keyring that it takes two of three holders to open: each releases a share from a laptop of their own, in any order;
//! or two YubiKeys open it at one laptop. Software YubiKeys are test equipment.

use std::fs;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_softkey::SoftKey;
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::world::condition;
use touchseal_suites::{DEADLINE, Laptop, Operator, World};

const FILE: &str = "prod.keyring.yaml";
const ALICE: u32 = 4_711;
const BOB: u32 = 815;
const CAROL: u32 = 99;

/// Three YubiKeys, and the laptop at which their keyring was made.
struct Trio {
    desk: Laptop,
    alice: SoftKey,
    bob: SoftKey,
    carol: SoftKey,
}

impl Trio {
    /// Two fit into the reader; the third is plugged in when it is asked for. Bob stays in it.
    fn new(kubeconfig: &std::path::Path) -> Trio {
        let desk = Laptop::new(kubeconfig);
        let (alice, bob) = (desk.key(0, ALICE), desk.key(1, BOB));
        let serial = ALICE.to_string();
        let create = ["keyring", "create", "prod", "--holder", "alice", "--serial", &serial];
        let others = ["--and-holder", "bob", "--and-holder", "carol", "--quorum", "2"];
        let child = desk.start(&[&create[..], &others].concat(), PIN);
        eventually(DEADLINE, "bob's key to be made", || bob.public_key(0x82)).unwrap();
        desk.reader.pull(0).unwrap();
        let carol = desk.key(0, CAROL);
        Said::from(child.wait_with_output().unwrap()).ok();
        Trio { desk, alice, bob, carol }
    }

    /// Two in the reader.
    fn plug(&self, left: &SoftKey, right: Option<&SoftKey>) {
        for slot in [0, 1] {
            // An empty slot is as good as one that has just been emptied.
            let _ = self.desk.reader.pull(slot);
        }
        self.desk.reader.insert(0, left).unwrap();
        if let Some(right) = right {
            self.desk.reader.insert(1, right).unwrap();
        }
    }

    fn run(&self, arguments: &str) -> Said {
        self.desk.run(&arguments.split(' ').collect::<Vec<_>>(), PIN)
    }
}

fn operations(keys: &[&SoftKey]) -> Vec<u64> {
    keys.iter().map(|key| key.counters().private_key_operations).collect()
}

/// `touchseal unseal` at a laptop of one's own.
fn unseal(world: &World, laptop: &Laptop) -> Said {
    laptop.run(&["unseal", "--yes", "--timeout", "60s", "--operator-namespace", &world.system], PIN)
}

fn laptop(world: &World, key: &SoftKey) -> Laptop {
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    laptop.reader.insert(0, key).unwrap();
    laptop
}

/// Waits for an Event on the keyring.
fn event(world: &World, reason: &str, words: &str) {
    eventually(DEADLINE, &format!("an Event {reason} with {words:?}"), || {
        let events = world.cluster.get(&["events", "--all-namespaces"]).unwrap();
        let items = events["items"].as_array().unwrap().clone();
        let said: Vec<_> =
            items.iter().filter(|e| e["reason"] == reason).map(|e| e["message"].to_string()).collect();
        if said.iter().any(|said| said.contains(words)) { Ok(()) } else { Err(said.join("\n")) }
    })
    .unwrap();
}

/// Waits until every request says that exactly these YubiKeys have released.
fn released(world: &World, serials: &[u32]) -> Vec<Value> {
    eventually(DEADLINE, &format!("{serials:?} to have released"), || {
        let list = world.cluster.get(&["unsealrequests", "-n", &world.system]).unwrap();
        let requests = list["items"].as_array().unwrap().clone();
        let right = requests.iter().all(|request| {
            let released = request["status"]["released"].as_array().cloned().unwrap_or_default();
            released.iter().map(|of| of["serial"].as_u64().unwrap() as u32).collect::<Vec<_>>() == serials
        });
        if right && !requests.is_empty() { Ok(requests) } else { Err(list.to_string()) }
    })
    .unwrap()
}

fn unsealed_message(world: &World) -> String {
    condition(&world.cluster.get(&["keyring", "prod"]).unwrap(), "Unsealed")["message"].to_string()
}

#[test]
fn two_of_three_unseal_every_replica_from_their_own_laptops() {
    let mut world = World::new("quorum");
    let trio = Trio::new(&world.cluster.admin_kubeconfig());
    let spec = trio.desk.manifest("prod");
    assert_eq!((spec.quorum, spec.generations[0].shares.len()), (Some(2), 3));
    assert!(spec.generations[0].wrapped.is_none(), "the master was never wrapped whole");
    world.apply_keyring("prod", &spec);
    let _operators = [world.operator(), world.operator()];
    world.requests(2);
    let (at_carol, at_alice, at_bob) =
        (laptop(&world, &trio.carol), laptop(&world, &trio.alice), laptop(&world, &trio.bob));
    let all = [&trio.alice, &trio.bob, &trio.carol];
    let before = operations(&all);

    // Carol is first; she counts once, however often she comes, and is not asked to touch again.
    let said = unseal(&world, &at_carol).ok();
    let words = "1 of 2 needed holders released (carol); needs 1 more";
    assert_eq!(
        (said.out.matches("Counted").count(), said.out.matches(words).count()),
        (2, 2),
        "{}",
        said.out
    );
    let said = unseal(&world, &at_carol).ok();
    assert_eq!(said.out.matches("Counted").count(), 2, "{}", said.out);
    assert_eq!(operations(&all), [before[0], before[1], before[2] + 1]);
    let requests = released(&world, &[CAROL]);
    eventually(DEADLINE, "the keyring to say who is missing", || {
        let said = unsealed_message(&world);
        let words = "1 of 2 needed holders released (carol (YubiKey 99)); needs 1 more";
        if said.contains(words) { Ok(()) } else { Err(said) }
    })
    .unwrap();
    let said = at_alice.run_plain(&["status", "--operator-namespace", &world.system]).ok();
    assert!(said.out.contains(words), "{}", said.out);
    event(&world, "ShareReleased", "1 of 2 needed holders released (carol (YubiKey 99))");

    // Somebody who may write requests gives a wrong share in Bob's name: it is named, and taken out; Carol's stays.
    for request in &requests {
        let wrong = json!({
            "nonce": request["status"]["nonce"], "revision": 1, "holder": "bob", "serial": BOB,
            "encapsulatedKey": request["status"]["sessionKey"], "ciphertext": "A".repeat(64),
        });
        let mut shares = request["spec"]["shares"].as_array().unwrap().clone();
        shares.push(wrong);
        let name = request["metadata"]["name"].as_str().unwrap();
        let patch = json!({ "spec": { "shares": shares } }).to_string();
        let merge = ["patch", "unsealrequest", name, "-n", &world.system, "--type=merge", "-p", &patch];
        world.cluster.kubectl_stdout(&merge).unwrap();
    }
    for request in &requests {
        let name = request["metadata"]["name"].as_str().unwrap();
        eventually(DEADLINE, "Bob's wrong share to be refused", || {
            let request = world.cluster.get(&["unsealrequest", name, "-n", &world.system]).unwrap();
            let refused = condition(&request, "ReleaseRefused")["message"].to_string();
            let left = request["spec"]["shares"]
                .as_array()
                .map(|shares| shares.iter().map(|s| s["serial"].clone()).collect());
            let right = refused.contains("share of bob (YubiKey 815)") && left == Some(vec![json!(CAROL)]);
            if right { Ok(()) } else { Err(request.to_string()) }
        })
        .unwrap();
    }
    event(&world, "ReleaseInvalid", "share of bob (YubiKey 815): release does not open");
    released(&world, &[CAROL]);
    world.wait_for_replicas("prod", 0);

    // Alice completes it at both, with one operation.
    let said = unseal(&world, &at_alice).ok();
    assert_eq!(said.out.matches("Unsealed").count(), 2, "{}", said.out);
    world.wait_for_replicas("prod", 2);
    assert_eq!(operations(&all), [before[0] + 1, before[1], before[2] + 1]);
    let status = world.cluster.get(&["keyring", "prod"]).unwrap()["status"].clone();
    let newest = &status["lastUnseal"];
    assert_eq!((&newest["holder"], &newest["serial"]), (&json!("alice"), &json!(ALICE)), "{status}");
    assert_eq!(newest["with"], json!([{ "holder": "carol", "serial": CAROL }]), "{status}");
    event(&world, "Unsealed", "was unsealed by alice (YubiKey 4711) with carol (YubiKey 99)");
    let listed = at_alice.run_plain(&["keyring", "holders", "prod"]).ok();
    let used = |name: &str| listed.out.lines().any(|line| line.starts_with(name) && line.ends_with("ago"));
    assert_eq!(["alice", "bob", "carol"].map(used), [true, false, true], "{}", listed.out);
    let said = unseal(&world, &at_bob).ok();
    assert!(said.err.contains("nothing waits"), "{}", said.err);

    // What is served opens, and after a seal it takes two again.
    let document = world.sops.encrypt("app.yaml", "password: x\n", &world.recipient(&world.apps, "prod"));
    world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    world.wait_for("app", "True", "Materialised");
    world.seal("prod", "evening");
    world.requests(2);
    released(&world, &[]);
    assert_eq!(unseal(&world, &at_bob).ok().out.matches("Counted").count(), 2);
    assert_eq!(unseal(&world, &at_carol).ok().out.matches("Unsealed").count(), 2);
    world.wait_for_replicas("prod", 2);
}

#[test]
fn a_restart_a_seal_and_an_edit_in_the_middle_lose_what_was_released_and_say_so() {
    let mut world = World::new("quorum-middle");
    let trio = Trio::new(&world.cluster.admin_kubeconfig());
    world.apply_keyring("prod", &trio.desk.manifest("prod"));
    let operator = world.operator();
    world.requests(1);
    let (at_alice, at_bob) = (laptop(&world, &trio.alice), laptop(&world, &trio.bob));
    unseal(&world, &at_alice).ok();
    released(&world, &[ALICE]);

    // The container is restarted in its pod: shares are in memory only.
    let Operator { mut process, pod, .. } = operator;
    process.kill();
    let _operator = Operator::start_as(&world.cluster, &world.system, pod);
    event(&world, "SharesDropped", "released by YubiKey 4711 is void");
    released(&world, &[]);
    let said = unseal(&world, &at_bob).ok();
    assert!(said.out.contains("1 of 2 needed holders released (bob)"), "{}", said.out);

    // A seal in the middle.
    let before = released(&world, &[BOB]);
    let seal = ["annotate", "--overwrite", "keyring", "prod", "touchseal.dev/seal-requested=lunch"];
    world.cluster.kubectl_stdout(&seal).unwrap();
    event(&world, "SharesDropped", "released by bob (YubiKey 815) is void");
    eventually(DEADLINE, "another session to ask", || {
        let asking = released(&world, &[]);
        (asking[0]["status"]["nonce"] != before[0]["status"]["nonce"]).then_some(())
    })
    .unwrap();
    let said = unseal(&world, &at_alice).ok();
    assert!(said.out.contains("1 of 2 needed holders released (alice)"), "{}", said.out);

    // An edit in the middle: every revision is shared anew.
    trio.plug(&trio.bob, Some(&trio.carol));
    trio.run(&format!("keyring remove-holder alice -f {FILE}")).ok();
    world.apply_keyring("prod", &trio.desk.manifest("prod"));
    event(&world, "SharesDropped", "released by alice (YubiKey 4711) is void");
    unseal(&world, &at_alice).refused(1, &["815"]);
    unseal(&world, &at_bob).ok();
    let said = unseal(&world, &laptop(&world, &trio.carol)).ok();
    assert!(said.out.contains("Unsealed"), "{}", said.out);
    world.wait_for_replicas("prod", 1);
}

#[test]
fn two_yubikeys_open_it_at_one_laptop_together_or_in_turn() {
    let trio = Trio::new(std::path::Path::new("/nonexistent/kubeconfig"));
    let all = [&trio.alice, &trio.bob, &trio.carol];
    let start = operations(&all);

    // Together: one operation each, and no third.
    trio.plug(&trio.bob, Some(&trio.alice));
    let said = trio.run(&format!("recipients -f {FILE} --for shop")).ok();
    assert!(said.err.contains("1 of 2") && said.err.contains("2 of 2"), "{}", said.err);
    assert_eq!(operations(&all), [start[0] + 1, start[1] + 1, start[2]]);
    let recipient = said.out.split_whitespace().find(|word| word.starts_with("age1")).unwrap().to_owned();
    let shop = trio.desk.home.path().join("shop");
    fs::create_dir(&shop).unwrap();
    let text = touchseal_suites::Sops::new().encrypt("app.yaml", "password: hunter2\n", &recipient);
    fs::write(shop.join("app.yaml"), text).unwrap();

    // In turn: it asks for the next one, and says whose.
    trio.plug(&trio.carol, None);
    let child = trio.desk.start(&["decrypt", "shop/app.yaml"], PIN);
    eventually(DEADLINE, "carol's part", || (operations(&all)[2] == start[2] + 1).then_some(())).unwrap();
    trio.plug(&trio.alice, None);
    let said = Said::from(child.wait_with_output().unwrap()).ok();
    assert!(said.out.contains("password: hunter2"), "{}", said.out);
    let asks = "1 more needed: now plug in the YubiKey of one of alice (4711), bob (815)";
    assert!(said.err.contains(asks), "{}", said.err);

    // Edits keep the quorum; who would make it impossible to meet is refused before anybody touches.
    trio.plug(&trio.alice, Some(&trio.bob));
    trio.run(&format!("keyring rotate -f {FILE}")).ok();
    let spec = trio.desk.manifest("prod");
    assert_eq!((spec.quorum, spec.generations[1].shares.len()), (Some(2), 3));
    let said = trio.run(&format!("keyring remove-holder carol -f {FILE}")).ok();
    assert!(said.err.contains("all 2 YubiKeys are needed"), "{}", said.err);
    let before = operations(&all);
    trio.run(&format!("keyring remove-holder bob -f {FILE}"))
        .refused(3, &["takes 2 holders", "keyring quorum"]);
    trio.run(&format!("keyring quorum 3 -f {FILE}")).refused(1, &["2 holders", "enrol"]);
    assert_eq!(operations(&all), before);

    // Down to one, which any of them opens alone, and up again with a generation that nobody ever had alone.
    trio.run(&format!("keyring quorum 1 -f {FILE}")).ok();
    trio.plug(&trio.bob, None);
    let said = trio.run("decrypt shop/app.yaml").ok();
    assert!(said.out.contains("password: hunter2"), "{}", said.out);
    let said = trio.run(&format!("keyring quorum 2 -f {FILE}")).ok();
    assert!(
        said.out.contains("+quorum 2 of 2") && said.err.contains("un-knows nothing"),
        "{}{}",
        said.out,
        said.err
    );
    trio.plug(&trio.bob, Some(&trio.alice));
    trio.run(&format!("keyring quorum 1 -f {FILE}")).ok();
    let said = trio.run(&format!("keyring quorum 2 --rotate -f {FILE} --serial {ALICE}")).ok();
    assert!(said.err.contains("keyring retire 2"), "{}", said.err);
    let spec = trio.desk.manifest("prod");
    assert_eq!((spec.quorum, spec.generations.len()), (Some(2), 3));
    let said = trio.run("decrypt shop/app.yaml").ok();
    assert!(said.out.contains("password: hunter2"), "{}", said.out);
}
