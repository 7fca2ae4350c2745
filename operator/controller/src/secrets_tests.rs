//! What is known of our Secrets, whatever order the watch and our own writes come in.

use serde_json::json;

use super::*;

fn secret(version: &str, data: &[(&str, &str)]) -> Secret {
    let data = data.iter().map(|(k, v)| ((*k).to_owned(), k8s_openapi::ByteString(v.as_bytes().to_vec())));
    Secret {
        metadata: ObjectMeta {
            namespace: Some("apps".to_owned()),
            name: Some("app".to_owned()),
            uid: Some("uid-1".to_owned()),
            resource_version: Some(version.to_owned()),
            annotations: Some([(SOURCE_ANNOTATION.to_owned(), "app".to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some(data.collect()),
        ..Secret::default()
    }
}

#[test]
fn versions_are_compared_as_numbers() {
    assert!(newer("10", "9"));
    assert!(!newer("9", "10"));
    assert!(!newer("10", "10"));
    assert!(newer("a", "b") && newer("b", "a"), "unknown order: any difference counts");
}

#[test]
fn what_the_watch_brings_late_is_no_news() {
    let secrets = Secrets::new();
    assert!(secrets.seen(&secret("5", &[("a", "1")])));
    secrets.wrote(&secret("6", &[("a", "2")]));
    assert!(!secrets.seen(&secret("5", &[("a", "1")])), "the watch, one behind");
    assert!(!secrets.seen(&secret("6", &[("a", "2")])), "the watch, caught up");
    assert_eq!(secrets.get(&key(&secret("", &[]))).unwrap().resource_version, "6");
}

#[test]
fn an_answer_that_comes_after_the_watch_has_seen_the_removal_brings_nothing_back() {
    let secrets = Secrets::new();
    secrets.seen(&secret("5", &[]));
    secrets.gone(&secret("7", &[]));
    secrets.wrote(&secret("6", &[]));
    assert!(secrets.get(&key(&secret("", &[]))).is_none());
    secrets.wrote(&secret("8", &[]));
    assert!(secrets.get(&key(&secret("", &[]))).is_some(), "made anew after that");
}

/// Each namespace may have a watch of its own, and how far one is says nothing of another.
#[test]
fn an_answer_counts_until_the_watch_of_its_own_namespace_is_past_it() {
    let secrets = Secrets::new();
    let mut elsewhere = secret("9", &[]);
    elsewhere.metadata.namespace = Some("other".to_owned());
    secrets.seen(&elsewhere);
    secrets.wrote(&secret("8", &[]));
    assert!(secrets.get(&key(&secret("", &[]))).is_some());
    // The list of one namespace says nothing of another, either.
    let lost = secrets.retain(Some("other"), &HashSet::new());
    assert_eq!(lost.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [key(&elsewhere)]);
    assert!(secrets.get(&key(&secret("", &[]))).is_some());
}

#[test]
fn the_removal_of_an_earlier_object_leaves_its_successor() {
    let secrets = Secrets::new();
    let mut successor = secret("9", &[]);
    successor.metadata.uid = Some("uid-2".to_owned());
    secrets.seen(&successor);
    secrets.gone(&secret("8", &[]));
    assert!(secrets.get(&key(&successor)).is_some());
    secrets.gone(&successor);
    assert!(secrets.get(&key(&successor)).is_none());
}

#[test]
fn a_fresh_list_tells_what_went_away_unseen() {
    let secrets = Secrets::new();
    secrets.seen(&secret("5", &[]));
    assert!(secrets.retain(None, &HashSet::from([key(&secret("", &[]))])).is_empty());
    let lost = secrets.retain(None, &HashSet::new());
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].1.source.as_deref(), Some("app"));
}

#[test]
fn fingerprints_tell_contents_apart_and_nothing_else() {
    let secrets = Secrets::new();
    let print = |data: &[(&str, &str)]| secrets.compact(&secret("1", data)).fingerprint;
    assert_eq!(print(&[("a", "1"), ("b", "2")]), print(&[("b", "2"), ("a", "1")]));
    for other in [&[("a", "2")][..], &[("b", "1")], &[("a", "1"), ("b", "")], &[("a1", "")], &[]] {
        assert_ne!(print(&[("a", "1")]), print(other), "{other:?}");
    }
    assert_ne!(
        print(&[("a", "1")]),
        Secrets::new().compact(&secret("1", &[("a", "1")])).fingerprint,
        "another process has another key"
    );
}

#[test]
fn only_one_may_make_the_secret_of_a_name() {
    let secrets = Secrets::new();
    let place = key(&secret("", &[]));
    let claim = secrets.claim(&place, "app").unwrap();
    assert!(secrets.claim(&place, "other").is_none());
    secrets.seen(&secret("5", &[]));
    drop(claim);
    assert!(secrets.claim(&place, "other").is_none(), "it has been made for another");
    assert!(secrets.claim(&place, "app").is_some());
}

#[test]
fn what_the_watch_brings_of_a_write_under_way_is_no_news_and_what_follows_it_is_not_lost() {
    let secrets = Secrets::new();
    let place = key(&secret("", &[]));
    let claim = secrets.claim(&place, "app").unwrap();
    assert!(!secrets.seen(&secret("5", &[("a", "1")])), "our own, before its answer");
    assert!(!claim.end(&secret("5", &[("a", "1")])));
    assert!(!secrets.seen(&secret("5", &[("a", "1")])) && secrets.seen(&secret("6", &[("a", "2")])));

    let claim = secrets.claim(&place, "app").unwrap();
    for version in ["7", "8"] {
        assert!(!secrets.seen(&secret(version, &[("a", "3")])));
    }
    assert!(claim.end(&secret("7", &[("a", "3")])), "8 is somebody else's");
    // One that changed hands is news for both.
    let claim = secrets.claim(&place, "app").unwrap();
    let mut taken = secret("9", &[]);
    taken.metadata.annotations.as_mut().unwrap().insert(SOURCE_ANNOTATION.to_owned(), "other".to_owned());
    assert!(secrets.seen(&taken));
    drop(claim);
    assert!(secrets.lock().claims.is_empty());
}

/// A Secret of `app` that bears a role.
fn with_role(name: &str, version: &str) -> Secret {
    let mut secret = secret(version, &[("a", "1")]);
    secret.metadata.name = Some(name.to_owned());
    let role = (ROLE_ANNOTATION.to_owned(), "generation".to_owned());
    secret.metadata.annotations.as_mut().unwrap().extend([role]);
    secret.metadata.managed_fields = serde_json::from_value(json!([{
        "manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {
            "f:metadata": { "f:annotations": { (format!("f:{ROLE_ANNOTATION}")): {} } }, "f:data": { "f:a": {} },
        },
    }]))
    .unwrap();
    secret
}

#[test]
fn the_secrets_of_one_source_are_found_while_they_are_there() {
    let secrets = Secrets::new();
    let source = key(&secret("", &[]));
    let names = |secrets: &Secrets| -> Vec<String> {
        secrets.of(&source, "app").into_iter().map(|other| other.name).collect()
    };
    secrets.seen(&secret("5", &[]));
    secrets.seen(&with_role("app-g1", "6"));
    secrets.wrote(&with_role("app-g2", "7"));
    let mut foreign = with_role("app-g3", "8");
    foreign.metadata.annotations.as_mut().unwrap().insert(SOURCE_ANNOTATION.to_owned(), "other".to_owned());
    secrets.seen(&foreign);
    assert_eq!(names(&secrets), ["app-g1", "app-g2", "app"]);
    secrets.gone(&with_role("app-g1", "9"));
    assert_eq!(names(&secrets), ["app-g2", "app"]);
    // One that changes hands is another's.
    let mut taken = with_role("app-g2", "10");
    taken.metadata.annotations.as_mut().unwrap().insert(SOURCE_ANNOTATION.to_owned(), "other".to_owned());
    secrets.seen(&taken);
    assert_eq!(names(&secrets), ["app"]);
    secrets.retain(None, &HashSet::new());
    assert!(names(&secrets).is_empty() && secrets.lock().roles.is_empty());
}

#[test]
fn values_that_others_wrote_into_a_kept_secret_are_told() {
    let secrets = Secrets::new();
    let mut kept = with_role("app-previous", "5");
    assert!(!secrets.compact(&kept).altered);
    let theirs = json!({ "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:metadata": { "f:labels": {} } } });
    kept.metadata.managed_fields.as_mut().unwrap().push(serde_json::from_value(theirs).unwrap());
    assert!(!secrets.compact(&kept).altered, "a label is theirs to add");
    let theirs =
        json!({ "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:data": { "f:a": {} } } });
    kept.metadata.managed_fields.as_mut().unwrap().push(serde_json::from_value(theirs).unwrap());
    assert!(secrets.compact(&kept).altered);
}

