//! The counter: the same number for the same plaintext, the next one for any other, never one twice.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::random::Random;

fn at(second: u64) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(1_700_000_000 + i64::try_from(second).unwrap()).unwrap())
}

type Plain = BTreeMap<&'static str, &'static str>;

/// Digests as a keyring at this generation makes them; `live` are the generations it still holds.
fn digests(plain: &Plain, generation: u32, ledger: Option<&LedgerEntry>, live: &[u32]) -> Digests {
    let under = |generation: u32| -> BTreeMap<String, String> {
        plain.iter().map(|(k, v)| ((*k).to_owned(), format!("{generation}|{k}|{v}"))).collect()
    };
    let other = ledger.map(|e| e.key.generation).filter(|g| *g != generation && live.contains(g));
    Digests {
        keyring: "prod".to_owned(),
        key: LedgerKey { keyring: "id".to_owned(), generation },
        oldest_generation: generation,
        keys: under(generation),
        older: other.into_iter().map(|generation| (generation, under(generation))).collect(),
        modified: BTreeMap::new(),
        elsewhere: BTreeMap::new(),
        fingerprint: [0; 16],
        type_: None,
        last_modified: None,
    }
}

fn step(
    before: Option<&LedgerEntry>,
    digests: &Digests,
    source: &str,
    served_unchanged: bool,
    now: &Time,
) -> LedgerEntry {
    let (borne, highest, floor) = (None, None, Floor::None);
    advance(before, Step { digests, source, served_unchanged, borne, highest, floor, now })
}

fn first(plain: &Plain) -> LedgerEntry {
    step(None, &digests(plain, 1, None, &[1]), "s1", false, &at(0))
}

fn next(before: &LedgerEntry, plain: &Plain, generation: u32, live: &[u32], served: bool) -> LedgerEntry {
    step(Some(before), &digests(plain, generation, Some(before), live), "s2", served, &at(9))
}

fn plain(pairs: &[(&'static str, &'static str)]) -> Plain {
    pairs.iter().copied().collect()
}

#[test]
fn what_a_crash_kept_from_the_cluster_is_served_from_when_it_gets_there() {
    let one = first(&plain(&[("a", "1"), ("b", "1"), ("c", "1")]));
    let two = next(&one, &plain(&[("a", "2"), ("b", "1")]), 1, &[1], false);
    let again = |borne, served_unchanged| {
        let digests = digests(&plain(&[("a", "2"), ("b", "1")]), 1, Some(&two), &[1]);
        let (borne, highest, floor) = (Some(borne), Some(borne), Floor::None);
        let now = &at(50);
        let step = Step { digests: &digests, source: "s2", served_unchanged, borne, highest, floor, now };
        advance(Some(&two), step)
    };
    assert_eq!(again(2, true), two, "it got there");
    assert_eq!(again(2, false), two, "it got there and somebody changed it");
    let late = again(1, false);
    assert_eq!((late.generation, late.since.clone(), late.history[0].since.clone()), (2, at(50), at(50)));
    assert_eq!((late.keys["a"].since.clone(), late.keys["b"].since.clone()), (at(50), at(0)));
    assert_eq!(
        (late.gone["c"].since.clone(), late.keys["a"].known.clone()),
        (at(50), two.keys["a"].known.clone())
    );
}

#[test]
fn content_is_dated_by_the_api_servers_clock() {
    let one = first(&plain(&[("a", "1"), ("b", "1")]));
    assert_eq!(served(&one, &at(60)), None, "there is no content before the first");
    let two = next(&one, &plain(&[("a", "2"), ("b", "1")]), 1, &[1], false);
    assert_eq!(served(&two, &at(9)), None, "it says so");
    let late = served(&two, &at(10)).unwrap();
    assert_eq!((late.generation, late.since.clone(), late.history[0].since.clone()), (2, at(10), at(10)));
    assert_eq!((late.keys["a"].since.clone(), late.keys["b"].since.clone()), (at(10), at(0)));
    assert_eq!(late.keys["a"].known, two.keys["a"].known);
    // The operator's clock was ahead: no value is younger than that it is served.
    let early = served(&two, &at(4)).unwrap();
    assert_eq!((early.since.clone(), early.history[0].since.clone()), (at(4), at(4)));
    assert_eq!((early.keys["a"].since.clone(), early.keys["a"].known.clone()), (at(4), at(4)));
    assert_eq!((early.keys["b"].since.clone(), early.history[1].since.clone()), (at(0), at(0)));
    // It was behind: what came before keeps its date, though it is later than the number was given out.
    let three = next(&late, &plain(&[("a", "2"), ("b", "3")]), 1, &[1], false);
    let dated = served(&three, &at(20)).unwrap();
    assert_eq!((dated.keys["a"].since.clone(), dated.keys["b"].since.clone()), (at(10), at(20)));
    let dates: Vec<Time> = dated.history.iter().map(|past| past.since.clone()).collect();
    assert_eq!(dates, [at(20), at(10), at(0)]);
    // What came before is older.
    let dated = served(&three, &at(8)).unwrap();
    assert_eq!((dated.keys["a"].since.clone(), dated.keys["b"].since.clone()), (at(7), at(8)));
    let dates: Vec<Time> = dated.history.iter().map(|past| past.since.clone()).collect();
    assert_eq!(dates, [at(8), at(7), at(0)]);
}

