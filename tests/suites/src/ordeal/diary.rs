//! What was done last, for whoever wants to know how something came about.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Lines that are kept.
const KEPT: usize = 60;

/// Shared by all who do something.
#[derive(Clone, Debug)]
pub struct Diary(Arc<Mutex<Pages>>);

#[derive(Debug)]
struct Pages {
    began: Instant,
    lines: VecDeque<String>,
}

impl Diary {
    /// An empty one.
    pub fn new() -> Diary {
        Diary(Arc::new(Mutex::new(Pages { began: Instant::now(), lines: VecDeque::new() })))
    }

    /// Notes something, with the time since the beginning.
    pub fn note(&self, what: impl fmt::Display) {
        let mut pages = self.pages();
        if pages.lines.len() == KEPT {
            pages.lines.pop_front();
        }
        let line = format!("{:8.2} s  {what}", pages.began.elapsed().as_secs_f64());
        pages.lines.push_back(line);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Diary {
    fn default() -> Diary {
        Diary::new()
    }
}

impl fmt::Display for Diary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pages().lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
