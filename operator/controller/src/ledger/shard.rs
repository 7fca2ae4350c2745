//! One ConfigMap of the ledger: who wants to read it or to write it asks its task, which writes for many at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use kube::core::Request as Write;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use touchseal_crds::names::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL};
use touchseal_plan::LedgerEntry;
use touchseal_plan::entry::SHRUNK;

use super::turns::Turns;
use super::{Commit, LedgerError, Request};
use crate::{client, words};

/// Most bytes of one ConfigMap's entries; Kubernetes takes 1 MiB of data.
const ROOM: usize = 1_000_000;
/// The one key in each ConfigMap's data.
const ENTRIES: &str = "entries.json";
/// Most requests that are taken at once.
const MOST: usize = 4096;
/// How long a commit waits for others that may be coming.
const LINGER: Duration = Duration::from_millis(20);

/// Each as it is stored, checked to be an entry: as structures they would take five times as much memory.
type Entries = BTreeMap<String, Box<RawValue>>;

/// One of them, and what is to be done with it.
pub struct Shard {
    api: Api<ConfigMap>,
    name: String,
    turns: Arc<Turns>,
    /// Entries as stored, and the ConfigMap's resourceVersion (None: it does not exist yet).
    loaded: Option<(Entries, Option<String>)>,
}

impl Shard {
    /// Not read yet.
    pub fn new(api: Api<ConfigMap>, name: String, turns: Arc<Turns>) -> Shard {
        Shard { api, name, turns, loaded: None }
    }

