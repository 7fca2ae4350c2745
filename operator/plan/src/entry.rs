//! The ledger's entry of one EncryptedSecret: what is remembered of its secret generations and of each Secret key, also
//! after the object is deleted. How an entry moves on is in `generation`; who stores it is the controller's `ledger`.
//!
//! On disk an entry is JSON with short names and times as Unix seconds. It is bounded: [`MAX_HISTORY`] generations,
//! [`crate::mapping::MAX_KEYS`] keys with [`MAX_PAST`] earlier values each and the digests of 256 more, [`MAX_GONE`] keys
//! that went. That is about 1.3 KiB for three keys with a full history, 4 bytes for each further change of a key, and
//! 350 KiB for as many keys as there may be with the longest names. What is forgotten leaves behind until when it was served.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Serialize};

use crate::older::{MAX_BATCHES, Older};

/// Generations an entry remembers, the present one among them.
pub const MAX_HISTORY: usize = 10;
/// Names of changed keys a generation remembers.
pub const MAX_CHANGED: usize = 16;
/// Earlier values a key remembers.
pub const MAX_PAST: usize = 5;
/// Removed keys an entry remembers.
pub const MAX_GONE: usize = 64;

/// What an entry keeps when it is to become smaller, step by step: generations, removed keys, earlier values of a key, and
/// batches of those before them.
pub const SHRUNK: [(usize, usize, usize, usize); 4] =
    [(4, 16, MAX_PAST, MAX_BATCHES), (2, 4, 3, 2), (2, 1, 1, 1), (2, 0, 0, 0)];

/// What the ledger remembers of one EncryptedSecret: numbers are never reused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// Number of the newest content, 1 and up.
    pub generation: i64,
    /// When this number was given out.
    #[serde(with = "stamp")]
    pub since: Time,
    /// Key the digests were made under.
    pub key: LedgerKey,
    /// What is known of each Secret key.
    pub keys: BTreeMap<String, KeyEntry>,
    /// SHA-256 of the ciphertext sources that gave this content.
    pub source: String,
    /// Newest authenticated `lastmodified` of those sources.
    #[serde(default, with = "stamp::maybe", skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<Time>,
    /// The same, over everything that was ever served: a rollback is judged by it.
    #[serde(default, with = "stamp::maybe", skip_serializing_if = "Option::is_none")]
    pub newest_modified: Option<Time>,
    /// The newest generations, newest first; the first is the present one. Empty in entries of an earlier format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Past>,
    /// Keys that were removed, so that one that comes back has its history.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gone: BTreeMap<String, GoneKey>,
    /// Number of the content that the Secret `<name>-previous` was given, until it was deleted or seen lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<i64>,
    /// What an earlier delivery left is known of also after somebody deleted it: pods may hold it still. The number the Secret of
    /// the target's own name had, while delivery is Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_main: Option<i64>,
    /// The highest number of which there was a Secret of its own, while delivery is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_single: Option<i64>,
    /// Removed keys are forgotten; none of them went after this moment.
    #[serde(default, with = "stamp::maybe", skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<Time>,
    /// The object it was last decided on; None in entries of an earlier format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Revision>,
    /// When the EncryptedSecret was seen to be gone; None while there is one.
    #[serde(default, with = "stamp::maybe", skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
}

/// Which form of which EncryptedSecret: the beginning of its uid, and its metadata.generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision(String, i64);

impl Revision {
    /// Enough of a uid to tell namesakes apart.
    const DIGITS: usize = 8;

    /// Of an object as it was read.
    pub fn of(object: &ObjectMeta) -> Revision {
        let uid = object.uid.as_deref().unwrap_or_default().chars().take(Revision::DIGITS).collect();
        Revision(uid, object.generation.unwrap_or_default())
    }
}

/// Which derived key digests were made under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LedgerKey {
    /// Keyring id.
    pub keyring: String,
    /// Key generation.
    pub generation: u32,
}

