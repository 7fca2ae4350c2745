//! Metadata in formats without nesting, both ways (sops, `stores/flatten.go`): `age__list_0__map_enc=...` stands for `enc` in the
//! first map of the list `age`; a line break is written `\n`.

use std::collections::BTreeMap;

use crate::error::ParseError;
use crate::text::Text;
use crate::tree::{Entry, Item, Kind, Map, Pair, Scalar, Value, pairs};

const MAP: &str = "__map_";
const LIST: &str = "__list_";
/// `key_groups__list_0__map_age__list_0__map_enc` and one to spare.
const MAX_STEPS: usize = 6;

/// Turns a map of flat names to strings into the tree it stands for.
pub(crate) fn unflatten(flat: Value) -> Result<Value, ParseError> {
    let Value::Map(map) = flat else { return Err(wrong("", "not a section")) };
    let mut root = Node::Branch(BTreeMap::new());
    for pair in pairs(&map) {
        let steps = steps(&pair.key)?;
        let Value::Scalar(Scalar { kind: Kind::Str, text }) = &pair.value else {
            return Err(wrong(&pair.key, "not a string"));
        };
        let text = text.as_str().unwrap_or_default().replace("\\n", "\n");
        if !root.insert(&steps, text) {
            return Err(wrong(&pair.key, "stands for two different things"));
        }
    }
    root.into_value().ok_or_else(|| wrong("", "a list with gaps, or of a mixed kind"))
}

/// The flat names of a tree with `prefix` before each, sorted, and their values as strings. Empty lists and maps leave no
/// trace.
pub(crate) fn flatten(tree: &Value, prefix: &str) -> Option<Map> {
    let Value::Map(map) = tree else { return None };
    let mut flat = BTreeMap::new();
    for pair in pairs(map) {
        flatten_into(&mut flat, format!("{prefix}{}", pair.key), &pair.value);
    }
    Some(
        flat.into_iter()
            .map(|(key, text)| Entry::Pair(Pair { key, line: 0, value: Value::str(text) }))
            .collect(),
    )
}

fn flatten_into(flat: &mut BTreeMap<String, Text>, name: String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Scalar(scalar) => {
            flat.insert(name, crate::store::dotenv::shown(scalar));
        }
        Value::Map(map) => {
            for pair in pairs(map) {
                flatten_into(flat, format!("{name}{MAP}{}", pair.key), &pair.value);
            }
        }
        Value::List(items) => {
            let values = items.iter().filter_map(|item| match item {
                Item::Value(value) => Some(value),
                Item::Comment(_) => None,
            });
            for (index, value) in values.enumerate() {
                flatten_into(flat, format!("{name}{LIST}{index}"), value);
            }
        }
    }
}

fn wrong(field: &str, problem: &'static str) -> ParseError {
    ParseError::Metadata { field: format!("sops_{}", crate::error::shown(field)), problem }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn steps(name: &str) -> Result<Vec<Step<'_>>, ParseError> {
    let mut steps = Vec::new();
    let mut rest = name;
    let mut list = false;
    loop {
        let next = [rest.find(MAP), rest.find(LIST)].into_iter().flatten().min();
        let (word, tail) = rest.split_at(next.unwrap_or(rest.len()));
        steps.push(if list {
            let index = word.parse().ok();
            Step::Index(index.ok_or_else(|| wrong(name, "not a list index"))?)
        } else {
            Step::Key(word)
        });
        if steps.len() > MAX_STEPS {
            return Err(wrong(name, "nested too deep"));
        }
        if tail.is_empty() {
            return Ok(steps);
        }
        list = tail.starts_with(LIST);
        rest = &tail[if list { LIST.len() } else { MAP.len() }..];
    }
}

enum Node<'a> {
    Leaf(String),
    Branch(BTreeMap<Step<'a>, Node<'a>>),
}

impl<'a> Node<'a> {
    /// False if the place is taken.
    fn insert(&mut self, steps: &[Step<'a>], text: String) -> bool {
        let (Node::Branch(children), Some((first, rest))) = (self, steps.split_first()) else { return false };
        let step = match first {
            Step::Key(key) => Step::Key(key),
            Step::Index(index) => Step::Index(*index),
        };
        if rest.is_empty() {
            return children.insert(step, Node::Leaf(text)).is_none();
        }
        children.entry(step).or_insert_with(|| Node::Branch(BTreeMap::new())).insert(rest, text)
    }

    fn into_value(self) -> Option<Value> {
        let children = match self {
            Node::Leaf(text) => return Some(Value::str(Text::from(text))),
            Node::Branch(children) => children,
        };
        if children.keys().all(|step| matches!(step, Step::Key(_))) {
            let mut map = Map::new();
            for (step, child) in children {
                if let Step::Key(key) = step {
                    map.push(Entry::Pair(Pair { key: key.to_owned(), line: 0, value: child.into_value()? }));
                }
            }
            return Some(Value::Map(map));
        }
        let mut items = Vec::new();
        for (step, child) in children {
            if step != Step::Index(items.len()) {
                return None;
            }
            items.push(Item::Value(child.into_value()?));
        }
        Some(Value::List(items))
    }
}
