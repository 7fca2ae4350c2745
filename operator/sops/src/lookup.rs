//! Paths into a tree, as values and as text.

use std::collections::HashMap;

use crate::tree::{Item, Map, Value, pairs};

/// One step of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathSegment<'a> {
    Key(&'a str),
    /// 0-based; comments do not count.
    Index(usize),
}

/// Why a path leads nowhere. `at` is the 0-based step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    #[error("not a path: character {at}")]
    Syntax { at: usize },
    #[error("step {} of the path leads nowhere", at + 1)]
    NotFound { at: usize },
    #[error("step {} of the path could mean two sections of the same name", at + 1)]
    Ambiguous { at: usize },
}

/// Finds any number of paths in one tree. A map or list is read through at its first step and never again: many paths
/// into a large map cost the sum of both, not the product.
#[derive(Default)]
pub(crate) struct Index<'v> {
    /// By address, which the borrow of the tree keeps.
    maps: HashMap<usize, HashMap<&'v str, Place<'v>>>,
    lists: HashMap<usize, Vec<&'v Value>>,
    #[cfg(test)]
    read: usize,
}

enum Place<'v> {
    One(&'v Value),
    /// Sections of an ini file may repeat; every other format has refused that at the door.
    Several,
}

impl<'v> Index<'v> {
    pub(crate) fn walk(&mut self, root: &'v Map, path: &[PathSegment<'_>]) -> Result<&'v Value, LookupError> {
        let mut here: Option<&'v Value> = None;
        for (at, segment) in path.iter().enumerate() {
            here = Some(match (segment, here) {
                (PathSegment::Key(key), None) => self.child(root, key, at)?,
                (PathSegment::Key(key), Some(Value::Map(map))) => self.child(map, key, at)?,
                (PathSegment::Index(index), Some(Value::List(items))) => {
                    self.item(items, *index).ok_or(LookupError::NotFound { at })?
                }
                _ => return Err(LookupError::NotFound { at }),
            });
        }
        here.ok_or(LookupError::NotFound { at: 0 })
    }

    fn child(&mut self, map: &'v Map, key: &str, at: usize) -> Result<&'v Value, LookupError> {
        let places = self.maps.entry(std::ptr::from_ref(map).addr()).or_insert_with(|| {
            let mut places = HashMap::with_capacity(map.len());
            for pair in pairs(map) {
                #[cfg(test)]
                (self.read += 1);
                places
                    .entry(pair.key.as_str())
                    .and_modify(|place| *place = Place::Several)
                    .or_insert(Place::One(&pair.value));
            }
            places
        });
        match places.get(key) {
            Some(Place::One(value)) => Ok(value),
            Some(Place::Several) => Err(LookupError::Ambiguous { at }),
            None => Err(LookupError::NotFound { at }),
        }
    }

    fn item(&mut self, items: &'v Vec<Item>, index: usize) -> Option<&'v Value> {
        let values = self.lists.entry(std::ptr::from_ref(items).addr()).or_insert_with(|| {
            let values = items.iter().filter_map(|item| {
                #[cfg(test)]
                (self.read += 1);
                match item {
                    Item::Value(value) => Some(value),
                    Item::Comment(_) => None,
                }
            });
            values.collect()
        });
        values.get(index).copied()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

impl Segment {
    pub(crate) fn borrow(&self) -> PathSegment<'_> {
        match self {
            Segment::Key(key) => PathSegment::Key(key),
            Segment::Index(index) => PathSegment::Index(*index),
        }
    }
}

/// `a.b[0].c`, `["quoted.key"]`, `['quoted.key']`. Nothing is escaped inside quotes.
pub(crate) fn parse(text: &str) -> Result<Vec<Segment>, LookupError> {
    let mut segments = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = text.len() - rest.len();
        let wrong = LookupError::Syntax { at };
        if let Some(inner) = rest.strip_prefix('[') {
            let quote = inner.chars().next().filter(|c| matches!(c, '"' | '\''));
            if let Some(quote) = quote {
                let (key, tail) = inner[1..].split_once(quote).ok_or(wrong)?;
                segments.push(Segment::Key(key.to_owned()));
                rest = tail.strip_prefix(']').ok_or(wrong)?;
            } else {
                let (index, tail) = inner.split_once(']').ok_or(wrong)?;
                let digits = index.bytes().all(|b| b.is_ascii_digit());
                segments.push(Segment::Index(index.parse().ok().filter(|_| digits).ok_or(wrong)?));
                rest = tail;
            }
            if !rest.is_empty() && !rest.starts_with(['.', '[']) {
                return Err(wrong);
            }
        } else {
            let key = match (rest.strip_prefix('.'), segments.is_empty()) {
                (Some(key), false) => key,
                (None, true) => rest,
                _ => return Err(wrong),
            };
            let (key, tail) = key.split_at(key.find(['.', '[']).unwrap_or(key.len()));
            if key.is_empty() {
                return Err(wrong);
            }
            segments.push(Segment::Key(key.to_owned()));
            rest = tail;
        }
    }
    if segments.is_empty() { Err(LookupError::Syntax { at: 0 }) } else { Ok(segments) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Entry, Pair};

    #[test]
    fn many_paths_read_a_large_tree_once() {
        const KEYS: usize = 50_000;
        let pair = |key: String, value| Entry::Pair(Pair { key, line: 0, value });
        let list = Value::List((0..KEYS).map(|_| Item::Value(Value::Null)).collect());
        let map: Map = (0..KEYS)
            .map(|n| pair(format!("k{n}"), Value::str("x")))
            .chain([pair("list".to_owned(), list)])
            .collect();
        let mut index = Index::default();
        for n in (0..KEYS).rev() {
            let key = format!("k{n}");
            assert!(matches!(index.walk(&map, &[PathSegment::Key(&key)]), Ok(Value::Scalar(_))));
            let path = [PathSegment::Key("list"), PathSegment::Index(n)];
            assert!(matches!(index.walk(&map, &path), Ok(Value::Null)));
        }
        assert_eq!(index.read, 2 * KEYS + 1);
    }

    #[test]
    fn paths_are_read_as_written() {
        let key = |key: &str| Segment::Key(key.to_owned());
        assert_eq!(parse("a.b[0].c"), Ok(vec![key("a"), key("b"), Segment::Index(0), key("c")]));
        assert_eq!(parse("stringData[\"tls.crt\"]"), Ok(vec![key("stringData"), key("tls.crt")]));
        assert_eq!(parse("['a.b']['c]']"), Ok(vec![key("a.b"), key("c]")]));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a[",
            "a[]",
            "a[x]",
            "a[-1]",
            "a[+1]",
            "a[\"b]",
            "a[0]b",
            "a[99999999999999999999]",
        ] {
            assert!(matches!(parse(text), Err(LookupError::Syntax { .. })), "{text}");
        }
    }
}
