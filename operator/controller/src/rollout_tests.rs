//! When a workload is looked at, and what is made of what was seen.

use kube::client::Body;
use tokio::sync::mpsc;

use super::*;

fn rollouts() -> (Arc<Rollouts>, mpsc::UnboundedReceiver<Key>) {
    let service = tower::service_fn(|_: http::Request<Body>| async {
        std::future::pending::<Result<http::Response<Body>, std::convert::Infallible>>().await
    });
    let client = Client::new(service, "default");
    let (wake, woken) = mpsc::unbounded_channel();
    (Rollouts::new(client.clone(), Events::new(client, "pod"), wake), woken)
}

fn object(name: &str) -> Key {
    ("apps".to_owned(), name.to_owned())
}

fn web() -> Owner {
    Owner { kind: "Deployment".into(), name: "web".into() }
}

fn place() -> Place {
    ("apps".to_owned(), web())
}

fn want(rollouts: &Rollouts, name: &str, generation: i64) {
    rollouts.want(&object(name), ObjectReference::default(), generation, &[web()].into());
}

fn looked(rollouts: &Rollouts, step: &Step) -> usize {
    let mut state = rollouts.lock();
    let wanted = state.generations(&place()).unwrap();
    state.looked(&place(), &wanted, step).len()
}

fn due(rollouts: &Rollouts) -> Option<Instant> {
    rollouts.lock().next().map(|(due, _)| due)
}

#[tokio::test]
async fn several_that_change_together_are_one_look_and_it_is_not_put_off() {
    let (rollouts, _woken) = rollouts();
    want(&rollouts, "app", 3);
    let first = due(&rollouts).unwrap();
    want(&rollouts, "db", 7);
    assert_eq!(due(&rollouts), Some(first));
    let both: Generations = [("app".to_owned(), 3), ("db".to_owned(), 7)].into();
    assert_eq!(rollouts.lock().generations(&place()), Some(both));
}

#[tokio::test]
async fn what_was_done_is_not_looked_at_again_until_there_is_more_to_do() {
    let (rollouts, _woken) = rollouts();
    want(&rollouts, "app", 3);
    assert_eq!(looked(&rollouts, &Step::Annotate(String::new())), 1);
    want(&rollouts, "app", 3);
    assert_eq!(due(&rollouts), None);
    want(&rollouts, "app", 4);
    assert!(due(&rollouts).is_some());
}

#[tokio::test]
async fn what_was_wanted_while_it_was_looked_at_is_looked_at_next() {
    let (rollouts, _woken) = rollouts();
    want(&rollouts, "app", 3);
    let wanted = rollouts.lock().generations(&place()).unwrap();
    want(&rollouts, "app", 4);
    rollouts.lock().looked(&place(), &wanted, &Step::Annotate(String::new()));
    assert!(due(&rollouts).is_some());
}

#[tokio::test]
async fn a_wait_is_told_once_and_lasts_longer_each_time() {
    let (rollouts, _woken) = rollouts();
    want(&rollouts, "app", 3);
    let mut pauses = Vec::new();
    for round in 0..8 {
        let told = looked(&rollouts, &Step::Wait(Wait::Paused));
        assert_eq!(told, usize::from(round == 0));
        pauses.push((due(&rollouts).unwrap() - Instant::now()).as_secs_f64().round());
    }
    assert_eq!(pauses, [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
    assert_eq!(rollouts.waits(&object("app")), [(web(), Wait::Paused)].into());
    assert_eq!(looked(&rollouts, &Step::Wait(Wait::Busy)), 1, "another reason");
    looked(&rollouts, &Step::Annotate(String::new()));
    assert!(rollouts.waits(&object("app")).is_empty());
}

#[tokio::test]
async fn nothing_is_looked_at_for_nobody() {
    let (rollouts, _woken) = rollouts();
    want(&rollouts, "app", 3);
    want(&rollouts, "db", 3);
    rollouts.want(&object("app"), ObjectReference::default(), 3, &BTreeSet::new());
    assert!(due(&rollouts).is_some(), "the other still wants it");
    rollouts.forget(&object("db"));
    assert_eq!(due(&rollouts), None);
    let state = rollouts.lock();
    assert!(state.places.is_empty() && state.by_object.is_empty());
}
