//! The table, its filters and its order, over one made-up cluster.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-06-01T00:00:00Z";

fn object(name: &str, status: Value) -> EncryptedSecret {
    serde_json::from_value(json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
        "metadata": { "name": name, "namespace": "shop", "generation": 1 },
        "spec": { "documents": [], "rotation": { "class": "dualKey" } }, "status": status,
    }))
    .unwrap()
}

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z" })
}

/// Four objects: overdue, draining, unknown and not served.
fn cluster() -> Vec<Row> {
    let ready = condition("Ready", "True", "Materialised");
    let rolled = |draining: Value, consumers: Value| {
        json!({
            "observedGeneration": 1, "secretGeneration": 2, "conditions": [ready, draining], "consumers": consumers,
            "keys": [{ "name": "token", "since": "2026-05-31T00:00:00Z", "replaced": true, "due": "2026-08-31T00:00:00Z" }],
            "generations": [
                { "number": 2, "since": "2026-05-31T00:00:00Z", "changedCount": 1 },
                { "number": 1, "since": "2026-05-01T00:00:00Z", "changedCount": 1 },
            ],
        })
    };
    let workloads = json!([{ "kind": "Deployment", "name": "web", "pods": 2 }]);
    let stale = json!({ "known": true, "current": 1, "stale": 2, "staleWorkloads": workloads });
    let objects = [
        object(
            "old",
            json!({
                "observedGeneration": 1, "secretGeneration": 1, "conditions": [ready],
                "keys": [
                    { "name": "password", "since": "2026-01-01T00:00:00Z", "due": "2026-04-01T00:00:00Z" },
                    { "name": "user", "since": "2026-01-01T00:00:00Z" },
                ],
                "consumers": { "known": true, "current": 3, "stale": 0 },
            }),
        ),
        object("busy", rolled(condition("Draining", "True", "StaleConsumers"), stale)),
        object(
            "dark",
            rolled(condition("Draining", "Unknown", "ConsumersUnknown"), json!({ "known": false })),
        ),
        object(
            "sealed",
            json!({ "observedGeneration": 1, "conditions": [condition("Ready", "False", "Sealed")] }),
        ),
    ];
    rows(&objects, NOW.parse().unwrap())
}

fn shown(filters: &[Filter], by: Sort) -> Vec<String> {
    let mut rows = cluster();
    filter(&mut rows, filters);
    sort(&mut rows, by);
    rows.iter().map(|row| format!("{}:{}", row.secret, row.key.as_deref().unwrap_or("-"))).collect()
}

#[test]
fn the_table_says_what_is_known_and_what_is_not() {
    let mut rows = cluster();
    sort(&mut rows, Sort::Name);
    let text = text(&rows, NOW.parse().unwrap(), false);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split("   ").map(str::trim).filter(|c| !c.is_empty()).collect())
        .collect();
    assert_eq!(lines[0], ["NAMESPACE", "SECRET", "KEY", "GENERATION", "AGE", "DUE", "STALE", "NEXT STEP"]);
    assert_eq!(lines[1][..7], ["shop", "busy", "token", "2", "24h", "in 91d", "2"]);
    assert!(lines[1][7].starts_with("2 pods hold the old value"), "{text}");
    assert_eq!(lines[2][..7], ["shop", "dark", "token", "2", "24h", "in 91d", "?"]);
    assert_eq!(lines[3][..7], ["shop", "old", "password", "1", "151d", "61d ago", "0"]);
    assert_eq!(lines[4][..8], ["shop", "old", "user", "1", "151d", "-", "0", "-"]);
    assert_eq!(lines[5][..7], ["shop", "sealed", "-", "-", "-", "-", "-"]);
    let wide = super::text(&rows, NOW.parse().unwrap(), true);
    assert!(wide.contains("Draining    dualKey   Deployment/web (2)"), "{wide}");
    assert_eq!(super::text(&[], NOW.parse().unwrap(), false), "nothing to show\n");
}

#[test]
fn filters_keep_what_passes_any_of_them() {
    let by_name = |filters: &[Filter]| shown(filters, Sort::Name);
    assert_eq!(by_name(&[]).len(), 5);
    assert_eq!(by_name(&[Filter::Due]), ["old:password"]);
    assert_eq!(by_name(&[Filter::Overdue]), ["old:password"]);
    assert_eq!(by_name(&[Filter::Stale]), ["busy:token", "dark:token"]);
    assert_eq!(by_name(&[Filter::Trouble]), ["sealed:-"]);
    assert_eq!(by_name(&[Filter::Ageless]), ["old:user"]);
    assert_eq!(by_name(&[Filter::Revocable]), [""; 0]);
    assert_eq!(by_name(&[Filter::Overdue, Filter::Trouble]), ["old:password", "sealed:-"]);
}

