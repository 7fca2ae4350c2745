//! Incidents: opened after a leak, followed over rotations, pods and restarts until nothing remains, and never safe on
//! ignorance.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use touchseal_rig::browser::Browser;
use touchseal_rig::poll::eventually;
use touchseal_suites::cli::Said;
use touchseal_suites::pods::{env, spec};
use touchseal_suites::world::condition;
use touchseal_suites::{Apps, DEADLINE, binaries};

/// Runs `touchseal` as an administrator without a card.
pub fn touchseal(apps: &Apps, arguments: &[&str]) -> Said {
    let output = Command::new(binaries::touchseal())
        .args(arguments)
        .env("KUBECONFIG", apps.cluster.admin_kubeconfig())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Said::from(output)
}

/// Opens an incident about everything that exists now; afterwards the clock shows another second.
fn open(apps: &Apps, name: &str, more: &[&str]) {
    apps.next_second();
    let now = Timestamp::now().to_string();
    let arguments = ["incident", "open", name, "--exposed-at", &now, "--description", "tokens leaked"];
    touchseal(apps, &[&arguments, more].concat()).ok();
    apps.next_second();
}

fn get(apps: &Apps, name: &str) -> Value {
    apps.cluster.get(&["incident", name]).unwrap()
}

/// Waits for these totals: exposed, draining, safe, accepted.
fn wait_for(apps: &Apps, name: &str, totals: [i64; 4]) -> Value {
    let [exposed, draining, safe, accepted] = totals;
    let wanted = json!({ "exposed": exposed, "draining": draining, "safe": safe, "accepted": accepted });
    eventually(DEADLINE, &format!("incident {name}: {wanted}"), || {
        let object = get(apps, name);
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        if current && object["status"]["totals"] == wanted {
            Ok(object)
        } else {
            Err(object["status"].to_string())
        }
    })
    .unwrap()
}

fn wait_for_remaining(apps: &Apps, name: &str, wanted: &str) {
    eventually(DEADLINE, &format!("incident {name}: {wanted}"), || {
        let left = remaining(&get(apps, name)).join(", ");
        if left == wanted { Ok(()) } else { Err(left) }
    })
    .unwrap();
}

fn closed(object: &Value) -> (&str, &str) {
    let condition = condition(object, "Closed");
    (condition["status"].as_str().unwrap(), condition["reason"].as_str().unwrap())
}

fn remaining(object: &Value) -> Vec<String> {
    let entries = object["status"]["remaining"].as_array().cloned().unwrap_or_default();
    let text = |e: &Value| {
        format!(
            "{}:{} {}",
            e["name"].as_str().unwrap(),
            e["key"].as_str().unwrap(),
            e["state"].as_str().unwrap()
        )
    };
    entries.iter().map(text).collect()
}