/// One Secret key in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredKey", into = "StoredKey")]
pub struct KeyEntry {
    /// HMAC of the value under the derived digest key (base64, 16 bytes).
    pub digest: String,
    /// When the present value was first served without a break since.
    pub since: Time,
    /// The oldest time at which this very value is known to have existed: the authenticated `lastmodified` of the document
    /// it first came in, or when it was first served if that is earlier. A value that comes back keeps it. Where an
    /// earlier value cannot be told from this one, it is that value's.
    pub known: Time,
    /// `known` of the first value this key ever had here. Nothing is known of the time before.
    pub first: Time,
    /// Newest authenticated `lastmodified` this key was served from, where it is not the entry's `newest_modified`.
    pub modified: Option<Time>,
    /// Earlier values, newest first.
    pub past: Vec<PastValue>,
    /// Those before them.
    pub older: Older,
    /// Whether the present value is one of those that had been forgotten when it came is not known; none of them was served
    /// after this moment.
    pub reach: Option<Time>,
    /// The present value was that of this key before, with another one in between.
    pub returned: bool,
}

/// An earlier value of a key. It is told from others only while the key generation it was digested under is live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, i64, u32)", into = "(String, i64, u32)")]
pub struct PastValue {
    /// The first [`PastValue::DIGITS`] characters of its digest.
    pub digest: String,
    /// When it is known to have existed.
    pub known: Time,
    /// Key generation of the digest; the keyring is the entry's.
    pub generation: u32,
}

/// A key that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneKey {
    /// When it went.
    #[serde(rename = "s", with = "stamp")]
    pub since: Time,
    /// As in [`KeyEntry`].
    #[serde(rename = "f", with = "stamp")]
    pub first: Time,
    /// The values it had, newest first.
    #[serde(rename = "p")]
    pub past: Vec<PastValue>,
    /// Those before them.
    #[serde(rename = "o", default, skip_serializing_if = "Older::is_empty")]
    pub older: Older,
    /// Newest authenticated `lastmodified` it was served from.
    #[serde(rename = "m", default, with = "stamp::maybe", skip_serializing_if = "Option::is_none")]
    pub modified: Option<Time>,
}

/// One secret generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredPast", into = "StoredPast")]
pub struct Past {
    /// Its number.
    pub number: i64,
    /// When it was given out.
    pub since: Time,
    /// Oldest key generation its documents needed; None where an earlier format did not say.
    pub key_generation: Option<u32>,
    /// Newest authenticated `lastmodified` of its documents.
    pub last_modified: Option<Time>,
    /// Keys that changed, came or went; the first [`MAX_CHANGED`] by name.
    pub changed: Vec<String>,
    /// How many changed.
    pub changed_count: usize,
    /// When its last consumer had left it for a newer one.
    pub drained: Option<Time>,
}

impl KeyEntry {
    /// Whether the present value took the place of another one that was served. One as old as the value before it may be
    /// that very value, under digests that cannot be compared. A new keyring makes the earlier values forgotten, but not
    /// that the present one is younger than the first.
    pub fn replaced(&self) -> bool {
        self.known > self.first || self.past.iter().any(|earlier| earlier.known != self.known)
    }
}

impl PastValue {
    /// 48 bits: enough to find a value again, and a mistake makes a value look older than it is, never newer.
    pub const DIGITS: usize = 8;

    /// Whether `digest`, made under the same key, is this value's.
    pub fn is(&self, digest: &str) -> bool {
        digest.get(..PastValue::DIGITS) == Some(&self.digest)
    }
}

impl LedgerEntry {
    /// Whether it may have been decided on a later form of this object, or on a later namesake: watches and lists may be behind,
    /// and what was served since must not be served anew in its older form.
    pub fn may_be_later_than(&self, object: &ObjectMeta) -> bool {
        let Revision(uid, generation) = Revision::of(object);
        self.object.as_ref().is_none_or(|of| of.0 != uid || of.1 > generation)
    }

    /// The history, also where the entry is of an earlier format.
    pub fn history(&self) -> Vec<Past> {
        if !self.history.is_empty() {
            return self.history.clone();
        }
        vec![Past {
            number: self.generation,
            since: self.since.clone(),
            key_generation: None,
            last_modified: self.last_modified.clone(),
            changed: Vec::new(),
            changed_count: 0,
            drained: None,
        }]
    }

