//! The unseal ceremony at the command line, on real pcscd and a software YubiKey (test equipment): what goes right, and
//! everything that can go wrong. Whatever goes wrong has its own words and leaves everything as it was.

use serde_json::json;
use touchseal_keyring::{OpenKeyring, holder, manifest};
use touchseal_rig::poll::eventually;
use touchseal_softkey::{At, Fault, SoftKey, Touch};
use touchseal_suites::cli::PIN;
use touchseal_suites::world::condition;
use touchseal_suites::{DEADLINE, Laptop, World};
use zeroize::Zeroizing;

const GENERAL_AUTHENTICATE: u8 = 0x87;
const VERIFY: u8 = 0x20;

/// A world with a sealed operator and a laptop whose YubiKey holds keyring `prod`.
fn sealed(test: &str) -> (World, Laptop, SoftKey) {
    let world = World::new(test);
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let key = laptop.key(0, 4_711);
    let spec = laptop.create_keyring("prod", "alice");
    world.apply_keyring("prod", &spec);
    (world, laptop, key)
}

fn unseal(world: &World) -> Vec<String> {
    ["unseal", "--yes", "--timeout", "20s", "--operator-namespace", &world.system].map(str::to_owned).to_vec()
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Three replicas wait, two key generations live: one private-key operation.
#[test]
fn one_operation_unseals_every_replica_and_generation() {
    let (mut world, laptop, key) = sealed("ceremony-one");
    let spec = laptop.manifest("prod");
    let verified = manifest::verify(&spec).unwrap();
    let open = open_with(&key, &spec);
    let (rotated, both) = manifest::rotate(&verified, &open, "2026-02-03T04:05:06Z").unwrap();
    world.apply_keyring("prod", &rotated);
    let _operators = [world.operator(), world.operator(), world.operator()];
    world.requests(3);

    let before = key.counters();
    let said = laptop.run(&[&words(&unseal(&world))[..], &["--v", "9"]].concat(), PIN).ok();
    let after = key.counters();
    assert!(said.err.lines().count() > 20, "hardly anything is logged at the highest level");
    assert!(!said.err.contains(PIN) && !said.out.contains(PIN), "the PIN is in the log");
    assert_eq!(after.private_key_operations - before.private_key_operations, 1);
    assert_eq!(after.pin_attempts - before.pin_attempts, 1);
    assert_eq!(said.out.matches("Unsealed").count(), 3, "{}", said.out);
    world.wait_for_replicas("prod", 3);
    let status = world.cluster.get(&["keyring", "prod"]).unwrap()["status"].clone();
    assert_eq!(status["lastUnseal"]["holder"], "alice");
    assert_eq!(status["lastUnseal"]["serial"], 4_711);
    assert!(
        world.cluster.get(&["unsealrequests", "-n", &world.system]).unwrap()["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    // Both generations open.
    let recipients = both.recipient_spec(&world.apps).unwrap().generations;
    assert_eq!(recipients.len(), 2);
    for (name, recipient) in [("new", &recipients[0]), ("old", &recipients[1])] {
        let document = world.sops.encrypt("app.yaml", "password: x\n", &recipient.recipient);
        world.apply_secret(name, json!({ "documents": [{ "sops": document }] }));
        let ready = world.wait_for(name, "True", "Materialised");
        assert_eq!(ready["status"]["keyGeneration"], recipient.generation);
    }

    // Nothing of the ceremony stays on the laptop but public data.
    for (path, bytes) in laptop.files() {
        assert!(!bytes.windows(PIN.len()).any(|w| w == PIN.as_bytes()), "the PIN is in {}", path.display());
    }
    let said = laptop.run(&words(&unseal(&world)), PIN).ok();
    assert!(said.err.contains("nothing waits"), "{}", said.err);
}

#[test]
fn what_goes_wrong_at_the_card_is_told_and_harms_nothing() {
    let (mut world, laptop, key) = sealed("ceremony-card");
    let _operator = world.operator();
    let waiting = world.requests(1);
    let unseal = unseal(&world);
    let unseal = words(&unseal);
    let operations = key.counters().private_key_operations;

    // Wrong PIN: one attempt, and it says how many are left.
    laptop.run(&unseal, "000000").refused(1, &["PIN", "2 "]);
    assert_eq!(key.pin_tries_left(), 2);

    // The last try is never spent without consent.
    laptop.run(&unseal, "000000").refused(1, &["PIN"]);
    assert_eq!(key.pin_tries_left(), 1);
    laptop.run(&unseal, PIN).refused(3, &["last", "--allow-last-pin-try"]);
    assert_eq!(key.pin_tries_left(), 1);
    // A right PIN with consent resets the counter; the fault behind it keeps the rest of this test going.
    key.plan(At::Instruction(GENERAL_AUTHENTICATE, 0), Fault::Status(0x6f00));
    laptop.run(&[&unseal[..], &["--allow-last-pin-try"]].concat(), PIN).refused(1, &["6f00"]);
    assert_eq!(key.pin_tries_left(), 3);

    // Nobody touches.
    key.set_touch(Touch::No);
    laptop.run(&unseal, PIN).refused(1, &["touched in time"]);
    key.set_touch(Touch::Yes);

    // The card is pulled, before and in the middle.
    for (instruction, fault) in [
        (VERIFY, Fault::PullBefore),
        (GENERAL_AUTHENTICATE, Fault::PullBefore),
        (GENERAL_AUTHENTICATE, Fault::PullAfter),
    ] {
        key.plan(At::Instruction(instruction, 0), fault);
        laptop.run(&unseal, PIN).refused(1, &["YubiKey"]);
        key.clear_plan();
        laptop.reader.insert(0, &key).unwrap();
    }

    // No card, and a card that is no holder's.
    laptop.reader.pull(0).unwrap();
    laptop.run(&unseal, PIN).refused(1, &["YubiKey"]);
    let stranger = laptop.key(1, 815);
    laptop.run(&unseal, PIN).refused(1, &["815", "4711"]);
    assert_eq!(stranger.counters().private_key_operations, 0);
    assert_eq!(stranger.counters().pin_attempts, 0);

    // Nothing changed: the same request waits with the same session, the operator is sealed, no release was written.
    let still = world.requests(1);
    assert_eq!(still[0]["status"], waiting[0]["status"]);
    assert_eq!(
        key.counters().private_key_operations - operations,
        1,
        "only the pull after the operation spent one"
    );

    // Two cards: the holder's is chosen by itself, and by its serial number.
    laptop.reader.insert(0, &key).unwrap();
    laptop.run(&[&unseal[..], &["--serial", "815"]].concat(), PIN).refused(1, &["815"]);
    laptop.run(&[&unseal[..], &["--serial", "4711"]].concat(), PIN).ok();
    world.wait_for_replicas("prod", 1);
    assert_eq!(stranger.counters().pin_attempts, 0);
}

#[test]
fn two_holders_plugged_in_are_told_apart_by_serial() {
    let (mut world, laptop, _alice) = sealed("ceremony-two");
    let bob = laptop.key(1, 815);
    let enrol = ["keyring", "enrol", "-f", "prod.keyring.yaml", "--holder", "bob", "--yes"];
    let keys = ["--serial", "815", "--with-serial", "4711", "--new-pin-fd", "4"];
    laptop.run(&[&enrol[..], &keys[..]].concat(), PIN).ok();
    world.apply_keyring("prod", &laptop.manifest("prod"));
    let _operator = world.operator();
    world.requests(1);
    let unseal = unseal(&world);
    laptop.run(&words(&unseal), PIN).refused(1, &["4711", "815", "--serial"]);
    let before = bob.counters().private_key_operations;
    laptop.run(&[&words(&unseal)[..], &["--serial", "815"]].concat(), PIN).ok();
    assert_eq!(bob.counters().private_key_operations - before, 1);
    let status = world.cluster.get(&["keyring", "prod"]).unwrap()["status"].clone();
    assert_eq!(status["lastUnseal"]["holder"], "bob");
}

/// The Keyring says so itself, and is ready all the same; `touchseal status` repeats it.
#[test]
fn a_single_holder_is_warned_of_until_there_is_another() {
    let (mut world, laptop, _alice) = sealed("ceremony-single");
    let _bob = laptop.key(1, 815);
    let _operator = world.operator();
    world.requests(1);
    let warned = |expected: &str| {
        eventually(DEADLINE, &format!("SingleHolder {expected:?}"), || {
            let object = world.cluster.get(&["keyring", "prod"]).unwrap();
            let seen = condition(&object, "SingleHolder")["reason"].as_str().unwrap_or_default().to_owned();
            assert_eq!(condition(&object, "Ready")["status"], "True");
            if seen == expected { Ok(()) } else { Err(object["status"].to_string()) }
        })
        .unwrap();
        let said = laptop.run_plain(&["status", "--operator-namespace", &world.system]).ok().out;
        assert_eq!(said.contains("warning: keyring prod: "), !expected.is_empty(), "{said}");
    };
    warned("OneYubiKey");
    let enrol = "keyring enrol -f prod.keyring.yaml --holder bob --yes --serial 815 --with-serial 4711 --new-pin-fd 4";
    laptop.run(&enrol.split(' ').collect::<Vec<_>>(), PIN).ok();
    world.apply_keyring("prod", &laptop.manifest("prod"));
    warned("");
    let quorum = "keyring quorum -f prod.keyring.yaml 2 --yes --serial 4711";
    laptop.run(&quorum.split(' ').collect::<Vec<_>>(), PIN).ok();
    world.apply_keyring("prod", &laptop.manifest("prod"));
    warned("EveryHolderNeeded");
}

#[test]
fn without_pcscd_it_says_so() {
    let (mut world, mut laptop, _key) = sealed("ceremony-service");
    let _operator = world.operator();
    world.requests(1);
    laptop.reader.stop_service();
    laptop.run(&words(&unseal(&world)), PIN).refused(1, &["pcscd"]);
    world.requests(1);
}

/// The request vanishes while the holder is being asked to touch.
#[test]
fn a_request_that_is_gone_is_told() {
    let (mut world, laptop, key) = sealed("ceremony-gone");
    let operator = world.operator();
    let request = world.requests(1)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    key.set_touch(Touch::No);
    let child = laptop.start(&words(&unseal(&world)), PIN);
    eventually(DEADLINE, "the key to wait for a touch", || key.waits_for_touch()).unwrap();
    drop(operator);
    world.cluster.kubectl_stdout(&["delete", "unsealrequest", &request, "-n", &world.system]).unwrap();
    key.set_touch(Touch::Yes);
    let said = touchseal_suites::cli::Said::from(child.wait_with_output().unwrap());
    assert_eq!(said.code, 1, "{said:?}");
    let all = format!("{}{}", said.out, said.err);
    assert!(all.contains("gone") && all.contains("hint: "), "{all}");
}

/// Requests whose proof is another's, for something else, or of a pod that is gone are never answered.
#[test]
fn a_forged_proof_is_never_answered() {
    let (mut world, laptop, key) = sealed("ceremony-forged");
    let operator = world.operator();
    let real = world.requests(1)[0].clone();
    let status = |proof: &str| {
        json!({ "sessionKey": real["status"]["sessionKey"], "nonce": real["status"]["nonce"],
                "proof": proof, "proofExpiresAt": real["status"]["proofExpiresAt"] })
    };
    let audience = audience(&real, &laptop);
    world.cluster.kubectl_stdout(&["create", "serviceaccount", "mallory", "-n", &world.system]).unwrap();
    let pod = world.cluster.stand_in_pod(&world.system, "mallory", "mallory").unwrap();
    let ghost = world.cluster.stand_in_pod(&world.system, "touchseal-operator", "ghost").unwrap();
    let token = |account: &str, pod, audience: Option<&str>| {
        world.cluster.token(&world.system, account, Some(pod), audience).unwrap()
    };
    let forged = [
        ("other-account", "mallory", token("mallory", &pod, Some(&audience))),
        ("other-audience", "ghost", token("touchseal-operator", &ghost, None)),
        ("other-pod", "mallory", token("touchseal-operator", &ghost, Some(&audience))),
        ("no-token", "ghost", "made.up.token".to_owned()),
        ("dead-pod", "ghost", token("touchseal-operator", &ghost, Some(&audience))),
    ];
    world
        .cluster
        .kubectl_stdout(&["delete", "pod", "ghost", "-n", &world.system, "--force", "--grace-period=0"])
        .unwrap();
    drop(operator);
    world.cluster.kubectl_stdout(&["delete", "unsealrequests", "--all", "-n", &world.system]).unwrap();
    for (name, pod, proof) in &forged {
        let request = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "UnsealRequest",
            "metadata": { "name": name, "namespace": world.system },
            "spec": { "keyring": "prod", "pod": pod },
        });
        world.cluster.apply(&request.to_string()).unwrap();
        world.write_request_status(name, &status(proof));
    }
    let before = key.counters();
    let said = laptop.run(&words(&unseal(&world)), PIN);
    assert_eq!(said.code, 3, "{said:?}");
    assert_eq!(key.counters().pin_attempts, before.pin_attempts, "no PIN is asked for a forged request");
    assert_eq!(key.counters().private_key_operations, before.private_key_operations);
    let list = world.cluster.get(&["unsealrequests", "-n", &world.system]).unwrap();
    for request in list["items"].as_array().unwrap() {
        assert!(
            request["spec"]["release"].is_null(),
            "a release was written for {}",
            request["metadata"]["name"]
        );
    }
}

/// A keyring of the same name with another fingerprint: not even --yes accepts it.
#[test]
fn a_changed_fingerprint_stops_the_ceremony() {
    let (mut world, laptop, key) = sealed("ceremony-known");
    let operator = world.operator();
    world.requests(1);
    laptop.run(&words(&unseal(&world)), PIN).ok();
    world.wait_for_replicas("prod", 1);
    drop(operator);
    laptop
        .run(&["keyring", "create", "prod", "--holder", "mallory", "--out", "other.keyring.yaml"], PIN)
        .ok();
    std::fs::copy(
        laptop.home.path().join("other.keyring.yaml"),
        laptop.home.path().join("prod.keyring.yaml"),
    )
    .unwrap();
    world
        .cluster
        .kubectl_stdout(&["delete", "configmap", "touchseal-pin-prod", "-n", &world.system])
        .unwrap();
    world.apply_keyring("prod", &laptop.manifest("prod"));
    let _operator = world.operator();
    world.requests(1);
    let before = key.counters();
    laptop.run(&words(&unseal(&world)), PIN).refused(3, &["fingerprint"]);
    assert_eq!(key.counters().pin_attempts, before.pin_attempts);
}

/// The API server goes away between touch and release.
#[test]
fn an_api_server_gone_half_way_is_told_and_it_works_afterwards() {
    let (mut world, laptop, key) = sealed("ceremony-outage");
    let _operator = world.operator();
    world.requests(1);
    key.set_touch(Touch::No);
    let arguments = unseal(&world);
    let child = laptop.start(&[&words(&arguments)[..], &["--request-timeout", "5s"]].concat(), PIN);
    eventually(DEADLINE, "the key to wait for a touch", || key.waits_for_touch()).unwrap();
    world.cluster.kill_apiserver();
    key.set_touch(Touch::Yes);
    let said = touchseal_suites::cli::Said::from(child.wait_with_output().unwrap());
    assert_eq!(said.code, 1, "{said:?}");
    let all = format!("{}{}", said.out, said.err);
    assert!(all.contains("API server") && all.contains("hint: "), "{all}");
    world.cluster.restart_apiserver().unwrap();
    world.requests(1);
    laptop.run(&words(&arguments), PIN).ok();
    world.wait_for_replicas("prod", 1);
}

/// The panic button, and the status before and after.
#[test]
fn seal_reaches_every_replica_and_status_tells() {
    let (mut world, laptop, _key) = sealed("ceremony-seal");
    let _operators = [world.operator(), world.operator()];
    world.requests(2);
    laptop.run(&words(&unseal(&world)), PIN).ok();
    let status = |field: &str| {
        let said = laptop.run_plain(&["status", "-o", "json", "--operator-namespace", &world.system]).ok();
        serde_json::from_str::<serde_json::Value>(&said.out).unwrap()[field].clone()
    };
    assert!(status("keyrings").to_string().contains("Unsealed"));
    let said = laptop.run_plain(&["seal", "--operator-namespace", &world.system]).ok();
    assert_eq!(said.out.matches("Sealed").count(), 2, "{}", said.out);
    world.wait_for_replicas("prod", 0);
    world.requests(2);
    // Nobody is taken for sealed who was not looked for where they are.
    laptop.run_plain(&["seal", "--keyring", "prdo"]).refused(1, &["keyring prdo", "not exist"]);
    laptop
        .run_plain(&["seal", "--operator-namespace", "nowhere"])
        .refused(1, &["no pod of ServiceAccount", "in namespace nowhere", "--operator-namespace"]);
}

/// Opens a keyring with the card's private scalar, which only a software YubiKey tells.
fn open_with(key: &SoftKey, spec: &touchseal_crds::KeyringSpec) -> OpenKeyring {
    let verified = manifest::verify(spec).unwrap();
    let (entry, public) = verified.holders().next().unwrap();
    let slot = u8::from_str_radix(&entry.slot, 16).unwrap();
    let secret = p256::SecretKey::from_slice(&key.private_scalar(slot).unwrap()).unwrap();
    let mut ecdh = |point: &[u8; 33]| {
        let peer = p256::PublicKey::from_sec1_bytes(point).unwrap();
        let shared = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), peer.as_affine());
        Ok::<_, std::convert::Infallible>(Zeroizing::new((*shared.raw_secret_bytes()).into()))
    };
    let master = holder::unwrap(verified.active_wrapped(), public.piv().unwrap(), &mut ecdh).unwrap();
    OpenKeyring::open(&verified, master).unwrap()
}

fn audience(request: &serde_json::Value, laptop: &Laptop) -> String {
    let text = |field: &str| request["status"][field].as_str().unwrap();
    let offer = touchseal_keyring::Offer::parse(text("sessionKey"), text("nonce")).unwrap();
    let verified = manifest::verify(&laptop.manifest("prod")).unwrap();
    offer.audience(verified.id())
}
