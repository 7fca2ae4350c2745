//! Incidents: what counts as rotated, what as left, and what may never be forgotten.

use k8s_openapi::jiff::Timestamp;
use touchseal_crds::IncidentSpec;
use touchseal_crds::incident::{Accepted, IncidentSelector};

use super::*;

/// The exposure.
const AT: i64 = 1_000;

fn time(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn incident() -> Incident {
    let spec = IncidentSpec {
        exposed_at: time(AT),
        selector: None,
        description: None,
        accepted: Vec::new(),
        closed: None,
    };
    Incident::new("leak", spec)
}

fn selecting(selector: IncidentSelector) -> Incident {
    let mut incident = incident();
    incident.spec.selector = Some(selector);
    incident
}

fn key(first: i64, known: i64, since: i64) -> KeyRecord {
    KeyRecord { first: time(first), known: time(known), since: time(since), reach: None }
}

/// A generation: number, since, drained.
fn generation(number: i64, since: i64, drained: Option<i64>) -> GenerationRecord {
    GenerationRecord { number, since: time(since), drained: drained.map(time) }
}

fn object(name: &str, keys: &[(&str, KeyRecord)], generations: Vec<GenerationRecord>) -> Followed {
    let keys = keys.iter().map(|(name, key)| ((*name).to_owned(), key.clone())).collect();
    Followed {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        labels: Some([("team".to_owned(), "a".to_owned())].into()),
        ended: None,
        created: time(10),
        record: Some(Record { keys, generations, ..Record::default() }),
        consumers_known: true,
    }
}

/// A key that was rotated once after the exposure; the old value was left, or was not.
fn rotated(name: &str, drained: Option<i64>) -> Followed {
    let generations = vec![generation(2, 2_000, None), generation(1, 100, drained)];
    object(name, &[("password", key(100, 2_000, 2_000))], generations)
}

fn never_rotated(name: &str) -> Followed {
    object(name, &[("password", key(100, 100, 100))], vec![generation(1, 100, None)])
}

fn state(object: &Followed, at: i64) -> Option<RemainingState> {
    let mut incident = incident();
    incident.spec.exposed_at = time(at);
    keys(&incident, object).remove(0).1
}

#[test]
fn only_a_value_that_is_known_to_be_younger_than_the_exposure_is_not_exposed() {
    let drained = || vec![generation(9, 5_000, None), generation(8, 3_000, Some(5_100))];
    for (what, key, exposed) in [
        ("never rotated", key(100, 100, 100), true),
        ("rotated before the exposure", key(100, 900, 900), true),
        ("rotated in the very second", key(100, AT, AT), true),
        ("rotated a second later", key(100, AT + 1, AT + 1), false),
        ("first seen after the exposure: history does not reach back", key(2_000, 2_000, 2_000), true),
        ("first seen after it, and rotated since", key(2_000, 2_100, 2_100), false),
        ("an old value that came back", key(100, 100, 3_000), true),
        ("a young value that came back", key(100, 1_500, 3_000), false),
    ] {
        let object = object("db", &[("password", key)], drained());
        let wanted = exposed.then_some(RemainingState::Exposed);
        assert_eq!(state(&object, AT), wanted, "{what}");
    }
}

#[test]
fn a_fraction_of_a_second_does_not_make_a_value_younger() {
    let object = rotated("db", Some(2_100));
    let mut incident = incident();
    incident.spec.exposed_at = Time(Timestamp::new(1_999, 500_000_000).unwrap());
    assert_eq!(keys(&incident, &object)[0].1, Some(RemainingState::Exposed));
    incident.spec.exposed_at = time(1_999);
    assert_eq!(keys(&incident, &object)[0].1, None);
}

#[test]
fn a_rotated_key_waits_until_the_generations_before_it_are_left() {
    assert_eq!(state(&rotated("db", None), AT), Some(RemainingState::Draining));
    assert_eq!(state(&rotated("db", Some(2_100)), AT), None);
    let mut unseen = rotated("db", None);
    unseen.consumers_known = false;
    assert_eq!(state(&unseen, AT), Some(RemainingState::Unknown));
    // What was left once was left, whoever may look now.
    let mut unseen = rotated("db", Some(2_100));
    unseen.consumers_known = false;
    assert_eq!(state(&unseen, AT), None);
}

#[test]
fn what_counts_as_left() {
    let since = time(3_000);
    for (what, generations, wanted) in [
        ("nothing is known", vec![], false),
        ("no generation before it", vec![generation(3, 3_000, None)], false),
        (
            "the one before it is not left",
            vec![generation(3, 3_000, None), generation(2, 2_000, None)],
            false,
        ),
        (
            "an older one is left, the one before it is not",
            vec![generation(3, 3_000, None), generation(2, 2_000, None), generation(1, 1_000, Some(2_100))],
            false,
        ),
        (
            "it is left itself, for a newer one of other keys",
            vec![generation(4, 4_000, None), generation(3, 3_000, Some(4_100))],
            true,
        ),
        (
            "two generations in its second: the younger counts",
            vec![generation(4, 3_000, None), generation(3, 3_000, None), generation(2, 2_000, Some(2_100))],
            false,
        ),
        (
            "the history begins after it, and nothing of it is left",
            vec![generation(9, 9_000, None), generation(8, 8_000, None)],
            false,
        ),
        (
            "the history begins after it, and its beginning is left",
            vec![generation(9, 9_000, None), generation(8, 8_000, Some(9_100))],
            true,
        ),
        ("the newest cannot be left", vec![generation(9, 9_000, Some(9_100))], false),
    ] {
        assert_eq!(left(&generations, &since).is_some(), wanted, "{what}");
    }
}

#[test]
fn the_selector_is_all_of_what_it_names() {
    let shop = never_rotated("db");
    let mut other = never_rotated("db");
    other.namespace = "other".to_owned();
    other.labels = Some(BTreeMap::new());
    let objects = [shop, other, never_rotated("mail")];
    let names = |selector: IncidentSelector| {
        let outcome = judge(&selecting(selector), &objects, &[], &time(3_000));
        outcome.remaining.iter().map(|e| format!("{}/{}", e.namespace, e.name)).collect::<Vec<_>>()
    };
    let list = |item: &str| vec![item.to_owned()];
    let none = IncidentSelector::default;
    assert_eq!(names(none()), ["other/db", "shop/db", "shop/mail"]);
    assert_eq!(names(IncidentSelector { namespaces: list("shop"), ..none() }), ["shop/db", "shop/mail"]);
    assert_eq!(names(IncidentSelector { names: list("db"), ..none() }), ["other/db", "shop/db"]);
    let labels = [("team".to_owned(), "a".to_owned())];
    assert_eq!(
        names(IncidentSelector { match_labels: labels.into(), names: list("db"), ..none() }),
        ["shop/db"]
    );
    assert_eq!(names(IncidentSelector { keys: list("password"), ..none() }).len(), 3);
    assert!(names(IncidentSelector { keys: list("other"), ..none() }).is_empty());
}

#[test]
fn it_closes_when_nothing_remains_and_stays_closed() {
    let mut incident = incident();
    let open = judge(&incident, &[rotated("db", None), rotated("mail", Some(2_100))], &[], &time(2_200));
    let condition = |outcome: &Outcome| {
        let closed = outcome.status.conditions.iter().find(|c| c.type_ == "Closed").unwrap().clone();
        (closed.status, closed.reason)
    };
    assert_eq!(condition(&open), ("False".to_owned(), "Exposed".to_owned()));
    assert_eq!(open.status.totals, Some(IncidentTotals { exposed: 0, draining: 1, safe: 1, accepted: 0 }));
    assert!(open.status.closed_at.is_none() && open.notice.is_none());
    incident.status = Some(open.status.clone());

    let both = [rotated("db", Some(2_300)), rotated("mail", Some(2_100))];
    let closed = judge(&incident, &both, &open.remaining, &time(2_300));
    assert_eq!(condition(&closed), ("True".to_owned(), "AllSafe".to_owned()));
    assert_eq!(closed.status.closed_at, Some(time(2_300)));
    let notice = closed.notice.as_ref().unwrap();
    assert_eq!((notice.warning, notice.reason), (false, Reason::AllSafe));
    assert!(notice.message.starts_with("every old value may be revoked: "), "{}", notice.message);
    incident.status = Some(closed.status.clone());

    // A secret that comes later, and even the old value coming back, opens nothing and tells nothing.
    let later = judge(&incident, &[never_rotated("db"), never_rotated("new")], &[], &time(9_000));
    assert_eq!(later.status, closed.status);
    assert!(later.notice.is_none());
}

#[test]
fn the_same_world_gives_the_same_status() {
    let mut incident = incident();
    let objects = [rotated("db", None), never_rotated("mail")];
    let first = judge(&incident, &objects, &[], &time(2_200));
    incident.status = Some(first.status.clone());
    let again = judge(&incident, &objects, &first.remaining, &time(2_900));
    assert_eq!(again.status, first.status);
    let after_a_restart = judge(&incident, &objects, &first.status.remaining, &time(2_950));
    assert_eq!(after_a_restart.status, first.status);
}

#[test]
fn an_incident_that_names_nothing_does_not_close() {
    let selector = IncidentSelector { names: vec!["tpyo".to_owned()], ..IncidentSelector::default() };
    let outcome = judge(&selecting(selector), &[never_rotated("db")], &[], &time(2_000));
    assert_eq!(outcome.status.conditions[0].reason, "NothingMatches");
    assert_eq!(outcome.status.conditions[0].status, "False");
    assert!(outcome.status.closed_at.is_none());
}

#[test]
fn accepting_what_is_not_there_does_not_close_an_incident_that_names_nothing() {
    let selector = IncidentSelector { names: vec!["tpyo".to_owned()], ..IncidentSelector::default() };
    let mut incident = selecting(selector);
    let (namespace, reason) = ("shop".to_owned(), "not affected".to_owned());
    incident.spec.accepted = vec![Accepted { namespace, name: "tpyo".to_owned(), key: None, reason }];
    let outcome = judge(&incident, &[never_rotated("db")], &[], &time(2_000));
    assert_eq!(outcome.status.conditions[0].reason, "NothingMatches");
    assert!(outcome.status.closed_at.is_none());
    // It is of something once there is such a key.
    let there = judge(&incident, &[never_rotated("tpyo")], &[], &time(2_000));
    assert_eq!(there.status.conditions[0].reason, "AllSafe");
}

#[test]
fn what_was_never_served_is_exposed_until_its_keys_are_known() {
    let unserved = Followed { record: None, ..never_rotated("db") };
    let outcome = judge(&incident(), &[unserved], &[], &time(2_000));
    let entry = &outcome.remaining[0];
    assert_eq!((entry.key.as_str(), entry.state, &entry.since), ("*", RemainingState::Exposed, &time(10)));
    let served = judge(&incident(), &[rotated("db", Some(2_100))], &outcome.remaining, &time(2_200));
    assert!(served.remaining.is_empty() && served.status.closed_at.is_some());
    // Served meanwhile, but no longer selected: nobody looked at its keys.
    let labels = [("team".to_owned(), "a".to_owned())].into();
    let incident = selecting(IncidentSelector { match_labels: labels, ..IncidentSelector::default() });
    let objects =
        [Followed { labels: Some(BTreeMap::new()), ..never_rotated("db") }, rotated("mail", Some(2_100))];
    let after = judge(&incident, &objects, &outcome.remaining, &time(2_200));
    assert_eq!((after.remaining.len(), after.remaining[0].state), (1, RemainingState::Removed));
}

#[test]
fn what_is_gone_before_it_was_rotated_stays_until_it_is_accepted() {
    let mut incident = incident();
    let before = judge(&incident, &[never_rotated("db"), rotated("mail", None)], &[], &time(2_000));
    // Both are deleted; this is all the status knows.
    let after = judge(&incident, &[], &before.status.remaining, &time(2_100));
    let states = |outcome: &Outcome| -> Vec<_> {
        outcome.remaining.iter().map(|e| (e.name.clone(), e.state)).collect()
    };
    let gone = [("db".to_owned(), RemainingState::Removed), ("mail".to_owned(), RemainingState::Unknown)];
    assert_eq!(states(&after), gone);
    // It does not come of it by looking again.
    let again = judge(&incident, &[], &after.status.remaining, &time(2_200));
    assert_eq!(states(&again), gone);

    let accept = |name: &str, key: Option<&str>| Accepted {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        key: key.map(str::to_owned),
        reason: "revoked at its service".to_owned(),
    };
    incident.spec.accepted = vec![accept("db", Some("password")), accept("mail", None)];
    let closed = judge(&incident, &[], &again.status.remaining, &time(2_300));
    assert_eq!(closed.status.totals, Some(IncidentTotals { accepted: 2, ..IncidentTotals::default() }));
    assert!(closed.status.closed_at.is_some());
    let said = &closed.notice.unwrap().message;
    assert!(said.starts_with("nothing remains") && !said.contains("may be revoked"), "{said}");
    // Accepted things are counted also when nothing of them is remembered any more.
    assert_eq!(judge(&incident, &[], &[], &time(2_300)).status.totals, closed.status.totals);
}

#[test]
fn a_key_taken_out_of_its_secret_is_not_safe_by_that() {
    let taken_out = |key: KeyRecord, drained| {
        let generations = vec![generation(2, 2_000, None), generation(1, 100, drained)];
        let mut object = object("db", &[], generations);
        object.record.as_mut().unwrap().gone.insert("password".to_owned(), key);
        object
    };
    for (what, key, drained, state) in [
        ("before the exposure", key(100, 100, AT - 1), None, None),
        ("after it, unrotated", key(100, 100, 2_000), Some(2_100), Some(RemainingState::Removed)),
        ("rotated before, and still used", key(100, 1_500, 2_000), None, Some(RemainingState::Draining)),
        ("rotated before, and left", key(100, 1_500, 2_000), Some(2_100), None),
    ] {
        let outcome = judge(&incident(), &[taken_out(key, drained)], &[], &time(2_200));
        assert_eq!(outcome.remaining.first().map(|entry| entry.state), state, "{what}");
    }
    // One that has no place in the ledger's list of removed keys, but was known to remain.
    let mut remembered = judge(&incident(), &[never_rotated("db")], &[], &time(2_000)).remaining;
    remembered[0].key = "other".to_owned();
    let outcome = judge(&incident(), &[rotated("db", Some(2_100))], &remembered, &time(2_200));
    assert_eq!(outcome.remaining[0].state, RemainingState::Removed);
}

#[test]
fn accepted_keys_are_counted_whatever_their_state() {
    let accept = |key: Option<&str>| Accepted {
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
        key: key.map(str::to_owned),
        reason: "a test system".to_owned(),
    };
    let keys = [("password", key(100, 100, 100)), ("user", key(100, 100, 100))];
    let objects = [object("db", &keys, vec![generation(1, 100, None)])];
    for (accepted, wanted) in [
        (vec![accept(Some("password"))], (1, 1)),
        (vec![accept(Some("password")), accept(Some("password"))], (1, 1)),
        (vec![accept(None)], (0, 2)),
        (vec![accept(None), accept(Some("password"))], (0, 2)),
    ] {
        let mut incident = incident();
        incident.spec.accepted = accepted;
        let totals = judge(&incident, &objects, &[], &time(2_000)).status.totals.unwrap();
        assert_eq!((totals.exposed, totals.accepted), wanted);
    }
}

#[test]
fn closed_by_hand_says_what_remained() {
    let mut incident = incident();
    incident.spec.closed = Some(true);
    let outcome = judge(&incident, &[never_rotated("db")], &[], &time(2_000));
    let condition = &outcome.status.conditions[0];
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "ClosedByHand"));
    assert!(condition.message.contains("1 exposed") && condition.message.contains("shop/db:password"));
    assert_eq!(outcome.status.closed_at, Some(time(2_000)));
    assert_eq!(outcome.status.remaining.len(), 1, "the record stays");
    assert!(outcome.notice.unwrap().warning);
}

