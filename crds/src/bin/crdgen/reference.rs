//! The reference page of all kinds, `docs/reference.md`: one row a field, from the schemas the API server enforces.

use std::fmt::Write as _;

use serde_json::Value;

const HEADER: &str = "\
# Reference of the kinds

Generated from `crds/src` by `cargo run -p touchseal-crds --bin crdgen`; do not edit. Every field of the API group `touchseal.dev`, as the API server knows it. What they are for and how they act together is on
each kind's own page. `[]` are the items of a list; a field that is marked *required* must be there where what it stands in is.
";

/// The page for these definitions; each is a whole `CustomResourceDefinition`.
pub fn page(definitions: &[Value]) -> String {
    let mut page = HEADER.to_owned();
    page.push('\n');
    for definition in definitions {
        let kind = text(definition, "/spec/names/kind");
        let _ = writeln!(page, "- [{kind}](#{})", kind.to_lowercase());
    }
    for definition in definitions {
        kind(&mut page, definition);
    }
    page
}

fn kind(page: &mut String, definition: &Value) {
    let at = |pointer: &str| text(definition, pointer);
    let kind = at("/spec/names/kind");
    let scope = if at("/spec/scope") == "Namespaced" { "namespaced" } else { "cluster-scoped" };
    let short = definition.pointer("/spec/names/shortNames").and_then(Value::as_array);
    let short: Vec<String> =
        short.into_iter().flatten().filter_map(Value::as_str).map(|name| format!("`{name}`")).collect();
    let short = if short.is_empty() { String::new() } else { format!(", short name {}", short.join(", ")) };
    for version in definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten() {
        let Some(schema) = version.pointer("/schema/openAPIV3Schema") else { continue };
        let _ = writeln!(page, "\n## {kind}");
        let _ = writeln!(page, "{}", paragraph(schema));
        let _ = writeln!(
            page,
            "\n`{}/{}`, {scope}{short}. Its page: [{kind}](../crds/{}.md).",
            at("/spec/group"),
            text(version, "/name"),
            kind.to_lowercase()
        );
        for part in ["spec", "status"] {
            if let Some(schema) = schema.pointer(&format!("/properties/{part}")) {
                table(page, part, schema);
            }
        }
    }
}

fn table(page: &mut String, part: &str, schema: &Value) {
    let _ = writeln!(page, "\n| field of `{part}` | type | limits | meaning |\n| --- | --- | --- | --- |");
    for rule in rules(schema) {
        let _ = writeln!(page, "| | | | {rule} |");
    }
    fields(page, "", schema);
}

/// One row for each property, its own properties below it.
fn fields(page: &mut String, path: &str, schema: &Value) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        let inner = if field["type"] == "array" { &field["items"] } else { field };
        let path = if field["type"] == "array" { format!("{path}[]") } else { path };
        let mut meaning: Vec<String> = vec![paragraph(field)];
        if field["type"] == "array" && meaning[0].is_empty() {
            meaning = vec![paragraph(inner)];
        }
        meaning.extend(rules(field));
        if !std::ptr::eq(field, inner) {
            meaning.extend(rules(inner));
        }
        meaning.retain(|part| !part.is_empty());
        let limits = limits(field, inner, required.contains(&name.as_str()));
        let _ = writeln!(
            page,
            "| `{path}` | {} | {} | {} |",
            type_of(field),
            limits.join(", "),
            meaning.join(" ")
        );
        // Conditions are the same everywhere: type, status, reason, message and two times.
        if name != "conditions" {
            fields(page, &format!("{path}."), inner);
        }
    }
}

fn type_of(field: &Value) -> String {
    let named = field["type"].as_str().unwrap_or("any");
    match (named, field["format"].as_str()) {
        ("array", _) => format!("list of {}", type_of(&field["items"])),
        ("object", _) if field["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&field["additionalProperties"]))
        }
        ("string", Some("date-time")) => "time".to_owned(),
        (named, _) => named.to_owned(),
    }
}

fn limits(field: &Value, inner: &Value, required: bool) -> Vec<String> {
    let mut limits = Vec::new();
    if required {
        limits.push("*required*".to_owned());
    }
    if let Some(default) = field.get("default") {
        limits.push(format!("default `{default}`"));
    }
    // Bounds of numbers are numbers with a fraction in these schemas.
    let bound = |of: &Value, name: &str| of[name].as_f64().filter(|bound| *bound != 0.0);
    let span = |of: &Value, least: &str, most: &str| match (bound(of, least), bound(of, most)) {
        (None, Some(most)) => Some(format!("at most {most}")),
        (Some(least), Some(most)) if least == most => Some(format!("{most}")),
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, None) => None,
    };
    limits.extend(span(field, "minItems", "maxItems").map(|span| format!("{span} items")));
    limits.extend(span(inner, "minLength", "maxLength").map(|span| format!("{span} characters")));
    limits.extend(span(inner, "minimum", "maximum"));
    if let Some(pattern) = inner["pattern"].as_str() {
        limits.push(format!("`{}`", pattern.replace('|', "\\|")));
    }
    let words = inner["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    if !words.is_empty() {
        limits.push(words.join(" or "));
    }
    if inner["oneOf"].is_array() {
        limits.push("exactly one of its fields".to_owned());
    }
    limits
}

/// What the API server says when it refuses an object for this field.
fn rules(field: &Value) -> Vec<String> {
    let all = field["x-kubernetes-validations"].as_array();
    all.into_iter().flatten().map(|rule| format!("Refused: *{}*.", paragraph_of(&rule["message"]))).collect()
}

fn paragraph(schema: &Value) -> String {
    paragraph_of(&schema["description"])
}

/// On one line, and without what a table would take for its own.
fn paragraph_of(text: &Value) -> String {
    let words: Vec<&str> = text.as_str().unwrap_or_default().split_whitespace().collect();
    let text = words.join(" ").replace('|', "\\|");
    // Within backticks a `<` is none of HTML's.
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(i, part)| if i % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`")
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