#[test]
fn counting_starts_at_one() {
    let entry = first(&plain(&[("a", "1")]));
    assert_eq!((entry.generation, entry.since.clone(), entry.keys["a"].since.clone()), (1, at(0), at(0)));
}

#[test]
fn what_moves_the_number_and_what_does_not() {
    let before = plain(&[("a", "1"), ("b", "2")]);
    let cases: [(&str, Plain, i64, &[&str]); 7] = [
        ("nothing changed", before.clone(), 1, &[]),
        ("a value changed", plain(&[("a", "1"), ("b", "3")]), 2, &["b"]),
        ("a key added", plain(&[("a", "1"), ("b", "2"), ("c", "3")]), 2, &["c"]),
        ("a key removed", plain(&[("a", "1")]), 2, &[]),
        ("a key renamed", plain(&[("a", "1"), ("c", "2")]), 2, &["c"]),
        ("values swapped", plain(&[("a", "2"), ("b", "1")]), 2, &["a", "b"]),
        ("all gone", plain(&[]), 2, &[]),
    ];
    for (what, after, number, moved) in cases {
        let entry = next(&first(&before), &after, 1, &[1], false);
        assert_eq!(entry.generation, number, "{what}");
        assert_eq!(entry.since, if number == 1 { at(0) } else { at(9) }, "{what}");
        let since_now: Vec<&str> =
            entry.keys.iter().filter(|(_, k)| k.since == at(9)).map(|(name, _)| name.as_str()).collect();
        assert_eq!(since_now, moved, "{what}");
        assert_eq!(entry.source, "s2", "{what}");
    }
}

#[test]
fn a_new_key_generation_keeps_number_and_times_while_the_old_key_lives() {
    let before = plain(&[("a", "1"), ("b", "2")]);
    let entry = next(&first(&before), &before, 2, &[1, 2], false);
    assert_eq!((entry.generation, entry.since.clone(), entry.key.generation), (1, at(0), 2));
    assert_eq!(entry.keys["a"].since, at(0));
    assert!(entry.keys["a"].digest.starts_with("2|"), "digests move on to the new key");
    let changed = next(&first(&before), &plain(&[("a", "1"), ("b", "3")]), 2, &[1, 2], false);
    assert_eq!(
        (changed.generation, changed.keys["a"].since.clone(), changed.keys["b"].since.clone()),
        (2, at(0), at(9))
    );
}

#[test]
fn where_the_old_key_is_gone_the_secret_that_is_served_decides() {
    let before = plain(&[("a", "1")]);
    let served = next(&first(&before), &before, 3, &[3], true);
    assert_eq!((served.generation, served.since), (1, at(0)));
    let unknown = next(&first(&before), &before, 3, &[3], false);
    assert_eq!(
        (unknown.generation, unknown.keys["a"].since.clone()),
        (2, at(9)),
        "rather one too many than one twice"
    );
}

#[test]
fn digests_of_another_keyring_are_not_comparable() {
    let before = plain(&[("a", "1")]);
    let entry = first(&before);
    let mut other = digests(&before, 1, None, &[1]);
    other.key.keyring = "another".to_owned();
    assert_eq!(step(Some(&entry), &other, "s2", false, &at(9)).generation, 2);
    assert_eq!(step(Some(&entry), &other, "s2", true, &at(9)).generation, 1);
}

#[test]
fn an_entry_survives_being_stored() {
    let entry = first(&plain(&[("a", "1")]));
    let text = serde_json::to_string(&entry).unwrap();
    assert_eq!(serde_json::from_str::<LedgerEntry>(&text).unwrap(), entry);
    assert!(!text.contains("lastModified"), "what is not known is not stored");
}