#[test]
fn the_status_is_bounded_and_the_removed_come_first() {
    let objects: Vec<_> = (0..MAX_REMAINING + 20).map(|n| never_rotated(&format!("app-{n:04}"))).collect();
    let all = judge(&incident(), &objects, &[], &time(2_000));
    assert_eq!(all.status.remaining.len(), MAX_REMAINING);
    assert_eq!(all.remaining.len(), MAX_REMAINING + 20);
    assert_eq!(all.status.totals.unwrap().exposed, 520);
    // The last one is deleted: it was beyond the list, and is remembered all the same, in the list from now on.
    let (_, rest) = objects.split_last().unwrap();
    let after = judge(&incident(), rest, &all.remaining, &time(2_100));
    assert_eq!(after.status.remaining[0].name, "app-0519");
    assert_eq!(after.status.remaining[0].state, RemainingState::Removed);
    assert_eq!(after.status.totals.unwrap().exposed, 520);
}

#[test]
fn a_record_is_what_the_ledger_has() {
    let entry: LedgerEntry = serde_json::from_value(serde_json::json!({
        "generation": 3, "since": 3_000, "key": { "keyring": "id", "generation": 1 }, "source": "s",
        "keys": {
            "changed": { "d": "x", "s": 2_000, "k": 1_900, "f": 100 },
            "old": { "digest": "y", "since": "1970-01-01T00:01:40Z" },
        },
        "gone": { "taken": { "s": 3_000, "f": 100, "p": [["a", 1_500, 1], ["b", 100, 1]] } },
        "history": [[3, 3_000, 1, 0, 0, 0, ["taken"]], [2, 2_000, 1, 0, 3_100, 0, ["changed"]]],
    }))
    .unwrap();
    let record = Record::from(&entry);
    let key_of = |key: &KeyRecord| [&key.first, &key.known, &key.since].map(|time| time.0.as_second());
    assert_eq!(key_of(&record.keys["changed"]), [100, 1_900, 2_000]);
    assert_eq!(key_of(&record.keys["old"]), [100, 100, 100], "an entry of an earlier format");
    assert_eq!(key_of(&record.gone["taken"]), [100, 1_500, 3_000]);
    assert_eq!(left(&record.generations, &time(2_500)), Some(time(3_100)));
    assert_eq!(record.generations.iter().map(|g| g.number).collect::<Vec<_>>(), [3, 2]);
}

