//! Entries as they are stored: what an earlier format wrote still opens, and how large they become.

use super::*;

fn at(second: i64) -> Time {
    stamp::time(1_763_838_000 + second)
}

fn past(number: i64) -> Past {
    Past {
        number,
        since: at(number),
        key_generation: Some(1),
        last_modified: Some(at(number - 1)),
        changed: vec!["password".to_owned()],
        changed_count: 1,
        drained: Some(at(number + 1)),
    }
}

fn full() -> LedgerEntry {
    let value = |n: i64| PastValue { digest: "AbCdEfGh".to_owned(), known: at(n), generation: 1 };
    let key = |past: i64| KeyEntry {
        digest: "AbCdEfGhIjKlMnOpQrStUv".to_owned(),
        since: at(9),
        known: at(8),
        first: at(1),
        modified: None,
        past: (0..past).map(value).collect(),
        older: crate::older::Older::default(),
        reach: None,
        returned: false,
    };
    LedgerEntry {
        generation: 10,
        since: at(9),
        key: LedgerKey { keyring: "0123456789abcdef0123456789abcdef".to_owned(), generation: 1 },
        // Nine changes of one key each.
        keys: [("password", key(5)), ("token", key(2)), ("user", key(2))]
            .map(|(name, key)| (name.to_owned(), key))
            .into(),
        source: "5".repeat(64),
        last_modified: Some(at(8)),
        newest_modified: Some(at(8)),
        history: (1..=10).rev().map(past).collect(),
        gone: BTreeMap::new(),
        previous: Some(9),
        left_main: Some(3),
        left_single: Some(2),
        forgotten: None,
        object: None,
        ended: None,
    }
}

#[test]
fn an_entry_survives_being_stored() {
    let mut entry = full();
    let mut older = Older::default();
    older.add(&entry.keys["password"].past[0], &at(7));
    older.drop_until(&at(5));
    let user = entry.keys.get_mut("user").unwrap();
    (user.modified, user.reach, user.older) = (Some(at(3)), Some(at(5)), older.clone());
    user.returned = true;
    (entry.forgotten, entry.ended) = (Some(at(6)), Some(at(11)));
    entry.gone.insert(
        "gone".to_owned(),
        GoneKey {
            since: at(4),
            first: at(0),
            past: entry.keys["user"].past.clone(),
            older: older.clone(),
            modified: Some(at(3)),
        },
    );
    entry.history[0].changed_count = 17;
    entry.history[9].drained = None;
    let text = serde_json::to_string(&entry).unwrap();
    assert_eq!(serde_json::from_str::<LedgerEntry>(&text).unwrap(), entry);
}

#[test]
fn three_keys_with_a_full_history_are_small() {
    let text = serde_json::to_string(&full()).unwrap();
    assert!(text.len() <= 1400, "{} bytes: {text}", text.len());
}

#[test]
fn an_entry_of_the_earlier_format_still_opens_and_claims_nothing() {
    let stored = r#"{"generation":7,"since":"2026-01-02T03:04:05Z","key":{"keyring":"id","generation":2},
        "keys":{"password":{"digest":"AbCdEfGhIjKlMnOpQrStUv","since":"2026-01-02T03:04:05Z"},
        "user":{"digest":"XbCdEfGhIjKlMnOpQrStUv","since":"2025-01-02T03:04:05Z"}},
        "source":"abc","lastModified":"2026-01-02T03:04:00Z"}"#;
    let entry: LedgerEntry = serde_json::from_str(stored).unwrap();
    assert_eq!((entry.generation, entry.keys.len()), (7, 2));
    let password = &entry.keys["password"];
    let since = Time("2026-01-02T03:04:05Z".parse().unwrap());
    assert_eq!((&password.since, &password.known, &password.first), (&since, &since, &since));
    assert!(password.past.is_empty() && entry.history.is_empty());
    assert_eq!(entry.history().iter().map(|past| past.number).collect::<Vec<_>>(), [7]);
    let text = serde_json::to_string(&entry).unwrap();
    assert_eq!(serde_json::from_str::<LedgerEntry>(&text).unwrap(), entry);
}

#[test]
fn what_is_older_than_the_history_was_left_with_its_oldest() {
    let mut entry = full();
    entry.history.iter_mut().for_each(|past| past.drained = None);
    assert_eq!(entry.left(9), None);
    entry.history[9].drained = Some(at(50));
    entry.history[1].drained = Some(at(70));
    for (number, left) in [(-3, Some(at(50))), (1, Some(at(50))), (2, None), (9, Some(at(70))), (10, None)] {
        assert_eq!(entry.left(number), left.as_ref(), "{number}");
    }
    for (number, superseded) in [(0, Some(at(1))), (1, Some(at(2))), (9, Some(at(10))), (10, None)] {
        assert_eq!(entry.superseded(number), superseded.as_ref(), "{number}");
    }
}

#[test]
fn a_shrunk_entry_keeps_what_matters_most_longest() {
    let mut entry = full();
    let past = entry.keys["password"].past.clone();
    let gone = GoneKey { since: at(4), first: at(0), past, older: Older::default(), modified: None };
    entry.gone = (0..64).map(|n| (format!("gone{n}"), GoneKey { since: at(n), ..gone.clone() })).collect();
    let size = |entry: &LedgerEntry| serde_json::to_string(entry).unwrap().len();
    let mut sizes = vec![size(&entry)];
    for (step, (history, gone, past, _)) in SHRUNK.into_iter().enumerate() {
        entry.shrink(step);
        assert_eq!((entry.history.len(), entry.gone.len()), (history, gone));
        assert_eq!((entry.history[0].number, entry.keys["password"].past.len()), (10, past));
        assert!(gone == 0 || entry.gone.contains_key("gone63"), "the newest stays");
        // What went is not said to be new when it comes back.
        assert_eq!(entry.forgotten, Some(at(63 - i64::try_from(gone).unwrap())));
        sizes.push(size(&entry));
    }
    assert!(sizes.is_sorted_by(|a, b| a > b) && sizes[4] < 900, "{sizes:?}");
    let before = entry.clone();
    entry.shrink(SHRUNK.len());
    assert_eq!(entry, before);
}

#[test]
fn an_older_form_and_a_namesake_may_have_been_overtaken() {
    let object = |uid: &str, generation: i64| ObjectMeta {
        uid: Some(uid.to_owned()),
        generation: Some(generation),
        ..ObjectMeta::default()
    };
    let (one, other) = ("11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "22222222-aaaa-4aaa-8aaa-aaaaaaaaaaaa");
    let entry = LedgerEntry { object: Some(Revision::of(&object(one, 3))), ..full() };
    let overtaken =
        [(one, 2), (one, 3), (one, 4), (other, 9)].map(|(uid, n)| entry.may_be_later_than(&object(uid, n)));
    assert_eq!(overtaken, [true, false, false, true]);
    assert!(full().may_be_later_than(&object(one, 3)), "an earlier format does not say");
    let stored = serde_json::to_string(&entry).unwrap();
    assert!(stored.contains(r#""object":["11111111",3]"#), "{stored}");
    assert_eq!(serde_json::from_str::<LedgerEntry>(&stored).unwrap(), entry);
}
