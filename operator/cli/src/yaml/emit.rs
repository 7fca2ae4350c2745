//! The walk over a value.

use serde::Serialize;
use serde_json::Value;

use super::scalar;

/// `value` as a YAML document with a line feed at its end. Keys are sorted; lists are not indented under their key.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let value = serde_json::to_value(value)?;
    let mut out = String::new();
    match &value {
        Value::Object(map) if !map.is_empty() => entries(&mut out, &value, 0),
        Value::Array(list) if !list.is_empty() => entries(&mut out, &value, 0),
        other => {
            out.push_str(&leaf(other, 0));
            out.push('\n');
        }
    }
    Ok(out)
}

/// The lines of a non-empty map or list. The caller stands at the place of the first line's first character.
fn entries(out: &mut String, value: &Value, indent: usize) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (index, (key, child)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(&pad);
                }
                out.push_str(&scalar::inline(key));
                out.push(':');
                match child {
                    Value::Object(inner) if !inner.is_empty() => nested(out, child, indent + 2),
                    Value::Array(inner) if !inner.is_empty() => nested(out, child, indent),
                    other => line(out, other, indent),
                }
            }
        }
        Value::Array(list) => {
            for (index, child) in list.iter().enumerate() {
                if index > 0 {
                    out.push_str(&pad);
                }
                out.push('-');
                match child {
                    Value::Object(inner) if !inner.is_empty() => {
                        out.push(' ');
                        entries(out, child, indent + 2);
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        out.push(' ');
                        entries(out, child, indent + 2);
                    }
                    other => line(out, other, indent),
                }
            }
        }
        _ => {}
    }
}

fn nested(out: &mut String, value: &Value, indent: usize) {
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    entries(out, value, indent);
}

fn line(out: &mut String, value: &Value, indent: usize) {
    out.push(' ');
    out.push_str(&leaf(value, indent + 2));
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

fn leaf(value: &Value, indent: usize) -> String {
    match value {
        Value::String(text) => scalar::block(text, indent).unwrap_or_else(|| scalar::inline(text)),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_looks_as_people_write_it() {
        let value = json!({
            "kind": "Keyring", "spec": { "holders": [{"name": "anna", "slot": "82", "tags": ["a", []]}], "empty": {} },
            "text": "one\ntwo\n", "m": 3, "nothing": null,
        });
        let expected = concat!(
            "kind: Keyring\nm: 3\nnothing: null\nspec:\n  empty: {}\n  holders:\n  - name: anna\n    slot: \"82\"\n",
            "    tags:\n    - a\n    - []\ntext: |\n  one\n  two\n"
        );
        assert_eq!(to_string(&value).unwrap(), expected);
    }

    #[test]
    fn both_readers_give_back_what_was_written() {
        let hostile = [
            "",
            " ",
            "null",
            "y",
            "No",
            "1e3",
            "0x10",
            "~",
            "- a",
            "a: b",
            "a #b",
            "#",
            "&a",
            "*a",
            "!t",
            "%",
            "@x",
            "`",
            "{",
            "[",
            "|",
            ">",
            "'",
            "\"",
            "\\",
            "2026-01-01",
            ".inf",
            "+1",
            "=",
            "<<",
            "a\nb",
            "\n",
            "\n\n",
            "a\n\n",
            "  lead\nx\n",
            "\n  lead\n",
            "\ttab\n",
            "x\n\t\n",
            "trail \nx\n",
            "a\r\nb\r\n",
            "\u{85}x\n",
            "\u{2028}\n",
            "\u{feff}bom\n",
            "\u{0}\n",
            "\u{7f}\n",
            "\u{1f600}\n",
            "---\n",
            "...\nx\n",
            "# c\nx: 1\n",
            "a\n \n",
            "a\n  ",
            " \n",
            "\n \na\n",
        ];
        for text in hostile {
            for value in [
                json!({ "k": text }),
                json!({"deep": [{ "k": text, "z": 1 }], "after": "x"}),
                json!([text]),
                json!({ text: 1 }),
            ] {
                let yaml = to_string(&value).unwrap();
                let ours: Value =
                    crate::yaml::from_str(&yaml).unwrap_or_else(|e| panic!("{text:?}: {e}\n{yaml}"));
                assert_eq!(ours, value, "\n{yaml}");
                let theirs: Value =
                    serde_norway::from_str(&yaml).unwrap_or_else(|e| panic!("{text:?}: {e}\n{yaml}"));
                assert_eq!(theirs, value, "\n{yaml}");
            }
        }
    }
}
