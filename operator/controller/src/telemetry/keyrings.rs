//! Each keyring in this process: open or not, by how many holders, until when; and what was done with its keys, or tried.
//! Read when it is asked for, of keyrings that are in the cluster: a series ends with its keyring.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use touchseal_keyring::State;
use touchseal_keyring::state::Phase;

use super::page::Pen;
use crate::keys::Keys;

/// What becomes of each act. These are counted from zero, for a rate needs a beginning.
const ACTS: [(&str, &str); 14] = [
    ("release", "accepted"),
    ("release", "refused"),
    ("release", "forged"),
    ("release", "garbage"),
    ("share", "accepted"),
    ("share", "refused"),
    ("hand-over", "accepted"),
    ("hand-over", "given"),
    ("hand-over", "refused"),
    ("hand-over", "forged"),
    ("seal", "done"),
    ("manifest", "refused"),
    ("enrol", "given"),
    ("enrol", "refused"),
];

/// What was done with each keyring's keys; cheap to clone.
#[derive(Clone, Default)]
pub struct Ceremonies(Arc<Mutex<BTreeMap<String, Counts>>>);

#[derive(Clone, Default)]
struct Counts {
    unseals: u64,
    refused: u64,
    acts: BTreeMap<(&'static str, &'static str), u64>,
}

impl Ceremonies {
    /// This process was unsealed.
    pub fn unsealed(&self, keyring: &str) {
        self.count(keyring, |counts| counts.unseals += 1);
    }

    /// A release or share was refused.
    pub fn refused(&self, keyring: &str) {
        self.count(keyring, |counts| counts.refused += 1);
    }

    /// An act of the record.
    pub fn act(&self, keyring: &str, action: &'static str, outcome: &'static str) {
        self.count(keyring, |counts| *counts.acts.entry((action, outcome)).or_default() += 1);
    }

    fn count(&self, keyring: &str, add: impl FnOnce(&mut Counts)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        add(all.entry(keyring.to_owned()).or_default());
    }

    /// The counts of these keyrings; those of others are dropped, for they are gone.
    fn of<'a>(&self, present: impl Iterator<Item = &'a str>) -> Vec<(&'a str, Counts)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: Vec<_> = present.map(|name| (name, all.get(name).cloned().unwrap_or_default())).collect();
        all.retain(|name, _| kept.iter().any(|(present, _)| present == name));
        kept
    }
}

/// One keyring, as its state machine has it.
struct Seen {
    name: String,
    unsealed: bool,
    refused: bool,
    holders: Option<(usize, usize)>,
    since: Option<Timestamp>,
    released: Option<Timestamp>,
    seals: Option<Timestamp>,
}

impl Seen {
    fn of(name: &str, state: &State) -> Seen {
        let released = match state.phase() {
            Phase::Unsealed(unsealed) => Some(unsealed.by.at),
            _ => None,
        };
        Seen {
            name: name.to_owned(),
            unsealed: state.keys().is_some(),
            refused: matches!(state.phase(), Phase::Tampered(_)),
            holders: state
                .manifest()
                .map(|manifest| (manifest.holders().len(), manifest.quorum().unwrap_or(1))),
            since: state.since(),
            released,
            seals: state.seals_at(),
        }
    }

    fn label(&self) -> [(&'static str, &str); 1] {
        [("keyring", &self.name)]
    }
}

/// The collector.
pub struct Keyrings {
    keys: Arc<Keys>,
    ceremonies: Ceremonies,
}

impl Keyrings {
    /// Of this process's keyrings.
    pub fn new(keys: &Arc<Keys>, ceremonies: Ceremonies) -> Keyrings {
        Keyrings { keys: Arc::clone(keys), ceremonies }
    }
}

impl fmt::Debug for Keyrings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyrings")
    }
}

impl Collector for Keyrings {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut pen = Pen(encoder);
        let mut seen = Vec::new();
        self.keys.each(|name, state| seen.push(Seen::of(name, state)));
        let flag = |what: fn(&Seen) -> bool| seen.iter().map(move |one| (one.label(), i64::from(what(one))));
        pen.gauges(
            ("keyring_unsealed", "1 while this process holds the master key"),
            None,
            flag(|s| s.unsealed),
        )?;
        let refused = (
            "keyring_refused",
            "1 while the manifest is refused: it is not one its holders signed, or not the pinned one",
        );
        pen.gauges(refused, None, flag(|s| s.refused))?;
        let count = |what: fn((usize, usize)) -> usize| {
            let number = move |both| i64::try_from(what(both)).unwrap_or(i64::MAX);
            seen.iter().filter_map(move |one| Some((one.label(), number(one.holders?))))
        };
        pen.gauges(("keyring_holders", "YubiKeys that can open the keyring"), None, count(|both| both.0))?;
        let quorum = ("keyring_quorum", "How many of its holders it takes to open the keyring");
        pen.gauges(quorum, None, count(|both| both.1))?;
        let time = |what: fn(&Seen) -> Option<Timestamp>| {
            seen.iter().filter_map(move |one| Some((one.label(), what(one)?.as_second())))
        };
        let seconds = || Some(Unit::Seconds);
        let since =
            ("keyring_state_timestamp", "Since when it has been open, sealed or refused in this process");
        pen.gauges(since, seconds(), time(|s| s.since))?;
        let released = ("keyring_released_timestamp", "When a holder released what is open now");
        pen.gauges(released, seconds(), time(|s| s.released))?;
        let seals = ("keyring_seals_timestamp", "When sealAfter closes what is open now");
        pen.gauges(seals, seconds(), time(|s| s.seals))?;
        self.write_counts(&mut pen, &seen)
    }
}

impl Keyrings {
    fn write_counts(&self, pen: &mut Pen<'_>, seen: &[Seen]) -> fmt::Result {
        let counts = self.ceremonies.of(seen.iter().map(|one| &*one.name));
        let each = |what: fn(&Counts) -> u64| {
            counts.iter().map(move |(keyring, counts)| ([("keyring", *keyring)], what(counts)))
        };
        pen.counters(("unseals", "Releases accepted"), each(|counts| counts.unseals))?;
        pen.counters(("releases_refused", "Releases refused"), each(|counts| counts.refused))?;
        let acts = counts.iter().flat_map(|(keyring, counts)| {
            let mut all: BTreeMap<_, u64> = ACTS.into_iter().map(|act| (act, 0)).collect();
            all.extend(&counts.acts);
            all.into_iter().map(|((action, outcome), count)| {
                ([("keyring", *keyring), ("action", action), ("outcome", outcome)], count)
            })
        });
        pen.counters(("audit", "Releases, hand-overs and seals by outcome"), acts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_a_keyring_that_is_gone_are_dropped() {
        let all = Ceremonies::default();
        all.unsealed("gone");
        all.act("prod", "release", "forged");
        let kept = all.of(["prod", "new"].into_iter());
        assert_eq!(kept[0].1.acts, BTreeMap::from([(("release", "forged"), 1)]));
        assert_eq!(kept.len(), 2, "a keyring counts from zero");
        assert_eq!(all.of(["gone"].into_iter())[0].1.unseals, 0);
    }
}