/// What may happen to one EncryptedSecret.
#[derive(Debug)]
enum Happens {
    /// A value changes (key, value).
    Change(&'static str, &'static str),
    /// A key goes.
    Remove(&'static str),
    /// Encrypted anew, or the operator restarted: the same plaintext comes by again.
    Again,
    /// The keyring gets a new key generation.
    Rotate,
    /// All old key generations are retired.
    Retire,
    /// The Secret is deleted, so that it cannot tell what was served.
    Lose,
}

const KEYS: [&str; 3] = ["a", "b", "c"];
const VALUES: [&str; 4] = ["1", "2", "3", "4"];

fn happens(random: &mut Random) -> Happens {
    let mut pick = |from: &[&'static str]| from[usize::try_from(random.below(from.len() as u64)).unwrap()];
    let (key, value) = (pick(&KEYS), pick(&VALUES));
    match random.below(10) {
        0..=4 => Happens::Change(key, value),
        5 => Happens::Remove(key),
        6 => Happens::Again,
        7 => Happens::Rotate,
        8 => Happens::Retire,
        _ => Happens::Lose,
    }
}

/// Invariants: a number never goes back; it never stands for two contents; it stays where the plaintext does, unless
/// neither key nor Secret can tell; a key's time moves exactly when its value may have.
#[test]
fn numbers_only_grow_and_name_one_content_each_whatever_happens() {
    for seed in 1..=400 {
        let mut random = Random::new(seed);
        let (mut content, mut generation, mut live) = (Plain::new(), 1, vec![1]);
        let (mut entry, mut served): (Option<LedgerEntry>, Option<Plain>) = (None, None);
        let mut named: HashMap<i64, Plain> = HashMap::new();
        let mut log = Vec::new();
        for tick in 1..=60 {
            let happens = happens(&mut random);
            match happens {
                Happens::Change(key, value) => drop(content.insert(key, value)),
                Happens::Remove(key) => drop(content.remove(key)),
                Happens::Again => {}
                Happens::Rotate => {
                    generation += 1;
                    live.push(generation);
                }
                Happens::Retire => live = vec![generation],
                Happens::Lose => served = None,
            }
            log.push(happens);
            let unchanged = served.as_ref() == Some(&content);
            let digests = digests(&content, generation, entry.as_ref(), &live);
            let after = step(entry.as_ref(), &digests, "s", unchanged, &at(tick));
            let story = || format!("seed {seed}, after {log:?}: {entry:?} -> {after:?}");

            let known = named.entry(after.generation).or_insert_with(|| content.clone());
            assert_eq!(known, &content, "one number, two contents: {}", story());
            if let Some(before) = &entry {
                assert!(after.generation >= before.generation, "backwards: {}", story());
                assert!(after.generation <= before.generation + 1, "a number left out: {}", story());
                let told = live.contains(&before.key.generation) || unchanged;
                if told && named.get(&before.generation) == Some(&content) {
                    assert_eq!(after.generation, before.generation, "moved for nothing: {}", story());
                }
                for (name, key) in &after.keys {
                    let value = content.get(name.as_str());
                    let was = named[&before.generation].get(name.as_str());
                    if told && value == was {
                        assert_eq!(key.since, before.keys[name].since, "{name} did not change: {}", story());
                    } else if value != was {
                        assert_eq!(key.since, at(tick), "{name} changed: {}", story());
                    }
                }
            }
            served = Some(content.clone());
            entry = Some(after);
        }
        assert!(entry.unwrap().generation > 5, "seed {seed} hardly does anything");
    }
}

// History, and what is known of values and documents.

/// Digests of a content whose document was written at `written`.
fn written(plain: &Plain, written: u64) -> Digests {
    let mut digests = digests(plain, 1, None, &[1]);
    digests.last_modified = Some(at(written));
    digests.modified = plain.keys().map(|name| ((*name).to_owned(), at(written))).collect();
    digests
}

/// A document's time, the time it is served, and its values.
type Served<'a> = (u64, u64, &'a [(&'static str, &'static str)]);

/// Serves contents one after the other.
fn serve(contents: &[Served<'_>]) -> LedgerEntry {
    let mut entry = None;
    for (modified, now, values) in contents {
        let digests = written(&plain(values), *modified);
        // Time and content of the document stand for its text.
        let source = format!("{modified} {values:?}");
        entry = Some(step(entry.as_ref(), &digests, &source, false, &at(*now)));
    }
    entry.unwrap()
}

#[test]
fn the_history_tells_what_changed_when_and_by_which_document() {
    let entry = serve(&[
        (1, 10, &[("a", "1"), ("b", "1")]),
        (2, 20, &[("a", "2"), ("b", "1")]),
        (3, 30, &[("a", "2"), ("b", "1")]),
        (4, 40, &[("a", "2"), ("c", "1")]),
    ]);
    let told: Vec<_> = entry
        .history
        .iter()
        .map(|p| (p.number, p.since.clone(), p.last_modified.clone(), p.changed.join(","), p.changed_count))
        .collect();
    assert_eq!(
        told,
        [
            (3, at(40), Some(at(4)), "b,c".to_owned(), 2),
            (2, at(20), Some(at(2)), "a".to_owned(), 1),
            (1, at(10), Some(at(1)), "a,b".to_owned(), 2),
        ]
    );
    assert_eq!(entry.history[0].key_generation, Some(1));
}

#[test]
fn the_history_is_bounded() {
    let names: Vec<&'static str> =
        (0..40).map(|n| &*Box::leak(format!("k{n:02}").into_boxed_str())).collect();
    let mut entry = None;
    for round in 0..30 {
        let value: &'static str = Box::leak(round.to_string().into_boxed_str());
        // Every key changes each round, and each round but the first lacks another key.
        let values: Plain =
            names.iter().skip(round % 2 * 39).map(|name| (*name, value)).chain([("z", value)]).collect();
        let digests = digests(&values, 1, None, &[1]);
        entry = Some(step(entry.as_ref(), &digests, "s", false, &at(round as u64)));
    }
    let entry = entry.unwrap();
    assert_eq!(
        entry.history.iter().map(|p| p.number).collect::<Vec<_>>(),
        (21..=30).rev().collect::<Vec<_>>()
    );
    assert_eq!((entry.history[0].changed.len(), entry.history[0].changed_count), (MAX_CHANGED, 41));
    assert_eq!(entry.keys["z"].past.len(), MAX_PAST);
    assert_eq!(entry.gone.len(), 39);
    let mut many = entry.clone();
    let gone = entry.gone["k00"].clone();
    many.gone.extend((0..100).map(|n| (format!("old{n}"), GoneKey { since: at(n), ..gone.clone() })));
    let after = step(Some(&many), &digests(&plain(&[]), 1, None, &[1]), "s", false, &at(500));
    assert_eq!(after.gone.len(), MAX_GONE);
    assert!(after.gone.contains_key("z") && !after.gone.contains_key("old0"), "the oldest go first");
}

#[test]
fn a_value_is_as_old_as_the_document_it_came_in() {
    let entry = serve(&[(3, 10, &[("a", "1")])]);
    let key = &entry.keys["a"];
    assert_eq!((&key.since, &key.known, &key.first), (&at(10), &at(3), &at(3)));
    // A document that claims to be from the future makes no value younger than the moment it is served.
    let entry = serve(&[(3, 10, &[("a", "1")]), (99, 20, &[("a", "2")])]);
    let key = &entry.keys["a"];
    assert_eq!((&key.since, &key.known, &key.first), (&at(20), &at(20), &at(3)));
}

#[test]
fn a_value_that_comes_back_is_as_old_as_it_was() {
    let entry = serve(&[
        (1, 10, &[("a", "leaked")]),
        (2, 20, &[("a", "2")]),
        (3, 30, &[("a", "3")]),
        (4, 40, &[("a", "leaked")]),
    ]);
    let key = &entry.keys["a"];
    assert_eq!((&key.since, &key.known, &key.first), (&at(40), &at(1), &at(1)));
    assert_eq!(key.past.iter().map(|p| p.known.clone()).collect::<Vec<_>>(), [at(3), at(2)]);
    assert!(key.returned, "another value was in between");
    let entry = step(Some(&entry), &written(&plain(&[("a", "leaked"), ("b", "1")]), 5), "s", false, &at(50));
    assert!(entry.keys["a"].returned && !entry.keys["b"].returned, "it is still that value");
    assert_eq!((entry.came_with("a"), entry.came_with("b"), entry.came_with("c")), (Some(4), Some(5), None));
    let entry = step(Some(&entry), &written(&plain(&[("a", "new"), ("b", "1")]), 6), "s", false, &at(60));
    assert!(!entry.keys["a"].returned, "this one is new");
    // Also when the key was gone in between.
    let entry = serve(&[(1, 10, &[("a", "leaked")]), (2, 20, &[]), (3, 30, &[("a", "leaked")])]);
    let key = &entry.keys["a"];
    assert_eq!((&key.since, &key.known, &key.first), (&at(30), &at(1), &at(1)));
    assert!(entry.gone.is_empty());
    // And a new value under the name of a removed key is known as one that followed another.
    let entry = serve(&[(1, 10, &[("a", "leaked")]), (2, 20, &[]), (3, 30, &[("a", "new")])]);
    assert_eq!((&entry.keys["a"].known, &entry.keys["a"].first), (&at(3), &at(1)));
}

#[test]
fn a_value_from_before_a_new_key_generation_is_found_again_while_the_old_key_lives() {
    let leaked = plain(&[("a", "leaked")]);
    let under = |plain: &Plain, generation: u32, entry: Option<&LedgerEntry>, live: &[u32]| {
        let mut made = digests(plain, generation, None, live);
        let under = |generation| digests(plain, generation, None, live).keys;
        let asked = entry.map(LedgerEntry::key_generations).into_iter().flatten();
        made.older = asked.filter(|g| *g != generation && live.contains(g)).map(|g| (g, under(g))).collect();
        made
    };
    let first = step(None, &under(&leaked, 1, None, &[1]), "s", false, &at(10));
    let other = under(&plain(&[("a", "2")]), 2, Some(&first), &[1, 2]);
    let second = step(Some(&first), &other, "s", false, &at(20));
    assert_eq!(second.key_generations(), [1, 2].into());
    let back = |live: &[u32]| {
        let third = step(Some(&second), &under(&leaked, 2, Some(&second), live), "s", false, &at(30));
        third.keys["a"].known.clone()
    };
    assert_eq!(back(&[1, 2]), at(10));
    assert_eq!(back(&[2]), at(30), "it cannot be told from a new one");
}

#[test]
fn a_value_that_cannot_be_told_from_the_one_before_is_not_taken_for_a_new_one() {
    let first = serve(&[(1, 10, &[("a", "1")])]);
    let mut digests = written(&plain(&[("a", "1")]), 15);
    digests.key.generation = 3;
    let entry = step(Some(&first), &digests, "s", false, &at(20));
    assert_eq!((entry.generation, &entry.keys["a"].known), (2, &at(1)), "perhaps it is the same");
}

/// Content of keys from documents of their own, each with the time it was modified.
fn of_documents(keys: &[(&'static str, u64)]) -> Digests {
    let values: Vec<_> = keys.iter().map(|(name, _)| (*name, "v")).collect();
    let newest = keys.iter().map(|(_, modified)| *modified).max().unwrap();
    let mut digests = written(&plain(&values), newest);
    digests.modified = keys.iter().map(|(name, modified)| ((*name).to_owned(), at(*modified))).collect();
    digests
}

#[test]
fn an_older_document_is_no_newer_for_having_other_keys() {
    let first = of_documents(&[("a", 10), ("new", 5)]);
    let entry = step(None, &first, "1", false, &at(20));
    let back = of_documents(&[("a", 10), ("old", 3)]);
    let told = rolled_back(Some(&entry), &back).unwrap();
    assert_eq!((told.key, told.newest), (Some("old"), at(5)));
    // Served all the same, it stays a rollback until something as new comes.
    let served = step(Some(&entry), &back, "2", false, &at(30));
    assert!(rolled_back(Some(&served), &back).is_some());
    assert_eq!(rolled_back(Some(&served), &of_documents(&[("a", 10), ("old", 5)])), None);
    // One that was taken out comes back older than it was.
    let without = step(Some(&entry), &of_documents(&[("a", 10)]), "2", false, &at(30));
    let stored: LedgerEntry = serde_json::from_str(&serde_json::to_string(&without).unwrap()).unwrap();
    assert!(rolled_back(Some(&stored), &of_documents(&[("a", 10), ("new", 4)])).is_some());
    assert_eq!(rolled_back(Some(&stored), &of_documents(&[("a", 10), ("new", 5)])), None);
    // What is only added takes nobody's place.
    assert_eq!(rolled_back(Some(&entry), &of_documents(&[("a", 10), ("new", 5), ("more", 1)])), None);
}

#[test]
fn documents_are_rolled_back_as_a_whole_or_one_of_several() {
    let entry = serve(&[(5, 10, &[("a", "1"), ("b", "1")]), (7, 20, &[("a", "2"), ("b", "1")])]);
    let now = |modified: u64| written(&plain(&[("a", "1"), ("b", "1")]), modified);
    assert_eq!(rolled_back(None, &now(1)), None);
    assert_eq!(rolled_back(Some(&entry), &now(7)), None, "as new as the newest is not older");
    assert_eq!(rolled_back(Some(&entry), &now(8)), None);
    let back = now(6);
    let told = rolled_back(Some(&entry), &back).unwrap();
    assert_eq!(told, RolledBack { key: None, now: at(6), newest: at(7) });
    // Served all the same, it stays a rollback until something as new comes.
    let served = step(Some(&entry), &back, "s", false, &at(30));
    assert!(rolled_back(Some(&served), &now(6)).is_some());
    assert_eq!(rolled_back(Some(&served), &now(7)), None);

    // Two documents, a's and b's. b's goes back while a's is the newest of all.
    let two = |a: u64, b: u64| {
        let mut digests = written(&plain(&[("a", "1"), ("b", "1")]), a.max(b));
        digests.modified = [("a".to_owned(), at(a)), ("b".to_owned(), at(b))].into();
        digests
    };
    let mut entry = step(None, &two(9, 3), "s1", false, &at(10));
    entry = step(Some(&entry), &two(9, 5), "s2", false, &at(20));
    entry = step(Some(&entry), &two(12, 5), "s3", false, &at(30));
    assert_eq!(rolled_back(Some(&entry), &two(12, 5)), None);
    let back = two(12, 4);
    let told = rolled_back(Some(&entry), &back).unwrap();
    assert_eq!(told, RolledBack { key: Some("b"), now: at(4), newest: at(5) });
    let text = serde_json::to_string(&entry).unwrap();
    let stored: LedgerEntry = serde_json::from_str(&text).unwrap();
    assert_eq!(rolled_back(Some(&stored), &back), Some(told));
}

#[test]
fn a_document_from_the_future_makes_no_later_one_an_older_one() {
    let entry = serve(&[(9000, 10, &[("a", "1")])]);
    assert_eq!(entry.newest_modified, Some(at(10)));
    let source = entry.source.clone();
    let again = step(Some(&entry), &written(&plain(&[("a", "1")]), 9000), &source, false, &at(50));
    assert_eq!(again, entry, "time alone changes nothing");
    assert_eq!(rolled_back(Some(&entry), &written(&plain(&[("a", "2")]), 11)), None);
    assert!(rolled_back(Some(&entry), &written(&plain(&[("a", "2")]), 9)).is_some());
}

#[test]
fn an_entry_of_the_earlier_format_is_completed() {
    let mut old = serve(&[(5, 10, &[("a", "1")])]);
    old.history.clear();
    old.newest_modified = None;
    assert!(rolled_back(Some(&old), &written(&plain(&[("a", "1")]), 4)).is_some());
    let entry = step(Some(&old), &written(&plain(&[("a", "2")]), 6), "s", false, &at(20));
    assert_eq!(entry.history.iter().map(|p| p.number).collect::<Vec<_>>(), [2, 1]);
    let same = step(Some(&old), &written(&plain(&[("a", "1")]), 5), "s", false, &at(20));
    assert_eq!((same.generation, same.history.len(), same.newest_modified.clone()), (1, 1, Some(at(5))));
    assert_eq!(step(Some(&same), &written(&plain(&[("a", "1")]), 5), "s", false, &at(30)), same);
}

#[test]
fn a_lost_ledger_goes_on_from_what_is_borne() {
    let content = plain(&[("a", "1")]);
    let digests = digests(&content, 1, None, &[1]);
    let lost = |highest, served_unchanged| {
        let (floor, now) = (Floor::None, &at(1));
        let step =
            Step { digests: &digests, source: "s", served_unchanged, borne: highest, highest, floor, now };
        let entry = advance(None, step);
        assert_eq!(entry.history[0].number, entry.generation);
        entry.generation
    };
    assert_eq!([lost(Some(7), true), lost(Some(7), false), lost(None, false)], [7, 8, 1]);
}

/// A step of an object whose ledger may be older than its Secrets, and whose numbers an administrator may have raised.
fn restored(
    before: Option<&LedgerEntry>,
    content: &Plain,
    highest: Option<i64>,
    served_unchanged: bool,
    floor: Floor,
) -> LedgerEntry {
    let digests = digests(content, 1, before, &[1]);
    let now = &at(50);
    let step =
        Step { digests: &digests, source: "s9", served_unchanged, borne: highest, highest, floor, now };
    let entry = advance(before, step);
    assert_eq!(entry.history[0].number, entry.generation);
    entry
}

/// The ledger came out of a backup, the Secrets did not: what they bear was given out.
#[test]
fn a_ledger_older_than_the_secrets_goes_on_from_what_they_bear() {
    let (old, new) = (plain(&[("a", "1"), ("b", "1")]), plain(&[("a", "2"), ("b", "1")]));
    let entry = first(&old);
    let number = |content: &Plain, served| restored(Some(&entry), content, Some(5), served, Floor::None);
    assert_eq!(number(&new, true).generation, 5, "the Secret holds it as number 5");
    assert_eq!(number(&new, false).generation, 6, "nobody knows what number 5 was");
    let back = number(&old, false);
    assert_eq!(back.generation, 6, "the backup's own content came back after another");
    let since: Vec<Time> = back.keys.values().map(|key| key.since.clone()).collect();
    assert_eq!(since, [at(50), at(50)], "pods may hold what was served in between");
    // What is borne is never a reason to go down, nor is what was read late.
    for borne in [None, Some(1)] {
        assert_eq!(restored(Some(&entry), &old, borne, false, Floor::None).generation, 1);
        assert_eq!(restored(Some(&entry), &new, borne, false, Floor::None).generation, 2);
    }
}

#[test]
fn a_floor_raises_new_numbers_only() {
    let (old, new) = (plain(&[("a", "1")]), plain(&[("a", "2")]));
    let entry = first(&old);
    let floor = Floor::At(1000);
    assert_eq!(restored(Some(&entry), &old, Some(1), true, floor), {
        LedgerEntry { source: "s9".to_owned(), ..entry.clone() }
    });
    let raised = restored(Some(&entry), &new, Some(1), false, floor);
    assert_eq!((raised.generation, raised.before(raised.generation)), (1000, 1));
    assert_eq!(restored(Some(&raised), &old, Some(1000), false, floor).generation, 1001, "it counts on");
    assert_eq!(restored(None, &new, None, false, floor).generation, 1000, "nothing is left of it");
    assert_eq!(restored(None, &new, Some(7), false, floor).generation, 1000, "only the Secret is left");
    assert_eq!(restored(None, &new, Some(7), true, floor).generation, 7, "which holds number 7 still");
    assert_eq!(restored(None, &new, Some(2000), false, floor).generation, 2001);
    assert_eq!(restored(Some(&entry), &new, None, false, Floor::Unreadable).generation, 2);
}

/// Whatever is restored when: with a floor above all that was given out, no number is given to two contents.
#[test]
fn across_restores_no_number_stands_for_two_contents() {
    const VALUES: [&str; 6] = ["0", "1", "2", "3", "4", "5"];
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let (mut ledger, mut secret): (Option<LedgerEntry>, Option<(i64, Plain)>) = (None, None);
        let (mut floor, mut highest) = (Floor::None, 0);
        let mut given: HashMap<i64, Plain> = HashMap::new();
        let mut backups = vec![(ledger.clone(), secret.clone())];
        for _ in 0..40 {
            match random.below(8) {
                0 => backups.push((ledger.clone(), secret.clone())),
                1 => {
                    let at = usize::try_from(random.below(backups.len() as u64)).unwrap();
                    let (old_ledger, old_secret) = backups[at].clone();
                    // All of it, the ledger without the Secrets, or the Secrets without the ledger, or neither.
                    match random.below(4) {
                        0 => (ledger, secret) = (old_ledger, old_secret),
                        1 => ledger = old_ledger,
                        2 => (ledger, secret) = (None, old_secret),
                        _ => (ledger, secret) = (None, None),
                    }
                    floor = Floor::At(highest + 10);
                }
                _ => {
                    let value = VALUES[usize::try_from(random.below(6)).unwrap()];
                    let content = plain(&[("a", value)]);
                    let unchanged = secret.as_ref().is_some_and(|(_, held)| *held == content);
                    let borne = secret.as_ref().map(|(number, _)| *number);
                    let entry = restored(ledger.as_ref(), &content, borne, unchanged, floor);
                    highest = highest.max(entry.generation);
                    let known = given.entry(entry.generation).or_insert_with(|| content.clone());
                    assert_eq!(*known, content, "number {} of seed {seed}", entry.generation);
                    secret = Some((entry.generation, content));
                    ledger = Some(entry);
                }
            }
        }
    }
}

#[test]
fn a_value_replaced_another_one_only_where_that_was_served() {
    let replaced = |contents: &[Served<'_>]| serve(contents).keys["a"].replaced();
    let first: Served<'_> = (1, 10, &[("a", "first")]);
    assert!(!replaced(&[first]), "the first one");
    assert!(!replaced(&[first, (2, 20, &[("a", "first"), ("b", "other")])]), "another key came");
    assert!(
        !replaced(&[(1, 10, &[("b", "other")]), (2, 20, &[("a", "first"), ("b", "other")])]),
        "it came later"
    );
    assert!(!replaced(&[first, (2, 20, &[]), (3, 30, &[("a", "first")])]), "it went and came back");
    assert!(replaced(&[first, (2, 20, &[]), (3, 30, &[("a", "second")])]), "it came back with another value");
    assert!(replaced(&[first, (2, 20, &[("a", "second")])]), "it changed");
    assert!(replaced(&[first, (2, 20, &[("a", "second")]), (3, 30, &[("a", "first")])]), "it changed back");

    let other_keyring = |before: &LedgerEntry| {
        let mut digests = written(&plain(&[("a", "second")]), 30);
        digests.key.keyring = "other".to_owned();
        step(Some(before), &digests, "s", true, &at(30)).keys["a"].clone()
    };
    let entry = other_keyring(&serve(&[first, (2, 20, &[("a", "second")])]));
    assert!(entry.past.is_empty() && entry.replaced(), "the same value under another keyring: {entry:?}");
    let mut digests = written(&plain(&[("a", "first")]), 15);
    digests.key.generation = 3;
    let entry = step(Some(&serve(&[first])), &digests, "s", false, &at(20));
    assert!(entry.generation == 2 && !entry.keys["a"].replaced(), "perhaps it is the same: {entry:?}");
}

/// A digest as long as real ones are; a value has another one under each key.
fn digest(generation: u32, name: &str, value: &str) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hash = DefaultHasher::new();
    (generation, name, value).hash(&mut hash);
    format!("{:022x}", u128::from(hash.finish()) << 22)
}

/// Serves one value after the other under key `a`, ten seconds apart from second 10 on, written a second before.
fn rotate(values: impl IntoIterator<Item = String>) -> LedgerEntry {
    let mut entry: Option<LedgerEntry> = None;
    for (round, value) in (1..).zip(values) {
        entry = Some(rotate_on(entry.as_ref(), &value, round * 10, 1, &[1]));
    }
    entry.unwrap()
}

fn rotate_on(
    entry: Option<&LedgerEntry>,
    value: &str,
    now: u64,
    generation: u32,
    live: &[u32],
) -> LedgerEntry {
    let under = |generation| [("a".to_owned(), digest(generation, "a", value))].into();
    let mut digests = written(&plain(&[("a", "")]), now - 1);
    digests.key.generation = generation;
    digests.keys = under(generation);
    digests.older = live.iter().filter(|g| **g != generation).map(|g| (*g, under(*g))).collect();
    step(entry, &digests, &format!("{now}"), false, &at(now))
}

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("v{number}"))
}

#[test]
fn a_value_that_comes_back_after_many_others_is_as_old_as_it_was() {
    for others in [MAX_PAST, MAX_PAST + 1, 200] {
        let entry = rotate(names(others + 1).chain(["v0".to_owned()]));
        let key = &entry.keys["a"];
        assert_eq!((&key.known, &key.reach), (&at(9), &None), "after {others} others");
        let fresh = rotate(names(others + 2)).keys["a"].clone();
        let now = 10 * (u64::try_from(others).unwrap() + 2);
        assert_eq!((&fresh.known, &fresh.reach), (&at(now - 1), &None), "a new one after {others} others");
        let stored = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<LedgerEntry>(&stored).unwrap(), entry);
    }
}

