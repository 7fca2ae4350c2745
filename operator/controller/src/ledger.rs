//! The ledger: secret generations of every EncryptedSecret that ever was, in ConfigMaps of the operator's namespace,
//! where neither a tenant nor the loss of a status reaches, a few for each namespace.
//!
//! An entry is committed before the Secret that bears its number is written. Entries are spread over shards; all that
//! comes to one shard at about the same time goes out in one write (`turns`), so that thousands of objects cost some hundred
//! writes. Every write names the resourceVersion it replaces: two operators never give out one number twice.

mod shard;
mod turns;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, mpsc, oneshot};
use touchseal_crds::names::{MANAGED_BY, MANAGED_BY_LABEL};
use touchseal_plan::LedgerEntry;

use crate::secrets::Key;
use crate::words;
use shard::Shard;
use turns::Turns;

pub use turns::Turn;

/// Beginning of the name of every ConfigMap of the ledger.
const PREFIX: &str = "touchseal-ledger-";
/// How many ConfigMaps hold the ledger of one namespace; a tenant can fill nobody's but its own. Part of the stored format:
/// it cannot change without moving entries.
const SHARDS: u8 = 4;
/// ConfigMaps that are read at a time before anybody has asked for their entries.
const AHEAD: usize = 16;
/// ConfigMaps of one page of a list; metadata only.
const PAGE: u32 = 500;

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
    shards: Arc<Mutex<HashMap<String, Task>>>,
    ahead: Arc<Semaphore>,
}

/// A ConfigMap's task.
#[derive(Clone)]
struct Task {
    requests: mpsc::Sender<Request>,
    turns: Arc<Turns>,
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
    /// Of whoever asks, if he had one: he waits for the answer and brings nothing else.
    turn: Option<Turn>,
    answer: oneshot::Sender<Result<(), LedgerError>>,
}

impl Ledger {
    /// The ledger in this namespace.
    pub fn new(client: &Client, namespace: &str) -> Ledger {
        let (api, ahead) = (Api::namespaced(client.clone(), namespace), Arc::new(Semaphore::new(AHEAD)));
        Ledger { api, shards: Arc::default(), ahead }
    }

    /// The entry of one EncryptedSecret will be asked for: what holds it is read meanwhile, a few at a time.
    pub fn expect(&self, namespace: &str, name: &str) {
        let name = shard(namespace, name);
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.entry(name.clone()).or_insert_with(|| self.start(name, Some(Arc::clone(&self.ahead))));
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

    /// To be had before an entry is asked for on which a commit may be decided, and given to that commit, or dropped once there
    /// is none: commits wait for one another a moment.
    pub fn turn(&self, namespace: &str, name: &str) -> Turn {
        self.task(shard(namespace, name)).turns.begin()
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
        turn: Option<Turn>,
    ) -> Result<(), LedgerError> {
        let id = id(namespace, name);
        let (answer, done) = oneshot::channel();
        let commit = Commit { id, before, after, turn, answer };
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
            names.for_each(|name| drop(self.task(name)));
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
            shard.requests.send(Request::List(answer)).await.map_err(|_| LedgerError::Closed)?;
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
                    self.commit(namespace, name, Some(entry), right.clone(), None).await?;
                }
                if is_there != Some(true) {
                    missing.push((key, right));
                }
            }
        }
        Ok(missing)
    }

    async fn send(&self, namespace: &str, name: &str, request: Request) -> Result<(), LedgerError> {
        let task = self.task(shard(namespace, name));
        task.requests.send(request).await.map_err(|_| LedgerError::Closed)
    }

    /// The task of a ConfigMap.
    fn task(&self, name: String) -> Task {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.entry(name.clone()).or_insert_with(|| self.start(name, None)).clone()
    }

    fn start(&self, name: String, ahead: Option<Arc<Semaphore>>) -> Task {
        let (sender, requests) = mpsc::channel(1024);
        let turns = Arc::<Turns>::default();
        tokio::spawn(Shard::new(self.api.clone(), name, Arc::clone(&turns)).run(requests, ahead));
        Task { requests: sender, turns }
    }
}

/// ConfigMap of an entry.
fn shard(namespace: &str, name: &str) -> String {
    format!("{PREFIX}{namespace}-{}", number(name))
}

/// Which of its namespace's ConfigMaps holds an entry: worked on together, their commits go out together.
pub fn number(name: &str) -> u8 {
    Sha256::digest(name.as_bytes())[0] % SHARDS
}

/// Key of an entry; neither part can hold a slash.
fn id(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
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
