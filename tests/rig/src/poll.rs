//! Waiting for something to become true, with a deadline and a message that says what was last seen instead.

use std::fmt;
use std::time::{Duration, Instant};

/// Calls `probe` until it has a value, at most until `deadline` has passed since the call.
///
/// A probe answers with an `Option`, a `Result` whose error says what it saw instead, or a `bool`.
///
/// # Errors
/// [`TimedOut`], naming `what` and the last thing seen. The probe has run at least once by then.
pub fn eventually<A: Attempt>(
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> A,
) -> Result<A::Value, TimedOut> {
    let mut clock = Clock::start(deadline);
    loop {
        match probe().outcome() {
            Ok(value) => return Ok(value),
            Err(seen) => std::thread::sleep(clock.pause(what, seen)?),
        }
    }
}

/// [`eventually`] for a probe that is a future.
///
/// # Errors
/// As [`eventually`].
pub async fn eventually_async<A: Attempt, F: Future<Output = A>>(
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> F,
) -> Result<A::Value, TimedOut> {
    let mut clock = Clock::start(deadline);
    loop {
        match probe().await.outcome() {
            Ok(value) => return Ok(value),
            Err(seen) => tokio::time::sleep(clock.pause(what, seen)?).await,
        }
    }
}

/// The answer of a probe.
pub trait Attempt {
    type Value;

    /// The value, or what was seen instead of it.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl<T> Attempt for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing yet".into())
    }
}

impl<T, E: fmt::Display> Attempt for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|seen| seen.to_string())
    }
}

impl Attempt for bool {
    type Value = ();

    fn outcome(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "not yet".into())
    }
}

/// Nothing came before the deadline. `Debug` reads like `Display`, so that `unwrap` in a test prints a sentence.
#[derive(thiserror::Error)]
#[error("waited {waited:.1?} for {what}; last seen: {seen}")]
pub struct TimedOut {
    pub what: String,
    pub seen: String,
    pub waited: Duration,
}

impl fmt::Debug for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct Clock {
    started: Instant,
    deadline: Duration,
    pause: Duration,
}

impl Clock {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(200);

    fn start(deadline: Duration) -> Self {
        Self { started: Instant::now(), deadline, pause: Self::FIRST }
    }

    /// How long to wait before the next attempt: short at first, since most things are nearly there.
    fn pause(&mut self, what: &str, seen: String) -> Result<Duration, TimedOut> {
        let waited = self.started.elapsed();
        if waited >= self.deadline {
            return Err(TimedOut { what: what.into(), seen, waited });
        }
        let pause = self.pause.min(self.deadline - waited);
        self.pause = (self.pause * 3 / 2).min(Self::LONGEST);
        Ok(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_first_value_and_stops_asking() {
        let mut asked = 0;
        let third = eventually(Duration::from_secs(5), "the third", || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(third.unwrap(), 3);
        assert_eq!(asked, 3);
    }

    #[test]
    fn says_what_it_waited_for_and_what_it_saw() {
        let mut asked = 0;
        let error = eventually(Duration::from_millis(30), "a green light", || {
            asked += 1;
            Err::<(), _>(format!("red, {asked}"))
        })
        .unwrap_err();
        assert_eq!(error.seen, format!("red, {asked}"));
        assert!(format!("{error:?}").contains("for a green light; last seen: red"));
    }

    #[tokio::test]
    async fn waits_for_futures_too() {
        let began = Instant::now();
        eventually_async(Duration::from_secs(5), "time to pass", || async {
            began.elapsed() > Duration::from_millis(20)
        })
        .await
        .unwrap();
    }
}
