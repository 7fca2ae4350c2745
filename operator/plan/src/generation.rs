//! Secret generations: how the ledger's entry for one EncryptedSecret moves on. The ledger, not the object's own status,
//! is what numbers are counted from; it is committed before the Secret is written.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::due::later;
pub use crate::entry::{GoneKey, KeyEntry, LedgerEntry, LedgerKey, Past, PastValue, came_with};
use crate::entry::{MAX_CHANGED, MAX_GONE, MAX_HISTORY, MAX_PAST, make_older};
use crate::floor::Floor;
use crate::observed::Digests;
use crate::older::Older;

/// What an entry moves on by.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The content, now.
    pub digests: &'a Digests,
    /// Digest of the ciphertext it came from.
    pub source: &'a str,
    /// The Secret in the cluster already holds exactly this content; it decides where the digests cannot be compared
    /// because the key they were made under is gone.
    pub served_unchanged: bool,
    /// The number that the Secret of the content before bears; a lower one than the ledger's says that a write is late.
    pub borne: Option<i64>,
    /// The highest number a Secret of this object bears: where the ledger was lost, or restored from a backup that is older,
    /// numbers go on from there.
    pub highest: Option<i64>,
    /// The least number that is given out.
    pub floor: Floor,
    /// Now.
    pub now: &'a Time,
}

/// The entry after this content: the same number where the plaintext is the same, the next one where it changed.
pub fn advance(before: Option<&LedgerEntry>, step: Step<'_>) -> LedgerEntry {
    let Step { digests, source, served_unchanged, borne, highest, floor, now } = step;
    let comparison = Comparison::new(before, digests, served_unchanged);
    // A clock that is ahead must not make every later document an older one; judged once, when the document is new.
    let is_new = before.is_none_or(|entry| entry.source != source);
    let served = |modified: Option<Time>| modified.filter(|_| is_new).map(|time| time.min(now.clone()));
    let newest = before.and_then(newest_modified).max(served(digests.last_modified.clone()));
    let ahead = highest.filter(|number| before.is_none_or(|entry| *number > entry.generation));
    // What was served meanwhile is not known: pods may hold it.
    let broken = ahead.is_some() && !served_unchanged;
    let keys: BTreeMap<String, KeyEntry> = digests
        .keys
        .keys()
        .map(|name| {
            let mut key = comparison.key(name, now);
            if broken {
                key.since = now.clone();
            }
            let highest = newest_of(before, digests, name).max(served(modified(digests, name)));
            key.modified = highest.filter(|time| newest.as_ref() != Some(time));
            (name.clone(), key)
        })
        .collect();
    let changed = comparison.changed(&keys);
    let changed_nothing = changed.is_empty();
    let (generation, since) = match (before, ahead) {
        (_, Some(number)) if served_unchanged => (number, now.clone()),
        (Some(entry), None) if changed.is_empty() => (entry.generation, entry.since.clone()),
        (before, ahead) => {
            let newest = ahead.or(before.map(|entry| entry.generation)).unwrap_or_default();
            (floor.raise(newest.saturating_add(1)), now.clone())
        }
    };
    let mut history = before.map(LedgerEntry::history).unwrap_or_default();
    if history.first().is_none_or(|newest| newest.number != generation) {
        history.insert(0, past(generation, digests, &changed, now));
        history.truncate(MAX_HISTORY);
    }
    let mut entry = LedgerEntry {
        generation,
        since,
        key: digests.key.clone(),
        gone: comparison.gone(&keys, now),
        keys,
        source: source.to_owned(),
        last_modified: digests.last_modified.clone(),
        newest_modified: newest,
        history,
        previous: before.and_then(|entry| entry.previous),
        left_main: before.and_then(|entry| entry.left_main),
        left_single: before.and_then(|entry| entry.left_single),
        forgotten: before.and_then(|entry| entry.forgotten.clone()),
        object: before.and_then(|entry| entry.object.clone()),
        ended: None,
    };
    entry.forget_gone(MAX_GONE);
    if before.is_some() && changed_nothing && borne.is_some_and(|number| number < entry.generation) {
        date(&mut entry, now);
    }
    entry
}

