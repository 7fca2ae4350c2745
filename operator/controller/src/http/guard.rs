//! Who may read the metrics: the API server is asked about each token, at most once a minute about the same one, and about
//! tokens it does not know seldom: whoever reaches the address could show any number of them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kube::Client;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::review::review;
use crate::ceremony::Budget;
use crate::words;

/// How long an answer holds.
const GOOD: Duration = Duration::from_secs(60);
const BAD: Duration = Duration::from_secs(10);
/// Most tokens remembered.
const MOST: usize = 256;
/// Tokens not known to be good that are asked about at once, and the time until one more is.
const STRANGERS: (u32, Duration) = (10, Duration::from_secs(1));

/// What the API server says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its owner may read the metrics.
    May,
    /// Its owner may not.
    MayNot,
    /// It is nobody's.
    Nobody,
}

/// What whoever asks is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Here they are.
    Come,
    /// No token, or none that is known.
    WhoAreYou,
    /// The token's owner has not the right.
    NotYou,
    /// Too many ask.
    Later,
    /// The API server does not answer.
    CannotTell,
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Answer {
        match verdict {
            Verdict::May => Answer::Come,
            Verdict::MayNot => Answer::NotYou,
            Verdict::Nobody => Answer::WhoAreYou,
        }
    }
}

/// Asks, and remembers.
pub struct Guard {
    client: Client,
    /// Held while the API server is asked: one question at a time.
    known: Mutex<Known>,
}

impl Guard {
    /// Knows nobody yet.
    pub fn new(client: Client) -> Guard {
        Guard { client, known: Mutex::new(Known::new(Instant::now())) }
    }

    /// Judges the value of an Authorization header.
    pub async fn ask(&self, shown: Option<&str>) -> Answer {
        let Some(token) = shown.and_then(token) else { return Answer::WhoAreYou };
        let digest = Sha256::digest(token).into();
        let mut known = self.known.lock().await;
        match known.look(&digest, Instant::now()) {
            Look::Known(verdict) => verdict.into(),
            Look::Later => Answer::Later,
            Look::Ask => match review(&self.client, token).await {
                Ok(verdict) => {
                    known.learn(digest, verdict, Instant::now());
                    verdict.into()
                }
                Err(error) => {
                    let problem = words::of_secret(&error);
                    tracing::warn!(
                        problem,
                        "who asks for the metrics could not be checked: the operator must be able to create tokenreviews and subjectaccessreviews"
                    );
                    Answer::CannotTell
                }
            },
        }
    }
}

/// The token of `Bearer TOKEN`.
fn token(shown: &str) -> Option<&str> {
    let (scheme, token) = shown.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Digests of tokens and what was said of them.
struct Known {
    verdicts: HashMap<[u8; 32], (Verdict, Instant)>,
    strangers: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Known(Verdict),
    Ask,
    Later,
}

impl Known {
    fn new(now: Instant) -> Known {
        Known { verdicts: HashMap::new(), strangers: Budget::new(STRANGERS.0, STRANGERS.1, now) }
    }

    /// A token that was good is asked about again whatever strangers do.
    fn look(&mut self, token: &[u8; 32], now: Instant) -> Look {
        match self.verdicts.get(token) {
            Some((verdict, until)) if now < *until => Look::Known(*verdict),
            Some((Verdict::May, _)) => Look::Ask,
            _ if self.strangers.take(now) => Look::Ask,
            _ => Look::Later,
        }
    }

    fn learn(&mut self, token: [u8; 32], verdict: Verdict, now: Instant) {
        if self.verdicts.len() >= MOST {
            self.verdicts.retain(|_, (verdict, until)| *verdict == Verdict::May && now < *until + GOOD);
        }
        if self.verdicts.len() < MOST {
            let holds = if verdict == Verdict::May { GOOD } else { BAD };
            self.verdicts.insert(token, (verdict, now + holds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u32) -> [u8; 32] {
        Sha256::digest(number.to_be_bytes()).into()
    }

    #[test]
    fn a_token_is_what_follows_bearer() {
        for good in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(token(good), Some("abc"), "{good}");
        }
        for bad in ["", "abc", "Bearer", "Bearer ", "Basic abc"] {
            assert_eq!(token(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_holds_for_a_while() {
        let start = Instant::now();
        let mut known = Known::new(start);
        for (number, verdict, holds) in
            [(1, Verdict::May, GOOD), (2, Verdict::MayNot, BAD), (3, Verdict::Nobody, BAD)]
        {
            let token = digest(number);
            assert_eq!(known.look(&token, start), Look::Ask);
            known.learn(token, verdict, start);
            assert_eq!(known.look(&token, start + holds - Duration::from_millis(1)), Look::Known(verdict));
            assert_eq!(known.look(&token, start + holds), Look::Ask);
        }
    }

    #[test]
    fn a_flood_of_strangers_is_hardly_asked_about_and_does_not_hinder_who_is_known() {
        let start = Instant::now();
        let mut known = Known::new(start);
        let scraper = digest(0);
        known.look(&scraper, start);
        known.learn(scraper, Verdict::May, start);
        let mut asked = 0;
        for number in 1..10_000 {
            let now = start + Duration::from_millis(number.into());
            if known.look(&digest(number), now) == Look::Ask {
                asked += 1;
                known.learn(digest(number), Verdict::Nobody, now);
            }
        }
        assert_eq!(asked, 18, "ten at once, of which the scraper was one, and one a second");
        let later = start + GOOD;
        while known.strangers.take(later) {}
        assert_eq!(known.look(&digest(20_000), later), Look::Later);
        assert_eq!(known.look(&scraper, later), Look::Ask, "its minute is over, and it goes first");
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for_and_strangers_go_first() {
        let start = Instant::now();
        let mut known = Known::new(start);
        known.learn(digest(0), Verdict::May, start);
        for number in 1..1000 {
            known.learn(digest(number), Verdict::Nobody, start);
        }
        assert!(known.verdicts.len() <= MOST);
        assert_eq!(known.look(&digest(0), start), Look::Known(Verdict::May));
    }
}
