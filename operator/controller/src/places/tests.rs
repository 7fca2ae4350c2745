//! Places that come, go and refuse; what is told of them, in which order.

use std::sync::Mutex;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, Stream};
use kube::core::{ObjectMeta, Status};
use kube::runtime::watcher;

use super::*;
use crate::scope;

type Events = BoxStream<'static, watcher::Result<Event<&'static str>>>;

fn limited_to(names: &[&str]) -> Arc<Places> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Places::new(Scope::of(&names))
}

fn namespace(name: &str) -> PartialObjectMeta<Namespace> {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    PartialObjectMeta { metadata, ..PartialObjectMeta::default() }
}

/// The first lists of namespaces: these are there, the others of the scope are not.
fn survey(places: &Places, there: &[&str]) {
    let mut coming = HashMap::new();
    for place in places.scope.places() {
        places.take(place.clone(), Event::Init, &mut coming);
        let listed = there.iter().filter(|name| place.as_deref().is_none_or(|place| place == **name));
        for name in listed {
            places.take(place.clone(), Event::InitApply(namespace(name)), &mut coming);
        }
        places.take(place, Event::InitDone, &mut coming);
    }
}

fn comes(places: &Places, name: &str) {
    places.take(Some(name.to_owned()), Event::Apply(namespace(name)), &mut HashMap::new());
}

fn goes(places: &Places, name: &str) {
    places.take(Some(name.to_owned()), Event::Delete(namespace(name)), &mut HashMap::new());
}

/// A watch that lists these and then is silent.
fn list(names: &'static [&'static str]) -> Events {
    let listed = names.iter().map(|name| Ok(Event::InitApply(*name)));
    let events = [Ok(Event::Init)].into_iter().chain(listed).chain([Ok(Event::InitDone)]);
    stream::iter(events.collect::<Vec<_>>()).chain(stream::pending()).boxed()
}

fn refusal() -> watcher::Error {
    let status = Status::failure("not here", "Forbidden").with_code(403).boxed();
    watcher::Error::InitialListFailed(kube::Error::Api(status))
}

