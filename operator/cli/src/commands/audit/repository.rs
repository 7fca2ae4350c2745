//! A git repository as its objects: every one that is there is read once, whether a branch still leads to it or not.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use gix::objs::{CommitRef, Find as _, Kind};
use gix::odb::store::iter::Ordering as Order;
use gix::prelude::Header as _;
use gix::{ObjectId, ThreadSafeRepository};

use super::needles::Needles;
use crate::documents::Progress;
use crate::error::{Exit, Explain};

/// Larger blobs are named and not looked into; code hosts do not take such.
const MAX_BYTES: u64 = 128 << 20;
/// Of blobs larger than this one at a time is in memory.
const LARGE: u64 = 4 << 20;
/// Bytes each thread keeps of objects that others are deltas of.
const KEPT: usize = 48 << 20;
/// Objects a thread takes at a time; neighbours in a pack are deltas of each other.
const BATCH: usize = 64;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a repository could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    #[error("open the git repository of {}", .0.display())]
    Open(PathBuf, #[source] Cause),
    #[error("the history in {} is not whole: it is a {missing}", .path.display())]
    NotWhole { path: PathBuf, missing: Missing },
    #[error("list the objects of {}", .0.display())]
    List(PathBuf, #[source] Cause),
    #[error("read the {what} of {}", .path.display())]
    Read { path: PathBuf, what: &'static str, source: Cause },
    #[error("look through the history: a thread ended early")]
    Thread,
}

/// What a clone lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Commits,
    Objects,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Commits => "shallow clone",
            Self::Objects => "partial clone",
        })
    }
}

