//! The check every parsed tree passes, whatever its format: no key twice, no key or path too long, not too deep.
//! sops lets a key occur twice in some formats and then shows one reader the first and another the last value.

use std::collections::BTreeSet;

use crate::error::{ParseError, Path};
use crate::limits::{MAX_DEPTH, MAX_KEY, MAX_PATH};
use crate::tree::{Item, Map, Pair, Value, pairs};

/// Below this many keys comparing each with each is cheaper than a set.
const FEW: usize = 8;

/// Checks one branch. `sections_repeat` lets top-level keys occur twice (ini sections may).
pub(crate) fn check(branch: &Map, sections_repeat: bool) -> Result<(), ParseError> {
    map(branch, sections_repeat, &mut Vec::new(), 0)
}

fn map<'a>(
    entries: &'a Map,
    may_repeat: bool,
    path: &mut Vec<&'a str>,
    length: usize,
) -> Result<(), ParseError> {
    if !may_repeat && let Some(pair) = repeated(entries) {
        path.push(&pair.key);
        return Err(ParseError::DuplicateKey { path: Path::new(path.iter().copied(), pair.line) });
    }
    for pair in pairs(entries) {
        let length = length + pair.key.len() + 1;
        path.push(&pair.key);
        if pair.key.len() > MAX_KEY || length > MAX_PATH {
            return Err(ParseError::KeyTooLong { path: Path::new(path.iter().copied(), pair.line) });
        }
        value(&pair.value, path, length, pair.line, 1)?;
        path.pop();
    }
    Ok(())
}

fn value<'a>(
    value_: &'a Value,
    path: &mut Vec<&'a str>,
    length: usize,
    line: u32,
    lists: usize,
) -> Result<(), ParseError> {
    if path.len() + lists > MAX_DEPTH {
        return Err(ParseError::TooDeep { line });
    }
    match value_ {
        Value::Null | Value::Scalar(_) => Ok(()),
        Value::Map(entries) => map(entries, false, path, length),
        Value::List(items) => items.iter().try_for_each(|item| match item {
            Item::Comment(_) => Ok(()),
            Item::Value(inner) => value(inner, path, length, line, lists + 1),
        }),
    }
}

fn repeated(entries: &Map) -> Option<&Pair> {
    if entries.len() <= FEW {
        return pairs(entries)
            .enumerate()
            .find(|(i, p)| pairs(entries).take(*i).any(|q| q.key == p.key))
            .map(|(_, p)| p);
    }
    let mut seen = BTreeSet::new();
    pairs(entries).find(|pair| !seen.insert(pair.key.as_str()))
}
