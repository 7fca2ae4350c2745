//! What people and their tools see: conditions, kstatus, printer columns, Events; and that nothing is written for nothing.

use serde_json::{Value, json};
use touchseal_crds::Reason;
use touchseal_plan::Trouble;
use touchseal_rig::poll::eventually;
use touchseal_suites::world::{condition, repository};
use touchseal_suites::{Apps, DEADLINE};

/// What kstatus (Flux, Argo CD's health script, `kubectl wait`) makes of an object, by its published rules: an old
/// observedGeneration is in progress, Stalled=True has failed, Ready=True is current, everything else is in progress.
fn kstatus(object: &Value) -> &'static str {
    let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
    match (current, &condition(object, "Stalled")["status"], &condition(object, "Ready")["status"]) {
        (false, ..) => "InProgress",
        (true, stalled, _) if stalled == "True" => "Failed",
        (true, _, ready) if ready == "True" => "Current",
        _ => "InProgress",
    }
}

#[test]
fn conditions_read_as_kstatus_wants_them() {
    let apps = Apps::new("kstatus");
    let served = apps.serve_yaml("served", "password: first\n");
    assert_eq!(kstatus(&served), "Current");
    assert_eq!(
        served["status"]["conditions"].as_array().unwrap().len(),
        1,
        "Stalled is there only when true"
    );

    let map = json!({ "documents": [{ "configMapKeyRef": { "name": "later", "key": "app.yaml" } }] });
    apps.apply_secret("missing", map);
    assert_eq!(kstatus(&apps.wait_for("missing", "False", "SourceNotFound")), "InProgress");

    let stranger = apps.sops.encrypt("app.yaml", "a: b\n", &age_recipient());
    let good = apps.encrypt("app.yaml", "password: first\nnested:\n  a: b\n");
    // One character of a ciphertext changed.
    let at = good.find("data:").unwrap() + 6;
    let mut broken = good.clone().into_bytes();
    broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
    let broken = String::from_utf8(broken).unwrap();
    let garbage = "ENC[AES256_GCM,data: lastmodified: [not yaml";
    let cases = [
        ("stranger", stranger.as_str(), "NoMatchingRecipient", "this namespace's recipient is age1"),
        ("broken", &broken, "DocumentTampered", "git history"),
        ("garbage", garbage, "InvalidDocument", "exactly as sops wrote it"),
        ("nested", &good, "InvalidMapping", "mapping.paths"),
    ];
    for (name, document, ..) in cases {
        apps.apply_secret(name, json!({ "documents": [{ "name": "app.yaml", "sops": document }] }));
    }
    for (name, _, reason, hint) in cases {
        let object = apps.wait_for(name, "False", reason);
        assert_eq!(kstatus(&object), "Failed", "{name}");
        let ready = condition(&object, "Ready");
        let message = ready["message"].as_str().unwrap();
        assert!(message.starts_with("app.yaml: ") && message.contains(hint), "{name}: {message}");
        assert!(!message.contains("first"), "{name}: {message}");
        let stalled = condition(&object, "Stalled");
        assert_eq!((&stalled["reason"], &stalled["message"]), (&ready["reason"], &ready["message"]));
        assert!(apps.secret(name).is_none());
    }
    for object in
        apps.cluster.get(&["encryptedsecrets", "-n", &apps.apps]).unwrap()["items"].as_array().unwrap()
    {
        for condition in object["status"]["conditions"].as_array().unwrap() {
            let reason = condition["reason"].as_str().unwrap();
            assert!(Reason::ALL.iter().any(|r| r.as_str() == reason), "{reason} is not on the list");
            assert_eq!(condition["observedGeneration"], object["metadata"]["generation"]);
        }
    }

    // A served object that turns bad keeps its Secret, says so, and recovers.
    apps.apply_secret("served", json!({ "documents": [{ "name": "app.yaml", "sops": broken }] }));
    let object = apps.wait_for("served", "False", "DocumentTampered");
    let message = condition(&object, "Ready")["message"].as_str().unwrap();
    assert!(message.ends_with("; Secret served keeps generation 1"), "{message}");
    assert!(apps.secret("served").is_some());
    apps.apply_yaml("served", "password: first\n");
    assert_eq!(kstatus(&apps.wait_for("served", "True", "Materialised")), "Current");
}

fn age_recipient() -> String {
    age::x25519::Identity::generate().to_public().to_string()
}

#[test]
fn what_the_api_server_refuses_is_told_with_the_field_and_without_values() {
    let apps = Apps::new("refused");
    let document = apps.encrypt("app.yaml", "password: hunter2-hunter2\n");
    apps.apply_secret(
        "tls",
        json!({ "documents": [{ "sops": document }], "target": { "type": "kubernetes.io/tls" } }),
    );
    let object = apps.wait_for("tls", "False", "ApiError");
    let message = condition(&object, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("422") && message.contains("data[tls.crt]"), "{message}");
    assert!(!apps.operator.process.log().contains("hunter2"));
    // Trying again costs no status write.
    let version = object["metadata"]["resourceVersion"].clone();
    let tried = || apps.writes().iter().filter(|w| w.resource == "secrets" && w.name == "tls").count();
    let before = tried();
    eventually(DEADLINE, "another attempt", || tried() > before + 1).unwrap();
    assert_eq!(apps.encrypted_secret("tls")["metadata"]["resourceVersion"], version);
}

