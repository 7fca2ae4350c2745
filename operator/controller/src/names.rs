//! Whether a Secret of a name may be there: asked for one by one while few ask, and by one list of names while many do in
//! one namespace, as when an operator begins and thousands of Secrets are to be made. A Secret is made by a create, so who is
//! told of an absence that is over by then is refused, and looks again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::oneshot;

/// So many ask for a name each, at the same time, before the next ones are answered by a list.
const SINGLY: usize = 2;
/// Names of one list. Where a namespace has more, everybody asks for a name: lists would cost more than they save.
const PAGE: u32 = 500;

/// How long a list answers those who ask after it.
const KEEP: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It was not there when its namespace was listed.
    Absent,
    /// It may be there: get it.
    Get,
}

/// Who asks in each namespace; cheap to clone.
#[derive(Clone)]
pub struct Names {
    client: Client,
    state: Arc<Mutex<HashMap<String, Place>>>,
}

/// One namespace, while anybody asks there.
#[derive(Default)]
struct Place {
    /// How many are getting theirs.
    singly: usize,
    listing: bool,
    waiting: Vec<(String, oneshot::Sender<Look>)>,
    /// What the last list had, and was made since.
    names: Option<HashSet<String>>,
}

/// Somebody gets theirs, until dropped.
pub struct Turn {
    names: Names,
    namespace: String,
}

impl Names {
    /// Nobody asks yet.
    pub fn new(client: Client) -> Names {
        Names { client, state: Arc::default() }
    }

    /// What to do to see the Secret of a name. With [`Look::Get`] comes a turn to be held meanwhile.
    pub async fn look(&self, namespace: &str, name: &str) -> (Look, Option<Turn>) {
        let answer = {
            let mut state = self.lock();
            let place = state.entry(namespace.to_owned()).or_default();
            if let Some(names) = &place.names {
                return (if names.contains(name) { Look::Get } else { Look::Absent }, None);
            }
            if place.singly < SINGLY && !place.listing {
                place.singly += 1;
                drop(state);
                return (Look::Get, Some(self.turn(namespace)));
            }
            let (sender, answer) = oneshot::channel();
            place.waiting.push((name.to_owned(), sender));
            answer
        };
        // A list that came to nothing leaves everybody to themselves.
        (answer.await.unwrap_or(Look::Get), None)
    }

    /// Somebody is about to make this Secret: whatever comes of it, it is asked for the next time.
    pub fn made(&self, namespace: &str, name: &str) {
        if let Some(names) = self.lock().get_mut(namespace).and_then(|place| place.names.as_mut()) {
            names.insert(name.to_owned());
        }
    }

    fn turn(&self, namespace: &str) -> Turn {
        Turn { names: self.clone(), namespace: namespace.to_owned() }
    }

    /// Answers those who wait by one list, and for a while those who come later.
    async fn list(self, namespace: String) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let list = api.list_metadata(&ListParams::default().limit(PAGE)).await;
        let complete = list.ok().filter(|list| list.metadata.continue_.as_deref().unwrap_or("").is_empty());
        let there: Option<HashSet<String>> =
            complete.map(|list| list.items.iter().map(|secret| secret.name_any()).collect());
        let is_complete = there.is_some();
        self.take_in(&namespace, there);
        if is_complete {
            tokio::time::sleep(KEEP).await;
        }
        self.forget(&namespace);
    }

    /// Answers those who wait for a list, and keeps it.
    fn take_in(&self, namespace: &str, names: Option<HashSet<String>>) {
        let mut state = self.lock();
        let Some(place) = state.get_mut(namespace) else { return };
        for (name, answer) in place.waiting.drain(..) {
            let absent = names.as_ref().is_some_and(|names| !names.contains(&name));
            // Who asked may have gone.
            let _ = answer.send(if absent { Look::Absent } else { Look::Get });
        }
        place.names = names;
    }

    /// The list is too old by now. Whoever came in vain meanwhile is left to himself.
    fn forget(&self, namespace: &str) {
        let mut state = self.lock();
        let Some(place) = state.get_mut(namespace) else { return };
        (place.names, place.listing) = (None, false);
        place.waiting.clear();
        if place.singly == 0 {
            state.remove(namespace);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.names.lock();
        let Some(place) = state.get_mut(&self.namespace) else { return };
        place.singly = place.singly.saturating_sub(1);
        if !place.listing && !place.waiting.is_empty() {
            place.listing = true;
            tokio::spawn(self.names.clone().list(self.namespace.clone()));
        } else if place.singly == 0 && !place.listing {
            state.remove(&self.namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::future::join_all;
    use kube::client::Body;

    use super::*;

    type Asked = Arc<Mutex<Vec<String>>>;

    /// An API server with these Secrets; `more` says that there are others.
    fn names(secrets: &[&str], more: bool) -> (Names, Asked) {
        let items: Vec<_> =
            secrets.iter().map(|name| serde_json::json!({ "metadata": { "name": name } })).collect();
        let token = if more { "next" } else { "" };
        let list = serde_json::json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": { "resourceVersion": "1", "continue": token }, "items": items,
        });
        let asked = Asked::default();
        let note = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            note.lock().unwrap().push(request.uri().to_string());
            let answer = http::Response::new(Body::from(list.to_string().into_bytes()));
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        (Names::new(Client::new(service, "default")), asked)
    }

    async fn all(names: &Names, asked: &[&str]) -> Vec<Look> {
        let looks = asked.iter().map(|name| async {
            let (look, turn) = names.look("apps", name).await;
            tokio::task::yield_now().await;
            drop(turn);
            look
        });
        join_all(looks).await
    }

    #[tokio::test(start_paused = true)]
    async fn few_ask_for_a_name_and_many_are_answered_by_one_list() {
        let (names, asked) = names(&["there"], false);
        assert_eq!(all(&names, &["a"]).await, [Look::Get]);
        assert_eq!(all(&names, &["a", "b"]).await, [Look::Get; 2]);
        assert!(asked.lock().unwrap().is_empty());
        let looks = all(&names, &["a", "b", "c", "there", "d"]).await;
        assert_eq!(looks, [Look::Get, Look::Get, Look::Absent, Look::Get, Look::Absent]);
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(
            asked[0].contains("/namespaces/apps/secrets?") && asked[0].contains("limit=500"),
            "{asked:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_answers_for_a_while_but_not_for_what_is_made_meanwhile() {
        let (names, asked) = names(&["there"], false);
        all(&names, &["a", "b", "c"]).await;
        names.made("apps", "a");
        assert_eq!(all(&names, &["a", "b", "there"]).await, [Look::Get, Look::Absent, Look::Get]);
        assert_eq!(asked.lock().unwrap().len(), 1);
        // Nothing is kept of a namespace where nobody asks.
        tokio::time::sleep(KEEP + Duration::from_secs(1)).await;
        assert!(names.lock().is_empty());
        assert_eq!(all(&names, &["b"]).await, [Look::Get]);
    }

    #[tokio::test]
    async fn where_there_are_more_than_a_list_holds_everybody_gets_theirs() {
        let (names, _asked) = names(&["there"], true);
        assert_eq!(all(&names, &["a", "b", "c", "d"]).await, [Look::Get; 4]);
    }
}