    /// Does what is asked for as long as anybody may ask. Until somebody does, it is read `ahead` in its turn.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Request>, ahead: Option<Arc<Semaphore>>) {
        let mut batch = Vec::new();
        if let Some(ahead) = ahead {
            tokio::select! {
                biased;
                _ = requests.recv_many(&mut batch, MOST) => {}
                // Why it could not be read is told to those who ask; it is tried again for them.
                Ok(_turn) = ahead.acquire() => drop(self.load().await),
            }
        }
        while !batch.is_empty() || requests.recv_many(&mut batch, MOST).await > 0 {
            let mut commits = Vec::new();
            self.answer(&mut batch, &mut commits).await;
            if commits.is_empty() {
                continue;
            }
            let deadline = Instant::now() + LINGER;
            while commits.iter().filter(|commit| commit.turn.is_some()).count() < self.turns.count() {
                tokio::select! {
                    received = requests.recv_many(&mut batch, MOST) => {
                        if received == 0 {
                            break;
                        }
                        self.answer(&mut batch, &mut commits).await;
                    }
                    () = self.turns.fewer() => {}
                    () = tokio::time::sleep_until(deadline) => break,
                }
            }
            self.store(commits).await;
        }
    }

    /// Answers questions; what is to be stored comes to `commits`.
    async fn answer(&mut self, batch: &mut Vec<Request>, commits: &mut Vec<Commit>) {
        if batch.iter().any(|request| matches!(request, Request::Get { fresh: true, .. })) {
            self.loaded = None;
        }
        if let Err(error) = self.load().await {
            batch.drain(..).for_each(|request| request.refuse(&error));
            return;
        }
        for request in batch.drain(..) {
            match request {
                Request::Get { id, answer, .. } => {
                    let _ = answer.send(self.entry(&id));
                }
                Request::List(answer) => {
                    let _ = answer.send(Ok(self.ids()));
                }
                Request::Commit(commit) => commits.push(*commit),
            }
        }
    }

    fn entry(&self, id: &str) -> Result<Option<LedgerEntry>, LedgerError> {
        let stored = self.loaded.as_ref().and_then(|(entries, _)| entries.get(id));
        stored.map(|entry| read(entry)).transpose().map_err(|_| self.corrupt())
    }

    fn ids(&self) -> Vec<(String, bool)> {
        #[derive(Deserialize)]
        struct End {
            ended: Option<IgnoredAny>,
        }
        let entries = self.loaded.iter().flat_map(|(entries, _)| entries);
        let ended = |entry: &RawValue| {
            serde_json::from_str(entry.get()).is_ok_and(|End { ended }: End| ended.is_some())
        };
        entries.map(|(id, entry)| (id.clone(), ended(entry))).collect()
    }

    async fn load(&mut self) -> Result<(), LedgerError> {
        if self.loaded.is_some() {
            return Ok(());
        }
        let stored = self.api.get_opt(&self.name).await.map_err(|e| self.api_error(&e))?;
        self.loaded = Some(match stored {
            None => (Entries::new(), None),
            Some(map) => {
                let text = map.data.as_ref().and_then(|d| d.get(ENTRIES)).ok_or_else(|| self.corrupt())?;
                let entries: Entries = serde_json::from_str(text).map_err(|_| self.corrupt())?;
                let all = entries.values().try_for_each(|entry| read(entry).map(drop));
                all.map_err(|_| self.corrupt())?;
                (entries, map.metadata.resource_version)
            }
        });
        Ok(())
    }

    /// One write for all commits that were decided on what is stored.
    async fn store(&mut self, commits: Vec<Commit>) {
        let mut changes: HashMap<String, LedgerEntry> = HashMap::new();
        let mut accepted = Vec::new();
        for commit in commits {
            let Commit { id, before, after, answer, turn } = commit;
            drop(turn);
            let stands = changes.get(&id).cloned().map_or_else(|| self.entry(&id), |entry| Ok(Some(entry)));
            if stands.is_ok_and(|stands| stands == before) {
                changes.insert(id, after);
                accepted.push(answer);
            } else {
                let _ = answer.send(Err(LedgerError::Stale));
            }
        }
        if accepted.is_empty() {
            return;
        }
        let result = self.write(changes).await;
        if result.is_err() {
            self.loaded = None; // whatever happened, read again before the next decision
        }
        for answer in accepted {
            let _ = answer.send(result.clone());
        }
    }

    async fn write(&mut self, changes: HashMap<String, LedgerEntry>) -> Result<(), LedgerError> {
        let corrupt = self.corrupt();
        let Some((entries, version)) = &mut self.loaded else { return Err(LedgerError::Stale) };
        let changes = changes.into_iter().map(|(id, entry)| Ok((id, stored(&entry)?)));
        let changes: Result<Vec<_>, serde_json::Error> = changes.collect();
        let text = changes.and_then(|changes| {
            entries.extend(changes);
            text(entries)
        });
        let text = text.map_err(|_| corrupt)?;
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
                resource_version: version.clone(),
                ..ObjectMeta::default()
            },
            data: Some([(ENTRIES.to_owned(), text)].into()),
            ..ConfigMap::default()
        };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let body = match serde_json::to_vec(&map) {
            Ok(body) => body,
            Err(error) => return Err(self.api_error(&kube::Error::SerdeError(error))),
        };
        let request = Write::new(self.api.resource_url());
        let write = match version {
            Some(_) => request.replace(&self.name, &params, body),
            None => request.create(&params, body),
        };
        let written = client::stored_version(&self.api.clone().into_client(), write).await;
        match written {
            Ok(stored) => {
                *version = Some(stored);
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Err(LedgerError::Stale),
            Err(error) => Err(self.api_error(&error)),
        }
    }

    fn corrupt(&self) -> LedgerError {
        LedgerError::Corrupt { name: self.name.clone() }
    }

    fn api_error(&self, error: &kube::Error) -> LedgerError {
        LedgerError::Api { name: self.name.clone(), problem: words::of(error) }
    }
}

fn read(entry: &RawValue) -> Result<LedgerEntry, serde_json::Error> {
    serde_json::from_str(entry.get())
}

fn stored(entry: &LedgerEntry) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::value::to_raw_value(entry)
}

