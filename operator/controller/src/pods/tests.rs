//! With which rights what is known, against an API server that grants or refuses them.

use std::convert::Infallible;

use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;

const ALL: &str = "/api/v1/pods";
const APPS: &str = "/api/v1/namespaces/apps/pods";

/// What the API server allows, and what it was asked for.
#[derive(Clone, Default)]
struct Server {
    allowed: Arc<Mutex<Vec<&'static str>>>,
    asked: Arc<Mutex<Vec<String>>>,
    changes: Arc<Mutex<Vec<Value>>>,
    /// What every answer is, while there is a fault.
    fault: Arc<Mutex<Option<u16>>>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (server, path) = (server.clone(), request.uri().path().to_owned());
            let asks = |what| request.uri().query().is_some_and(|query| query.contains(what));
            let (watches, streams) = (asks("watch=true"), asks("sendInitialEvents=true"));
            server.asked.lock().unwrap().push(path.clone());
            async move {
                if !server.allowed.lock().unwrap().contains(&path.as_str()) {
                    let refusal = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
                        "reason": "Forbidden", "message": "pods is forbidden", "code": 403 });
                    return Ok::<_, Infallible>(answer(403, &refusal));
                }
                let fault = *server.fault.lock().unwrap();
                if let Some(code) = fault {
                    return Ok(broken(code, watches));
                }
                if streams {
                    let refusal = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
                        "reason": "Invalid", "message": "no streaming", "code": 422 });
                    return Ok(answer(422, &refusal));
                }
                if watches {
                    let changes = std::mem::take(&mut *server.changes.lock().unwrap());
                    while changes.is_empty() {
                        let fault = *server.fault.lock().unwrap();
                        if let Some(code) = fault {
                            return Ok(broken(code, true));
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    let lines: String = changes.iter().map(|change| format!("{change}\n")).collect();
                    return Ok(http::Response::new(Body::from(lines.into_bytes())));
                }
                let list = json!({ "apiVersion": "v1", "kind": "PodList",
                    "metadata": { "resourceVersion": "1" }, "items": [pod("web-1")] });
                Ok(answer(200, &list))
            }
        });
        Client::new(service, "default")
    }

    fn allow(&self, paths: &[&'static str]) {
        *self.allowed.lock().unwrap() = paths.to_vec();
    }

    fn was_asked(&self, path: &str) -> bool {
        self.asked.lock().unwrap().iter().any(|asked| asked == path)
    }
}

fn answer(code: u16, body: &Value) -> http::Response<Body> {
    http::Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}

/// A fault as lists and watches tell it; that a watch goes too far back comes as an event.
fn broken(code: u16, watches: bool) -> http::Response<Body> {
    let fault = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Fault",
        "message": "not now", "code": code });
    if watches && code == 410 {
        answer(200, &json!({ "type": "ERROR", "object": fault }))
    } else {
        answer(code, &fault)
    }
}

fn pod(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "apps", "resourceVersion": "1" },
        "spec": { "containers": [], "imagePullSecrets": [{ "name": "app" }] } })
}

fn key() -> Key {
    ("apps".to_owned(), "object".to_owned())
}

impl Seen {
    fn count(&self) -> Option<usize> {
        match self {
            Seen::Known(pods) => Some(pods.len()),
            Seen::Interrupted(_) | Seen::Listing | Seen::Denied => None,
        }
    }
}

type Woken = mpsc::UnboundedReceiver<Key>;

fn start(server: &Server) -> (Arc<Pods>, Woken) {
    start_in(server, false)
}

fn start_in(server: &Server, limited: bool) -> (Arc<Pods>, Woken) {
    let (wake, woken) = mpsc::unbounded_channel();
    let pods = Pods::new(server.client(), wake, Gauge::default(), limited);
    tokio::spawn(Arc::clone(&pods).run());
    (pods, woken)
}

async fn next(woken: &mut Woken) -> String {
    tokio::time::timeout(Duration::from_secs(30), woken.recv()).await.unwrap().unwrap().1
}

#[tokio::test]
async fn with_the_right_to_all_pods_one_watch_does() {
    let server = Server::default();
    server.allow(&[ALL]);
    let (pods, mut woken) = start(&server);
    assert_eq!(pods.consumers(&key(), "app").await.count(), Some(1));
    assert_eq!(pods.consumers(&key(), "other").await.count(), Some(0));
    assert!(!server.was_asked(APPS));
    assert!(woken.try_recv().is_err(), "who waited for the first list is not woken by it");
}

