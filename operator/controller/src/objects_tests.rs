//! The EncryptedSecrets that are kept, and what of them is worth a reconcile.

use touchseal_crds::{EncryptedSecretSpec, EncryptedSecretStatus};

use super::*;

fn object(version: &str, generation: i64) -> EncryptedSecret {
    let mut object = EncryptedSecret::new("app", EncryptedSecretSpec::default());
    object.metadata.namespace = Some("apps".to_owned());
    object.metadata.uid = Some("uid-1".to_owned());
    object.metadata.resource_version = Some(version.to_owned());
    object.metadata.generation = Some(generation);
    object
}

fn with_status(mut object: EncryptedSecret, number: i64) -> EncryptedSecret {
    object.status =
        Some(EncryptedSecretStatus { secret_generation: Some(number), ..EncryptedSecretStatus::default() });
    object
}

fn objects() -> (Objects, Arc<Echoes>) {
    let echoes = Arc::<Echoes>::default();
    (Objects::new(Arc::clone(&echoes)), echoes)
}

fn tell(objects: &Objects, event: Event<EncryptedSecret>) -> Vec<(Key, Lane)> {
    at_once(objects.take(Told { place: None, event }))
}

fn at_once(asked: Vec<(Key, Lane, Duration)>) -> Vec<(Key, Lane)> {
    assert!(asked.iter().all(|(.., wait)| wait.is_zero()));
    asked.into_iter().map(|(key, lane, _)| (key, lane)).collect()
}

/// What the watch's telling of this change of an object brings about, whose status was right before.
fn asked_after(change: impl FnOnce(&mut EncryptedSecret)) -> Vec<(Key, Lane)> {
    let (objects, echoes) = objects();
    let mut object = with_status(object("1", 1), 1);
    tell(&objects, Event::Apply(object.clone()));
    echoes.right(&observe::key(&object), object.status.as_ref());
    object.metadata.resource_version = Some("2".to_owned());
    change(&mut object);
    tell(&objects, Event::Apply(object))
}

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

#[test]
fn what_is_packed_comes_out_as_it_was() {
    let (objects, _) = objects();
    let full: EncryptedSecret = serde_json::from_value(serde_json::json!({
        "metadata": { "name": "app", "namespace": "apps", "uid": "u", "resourceVersion": "7", "generation": 3,
            "labels": { "a": "b" }, "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": { LAST_APPLIED: "all of it", "mine": "x" },
            "managedFields": [{ "manager": "kubectl" }] },
        "spec": { "documents": [{ "name": "a.yaml", "sops": "one" }, { "configMapKeyRef": { "name": "m", "key": "k" } }, { "sops": "three" }],
            "rotation": { "maxAge": "90d" } },
        "status": { "secretGeneration": 4, "keys": [{ "name": "k", "since": "2026-01-01T00:00:00Z" }] },
    }))
    .unwrap();
    assert_eq!(tell(&objects, Event::Apply(full.clone())), [(key("apps", "app"), Lane::Changed)]);
    let mut expected = full;
    expected.metadata.managed_fields = None;
    expected.annotations_mut().remove(LAST_APPLIED);
    let json = |object: &EncryptedSecret| serde_json::to_value(object).unwrap();
    let found = objects.get(&key("apps", "app")).unwrap();
    assert!(found.whole);
    assert_eq!(json(&found.object), json(&expected));
    // Whoever looks at all of them looks at no documents.
    expected.spec.documents.iter_mut().for_each(|document| document.sops = None);
    let each: Vec<_> = objects.each().map(|object| json(&object)).collect();
    assert_eq!(each, [json(&expected)]);
}

#[test]
fn the_text_of_what_is_served_is_kept_only_until_it_is() {
    let (objects, _) = objects();
    let at = |version: &str, generation: i64| {
        let mut object = object(version, generation);
        object.spec.documents = serde_json::from_value(serde_json::json!([{ "sops": "text" }])).unwrap();
        object.annotations_mut().insert(RECONCILE_ANNOTATION.to_owned(), "now".to_owned());
        with_status(object, generation)
    };
    let text = || {
        let found = objects.get(&key("apps", "app")).unwrap();
        let text = found.object.spec.documents.first().is_some_and(|document| document.sops.is_some());
        assert_eq!((found.whole, found.object.annotations().is_empty()), (text, !text));
        assert!(found.object.status.is_some(), "it is counted");
        found.whole
    };
    tell(&objects, Event::Apply(at("1", 1)));
    assert!(text());
    objects.served(&at("1", 1));
    assert!(!text());
    tell(&objects, Event::Apply(at("2", 1)));
    assert!(!text(), "nothing that matters has changed");
    tell(&objects, Event::Apply(at("3", 2)));
    assert!(text());
    objects.served(&at("2", 1));
    assert!(text(), "that was another generation");
}

#[test]
fn a_list_that_is_behind_changes_nothing_and_a_namesake_is_another() {
    let (objects, _) = objects();
    let version = || {
        objects.get(&key("apps", "app")).map(|found| (found.object.metadata.resource_version, found.listed))
    };
    tell(&objects, Event::Apply(object("7", 2)));
    tell(&objects, Event::Init);
    assert!(tell(&objects, Event::InitApply(object("5", 1))).is_empty());
    tell(&objects, Event::InitDone);
    assert_eq!(version(), Some((Some("7".to_owned()), false)));
    let mut namesake = object("6", 1);
    namesake.metadata.uid = Some("uid-2".to_owned());
    assert_eq!(tell(&objects, Event::InitApply(namesake)).len(), 1);
    assert_eq!(version(), Some((Some("6".to_owned()), true)));
}