    /// Forgets what is oldest, where there is no room for all of it: first history, then removed keys, earlier values last.
    /// Until when those were served that would not be known again is remembered: of that time nothing is taken for new.
    pub fn shrink(&mut self, step: usize) {
        let Some((history, gone, past, batches)) = SHRUNK.get(step) else { return };
        self.history.truncate(*history);
        self.forget_gone(*gone);
        for key in self.keys.values_mut() {
            make_older(&mut key.past, &mut key.older, *past, &key.since);
            key.older.shrink(*batches);
        }
        for key in self.gone.values_mut() {
            make_older(&mut key.past, &mut key.older, *past, &key.since);
            key.older.shrink(*batches);
        }
    }

    /// Forgets all but the `most` keys that went last.
    pub fn forget_gone(&mut self, most: usize) {
        while self.gone.len() > most {
            let oldest = self.gone.iter().min_by_key(|(_, key)| &key.since).map(|(name, _)| name.clone());
            let Some(key) = oldest.and_then(|name| self.gone.remove(&name)) else { return };
            self.forgotten = self.forgotten.take().max(Some(key.since));
        }
    }

    /// Generations of the keys its digests were made under.
    pub fn key_generations(&self) -> BTreeSet<u32> {
        let keys = self.keys.values().map(|key| (&key.past, &key.older));
        let gone = self.gone.values().map(|key| (&key.past, &key.older));
        let earlier = keys.chain(gone);
        let earlier =
            earlier.flat_map(|(past, older)| past.iter().map(|v| v.generation).chain(older.generations()));
        earlier.chain([self.key.generation]).collect()
    }

    /// When a value is known to have been that of key `name`; its digest is made for that name, under this key generation of
    /// the entry's keyring.
    pub fn known(&self, name: &str, generation: u32, digest: &str) -> Option<Time> {
        let there = self.keys.get(name).map(|key| (&key.past, &key.older));
        let (past, older) = there.or_else(|| self.gone.get(name).map(|key| (&key.past, &key.older)))?;
        let present = self.keys.get(name).filter(|_| generation == self.key.generation);
        let present = present.filter(|key| key.digest == digest).map(|key| key.known.clone());
        let earlier = past.iter().filter(|value| value.generation == generation && value.is(digest));
        let older = older.known(|of| (of == generation).then_some(digest));
        earlier.map(|value| value.known.clone()).chain(present).chain(older).min()
    }

    /// The oldest time at which anything of it is known to have existed.
    pub fn oldest(&self) -> Option<Time> {
        let keys = self.keys.values().flat_map(|key| [&key.known, &key.first]);
        keys.chain(self.gone.values().map(|key| &key.first)).min().cloned()
    }

    /// Newest `lastmodified` a key was served from.
    pub fn modified(&self, key: &KeyEntry) -> Option<Time> {
        key.modified.clone().or_else(|| self.newest_modified.clone())
    }

    /// Number of the generation a key got its present value with, or was taken out with; None where the history cannot tell.
    pub fn came_with(&self, key: &str) -> Option<i64> {
        came_with(self.history.iter().map(|past| (past.number, &past.changed[..], past.changed_count)), key)
    }

    /// The number that was given out before this one: the next lower, unless an administrator raised them.
    pub fn before(&self, number: i64) -> i64 {
        let lower = self.history.iter().map(|past| past.number).filter(|past| *past < number);
        lower.max().unwrap_or_else(|| number.saturating_sub(1))
    }

    /// When the last consumer had left generation `number`; what is older than the history was left with its oldest.
    pub fn left(&self, number: i64) -> Option<&Time> {
        let past = self.history.iter().rev().find(|past| past.number >= number)?;
        past.drained.as_ref().filter(|_| past.number < self.generation)
    }

    /// When generation `number` was superseded.
    pub fn superseded(&self, number: i64) -> Option<&Time> {
        self.history.iter().rev().find(|past| past.number > number).map(|past| &past.since)
    }
}

/// The newest generation that changed `key`, of numbers with the keys that are named as changed and how many there are,
/// newest first.
pub fn came_with<'a>(
    newest_first: impl IntoIterator<Item = (i64, &'a [String], usize)>,
    key: &str,
) -> Option<i64> {
    for (number, changed, count) in newest_first {
        if changed.iter().any(|name| name == key) {
            return Some(number);
        }
        if count > changed.len() {
            return None;
        }
    }
    None
}