/// Reasons of the Events about an incident.
fn events(apps: &Apps, name: &str) -> Vec<String> {
    // Clusters are used again, and Events of an earlier namesake stay.
    let uid = get(apps, name)["metadata"]["uid"].as_str().unwrap().to_owned();
    let selector = format!("involvedObject.uid={uid}");
    let list = apps.cluster.get(&["events", "-n", "default", "--field-selector", &selector]).unwrap();
    list["items"].as_array().unwrap().iter().map(|e| e["reason"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_leak_is_followed_until_nothing_of_it_is_in_use() {
    let mut apps = Apps::new("leak");
    apps.serve_yaml("db", "password: first\nuser: app\n");
    apps.serve_yaml("mail", "token: first\n");
    apps.run_pod("web", &spec(&env("db", "password")));
    apps.wait_for_consumers("db", 1, 0);
    open(&apps, "ci-leak", &[]);
    touchseal(&apps, &["incident", "open", "ci-leak", "--exposed-at", "1d"])
        .refused(1, &["ci-leak exists already", "touchseal incident status ci-leak"]);
    let object = wait_for(&apps, "ci-leak", [3, 0, 0, 0]);
    assert_eq!(closed(&object), ("False", "Exposed"));
    assert_eq!(remaining(&object), ["db:password Exposed", "db:user Exposed", "mail:token Exposed"]);

    // One key is rotated; the pod holds the old value. Encrypting the others anew rotates nothing.
    apps.apply_yaml("db", "password: second\nuser: app\n");
    apps.apply_yaml("mail", "token: first\n");
    let object = wait_for(&apps, "ci-leak", [2, 1, 0, 0]);
    assert_eq!(remaining(&object), ["db:user Exposed", "mail:token Exposed", "db:password Draining"]);
    let said = touchseal(&apps, &["incident", "status", "ci-leak"]).ok().out;
    assert!(said.contains("tokens leaked") && said.contains("1 pod holds the old value: restart"), "{said}");

    // What no pod uses is safe at once.
    apps.apply_yaml("mail", "token: second\n");
    wait_for(&apps, "ci-leak", [1, 1, 1, 0]);

    // A restart changes nothing and writes nothing; sealed it goes on.
    apps.restart_operator();
    let before = get(&apps, "ci-leak")["metadata"]["resourceVersion"].clone();
    eventually(DEADLINE, "the incident to be judged by the new process", || {
        apps.operator.metrics().contains("touchseal_incident_keys{incident=\"ci-leak\",state=\"safe\"} 1")
    })
    .unwrap();
    assert_eq!(get(&apps, "ci-leak")["metadata"]["resourceVersion"], before);
    apps.end_pod("web");
    let object = wait_for(&apps, "ci-leak", [1, 0, 2, 0]);
    assert_eq!(remaining(&object), ["db:user Exposed"]);

    apps.unseal_again();
    apps.apply_yaml("db", "password: second\nuser: other\n");
    let object = wait_for(&apps, "ci-leak", [0, 0, 3, 0]);
    assert_eq!(closed(&object), ("True", "AllSafe"));
    assert!(object["status"]["closedAt"].is_string() && remaining(&object).is_empty());
    eventually(DEADLINE, "the Event", || events(&apps, "ci-leak") == ["AllSafe"]).unwrap();
    touchseal(&apps, &["incident", "close", "ci-leak"]).refused(1, &["closed already"]);
    let said = touchseal(&apps, &["incident", "status", "ci-leak"]).ok().out;
    assert_eq!(
        said.matches("revoke it if that is not done").count(),
        3,
        "old values are valid until revoked: {said}"
    );

    // What is over stays over, also when the old value comes back.
    apps.apply_yaml("mail", "token: first\n");
    apps.wait_for_generation("mail", 3);
    apps.restart_operator();
    apps.unseal_again();
    apps.serve_yaml("late", "token: first\n");
    assert_eq!(get(&apps, "ci-leak"), object);

    // An incident of now sees the old value for what it is: as old as it was.
    open(&apps, "again", &["--secret", "mail"]);
    assert_eq!(remaining(&wait_for(&apps, "again", [1, 0, 0, 0])), ["mail:token Exposed"]);
}

#[test]
fn where_the_history_does_not_reach_back_it_is_exposed_until_it_is_rotated() {
    let apps = Apps::new("no-history");
    open(&apps, "leak", &["-n", &apps.apps]);
    let object = eventually(DEADLINE, "a word of the operator", || {
        let object = get(&apps, "leak");
        if condition(&object, "Closed").is_object() { Ok(object) } else { Err(object["status"].to_string()) }
    })
    .unwrap();
    assert_eq!(closed(&object), ("False", "NothingMatches"), "nothing is no sign of safety");

    apps.serve_yaml("new", "token: first\n");
    wait_for_remaining(&apps, "leak", "new:token Exposed");
    let said = touchseal(&apps, &["incident", "status", "leak"]).ok().out;
    assert!(said.contains("first served after the exposure"), "{said}");
    apps.next_second();
    apps.apply_yaml("new", "token: second\n");
    let object = wait_for(&apps, "leak", [0, 0, 1, 0]);
    assert_eq!(closed(&object), ("True", "AllSafe"));
}

#[test]
fn what_is_gone_or_was_never_served_remains_until_it_is_accepted() {
    let mut apps = Apps::new("gone");
    apps.serve_yaml("db", "password: first\nuser: app\n");
    apps.serve_yaml("mail", "token: first\n");
    // Encrypted to nobody the operator knows: it exists, and was never served.
    let foreign = apps.sops.encrypt("app.yaml", "token: first\n", &other_recipient(&apps));
    apps.apply_secret("dark", json!({ "documents": [{ "sops": foreign }] }));
    apps.wait_for("dark", "False", "NoMatchingRecipient");
    open(&apps, "leak", &[]);
    let object = wait_for(&apps, "leak", [4, 0, 0, 0]);
    assert_eq!(remaining(&object)[0], "dark:* Exposed");

    // A key is taken out, an object deleted, another one while no operator runs.
    apps.apply_yaml("db", "user: app\n");
    apps.kubectl(&["delete", "encryptedsecret", "mail"]);
    wait_for_remaining(
        &apps,
        "leak",
        "db:password Removed, mail:token Removed, dark:* Exposed, db:user Exposed",
    );
    apps.operator.process.kill();
    apps.kubectl(&["delete", "encryptedsecret", "dark"]);
    apps.restart_operator();
    wait_for_remaining(
        &apps,
        "leak",
        "dark:* Removed, db:password Removed, mail:token Removed, db:user Exposed",
    );

    let target = |rest: &str| format!("{}/{rest}", apps.apps);
    let accept = |rest: &str| {
        touchseal(&apps, &["incident", "accept", "leak", &target(rest), "--reason", "revoked at its service"])
    };
    accept("db:passwort").refused(1, &["nothing of", "remains"]);
    accept("dark").ok();
    accept("db:password").ok();
    accept("mail").ok();
    let object = wait_for(&apps, "leak", [1, 0, 0, 3]);
    assert_eq!(remaining(&object), ["db:user Exposed"]);
    assert_eq!(object["spec"]["accepted"][0]["reason"], "revoked at its service");

    // By hand only with force, and what remained is kept.
    touchseal(&apps, &["incident", "close", "leak"]).refused(3, &["is not over: 1 exposed", "--force"]);
    touchseal(&apps, &["incident", "close", "leak", "--force"]).ok();
    let object = wait_for(&apps, "leak", [1, 0, 0, 3]);
    assert_eq!(closed(&object), ("True", "ClosedByHand"));
    assert_eq!(remaining(&object), ["db:user Exposed"]);
    eventually(DEADLINE, "the Event", || events(&apps, "leak") == ["ClosedByHand"]).unwrap();
}

#[test]
fn what_was_deleted_is_known_to_an_incident_that_is_opened_later_and_to_one_whose_list_is_lost() {
    let mut apps = Apps::new("deleted");
    apps.serve_yaml("db", "password: first\n");
    apps.serve_yaml("mail", "token: first\n");
    apps.serve_yaml("kept", "token: first\n");
    apps.next_second();
    let leaked = Timestamp::now().to_string();
    apps.next_second();
    apps.kubectl(&["delete", "encryptedsecret", "db"]);
    apps.operator.process.kill();
    apps.kubectl(&["delete", "encryptedsecret", "mail"]);
    apps.restart_operator();
    apps.unseal_again();
    touchseal(&apps, &["incident", "open", "leak", "--exposed-at", &leaked]).ok();
    let all = "db:password Removed, mail:token Removed, kept:token Exposed";
    wait_for_remaining(&apps, "leak", all);

    // As if nothing had had a place in the list, and the operator had no memory of it.
    apps.operator.process.kill();
    let lost = json!({ "status": { "remaining": null } }).to_string();
    apps.cluster
        .kubectl_stdout(&["patch", "incident", "leak", "--subresource=status", "--type=merge", "-p", &lost])
        .unwrap();
    apps.restart_operator();
    apps.unseal_again();
    wait_for_remaining(&apps, "leak", all);
    wait_for(&apps, "leak", [3, 0, 0, 0]);

    // What was gone before the exposure was no secret any more; and what is made again goes on where it was.
    open(&apps, "after", &[]);
    wait_for_remaining(&apps, "after", "kept:token Exposed");
    apps.serve_yaml("db", "password: second\n");
    wait_for_remaining(&apps, "leak", "mail:token Removed, kept:token Exposed");
    apps.kubectl(&["delete", "encryptedsecret", "db"]);
    wait_for(&apps, "leak", [2, 0, 1, 0]);
}

/// Recipient of another namespace.
fn other_recipient(apps: &Apps) -> String {
    apps.keyring.recipient_spec("elsewhere").unwrap().recipient
}

#[test]
fn without_the_right_to_read_pods_nothing_becomes_safe() {
    let mut apps = Apps::new("blind");
    let rights = apps.cluster.get(&["clusterrole", &apps.cluster_role()]).unwrap();
    let rules: Vec<Value> = rights["rules"].as_array().unwrap().clone();
    let blind: Vec<&Value> =
        rules.iter().filter(|rule| !rule["resources"].as_array().unwrap().contains(&json!("pods"))).collect();
    assert!(blind.len() < rules.len());
    set_rules(&apps, &json!(blind));
    apps.restart_operator();
    apps.unseal_again();
    apps.serve_yaml("db", "password: first\n");
    assert_eq!(apps.encrypted_secret("db")["status"]["consumers"]["known"], false);
    open(&apps, "leak", &[]);
    wait_for(&apps, "leak", [1, 0, 0, 0]);
    apps.apply_yaml("db", "password: second\n");
    assert_eq!(remaining(&wait_for(&apps, "leak", [0, 1, 0, 0])), ["db:password Unknown"]);
    let arguments = ["rotation", "wait", "db", "-n", &apps.apps, "--timeout", "60s"];
    touchseal(&apps, &arguments).refused(1, &["nobody knows which pods", "list and watch pods"]);
    set_rules(&apps, &json!(rules));
    let object = wait_for(&apps, "leak", [0, 0, 1, 0]);
    assert_eq!(closed(&object), ("True", "AllSafe"));
}

#[test]
fn what_changes_together_is_judged_together() {
    const OBJECTS: usize = 40;
    let apps = Apps::new("burst");
    open(&apps, "leak", &[]);
    let judged = || apps.writes().iter().filter(|write| write.resource == "incidents/status").count();
    eventually(DEADLINE, "a first word", || judged() == 1).unwrap();
    let document = apps.encrypt("app.yaml", "token: first\n");
    let items: Vec<Value> = (0..OBJECTS)
        .map(|number| {
            json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
                "metadata": { "name": format!("app-{number}"), "namespace": apps.apps },
                "spec": { "documents": [{ "sops": document }] } })
        })
        .collect();
    let began = Instant::now();
    apps.cluster.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()).unwrap();
    eventually(DEADLINE, "all to be served and judged", || {
        let object = get(&apps, "leak");
        let served = remaining(&object).iter().filter(|entry| entry.contains(":token ")).count();
        if served == OBJECTS { Ok(()) } else { Err(format!("{served}")) }
    })
    .unwrap();
    let most = began.elapsed().as_secs() + 2;
    let writes = judged() as u64 - 1;
    assert!((1..=most).contains(&writes), "{writes} writes within {:?}", began.elapsed());
}

