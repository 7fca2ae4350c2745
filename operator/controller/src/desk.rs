//! Where documents are opened: large ones beside the async workers, a few at a time, so that probes, the ceremony and everybody else's
//! reconciles stay quick whatever one document costs; and nothing it makes of us ends the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Documents of so many bytes in all are opened where they are: that takes some hundred microseconds, and changing
/// threads would not be cheaper.
const SMALL: usize = 64 * 1024;
/// Bytes of ciphertext that may be open at once; trees and plaintext take a multiple of it.
const BUDGET: u32 = 16 * 1024 * 1024;

/// What limits how much is opened at once.
pub struct Desk {
    /// One a processor.
    seats: Arc<Semaphore>,
    /// One a byte.
    bytes: Arc<Semaphore>,
    budget: u32,
}

/// The work panicked. What it said is not kept: it could quote a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work came to no end")]
pub struct Fell;

impl Default for Desk {
    fn default() -> Desk {
        Desk::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get), BUDGET)
    }
}

impl Desk {
    /// What composing by templates counts as, however short the documents are: it may take twice as much for a moment.
    pub const TEMPLATES: usize = 4 * 1024 * 1024;

    fn new(seats: usize, budget: u32) -> Desk {
        let bytes = Arc::new(Semaphore::new(budget as usize));
        Desk { seats: Arc::new(Semaphore::new(seats)), bytes, budget }
    }

    /// Does `work` on `size` bytes of documents. What is larger than the budget waits until it is alone. Work that has
    /// begun keeps its place until it ends, also if nobody waits for it any more.
    ///
    /// # Errors
    /// The work panicked.
    pub async fn work<R: Send + 'static>(
        &self,
        size: usize,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Fell> {
        let work = move || catch_unwind(AssertUnwindSafe(work)).map_err(|_| Fell);
        if size < SMALL {
            return work();
        }
        let share = u32::try_from(size).unwrap_or(u32::MAX).min(self.budget);
        // Always in this order, so that nobody holds what another waits for.
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(share).await.map_err(|_| Fell)?;
        let seat = Arc::clone(&self.seats).acquire_owned().await.map_err(|_| Fell)?;
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((bytes, seat));
            done
        });
        task.await.unwrap_or(Err(Fell))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn large_work_leaves_the_async_workers_free() {
        let (go, told) = mpsc::channel();
        let desk = Desk::default();
        // The test has one async worker: were the work on it, nobody could tell it to go on.
        let work = desk.work(SMALL, move || told.recv_timeout(LONG).is_ok());
        let tell = async move { go.send(()).unwrap() };
        let (went_on, ()) = tokio::join!(work, tell);
        assert_eq!(went_on, Ok(true));
    }

    #[tokio::test]
    async fn small_work_changes_no_thread_and_waits_for_nobody() {
        let desk = Desk::new(0, 0);
        let here = std::thread::current().id();
        let there = desk.work(SMALL - 1, || std::thread::current().id()).await;
        assert_eq!(there, Ok(here));
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_frees_its_place() {
        let desk = Desk::new(1, BUDGET);
        for size in [0, SMALL, SMALL] {
            let fell: Result<(), Fell> = desk.work(size, || panic!("a value")).await;
            assert_eq!(fell, Err(Fell));
        }
        assert_eq!(desk.work(SMALL, || 7).await, Ok(7));
    }

    /// The most of `count` works of `size` that were at it at the same time. Each waits until `expected` are.
    async fn most_at_once(desk: Desk, count: usize, size: usize, expected: usize) -> usize {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let works = (0..count).map(|_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            desk.work(size, move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let began = Instant::now();
                while most.load(Ordering::SeqCst) < expected && began.elapsed() < LONG {
                    std::thread::yield_now();
                }
                // Room for more to come in, were they let in.
                std::thread::sleep(Duration::from_millis(10));
                now.fetch_sub(1, Ordering::SeqCst);
            })
        });
        for done in futures::future::join_all(works).await {
            assert_eq!(done, Ok(()));
        }
        most.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn so_many_at_once_and_so_many_bytes() {
        assert_eq!(most_at_once(Desk::new(2, BUDGET), 8, SMALL, 2).await, 2, "seats");
        let three = u32::try_from(3 * SMALL).unwrap();
        assert_eq!(most_at_once(Desk::new(8, three), 9, SMALL, 3).await, 3, "bytes");
        assert_eq!(most_at_once(Desk::new(8, three), 3, 100 * SMALL, 1).await, 1, "more than there is");
    }
}
