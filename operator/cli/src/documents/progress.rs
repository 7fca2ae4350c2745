//! How far a long walk has come, on stderr, where a person watches.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Short walks say nothing.
const PATIENCE: Duration = Duration::from_millis(400);
const EVERY: Duration = Duration::from_millis(100);
const WIDTH: usize = 60;

/// One line that is written over and over, on terminals only, and gone at the end.
#[derive(Debug)]
pub struct Progress {
    total: usize,
    done: usize,
    /// When to say something next; `None` without a terminal.
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// A walk over `total` files.
    pub fn new(total: usize) -> Progress {
        let next = std::io::stderr().is_terminal().then(|| Instant::now() + PATIENCE);
        Progress { total, done: 0, next, shown: false }
    }

    /// The next file begins.
    pub fn file(&mut self, path: &Path) {
        self.count(self.done + 1, &path.display().to_string());
    }

    /// So many are done; `name` is the next, or what they are.
    pub fn count(&mut self, done: usize, name: &str) {
        self.done = done;
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = Some(now + EVERY);
        self.shown = true;
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        let cut = name.chars().count().saturating_sub(WIDTH);
        let name: String = name.chars().skip(cut).collect();
        self.say(&format!("\r\u{1b}[K{}/{} {name}", self.done, self.total));
    }

    /// Takes the line away: before anything else is said, and at the end.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            self.say("\r\u{1b}[K");
        }
    }

    fn say(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        // Nobody reads a closed stderr; the walk does not depend on it.
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