/// What the ledger still has of an object that was deleted.
fn ended(object: Followed, at: i64) -> Followed {
    Followed { ended: Some(time(at)), labels: None, consumers_known: false, ..object }
}

#[test]
fn what_lies_beyond_the_list_is_not_forgotten_over_a_restart() {
    let mut incident = incident();
    let objects: Vec<_> = (0..MAX_REMAINING + 20).map(|n| never_rotated(&format!("app-{n:04}"))).collect();
    let open = judge(&incident, &objects, &[], &time(2_000));
    assert_eq!(open.status.unlisted, Some(20));
    assert!(open.status.conditions[0].message.contains("20 of what remains are not listed"));
    incident.status = Some(open.status.clone());

    // All are deleted, and the operator restarts: it has the ledger, and the list in the status.
    let gone: Vec<_> = objects.into_iter().map(|object| ended(object, 2_100)).collect();
    let after = judge(&incident, &gone, &open.status.remaining, &time(2_200));
    assert_eq!(after.status.totals, open.status.totals);
    assert!(after.status.closed_at.is_none());
    assert!(after.remaining.iter().all(|entry| entry.state == RemainingState::Removed));
    // What was safe stays counted.
    let deleted = judge(&incident, &[ended(rotated("db", Some(2_100)), 2_200)], &[], &time(2_300));
    assert_eq!(deleted.status.totals.unwrap().safe, 1);
}

