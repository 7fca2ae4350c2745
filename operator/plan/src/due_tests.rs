//! When a maxAge ends, when it is told, and that time alone changes nothing in between.

use touchseal_crds::EncryptedSecretSpec;
use touchseal_crds::encrypted_secret::KeyStatus;
use touchseal_crds::rotation::KeyRotation;

use super::*;
use crate::generation::{KeyEntry, LedgerKey};

const DAY: i64 = 86_400;

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(1_700_000_000 + second).unwrap())
}

/// Keys with the time since when they have their value.
fn entry(keys: &[(&str, i64)]) -> LedgerEntry {
    let key = |since: i64| KeyEntry {
        digest: String::new(),
        since: at(since),
        known: at(since),
        first: at(since),
        modified: None,
        past: Vec::new(),
        older: crate::older::Older::default(),
        reach: None,
        returned: false,
    };
    LedgerEntry {
        generation: 1,
        since: at(0),
        key: LedgerKey { keyring: String::new(), generation: 1 },
        keys: keys.iter().map(|(name, since)| ((*name).to_owned(), key(*since))).collect(),
        source: String::new(),
        last_modified: None,
        newest_modified: None,
        history: Vec::new(),
        gone: std::collections::BTreeMap::new(),
        previous: None,
        left_main: None,
        left_single: None,
        forgotten: None,
        object: None,
        ended: None,
    }
}

fn object(rotation: Rotation) -> EncryptedSecret {
    let spec = EncryptedSecretSpec { rotation: Some(rotation), ..EncryptedSecretSpec::default() };
    EncryptedSecret::new("app", spec)
}

fn max_age(max_age: &str) -> Rotation {
    Rotation { max_age: Some(max_age.to_owned()), ..Rotation::default() }
}

fn told(status: &EncryptedSecretStatus) -> Option<(&str, &str)> {
    let condition = status.conditions.iter().find(|c| c.type_ == "RotationDue")?;
    assert_eq!(condition.status, "True");
    Some((&condition.reason, &condition.message))
}

fn status(keys: &[&str]) -> EncryptedSecretStatus {
    let keys = keys.iter().map(|name| KeyStatus {
        name: (*name).to_owned(),
        since: at(0),
        replaced: false,
        returned: false,
        due: None,
    });
    EncryptedSecretStatus { keys: keys.collect(), ..EncryptedSecretStatus::default() }
}

#[test]
fn it_is_told_in_advance_then_when_it_ends_and_each_once() {
    let (object, entry) = (object(max_age("90d")), entry(&[("a", 0)]));
    let mut status = status(&["a"]);
    let (soon, end) = (76 * DAY, 90 * DAY);
    let steps: [(i64, Option<&str>, Option<i64>, bool); 6] = [
        (0, None, Some(soon), false),
        (soon - 1, None, Some(soon), false),
        (soon, Some("DueSoon"), Some(end), true),
        (end - 1, Some("DueSoon"), Some(end), false),
        (end, Some("Overdue"), None, true),
        (end + DAY, Some("Overdue"), None, false),
    ];
    for (second, reason, again, news) in steps {
        let before = status.clone();
        let due = tell(&mut status, &object, &entry, &at(second));
        assert_eq!(told(&status).map(|told| told.0), reason, "{second}");
        assert_eq!(due.again, again.map(at), "{second}");
        assert_eq!(due.notice.is_some(), news, "{second}");
        assert_eq!(status.keys[0].due, Some(at(end)));
        if !news && second > 0 {
            assert_eq!(status, before, "{second}: nothing to write");
        }
    }
}

#[test]
fn notice_is_given_as_asked_and_never_longer_than_half_of_max_age() {
    let again = |age: &str, notice: Option<&str>| {
        let rotation = Rotation { notice: notice.map(str::to_owned), ..max_age(age) };
        tell(&mut status(&[]), &object(rotation), &entry(&[("a", 0)]), &at(0)).again
    };
    assert_eq!(again("90d", Some("7d")), Some(at(83 * DAY)));
    assert_eq!(again("10d", None), Some(at(5 * DAY)));
    assert_eq!(again("10d", Some("9d")), Some(at(5 * DAY)));
    assert_eq!(again("10d", Some("0s")), Some(at(10 * DAY)));
}

#[test]
fn single_keys_have_ages_of_their_own() {
    let own = |name: &str, max_age: &str| KeyRotation { name: name.to_owned(), max_age: max_age.to_owned() };
    let keys = vec![own("short", "1d"), own("ever", "0s"), own("unknown", "1s")];
    let object = object(Rotation { keys, ..max_age("10d") });
    let entry = entry(&[("short", 0), ("ever", 0), ("plain", DAY), ("other", 0)]);
    let mut status = status(&["ever", "plain", "short"]);
    tell(&mut status, &object, &entry, &at(10 * DAY));
    let (reason, message) = told(&status).unwrap();
    assert_eq!(reason, "Overdue");
    let named = format!("for short ({}), other ({}); rotate them", at(DAY).0, at(10 * DAY).0);
    assert!(message.contains(&named), "{message}");
    let due: Vec<Option<Time>> = status.keys.iter().map(|key| key.due.clone()).collect();
    assert_eq!(due, [None, Some(at(11 * DAY)), Some(at(DAY))]);
}

#[test]
fn without_an_age_nothing_is_due_and_nothing_stays_told() {
    let entry = entry(&[("a", 0)]);
    let mut status = status(&["a"]);
    tell(&mut status, &object(max_age("1s")), &entry, &at(DAY));
    assert!(told(&status).is_some());
    for rotation in [Rotation::default(), max_age("0s"), max_age("200d")] {
        let mut after = status.clone();
        tell(&mut after, &object(rotation), &entry, &at(DAY));
        assert_eq!(told(&after), None);
    }
    let mut without = EncryptedSecret::new("app", EncryptedSecretSpec::default());
    without.spec.rotation = None;
    assert_eq!(tell(&mut status, &without, &entry, &at(DAY)).again, None);
    assert_eq!((told(&status), status.keys[0].due.clone()), (None, None));
}

#[test]
fn many_keys_are_counted_and_no_span_leaves_the_calendar() {
    let names: Vec<String> = (0..20).map(|n| format!("k{n:02}")).collect();
    let keys: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    let mut many = status(&[]);
    tell(&mut many, &object(max_age("1s")), &entry(&keys), &at(1));
    assert!(told(&many).unwrap().1.contains(", 12 more; rotate them"));
    assert_eq!(later(&Time(Timestamp::MAX), i64::MAX).0, Timestamp::MAX);
}
