//! Two structural schemas, place by place: every value that the released one took must be taken, be kept whole, and mean the
//! same.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Bounds that may only rise, and bounds that may only fall.
const UPPER: [&str; 5] = ["maximum", "maxLength", "maxItems", "maxProperties", "exclusiveMaximum"];
const LOWER: [&str; 5] = ["minimum", "minLength", "minItems", "minProperties", "exclusiveMinimum"];
/// What must stay as it is, also absent: another value means something else, or is merged in another way.
const KEPT: [&str; 9] = [
    "type",
    "default",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-embedded-resource",
    "multipleOf",
    "uniqueItems",
];
/// What may only go: nobody can compare two of them.
const DROPPED: [&str; 6] = ["pattern", "format", "oneOf", "anyOf", "allOf", "not"];
/// What may only come: null, or fields that no schema names.
const ALLOWED: [&str; 2] = ["nullable", "x-kubernetes-preserve-unknown-fields"];
const FOR_PEOPLE: [&str; 4] = ["description", "title", "example", "externalDocs"];
/// What has a rule of its own below.
const OWN_RULE: [&str; 6] =
    ["properties", "additionalProperties", "items", "required", "enum", "x-kubernetes-validations"];

/// What breaks, each with its place.
pub fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    found
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let place = if path.is_empty() { "the object" } else { path };
    let empty = Map::new();
    let (of_old, of_new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut say = |what: String| found.push(format!("{place}: {what}"));

    let words: BTreeSet<&String> = of_old.keys().chain(of_new.keys()).collect();
    for word in words {
        let (before, now) = (&old[word], &new[word]);
        let word = word.as_str();
        if before == now || FOR_PEOPLE.contains(&word) || OWN_RULE.contains(&word) {
            continue;
        }
        let broken = if KEPT.contains(&word) {
            true
        } else if DROPPED.contains(&word) {
            !now.is_null()
        } else if ALLOWED.contains(&word) {
            before == true
        } else if UPPER.contains(&word) {
            tighter(now, before, |now, before| now < before)
        } else if LOWER.contains(&word) {
            tighter(now, before, |now, before| now > before)
        } else {
            say(format!("{word}: it is not known how to judge this"));
            continue;
        };
        if broken {
            say(format!("{word} was {before}, is {now}"));
        }
    }

    for required in list(&new["required"]).filter(|field| !list(&old["required"]).any(|old| old == *field)) {
        say(format!("{required} is required now"));
    }
    if let Some(allowed) = new["enum"].as_array() {
        match old["enum"].as_array() {
            None => say("only some values are taken now (enum)".to_owned()),
            Some(before) => before
                .iter()
                .filter(|value| !allowed.contains(value))
                .for_each(|gone| say(format!("the value {gone} is not taken any more"))),
        }
    }
    let rules = |of: &Value| -> Vec<Value> {
        of["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|rule| rule["rule"].clone())
            .collect()
    };
    for rule in rules(new).into_iter().filter(|rule| !rules(old).contains(rule)) {
        say(format!("a new rule: {rule}"));
    }

    children(path, old, new, found);
}

fn children(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    for (name, before) in old["properties"].as_object().into_iter().flatten() {
        let place = format!("{path}.{name}");
        match new["properties"].get(name) {
            None => found.push(format!("{place}: the field is gone")),
            Some(now) => compare(&place, before, now, found),
        }
    }
    for (word, step) in [("items", "[]"), ("additionalProperties", "{}")] {
        let (before, now) = (&old[word], &new[word]);
        let place = format!("{path}{step}");
        match (before, now) {
            (Value::Object(_), Value::Object(_)) => compare(&place, before, now, found),
            // Nothing said about keys that are not named: they are pruned, so letting them in breaks nothing.
            (Value::Null | Value::Bool(false), _) if word == "additionalProperties" => {}
            (Value::Object(_), Value::Bool(true)) => {}
            (before, now) if before == now => {}
            (before, now) => found.push(format!("{place}: {word} was {before}, is {now}")),
        }
    }
}

/// Whether a bound leaves out what the one before let in.
fn tighter(now: &Value, before: &Value, worse: impl Fn(f64, f64) -> bool) -> bool {
    match (now.as_f64(), before.as_f64()) {
        (None, _) => !now.is_null(), // not a number: nobody knows
        (Some(_), None) => true,
        (Some(now), Some(before)) => worse(now, before),
    }
}

fn list(of: &Value) -> impl Iterator<Item = &str> {
    of.as_array().into_iter().flatten().filter_map(Value::as_str)
}