#[test]
fn what_was_deleted_after_the_exposure_and_before_anybody_opened_the_incident_is_exposed() {
    let judged = |at: i64| judge(&incident(), &[ended(never_rotated("db"), at)], &[], &time(3_000)).remaining;
    assert!(judged(AT - 1).is_empty(), "it was no secret of ours any more");
    for at in [AT, 2_000] {
        assert_eq!(judged(at)[0].state, RemainingState::Removed, "{at}");
    }
    // Rotated before it went, but who holds the old value nobody knows.
    let unknown = judge(&incident(), &[ended(rotated("db", None), 2_500)], &[], &time(3_000));
    assert_eq!(unknown.remaining[0].state, RemainingState::Unknown);
}

#[test]
fn removed_keys_that_the_ledger_forgot_count_as_exposed() {
    let forgot = |at: i64| {
        let mut object = rotated("db", Some(2_100));
        object.record.as_mut().unwrap().forgotten = Some(time(at));
        judge(&incident(), &[object], &[], &time(3_000))
    };
    assert!(forgot(AT - 1).status.closed_at.is_some(), "they went before the exposure");
    let outcome = forgot(AT);
    let entry = &outcome.remaining[0];
    assert_eq!((entry.key.as_str(), entry.state), (UNKNOWN_KEYS, RemainingState::Removed));
    assert!(outcome.status.closed_at.is_none());
    // A person who knows better says so for them alone.
    let mut incident = incident();
    let (namespace, name, key) = ("shop".to_owned(), "db".to_owned(), Some(UNKNOWN_KEYS.to_owned()));
    incident.spec.accepted = vec![Accepted { namespace, name, key, reason: "test keys".to_owned() }];
    let mut object = rotated("db", Some(2_100));
    object.record.as_mut().unwrap().forgotten = Some(time(AT));
    let totals = judge(&incident, &[object], &[], &time(3_000)).status.totals.unwrap();
    assert_eq!(totals, IncidentTotals { safe: 1, accepted: 1, ..IncidentTotals::default() });
}

