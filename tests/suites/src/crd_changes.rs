//! What a change of a CustomResourceDefinition breaks: whether an object that a released one took, stored or wrote down in a
//! git repository, is taken by today's, and means the same. Whatever it does not know how to judge counts as broken.

mod schema;

use serde_json::Value;

/// Everything that `today`'s definition breaks of the `released` one, each with its place.
pub fn breaks(released: &Value, today: &Value) -> Vec<String> {
    let name = released["metadata"]["name"].as_str().unwrap_or("?");
    let mut found = Vec::new();
    let say = |found: &mut Vec<String>, what: String| found.push(format!("{name}: {what}"));

    for pointer in ["/metadata/name", "/spec/group", "/spec/scope", "/spec/names/kind", "/spec/names/plural"]
    {
        if released.pointer(pointer) != today.pointer(pointer) {
            say(&mut found, format!("{} is another one", &pointer[1..]));
        }
    }
    for pointer in ["/spec/names/shortNames", "/spec/names/categories"] {
        for gone in texts(released.pointer(pointer))
            .filter(|old| !texts(today.pointer(pointer)).any(|new| new == *old))
        {
            say(&mut found, format!("{} has no {gone} any more", &pointer[1..]));
        }
    }
    if released["spec"]["conversion"] != today["spec"]["conversion"] {
        say(&mut found, "the conversion is another one".to_owned());
    }
    for old in versions(released) {
        let version = old["name"].as_str().unwrap_or("?");
        let Some(new) = versions(today).find(|new| new["name"] == old["name"]) else {
            // Also where nobody asks for it: the cluster may have objects stored in it.
            say(&mut found, format!("version {version} is gone"));
            continue;
        };
        if old["served"] == true && new["served"] != true {
            say(&mut found, format!("version {version} is not served any more"));
        }
        for subresource in keys(&old["subresources"]) {
            if new["subresources"][subresource].is_null() {
                say(&mut found, format!("version {version}: the subresource {subresource} is gone"));
            }
        }
        for field in old["selectableFields"].as_array().into_iter().flatten() {
            if !new["selectableFields"].as_array().is_some_and(|fields| fields.contains(field)) {
                say(
                    &mut found,
                    format!("version {version}: the selectable field {} is gone", field["jsonPath"]),
                );
            }
        }
        let schema = |of: &Value| of["schema"]["openAPIV3Schema"].clone();
        for what in schema::breaks(&schema(old), &schema(new)) {
            say(&mut found, format!("version {version}: {what}"));
        }
    }
    let stored = versions(today).find(|version| version["storage"] == true);
    let known =
        |stored: &Value| versions(released).any(|old| old["name"] == stored["name"] && old["served"] == true);
    if !stored.is_some_and(known) {
        say(
            &mut found,
            "objects are stored in a version that the released one does not serve: there is no way back"
                .to_owned(),
        );
    }
    found
}

fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    definition["spec"]["versions"].as_array().into_iter().flatten()
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn keys(object: &Value) -> impl Iterator<Item = &str> {
    object.as_object().into_iter().flatten().map(|(key, _)| key.as_str())
}

#[cfg(test)]
mod tests;