/// The entries as they are stored. Where they have no room they all forget what is oldest: numbers must be given out, and
/// history is bounded anyway. Who decided on an entry as it was is told that it moved on.
fn text(entries: &mut Entries) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(entries)?;
    for step in 0..SHRUNK.len() {
        if text.len() <= ROOM {
            break;
        }
        for entry in entries.values_mut() {
            let mut smaller = read(entry)?;
            smaller.shrink(step);
            *entry = stored(&smaller)?;
        }
        text = serde_json::to_string(entries)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use kube::client::Body;
    use kube::core::Status;

    use super::*;
    use crate::ledger::Ledger;

    const ENTRY: &str = r#"{"generation":9,"since":1763838000,"key":{"keyring":"0123456789abcdef0123456789abcdef","generation":1},
        "keys":{"password":{"d":"AbCdEfGhIjKlMnOpQrStUv","s":1763838000}},"source":"abc","history":[]}"#;

    type Writes = Arc<Mutex<Vec<usize>>>;

    /// A ledger whose API server notes how many entries each write had.
    fn ledger() -> (Ledger, Writes) {
        let writes = Writes::default();
        let note = Arc::clone(&writes);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let note = Arc::clone(&note);
            async move {
                if request.method() == http::Method::GET {
                    let missing =
                        serde_json::to_vec(&Status::failure("none", "NotFound").with_code(404)).unwrap();
                    return Ok::<_, Infallible>(
                        http::Response::builder().status(404).body(Body::from(missing)).unwrap(),
                    );
                }
                let body = request.into_body().collect_bytes().await.unwrap();
                let mut map: ConfigMap = serde_json::from_slice(&body).unwrap();
                let entries: Entries = serde_json::from_str(&map.data.as_ref().unwrap()[ENTRIES]).unwrap();
                let mut writes = note.lock().unwrap();
                writes.push(entries.len());
                map.metadata.resource_version = Some(writes.len().to_string());
                Ok(http::Response::new(Body::from(serde_json::to_vec(&map).unwrap())))
            }
        });
        (Ledger::new(&kube::Client::new(service, "default"), "system"), writes)
    }

    fn entry() -> LedgerEntry {
        serde_json::from_str(ENTRY).unwrap()
    }

    /// Names whose entries lie in one ConfigMap.
    fn names(count: usize) -> Vec<String> {
        let all = (0..).map(|number| format!("app-{number}"));
        all.filter(|name| crate::ledger::number(name) == 0).take(count).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_coming_goes_out_in_one_write_and_what_is_alone_waits_for_nobody() {
        let (ledger, writes) = ledger();
        let names = names(5);
        let mut turns: Vec<_> = names.iter().map(|name| Some(ledger.turn("apps", name))).collect();
        let commit = |at: usize, turn| ledger.commit("apps", &names[at], None, entry(), turn);
        let began = Instant::now();
        let (first, second, third) = (turns[0].take(), turns[1].take(), turns[2].take());
        let late = async {
            tokio::time::sleep(LINGER / 2).await;
            // Two of them come to no commit.
            drop((turns[3].take(), turns[4].take()));
            commit(2, third).await
        };
        let (one, two, three) = tokio::join!(commit(0, first), commit(1, second), late);
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert_eq!(*writes.lock().unwrap(), [3]);
        assert_eq!(began.elapsed(), LINGER / 2);

        let turn = ledger.turn("apps", &names[3]);
        commit(3, Some(turn)).await.unwrap();
        assert_eq!(*writes.lock().unwrap(), [3, 4]);
        assert_eq!(began.elapsed(), LINGER / 2, "nobody else was coming");

        // Who does not come is not waited for long.
        let (mine, _somebodys) = (ledger.turn("apps", &names[4]), ledger.turn("apps", &names[0]));
        commit(4, Some(mine)).await.unwrap();
        assert_eq!(began.elapsed(), LINGER / 2 + LINGER);
    }

    #[test]
    fn entries_that_have_no_room_forget_their_oldest_history() {
        let mut entry = entry();
        let newest = entry.history().remove(0);
        entry.history =
            (0..10).map(|n| touchseal_plan::generation::Past { number: 9 - n, ..newest.clone() }).collect();
        let entries = |count: usize| -> Entries {
            (0..count).map(|number| (format!("apps/app-{number}"), super::stored(&entry).unwrap())).collect()
        };
        let mut few = entries(1000);
        let read =
            |entries: &Entries| -> Vec<_> { entries.values().map(|e| super::read(e).unwrap()).collect() };
        assert!(text(&mut few).unwrap().len() <= ROOM);
        assert_eq!(read(&few), read(&entries(1000)), "nothing is forgotten while there is room");
        let mut many = entries(3000);
        let stored = text(&mut many).unwrap();
        assert!(stored.len() <= ROOM, "{}", stored.len());
        let again = serde_json::from_str::<Entries>(&stored).unwrap();
        assert_eq!(read(&again), read(&many), "what is held is what is stored");
        assert!(read(&many).iter().all(|entry| entry.generation == 9 && entry.history[0].number == 9));
    }
}
