//! Watches on demand: how many there are, and who is woken.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::lists::tests::{Asked, client};

type Woken = UnboundedReceiver<Key>;

fn watches() -> (Arc<Watches>, Woken, Asked) {
    let (client, asked) = client();
    let (wake, woken) = tokio::sync::mpsc::unbounded_channel();
    (Watches::new(client, wake), woken, asked)
}

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

async fn next(woken: &mut Woken) -> String {
    let next = tokio::time::timeout(Duration::from_secs(10), woken.recv()).await;
    next.expect("somebody is woken").expect("the sender lives").1
}

fn running(watches: &Watches) -> usize {
    watches.lock().values().map(|place| place.tasks.len()).sum()
}

#[tokio::test]
async fn a_namespace_has_one_watch_of_secrets_however_many_conflicts() {
    let (watches, mut woken, asked) = watches();
    for n in 0..100 {
        watches.want_secrets(&key("apps", &format!("app{n}")), Some(format!("secret{n}")));
        watches.want_config_maps(&key("apps", &format!("app{n}")), [format!("map{n}")]);
    }
    assert_eq!(running(&watches), 2);
    watches.want_secrets(&key("other", "app"), Some("secret".to_owned()));
    assert_eq!(running(&watches), 3);
    // The lists are through when everybody of both kinds and namespaces has been woken by them.
    let mut left = 99 + 100 + 100 + 1;
    while left > 0 {
        next(&mut woken).await;
        left -= 1;
    }
    let lists = asked.lock().unwrap().iter().filter(|(uri, _)| !uri.contains("watch=true")).count();
    assert_eq!(lists, 3);
}

#[tokio::test]
async fn who_begins_to_wait_on_a_watch_that_runs_looks_once_more() {
    let (watches, mut woken, _asked) = watches();
    watches.want_secrets(&key("apps", "one"), Some("shared".to_owned()));
    assert_eq!(next(&mut woken).await, "one", "by the first list");
    watches.want_secrets(&key("apps", "two"), Some("shared".to_owned()));
    assert_eq!(next(&mut woken).await, "two");
    // Waiting on is not beginning to wait: that would go round for ever.
    watches.want_secrets(&key("apps", "two"), Some("shared".to_owned()));
    watches.want_secrets(&key("apps", "one"), Some("shared".to_owned()));
    assert!(woken.try_recv().is_err());
}

#[tokio::test]
async fn a_change_wakes_those_who_want_that_object_in_that_namespace() {
    let (watches, mut woken, _asked) = watches();
    {
        let mut state = watches.lock();
        for (namespace, name, what) in [
            ("apps", "one", Wanted::Secret("a".to_owned())),
            ("apps", "two", Wanted::Secret("b".to_owned())),
            ("apps", "three", Wanted::ConfigMap("a".to_owned())),
            ("other", "four", Wanted::Secret("a".to_owned())),
        ] {
            let place = state.entry(namespace.to_owned()).or_default();
            assert!(place.change(name, what.kind(), HashSet::from([what])));
        }
    }
    let named = |name: &str| PartialObjectMeta::<Secret> {
        metadata: kube::core::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
        ..Default::default()
    };
    let told = |event| {
        let events = futures::stream::iter([Ok(event)]);
        watches.wake_on(events, "apps", Kind::Secrets, Wanted::Secret)
    };
    told(Event::Delete(named("a"))).await;
    assert_eq!(woken.try_recv().unwrap().1, "one");
    told(Event::Apply(named("b"))).await;
    assert_eq!(woken.try_recv().unwrap().1, "two");
    told(Event::Apply(named("c"))).await;
    assert!(woken.try_recv().is_err());
    told(Event::InitDone).await;
    let mut all = [woken.try_recv().unwrap().1, woken.try_recv().unwrap().1];
    all.sort();
    assert_eq!(all, ["one", "two"]);
    assert!(woken.try_recv().is_err());
}

#[tokio::test]
async fn a_watch_ends_with_the_last_who_wants_it() {
    let (watches, _woken, _asked) = watches();
    let (one, two) = (key("apps", "one"), key("apps", "two"));
    watches.want_secrets(&one, Some("shared".to_owned()));
    watches.want_secrets(&two, Some("shared".to_owned()));
    watches.want_config_maps(&two, ["map".to_owned()]);
    watches.want_secrets(&one, None);
    assert_eq!(running(&watches), 2);
    watches.want_secrets(&two, None);
    assert_eq!(running(&watches), 1);
    watches.forget(&two);
    watches.forget(&one);
    assert!(watches.lock().is_empty());
}
