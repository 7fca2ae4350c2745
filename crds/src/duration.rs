//! Spans of time in a spec: whole days, hours, minutes and seconds, as in `90d` or `1h30m`.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The longest span there is: a hundred years.
pub const LONGEST: i64 = 100 * 366 * 86_400;

/// Seconds of a span such as `90d`, `1h30m` or `45s`. `None` if it is none, or longer than [`LONGEST`].
pub fn seconds(text: &str) -> Option<i64> {
    let (mut total, mut rest) = (0_i64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?).filter(|t| *t <= LONGEST)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty()).then_some(total)
}

/// What [`seconds`] reads, for the API server.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^([0-9]{1,9}[dhms])+$", "maxLength": 40 })
}

/// The same where it may be left out.
pub(crate) fn optional_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = schema(generator);
    schema.insert("nullable".into(), true.into());
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_add_up_and_nonsense_is_none() {
        for (text, expected) in [
            ("90d", Some(7_776_000)),
            ("1h30m", Some(5_400)),
            ("45s", Some(45)),
            ("0s", Some(0)),
            ("", None),
            ("90", None),
            ("d", None),
            ("1w", None),
            ("-1d", None),
            ("1ü", None),
            ("99999999999999999999d", None),
            ("999999999d", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
