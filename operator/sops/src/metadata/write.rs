//! Writes the block: the fields sops 3.11 writes, in its order, with its ideas of what is left out when empty (sops,
//! `stores/stores.go`). What sops does not know is dropped, as it drops it.

use std::collections::BTreeMap;

use super::{Metadata, OtherKey, Selector};
use crate::text::Text;
use crate::tree::{Entry, Item, Kind, Map, Pair, Scalar, Value, pairs};

/// The version documents are written as: the one whose form this is.
pub(crate) const VERSION: &str = "3.11.0";

/// The fields of a document with one key group. `pgp` really stands that late.
const TOP: [&str; 18] = [
    "shamir_threshold",
    "key_groups",
    "kms",
    "gcp_kms",
    "hckms",
    "azure_kv",
    "hc_vault",
    "age",
    "lastmodified",
    "mac",
    "pgp",
    "unencrypted_suffix",
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
    "version",
];
/// Stands before `version`, and is the one field of its type.
const MAC_ONLY_ENCRYPTED: &str = "mac_only_encrypted";
/// The lists of one of several key groups; the last two are written even if empty.
const GROUP: [&str; 7] = ["pgp", "kms", "gcp_kms", "hckms", "azure_kv", "hc_vault", "age"];
const WRITTEN_EMPTY: [&str; 2] = ["hc_vault", "age"];
const AGE: &str = "age";

/// The fields of one key entry, and whether an empty one is left out.
fn fields(kind: &str) -> &'static [(&'static str, bool)] {
    match kind {
        "pgp" => &[("created_at", false), ("enc", false), ("fp", false)],
        "kms" => &[
            ("arn", false),
            ("role", true),
            ("context", true),
            ("created_at", false),
            ("enc", false),
            ("aws_profile", false),
        ],
        "gcp_kms" => &[("resource_id", false), ("created_at", false), ("enc", false)],
        "hckms" => &[("key_id", false), ("created_at", false), ("enc", false)],
        "azure_kv" => &[
            ("vault_url", false),
            ("name", false),
            ("version", false),
            ("created_at", false),
            ("enc", false),
        ],
        "hc_vault" => &[
            ("vault_address", false),
            ("engine_path", false),
            ("key_name", false),
            ("created_at", false),
            ("enc", false),
        ],
        _ => &[("recipient", false), ("enc", false)],
    }
}

/// An age recipient and what was wrapped for it.
pub(crate) struct Wrapped {
    pub(crate) recipient: String,
    pub(crate) wrapped: String,
}