#[test]
fn every_order_is_a_total_one() {
    assert_eq!(shown(&[], Sort::Age), ["old:password", "old:user", "busy:token", "dark:token", "sealed:-"]);
    assert_eq!(shown(&[], Sort::Due), ["old:password", "busy:token", "dark:token", "old:user", "sealed:-"]);
    assert_eq!(shown(&[], Sort::Stale)[0], "busy:token");
    assert_eq!(shown(&[], Sort::State), ["sealed:-", "busy:token", "dark:token", "old:password", "old:user"]);
}

#[test]
fn programs_get_one_object_a_key_and_no_guesses() {
    let rows = cluster();
    let json = serde_json::to_value(&rows).unwrap();
    let dark = json.as_array().unwrap().iter().find(|row| row["secret"] == "dark").unwrap();
    assert_eq!(dark["state"], "Unknown");
    assert!(dark.get("staleConsumers").is_none(), "unknown is not zero: {dark}");
    let busy = json.as_array().unwrap().iter().find(|row| row["secret"] == "busy").unwrap();
    assert_eq!(busy["staleConsumers"], 2);
    assert_eq!(busy["staleWorkloads"][0], "Deployment/web (2)");
    assert_eq!(busy["class"], "dualKey");
    let names = |namespace| names(&rows, namespace).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(Some("shop")).len(), 4);
    assert_eq!(names(Some("shop"))[0], "encryptedsecret.touchseal.dev/old");
    assert_eq!(names(None)[0], "-n shop encryptedsecret.touchseal.dev/old");
}

#[test]
fn a_key_without_an_older_value_has_no_stale_consumers() {
    let since = "2026-05-31T00:00:00Z";
    let mut objects = [object(
        "busy",
        json!({
            "observedGeneration": 1, "secretGeneration": 2,
            "conditions": [condition("Ready", "True", "Materialised"), condition("Draining", "True", "StaleConsumers")],
            "keys": [{ "name": "added", "since": since }, { "name": "changed", "since": since, "replaced": true }],
            "generations": [
                { "number": 2, "since": since, "changedCount": 2 },
                { "number": 1, "since": "2026-05-01T00:00:00Z", "changedCount": 1 },
            ],
            "consumers": { "known": true, "current": 1, "stale": 2,
                "staleWorkloads": [{ "kind": "Deployment", "name": "web", "pods": 2 }] },
        }),
    )];
    let told = |objects: &[EncryptedSecret]| {
        let rows = rows(objects, NOW.parse().unwrap());
        rows.iter().map(|row| (row.stale_consumers, row.stale_workloads.len())).collect::<Vec<_>>()
    };
    assert_eq!(told(&objects), [(Some(0), 0), (Some(2), 1)]);
    objects[0].status.as_mut().unwrap().consumers.as_mut().unwrap().known = false;
    assert_eq!(told(&objects)[0].0, None, "unknown is not zero");
}

#[test]
fn an_old_value_may_be_revoked_also_when_the_next_rotation_is_due() {
    let since = "2026-05-01T00:00:00Z";
    let rotated = |due: &str| {
        let status = json!({
            "observedGeneration": 1, "secretGeneration": 2,
            "conditions": [condition("Ready", "True", "Materialised"), condition("Draining", "False", "Drained")],
            "keys": [{ "name": "token", "since": since, "replaced": true, "due": due }],
            "generations": [
                { "number": 2, "since": since, "changedCount": 1 },
                { "number": 1, "since": "2026-04-01T00:00:00Z", "changedCount": 1, "drained": "2026-05-31T00:00:00Z" },
            ],
        });
        rows(&[object("app", status)], NOW.parse().unwrap())
    };
    for (due, state) in [
        ("2026-05-31T12:00:00Z", Word::Overdue),
        ("2026-06-02T00:00:00Z", Word::DueSoon),
        ("2027-01-01T00:00:00Z", Word::Drained),
    ] {
        let mut rows = rotated(due);
        filter(&mut rows, &[Filter::Revocable]);
        assert_eq!(rows.len(), 1, "{due}");
        assert_eq!(rows[0].state, state);
        assert!(
            rows[0].next_step.starts_with(
                "old value drained 2026-05-31 00:00 UTC: delete the first key at the service if that is not done"
            ),
            "{}",
            rows[0].next_step
        );
    }
}
