//! The time by the API server's clock: what it dates (Secrets, pods) is compared with it, so the clock of this machine does not
//! matter. Every answer bears a date; where ours contradicts it, ours is moved by as little as agrees with it.

use std::sync::atomic::{AtomicI64, Ordering};

use http::HeaderMap;
use http::header::DATE;
use k8s_openapi::jiff::fmt::rfc2822::DateTimeParser;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The API server's.
pub static API_SERVER: Clock = Clock::new();

/// Now, by the API server's clock.
pub fn now() -> Timestamp {
    API_SERVER.now()
}

/// A clock that is read through its answers.
pub struct Clock {
    /// By how many milliseconds it is ahead of this machine's.
    ahead: AtomicI64,
}

impl Clock {
    /// One that agrees with this machine's until it says otherwise.
    pub const fn new() -> Clock {
        Clock { ahead: AtomicI64::new(0) }
    }

    /// What it shows now.
    pub fn now(&self) -> Timestamp {
        moved(Timestamp::now(), self.ahead.load(Ordering::Relaxed))
    }

    /// Learns from the head of an answer to a request that was sent at `sent` by this machine's clock.
    pub fn heard(&self, headers: &HeaderMap, sent: Timestamp) {
        let date = headers.get(DATE).map(|date| DateTimeParser::new().parse_timestamp(date.as_bytes()));
        let Some(Ok(date)) = date else { return };
        let [date, sent, received] = [date, sent, Timestamp::now()].map(|time| time.as_millisecond());
        let before = self.ahead.load(Ordering::Relaxed);
        self.ahead.store(Answer { date, sent, received }.ahead(before), Ordering::Relaxed);
    }
}

fn moved(time: Timestamp, milliseconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_millis(milliseconds)).unwrap_or(time)
}

/// What one answer tells, in milliseconds.
struct Answer {
    /// The second that had begun by the API server's clock.
    date: i64,
    sent: i64,
    received: i64,
}

impl Answer {
    /// By how much the API server is ahead, where it was taken to be ahead by `before`. It wrote the date between `sent` and
    /// `received`.
    fn ahead(&self, before: i64) -> i64 {
        let latest = self.date.saturating_add(999).saturating_sub(self.sent);
        let earliest = self.date.saturating_sub(self.received);
        // A clock that was set in between leaves nothing to agree with.
        if earliest > latest { before } else { before.clamp(earliest, latest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_agrees_is_left_alone_and_another_is_moved_by_as_little_as_agrees() {
        let answer = |sent, received| Answer { date: 100_000, sent, received };
        assert_eq!(answer(100_400, 100_500).ahead(0), 0);
        assert_eq!(answer(99_900, 100_100).ahead(0), 0, "the second began on the way");
        assert_eq!(answer(40_000, 40_200).ahead(0), 59_800);
        assert_eq!(answer(230_000, 230_200).ahead(0), -129_001);
        // What was learned stays while it agrees, and goes where it does not.
        assert_eq!(answer(40_000, 40_200).ahead(60_300), 60_300);
        assert_eq!(answer(100_400, 100_500).ahead(60_300), 599);
        assert_eq!(answer(100_500, 90_000).ahead(7), 7, "the clock was set in between");
    }

    #[test]
    fn the_date_of_an_answer_is_heard() {
        let headers =
            |date: &'static str| HeaderMap::from_iter([(DATE, http::HeaderValue::from_static(date))]);
        let clock = Clock::new();
        clock.heard(&headers("Sun, 06 Nov 1994 08:49:37 GMT"), Timestamp::now());
        for nonsense in ["", "yesterday"] {
            clock.heard(&headers(nonsense), Timestamp::now());
        }
        clock.heard(&HeaderMap::new(), Timestamp::now());
        let date: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
        assert!(clock.now().duration_since(date).abs() < SignedDuration::from_secs(600), "{}", clock.now());
    }
}
