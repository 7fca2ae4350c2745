//! Releases that must not open anything: each is refused with a condition, taken out, and the operator waits on. And what
//! else can happen to a request while it waits.

use serde_json::{Value, json};
use touchseal_crds::keyring::{HandOver, KeyringSpec};
use touchseal_crds::unseal_request::Release;
use touchseal_keyring::{Offer, OpenKeyring, Session, manifest, seal_release};
use touchseal_rig::poll::eventually;
use touchseal_suites::world::condition;
use touchseal_suites::{DEADLINE, SoftHolder, World};

/// A keyring with two live generations and the keyring as its older generation alone would open it.
struct Generations {
    spec: KeyringSpec,
    open: OpenKeyring,
    older: OpenKeyring,
}

fn generations(holder: &SoftHolder) -> Generations {
    let (first, older) = holder.create_keyring();
    let verified = manifest::verify(&first).unwrap();
    let (spec, open) = manifest::rotate(&verified, &older, "2026-02-03T04:05:06Z").unwrap();
    Generations { spec, open, older }
}

fn offer(request: &Value) -> Offer {
    let text = |field: &str| request["status"][field].as_str().unwrap();
    Offer::parse(text("sessionKey"), text("nonce")).unwrap()
}

#[test]
fn a_release_that_is_not_for_this_session_and_keyring_is_refused() {
    let mut world = World::new("forged");
    let holder = SoftHolder::generate("alice", 1);
    let Generations { spec, open, older } = generations(&holder);
    let (_, stranger) = SoftHolder::generate("mallory", 2).create_keyring();
    world.apply_keyring("prod", &spec);
    let operator = world.operator();
    let recipient = open.recipient_spec(&world.apps).unwrap().recipient;
    let document = world.sops.encrypt("app.yaml", "password: x\n", &recipient);
    world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    let request = world.requests(1).remove(0);
    let name = request["metadata"]["name"].as_str().unwrap();
    let offer = offer(&request);
    let good = seal_release(&open, &offer, "alice", 1).unwrap();
    let with = |change: &dyn Fn(&mut Release)| {
        let mut release = good.clone();
        change(&mut release);
        release
    };
    let sealed = |keyring: &OpenKeyring, to: &Offer| seal_release(keyring, to, "alice", 1).unwrap();
    let other_session = Session::generate();
    let other_nonce = Offer::parse(&offer.session_key(), other_session.nonce()).unwrap();
    let random = |bytes: usize| {
        use base64::Engine as _;
        let bytes: Vec<u8> = (0..bytes).map(|_| rand::random()).collect();
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    let forgeries = [
        ("another nonce", sealed(&open, &other_nonce)),
        ("another nonce under this one's name", {
            let nonce = offer.nonce().to_owned();
            Release { nonce, ..sealed(&open, &other_nonce) }
        }),
        ("another session", {
            let nonce = offer.nonce().to_owned();
            Release { nonce, ..sealed(&open, other_session.offer()) }
        }),
        (
            "another keyring's master",
            with(&|r| {
                let theirs = sealed(&stranger, &offer);
                *r = Release { generation: 2, ..theirs }
            }),
        ),
        ("an older generation", sealed(&older, &offer)),
        ("an older generation called the newest", Release { generation: 2, ..sealed(&older, &offer) }),
        ("another holder's name", with(&|r| r.holder = "mallory".to_owned())),
        ("another serial", with(&|r| r.serial = 666)),
        (
            "random bytes",
            with(&|r| {
                r.ciphertext = random(48);
                r.encapsulated_key = random(32)
            }),
        ),
        ("random ciphertext", with(&|r| r.ciphertext = random(48))),
        ("a short ciphertext", with(&|r| r.ciphertext = random(47))),
        ("no base64", with(&|r| r.ciphertext = "\u{1f600} not base64".to_owned())),
        (
            "nothing",
            with(&|r| {
                r.ciphertext.clear();
                r.encapsulated_key.clear()
            }),
        ),
        ("a zero key", with(&|r| r.encapsulated_key = "A".repeat(43) + "=")),
    ];
    for (forgery, release) in forgeries {
        eprintln!("{forgery}");
        world.write_release(name, &json!(release));
        eventually(DEADLINE, &format!("{forgery} refused"), || {
            let request = world.cluster.get(&["unsealrequest", name, "-n", &world.system]).unwrap();
            let refused = condition(&request, "ReleaseRefused");
            let cleared = request["spec"]["release"].is_null();
            // Nothing but the release is taken away: the same session waits on.
            let waits = request["status"]["nonce"] == offer.nonce() && request["status"]["proof"].is_string();
            if refused["status"] == "True" && refused["reason"] == "ReleaseInvalid" && cleared && waits {
                Ok(())
            } else {
                Err(request.to_string())
            }
        })
        .unwrap();
        let keyring = world.cluster.get(&["keyring", "prod"]).unwrap();
        assert_eq!(keyring["status"]["unsealedReplicas"], 0, "{forgery}");
        // The next refusal must be seen anew.
        world.write_request_status(name, &json!({ "conditions": [] }));
    }
    assert!(operator.metrics().contains("touchseal_releases_refused_total{keyring=\"prod\"} 14"));
    assert!(world.secret("app").is_none());

    world.write_release(name, &json!(good));
    world.wait_for_replicas("prod", 1);
    world.wait_for("app", "True", "Materialised");
}

#[test]
fn a_deleted_request_is_made_again() {
    let mut world = World::new("requests-deleted");
    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    world.apply_keyring("prod", &spec);
    let _operator = world.operator();
    let uid = world.requests(1).remove(0)["metadata"]["uid"].clone();
    world.cluster.kubectl_stdout(&["delete", "unsealrequests", "--all", "-n", &world.system]).unwrap();
    eventually(DEADLINE, "another request", || world.requests(1)[0]["metadata"]["uid"] != uid).unwrap();
    world.unseal("prod", &open, 1);
}

#[test]
fn three_replicas_wait_for_one_ceremony() {
    let mut world = World::new("replicas");
    let holder = SoftHolder::generate("alice", 1);
    let Generations { spec, open, .. } = generations(&holder);
    // Without hand-over it takes a release for each.
    let spec = manifest::set_hand_over(&manifest::verify(&spec).unwrap(), &open, HandOver::Deny).unwrap();
    world.apply_keyring("prod", &spec);
    let operators = [world.operator(), world.operator(), world.operator()];
    let requests = world.requests(3);
    let mut pods: Vec<&str> = requests.iter().map(|r| r["spec"]["pod"].as_str().unwrap()).collect();
    pods.sort_unstable();
    assert_eq!(pods, operators.each_ref().map(|o| o.pod.name.as_str()));
    let keys: std::collections::HashSet<&str> =
        requests.iter().map(|r| r["status"]["sessionKey"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), 3, "each replica has a session of its own");
    // The holder opens the keyring once and answers all of them.
    let opened_once = holder.open(&spec);
    assert_eq!(opened_once.id(), open.id());
    world.unseal("prod", &opened_once, 3);
    for operator in &operators {
        assert!(operator.metrics().contains("touchseal_keyring_unsealed{keyring=\"prod\"} 1"));
    }
    eventually(DEADLINE, "no request left", || world.requests(0).is_empty()).unwrap();
}

#[test]
fn a_proof_is_worth_nothing_but_proof() {
    let mut world = World::new("proof");
    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    world.apply_keyring("prod", &spec);
    let operator = world.operator();
    let request = world.requests(1).remove(0);
    let proof = request["status"]["proof"].as_str().unwrap();

    // Where it belongs it says who asks, and which pod.
    let audience = offer(&request).audience(open.id());
    let status = world.cluster.token_review(proof, &audience).unwrap();
    assert_eq!(status["authenticated"], true, "{status}");
    let account = format!("system:serviceaccount:{}:touchseal-operator", world.system);
    assert_eq!(status["user"]["username"], account.as_str());
    let pod = &status["user"]["extra"]["authentication.kubernetes.io/pod-uid"][0];
    assert_eq!(*pod, operator.pod.uid.as_str());

    // For another session, keyring or audience it is refused.
    let elsewhere = Session::generate().audience(open.id());
    for audience in [elsewhere.as_str(), "https://kubernetes.default.svc", "vault"] {
        let status = world.cluster.token_review(proof, audience).unwrap();
        assert_ne!(status["authenticated"], true, "{audience}: {status}");
    }

    // And it is no credential: the API server does not know its bearer.
    let kubeconfig = world.cluster.dir().join("proof.kubeconfig");
    let admin = std::fs::read_to_string(world.cluster.admin_kubeconfig()).unwrap();
    let mut config: Value = serde_json::from_str(&admin).unwrap();
    config["users"][0]["user"] = json!({ "token": proof });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let output = world.cluster.kubectl_as(&kubeconfig, &["get", "--raw=/api"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Unauthorized"), "{said}");

    // With its pod goes its worth.
    drop(operator);
    let pod = request["spec"]["pod"].as_str().unwrap();
    world
        .cluster
        .kubectl_stdout(&["delete", "pod", pod, "-n", &world.system, "--force", "--grace-period=0"])
        .unwrap();
    eventually(DEADLINE, "the proof of a pod that is gone to be refused", || {
        let status = world.cluster.token_review(proof, &audience).unwrap();
        if status["authenticated"] == true { Err(status.to_string()) } else { Ok(()) }
    })
    .unwrap();
}

#[test]
fn an_api_server_that_goes_away_delays_everything_and_breaks_nothing() {
    let mut world = World::new("requests-outage");
    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    world.apply_keyring("prod", &spec);
    let mut operator = world.operator();
    let request = world.requests(1).remove(0);

    // While sealed.
    world.cluster.kill_apiserver();
    eventually(DEADLINE, "the probes to answer without an API server", || {
        operator.probe("/healthz").contains(" 200 ")
    })
    .unwrap();
    world.cluster.restart_apiserver().unwrap();
    assert!(operator.process.exited().is_none());
    let again = world.requests(1).remove(0);
    assert_eq!(
        again["status"]["nonce"], request["status"]["nonce"],
        "the session lives as long as the process"
    );

    // Half-way: the release is written, and what follows from it cannot be.
    world.release(&again, &open, "alice", 1);
    world.cluster.kill_apiserver();
    world.cluster.restart_apiserver().unwrap();
    world.wait_for_replicas("prod", 1);
    let recipient = world.recipient(&world.apps, "prod");
    let document = world.sops.encrypt("app.yaml", "password: x\n", &recipient);
    world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    world.wait_for("app", "True", "Materialised");

    // While unsealed: what is changed meanwhile is caught up with.
    world.cluster.kill_apiserver();
    world.cluster.restart_apiserver().unwrap();
    let document = world.sops.encrypt("app.yaml", "password: y\n", &recipient);
    world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    world.wait_for_generation("app", 2);
    assert!(operator.process.exited().is_none());
}

#[test]
fn a_step_that_fails_for_a_while_is_tried_again() {
    let mut world = World::new("requests-again");
    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    world.apply_keyring("prod", &spec);
    let operator = world.operator();
    let request = world.requests(1).remove(0);

    // Without its rights the operator opens the release and cannot store the pin: it must not serve yet, nor give up.
    let role = world.cluster_role();
    let bindings = [
        vec!["rolebinding", "touchseal-operator", "-n", &world.system],
        vec!["clusterrolebinding", role.as_str()],
    ];
    let before: Vec<Value> = bindings.iter().map(|binding| world.cluster.get(binding).unwrap()).collect();
    for binding in &bindings {
        world.cluster.kubectl_stdout(&[&["delete"], &binding[..]].concat()).unwrap();
    }
    let account = format!("--as=system:serviceaccount:{}:touchseal-operator", world.system);
    let may = ["auth", "can-i", "create", "configmaps", "-n", &world.system, &account];
    eventually(DEADLINE, "the rights to be gone", || {
        world.cluster.kubectl(&may).is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).trim() == "no")
    })
    .unwrap();
    world.release(&request, &open, "alice", 1);
    eventually(DEADLINE, "a step to fail", || {
        operator.process.log().contains("a step of the unseal ceremony failed")
    })
    .unwrap();
    assert!(!operator.metrics().contains("touchseal_keyring_unsealed{keyring=\"prod\"} 1"));

    for mut binding in before {
        binding["metadata"]
            .as_object_mut()
            .unwrap()
            .retain(|field, _| field == "name" || field == "namespace");
        world.cluster.apply(&binding.to_string()).unwrap();
    }
    world.wait_for_replicas("prod", 1);
}
