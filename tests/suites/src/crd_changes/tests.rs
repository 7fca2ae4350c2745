//! The check tried by breaking things: today's definitions, each time with one change.

use serde_json::{Value, json};

use super::breaks;
use crate::upgrade::definitions;

const ESEC: &str = "touchseal.dev_encryptedsecrets.yaml";
const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

fn today() -> Value {
    definitions(&crate::world::repository().join("crds"))[ESEC].clone()
}

/// The place in the definition that a path of the schema means: `spec.documents[].sops`.
fn place(path: &str) -> String {
    let steps = path.split('.').filter(|step| !step.is_empty()).map(|step| match step.split_once('[') {
        Some((name, _)) => format!("/properties/{name}/items"),
        None => format!("/properties/{step}"),
    });
    format!("{SCHEMA}{}", steps.collect::<String>())
}

/// The definition after one change at a place of its schema.
fn with(path: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut definition = today();
    change(definition.pointer_mut(&place(path)).unwrap_or_else(|| panic!("{path} is not there")));
    definition
}

fn broken(new: &Value, words: &str) {
    let found = breaks(&today(), new);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains(words), "{found:?} does not say {words:?}");
}

#[test]
fn todays_definitions_break_nothing_of_themselves() {
    for (name, definition) in definitions(&crate::world::repository().join("crds")) {
        assert_eq!(breaks(&definition, &definition), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_field_that_goes_is_told() {
    let gone = |path: &str, field: &str| {
        with(path, |schema| drop(schema["properties"].as_object_mut().unwrap().remove(field)))
    };
    broken(&gone("spec", "suspend"), "v1alpha1: .spec.suspend: the field is gone");
    broken(&gone("spec.documents[]", "format"), ".spec.documents[].format: the field is gone");
    broken(&gone("status.keys[]", "due"), ".status.keys[].due: the field is gone");
}

#[test]
fn what_narrows_a_field_is_told() {
    let set = |path: &str, word: &str, value: Value| with(path, |schema| schema[word] = value);
    broken(
        &set("spec.suspend", "type", json!("string")),
        ".spec.suspend: type was \"boolean\", is \"string\"",
    );
    broken(&set("spec.documents", "maxItems", json!(7)), "maxItems was 8, is 7");
    broken(&set("spec.documents", "minItems", json!(2)), "minItems was 1, is 2");
    broken(&set("spec.suspend", "nullable", json!(false)), "nullable was true");
    broken(&set("spec.documents[].name", "pattern", json!("^[a-z]*$")), "pattern was null");
    broken(&set("status.secretName", "maxLength", json!(10)), "maxLength was null, is 10");
    broken(&set("status.secretGeneration", "format", json!("int32")), "format was \"int64\", is \"int32\"");
    broken(&set("spec.target.name", "enum", json!(["app"])), "only some values are taken now");
    broken(&set("spec.suspend", "default", json!(true)), "default was null, is true");
    broken(
        &set("spec.documents", "x-kubernetes-list-type", json!("atomic")),
        "x-kubernetes-list-type was null",
    );
    broken(&set("spec", "oneOf", json!([{ "required": ["target"] }])), "oneOf was null");
    broken(&set("spec.target", "x-kubernetes-something-new", json!(1)), "not known how to judge");
    broken(&set("spec.target.labels", "additionalProperties", json!(false)), "additionalProperties was");
    let narrowed = with("spec.deletionPolicy", |schema| schema["enum"] = json!(["Retain"]));
    assert!(breaks(&today(), &narrowed)[0].contains("the value \"Delete\" is not taken any more"));
    let required = with("spec", |schema| schema["required"].as_array_mut().unwrap().push(json!("target")));
    broken(&required, ".spec: target is required now");
    let rule = with("spec", |schema| {
        let rules = schema["x-kubernetes-validations"].as_array_mut().unwrap();
        rules.push(json!({ "rule": "has(self.target)", "message": "no target" }));
    });
    broken(&rule, ".spec: a new rule: \"has(self.target)\"");
    broken(
        &with("", |schema| schema["properties"]["status"]["default"] = json!({ "observedGeneration": 0 })),
        ".status: default was",
    );
}

#[test]
fn what_the_definition_says_of_itself_is_kept() {
    let set = |pointer: &str, value: Value| {
        let mut definition = today();
        *definition.pointer_mut(pointer).unwrap() = value;
        definition
    };
    broken(&set("/spec/scope", json!("Cluster")), "spec/scope is another one");
    broken(&set("/spec/names/shortNames", json!(["es"])), "spec/names/shortNames has no esec any more");
    broken(&set("/spec/versions/0/subresources", json!({})), "the subresource status is gone");
    assert!(
        breaks(&today(), &set("/spec/versions/0/served", json!(false)))[0].contains("not served any more")
    );

    // v1beta1 beside it, stored from now on; then v1alpha1 is dropped, whose objects are in etcd.
    let mut moved = today();
    let mut beta = moved["spec"]["versions"][0].clone();
    beta["name"] = json!("v1beta1");
    moved["spec"]["versions"][0]["storage"] = json!(false);
    moved["spec"]["versions"].as_array_mut().unwrap().push(beta.clone());
    broken(&moved, "there is no way back");
    moved["spec"]["versions"] = json!([beta]);
    let found = breaks(&today(), &moved);
    assert!(found[0].contains("version v1alpha1 is gone"), "{found:?}");
}

#[test]
fn what_lets_more_in_breaks_nothing() {
    let fine = |new: Value| assert_eq!(breaks(&today(), &new), Vec::<String>::new());
    let set = |path: &str, word: &str, value: Value| with(path, |schema| schema[word] = value);
    fine(set("spec.documents", "maxItems", json!(16)));
    fine(set("spec.documents", "minItems", json!(0)));
    fine(set("spec.suspend", "description", json!("other words")));
    fine(with("spec", |schema| {
        schema["properties"]["newField"] = json!({ "type": "string", "minLength": 1 })
    }));
    fine(with("spec", |schema| drop(schema.as_object_mut().unwrap().remove("x-kubernetes-validations"))));
    fine(with("spec.documents[]", |schema| drop(schema.as_object_mut().unwrap().remove("required"))));
    fine(with("spec.deletionPolicy", |schema| schema["enum"].as_array_mut().unwrap().push(json!("Archive"))));
    fine(with("spec.deletionPolicy", |schema| drop(schema.as_object_mut().unwrap().remove("enum"))));
    // A new version beside the old one, which stays the stored one.
    let mut more = today();
    let mut beta = more["spec"]["versions"][0].clone();
    (beta["name"], beta["storage"]) = (json!("v1beta1"), json!(false));
    more["spec"]["versions"].as_array_mut().unwrap().push(beta);
    fine(more);
}