#[test]
fn what_is_forgotten_for_good_may_be_any_value_that_is_not_known() {
    let count = 400;
    let entry = rotate(names(count));
    assert!(serde_json::to_string(&entry).unwrap().len() < 3000, "it is bounded");
    let back = rotate_on(Some(&entry), "v0", 20_000, 1, &[1]).keys["a"].clone();
    let reach = back.reach.unwrap();
    assert!(at(20) <= reach, "it was served until the second value came: {reach:?}");
    let remembered = u64::try_from(count - 3 * crate::older::BATCH).unwrap();
    assert!(reach < at(remembered * 10 + 100), "what is remembered limits it: {reach:?}");
}

#[test]
fn a_shrunk_entry_takes_no_old_value_for_a_new_one() {
    for step in 0..crate::entry::SHRUNK.len() {
        let mut entry = rotate(names(9));
        (0..=step).for_each(|step| entry.shrink(step));
        for old in names(8) {
            let back = rotate_on(Some(&entry), &old, 200, 1, &[1]).keys["a"].clone();
            let served = at(10 * (old[1..].parse::<u64>().unwrap() + 1));
            let known_as_old = back.known <= served;
            assert!(known_as_old || back.reach.is_some_and(|reach| reach >= served), "{old} at step {step}");
        }
    }
}