/// The entry of content that reached the cluster at `when` by the API server's clock, where it says otherwise: it was dated
/// by another clock, or pods made in between were given the content before. None where it says right, and for the first
/// generation, which has none before.
pub fn served(entry: &LedgerEntry, when: &Time) -> Option<LedgerEntry> {
    if entry.generation <= 1 || when.0.as_second() == entry.since.0.as_second() {
        return None;
    }
    let mut dated = entry.clone();
    date(&mut dated, when);
    Some(dated)
}

/// Dates the newest content: it is served since `when`, not since its number was given out. Where that is earlier, a clock
/// was ahead, and what came before it is older still.
fn date(entry: &mut LedgerEntry, when: &Time) {
    let given_out = std::mem::replace(&mut entry.since, when.clone());
    let before = later(when, -1);
    let dated =
        |since: &Time| if *since == given_out { when.clone() } else { since.clone().min(before.clone()) };
    let of_it = |since: &Time| *since == given_out || since > when;
    for key in entry.keys.values_mut().filter(|key| of_it(&key.since)) {
        key.since = dated(&key.since);
        // No value exists later than it is served.
        let known = key.known.clone().min(key.since.clone());
        key.first = key.first.clone().min(known.clone());
        key.known = known;
    }
    let gone = entry.gone.values_mut().map(|key| &mut key.since).chain(&mut entry.forgotten);
    gone.filter(|since| of_it(since)).for_each(|since| *since = dated(since));
    let newest = entry.generation;
    for past in &mut entry.history {
        match past.number == newest {
            true => past.since = when.clone(),
            false if past.since > *when => past.since = before.clone(),
            false => {}
        }
    }
}

/// The newest document this content replaces with an older one, judged for each Secret key: a Secret of several documents
/// is rolled back where one of them is.
pub fn rolled_back<'a>(before: Option<&LedgerEntry>, digests: &'a Digests) -> Option<RolledBack<'a>> {
    let entry = before?;
    let newest = newest_modified(entry)?;
    let whole = digests.last_modified.as_ref().filter(|now| **now < newest);
    let by_key = || {
        digests.keys.keys().find_map(|name| {
            let now = digests.modified.get(name)?;
            let highest = newest_of(before, digests, name)?;
            (*now < highest).then_some(RolledBack { key: Some(name), now: now.clone(), newest: highest })
        })
    };
    match whole {
        Some(now) => Some(RolledBack { key: None, now: now.clone(), newest }),
        None => by_key(),
    }
}

/// Documents older than ones seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack<'a> {
    /// The Secret key whose document went back, where the documents as a whole did not.
    pub key: Option<&'a str>,
    /// `lastmodified` of what is there now.
    pub now: Time,
    /// The newest one ever served.
    pub newest: Time,
}

fn newest_modified(entry: &LedgerEntry) -> Option<Time> {
    // Entries of an earlier format have the one of their documents only.
    entry.newest_modified.clone().or_else(|| entry.last_modified.clone())
}

/// The newest document a key was served from. One that comes with others gone takes their place, whatever it is called: by an
/// older document under other names nothing is got around.
fn newest_of(before: Option<&LedgerEntry>, digests: &Digests, name: &str) -> Option<Time> {
    let entry = before?;
    if let Some(key) = entry.keys.get(name) {
        return entry.modified(key);
    }
    let went = entry.keys.iter().filter(|(went, _)| !digests.keys.contains_key(*went));
    let went = went.filter_map(|(_, key)| entry.modified(key));
    went.chain(entry.gone.get(name).and_then(|gone| gone.modified.clone())).max()
}

/// When the document a key comes from was written.
fn modified(digests: &Digests, name: &str) -> Option<Time> {
    digests.modified.get(name).or(digests.last_modified.as_ref()).cloned()
}

