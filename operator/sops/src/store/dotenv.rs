//! dotenv as sops reads it (sops, `stores/dotenv`): `KEY=value` lines, `#` comments, `\n` for a line break, no quoting.
//! The metadata are the keys that start with `sops_`.

use crate::door;
use crate::error::ParseError;
use crate::format::Format;
use crate::limits::Budget;
use crate::store::{Layout, Loaded, flat};
use crate::text::Text;
use crate::tree::{Entry, Kind, Map, Pair, Scalar, Value};

pub(crate) const PREFIX: &str = "sops_";

pub(crate) fn load(text: &str, budget: &mut Budget) -> Result<Loaded, ParseError> {
    let (metadata, data): (Map, Map) = parse(text, budget)?
        .into_iter()
        .partition(|entry| matches!(entry, Entry::Pair(pair) if pair.key.starts_with(PREFIX)));
    if metadata.is_empty() {
        return Err(ParseError::NotEncrypted);
    }
    let metadata = metadata
        .into_iter()
        .map(|entry| match entry {
            Entry::Pair(pair) => Entry::Pair(Pair { key: pair.key[PREFIX.len()..].to_owned(), ..pair }),
            comment => comment,
        })
        .collect();
    Ok(Loaded {
        branches: vec![data],
        metadata: flat::unflatten(Value::Map(metadata))?,
        layout: Layout::default(),
    })
}

pub(crate) fn parse(text: &str, budget: &mut Budget) -> Result<Map, ParseError> {
    let mut map = Map::new();
    for (line, number) in text.split('\n').zip(1..) {
        if line.is_empty() {
            continue;
        }
        budget.charge(1, line.len())?;
        map.push(if let Some(comment) = line.strip_prefix('#') {
            Entry::Comment(comment.into())
        } else if let Some((key, value)) = line.split_once('=') {
            Entry::Pair(Pair {
                key: key.to_owned(),
                line: number,
                value: Value::str(value.replace("\\n", "\n")),
            })
        } else {
            let problem = "neither a comment nor key=value";
            return Err(ParseError::Syntax { format: Format::Dotenv, line: number, problem });
        });
    }
    door::check(&map, false)?;
    Ok(map)
}

/// `None` if the tree nests: dotenv cannot.
pub(crate) fn emit(branch: &Map) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for entry in branch {
        match entry {
            Entry::Comment(text) => {
                out.push(b'#');
                out.extend_from_slice(text.as_bytes());
            }
            Entry::Pair(pair) => {
                out.extend_from_slice(pair.key.as_bytes());
                out.push(b'=');
                value(&mut out, &pair.value)?;
            }
        }
        out.push(b'\n');
    }
    Some(out)
}

fn value(out: &mut Vec<u8>, value: &Value) -> Option<()> {
    match value {
        Value::Scalar(Scalar { kind: Kind::Str, text }) => {
            for (index, line) in text.as_bytes().split(|&b| b == b'\n').enumerate() {
                if index > 0 {
                    out.extend_from_slice(b"\\n");
                }
                out.extend_from_slice(line);
            }
        }
        Value::Scalar(scalar) => out.extend_from_slice(shown(scalar).as_bytes()),
        Value::Null => out.extend_from_slice(b"<nil>"),
        Value::List(_) | Value::Map(_) => return None,
    }
    Some(())
}

/// A scalar as the flat formats print it.
pub(crate) fn shown(scalar: &Scalar) -> Text {
    let text = scalar.text.as_str();
    match scalar.kind {
        Kind::Bool => Text::from(if text == Some("True") { "true" } else { "false" }),
        Kind::Float => {
            let number: f64 = text.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
            if !number.is_finite() {
                return scalar.text.duplicate();
            }
            let mut shown = crate::number::shortest(number, &crate::number::FLAT);
            if !shown.contains(['.', 'E']) {
                shown.push_str(".0");
            }
            shown.into()
        }
        Kind::Str | Kind::Int | Kind::Time | Kind::Bytes => scalar.text.duplicate(),
    }
}
