//! What one request of each kind costs the API server with so many under way: why the operator uses the verbs it does, and where
//! the floor of `cold` lies.

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
const GROUP: &str = "/apis/touchseal.dev/v1alpha1";

/// # Errors
/// When the cluster does not do what it should.
pub fn run(report: &mut Report) -> Outcome {
    block_on(async {
        let stage = Stage::new().await?;
        let made = stage.fill(0, COUNT).await?;
        let mut measure = async |name: &str, asks: Vec<Ask>| -> Result<Vec<Vec<u8>>, Fault> {
            let (answers, took) = stage.bare.all(asks, AT_ONCE).await?;
            report.value(name, took.as_secs_f64() * 1e6 / COUNT as f64, "us");
            Ok(answers)
        };
        measure("secret.post", made.iter().map(|object| post(&secret(object, "posted", "MQ=="))).collect())
            .await?;
        for (figure, verb, name, data) in [
            ("secret.apply", "APPLY", "applied", "MQ=="),
            ("secret.get", "GET", "posted", ""),
            ("secret.put", "PUT", "posted", "Mg=="),
            ("secret.apply-change", "APPLY", "applied", "Mg=="),
        ] {
            measure(figure, made.iter().map(|object| named(verb, &secret(object, name, data))).collect())
                .await?;
        }
        // Each takes the version that the one before left.
        let whole = |object: &Value, number: u64| {
            let mut whole = object.clone();
            whole["status"] = status(number);
            status_of("PUT", object, &whole)
        };
        let answers =
            measure("status.put-whole", made.iter().map(|object| whole(object, 1)).collect()).await?;
        let made =
            answers.iter().map(|answer| serde_json::from_slice(answer)).collect::<Result<Vec<Value>, _>>()?;
        let alone = |object: &Value| {
            let mut alone = object.clone();
            alone.as_object_mut().map(|fields| fields.remove("spec"));
            alone["status"] = status(2);
            status_of("PUT", object, &alone)
        };
        measure("status.put", made.iter().map(alone).collect()).await?;
        let patch = |object: &Value| {
            let patch = json!({ "metadata": { "uid": object["metadata"]["uid"] }, "status": status(3) });
            status_of("PATCH", object, &patch)
        };
        measure("status.patch", made.iter().map(patch).collect()).await?;
        Ok(())
    })
}

fn post(secret: &Value) -> Ask {
    let path = format!("/api/v1/namespaces/{}/secrets?{MANAGER}", text(&secret["metadata"]["namespace"]));
    Ask { verb: "POST", path, body: secret.to_string().into_bytes() }
}

fn named(verb: &'static str, secret: &Value) -> Ask {
    let (namespace, name) = (text(&secret["metadata"]["namespace"]), text(&secret["metadata"]["name"]));
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}?{MANAGER}");
    let body = if verb == "GET" { Vec::new() } else { secret.to_string().into_bytes() };
    Ask { verb, path, body }
}

fn status_of(verb: &'static str, object: &Value, body: &Value) -> Ask {
    let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
    let path = format!("{GROUP}/namespaces/{namespace}/encryptedsecrets/{name}/status?{MANAGER}");
    Ask { verb, path, body: body.to_string().into_bytes() }
}

/// As the operator makes one.
fn secret(object: &Value, suffix: &str, data: &str) -> Value {
    let (name, uid) = (&object["metadata"]["name"], &object["metadata"]["uid"]);
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": format!("{}-{suffix}", text(name)), "namespace": object["metadata"]["namespace"],
            "labels": { "app.kubernetes.io/managed-by": "touchseal" },
            "annotations": { "touchseal.dev/encrypted-secret": name, "touchseal.dev/secret-generation": "1" },
            "ownerReferences": [{
                "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret", "name": name, "uid": uid, "controller": true,
            }],
        },
        "data": { "username": data, "password": data, "endpoint": data },
    })
}

fn status(number: u64) -> Value {
    let condition = json!({ "type": "Ready", "status": "True", "reason": "Materialised", "message": "as it should be",
        "lastTransitionTime": "2026-01-31T08:00:00Z" });
    json!({ "secretGeneration": number, "keyring": "bench", "conditions": [condition] })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
