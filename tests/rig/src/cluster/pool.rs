//! Clusters shared by the tests of one program, one test at a time: an operator acts on its whole cluster, and starting a
//! cluster costs more than cleaning one.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{AuditLevel, Cluster, ClusterError, Options, Reach};

/// Two, as each takes about 400 MB and most of a core while it starts; `TOUCHSEAL_RIG_CLUSTERS` says otherwise.
const DEFAULT_SIZE: usize = 2;

static POOL: Pool = Pool::new(None);

/// A whole cluster for the caller alone, out of the few that all tests of this program share. It holds no objects of
/// earlier tests in the group `touchseal.dev`, but may hold their CRDs.
///
/// # Errors
/// When a cluster has to be started for it and does not start.
pub fn lease() -> Result<Lease<'static>, ClusterError> {
    POOL.lease()
}

/// A new cluster that no other test has had or gets; it ends with its lease.
///
/// # Errors
/// When it does not start.
pub fn fresh(options: Options) -> Result<Lease<'static>, ClusterError> {
    Ok(Lease { pool: None, cluster: Some(Cluster::start_with(options)?) })
}

/// At most so many clusters at a time, started when first needed.
#[derive(Debug)]
pub struct Pool {
    size: Option<usize>,
    options: Options,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug)]
struct State {
    idle: VecDeque<Cluster>,
    /// Idle, leased or starting.
    count: usize,
}

impl Pool {
    /// Of this size, or of the environment's choice.
    pub const fn new(size: Option<usize>) -> Self {
        let options =
            Options { audit: AuditLevel::Metadata, reach: Reach::Loopback, no_streaming_lists: false };
        Self::of(size, options)
    }

    /// The same, of clusters with options.
    pub const fn of(size: Option<usize>, options: Options) -> Self {
        let state = Mutex::new(State { idle: VecDeque::new(), count: 0 });
        Self { size, options, state, returned: Condvar::new() }
    }

    /// As [`lease`]; waits while all are leased.
    ///
    /// # Errors
    /// As [`lease`].
    pub fn lease(&self) -> Result<Lease<'_>, ClusterError> {
        let mut state = self.state();
        loop {
            if let Some(cluster) = state.idle.pop_front() {
                return Ok(Lease { pool: Some(self), cluster: Some(cluster) });
            }
            if state.count < self.size() {
                break;
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.count += 1;
        drop(state); // the others need not wait while this one starts
        let cluster = Cluster::start_with(self.options).inspect_err(|_| self.one_less())?;
        Ok(Lease { pool: Some(self), cluster: Some(cluster) })
    }

    fn take_back(&self, cluster: Cluster) {
        self.state().idle.push_back(cluster);
        self.returned.notify_one();
    }

    fn one_less(&self) {
        self.state().count -= 1;
        self.returned.notify_one();
    }

    fn size(&self) -> usize {
        let chosen = || std::env::var("TOUCHSEAL_RIG_CLUSTERS").ok()?.parse().ok();
        self.size.or_else(chosen).unwrap_or(DEFAULT_SIZE).max(1)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cluster until dropped; then it is cleaned for the next one. End your own programs first: they would go on writing.
#[derive(Debug)]
pub struct Lease<'pool> {
    /// None: it is nobody's afterwards.
    pool: Option<&'pool Pool>,
    /// Always there until the drop.
    cluster: Option<Cluster>,
}

impl Deref for Lease<'_> {
    type Target = Cluster;

    #[allow(clippy::unwrap_used)] // no other way to have something to move out of in a drop
    fn deref(&self) -> &Cluster {
        self.cluster.as_ref().unwrap()
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let (Some(cluster), Some(pool)) = (self.cluster.take(), self.pool) else { return };
        if std::thread::panicking() {
            drop(cluster); // shows its logs; who knows what state the test left it in
            return pool.one_less();
        }
        match cluster.reset() {
            Ok(()) => pool.take_back(cluster),
            Err(error) => {
                eprintln!("a leased cluster could not be cleaned, the next test gets a new one: {error:?}");
                drop(cluster);
                pool.one_less();
            }
        }
    }
}