fn set_rules(apps: &Apps, rules: &Value) {
    let patch = json!([{ "op": "replace", "path": "/rules", "value": rules }]).to_string();
    let role = apps.cluster_role();
    let arguments = ["patch", "clusterrole", &role, "--type=json", "-p", &patch];
    apps.cluster.kubectl_stdout(&arguments).unwrap();
}

#[test]
fn reports_of_a_real_cluster_are_read_by_a_real_browser() {
    let apps = Apps::new("report");
    apps.serve_yaml("db", "password: hunter2-first\n");
    apps.serve_yaml("mail", "token: hunter2-first\n");
    open(&apps, "leak", &[]);
    apps.apply_yaml("db", "password: hunter2-second\n");
    wait_for(&apps, "leak", [1, 0, 1, 0]);
    let folder = apps.cluster.dir();
    let page = |arguments: &[&str], name: &str| {
        let place = folder.join(name);
        touchseal(&apps, &[arguments, &["-f", place.to_str().unwrap()]].concat()).ok();
        read(&place)
    };
    let browser = Browser::new().unwrap();
    let incident = browser.dom(&page(&["incident", "report", "leak"], "incident.html")).unwrap();
    for shown in [
        "<b>1</b><span>exposed",
        "<b>1</b><span>safe",
        "tokens leaked",
        "report-apps/mail",
        "<svg class=\"timeline\"",
    ] {
        assert!(incident.contains(shown), "{shown}");
    }
    let rotation = browser.dom(&page(&["rotation", "report"], "rotation.html")).unwrap();
    assert!(rotation.contains("2 secrets with 2 keys") && rotation.contains("revoke it if that is not done"));
    for page in [incident, rotation] {
        assert!(!page.contains("hunter2"), "a value in a report");
    }
}

