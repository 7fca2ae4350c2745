//! JSON, and the JSON envelope of binary files (sops, `stores/json`). All numbers are floating point, as they are to
//! sops. Comments do not exist; those of a tree from elsewhere are left out.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::error::ParseError;
use crate::format::Format;
use crate::limits::Budget;
use crate::store::SOPS;
use crate::tree::{Entry, Item, Kind, Map, Pair, Scalar, Value, pairs};

/// The one key of a binary file's envelope.
const DATA: &str = "data";

/// Parses one object and nothing after it.
pub(crate) fn parse(text: &str, budget: &mut Budget) -> Result<Map, ParseError> {
    let mut refused = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    let parsed = Seed { budget, refused: &mut refused }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    match (parsed, refused) {
        (_, Some(error)) => Err(error),
        (Ok(Value::Map(map)), None) => Ok(map),
        (Ok(_), None) => Err(syntax(1, "not an object")),
        // serde_json stops by itself at a depth of 128, and its messages may quote values.
        (Err(error), None) => Err(syntax(u32::try_from(error.line()).unwrap_or(0), "syntax error")),
    }
}

fn syntax(line: u32, problem: &'static str) -> ParseError {
    ParseError::Syntax { format: Format::Json, line, problem }
}

/// Whether these bytes are the envelope of a binary file: an object of `data` and `sops`.
pub(crate) fn is_envelope(bytes: &[u8]) -> bool {
    let map = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.len() <= crate::limits::MAX_BYTES)
        .and_then(|text| parse(text, &mut Budget::new()).ok());
    map.is_some_and(|map| {
        let text = |pair: &Pair| matches!(&pair.value, Value::Scalar(scalar) if scalar.kind == Kind::Str);
        map.len() == 2
            && pairs(&map).any(|pair| pair.key == DATA && text(pair))
            && pairs(&map).any(|pair| pair.key == SOPS)
    })
}

/// The tree of a binary file.
pub(crate) fn envelope(bytes: &[u8]) -> Map {
    vec![Entry::Pair(Pair { key: DATA.to_owned(), line: 0, value: Value::str(bytes.to_vec()) })]
}

/// Metadata as JSON has it: a list that is written although empty is null.
pub(crate) fn with_nulls(value: Value) -> Value {
    match value {
        Value::List(items) if items.is_empty() => Value::Null,
        Value::List(items) => Value::List(
            items
                .into_iter()
                .map(|item| match item {
                    Item::Value(value) => Item::Value(with_nulls(value)),
                    comment => comment,
                })
                .collect(),
        ),
        Value::Map(map) => Value::Map(
            map.into_iter()
                .map(|entry| match entry {
                    Entry::Pair(pair) => Entry::Pair(Pair { value: with_nulls(pair.value), ..pair }),
                    comment => comment,
                })
                .collect(),
        ),
        other => other,
    }
}

/// Prints an object, indented by tabs.
pub(crate) fn emit(branch: &Map) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    object(&mut out, branch, 0);
    out.push(b'\n');
    Some(out)
}

/// The bytes of a binary file.
pub(crate) fn emit_binary(branch: &Map) -> Option<Vec<u8>> {
    pairs(branch).find(|pair| pair.key == DATA).and_then(|pair| match &pair.value {
        Value::Scalar(scalar) => Some(scalar.text.as_bytes().to_vec()),
        _ => None,
    })
}

/// The columns an indent that sops wrote a document with, if it was told to use blanks.
pub(crate) fn indentation(text: &str) -> Option<usize> {
    let after = text.trim_start().strip_prefix("{\n")?;
    let columns = after.len() - after.trim_start_matches(' ').len();
    (columns > 0).then_some(columns)
}

/// Printed text with blanks instead of tabs. Within strings there are neither tabs nor line breaks.
pub(crate) fn indented(printed: &[u8], columns: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(printed.len());
    for line in printed.split_inclusive(|&b| b == b'\n') {
        let depth = line.iter().take_while(|&&b| b == b'\t').count();
        out.extend(std::iter::repeat_n(b' ', depth * columns));
        out.extend_from_slice(&line[depth..]);
    }
    out
}

fn value(out: &mut Vec<u8>, value_: &Value, depth: usize) {
    match value_ {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Scalar(scalar) => leaf(out, scalar),
        Value::Map(map) => object(out, map, depth),
        Value::List(items) => {
            let values = items.iter().filter_map(|item| match item {
                Item::Value(value) => Some(value),
                Item::Comment(_) => None,
            });
            out.push(b'[');
            let mut empty = true;
            for inner in values {
                separate(out, &mut empty, depth + 1);
                value(out, inner, depth + 1);
            }
            close(out, b']', empty, depth);
        }
    }
}

