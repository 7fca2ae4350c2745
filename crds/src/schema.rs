//! Schema fragments that schemars has no attribute for.

use schemars::{Schema, SchemaGenerator, json_schema};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// `status.conditions`: a list keyed by `type`, so that several writers merge.
pub fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let items = generator.subschema_for::<Vec<Condition>>();
    let mut schema = items;
    schema.insert("x-kubernetes-list-type".into(), "map".into());
    schema.insert("x-kubernetes-list-map-keys".into(), serde_json::json!(["type"]));
    schema
}

/// A Kubernetes timestamp (RFC 3339, seconds).
pub fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// `target.template.data`: Secret keys and templates, so few and so short that the API server can check them by rules.
pub fn templates(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 65536 },
    })
}

/// What a status is before anybody wrote one: an object that was just made is not taken for one that is fine, by whoever
/// goes by `observedGeneration` (kstatus: Flux, and `kubectl wait` by generation).
pub fn unobserved(schema: &mut Schema) {
    schema.insert("default".into(), serde_json::json!({ "observedGeneration": -1 }));
}