#[test]
fn labels_and_annotations_of_others_are_not_ours() {
    let mut secret = secret("1", &[]);
    secret.metadata.labels =
        Some([("team".to_owned(), "a".to_owned()), ("backup".to_owned(), "yes".to_owned())].into());
    secret.metadata.managed_fields = serde_json::from_value(json!([
        { "manager": FIELD_MANAGER, "operation": "Update", "fieldsV1": { "f:metadata": {
            "f:labels": { "f:team": {}, "f:gone": {} } } } },
        { "manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": { "f:metadata": {
            "f:annotations": { "f:touchseal.dev/encrypted-secret": {} } } } },
        { "manager": "velero", "operation": "Update", "fieldsV1": { "f:metadata": { "f:labels": { "f:backup": {} } } } },
    ])).unwrap();
    let compact = Secrets::new().compact(&secret);
    assert_eq!(compact.labels, [("team".to_owned(), "a".to_owned())].into());
    assert_eq!(compact.annotations.keys().collect::<Vec<_>>(), [SOURCE_ANNOTATION]);
    assert_eq!(compact.source.as_deref(), Some("app"));
}

#[test]
fn values_that_others_wrote_since_we_did_are_told_and_our_time_is_the_api_servers() {
    let field = |manager: &str, operation: &str, time: &str, field: &str| json!({ "manager": manager, "operation": operation, "time": time, "fieldsV1": { "f:data": { (field): {} } } });
    let told = |theirs: serde_json::Value| {
        let mut taken_over = secret("5", &[("a", "1")]);
        let ours = field(FIELD_MANAGER, "Apply", "2026-03-01T00:00:09Z", "f:a");
        taken_over.metadata.managed_fields = serde_json::from_value(json!([theirs, ours])).unwrap();
        assert_eq!(
            written_at(&taken_over.metadata).map(|time| time.0.to_string()).as_deref(),
            Some("2026-03-01T00:00:09Z")
        );
        Secrets::new().compact(&taken_over).altered
    };
    assert!(!told(field("kubectl", "Update", "2026-03-01T00:00:08Z", "f:a")), "the same value, before us");
    for since in ["2026-03-01T00:00:09Z", "2026-03-01T00:00:10Z"] {
        assert!(told(field("kubectl", "Update", since, "f:a")), "{since}");
        assert!(!told(field("kubectl", "Update", since, ".")), "nothing of a value: {since}");
    }
    assert_eq!(written_at(&secret("5", &[]).metadata), None);
}