/// Leaves the newest `most` values in `past`; the others, which were not served after `until`, become older ones.
pub fn make_older(past: &mut Vec<PastValue>, older: &mut Older, most: usize, until: &Time) {
    past.drain(most.min(past.len())..).rev().for_each(|value| older.add(&value, until));
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    #[serde(rename = "d", alias = "digest")]
    digest: String,
    #[serde(rename = "s", alias = "since", with = "stamp")]
    since: Time,
    #[serde(rename = "k", default, with = "stamp::maybe", skip_serializing_if = "Option::is_none")]
    known: Option<Time>,
    #[serde(rename = "f", default, with = "stamp::maybe", skip_serializing_if = "Option::is_none")]
    first: Option<Time>,
    #[serde(rename = "m", default, with = "stamp::maybe", skip_serializing_if = "Option::is_none")]
    modified: Option<Time>,
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    past: Vec<PastValue>,
    #[serde(rename = "o", default, skip_serializing_if = "Older::is_empty")]
    older: Older,
    #[serde(rename = "r", default, with = "stamp::maybe", skip_serializing_if = "Option::is_none")]
    reach: Option<Time>,
    #[serde(rename = "b", default, skip_serializing_if = "std::ops::Not::not")]
    returned: bool,
}

impl From<StoredKey> for KeyEntry {
    fn from(stored: StoredKey) -> KeyEntry {
        let StoredKey { digest, since, known, first, modified, past, older, reach, returned } = stored;
        let known = known.unwrap_or_else(|| since.clone());
        let first = first.unwrap_or_else(|| known.clone());
        KeyEntry { digest, since, known, first, modified, past, older, reach, returned }
    }
}

impl From<KeyEntry> for StoredKey {
    fn from(entry: KeyEntry) -> StoredKey {
        let KeyEntry { digest, since, known, first, modified, past, older, reach, returned } = entry;
        let first = (first != known).then_some(first);
        let known = (known != since).then_some(known);
        StoredKey { digest, since, known, first, modified, past, older, reach, returned }
    }
}

impl From<(String, i64, u32)> for PastValue {
    fn from((digest, known, generation): (String, i64, u32)) -> PastValue {
        PastValue { digest, known: stamp::time(known), generation }
    }
}

impl From<PastValue> for (String, i64, u32) {
    fn from(value: PastValue) -> (String, i64, u32) {
        (value.digest, value.known.0.as_second(), value.generation)
    }
}

/// number, since, key generation, lastmodified, drained (0 is none), how many more changed than are named, changed.
type StoredPast = (i64, i64, u32, i64, i64, usize, Vec<String>);

impl From<StoredPast> for Past {
    fn from((number, since, key_generation, modified, drained, more, changed): StoredPast) -> Past {
        let maybe = |seconds: i64| (seconds != 0).then(|| stamp::time(seconds));
        Past {
            number,
            since: stamp::time(since),
            key_generation: (key_generation != 0).then_some(key_generation),
            last_modified: maybe(modified),
            changed_count: changed.len().saturating_add(more),
            changed,
            drained: maybe(drained),
        }
    }
}

impl From<Past> for StoredPast {
    fn from(past: Past) -> StoredPast {
        let seconds = |time: &Option<Time>| time.as_ref().map_or(0, |t| t.0.as_second());
        (
            past.number,
            past.since.0.as_second(),
            past.key_generation.unwrap_or(0),
            seconds(&past.last_modified),
            seconds(&past.drained),
            past.changed_count.saturating_sub(past.changed.len()),
            past.changed,
        )
    }
}

/// Times as Unix seconds; as text they are read too.
pub mod stamp {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Seconds(i64),
        Text(Time),
    }

    impl From<Stored> for Time {
        fn from(stored: Stored) -> Time {
            match stored {
                Stored::Seconds(seconds) => time(seconds),
                Stored::Text(time) => time,
            }
        }
    }

    /// What lies outside the calendar is its nearest end.
    pub fn time(seconds: i64) -> Time {
        let nearest = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Time(Timestamp::from_second(seconds).unwrap_or(nearest))
    }

    pub fn serialize<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.0.as_second())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        Stored::deserialize(deserializer).map(Time::from)
    }

    pub mod maybe {
        use super::*;

        #[allow(clippy::ref_option, reason = "serde calls it with a reference to the field")]
        pub fn serialize<S: Serializer>(time: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
            Ok(Option::<Stored>::deserialize(deserializer)?.map(Time::from))
        }
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
