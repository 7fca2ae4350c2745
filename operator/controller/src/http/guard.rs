//! Who may read the metrics: the API server is asked about each token, at most once a minute about the same one, and about
//! tokens it has not let in seldom: whoever reaches the address could show any number of them. While it does not answer, who
//! was let in before still is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::review::review;
use crate::ceremony::Budget;
use crate::words;

/// How long an answer holds.
const GOOD: Duration = Duration::from_secs(60);
const BAD: Duration = Duration::from_secs(10);
/// How much longer one that was let in is, while the API server does not answer.
const GRACE: Duration = Duration::from_secs(60 * 60);
/// Longest wait for an answer: scrapers do not wait much longer.
const PATIENCE: Duration = Duration::from_secs(5);
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
    known: Mutex<Known>,
    /// Held while the API server is asked about a stranger, and about one that was let in: one question at a time of each, and
    /// none waits for the other.
    lanes: [Lane; 2],
}

type Lane = tokio::sync::Mutex<()>;

impl Guard {
    /// Knows nobody yet.
    pub fn new(client: Client) -> Guard {
        Guard { client, known: Mutex::new(Known::new(Instant::now())), lanes: Default::default() }
    }

    /// Judges the value of an Authorization header.
    pub async fn ask(&self, shown: Option<&str>) -> Answer {
        let Some(token) = shown.and_then(token) else { return Answer::WhoAreYou };
        let digest = Sha256::digest(token).into();
        let verdict = || self.known().verdict(&digest, Instant::now());
        if let Some(verdict) = verdict() {
            return verdict.into();
        }
        let [strangers, guests] = &self.lanes;
        let lane = if self.known().was_let_in(&digest, Instant::now()) { guests } else { strangers };
        let _turn = lane.lock().await;
        // Whoever waited may find the answer there.
        if let Some(verdict) = verdict() {
            return verdict.into();
        }
        if !self.known().may_be_asked_about(&digest, Instant::now()) {
            return Answer::Later;
        }
        let problem = match timeout(PATIENCE, review(&self.client, token)).await {
            Ok(Ok(verdict)) => {
                self.known().learn(digest, verdict, Instant::now());
                return verdict.into();
            }
            Ok(Err(error)) => words::of_secret(&error),
            Err(_) => "the API server does not answer".to_owned(),
        };
        tracing::warn!(
            problem,
            "who asks for the metrics could not be checked: the operator must be able to create tokenreviews and subjectaccessreviews"
        );
        // Metrics are wanted most while the API server is in trouble.
        if self.known().was_let_in(&digest, Instant::now()) { Answer::Come } else { Answer::CannotTell }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Known {
    fn new(now: Instant) -> Known {
        Known { verdicts: HashMap::new(), strangers: Budget::new(STRANGERS.0, STRANGERS.1, now) }
    }

    /// What was said, while it holds.
    fn verdict(&self, token: &[u8; 32], now: Instant) -> Option<Verdict> {
        self.verdicts.get(token).filter(|(_, until)| now < *until).map(|(verdict, _)| *verdict)
    }

    /// Whether it was let in not long ago.
    fn was_let_in(&self, token: &[u8; 32], now: Instant) -> bool {
        self.verdicts
            .get(token)
            .is_some_and(|(verdict, until)| *verdict == Verdict::May && now < *until + GRACE)
    }

    /// One that was let in is asked about again whatever strangers do.
    fn may_be_asked_about(&mut self, token: &[u8; 32], now: Instant) -> bool {
        self.was_let_in(token, now) || self.strangers.take(now)
    }

    fn learn(&mut self, token: [u8; 32], verdict: Verdict, now: Instant) {
        if self.verdicts.len() >= MOST {
            self.verdicts.retain(|_, (verdict, until)| *verdict == Verdict::May && now < *until + GRACE);
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
            assert_eq!(known.verdict(&token, start), None);
            known.learn(token, verdict, start);
            assert_eq!(known.verdict(&token, start + holds - Duration::from_millis(1)), Some(verdict));
            assert_eq!(known.verdict(&token, start + holds), None);
            // What counts when the API server does not answer.
            assert_eq!(known.was_let_in(&token, start + holds), verdict == Verdict::May);
            assert!(!known.was_let_in(&token, start + holds + GRACE));
        }
    }

    #[test]
    fn a_flood_of_strangers_is_hardly_asked_about_and_does_not_hinder_who_is_known() {
        let start = Instant::now();
        let mut known = Known::new(start);
        let scraper = digest(0);
        assert!(known.may_be_asked_about(&scraper, start));
        known.learn(scraper, Verdict::May, start);
        let mut asked = 0;
        for number in 1..10_000 {
            let now = start + Duration::from_millis(number.into());
            if known.may_be_asked_about(&digest(number), now) {
                asked += 1;
                known.learn(digest(number), Verdict::Nobody, now);
            }
        }
        assert_eq!(asked, 18, "ten at once, of which the scraper was one, and one a second");
        let later = start + GOOD;
        while known.strangers.take(later) {}
        assert!(!known.may_be_asked_about(&digest(20_000), later));
        assert_eq!(known.verdict(&scraper, later), None, "its minute is over");
        assert!(known.may_be_asked_about(&scraper, later), "and it goes first");
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
        assert_eq!(known.verdict(&digest(0), start), Some(Verdict::May));
    }

    /// An API server that answers nothing, as to a kubelet's probe of a dead network.
    #[tokio::test]
    async fn while_the_api_server_does_not_answer_who_was_let_in_still_is() {
        let silent = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no network"))
        });
        let guard = Guard::new(Client::new(silent, "default"));
        assert_eq!(guard.ask(Some("Bearer scraper")).await, Answer::CannotTell);
        let earlier = Instant::now().checked_sub(GOOD + Duration::from_secs(1)).unwrap();
        guard.known().learn(Sha256::digest("scraper").into(), Verdict::May, earlier);
        assert_eq!(guard.ask(Some("Bearer scraper")).await, Answer::Come);
        assert_eq!(guard.ask(Some("Bearer other")).await, Answer::CannotTell);
        assert_eq!(guard.ask(None).await, Answer::WhoAreYou);
    }
}