/// The key entries of one group by their field, each in the form it is written in.
#[derive(Default)]
pub(crate) struct Keys(BTreeMap<&'static str, Vec<Map>>);

impl Keys {
    fn of(group: &Map) -> Keys {
        let mut keys = Keys::default();
        for field in GROUP {
            let Some(Value::List(items)) = get(group, field) else { continue };
            let entries: Vec<Map> = items
                .iter()
                .filter_map(|item| match item {
                    Item::Value(Value::Map(map)) => Some(entry(field, map)),
                    _ => None,
                })
                .collect();
            if !entries.is_empty() {
                keys.0.insert(field, entries);
            }
        }
        keys
    }

    /// Takes the age entries out.
    pub(crate) fn without_age(mut self) -> Keys {
        self.0.remove(AGE);
        self
    }

    pub(crate) fn with_age(mut self, keys: Vec<Wrapped>) -> Keys {
        let text = |key: &str, value: String| Entry::Pair(pair(key, Value::str(value)));
        let entries = keys
            .into_iter()
            .map(|key| vec![text("recipient", key.recipient), text("enc", key.wrapped)])
            .collect();
        self.0.insert(AGE, entries);
        self
    }

    /// The lists in the order given.
    fn into_pairs(mut self, order: &[&'static str], written_empty: &[&str]) -> Map {
        let mut map = Map::new();
        for &field in order {
            let entries = self.0.remove(field).unwrap_or_default();
            if entries.is_empty() && !written_empty.contains(&field) {
                continue;
            }
            let items = entries.into_iter().map(|map| Item::Value(Value::Map(map))).collect();
            map.push(Entry::Pair(pair(field, Value::List(items))));
        }
        map
    }
}

/// What the block of a new document says.
pub(crate) struct New<'a> {
    pub(crate) groups: Vec<Keys>,
    pub(crate) threshold: Option<usize>,
    /// `None` for binary files, which have nothing to select from.
    pub(crate) selector: Option<&'a Selector>,
    pub(crate) mac_only_encrypted: bool,
}

/// A `sops` block as it is written.
pub(crate) struct Block {
    groups: Vec<Keys>,
    threshold: usize,
    /// Fields of plain text.
    texts: BTreeMap<&'static str, Text>,
    mac_only_encrypted: bool,
}

impl Block {
    pub(crate) fn new(new: New<'_>) -> Block {
        let mut texts = BTreeMap::from([("version", Text::from(VERSION))]);
        if let Some(selector) = new.selector {
            texts.insert(selector.field(), selector.text().into());
        }
        Block {
            groups: new.groups,
            threshold: new.threshold.unwrap_or(0),
            texts,
            mac_only_encrypted: new.mac_only_encrypted,
        }
    }

    /// A block that was read; `metadata` is what was read from it.
    pub(crate) fn of(block: &Value, metadata: &Metadata) -> Block {
        let none = Map::new();
        let map = if let Value::Map(map) = block { map } else { &none };
        let mut groups = vec![Keys::of(map)];
        if groups.iter().all(|keys| keys.0.is_empty())
            && let Some(Value::List(items)) = get(map, "key_groups")
        {
            groups = items
                .iter()
                .filter_map(|item| match item {
                    Item::Value(Value::Map(group)) => Some(Keys::of(group)),
                    _ => None,
                })
                .collect();
        }
        let threshold = match get(map, "shamir_threshold") {
            Some(Value::Scalar(scalar)) => scalar.text.as_str().and_then(super::read::whole),
            _ => None,
        };
        let texts = TOP.iter().filter_map(|&field| match get(map, field)? {
            Value::Scalar(scalar) if field != "shamir_threshold" => Some((field, scalar.text.duplicate())),
            _ => None,
        });
        Block {
            groups,
            threshold: threshold.unwrap_or(0),
            texts: texts.filter(|(_, text)| !text.is_empty()).collect(),
            mac_only_encrypted: metadata.mac_only_encrypted,
        }
    }

    /// The selector, and whether the MAC leaves clear-text values out.
    pub(crate) fn rules(&self) -> (Selector, bool) {
        let found = Selector::ALL.into_iter().find_map(|(field, rule)| {
            self.texts.get(field).and_then(Text::as_str).map(|text| rule(text.to_owned()))
        });
        (found.unwrap_or_default(), self.mac_only_encrypted)
    }

    /// The key entries this crate has no part in, by group.
    pub(crate) fn take_others(&mut self) -> Vec<Keys> {
        std::mem::take(&mut self.groups).into_iter().map(Keys::without_age).collect()
    }

    pub(crate) fn set_keys(&mut self, groups: Vec<Keys>, threshold: Option<usize>) {
        self.groups = groups;
        self.threshold = threshold.unwrap_or(0);
    }

    pub(crate) fn set_mac(&mut self, mac: Text, now: &str) {
        self.texts.insert("mac", mac);
        self.texts.insert("lastmodified", now.into());
    }

    /// Documents are written as [`VERSION`] unless they are newer.
    pub(crate) fn raise_version(&mut self) {
        let number =
            |text: &str| -> Option<Vec<u64>> { text.split('.').map(|part| part.parse().ok()).collect() };
        let written = self.texts.get("version").and_then(Text::as_str).and_then(number);
        if written < number(VERSION) {
            self.texts.insert("version", VERSION.into());
        }
    }

    pub(crate) fn into_value(mut self) -> Value {
        let mut map = Map::new();
        if self.threshold > 0 {
            let threshold = i64::try_from(self.threshold).unwrap_or(0);
            map.push(Entry::Pair(pair("shamir_threshold", Value::int(threshold))));
        }
        let mut single = Map::new();
        if self.groups.len() > 1 {
            let groups = self.groups.into_iter();
            let groups = groups.map(|keys| Item::Value(Value::Map(keys.into_pairs(&GROUP, &WRITTEN_EMPTY))));
            map.push(Entry::Pair(pair("key_groups", Value::List(groups.collect()))));
        } else if let Some(keys) = self.groups.pop() {
            single = keys.into_pairs(&TOP, &[]);
        }
        let mut single = single.into_iter().peekable();
        for field in TOP {
            if field == "version" && self.mac_only_encrypted {
                map.push(Entry::Pair(pair(MAC_ONLY_ENCRYPTED, Value::bool(true))));
            }
            if let Some(list) =
                single.next_if(|entry| matches!(entry, Entry::Pair(pair) if pair.key == field))
            {
                map.push(list);
            }
            let text = self.texts.remove(field);
            let always = matches!(field, "lastmodified" | "mac" | "version");
            if let Some(text) = text.or_else(|| always.then(Text::default)) {
                map.push(Entry::Pair(pair(field, Value::str(text))));
            }
        }
        Value::Map(map)
    }
}

/// One key entry: its known fields, each a string.
fn entry(kind: &str, map: &Map) -> Map {
    let mut entry = Map::new();
    for &(field, omit_empty) in fields(kind) {
        let value = match get(map, field) {
            Some(Value::Map(context)) if field == "context" => context_of(context),
            Some(Value::Scalar(scalar)) => Value::str(scalar.text.duplicate()),
            _ => Value::str(""),
        };
        let empty = match &value {
            Value::Scalar(scalar) => scalar.text.is_empty(),
            Value::Map(map) => map.is_empty(),
            _ => false,
        };
        if !(omit_empty && empty) {
            entry.push(Entry::Pair(pair(field, value)));
        }
    }
    entry
}

/// A KMS encryption context: strings or nulls, sorted by name.
fn context_of(map: &Map) -> Value {
    let mut context: Vec<Pair> = pairs(map)
        .map(|found| {
            let value = match &found.value {
                Value::Scalar(Scalar { kind: Kind::Str, text }) => Value::str(text.duplicate()),
                _ => Value::Null,
            };
            pair(&found.key, value)
        })
        .collect();
    context.sort_by(|a, b| a.key.cmp(&b.key));
    Value::Map(context.into_iter().map(Entry::Pair).collect())
}

fn pair(key: &str, value: Value) -> Pair {
    Pair { key: key.to_owned(), line: 0, value }
}

fn get<'a>(map: &'a Map, field: &str) -> Option<&'a Value> {
    pairs(map).find(|pair| pair.key == field).map(|pair| &pair.value)
}

impl OtherKey {
    /// The kinds a group of entries holds.
    pub(crate) fn of(keys: &Keys) -> Vec<OtherKey> {
        OtherKey::ALL.into_iter().filter(|kind| keys.0.contains_key(kind.field())).collect()
    }
}
