//! How the operator learns what there is: by streams, and in pages from an API server that streams no lists.

use serde_json::Value;
use touchseal_rig::cluster::Options;
use touchseal_suites::world::value;
use touchseal_suites::{Apps, World};

/// What was asked for of EncryptedSecrets and the Secrets of ours in a restart: verb, and the query.
fn asked(apps: &Apps, before: usize) -> Vec<(String, String)> {
    let text = |event: &Value, pointer: &str| {
        event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let requests = apps.audited().split_off(before);
    let of_interest = |event: &&Value| {
        let kind = text(event, "/objectRef/resource");
        let query = text(event, "/requestURI");
        ["list", "watch"].contains(&text(event, "/verb").as_str())
            && (kind == "encryptedsecrets" || kind == "secrets" && query.contains("labelSelector"))
    };
    let requests = requests.iter().filter(of_interest);
    requests.map(|event| (text(event, "/verb"), text(event, "/requestURI"))).collect()
}

/// One Secret before the restart and one after; gives what was asked for at the restart.
fn restart(apps: &mut Apps) -> Vec<(String, String)> {
    apps.serve_yaml("app", "password: first\n");
    let before = apps.audited().len();
    apps.restart_operator();
    apps.unseal_again();
    apps.apply_yaml("app", "password: second\n");
    apps.wait_for_secret("app", "the second", |secret| {
        value(secret, "password").as_deref() == Some(b"second")
    });
    apps.serve_yaml("other", "password: third\n");
    asked(apps, before)
}

#[test]
fn what_there_is_comes_as_a_stream() {
    let asked = restart(&mut Apps::new("streams"));
    assert!(asked.iter().all(|(verb, query)| verb == "watch" && query.contains("sendInitialEvents=true")));
    assert!(asked.len() >= 2, "{asked:?}");
}

#[test]
fn an_api_server_that_streams_no_lists_is_asked_for_pages() {
    let options = Options { no_streaming_lists: true, ..Options::default() };
    let asked = restart(&mut Apps::on(World::alone_with("pages", options), &[]));
    let lists = asked.iter().filter(|(verb, query)| verb == "list" && query.contains("limit=9"));
    assert!(lists.count() >= 2, "{asked:?}");
    let watches =
        asked.iter().filter(|(_, query)| query.contains("watch=true") && !query.contains("sendInitial"));
    assert!(watches.count() >= 2, "{asked:?}");
}