impl Explain for RepositoryError {
    fn hint(&self) -> String {
        match self {
            Self::Open(..) => "name its folder with --repository".to_owned(),
            Self::NotWhole { missing: Missing::Commits, .. } => {
                "get all of it with git fetch --unshallow, or look at what is there with --incomplete"
                    .to_owned()
            }
            Self::NotWhole { missing: Missing::Objects, .. } => {
                "audit a clone made without --filter, or look at what is there with --incomplete".to_owned()
            }
            Self::List(..) | Self::Read { .. } => "check the repository with git fsck".to_owned(),
            Self::Thread => "this is a bug in touchseal: please report it".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NotWhole { .. } => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

/// An opened repository.
pub struct Repository {
    shared: ThreadSafeRepository,
    /// Where its objects and references are.
    pub path: PathBuf,
}

/// A text that stands in an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    pub object: ObjectId,
    /// By its place in [`Needles`].
    pub text: u32,
    /// From 1.
    pub line: usize,
}

/// A commit, as far as its place in the history goes.
#[derive(Clone, Debug)]
pub struct Commit {
    pub id: ObjectId,
    pub tree: ObjectId,
    pub parents: Vec<ObjectId>,
    /// Seconds since 1970, by its committer.
    pub time: i64,
}

/// What was found in all objects.
#[derive(Default)]
pub struct Scanned {
    pub objects: usize,
    pub hits: Vec<Hit>,
    pub commits: Vec<Commit>,
    /// Too large to be looked into.
    pub large: Vec<ObjectId>,
    /// Damaged.
    pub unreadable: Vec<ObjectId>,
    /// Pointers of git LFS: what they point to is not in the repository.
    pub pointers: usize,
    /// Lists of submodules.
    pub submodules: usize,
}

impl Repository {
    /// Opens the repository that a folder is in. Of its settings only those in it count.
    pub fn open(folder: &Path) -> Result<Repository, RepositoryError> {
        let options = || gix::open::Options::isolated();
        let trust = gix::sec::trust::Mapping { full: options(), reduced: options() };
        let shared =
            ThreadSafeRepository::discover_opts(folder, gix::discover::upwards::Options::default(), trust)
                .map_err(|error| RepositoryError::Open(folder.to_owned(), error.into()))?;
        let path = shared.to_thread_local().common_dir().to_owned();
        Ok(Repository { shared, path })
    }

    /// A handle for one thread. Objects are read as they are, also where others are to be shown in their place.
    pub fn local(&self) -> gix::Repository {
        let mut local = self.shared.to_thread_local();
        local.objects.ignore_replacements = true;
        local.objects.set_pack_cache(|| Box::new(gix::odb::pack::cache::lru::MemoryCappedHashmap::new(KEPT)));
        local
    }

    /// What this clone lacks of the history, if it says so.
    pub fn missing(&self) -> Result<Option<Missing>, RepositoryError> {
        let read =
            |error: Cause| RepositoryError::Read { path: self.path.clone(), what: "settings", source: error };
        if self.shared.to_thread_local().is_shallow().map_err(|error| read(error.into()))? {
            return Ok(Some(Missing::Commits));
        }
        let packs = std::fs::read_dir(self.path.join("objects/pack")).into_iter().flatten();
        let mut packs = packs.flatten().map(|entry| entry.path());
        let promised = packs.any(|path| path.extension().is_some_and(|ending| ending == "promisor"));
        Ok(promised.then_some(Missing::Objects))
    }

    /// Looks through every object, by all processors.
    pub fn scan(&self, needles: &Needles) -> Result<Scanned, RepositoryError> {
        let ids = self.ids()?;
        let (next, done, one_large) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(()));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut all = Scanned { objects: ids.len(), ..Scanned::default() };
        std::thread::scope(|scope| {
            let (results, ended) = mpsc::channel();
            for _ in 0..threads {
                let (results, ids, next, done, one_large) = (results.clone(), &ids, &next, &done, &one_large);
                scope.spawn(move || {
                    let local = self.local();
                    let mut worker =
                        Worker { local, needles, one_large, buffer: Vec::new(), found: Scanned::default() };
                    loop {
                        let from = next.fetch_add(BATCH, Ordering::Relaxed);
                        let Some(batch) = ids.get(from..).filter(|rest| !rest.is_empty()) else { break };
                        for id in batch.iter().take(BATCH) {
                            worker.look(*id);
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    // Nobody waits for it only if something failed already.
                    let _ = results.send(worker.found);
                });
            }
            drop(results);
            let mut progress = Progress::new(ids.len());
            for _ in 0..threads {
                all.add(loop {
                    progress.count(done.load(Ordering::Relaxed), "objects");
                    match ended.recv_timeout(Duration::from_millis(100)) {
                        Ok(found) => break found,
                        Err(mpsc::RecvTimeoutError::Timeout) => {}
                        Err(mpsc::RecvTimeoutError::Disconnected) => return Err(RepositoryError::Thread),
                    }
                });
            }
            Ok(())
        })?;
        all.sort();
        Ok(all)
    }

    /// Every object once, in an order in which they are read quickly.
    fn ids(&self) -> Result<Vec<ObjectId>, RepositoryError> {
        let list = |error: Cause| RepositoryError::List(self.path.clone(), error);
        let all = self.local().objects.iter().map_err(|error| list(error.into()))?;
        let mut seen = HashSet::new();
        let mut ids = Vec::new();
        for id in all.with_ordering(Order::PackAscendingOffsetThenLooseLexicographical) {
            let id = id.map_err(|error| list(error.into()))?;
            if seen.insert(id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }
}

struct Worker<'n> {
    local: gix::Repository,
    needles: &'n Needles,
    one_large: &'n Mutex<()>,
    buffer: Vec<u8>,
    found: Scanned,
}

impl Worker<'_> {
    fn look(&mut self, id: ObjectId) {
        let Ok(Some(header)) = self.local.objects.try_header(&id) else {
            return self.found.unreadable.push(id);
        };
        if header.kind() == Kind::Tree {
            return;
        }
        if header.size() > MAX_BYTES {
            return self.found.large.push(id);
        }
        let is_large = header.size() > LARGE;
        let _alone = is_large.then(|| self.one_large.lock().unwrap_or_else(PoisonError::into_inner));
        let Ok(Some(object)) = self.local.objects.try_find(&id, &mut self.buffer) else {
            return self.found.unreadable.push(id);
        };
        let (kind, data) = (object.kind, object.data);
        if kind == Kind::Blob {
            self.found.pointers += usize::from(data.starts_with(b"version https://git-lfs.github.com/spec/"));
            self.found.submodules += usize::from(data.starts_with(b"[submodule \""));
        }
        let hits = &mut self.found.hits;
        self.needles.find(data, |text, at| {
            let line = memchr::memchr_iter(b'\n', &data[..at]).count() + 1;
            hits.push(Hit { object: id, text, line });
        });
        if kind == Kind::Commit {
            match commit(id, data) {
                Some(commit) => self.found.commits.push(commit),
                None => self.found.unreadable.push(id),
            }
        }
        if is_large {
            self.buffer = Vec::new();
        }
    }
}

fn commit(id: ObjectId, data: &[u8]) -> Option<Commit> {
    let commit = CommitRef::from_bytes(data, id.kind()).ok()?;
    // A date that nobody can read makes it the oldest of its siblings.
    let time = commit.time().map(|time| time.seconds).unwrap_or_default();
    Some(Commit { id, tree: commit.tree(), parents: commit.parents().collect(), time })
}

impl Scanned {
    fn add(&mut self, other: Scanned) {
        self.hits.extend(other.hits);
        self.commits.extend(other.commits);
        self.large.extend(other.large);
        self.unreadable.extend(other.unreadable);
        self.pointers += other.pointers;
        self.submodules += other.submodules;
    }

    /// Which thread was first decides nothing.
    fn sort(&mut self) {
        self.hits.sort();
        self.commits.sort_by_key(|commit| (commit.time, commit.id));
        self.large.sort();
        self.unreadable.sort();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::needles::Text;
    use super::*;

    /// Threads share the work in batches, between which nothing may fall.
    #[test]
    fn every_object_is_looked_into_once_packed_or_loose() {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.args(arguments).current_dir(folder.path()).env("GIT_CONFIG_GLOBAL", "/dev/null");
            for who in ["AUTHOR", "COMMITTER"] {
                git.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@example.invalid");
            }
            assert!(git.status().unwrap().success(), "git {arguments:?}");
        };
        let files = |numbers: std::ops::Range<usize>| {
            for number in numbers {
                let text = format!("{number}\nsome text to be found\n");
                std::fs::write(folder.path().join(number.to_string()), text).unwrap();
            }
        };
        git(&["init", "-q"]);
        files(0..BATCH * 5 + 1);
        git(&["add", "."]);
        git(&["commit", "-qm", "packed"]);
        git(&["gc", "-q"]);
        files(BATCH * 5 + 1..BATCH * 7);
        git(&["add", "."]);
        let scanned = Repository::open(folder.path())
            .unwrap()
            .scan(&Needles::new(vec![Text::any("some text to be found")]));
        let scanned = scanned.unwrap();
        let objects: HashSet<ObjectId> = scanned.hits.iter().map(|hit| hit.object).collect();
        assert_eq!((scanned.hits.len(), objects.len()), (BATCH * 7, BATCH * 7));
        assert!(scanned.hits.iter().all(|hit| hit.line == 2));
        assert_eq!((scanned.commits.len(), scanned.objects), (1, BATCH * 7 + 2));
        assert_eq!((scanned.unreadable, scanned.large), (Vec::new(), Vec::new()));
    }
}
