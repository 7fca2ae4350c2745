//! The ledger: secret generations of every EncryptedSecret that ever was, in ConfigMaps of the operator's namespace,
//! where neither a tenant nor the loss of a status reaches, a few for each namespace.
//!
//! An entry is committed before the Secret that bears its number is written. Entries are spread over shards; all that
//! waits for one shard goes out in one write, so that thousands of objects cost some hundred writes. Every write names
//! the resourceVersion it replaces: two operators never give out one number twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use touchseal_crds::names::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL};
use touchseal_plan::LedgerEntry;
use touchseal_plan::entry::SHRUNK;

use crate::secrets::Key;
use crate::words;

/// Beginning of the name of every ConfigMap of the ledger.
const PREFIX: &str = "touchseal-ledger-";
/// How many ConfigMaps hold the ledger of one namespace; a tenant can fill nobody's but its own. Part of the stored format:
/// it cannot change without moving entries.
const SHARDS: u8 = 4;
/// Most bytes of one ConfigMap's entries; Kubernetes takes 1 MiB of data.
const ROOM: usize = 1_000_000;
/// ConfigMaps of one page of a list; metadata only.
const PAGE: u32 = 500;
/// The one key in each ConfigMap's data.
const ENTRIES: &str = "entries.json";

/// Why the ledger did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another entry stands there than the one this commit was decided on.
    #[error("the ledger moved on meanwhile")]
    Stale,
    /// The shard could not be read or written.
    #[error(
        "ledger ConfigMap {name}: {problem}; check that the operator may get, create and update ConfigMaps in its namespace"
    )]
    Api {
        /// ConfigMap.
        name: String,
        /// What the API server said.
        problem: String,
    },
    /// What is stored is not a ledger.
    #[error(
        "ledger ConfigMap {name} holds no valid entries; restore it from a backup, its numbers must not be reused"
    )]
    Corrupt {
        /// ConfigMap.
        name: String,
    },
    /// The operator is ending.
    #[error("the operator is ending")]
    Closed,
}

/// Handle to the shards; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    api: Api<ConfigMap>,
    /// Tasks by ConfigMap; started on first use.
    shards: Arc<Mutex<HashMap<String, mpsc::Sender<Request>>>>,
}

enum Request {
    Get {
        id: String,
        fresh: bool,
        answer: oneshot::Sender<Result<Option<LedgerEntry>, LedgerError>>,
    },
    /// The ids of all entries, with whether their object has ended.
    List(oneshot::Sender<Result<Vec<(String, bool)>, LedgerError>>),
    Commit(Box<Commit>),
}

struct Commit {
    id: String,
    before: Option<LedgerEntry>,
    after: LedgerEntry,
    answer: oneshot::Sender<Result<(), LedgerError>>,
}

impl Ledger {
    /// The ledger in this namespace.
    pub fn new(client: &Client, namespace: &str) -> Ledger {
        Ledger { api: Api::namespaced(client.clone(), namespace), shards: Arc::default() }
    }

