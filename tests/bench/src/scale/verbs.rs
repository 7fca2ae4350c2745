//! What one request of each kind costs the API server: why the floor is where it is, and what of an operator's time is not its
//! own. As an administrator, so without the checks the shipped policies make of the operator's writes.

use serde_json::{Value, json};

use super::bare::Ask;
use super::stage::Stage;
use super::{Fault, block_on};
use crate::Outcome;
use crate::report::Report;

/// Requests of each kind, and how many at a time.
const COUNT: usize = 2_000;
const AT_ONCE: usize = 64;
const MANAGER: &str = "fieldManager=touchseal";

/// # Errors
/// When the cluster does not do what it should.
pub fn run(report: &mut Report) -> Outcome {
    block_on(async {
        let stage = Stage::new().await?;
        let stored = stage.fill(0, COUNT).await?;
        let secrets = |suffix: &'static str| {
            stored.iter().map(move |object| secret(object, suffix)).collect::<Vec<_>>()
        };
        let post = |secret: &Value| Ask {
            verb: "POST",
            path: format!("/api/v1/namespaces/{}/secrets?{MANAGER}", text(&secret["metadata"]["namespace"])),
            body: secret.to_string().into_bytes(),
        };
        let named = |verb, secret: &Value| Ask {
            verb,
            path: format!(
                "/api/v1/namespaces/{}/secrets/{}?{MANAGER}",
                text(&secret["metadata"]["namespace"]),
                text(&secret["metadata"]["name"])
            ),
            body: secret.to_string().into_bytes(),
        };
        let mut measure = async |name: &str, asks: Vec<Ask>| -> Result<Vec<Vec<u8>>, Fault> {
            let count = asks.len();
            let (answers, took) = stage.bare.all(asks, AT_ONCE).await?;
            report.value(&format!("{name}.request"), took.as_secs_f64() * 1e6 / count as f64, "us");
            Ok(answers)
        };
        for round in 0..2 {
            let name = |what: &str| format!("{what}.{round}");
            let suffix = if round == 0 { "-a" } else { "-b" };
            let applied = if round == 0 { "-c" } else { "-d" };
            measure(&name("secret.post"), secrets(suffix).iter().map(post).collect()).await?;
            let asks = secrets(applied).iter().map(|secret| named("APPLY", secret)).collect();
            measure(&name("secret.apply"), asks).await?;
            measure(
                &name("secret.get"),
                secrets(suffix).iter().map(|s| Ask { body: Vec::new(), ..named("GET", s) }).collect(),
            )
            .await?;
            let changed = |suffix| {
                secrets(suffix)
                    .into_iter()
                    .map(|mut secret| {
                        secret["data"]["username"] = "bmV3".into();
                        secret
                    })
                    .collect::<Vec<_>>()
            };
            measure(&name("secret.put"), changed(suffix).iter().map(|secret| named("PUT", secret)).collect())
                .await?;
            measure(
                &name("secret.apply-changed"),
                changed(applied).iter().map(|secret| named("APPLY", secret)).collect(),
            )
            .await?;
            let status = |verb: &'static str, number: usize| {
                stored.iter().map(move |object| {
                    let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
                    let status = json!({ "secretGeneration": number, "keyring": "bench", "conditions": [
                        { "type": "Ready", "status": "True", "reason": "Materialised", "message": "as it should be", "lastTransitionTime": "2026-01-31T08:00:00Z" },
                    ] });
                    let body = if verb == "PUT" {
                        let mut object = object.clone();
                        object["status"] = status;
                        object
                    } else {
                        json!({ "metadata": { "uid": object["metadata"]["uid"] }, "status": status })
                    };
                    Ask { verb, path: format!("/apis/touchseal.dev/v1alpha1/namespaces/{namespace}/encryptedsecrets/{name}/status?{MANAGER}"), body: body.to_string().into_bytes() }
                }).collect::<Vec<_>>()
            };
            if round == 0 {
                let slim = stored.iter().map(|object| {
                    let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
                    let body = json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
                        "metadata": { "name": name, "namespace": namespace, "uid": object["metadata"]["uid"], "resourceVersion": object["metadata"]["resourceVersion"] },
                        "status": { "secretGeneration": 77, "keyring": "bench", "conditions": [
                        { "type": "Ready", "status": "True", "reason": "Materialised", "message": "as it should be", "lastTransitionTime": "2026-01-31T08:00:00Z" },
                    ] } });
                    Ask { verb: if object["metadata"]["name"].as_str().is_some_and(|n| n.ends_with(['0','2','4','6','8'])) { "PUT" } else { "PUTM" }, path: format!("/apis/touchseal.dev/v1alpha1/namespaces/{namespace}/encryptedsecrets/{name}/status?{MANAGER}"), body: body.to_string().into_bytes() }
                });
                let (meta, full): (Vec<_>, Vec<_>) = slim.partition(|ask| ask.verb == "PUTM");
                let answers = measure(&name("status.put-slim"), full).await?;
                eprintln!("{}", String::from_utf8_lossy(&answers[7]));
                let answers = measure(&name("status.put-slim-meta"), meta).await?;
                eprintln!("{}", String::from_utf8_lossy(&answers[7]));
            } else {
                let now = stage.lists().await?.0;
                let puts = now.into_iter().map(|mut object| {
                    let (namespace, name) = (text(&object["metadata"]["namespace"]).to_owned(), text(&object["metadata"]["name"]).to_owned());
                    object["status"]["secretGeneration"] = 99.into();
                    object["status"]["conditions"] = json!([{ "type": "Ready", "status": "True", "reason": "Materialised", "message": "as it should not be", "lastTransitionTime": "2026-01-31T09:00:00Z" }]);
                    Ask { verb: "PUT", path: format!("/apis/touchseal.dev/v1alpha1/namespaces/{namespace}/encryptedsecrets/{name}/status?{MANAGER}"), body: object.to_string().into_bytes() }
                }).collect();
                measure(&name("status.put"), puts).await?;
            }
            measure(&name("status.patch"), status("PATCH", round * 2 + 2)).await?;
            let maps = |verb: &'static str, number: usize| {
                (0..COUNT).map(move |index| {
                    let entries: String = (0..25).map(|entry| format!("\"bench-{:02}/app-{entry:05}\": {{\"generation\":{number},\"since\":1763838000,\"key\":{{\"keyring\":\"0123456789abcdef0123456789abcdef\",\"generation\":1}},\"keys\":{{\"password\":{{\"d\":\"AbCdEfGhIjKlMnOpQrStUv\",\"s\":1763838000}}}},\"source\":\"abc\",\"history\":[]}}", index % 50)).collect();
                    let name = format!("map-{round}-{index:05}");
                    let body = json!({ "metadata": { "name": name }, "data": { "entries": entries } });
                    let path = "/api/v1/namespaces/default/configmaps".to_owned();
                    Ask { verb, path: if verb == "POST" { path } else { format!("{path}/{name}") }, body: body.to_string().into_bytes() }
                }).collect::<Vec<_>>()
            };
            measure(&name("ledger.post"), maps("POST", 1)).await?;
            measure(&name("ledger.put"), maps("PUT", 2)).await?;
        }
        Ok(())
    })
}

fn secret(object: &Value, suffix: &str) -> Value {
    let value =
        "c29tZXRoaW5nIHNlY3JldCB0aGF0IGlzIGFib3V0IHNldmVudHkgYnl0ZXMgbG9uZywgYXMgdGhlIGZsZWV0J3MgYXJl";
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": format!("{}{suffix}", text(&object["metadata"]["name"])), "namespace": object["metadata"]["namespace"],
            "labels": { "app.kubernetes.io/managed-by": "touchseal" },
            "annotations": { "touchseal.dev/source": object["metadata"]["name"], "touchseal.dev/secret-generation": "1" },
            "ownerReferences": [{ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret", "name": object["metadata"]["name"],
                "uid": object["metadata"]["uid"], "controller": true }],
        },
        "data": { "username": value, "password": value, "endpoint": value },
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
