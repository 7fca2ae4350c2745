//! Terms and the fence around writes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const LONG: Duration = Duration::from_secs(600);
/// Long enough to get to the next line on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

fn soon(span: Duration) -> Moment {
    Moment::now().after(span)
}

/// Counts requests; a write never gets an answer where `silent`.
fn fence(
    leadership: &Leadership,
    term: Term,
    silent: bool,
) -> (impl FnMut(Method) -> Answer, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let inner = tower::service_fn(move |_: Request| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            if silent {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(7)
        }
    });
    let mut fence = Fence { inner, leadership: leadership.clone(), term };
    let ask = move |method: Method| -> Answer {
        let request = http::Request::builder().method(method).body(Body::empty()).unwrap();
        fence.call(request)
    };
    (ask, sent)
}

type Answer = Pin<Box<dyn Future<Output = Result<i32, BoxError>> + Send>>;

#[tokio::test]
async fn a_write_passes_in_its_own_term_only() {
    let leadership = Leadership::default();
    leadership.hold(soon(LONG));
    let first = leadership.gained().await;
    let (mut ask, sent) = fence(&leadership, first, false);
    assert_eq!(ask(Method::PATCH).await.unwrap(), 7);

    leadership.lose();
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let error = ask(method).await.unwrap_err();
        assert_eq!(error.to_string(), "this replica does not lead any more");
    }
    leadership.hold(soon(LONG));
    assert_ne!(leadership.gained().await, first);
    assert!(ask(Method::PUT).await.is_err(), "decided in another term");
    assert_eq!(sent.load(Ordering::SeqCst), 1);

    assert_eq!(ask(Method::GET).await.unwrap(), 7, "everybody may read");
}

#[tokio::test]
async fn a_write_that_was_made_ready_is_not_sent_after_the_time() {
    let leadership = Leadership::default();
    leadership.hold(soon(SHORT));
    let term = leadership.gained().await;
    let (mut ask, sent) = fence(&leadership, term, false);
    let write = ask(Method::PATCH);
    // Nobody looks at the clock meanwhile, as in a process that was stopped.
    std::thread::sleep(SHORT);
    assert!(write.await.is_err());
    assert_eq!(sent.load(Ordering::SeqCst), 0);
    assert!(!leadership.leads());
}

#[tokio::test]
async fn a_write_without_an_answer_is_given_up_when_the_time_is_over_and_not_before() {
    let leadership = Leadership::default();
    leadership.hold(soon(SHORT));
    let term = leadership.gained().await;
    let (mut ask, sent) = fence(&leadership, term, true);
    let write = tokio::spawn(ask(Method::PATCH));
    tokio::task::yield_now().await;
    leadership.hold(soon(LONG));
    tokio::time::sleep(SHORT * 3 / 2).await;
    assert!(!write.is_finished(), "the lease was renewed meanwhile");
    leadership.lose();
    assert!(write.await.unwrap().is_err());
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_term_goes_on_while_it_is_renewed_in_time_and_another_begins_after_a_gap() {
    let leadership = Leadership::default();
    leadership.hold(Moment::now());
    assert!(!leadership.leads(), "an answer that took too long is worth nothing");
    leadership.hold(soon(LONG));
    let first = leadership.gained().await;
    leadership.hold(soon(LONG));
    assert_eq!(leadership.gained().await, first);

    leadership.hold(soon(SHORT));
    leadership.lost(first).await;
    assert!(!leadership.leads());
    leadership.hold(soon(LONG));
    assert_ne!(leadership.gained().await, first);
    leadership.lost(first).await;
}