#[test]
fn however_many_there_are_most_of_the_time_nobody_looks_at_all_of_them() {
    let second = Duration::from_secs(1);
    let rests = [0, 10, 300, 40_000].map(|took| rest(second, Duration::from_millis(took)));
    assert_eq!(rests, [second, second, second * 6, LONGEST_REST]);
}

#[test]
fn a_list_of_one_namespace_leaves_what_is_in_others_alone() {
    let (objects, echoes) = objects();
    for (namespace, name) in [("a", "stays"), ("a", "goes"), ("a", "comes"), ("b", "other")] {
        echoes.right(&key(namespace, name), None);
    }
    let of = |namespace: &str, name: &str| {
        let mut object = EncryptedSecret::new(name, EncryptedSecretSpec::default());
        object.metadata.namespace = Some(namespace.to_owned());
        object
    };
    let told = [
        ("a", Event::Init),
        ("a", Event::InitApply(of("a", "stays"))),
        ("a", Event::InitApply(of("a", "goes"))),
        ("a", Event::InitDone),
        ("b", Event::Init),
        // While one lists, another's watch goes on.
        ("a", Event::Apply(of("a", "comes"))),
        ("b", Event::InitApply(of("b", "other"))),
        ("b", Event::InitDone),
        ("a", Event::Init),
        ("a", Event::InitApply(of("a", "stays"))),
        ("a", Event::InitApply(of("a", "comes"))),
        ("a", Event::InitDone),
    ];
    let told =
        told.map(|(place, event)| at_once(objects.take(Told { place: Some(place.to_owned()), event })));
    let asked: Vec<_> = told.into_iter().flatten().collect();
    let expected = [
        (key("a", "stays"), Lane::Listed),
        (key("a", "goes"), Lane::Listed),
        (key("a", "comes"), Lane::Changed),
        (key("b", "other"), Lane::Listed),
        (key("a", "goes"), Lane::Changed),
    ];
    assert_eq!(asked, expected, "what did not change is not looked at again, and what is gone is");
    assert_eq!(objects.keys(), [key("a", "comes"), key("a", "stays"), key("b", "other")]);
}

#[test]
fn our_own_status_writes_never_retrigger() {
    let (objects, echoes) = objects();
    assert_eq!(tell(&objects, Event::Apply(object("1", 1))).len(), 1);
    let written = with_status(object("2", 1), 1);
    echoes.right(&observe::key(&written), written.status.as_ref());
    assert!(tell(&objects, Event::Apply(written)).is_empty());
    assert_eq!(
        objects.get(&key("apps", "app")).unwrap().object.metadata.resource_version.as_deref(),
        Some("2")
    );
}

#[test]
fn spec_annotation_namesake_deletion_and_status_changes_pass() {
    type Change = fn(&mut EncryptedSecret);
    let cases: [(&str, Change); 5] = [
        ("spec", |o| o.metadata.generation = Some(2)),
        ("annotation", |o| {
            o.annotations_mut().insert(RECONCILE_ANNOTATION.to_owned(), "now".to_owned());
        }),
        ("namesake", |o| o.metadata.uid = Some("uid-2".to_owned())),
        ("deletion", |o| {
            let now = k8s_openapi::jiff::Timestamp::now();
            o.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
        }),
        ("status lost", |o| o.status = None),
    ];
    for (what, change) in cases {
        assert_eq!(asked_after(change).len(), 1, "{what}");
    }
}

#[test]
fn a_status_that_somebody_keeps_changing_is_put_right_later_and_a_change_of_the_spec_at_once() {
    let (objects, echoes) = objects();
    let mut shown = with_status(object("1", 1), 1);
    tell(&objects, Event::Apply(shown.clone()));
    echoes.right(&observe::key(&shown), shown.status.as_ref());
    let mut show = |version: &str, generation: i64, status: i64| {
        shown = with_status(object(version, generation), status);
        objects.take(Told { place: None, event: Event::Apply(shown.clone()) })
    };
    let waits = |asked: Vec<(Key, Lane, Duration)>| asked[0].2.as_secs();
    assert_eq!([show("2", 1, 7), show("3", 1, 8), show("4", 1, 9)].map(waits), [0, 1, 2]);
    assert_eq!(waits(show("5", 2, 10)), 0);
}

#[test]
fn other_peoples_labels_do_not_pass() {
    let asked = asked_after(|object| drop(object.labels_mut().insert("team".to_owned(), "a".to_owned())));
    assert!(asked.is_empty());
}

#[test]
fn a_removal_is_told_also_when_it_happened_while_the_watch_was_down() {
    let (objects, _) = objects();
    tell(&objects, Event::Apply(object("1", 1)));
    assert_eq!(tell(&objects, Event::Delete(object("2", 1))).len(), 1);
    tell(&objects, Event::Apply(object("3", 1)));
    assert!(tell(&objects, Event::Init).is_empty());
    assert_eq!(tell(&objects, Event::InitDone), [(key("apps", "app"), Lane::Changed)]);
    assert!(!objects.has(&key("apps", "app")));
}