#[tokio::test]
async fn with_the_right_to_a_namespace_that_is_watched_and_the_others_are_unknown() {
    let server = Server::default();
    server.allow(&[APPS]);
    let (pods, _woken) = start(&server);
    assert_eq!(pods.consumers(&key(), "app").await.count(), Some(1));
    let elsewhere = ("elsewhere".to_owned(), "object".to_owned());
    assert_eq!(pods.consumers(&elsewhere, "app").await.count(), None, "unknown is not zero");
    pods.forget(&key());
    assert!(!pods.lock().namespaces.contains_key("apps"), "nobody is there any more");
}

#[tokio::test]
async fn limited_to_namespaces_all_pods_at_once_are_never_asked_for() {
    let server = Server::default();
    server.allow(&[ALL, APPS]);
    let (pods, _woken) = start_in(&server, true);
    assert_eq!(pods.consumers(&key(), "app").await.count(), Some(1));
    pods.forget(&key());
    tokio::time::sleep(2 * FIRST_WAIT).await;
    assert!(server.was_asked(APPS) && !server.was_asked(ALL));
}

#[tokio::test]
async fn a_right_that_is_granted_later_is_found_and_tells_whom_it_concerns() {
    let server = Server::default();
    let (pods, mut woken) = start(&server);
    assert_eq!(pods.consumers(&key(), "app").await.count(), None);
    server.allow(&[APPS]);
    assert_eq!(next(&mut woken).await, "object");
    assert_eq!(pods.consumers(&key(), "app").await.count(), Some(1));
    server.allow(&[ALL]);
    let settled = async {
        while !pods.lock().namespaces.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), settled).await.unwrap();
    assert_eq!(pods.consumers(&key(), "app").await.count(), Some(1));
}

#[tokio::test]
async fn many_changes_of_a_moment_wake_once() {
    let server = Server::default();
    server.allow(&[ALL]);
    let changes = (0..50).map(|n| json!({ "type": "ADDED", "object": pod(&format!("more-{n}")) }));
    server.changes.lock().unwrap().extend(changes);
    let (pods, mut woken) = start(&server);
    pods.consumers(&key(), "app").await.count().unwrap();
    assert_eq!(next(&mut woken).await, "object");
    assert_eq!(pods.consumers(&key(), "app").await.count(), Some(51));
    tokio::time::sleep(2 * GATHER).await;
    assert!(woken.try_recv().is_err(), "woken again without a change");
}

#[tokio::test]
async fn only_those_whose_secrets_a_pod_uses_are_woken() {
    let server = Server::default();
    server.allow(&[ALL]);
    server.changes.lock().unwrap().push(json!({ "type": "DELETED", "object": pod("web-1") }));
    let (pods, mut woken) = start(&server);
    let other = ("apps".to_owned(), "other".to_owned());
    let mine = key();
    let (one, two) = tokio::join!(pods.consumers(&other, "application"), pods.consumers(&mine, "app"));
    assert!(one.count().is_some() && two.count().is_some());
    assert_eq!(next(&mut woken).await, "object");
    tokio::time::sleep(2 * GATHER).await;
    assert!(woken.try_recv().is_err());
}

#[tokio::test]
async fn who_waited_too_long_for_the_first_list_is_woken_by_it() {
    let server = Server::default();
    server.allow(&[ALL]);
    let (wake, mut woken) = mpsc::unbounded_channel();
    let pods = Pods::new(server.client(), wake, Gauge::default(), false);
    assert!(matches!(pods.consumers(&key(), "app").await, Seen::Listing), "nothing is listed yet");
    tokio::spawn(Arc::clone(&pods).run());
    assert_eq!(next(&mut woken).await, "object");
    assert_eq!(pods.consumers(&key(), "app").await.count(), Some(1));
}

#[tokio::test]
async fn while_a_watch_is_broken_there_may_be_pods_that_nobody_saw() {
    futures::future::join_all([401, 410, 429, 500, 503].map(interrupted_by)).await;
}

async fn interrupted_by(code: u16) {
    let server = Server::default();
    server.allow(&[ALL]);
    let (pods, mut woken) = start(&server);
    assert_eq!(pods.consumers(&key(), "app").await.count(), Some(1));
    *server.fault.lock().unwrap() = Some(code);
    let interrupted = async {
        while !matches!(pods.consumers(&key(), "app").await, Seen::Interrupted(seen) if seen.len() == 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), interrupted).await.unwrap();
    assert_eq!(pods.interrupted.get(), 1, "{code}");
    assert!(woken.try_recv().is_err(), "what was told stands");
    // Who was told so is woken when pods are listed anew.
    *server.fault.lock().unwrap() = None;
    assert_eq!(next(&mut woken).await, "object");
    assert_eq!(pods.consumers(&key(), "app").await.count(), Some(1), "{code}");
    assert_eq!(pods.interrupted.get(), 0, "{code}");
}
