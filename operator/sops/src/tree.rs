//! The ordered tree every store parses to and emits from, for ciphertext and plaintext alike. Order, comments and
//! repeated sections are kept: sops authenticates values in document order and prints comments where they stood.

use crate::text::Text;

/// One YAML document; every other format has exactly one branch.
pub(crate) type Map = Vec<Entry>;

#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Item>),
    Map(Map),
}

/// What stands in a map, in order.
#[derive(Debug)]
pub(crate) enum Entry {
    Comment(Text),
    Pair(Pair),
}

/// `line` is 1-based, 0 where the format gives none.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) line: u32,
    pub(crate) value: Value,
}

/// What stands in a list, in order. A comment takes no index.
#[derive(Debug)]
pub(crate) enum Item {
    Comment(Text),
    Value(Value),
}

/// A leaf: its type and the text sops authenticates for it (`True`, `-1`, `1000000.5`, a string's own bytes).
#[derive(Debug)]
pub(crate) struct Scalar {
    pub(crate) kind: Kind,
    pub(crate) text: Text,
}

/// The types a sops value can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Str,
    Int,
    Float,
    Bool,
    Time,
    Bytes,
}

impl Value {
    pub(crate) fn str(text: impl Into<Text>) -> Value {
        Value::Scalar(Scalar { kind: Kind::Str, text: text.into() })
    }

    pub(crate) fn bool(value: bool) -> Value {
        Value::Scalar(Scalar { kind: Kind::Bool, text: Text::from(if value { "True" } else { "False" }) })
    }

    pub(crate) fn int(value: i64) -> Value {
        Value::Scalar(Scalar { kind: Kind::Int, text: value.to_string().into() })
    }

    pub(crate) fn float(value: f64) -> Value {
        Value::Scalar(Scalar { kind: Kind::Float, text: crate::number::decimal(value).into() })
    }

    /// Nodes and bytes of text below and including this value: what a copy of it costs.
    pub(crate) fn weight(&self) -> (usize, usize) {
        let add = |(n, b): (usize, usize), (m, c): (usize, usize)| (n + m, b + c);
        match self {
            Value::Null => (1, 0),
            Value::Scalar(scalar) => (1, scalar.text.len()),
            Value::List(items) => items.iter().fold((1, 0), |sum, item| match item {
                Item::Comment(text) => add(sum, (1, text.len())),
                Item::Value(value) => add(sum, value.weight()),
            }),
            Value::Map(entries) => entries.iter().fold((1, 0), |sum, entry| match entry {
                Entry::Comment(text) => add(sum, (1, text.len())),
                Entry::Pair(pair) => add(add(sum, (0, pair.key.len())), pair.value.weight()),
            }),
        }
    }

    /// Levels of maps and lists below and including this value.
    pub(crate) fn height(&self) -> usize {
        match self {
            Value::Null | Value::Scalar(_) => 0,
            Value::List(items) => {
                1 + items
                    .iter()
                    .map(|i| if let Item::Value(v) = i { v.height() } else { 0 })
                    .max()
                    .unwrap_or(0)
            }
            Value::Map(entries) => {
                1 + entries
                    .iter()
                    .map(|e| if let Entry::Pair(p) = e { p.value.height() } else { 0 })
                    .max()
                    .unwrap_or(0)
            }
        }
    }

    /// A deep copy, for YAML aliases; the caller has charged [`Value::weight`] for it.
    pub(crate) fn duplicate(&self) -> Value {
        match self {
            Value::Null => Value::Null,
            Value::Scalar(s) => Value::Scalar(Scalar { kind: s.kind, text: s.text.duplicate() }),
            Value::List(items) => Value::List(
                items
                    .iter()
                    .map(|item| match item {
                        Item::Comment(text) => Item::Comment(text.duplicate()),
                        Item::Value(value) => Item::Value(value.duplicate()),
                    })
                    .collect(),
            ),
            Value::Map(entries) => Value::Map(entries.iter().map(Entry::duplicate).collect()),
        }
    }
}

impl Entry {
    /// As [`Value::duplicate`].
    pub(crate) fn duplicate(&self) -> Entry {
        match self {
            Entry::Comment(text) => Entry::Comment(text.duplicate()),
            Entry::Pair(pair) => {
                Entry::Pair(Pair { key: pair.key.clone(), line: pair.line, value: pair.value.duplicate() })
            }
        }
    }
}

/// Whether two maps hold the same, comments and order included, wherever they stood.
pub(crate) fn same(a: &[Entry], b: &[Entry]) -> bool {
    let entries = |a: &Entry, b: &Entry| match (a, b) {
        (Entry::Comment(a), Entry::Comment(b)) => a == b,
        (Entry::Pair(a), Entry::Pair(b)) => a.key == b.key && same_value(&a.value, &b.value),
        _ => false,
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| entries(a, b))
}

fn same_value(a: &Value, b: &Value) -> bool {
    let items = |a: &Item, b: &Item| match (a, b) {
        (Item::Comment(a), Item::Comment(b)) => a == b,
        (Item::Value(a), Item::Value(b)) => same_value(a, b),
        _ => false,
    };
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Scalar(a), Value::Scalar(b)) => a.kind == b.kind && a.text == b.text,
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| items(a, b)),
        (Value::Map(a), Value::Map(b)) => same(a, b),
        _ => false,
    }
}

/// Whether two trees have the same keys and authenticated texts, whatever their comments and types.
pub(crate) fn same_texts(a: &Map, b: &Map) -> bool {
    let (mut a, mut b) = (pairs(a), pairs(b));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a.key == b.key && same_text(&a.value, &b.value) => {}
            _ => return false,
        }
    }
}

fn same_text(a: &Value, b: &Value) -> bool {
    fn values(items: &[Item]) -> impl Iterator<Item = &Value> {
        items.iter().filter_map(|item| match item {
            Item::Value(value) => Some(value),
            Item::Comment(_) => None,
        })
    }
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Scalar(a), Value::Scalar(b)) => a.text == b.text,
        (Value::Map(a), Value::Map(b)) => same_texts(a, b),
        (Value::List(a), Value::List(b)) => {
            values(a).count() == values(b).count() && values(a).zip(values(b)).all(|(a, b)| same_text(a, b))
        }
        _ => false,
    }
}

/// The pairs of a map, comments skipped.
pub(crate) fn pairs(map: &Map) -> impl Iterator<Item = &Pair> {
    map.iter().filter_map(|entry| match entry {
        Entry::Pair(pair) => Some(pair),
        Entry::Comment(_) => None,
    })
}
