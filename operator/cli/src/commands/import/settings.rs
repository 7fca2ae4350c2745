//! Settings files value by value: YAML, JSON and properties. Nested names are joined by dots. A value is the text that stands
//! there: `1.10` stays `1.10`.

use std::path::Path;

use java_properties::PropertiesIter;
use saphyr_parser::ScalarStyle;
use zeroize::Zeroizing;

use super::error::ImportError;
use super::material::Pair;
use crate::documents::nodes::{self, Node};

/// The values of a file of this name.
pub fn flat(from: &str, name: &str, text: &str) -> Result<Vec<Pair>, ImportError> {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match ending {
        "properties" => properties(from, text),
        "yaml" | "yml" | "json" => tree(from, text),
        _ => Err(settings(
            from,
            "its name ends in none of .yaml, .yml, .json and .properties, which can be taken apart",
        )),
    }
}

fn settings(from: &str, problem: impl Into<String>) -> ImportError {
    ImportError::Settings { from: from.to_owned(), problem: problem.into() }
}

/// Escapes, continued lines and all separators are the library's. Java itself takes the last of two values for a name.
fn properties(from: &str, text: &str) -> Result<Vec<Pair>, ImportError> {
    let mut pairs: Vec<Pair> = Vec::new();
    let mut twice = None;
    let read =
        PropertiesIter::new_with_encoding(text.as_bytes(), encoding_rs::UTF_8).read_into(|name, value| {
            if pairs.iter().any(|(known, _)| *known == name) {
                twice.get_or_insert(name);
            } else {
                pairs.push((name, Zeroizing::new(value.into_bytes())));
            }
        });
    if let Err(problem) = read {
        let line = problem.line_number().unwrap_or_default();
        return Err(ImportError::Line {
            from: from.to_owned(),
            line,
            problem: "it cannot be read as properties".to_owned(),
        });
    }
    match twice {
        Some(name) => Err(settings(from, format!("{name} is there twice"))),
        None => Ok(pairs),
    }
}

fn tree(from: &str, text: &str) -> Result<Vec<Pair>, ImportError> {
    let stream = nodes::parse(text).map_err(|wrong| ImportError::Line {
        from: from.to_owned(),
        line: wrong.line,
        problem: "it cannot be read as YAML".to_owned(),
    })?;
    let [document] = stream.as_slice() else {
        return Err(settings(
            from,
            format!("it holds {} documents, and one can be taken apart", stream.len()),
        ));
    };
    let Node::Map(_) = document else { return Err(settings(from, "it is not a map")) };
    let mut pairs = Vec::new();
    take(document, "", &mut pairs).map_err(|problem| settings(from, problem))?;
    Ok(pairs)
}

/// Empty maps and lists are no values.
fn take(node: &Node, place: &str, pairs: &mut Vec<Pair>) -> Result<(), String> {
    let below = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    match node {
        Node::Map(entries) => {
            for (name, value) in entries {
                let name = name.as_str().ok_or_else(|| format!("{place} has a key that is no text"))?;
                take(value, &below(name), pairs)?;
            }
            Ok(())
        }
        Node::List(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| take(item, &below(&index.to_string()), pairs)),
        Node::Alias => Err(format!("{place} is an alias")),
        Node::Scalar(scalar) => {
            let is_null = scalar.style == ScalarStyle::Plain
                && ["", "~", "null", "Null", "NULL"].contains(&scalar.text.as_str());
            if is_null {
                return Err(format!("{place} is null"));
            }
            if pairs.iter().any(|(known, _)| known == place) {
                return Err(format!("{place} is there twice"));
            }
            pairs.push((place.to_owned(), Zeroizing::new(scalar.text.clone().into_bytes())));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Vec<(String, String)> {
        let text_of = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        flat(name, name, text).unwrap().into_iter().map(|(key, value)| (key, text_of(&value))).collect()
    }

    fn owned<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn refused(name: &str, text: &str) -> String {
        flat(name, name, text).err().unwrap().to_string()
    }

    #[test]
    fn yaml_and_json_are_taken_apart_as_they_are_written() {
        let yaml = "\u{feff}# head\ndb:\n  host: h\n  port: 5432\n  users: [a, 'b']\nversion: 1.10\non: yes\nkey: |\n  one\n  two\nnone: []\nempty: ''\n";
        let expected = owned([
            ("db.host", "h"),
            ("db.port", "5432"),
            ("db.users.0", "a"),
            ("db.users.1", "b"),
            ("version", "1.10"),
            ("on", "yes"),
            ("key", "one\ntwo\n"),
            ("empty", ""),
        ]);
        assert_eq!(read("a.yaml", yaml), expected);
        let json = "{\"db\": {\"password\": \"a\\\"b\\u00e4\\n\"}, \"n\": 12345678901234567890, \"t\": true}";
        let expected = owned([("db.password", "a\"bä\n"), ("n", "12345678901234567890"), ("t", "true")]);
        assert_eq!(read("a.json", json), expected);
    }

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let text = "# c\n! c\nspring.datasource.password = pa\\=ss\\\\word\na:b\nc d\nlong=one, \\\n    two\n\\u00fc=\\u00e4\\t\nkey\\ x=1\nempty\nü=ö\n";
        let text = text.replace("\\u00fc=", "u=").replace("key\\ x", "key.x").replace("ü=ö", "o=ö");
        let expected = owned([
            ("spring.datasource.password", "pa=ss\\word"),
            ("a", "b"),
            ("c", "d"),
            ("long", "one, two"),
            ("u", "ä\t"),
            ("key.x", "1"),
            ("empty", ""),
            ("o", "ö"),
        ]);
        assert_eq!(read("a.properties", &text), expected);
    }

    #[test]
    fn what_is_not_one_value_is_refused_by_its_name() {
        for (text, words) in [
            ("a: hunter2\na: b\n", "a is there twice"),
            ("a.b: 1\na: {b: 2}\n", "a.b is there twice"),
            ("a: null\n", "a is null"),
            ("a:\n", "a is null"),
            ("x: &p hunter2\na: *p\n", "a is an alias"),
            ("a: 1\n---\nb: 2\n", "2 documents"),
            ("- hunter2\n", "not a map"),
            ("a: [hunter2\n", "line"),
        ] {
            let said = refused("a.yaml", text);
            assert!(said.contains(words) && !said.contains("hunter2"), "{text}: {said}");
        }
        assert!(refused("a.properties", "a=1\na=2\n").contains("a is there twice"));
        assert!(refused("a.properties", "a=1\nb=\\u00zz\n").contains("line 2"));
        assert!(refused("a.toml", "a = 1\n").contains(".properties"));
    }
}
