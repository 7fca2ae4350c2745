//! Faults that come at random, from a seed: refusals, lost connections, slow answers. And whether a client that was told when to
//! come back came back sooner.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use hyper::{Method, Request};

use super::{Fault, RETRY_AFTER_SECONDS};
use crate::drawn::Drawn;

/// What may happen to each request.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Draws what happens to whom.
    pub seed: u64,
    /// One request in so many fares as one of `faults`; 0: none does.
    pub one_in: u32,
    /// Drawn from, each as likely.
    pub faults: Vec<Fault>,
    /// Each answer is late by up to this.
    pub late: Duration,
}

/// What came of it so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Requests that went through the weather.
    pub requests: u64,
    /// Of these, how many had which fault.
    pub faults: BTreeMap<String, u64>,
    /// Requests about one Secret or EncryptedSecret that were made again before the time they were told.
    pub hasty: Vec<String>,
}

/// The weather as it goes on.
pub(super) struct Sky {
    weather: Weather,
    drawn: Drawn,
    seen: Seen,
    /// Requests that were told to come back later, and when.
    told: HashMap<String, Instant>,
}

impl Sky {
    pub fn new(weather: Weather) -> Sky {
        let drawn = Drawn::new(weather.seed);
        Sky { weather, drawn, seen: Seen::default(), told: HashMap::new() }
    }

    pub fn seen(&self) -> Seen {
        self.seen.clone()
    }

    /// What happens to this request, and by how much its answer is late.
    pub fn meet<B>(&mut self, request: &Request<B>) -> (Option<Fault>, Duration) {
        self.seen.requests += 1;
        let what = format!("{} {}", request.method(), request.uri());
        let now = Instant::now();
        if self.told.remove(&what).is_some_and(|until| now < until) {
            self.seen.hasty.push(what.clone());
        }
        let struck = self.weather.one_in > 0 && self.drawn.below(self.weather.one_in) == 0;
        let fault = struck.then(|| self.drawn.pick(&self.weather.faults).copied()).flatten();
        if let Some(fault) = fault {
            *self.seen.faults.entry(format!("{fault:?}")).or_default() += 1;
        }
        if fault == Some(Fault::Status(429)) && is_of_one_object(request) {
            self.told.retain(|_, until| now < *until);
            self.told.insert(what, now + Duration::from_secs(RETRY_AFTER_SECONDS));
        }
        let late = u32::try_from(self.weather.late.as_millis()).unwrap_or(u32::MAX);
        let late = if late == 0 { 0 } else { self.drawn.below(late) };
        (fault, Duration::from_millis(late.into()))
    }
}

/// Of these there is one writer at a time; elsewhere another may come with the same words.
fn is_of_one_object<B>(request: &Request<B>) -> bool {
    let of_one = |kind: &str| request.uri().path().contains(&format!("/{kind}/"));
    request.method() != Method::POST && (of_one("secrets") || of_one("encryptedsecrets"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str) -> Request<()> {
        Request::builder().method(method).uri(path).body(()).unwrap()
    }

    #[test]
    fn whoever_comes_back_too_early_is_noticed() {
        let faults = vec![Fault::Status(429)];
        let mut sky = Sky::new(Weather { seed: 1, one_in: 1, faults, late: Duration::ZERO });
        let secret = request("PATCH", "/api/v1/namespaces/a/secrets/app?fieldManager=x");
        assert_eq!(sky.meet(&secret), (Some(Fault::Status(429)), Duration::ZERO));
        sky.meet(&request("POST", "/api/v1/namespaces/a/events"));
        sky.meet(&request("POST", "/api/v1/namespaces/a/events"));
        assert!(sky.seen().hasty.is_empty());
        sky.meet(&secret);
        assert_eq!(sky.seen().hasty.len(), 1);
        std::thread::sleep(Duration::from_millis(1_010));
        sky.meet(&secret);
        assert_eq!((sky.seen().hasty.len(), sky.seen().requests), (1, 5));
        assert_eq!(sky.seen().faults["Status(429)"], 5);
    }

    #[test]
    fn a_seed_gives_the_same_weather_again() {
        let weather = |seed| {
            let faults = vec![Fault::Status(500), Fault::DropBefore, Fault::DropAfter];
            let mut sky = Sky::new(Weather { seed, one_in: 3, faults, late: Duration::from_millis(50) });
            (0..100).map(|_| sky.meet(&request("GET", "/"))).collect::<Vec<_>>()
        };
        assert_eq!(weather(7), weather(7));
        assert_ne!(weather(7), weather(8));
        let met = weather(7).iter().filter(|(fault, _)| fault.is_some()).count();
        assert!((15..60).contains(&met), "{met} of 100");
    }
}
