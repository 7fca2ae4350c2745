//! RFC 8785 (JCS) for what a manifest is made of: objects, arrays, strings, integers. Object keys are sorted here, not
//! by the map that happens to hold them.

use serde_json::Value;

/// Largest integer that RFC 8785 can carry without loss (2^53 - 1, RFC 8785 section 6).
pub(crate) const MAX_INTEGER: i64 = 9_007_199_254_740_991;

/// The canonical text of `value`; `None` for a number that is not an integer of at most 53 bits.
pub(crate) fn canonical(value: &Value) -> Option<String> {
    let mut out = String::new();
    write(value, &mut out)?;
    Some(out)
}

fn write(value: &Value, out: &mut String) -> Option<()> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            let integer = number.as_i64().filter(|n| n.abs() <= MAX_INTEGER)?;
            out.push_str(&integer.to_string());
        }
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            // Section 3.2.3: by UTF-16 code units.
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write(member, out)?;
            }
            out.push('}');
        }
    }
    Some(())
}

/// Section 3.2.2.2: short escapes where JSON has them, `\u00xx` for the other controls, everything else literally.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control @ '\u{0}'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_by_utf16_whatever_the_input_order() {
        // U+1F600 sorts before U+FB33 in UTF-16 and after it in UTF-8 (the example of RFC 8785 section 3.2.3).
        let value = serde_json::from_str("{\"\u{fb33}\":1,\"b\":[2,{}],\"\u{1f600}\":3,\"a\":-4}").unwrap();
        assert_eq!(canonical(&value).unwrap(), "{\"a\":-4,\"b\":[2,{}],\"\u{1f600}\":3,\"\u{fb33}\":1}");
    }

    #[test]
    fn strings_are_escaped_as_the_rfc_says() {
        let value = Value::String("\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f}\"\\/\u{7f}é€😀".into());
        let expected = "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\\\"\\\\/\u{7f}é€😀\"";
        assert_eq!(canonical(&value).unwrap(), expected);
    }

    #[test]
    fn numbers_that_a_double_cannot_hold_are_refused() {
        assert_eq!(canonical(&MAX_INTEGER.into()).unwrap(), "9007199254740991");
        assert_eq!(canonical(&(MAX_INTEGER + 1).into()), None);
        assert_eq!(canonical(&serde_json::json!(1.5)), None);
    }
}
