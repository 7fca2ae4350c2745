//! Which EncryptedSecrets are to be reconciled: each waits once, however often it was asked for, and is worked on by one task
//! at a time. What changed goes before what was merely listed, so that nobody who edits one waits for thousands that are
//! right as they are: that in the order in which it came, and what was listed in the order in which the ledger stores it, round
//! and round, so that what is written together is worked on together, and begins together if it can.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::ledger;
use crate::secrets::Key;

/// Of so many turns one goes to what was listed, whatever changes meanwhile.
const TURNS: u8 = 4;

/// What an object waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// It, or what it depends on, changed.
    Changed,
    /// It was there when the operator looked, or all of them are to be looked at.
    Listed,
}

/// Where an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting(Lane),
    /// Taken from this lane.
    Running(Lane),
    /// Asked for again since.
    Again(Lane),
}

/// Namespace, number of the ledger's ConfigMap, and name.
type Stored = (String, u8, String);

/// The queue. Holds nothing of an object that neither waits nor runs.
#[derive(Default)]
pub struct Queue {
    states: HashMap<Key, State>,
    /// May hold objects that wait in the other lane by now, or run.
    changed: VecDeque<Key>,
    listed: BTreeSet<Stored>,
    /// The last one that was taken from `listed`.
    last: Option<Stored>,
    turn: u8,
    /// How many that changed went ahead since.
    overtook: usize,
    /// What time alone brings.
    later: BTreeSet<(Instant, Key, Lane)>,
    due: HashMap<Key, (Instant, Lane)>,
}

impl Queue {
    /// Asks for an object.
    pub fn add(&mut self, key: Key, lane: Lane) {
        let next = match self.states.get(&key) {
            None => State::Waiting(lane),
            Some(State::Waiting(before)) if lane < *before => State::Waiting(lane),
            Some(State::Waiting(_)) => return,
            Some(State::Running(_)) => State::Again(lane),
            Some(State::Again(before)) => State::Again(lane.min(*before)),
        };
        if matches!(next, State::Waiting(_)) {
            match lane {
                Lane::Changed => self.changed.push_back(key.clone()),
                Lane::Listed => drop(self.listed.insert(stored(key.clone()))),
            }
        }
        self.states.insert(key, next);
    }

    /// Asks for an object after so long, unless somebody does before.
    pub fn add_after(&mut self, key: Key, lane: Lane, wait: Duration, now: Instant) {
        match now.checked_add(wait) {
            Some(at) if !wait.is_zero() && !self.states.contains_key(&key) => self.set_due(key, lane, at),
            _ => self.add(key, lane),
        }
    }

    /// The earlier time counts.
    fn set_due(&mut self, key: Key, lane: Lane, at: Instant) {
        if let Some((before, of)) = self.due.get(&key).copied() {
            if before <= at {
                return;
            }
            self.later.remove(&(before, key.clone(), of));
        }
        self.later.insert((at, key.clone(), lane));
        self.due.insert(key, (at, lane));
    }

    /// The next one to work on, where there is room for so many more; it counts as running until [`Queue::done`]. What was listed and
    /// is written together begins together: where there is no room for it now, it waits until there is.
    pub fn next(&mut self, room: Room) -> Option<Key> {
        loop {
            self.turn = (self.turn + 1) % TURNS;
            let order =
                if self.turn == 0 { [Lane::Listed, Lane::Changed] } else { [Lane::Changed, Lane::Listed] };
            let (lane, key) = order.into_iter().find_map(|lane| Some((lane, self.take(lane, room)?)))?;
            if self.states.get(&key) == Some(&State::Waiting(lane)) {
                if let Some((at, of)) = self.due.remove(&key) {
                    self.later.remove(&(at, key.clone(), of));
                }
                self.states.insert(key.clone(), State::Running(lane));
                return Some(key);
            }
        }
    }

    /// It was worked on; it is to be again after so long, if nobody asks before.
    pub fn done(&mut self, key: &Key, again: Option<Duration>, now: Instant) {
        match self.states.remove(key) {
            Some(State::Again(lane)) => self.add(key.clone(), lane),
            Some(State::Running(lane)) => {
                if let Some(at) = again.and_then(|wait| now.checked_add(wait)) {
                    self.set_due(key.clone(), lane, at);
                }
            }
            Some(waiting @ State::Waiting(_)) => drop(self.states.insert(key.clone(), waiting)),
            None => {}
        }
    }