#[test]
fn a_value_that_may_be_a_forgotten_one_is_exposed_where_that_was_served_after_the_exposure() {
    let with = |reach: i64| KeyRecord { reach: Some(time(reach)), ..key(100, 2_000, 2_000) };
    assert!(exposed(&with(AT), AT), "the history does not reach back");
    assert!(!exposed(&with(AT - 1), AT), "what was served then is remembered, and this is another value");
}

#[test]
fn labels_taken_off_hide_nothing() {
    let labels = [("team".to_owned(), "a".to_owned())].into();
    let mut incident = selecting(IncidentSelector { match_labels: labels, ..IncidentSelector::default() });
    let bare = |object: Followed| Followed { labels: Some(BTreeMap::new()), ..object };
    let others = bare(never_rotated("others"));
    let open = judge(&incident, &[never_rotated("db"), others.clone()], &[], &time(2_000));
    assert_eq!((open.remaining.len(), open.status.selected.clone()), (1, vec!["shop/db".to_owned()]));
    incident.status = Some(open.status);
    // Nothing of the list is given: as if it had no place there.
    for object in [bare(never_rotated("db")), ended(never_rotated("db"), 2_100)] {
        let after =
            judge(&incident, &[object, others.clone(), ended(others.clone(), 2_100)], &[], &time(2_200));
        assert_eq!(after.remaining.iter().map(|entry| &*entry.name).collect::<Vec<_>>(), ["db"]);
    }
    // It is followed on, also when it is rotated.
    let safe = judge(&incident, &[bare(rotated("db", Some(2_300)))], &[], &time(2_400));
    assert!(safe.status.closed_at.is_some());
}

