//! Values that changed under one Secret key and that another key of the same EncryptedSecret has or had: a password that
//! moves from `current` to `previous` is no new one. Called by `open`, where values are at hand.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use touchseal_keyring::DigestKey;
use touchseal_plan::{Content, LedgerEntry};

use crate::open::digest_of;

/// Most bytes that are hashed to find them, a fraction of a second's work; 20 keys that all change take 0.3 MiB.
const MOST: usize = 32 * 1024 * 1024;
/// What a digest takes besides the value: names, padding and key schedule.
const FIXED: usize = 256;

/// When each of them is known to have existed under another key of `entry`. `now` are the digests under the entry's key;
/// `keys` the live digest keys of its keyring. Where comparing takes too long, every value that changed counts as one of the
/// oldest.
pub fn known(
    content: &Content,
    entry: &LedgerEntry,
    now: Option<&BTreeMap<String, String>>,
    keys: &BTreeMap<u32, DigestKey>,
    name: &str,
) -> BTreeMap<String, Time> {
    let same = |key: &String| {
        let before = entry.keys.get(key).map(|known| &known.digest);
        before.is_some() && now.and_then(|now| now.get(key)) == before
    };
    let changed: Vec<(&String, &[u8])> = content
        .data
        .iter()
        .filter(|(key, _)| !same(key))
        .map(|(key, value)| (key, value.as_slice()))
        .collect();
    let generations = entry.key_generations();
    let live: Vec<_> = keys.iter().filter(|(generation, _)| generations.contains(generation)).collect();
    let names = entry.keys.len().saturating_add(entry.gone.len());
    let once = changed.iter().map(|(_, value)| value.len().saturating_add(FIXED)).sum::<usize>();
    if once.saturating_mul(names).saturating_mul(live.len()) > MOST {
        let oldest = entry.oldest();
        return changed.into_iter().filter_map(|(key, _)| Some((key.clone(), oldest.clone()?))).collect();
    }
    let earliest = |key: &String, value: &[u8]| {
        let others = entry.keys.keys().chain(entry.gone.keys()).filter(|other| *other != key);
        let digests =
            others.flat_map(|other| live.iter().map(move |(generation, key)| (other, generation, key)));
        digests
            .filter_map(|(other, generation, key)| {
                entry.known(other, **generation, &digest_of(key, name, other, value))
            })
            .min()
    };
    changed.into_iter().filter_map(|(key, value)| Some((key.clone(), earliest(key, value)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use touchseal_keyring::{KeyringId, MasterKey};
    use zeroize::Zeroizing;

    use super::*;

    fn keys() -> BTreeMap<u32, DigestKey> {
        let key = |_| DigestKey::derive(&MasterKey::generate(), &KeyringId::generate(), "shop").unwrap();
        [1, 2].map(|generation| (generation, key(generation))).into()
    }

    fn content(pairs: &[(&str, &str)]) -> Content {
        let mut content = Content::default();
        let pairs = pairs.iter();
        content.data = pairs.map(|(k, v)| ((*k).to_owned(), Zeroizing::new(v.as_bytes().to_vec()))).collect();
        content
    }

    /// `current` had `one` and `two` and has `three`, `taken` is gone.
    fn entry(keys: &BTreeMap<u32, DigestKey>) -> LedgerEntry {
        let digest = |generation: u32, key: &str, value: &str| {
            digest_of(&keys[&generation], "db", key, value.as_bytes())
        };
        let past = |generation: u32, key: &str, value: &str, known: i64| {
            json!([&digest(generation, key, value)[..8], known, generation])
        };
        serde_json::from_value(json!({
            "generation": 3, "since": 300, "key": { "keyring": "id", "generation": 2 }, "source": "s",
            "keys": {
                "current": { "d": digest(2, "current", "three"), "s": 300, "f": 100,
                    "p": [past(2, "current", "two", 200), past(1, "current", "one", 100)] },
                "previous": { "d": digest(2, "previous", "zero"), "s": 50 },
            },
            "gone": { "taken": { "s": 250, "f": 150, "p": [past(2, "taken", "four", 150)] } },
        }))
        .unwrap()
    }

    fn found(content: &Content, live: &[u32]) -> Vec<(String, i64)> {
        let keys = keys();
        let entry = entry(&keys);
        let digest = |(key, value): (&String, &Zeroizing<Vec<u8>>)| {
            (key.clone(), digest_of(&keys[&2], "db", key, value))
        };
        let now = content.data.iter().map(digest).collect();
        let live = keys.into_iter().filter(|(generation, _)| live.contains(generation)).collect();
        let known = known(content, &entry, Some(&now), &live, "db");
        known.into_iter().map(|(key, time)| (key, time.0.as_second())).collect()
    }

    #[test]
    fn a_value_is_found_under_the_key_that_has_or_had_it() {
        let known = |value: &str| found(&content(&[("current", "three"), ("previous", value)]), &[1, 2]);
        for (value, at) in [("three", 300), ("two", 200), ("one", 100), ("four", 150)] {
            assert_eq!(known(value), [("previous".to_owned(), at)], "{value}");
        }
        for value in ["zero", "new"] {
            assert_eq!(known(value), [], "{value}");
        }
        let renamed = content(&[("current", "three"), ("other", "zero")]);
        assert_eq!(found(&renamed, &[1, 2]), [("other".to_owned(), 50)]);
        let swapped = content(&[("current", "zero"), ("previous", "three")]);
        assert_eq!(found(&swapped, &[1, 2]), [("current".to_owned(), 50), ("previous".to_owned(), 300)]);
        assert_eq!(found(&content(&[("previous", "one")]), &[2]), [], "its key generation is retired");
    }

    #[test]
    fn what_takes_too_long_to_compare_counts_as_oldest() {
        let large = "x".repeat(MOST / 4);
        let changed = content(&[("current", "three"), ("previous", &large)]);
        assert_eq!(found(&changed, &[1, 2]), [("previous".to_owned(), 50)]);
    }
}