fn read(place: &Path) -> String {
    fs::read_to_string(place).unwrap()
}

/// What is around a value is no rotation of it, and of a composed value the oldest document counts.
#[test]
fn a_new_template_rotates_nothing() {
    let apps = Apps::new("template-leak");
    let place = apps.encrypt("place.yaml", "host: db\n");
    let apply = |place: &str, password: &str, url: &str| {
        let template = json!({ "template": { "data": { "url": url } } });
        apps.apply_secret(
            "db",
            json!({ "documents": [{ "sops": place }, { "sops": password }], "target": template }),
        );
    };
    let first = apps.encrypt("password.yaml", "password: first\n");
    apply(&place, &first, "//{{ password }}@{{ host }}");
    apps.wait_for_generation("db", 1);
    open(&apps, "leak", &[]);
    wait_for(&apps, "leak", [1, 0, 0, 0]);
    apply(&place, &first, "//{{ password }}@{{ host }}/shop");
    apps.wait_for_generation("db", 2);
    // The host moves, the password stays.
    let moved = apps.encrypt("place.yaml", "host: db2\n");
    apply(&moved, &first, "//{{ password }}@{{ host }}/shop");
    apps.wait_for_generation("db", 3);
    wait_for(&apps, "leak", [1, 0, 0, 0]);
    let second = apps.encrypt("password.yaml", "password: second\n");
    apply(&moved, &second, "//{{ password }}@{{ host }}/shop");
    apps.wait_for_generation("db", 4);
    wait_for(&apps, "leak", [0, 0, 1, 0]);
}