/// What is told next, in words.
async fn next(told: &mut (impl Stream<Item = Told<&'static str>> + Unpin)) -> String {
    let told = tokio::time::timeout(Duration::from_secs(10), told.next()).await.expect("something is told");
    let Told { place, event } = told.expect("it never ends");
    let event = match event {
        Event::Init => "Init".to_owned(),
        Event::InitApply(name) => format!("has {name}"),
        Event::InitDone => "InitDone".to_owned(),
        Event::Apply(name) => format!("gets {name}"),
        Event::Delete(name) => format!("loses {name}"),
    };
    format!("{}: {event}", scope::title(place.as_deref()))
}

async fn all(told: &mut (impl Stream<Item = Told<&'static str>> + Unpin), expected: &[&str]) {
    for expected in expected {
        assert_eq!(next(told).await, *expected);
    }
}

/// Nothing more is told.
fn nothing(told: &mut (impl Stream<Item = Told<&'static str>> + Unpin)) {
    assert!(told.next().now_or_never().is_none());
}

#[tokio::test]
async fn everywhere_is_there_at_once_and_has_one_watch() {
    let places = Places::new(Scope::All);
    let mut told = follow(&places, Kind::Secrets, |within| {
        assert_eq!(within, None);
        list(&["x"])
    });
    assert!(!places.knows(Kind::Secrets, "a"));
    all(&mut told, &["all namespaces: Init", "all namespaces: has x", "all namespaces: InitDone"]).await;
    nothing(&mut told);
    assert!(places.knows(Kind::Secrets, "a"));
}

#[tokio::test]
async fn a_namespace_is_watched_while_it_is_there_and_is_empty_when_it_is_not() {
    let places = limited_to(&["a"]);
    let watched = Arc::new(Mutex::new(0));
    let count = Arc::clone(&watched);
    let mut told = follow(&places, Kind::Secrets, move |_| {
        *count.lock().unwrap() += 1;
        list(&["x"])
    });
    nothing(&mut told);
    assert!(!places.knows(Kind::Secrets, "a"), "nobody knows yet whether it is there");
    survey(&places, &[]);
    all(&mut told, &["a: Init", "a: InitDone"]).await;
    nothing(&mut told);
    assert!(places.knows(Kind::Secrets, "a"), "there is nothing in what is not there");
    assert!(!places.knows(Kind::Secrets, "b"), "it is not served");
    for visits in 1..3 {
        assert_eq!(*watched.lock().unwrap(), visits - 1);
        comes(&places, "a");
        all(&mut told, &["a: Init", "a: has x", "a: InitDone"]).await;
        nothing(&mut told);
        goes(&places, "a");
        all(&mut told, &["a: Init", "a: InitDone"]).await;
        nothing(&mut told);
    }
}

#[tokio::test]
async fn one_place_lists_at_a_time_and_one_that_goes_meanwhile_keeps_nobody_waiting() {
    let places = limited_to(&["a", "b"]);
    survey(&places, &["a"]);
    let mut told = follow(&places, Kind::Secrets, |within| match within {
        // It never comes to the end of its list.
        Some("a") => {
            stream::iter([Ok(Event::Init), Ok(Event::InitApply("x"))]).chain(stream::pending()).boxed()
        }
        _ => list(&["y"]),
    });
    // b is not there, and that is to be told by a list.
    let first = next(&mut told).await;
    let rest: &[&str] = if first == "b: Init" { &["b: InitDone", "a: Init"] } else { &[] };
    all(&mut told, rest).await;
    all(&mut told, &["a: has x"]).await;
    comes(&places, "b");
    nothing(&mut told);
    goes(&places, "a");
    let mut left = Vec::new();
    for _ in 0..if rest.is_empty() { 7 } else { 5 } {
        left.push(next(&mut told).await);
    }
    nothing(&mut told);
    assert!(left.contains(&"b: has y".to_owned()), "{left:?}");
    let lists: Vec<_> = left.iter().filter(|told| !told.contains("has")).map(String::as_str).collect();
    for list in lists.chunks(2) {
        let place = &list[0][..1];
        assert_eq!(list, [format!("{place}: Init"), format!("{place}: InitDone")], "{left:?}");
    }
}

#[tokio::test]
async fn encrypted_secrets_wait_for_the_secrets_of_their_place() {
    let places = limited_to(&["a", "b"]);
    survey(&places, &["a", "b"]);
    let mut secrets = follow(&places, Kind::Secrets, |within| match within {
        Some("a") => stream::iter([Err(refusal())]).chain(stream::pending()).boxed(),
        _ => list(&[]),
    });
    let mut objects = follow(&places, Kind::EncryptedSecrets, |_| list(&["x"]));
    nothing(&mut objects);
    all(&mut secrets, &["b: Init", "b: InitDone"]).await;
    nothing(&mut objects);
    nothing(&mut secrets);
    // Only now it is said that what was told is taken in.
    all(&mut objects, &["b: Init", "b: has x", "b: InitDone"]).await;
    assert!(places.settled(Kind::EncryptedSecrets).now_or_never().is_none(), "the last is not taken in yet");
    nothing(&mut objects);
    tokio::time::timeout(Duration::from_secs(10), places.settled(Kind::EncryptedSecrets)).await.unwrap();
    assert!(places.knows(Kind::EncryptedSecrets, "b"));
    assert!(!places.knows(Kind::EncryptedSecrets, "a"), "nobody could look");
}

#[tokio::test]
async fn where_all_are_watched_at_once_they_are_listed_side_by_side_and_deciding_waits() {
    let places = Places::new(Scope::All);
    let mut objects = follow(&places, Kind::EncryptedSecrets, |_| list(&["x"]));
    let mut secrets = follow(&places, Kind::Secrets, |_| list(&["y"]));
    let mut may_decide = std::pin::pin!(places.may_decide());
    all(&mut objects, &["all namespaces: Init", "all namespaces: has x", "all namespaces: InitDone"]).await;
    nothing(&mut objects);
    all(&mut secrets, &["all namespaces: Init", "all namespaces: has y", "all namespaces: InitDone"]).await;
    assert!(may_decide.as_mut().now_or_never().is_none(), "the last is not taken in yet");
    nothing(&mut secrets);
    tokio::time::timeout(Duration::from_secs(10), may_decide).await.unwrap();
    // Of a namespace nothing is told before.
    assert!(limited_to(&["a"]).may_decide().now_or_never().is_some());
}

#[tokio::test]
async fn what_is_refused_is_found_when_it_is_granted_and_is_known_for_good() {
    let places = limited_to(&["a"]);
    survey(&places, &["a"]);
    let mut told = follow(&places, Kind::Recipients, |_| {
        let failed = || stream::iter([Ok(Event::Init), Err(refusal())]);
        failed().chain(failed()).chain(list(&["x"]).take(3)).chain(failed()).chain(stream::pending()).boxed()
    });
    all(&mut told, &["a: Init", "a: Init"]).await;
    assert!(!places.knows(Kind::Recipients, "a"));
    all(&mut told, &["a: Init", "a: has x", "a: InitDone", "a: Init"]).await;
    nothing(&mut told);
    assert!(places.knows(Kind::Recipients, "a"), "as it was when it could be looked at");
}

#[tokio::test]
async fn a_namespace_that_may_not_be_looked_at_is_judged_by_what_is_in_it() {
    let places = limited_to(&["a", "b"]);
    let mut told = follow(&places, Kind::Secrets, |within| match within {
        Some("a") => list(&["x"]),
        _ => stream::iter([Err(refusal())]).chain(stream::pending()).boxed(),
    });
    nothing(&mut told);
    for name in ["a", "b"] {
        places.is_hidden(Some(name.to_owned()));
    }
    all(&mut told, &["a: Init", "a: has x", "a: InitDone"]).await;
    nothing(&mut told);
    tokio::time::timeout(Duration::from_secs(10), places.settled(Kind::Secrets)).await.unwrap();
    assert!(places.knows(Kind::Secrets, "a") && !places.knows(Kind::Secrets, "b"));
    // Once it may be looked at, it is known whether it is there; and that stands when it may not any more.
    survey(&places, &["b"]);
    all(&mut told, &["a: Init", "a: InitDone"]).await;
    nothing(&mut told);
    places.is_hidden(Some("a".to_owned()));
    nothing(&mut told);
    assert_eq!(*places.namespaces().borrow(), Namespaces::from([("b".to_owned(), false)]));
}

#[test]
fn namespaces_are_told_with_whether_they_end() {
    let places = Places::new(Scope::All);
    let mut coming = HashMap::new();
    let told = places.namespaces();
    places.take(None, Event::Init, &mut coming);
    places.take(None, Event::InitApply(namespace("a")), &mut coming);
    places.take(None, Event::InitApply(namespace("b")), &mut coming);
    assert!(told.borrow().is_empty(), "half a list is none");
    places.take(None, Event::InitDone, &mut coming);
    let mut ends = namespace("b");
    let now = k8s_openapi::jiff::Timestamp::now();
    ends.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
    places.take(None, Event::Apply(ends), &mut coming);
    assert_eq!(*told.borrow(), Namespaces::from([("a".to_owned(), false), ("b".to_owned(), true)]));
    // A later list lacks what went away unseen.
    places.take(None, Event::Init, &mut coming);
    places.take(None, Event::InitApply(namespace("c")), &mut coming);
    places.take(None, Event::InitDone, &mut coming);
    assert_eq!(*told.borrow(), Namespaces::from([("c".to_owned(), false)]));
}