fn object(out: &mut Vec<u8>, map: &Map, depth: usize) {
    out.push(b'{');
    let mut empty = true;
    for pair in pairs(map) {
        separate(out, &mut empty, depth + 1);
        string(out, pair.key.as_bytes());
        out.extend_from_slice(b": ");
        value(out, &pair.value, depth + 1);
    }
    close(out, b'}', empty, depth);
}

fn separate(out: &mut Vec<u8>, empty: &mut bool, depth: usize) {
    if !std::mem::take(empty) {
        out.push(b',');
    }
    newline(out, depth);
}

fn close(out: &mut Vec<u8>, bracket: u8, empty: bool, depth: usize) {
    if !empty {
        newline(out, depth);
    }
    out.push(bracket);
}

fn newline(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b'\t', depth));
}

fn leaf(out: &mut Vec<u8>, scalar: &Scalar) {
    let text = scalar.text.as_bytes();
    match scalar.kind {
        Kind::Int => out.extend_from_slice(text),
        Kind::Bool => out.extend_from_slice(if text == b"True" { b"true" } else { b"false" }),
        Kind::Float => {
            let number =
                scalar.text.as_str().and_then(|text| text.parse::<f64>().ok()).filter(|n| n.is_finite());
            let shown = number.map(|n| crate::number::shortest(n, &crate::number::JSON));
            out.extend_from_slice(shown.as_deref().unwrap_or("null").as_bytes());
        }
        Kind::Str | Kind::Time | Kind::Bytes => string(out, text),
    }
}

/// A string as Go writes it: `<`, `>`, `&` and the two Unicode line separators escaped, bytes that are not UTF-8
/// replaced.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.bytes().position(may_be_escaped) {
            let (run, from) = rest.split_at(at);
            out.extend_from_slice(run.as_bytes());
            rest = escape_first(out, from);
        }
        out.extend_from_slice(rest.as_bytes());
        out.extend(chunk.invalid().iter().flat_map(|_| b"\\ufffd"));
    }
    out.push(b'"');
}

/// Whether a character that starts with this byte may have to be escaped; 0xe2 starts the two line separators.
fn may_be_escaped(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2)
}

/// Writes the first character and gives back what follows it.
fn escape_first<'t>(out: &mut Vec<u8>, text: &'t str) -> &'t str {
    let mut chars = text.chars();
    match chars.next() {
        Some('"') => out.extend_from_slice(b"\\\""),
        Some('\\') => out.extend_from_slice(b"\\\\"),
        Some('\n') => out.extend_from_slice(b"\\n"),
        Some('\r') => out.extend_from_slice(b"\\r"),
        Some('\t') => out.extend_from_slice(b"\\t"),
        Some('\u{8}') => out.extend_from_slice(b"\\b"),
        Some('\u{c}') => out.extend_from_slice(b"\\f"),
        Some(c @ ('\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}')) => {
            out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
        }
        Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => {}
    }
    chars.as_str()
}

/// Builds a [`Value`]; a refusal of ours is left in `refused`, since serde_json's errors carry text only.
struct Seed<'a> {
    budget: &'a mut Budget,
    refused: &'a mut Option<ParseError>,
}

impl Seed<'_> {
    fn charge<E: Error>(&mut self, nodes: usize, bytes: usize) -> Result<(), E> {
        self.budget.charge(nodes, bytes).map_err(|error| {
            *self.refused = Some(error);
            E::custom("refused")
        })
    }

    fn again(&mut self) -> Seed<'_> {
        Seed { budget: self.budget, refused: self.refused }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<Value, E> {
        self.charge(1, 0)?;
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<Value, E> {
        self.charge(1, 0)?;
        Ok(Value::bool(value))
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<Value, E> {
        let value = Value::float(value);
        // 1e300 is authenticated as 301 digits.
        let (nodes, bytes) = value.weight();
        self.charge(nodes, bytes)?;
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_str<E: Error>(mut self, value: &str) -> Result<Value, E> {
        self.charge(1, value.len())?;
        Ok(Value::str(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Value, A::Error> {
        self.charge(1, 0)?;
        let mut items = Vec::new();
        while let Some(value) = list.next_element_seed(self.again())? {
            items.push(Item::Value(value));
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        self.charge(1, 0)?;
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            self.charge(0, key.len())?;
            entries.push(Entry::Pair(Pair { key, line: 0, value: map.next_value_seed(self.again())? }));
        }
        Ok(Value::Map(entries))
    }
}