#[test]
fn kubectl_get_shows_what_people_ask_first() {
    let apps = Apps::new("columns");
    apps.serve_yaml("app", "password: first\n");
    apps.apply_secret(
        "waits",
        json!({ "documents": [{ "configMapKeyRef": { "name": "later", "key": "a" } }] }),
    );
    apps.wait_for("waits", "False", "SourceNotFound");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let table = apps.kubectl(&["get", "esec"]);
    let lines: Vec<Vec<String>> = table.lines().map(words).collect();
    assert_eq!(lines[0], ["NAME", "READY", "REASON", "GENERATION", "AGE"]);
    assert_eq!(lines[1][..4], ["app", "True", "Materialised", "1"]);
    assert_eq!(lines[2][..3], ["waits", "False", "SourceNotFound"]);
    let wide = apps.kubectl(&["get", "esec", "app", "-o", "wide"]);
    assert!(wide.contains("Secret app holds generation 1"), "{wide}");
    let wait = apps.kubectl(&["wait", "--for=condition=Ready", "esec/app", "--timeout=5s"]);
    assert!(wait.contains("condition met"));
}

#[test]
fn one_event_a_transition_and_none_for_looking_again() {
    let apps = Apps::new("events");
    apps.serve_yaml("app", "password: first\n");
    for mark in ["one", "two", "three"] {
        apps.reconcile("app", mark);
    }
    assert_eq!(apps.events("app"), ["Materialised"]);
    apps.apply_yaml("app", "password: second\n");
    apps.wait_for_generation("app", 2);
    apps.merge("secret/app", &json!({ "data": { "password": "ZWRpdGVk" } }));
    apps.wait_for_secret("app", "put back", |s| s["data"]["password"] == "c2Vjb25k");
    apps.reconcile("app", "four");
    assert_eq!(apps.events("app"), ["Materialised", "Materialised", "DriftReverted"]);
    let notes = apps.kubectl(&[
        "get",
        "events.events.k8s.io",
        "-o",
        "jsonpath={range .items[*]}{.note}{\"\\n\"}{end}",
    ]);
    for note in ["Secret app holds generation 1", "Secret app holds generation 2"] {
        assert!(notes.lines().any(|line| line == note), "an Event of its own for each: {notes}");
    }
    apps.merge("secret/app", &json!({ "data": { "password": "ZWRpdGVk" } }));
    apps.wait_for_secret("app", "put back again", |s| s["data"]["password"] == "c2Vjb25k");
    eventually(DEADLINE, "one Event of both edits", || {
        let list = apps.cluster.get(&["events.events.k8s.io", "-n", &apps.apps]).unwrap();
        let reverted =
            list["items"].as_array().unwrap().iter().filter(|event| event["reason"] == "DriftReverted");
        let counts: Vec<_> = reverted.map(|event| event["series"]["count"].clone()).collect();
        if counts == [2] { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .unwrap();
    let described = apps.kubectl(&["describe", "encryptedsecret", "app"]);
    assert!(described.contains("DriftReverted"), "{described}");
    let keyring = apps.cluster.kubectl_stdout(&["describe", "keyring", "prod"]).unwrap();
    assert!(keyring.contains("was unsealed by alice (YubiKey 1)"), "{keyring}");
}

/// Every request since that has to do with an object: verb and resource, but for watches and for the ledger's writes, of which
/// there is one more where a second begins in between.
fn requests(apps: &Apps, before: usize) -> Vec<String> {
    let text = |event: &Value, pointer: &str| {
        event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let requests = apps.audited().split_off(before);
    let mut requests: Vec<String> = requests
        .iter()
        .filter(|event| text(event, "/verb") != "watch")
        .map(|event| {
            let resource = [text(event, "/objectRef/resource"), text(event, "/objectRef/subresource")];
            let resource = resource.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/");
            format!("{} {resource}", text(event, "/verb"))
        })
        .filter(|request| {
            let kinds = ["encryptedsecrets", "encryptedsecrets/status", "events", "secrets"];
            kinds.iter().any(|kind| request.ends_with(&format!(" {kind}")))
        })
        .collect();
    requests.sort();
    requests
}

#[test]
fn an_object_costs_so_many_requests_in_its_life_and_no_more() {
    let apps = Apps::new("thrift");
    apps.serve_yaml("other", "password: first\n");
    apps.reconcile("other", "one");
    let mut before = apps.audited().len();
    let mut asked = |events: (&str, usize), expected: &[&str]| {
        // The Event comes last.
        eventually(DEADLINE, "the Event", || apps.events(events.0).len() == events.1).unwrap();
        assert_eq!(requests(&apps, before), expected);
        before = apps.audited().len();
    };

    apps.serve_yaml("app", "password: first\n");
    asked(("app", 1), &["create events", "create secrets", "get secrets", "update encryptedsecrets/status"]);

    // Asked for without need: that it was done.
    apps.reconcile("app", "two");
    asked(("app", 1), &["update encryptedsecrets/status"]);

    // A rotation costs one more of the status: a moment later it is said that nobody holds the old value. By then the text
    // of its documents is not kept any more.
    apps.apply_yaml("app", "password: second\n");
    apps.wait_for_draining("app", "False", "Drained");
    asked(
        ("app", 2),
        &[
            "create events",
            "get encryptedsecrets",
            "patch secrets",
            "update encryptedsecrets/status",
            "update encryptedsecrets/status",
        ],
    );

    // Its end costs nothing: the garbage collector takes the Secret.
    apps.kubectl(&["delete", "encryptedsecret", "app"]);
    eventually(DEADLINE, "the Secret to be gone", || apps.world.secret("app").is_none()).unwrap();
    apps.reconcile("other", "three");
    asked(("other", 1), &["update encryptedsecrets/status"]);
}

#[test]
fn a_restart_with_everything_in_place_writes_nothing() {
    let mut apps = Apps::new("restart");
    for number in 0..10 {
        apps.apply_yaml(&format!("app-{number}"), &format!("password: p{number}\n"));
    }
    let document = apps.encrypt("app.yaml", "password: first\n");
    apps.apply_config_map("source", json!({ "app.yaml": document }));
    apps.apply_secret(
        "map",
        json!({ "documents": [{ "configMapKeyRef": { "name": "source", "key": "app.yaml" } }] }),
    );
    apps.apply_secret(
        "lost",
        json!({ "documents": [{ "configMapKeyRef": { "name": "none", "key": "a" } }] }),
    );
    for number in 0..10 {
        apps.wait_for(&format!("app-{number}"), "True", "Materialised");
    }
    apps.wait_for("map", "True", "Materialised");
    apps.wait_for("lost", "False", "SourceNotFound");
    apps.recipient(&apps.apps, "prod");

    let all = "encryptedsecrets,secrets,recipients,configmaps";
    apps.operator.process.kill();
    let before = apps.versions(all);
    let writes = apps.writes().len();
    for _ in 0..2 {
        apps.restart_operator();
        apps.wait_for_reconciles(12);
        apps.unseal_again();
        // Once unsealed it looks at everything again.
        apps.wait_for_reconciles(24);
    }
    assert_eq!(apps.versions(all), before);
    let allowed =
        ["unsealrequests", "unsealrequests/status", "keyrings/status", "events", "serviceaccounts/token"];
    for write in &apps.writes()[writes..] {
        let own = allowed.contains(&write.resource.as_str())
            || write.resource == "selfsubjectreviews"
            || (write.resource == "events" && write.name.starts_with("prod"));
        assert!(own, "{write:?}");
    }
    for number in 0..10 {
        assert_eq!(apps.events(&format!("app-{number}")), ["Materialised"]);
    }
}

#[test]
fn the_spec_page_lists_every_reason_and_says_rightly_whether_it_stalls() {
    let page = std::fs::read_to_string(repository().join("crds/encryptedsecret.md")).unwrap();
    let told: Vec<(&str, bool)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split_once("` | "))
        .filter_map(|(reason, rest)| Some((reason, rest.split_once(" | ")?.0)))
        .filter(|(_, stalls)| matches!(*stalls, "yes" | "no"))
        .map(|(reason, stalls)| (reason, stalls == "yes"))
        .collect();
    // Reasons of Keyrings, Enrolments, UnsealRequests and Incidents, of other conditions, and of Events only.
    let elsewhere = [
        Reason::DriftReverted,
        Reason::Adopted,
        Reason::StaleConsumers,
        Reason::Refreshing,
        Reason::ConsumersUnknown,
        Reason::Drained,
        Reason::DueSoon,
        Reason::Overdue,
        Reason::PreviousLost,
        Reason::Restarted,
        Reason::Exposed,
        Reason::AllSafe,
        Reason::NothingMatches,
        Reason::ClosedByHand,
        Reason::Unsealed,
        Reason::ManifestInvalid,
        Reason::FingerprintChanged,
        Reason::ManifestRolledBack,
        Reason::ManifestForked,
        Reason::ShareReleased,
        Reason::SharesDropped,
        Reason::HandedOver,
        Reason::SealAfter,
        Reason::RequestForged,
        Reason::OneYubiKey,
        Reason::EveryHolderNeeded,
        Reason::ChallengeIssued,
        Reason::HolderEnrolled,
        Reason::EnrolmentRefused,
        Reason::ReleaseInvalid,
    ];
    for reason in Reason::ALL {
        let row = told.iter().find(|(word, _)| *word == reason.as_str());
        assert_eq!(row.is_none(), elsewhere.contains(reason), "{reason}");
        let stalls = *reason != Reason::Materialised && Trouble::new(*reason, "").stalls();
        assert!(row.is_none_or(|(_, said)| *said == stalls), "{reason}: stalled is {stalls}");
    }
}