#[test]
fn values_under_a_key_that_is_gone_are_forgotten_ones() {
    let two = rotate(names(2));
    let three = rotate_on(Some(&two), "v2", 100, 2, &[1, 2]);
    assert_eq!(three.keys["a"].reach, None);
    // Generation 1 is retired: whatever comes may be v0 or v1, and those were served until v2 came.
    let back = rotate_on(Some(&three), "v0", 200, 2, &[2]).keys["a"].clone();
    assert_eq!(back.reach, Some(at(100)));
    let again =
        rotate_on(Some(&rotate_on(Some(&three), "v3", 200, 2, &[2])), "v4", 300, 2, &[2]).keys["a"].clone();
    assert_eq!((again.reach, again.past.len()), (Some(at(100)), 2), "later rotations make it no worse");
}

#[test]
fn a_key_that_comes_back_after_it_was_forgotten_is_not_new() {
    let mut entry = serve(&[(1, 10, &[("a", "leaked"), ("b", "1")]), (2, 20, &[("b", "1")])]);
    entry.forget_gone(0);
    assert_eq!((entry.forgotten.clone(), entry.gone.len()), (Some(at(20)), 0));
    let back = step(Some(&entry), &written(&plain(&[("a", "leaked"), ("b", "1")]), 3), "s", false, &at(30));
    let key = &back.keys["a"];
    assert_eq!((&key.reach, &key.first, back.forgotten.clone()), (&Some(at(20)), &key.known, Some(at(20))));
    // Nor are the values that come after it.
    let next = step(Some(&back), &written(&plain(&[("a", "2"), ("b", "1")]), 40), "t", false, &at(40));
    assert_eq!(next.keys["a"].reach, Some(at(20)));
}

#[test]
fn a_value_that_another_key_had_is_as_old_as_it_was_there() {
    let entry = serve(&[(1, 10, &[("a", "1"), ("b", "2")])]);
    let mut digests = written(&plain(&[("a", "2"), ("b", "3")]), 20);
    digests.elsewhere = [("a".to_owned(), at(1))].into();
    let moved = step(Some(&entry), &digests, "s", false, &at(20));
    assert_eq!((&moved.keys["a"].known, &moved.keys["b"].known), (&at(1), &at(20)));
}