    /// The entry of one EncryptedSecret, as this process last saw it.
    ///
    /// # Errors
    /// The shard cannot be read.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<Option<LedgerEntry>, LedgerError> {
        self.read(namespace, name, false).await
    }

    /// The same, asked of the API server anew: for when something bears a higher number than was known.
    ///
    /// # Errors
    /// The shard cannot be read.
    pub async fn get_fresh(&self, namespace: &str, name: &str) -> Result<Option<LedgerEntry>, LedgerError> {
        self.read(namespace, name, true).await
    }

    async fn read(
        &self,
        namespace: &str,
        name: &str,
        fresh: bool,
    ) -> Result<Option<LedgerEntry>, LedgerError> {
        let id = id(namespace, name);
        let (answer, got) = oneshot::channel();
        self.send(namespace, name, Request::Get { id, fresh, answer }).await?;
        got.await.map_err(|_| LedgerError::Closed)?
    }

    /// Replaces `before` by `after`; returns once it is stored.
    ///
    /// # Errors
    /// [`LedgerError::Stale`] if `before` is not what is stored: observe again.
    pub async fn commit(
        &self,
        namespace: &str,
        name: &str,
        before: Option<LedgerEntry>,
        after: LedgerEntry,
    ) -> Result<(), LedgerError> {
        let id = id(namespace, name);
        let (answer, done) = oneshot::channel();
        let commit = Commit { id, before, after, answer };
        self.send(namespace, name, Request::Commit(Box::new(commit))).await?;
        done.await.map_err(|_| LedgerError::Closed)?
    }

    /// Finds the ConfigMaps of namespaces that this process was not asked about yet.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn discover(&self) -> Result<(), LedgerError> {
        let labels = format!("{MANAGED_BY_LABEL}={MANAGED_BY}");
        let mut page = ListParams::default().labels(&labels).limit(PAGE);
        loop {
            let list = self.api.list_metadata(&page).await.map_err(|error| LedgerError::Api {
                name: format!("{PREFIX}*"),
                problem: words::of(&error),
            })?;
            let names = list.items.iter().map(ResourceExt::name_any).filter(|name| name.starts_with(PREFIX));
            names.for_each(|name| drop(self.shard(name)));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    /// Notes at `now` which entries' objects are not `there` any more, and which are again; asked after the entry was seen.
    /// Where nobody knows (None) nothing is noted. Gives the entries of all that are not seen to be there.
    ///
    /// # Errors
    /// A shard cannot be read or written.
    pub async fn note_ends(
        &self,
        there: impl Fn(&Key) -> Option<bool>,
        now: &Time,
    ) -> Result<Vec<(Key, LedgerEntry)>, LedgerError> {
        let shards: Vec<_> = {
            let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
            shards.values().cloned().collect()
        };
        let mut missing = Vec::new();
        for shard in shards {
            let (answer, listed) = oneshot::channel();
            shard.send(Request::List(answer)).await.map_err(|_| LedgerError::Closed)?;
            for (id, ended) in listed.await.map_err(|_| LedgerError::Closed)?? {
                let Some((namespace, name)) = id.split_once('/') else { continue };
                let key = (namespace.to_owned(), name.to_owned());
                let is_there = there(&key);
                if is_there == Some(true) && !ended {
                    continue;
                }
                let Some(entry) = self.get(namespace, name).await? else { continue };
                let ended = match is_there {
                    Some(true) => None,
                    Some(false) => Some(entry.ended.clone().unwrap_or_else(|| now.clone())),
                    None => entry.ended.clone(),
                };
                let right = LedgerEntry { ended, ..entry.clone() };
                if right != entry {
                    self.commit(namespace, name, Some(entry), right.clone()).await?;
                }
                if is_there != Some(true) {
                    missing.push((key, right));
                }
            }
        }
        Ok(missing)
    }

    async fn send(&self, namespace: &str, name: &str, request: Request) -> Result<(), LedgerError> {
        let sender = self.shard(shard(namespace, name));
        sender.send(request).await.map_err(|_| LedgerError::Closed)
    }

    /// The task of a ConfigMap.
    fn shard(&self, name: String) -> mpsc::Sender<Request> {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.entry(name.clone()).or_insert_with(|| self.start(name)).clone()
    }

    fn start(&self, name: String) -> mpsc::Sender<Request> {
        let (sender, requests) = mpsc::channel(1024);
        tokio::spawn(Shard { api: self.api.clone(), name, loaded: None }.run(requests));
        sender
    }
}

/// ConfigMap of an entry.
fn shard(namespace: &str, name: &str) -> String {
    format!("{PREFIX}{namespace}-{}", Sha256::digest(name.as_bytes())[0] % SHARDS)
}

/// Key of an entry; neither part can hold a slash.
fn id(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// Each as it is stored, checked to be an entry: as structures they would take five times as much memory.
type Entries = BTreeMap<String, Box<RawValue>>;

struct Shard {
    api: Api<ConfigMap>,
    name: String,
    /// Entries as stored, and the ConfigMap's resourceVersion (None: it does not exist yet).
    loaded: Option<(Entries, Option<String>)>,
}

impl Shard {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut batch = Vec::new();
        while requests.recv_many(&mut batch, 4096).await > 0 {
            if batch.iter().any(|request| matches!(request, Request::Get { fresh: true, .. })) {
                self.loaded = None;
            }
            if let Err(error) = self.load().await {
                batch.drain(..).for_each(|request| request.refuse(&error));
                continue;
            }
            let mut commits = Vec::new();
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
            self.store(commits).await;
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
                let text = map.data.as_ref().and_then(|d| d.get(ENTRIES)).map_or("{}", String::as_str);
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
            let Commit { id, before, after, answer } = commit;
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
        let written = match version {
            Some(_) => self.api.replace(&self.name, &params, &map).await,
            None => self.api.create(&params, &map).await,
        };
        match written {
            Ok(stored) => {
                *version = stored.metadata.resource_version;
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

impl Request {
    fn refuse(self, error: &LedgerError) {
        match self {
            Request::Get { answer, .. } => {
                let _ = answer.send(Err(error.clone()));
            }
            Request::List(answer) => {
                let _ = answer.send(Err(error.clone()));
            }
            Request::Commit(commit) => {
                let _ = commit.answer.send(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_have_no_room_forget_their_oldest_history() {
        let stored = r#"{"generation":9,"since":1763838000,"key":{"keyring":"0123456789abcdef0123456789abcdef","generation":1},
            "keys":{"password":{"d":"AbCdEfGhIjKlMnOpQrStUv","s":1763838000}},"source":"abc","history":[]}"#;
        let mut entry: LedgerEntry = serde_json::from_str(stored).unwrap();
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
