//! What a status tells of the key an object needs, and that no object is left out of the count.

use serde_json::json;

use super::*;

fn object(
    namespace: &str,
    observed: i64,
    ready: &str,
    keyring: Option<&str>,
    oldest: Option<i32>,
) -> EncryptedSecret {
    serde_json::from_value(json!({
        "metadata": { "name": "app", "namespace": namespace, "generation": 2 },
        "spec": { "documents": [] },
        "status": {
            "observedGeneration": observed, "keyring": keyring, "keyGeneration": oldest,
            "conditions": [{ "type": "Ready", "status": ready, "reason": "Materialised", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z" }],
        },
    }))
    .unwrap()
}

fn served(namespace: &str, oldest: i32) -> EncryptedSecret {
    object(namespace, 2, "True", Some("main"), Some(oldest))
}

/// A keyring whose generations are in these states.
fn spec(states: &[&str]) -> KeyringSpec {
    let generation = |(at, state): (usize, &&str)| json!({ "number": at + 1, "state": state, "createdAt": "", "verifyKey": "" });
    let generations: Vec<_> = states.iter().enumerate().map(generation).collect();
    serde_json::from_value(json!({
        "version": 1, "id": "", "revision": 1, "holders": [], "signature": "", "generations": generations,
    }))
    .unwrap()
}

fn census(objects: &[EncryptedSecret]) -> Census {
    let mut census = Census::default();
    objects.iter().for_each(|object| census.add(object));
    census
}

fn numbers(documents: &[GenerationDocuments]) -> Vec<(u32, u32)> {
    documents.iter().map(|entry| (entry.generation, entry.count.objects)).collect()
}

#[test]
fn only_success_at_the_present_generation_tells_what_is_needed() {
    assert_eq!(needs(&served("a", 3)), Needs::Generation { keyring: "main", oldest: 3 });
    let mut bare = served("a", 3);
    bare.status = None;
    let unclear = [
        (object("a", 1, "True", Some("main"), Some(3)), Some("main")),
        (object("a", 2, "False", Some("main"), Some(3)), Some("main")),
        (object("a", 2, "True", Some("main"), None), Some("main")),
        (object("a", 2, "True", Some("main"), Some(-1)), Some("main")),
        (object("a", 2, "True", None, Some(3)), None),
        (bare, None),
    ];
    for (object, of) in &unclear {
        assert!(matches!(needs(object), Needs::Unclear { keyring, .. } if keyring == *of), "{object:?}");
    }
}

#[test]
fn every_generation_that_is_not_retired_is_told_also_with_nothing() {
    let objects =
        [served("a", 3), served("b", 3), served("a", 3), object("a", 2, "True", Some("other"), Some(2))];
    let (documents, unclear) = census(&objects).of("main", &spec(&["Retired", "Retiring", "Active"]));
    assert_eq!(numbers(&documents), [(2, 0), (3, 3)]);
    let places: Vec<_> =
        documents[1].count.namespaces.iter().map(|n| (n.namespace.as_str(), n.objects)).collect();
    assert_eq!(places, [("a", 2), ("b", 1)]);
    assert_eq!(unclear, None);
}

#[test]
fn who_cannot_be_judged_counts_and_so_does_a_generation_the_keyring_has_not() {
    let mut bare = served("c", 1);
    bare.status = None;
    let objects = [
        served("a", 1),                                 // retired
        served("a", 7),                                 // never was
        bare,                                           // of any keyring
        object("b", 1, "True", Some("main"), Some(2)),  // changed since
        object("b", 1, "True", Some("other"), Some(2)), // of another keyring
    ];
    let census = census(&objects);
    let (documents, unclear) = census.of("main", &spec(&["Retired", "Active"]));
    assert_eq!(numbers(&documents), [(2, 0)]);
    assert_eq!(unclear.map(|count| count.objects), Some(4));
    assert_eq!(census.of("other", &spec(&["Active"])).1.map(|count| count.objects), Some(2));
}

#[test]
fn totals_stay_exact_where_namespaces_are_too_many_to_list() {
    let mut objects: Vec<_> = (0..90).map(|number| served(&format!("n{number:02}"), 1)).collect();
    objects.push(served("n77", 1));
    let (documents, _) = census(&objects).of("main", &spec(&["Active"]));
    let count = &documents[0].count;
    assert_eq!((count.objects, count.namespaces.len(), count.more_namespaces), (91, 20, Some(70)));
    assert_eq!(count.namespaces[0].namespace, "n77", "most first");
    let many = vec!["Retiring"; 1024];
    let (documents, _) = census(&objects).of("main", &spec(&many));
    let listed: usize = documents.iter().map(|entry| entry.count.namespaces.len()).sum();
    assert!(listed <= 400, "{listed}: a status has an end");
}