fn past(number: i64, digests: &Digests, changed: &BTreeSet<&str>, now: &Time) -> Past {
    Past {
        number,
        since: now.clone(),
        key_generation: Some(digests.oldest_generation),
        last_modified: digests.last_modified.clone(),
        changed: changed.iter().take(MAX_CHANGED).map(|name| (*name).to_owned()).collect(),
        changed_count: changed.len(),
        drained: None,
    }
}

/// The values now against those the entry remembers.
struct Comparison<'a> {
    before: Option<&'a LedgerEntry>,
    digests: &'a Digests,
    /// Digests of the values now, under the entry's key; None where that key is gone.
    under_entry_key: Option<&'a BTreeMap<String, String>>,
    served_unchanged: bool,
}

impl<'a> Comparison<'a> {
    fn new(before: Option<&'a LedgerEntry>, digests: &'a Digests, served_unchanged: bool) -> Comparison<'a> {
        let under_entry_key = before.and_then(|entry| digests.under(&entry.key));
        Comparison { before, digests, under_entry_key, served_unchanged }
    }

    /// What the entry has of a key whose value did not change.
    fn unchanged(&self, name: &str) -> Option<&'a KeyEntry> {
        let known = self.before?.keys.get(name)?;
        let same = match self.under_entry_key {
            Some(now) => now.get(name) == Some(&known.digest),
            None => self.served_unchanged,
        };
        same.then_some(known)
    }

    /// Keys that changed, came or went.
    fn changed<'k>(&self, keys: &'k BTreeMap<String, KeyEntry>) -> BTreeSet<&'k str>
    where
        'a: 'k,
    {
        let went = self.before.into_iter().flat_map(|entry| entry.keys.keys());
        let went = went.filter(|name| !keys.contains_key(*name));
        keys.keys().filter(|name| self.unchanged(name).is_none()).chain(went).map(String::as_str).collect()
    }

    /// What is known of a key now.
    fn key(&self, name: &str, now: &Time) -> KeyEntry {
        let digest = self.digests.keys.get(name).cloned().unwrap_or_default();
        if let Some(known) = self.unchanged(name) {
            let mut key = KeyEntry { digest, ..known.clone() };
            self.drop_other_keyring(&mut key.past, &mut key.older, &known.since);
            return key;
        }
        // No value exists later than it is served, whatever a document claims.
        let mut known = modified(self.digests, name).filter(|time| time < now).unwrap_or_else(|| now.clone());
        if let Some(there) = self.digests.elsewhere.get(name) {
            known = known.min(there.clone());
        }
        let Earlier { first, mut past, mut older, reach, until } = self.earlier(name, &mut known, now);
        let mut returned = false;
        past.retain(|earlier| {
            let again = self.is_now(earlier, name);
            if again {
                known = known.clone().min(earlier.known.clone());
                returned = true;
            }
            !again
        });
        if let Some(again) = older.known(|generation| self.digest(name, generation)) {
            known = known.min(again);
            returned = true;
        }
        make_older(&mut past, &mut older, MAX_PAST, &until);
        let first = first.unwrap_or_else(|| known.clone());
        KeyEntry { digest, since: now.clone(), known, first, modified: None, past, older, reach, returned }
    }

    /// What a key had before the value that comes now, which is no older than `known`.
    fn earlier(&self, name: &str, known: &mut Time, now: &Time) -> Earlier {
        let Some(entry) = self.before else { return Earlier::default() };
        match (entry.keys.get(name), entry.gone.get(name)) {
            (Some(key), _) => {
                if self.under_entry_key.is_none() {
                    // Perhaps it is the same value still.
                    *known = known.clone().min(key.known.clone());
                }
                self.with_present(entry, key, now)
            }
            (None, Some(gone)) => {
                let (mut past, mut older) = (gone.past.clone(), gone.older.clone());
                self.keep_comparable(&mut past, &mut older, &gone.since);
                let reach = older.dropped().cloned();
                Earlier { first: Some(gone.first.clone()), past, older, reach, until: gone.since.clone() }
            }
            // One of the forgotten keys may have had this name.
            (None, None) => {
                let mut older = Older::default();
                entry.forgotten.iter().for_each(|time| older.drop_until(time));
                Earlier { reach: entry.forgotten.clone(), older, ..Earlier::default() }
            }
        }
    }

    fn is_now(&self, earlier: &PastValue, name: &str) -> bool {
        self.digest(name, earlier.generation).is_some_and(|digest| earlier.is(digest))
    }

    /// Digest of the value now, under a key generation of the entry's keyring.
    fn digest(&self, name: &str, generation: u32) -> Option<&'a str> {
        let key = LedgerKey { keyring: self.before?.key.keyring.clone(), generation };
        self.digests.under(&key)?.get(name).map(String::as_str)
    }

    /// A key's values including the present one, which becomes an earlier one.
    fn with_present(&self, entry: &LedgerEntry, key: &KeyEntry, now: &Time) -> Earlier {
        let (mut past, mut older) = (key.past.clone(), key.older.clone());
        self.keep_comparable(&mut past, &mut older, &key.since);
        let reach = older.dropped().cloned();
        if self.under_entry_key.is_some() {
            let digest = key.digest.chars().take(PastValue::DIGITS).collect();
            let present = PastValue { digest, known: key.known.clone(), generation: entry.key.generation };
            past.insert(0, present);
        } else {
            older.drop_until(now);
        }
        Earlier { first: Some(key.first.clone()), past, older, reach, until: key.since.clone() }
    }

    /// Forgets values that cannot be told from others any more, none of which was served after `until`: their key generation
    /// or keyring is gone.
    fn keep_comparable(&self, past: &mut Vec<PastValue>, older: &mut Older, until: &Time) {
        let keyring = self.before.map(|entry| entry.key.keyring.clone()).unwrap_or_default();
        let live =
            |generation| self.digests.under(&LedgerKey { keyring: keyring.clone(), generation }).is_some();
        if past.extract_if(.., |value| !live(value.generation)).count() > 0 {
            older.drop_until(until);
        }
        older.keep(live);
    }

    /// The same, of values that stay what they are: an entry has digests of one keyring.
    fn drop_other_keyring(&self, past: &mut Vec<PastValue>, older: &mut Older, until: &Time) {
        if self.before.is_some_and(|entry| entry.key.keyring != self.digests.key.keyring) {
            self.keep_comparable(past, older, until);
        }
    }

    /// The keys that are gone, this time or earlier.
    fn gone(&self, keys: &BTreeMap<String, KeyEntry>, now: &Time) -> BTreeMap<String, GoneKey> {
        let Some(entry) = self.before else { return BTreeMap::new() };
        let mut gone: BTreeMap<String, GoneKey> = entry.gone.clone();
        gone.retain(|name, _| !keys.contains_key(name));
        for key in gone.values_mut() {
            self.drop_other_keyring(&mut key.past, &mut key.older, &key.since);
        }
        for (name, key) in entry.keys.iter().filter(|(name, _)| !keys.contains_key(*name)) {
            let Earlier { mut past, mut older, until, .. } = self.with_present(entry, key, now);
            make_older(&mut past, &mut older, MAX_PAST, &until);
            let (since, first, modified) = (now.clone(), key.first.clone(), entry.modified(key));
            gone.insert(name.clone(), GoneKey { since, first, past, older, modified });
        }
        gone
    }
}

/// What a key had before its present value.
struct Earlier {
    first: Option<Time>,
    past: Vec<PastValue>,
    older: Older,
    /// As in [`KeyEntry`].
    reach: Option<Time>,
    /// Of `past` only the newest one was served after this moment.
    until: Time,
}

impl Default for Earlier {
    /// Nothing.
    fn default() -> Earlier {
        let (past, until) = (Vec::new(), Time(Timestamp::MIN));
        Earlier { first: None, past, older: Older::default(), reach: None, until }
    }
}

#[cfg(test)]
#[path = "generation_tests.rs"]
mod tests;
