//! How much of a document is encrypted: a selector that fits nothing leaves every value in the clear, and says nothing.

use crate::document::Document;
use crate::tree::{Entry, Item, Value};

/// Values of a document, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Those that take its key to be read.
    pub encrypted: usize,
    /// Those that anybody can read.
    pub clear: usize,
}

impl Document {
    /// Counts the values. Nulls and empty texts, which are never encrypted, count as neither, nor do comments.
    pub fn coverage(&self) -> Coverage {
        let mut counted = Coverage::default();
        for entry in self.branches().iter().flatten() {
            of_entry(entry, &mut counted);
        }
        counted
    }
}

fn of_entry(entry: &Entry, counted: &mut Coverage) {
    if let Entry::Pair(pair) = entry {
        of_value(&pair.value, counted);
    }
}

/// As deep as the limits let a document be.
fn of_value(value: &Value, counted: &mut Coverage) {
    match value {
        Value::Null => {}
        Value::Scalar(scalar) if scalar.text.is_empty() => {}
        Value::Scalar(scalar) if scalar.text.as_bytes().starts_with(b"ENC[AES256_GCM,") => {
            counted.encrypted += 1
        }
        Value::Scalar(_) => counted.clear += 1,
        Value::List(items) => {
            for item in items {
                if let Item::Value(value) = item {
                    of_value(value, counted);
                }
            }
        }
        Value::Map(map) => map.iter().for_each(|entry| of_entry(entry, counted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, OsRng, Recipients, Rules, Selector};

    #[test]
    fn what_is_encrypted_is_told_from_what_is_not() {
        let own = age::x25519::Identity::generate().to_public().to_string();
        let of = |selector: &str, text: &str| {
            let recipients = Recipients::new(vec![own.parse().unwrap()]).unwrap();
            let rules = Rules { selector: Selector::EncryptedRegex(selector.to_owned()), ..Rules::default() };
            let now = "2026-01-01T00:00:00Z";
            let made = Document::encrypt(text.as_bytes(), Format::Yaml, &recipients, &rules, now, &mut OsRng);
            let Coverage { encrypted, clear } = made.unwrap().coverage();
            (encrypted, clear)
        };
        let text = "# comment\nuser: a\nempty: ''\nnone: null\ndata:\n  - 1\n  - b: true\n";
        assert_eq!(of("^data$", text), (2, 1));
        assert_eq!(of("^nothing$", text), (0, 3));
        assert_eq!(of(".", text), (3, 0));
        assert_eq!(of(".", "a: {}\n"), (0, 0));
    }
}
