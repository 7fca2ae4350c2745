//! Whose commits may be coming. Thousands of objects are decided on a few dozen at a time; what is stored for those goes out in
//! one write, because the first commit waits for the others, and in no write of its own, because a single one waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many there are.
#[derive(Default)]
pub struct Turns {
    count: AtomicUsize,
    fewer: Notify,
}

/// One of them, until dropped.
pub struct Turn(Arc<Turns>);

impl Turns {
    /// One more.
    pub fn begin(self: &Arc<Self>) -> Turn {
        self.count.fetch_add(1, Ordering::Relaxed);
        Turn(Arc::clone(self))
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns when there are fewer than when this was called before.
    pub async fn fewer(&self) {
        self.fewer.notified().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.fewer.notify_one();
    }
}