    /// When the first one's time comes.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(at, ..)| *at)
    }

    /// Asks for those whose time has come.
    pub fn wake(&mut self, now: Instant) {
        while self.next_due().is_some_and(|at| at <= now) {
            if let Some((_, key, lane)) = self.later.pop_first() {
                self.due.remove(&key);
                self.add(key, lane);
            }
        }
    }

    /// Whether so many wait that were listed.
    pub fn is_catching_up(&self, many: usize) -> bool {
        self.listed.len() > many
    }

    fn take(&mut self, lane: Lane, room: Room) -> Option<Key> {
        if lane == Lane::Changed {
            let next = self.changed.pop_front()?;
            self.overtook += 1;
            return Some(next);
        }
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.listed.range((after, Bound::Unbounded)).next().or_else(|| self.listed.first())?;
        let begins = self.last.as_ref().is_none_or(|last| !are_together(last, next));
        // Who changes things without end keeps nobody waiting for room.
        if begins && self.overtook < room.most {
            let together = self.listed.range(next..).take_while(|other| are_together(next, other));
            let much = room.most / 2;
            let count = together.take(much + 1).count();
            // What is much is written in several goes, as so much room is seldom free.
            if count > room.now && count <= much {
                return None;
            }
        }
        let next = next.clone();
        self.listed.remove(&next);
        self.last = Some(next.clone());
        self.overtook = 0;
        let (namespace, _, name) = next;
        Some((namespace, name))
    }
}

/// How many may begin.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Now.
    pub now: usize,
    /// Where none is worked on.
    pub most: usize,
}

fn are_together(one: &Stored, other: &Stored) -> bool {
    (&one.0, one.1) == (&other.0, other.1)
}