#[test]
fn what_was_deleted_before_anybody_looked_matches_any_label() {
    let labels = [("team".to_owned(), "a".to_owned())].into();
    let incident = selecting(IncidentSelector { match_labels: labels, ..IncidentSelector::default() });
    let open = judge(&incident, &[ended(never_rotated("db"), 1_500)], &[], &time(2_000));
    assert_eq!(open.remaining[0].state, RemainingState::Removed);
    // Where nobody may look it may be there, with any label.
    let unseen = Followed { labels: None, consumers_known: false, ..never_rotated("db") };
    let open = judge(&incident, &[unseen], &[], &time(2_000));
    assert_eq!(open.remaining[0].state, RemainingState::Exposed);
}

#[test]
fn what_has_no_place_in_any_memory_keeps_the_incident_open() {
    let unserved = |n: usize| Followed { record: None, ..never_rotated(&format!("app-{n:04}")) };
    let mut first = incident();
    let served: Vec<_> = (0..MAX_REMAINING).map(|n| never_rotated(&format!("a-{n:04}"))).collect();
    // Those that the ledger does not know have the first places.
    let objects: Vec<_> = served.iter().cloned().chain((0..MAX_REMAINING).map(unserved)).collect();
    let full = judge(&first, &objects, &[], &time(2_000));
    assert_eq!(full.status.incomplete, None);
    assert!(full.status.remaining.iter().all(|entry| entry.key == UNKNOWN_KEYS));
    let over = judge(&first, &(0..=MAX_REMAINING).map(unserved).collect::<Vec<_>>(), &[], &time(2_000));
    first.status = Some(over.status);
    let after = judge(&first, &[rotated("db", Some(2_100))], &[], &time(2_200));
    assert!(after.status.closed_at.is_none() && after.status.incomplete == Some(true));
    assert!(after.status.conditions[0].message.contains("does not close by itself"));

    let labels = [("team".to_owned(), "a".to_owned())].into();
    let by_label = selecting(IncidentSelector { match_labels: labels, ..IncidentSelector::default() });
    let many: Vec<_> = (0..=MAX_SELECTED).map(|n| rotated(&format!("a-{n}"), Some(2_100))).collect();
    let full = judge(&by_label, &many[..MAX_SELECTED], &[], &time(2_200));
    assert!(full.status.closed_at.is_some());
    let over = judge(&by_label, &many, &[], &time(2_200));
    assert!(over.status.closed_at.is_none() && over.status.incomplete == Some(true));
    assert_eq!(over.status.selected.len(), MAX_SELECTED);
}
