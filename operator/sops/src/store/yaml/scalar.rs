//! What a YAML scalar means: go-yaml's mix of YAML 1.1 and 1.2, since its reading is what the MAC covers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::text::Text;
use crate::tree::{Kind, Scalar, Value};

/// What an untagged plain scalar stands for.
#[derive(Debug, PartialEq)]
pub(crate) enum Plain {
    Null,
    Bool(bool),
    Int(i64),
    /// A whole number beyond 64 bits with sign: sops cannot hold it.
    Huge,
    Float(f64),
    /// In RFC 3339.
    Time(String),
    /// The merge key `<<`.
    Merge,
    Str,
}

/// The value of a plain scalar; `None` for a number sops cannot hold.
pub(crate) fn value(text: &str) -> Option<Value> {
    Some(match resolve(text) {
        Plain::Null => Value::Null,
        Plain::Bool(value) => Value::bool(value),
        Plain::Int(value) => Value::int(value),
        Plain::Huge => return None,
        Plain::Float(value) => Value::float(value),
        Plain::Time(text) => Value::Scalar(Scalar { kind: Kind::Time, text: text.into() }),
        Plain::Merge | Plain::Str => Value::str(text),
    })
}

/// The value of a scalar with a tag of the YAML core schema; other tags make strings.
pub(crate) fn tagged(suffix: &str, text: &str) -> Option<Value> {
    let resolved = value(text)?;
    let kind = match &resolved {
        Value::Scalar(scalar) => Some(scalar.kind),
        _ => None,
    };
    match (suffix, kind) {
        ("null", None) | ("bool", Some(Kind::Bool)) | ("int", Some(Kind::Int)) => Some(resolved),
        ("float", Some(Kind::Float)) | ("timestamp", Some(Kind::Time)) => Some(resolved),
        ("float", Some(Kind::Int)) => text.parse().ok().map(Value::float),
        ("null" | "bool" | "int" | "float" | "timestamp", _) => None,
        ("binary", _) => {
            let digits: Vec<u8> = text.bytes().filter(|b| !b"\r\n".contains(b)).collect();
            STANDARD.decode(digits).ok().map(|bytes| Value::str(Text::from(bytes)))
        }
        _ => Some(Value::str(text)),
    }
}

/// Resolves a plain scalar.
pub(crate) fn resolve(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Plain::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Plain::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Plain::Float(f64::NEG_INFINITY),
        "<<" => return Plain::Merge,
        _ => {}
    }
    match text.as_bytes().first() {
        Some(b'.') => float(text),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            if let Some(time) = crate::time::normalise(text) {
                return Plain::Time(time);
            }
            let digits = text.replace('_', "");
            integer(&digits).unwrap_or_else(|| float(&digits))
        }
        _ => Plain::Str,
    }
}

/// Decimal, `0x`, `0o`, `0b` and, as in YAML 1.1, octal by a leading zero.
fn integer(text: &str) -> Option<Plain> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let prefixed = |prefixes: [&str; 2]| prefixes.into_iter().find_map(|prefix| digits.strip_prefix(prefix));
    let (radix, digits) = if let Some(rest) = prefixed(["0x", "0X"]) {
        (16, rest)
    } else if let Some(rest) = prefixed(["0o", "0O"]) {
        (8, rest)
    } else if let Some(rest) = prefixed(["0b", "0B"]) {
        (2, rest)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok();
    match magnitude.map(|m| if negative { -m } else { m }) {
        Some(number) => match i64::try_from(number) {
            Ok(number) => Some(Plain::Int(number)),
            Err(_) if number > 0 && number <= i128::from(u64::MAX) => Some(Plain::Huge),
            Err(_) => None,
        },
        None => None,
    }
}

fn float(text: &str) -> Plain {
    if !is_float(text) {
        return Plain::Str;
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Plain::Float(number),
        _ => Plain::Str,
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let digits = |rest: &mut &[u8]| {
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        *rest = &rest[count..];
        count
    };
    let sign = |rest: &mut &[u8]| {
        if let [b'+' | b'-', tail @ ..] = *rest {
            *rest = tail;
        }
    };
    let mut rest = text.as_bytes();
    sign(&mut rest);
    let whole = digits(&mut rest);
    let mut fraction = 0;
    if let [b'.', tail @ ..] = rest {
        rest = tail;
        fraction = digits(&mut rest);
    }
    if whole + fraction == 0 {
        return false;
    }
    if let [b'e' | b'E', tail @ ..] = rest {
        rest = tail;
        sign(&mut rest);
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    rest.is_empty()
}

/// Strings YAML 1.1 readers take for something else although go-yaml does not: they are printed in quotes.
pub(crate) fn misread_by_old_readers(text: &str) -> bool {
    const OLD_BOOLEANS: [&str; 16] =
        ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF"];
    OLD_BOOLEANS.contains(&text) || is_base_60(text)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (places, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digit_or_line = |b: u8| b.is_ascii_digit() || b == b'_';
    let mut places = places.split(':');
    let first = places.next().unwrap_or("");
    let mut minutes = places.peekable();
    first.starts_with(|c: char| c.is_ascii_digit())
        && first.bytes().all(digit_or_line)
        && minutes.peek().is_some()
        && minutes.all(|place| matches!(place.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']))
        && fraction.bytes().all(digit_or_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_go_yaml_takes_them_for() {
        let cases = [
            ("0x1F", Plain::Int(31)),
            ("0o17", Plain::Int(15)),
            ("017", Plain::Int(15)),
            ("0b101", Plain::Int(5)),
            ("1_000", Plain::Int(1000)),
            ("-9223372036854775808", Plain::Int(i64::MIN)),
            ("9223372036854775808", Plain::Huge),
            ("18446744073709551616", Plain::Float(18446744073709551616.0)),
            ("089", Plain::Float(89.0)),
            ("1.", Plain::Float(1.0)),
            (".5e3", Plain::Float(500.0)),
            ("1e", Plain::Str),
            (".", Plain::Str),
            ("+", Plain::Str),
            ("2026-1-2", Plain::Time("2026-01-02T00:00:00Z".into())),
            ("2026-02-30", Plain::Str),
            ("2026-01-02 3:04:05.500", Plain::Time("2026-01-02T03:04:05.5Z".into())),
            ("2026-01-02T03:04:05+00:00", Plain::Time("2026-01-02T03:04:05Z".into())),
            ("2026-01-02T03:04:05-01:30", Plain::Time("2026-01-02T03:04:05-01:30".into())),
            ("yes", Plain::Str),
            ("Null", Plain::Null),
            ("<<", Plain::Merge),
        ];
        for (text, expected) in cases {
            assert_eq!(resolve(text), expected, "{text}");
        }
    }

    #[test]
    fn old_numbers_to_base_60_are_recognised() {
        for text in ["1:30", "190:20:30", "+1:2.5", "1_0:59"] {
            assert!(misread_by_old_readers(text), "{text}");
        }
        for text in ["1:60", ":1", "1", "1:", "a:1", "1:30x"] {
            assert!(!misread_by_old_readers(text), "{text}");
        }
    }
}