fn stored((namespace, name): Key) -> Stored {
    let number = ledger::number(&name);
    (namespace, number, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("apps".to_owned(), name.to_owned())
    }

    const WIDE: Room = Room { now: usize::MAX - 1, most: usize::MAX - 1 };

    fn all(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.next(WIDE)).map(|(_, name)| name).collect()
    }

    #[test]
    fn each_waits_once_and_in_order() {
        let mut queue = Queue::default();
        for name in ["a", "b", "a", "c", "b"] {
            queue.add(key(name), Lane::Changed);
        }
        assert_eq!(all(&mut queue), ["a", "b", "c"]);
    }

    #[test]
    fn what_changed_overtakes_what_was_listed_and_does_not_starve_it() {
        let mut queue = Queue::default();
        for number in 0..100 {
            queue.add(key(&format!("listed-{number:02}")), Lane::Listed);
        }
        // One that was listed changes: it goes ahead, and is not worked on twice.
        queue.add(key("listed-99"), Lane::Changed);
        queue.add(key("new"), Lane::Changed);
        let order = all(&mut queue);
        assert_eq!(order.len(), 101);
        let place = |name: &str| order.iter().position(|other| other == name).unwrap();
        assert!(place("listed-99") < 3 && place("new") < 4, "{order:?}");

        for number in 0..100 {
            queue.done(&key(&format!("listed-{number:02}")), None, Instant::now());
            queue.add(key(&format!("listed-{number:02}")), Lane::Changed);
        }
        queue.add(key("old"), Lane::Listed);
        assert!(all(&mut queue).iter().position(|name| name == "old").unwrap() < 4);
    }

    #[test]
    fn what_was_listed_comes_as_the_ledger_stores_it_and_round_and_round() {
        let mut queue = Queue::default();
        for number in (0..40).rev() {
            queue.add(key(&format!("app-{number:02}")), Lane::Listed);
        }
        assert!(queue.is_catching_up(39) && !queue.is_catching_up(40));
        let first: Vec<String> = (0..20).filter_map(|_| queue.next(WIDE)).map(|(_, name)| name).collect();
        assert!(first.is_sorted_by_key(|name| ledger::number(name)), "{first:?}");
        // Who comes again waits until everybody had a turn.
        queue.done(&key(&first[0]), None, Instant::now());
        queue.add(key(&first[0]), Lane::Listed);
        let rest = all(&mut queue);
        assert_eq!((rest.len(), rest.last()), (21, Some(&first[0])));
        assert!(rest[..20].is_sorted_by_key(|name| ledger::number(name)), "{rest:?}");
    }

    /// Sixty, and how many of them lie in each ConfigMap.
    fn sixty(queue: &mut Queue) -> [usize; 4] {
        let names: Vec<String> = (0..60).map(|number| format!("app-{number:02}")).collect();
        names.iter().for_each(|name| queue.add(key(name), Lane::Listed));
        [0, 1, 2, 3].map(|number| names.iter().filter(|name| ledger::number(name) == number).count())
    }

    /// How many of so many begin, where 60 may at all.
    fn begin(queue: &mut Queue, now: usize) -> usize {
        (0..now).map_while(|begun| queue.next(Room { now: now - begun, most: 60 })).count()
    }

    #[test]
    fn what_is_stored_together_begins_together_if_it_can() {
        let mut queue = Queue::default();
        let [first, second, third, _] = sixty(&mut queue);
        assert_eq!(begin(&mut queue, first + second - 1), first, "the second has no room");
        assert_eq!(begin(&mut queue, second - 1), 0);
        // What changed needs no room but its own.
        queue.add(key("new"), Lane::Changed);
        assert_eq!(begin(&mut queue, 1), 1);
        assert_eq!(begin(&mut queue, second), second);
        let few = Room { now: 1, most: 2 * third - 1 };
        assert!(queue.next(few).is_some(), "for so many there is seldom room");
        assert_eq!(begin(&mut queue, third - 2), third - 2, "the rest of what has begun");
        assert_eq!(begin(&mut queue, 60), 60 - first - second - third + 1);
    }

    #[test]
    fn who_changes_things_without_end_keeps_nobody_waiting_for_room() {
        let mut queue = Queue::default();
        sixty(&mut queue);
        let mut changes = 0;
        // There is never room for more than two.
        while queue.is_catching_up(0) {
            for _ in 0..2 {
                queue.add(key(&format!("new-{changes}")), Lane::Changed);
                changes += 1;
            }
            begin(&mut queue, 2);
            assert!(changes < 1000, "{} wait", queue.listed.len());
        }
    }

    #[test]
    fn one_that_is_worked_on_waits_until_that_is_done() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(key("a"), Lane::Listed);
        assert_eq!(queue.next(WIDE), Some(key("a")));
        queue.add(key("a"), Lane::Listed);
        queue.add(key("a"), Lane::Changed);
        assert_eq!(queue.next(WIDE), None, "two would work on it");
        // It was asked for: no time is waited for.
        queue.done(&key("a"), Some(Duration::from_secs(60)), now);
        assert_eq!((queue.next(WIDE), queue.next_due()), (Some(key("a")), None));
        queue.done(&key("a"), None, now);
        assert_eq!(queue.next(WIDE), None);
        assert!(queue.states.is_empty() && queue.due.is_empty());
    }

    #[test]
    fn what_has_time_waits_and_is_worked_on_earlier_if_somebody_asks() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        queue.add_after(key("a"), Lane::Changed, Duration::from_secs(8), now);
        queue.add_after(key("a"), Lane::Changed, Duration::from_secs(4), now);
        queue.add_after(key("a"), Lane::Changed, Duration::from_secs(6), now);
        assert_eq!((queue.next(WIDE), queue.next_due()), (None, Some(after(4))));
        queue.wake(after(4));
        assert_eq!((queue.next(WIDE), queue.next_due()), (Some(key("a")), None));
        // Asked for while it is worked on, it is not to be missed.
        queue.add_after(key("a"), Lane::Changed, Duration::from_secs(6), now);
        queue.done(&key("a"), None, now);
        assert_eq!(queue.next(WIDE), Some(key("a")));
        queue.done(&key("a"), None, now);
        queue.add_after(key("a"), Lane::Changed, Duration::from_secs(6), now);
        queue.add_after(key("a"), Lane::Changed, Duration::ZERO, now);
        assert_eq!((queue.next(WIDE), queue.next_due()), (Some(key("a")), None));
    }

    #[test]
    fn time_brings_it_back_unless_somebody_asked_before() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        for name in ["a", "b"] {
            queue.add(key(name), Lane::Changed);
            assert_eq!(queue.next(WIDE), Some(key(name)));
        }
        queue.done(&key("a"), Some(Duration::from_secs(5)), now);
        queue.done(&key("b"), Some(Duration::from_secs(3)), now);
        assert_eq!(queue.next_due(), Some(after(3)));
        queue.add(key("b"), Lane::Listed);
        assert_eq!(queue.next(WIDE), Some(key("b")));
        assert_eq!(queue.next_due(), Some(after(5)), "the earlier time of b is void");
        queue.wake(after(4));
        assert_eq!(queue.next(WIDE), None);
        queue.wake(after(5));
        assert_eq!((queue.next(WIDE), queue.next_due()), (Some(key("a")), None));
    }
}
