//! A whole EncryptedSecret under everything that may happen to it: an operator that stops after any of its writes, a second
//! one that acts on what it saw earlier, documents, Secrets, statuses and objects that change, go and come back, and
//! deliveries that are switched. What must hold is checked at every write and whenever it comes to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use touchseal_crds::EncryptedSecretSpec;
use touchseal_crds::names::SOURCE_ANNOTATION;
use touchseal_crds::rotation::Rotation;

use super::*;
use crate::consumers::{Consumer, How, Owner, Ref, Shape, Times};
use crate::decision::Decision;
use crate::entry::LedgerKey;
use crate::number::Place;
use crate::observed::{Consumers, OurAlias};
use crate::{Opened, decide};

/// Small and seeded, so that a failure can be replayed from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A content is one number; 0 is what somebody else wrote into a Secret.
type Plain = u8;

#[derive(Clone, Debug)]
struct Stored {
    plain: Plain,
    ours: OurSecret,
    foreign: bool,
}

/// The cluster, as far as one EncryptedSecret `app` is concerned.
#[derive(Clone, Debug)]
struct Cluster {
    object: EncryptedSecret,
    plain: Plain,
    secrets: BTreeMap<String, Stored>,
    alias: Option<OurAlias>,
    ledger: Option<LedgerEntry>,
    pods: BTreeSet<String>,
    templates: BTreeSet<String>,
    pods_known: bool,
    sealed: bool,
    version: u64,
    clock: i64,
}

/// What every write is checked against.
#[derive(Default)]
struct Memory {
    /// The one content of each number ever given out.
    numbers: BTreeMap<i64, Plain>,
    /// The one content of each name ever written with delivery Immutable.
    names: BTreeMap<String, Plain>,
    /// What the Secret of the target's own name held, one after the other.
    served: Vec<Plain>,
}

fn at(clock: i64) -> Time {
    Time(Timestamp::from_second(1_700_000_000 + clock).unwrap())
}

fn print(plain: Plain) -> [u8; 16] {
    [plain; 16]
}

impl Cluster {
    fn new() -> Cluster {
        let rotation = Rotation {
            retention: Some(Retention { period: Some("5s".to_owned()), generations: Some(1) }),
            ..Rotation::default()
        };
        let spec = EncryptedSecretSpec { rotation: Some(rotation), ..EncryptedSecretSpec::default() };
        let mut object = EncryptedSecret::new("app", spec);
        object.metadata.uid = Some("uid-0".to_owned());
        object.metadata.generation = Some(1);
        Cluster {
            object,
            plain: 1,
            secrets: BTreeMap::new(),
            alias: None,
            ledger: None,
            pods: BTreeSet::new(),
            templates: BTreeSet::new(),
            pods_known: true,
            sealed: false,
            version: 0,
            clock: 0,
        }
    }

    fn rotation(&mut self) -> &mut Rotation {
        self.object.spec.rotation.get_or_insert_default()
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    fn digests(&self) -> Digests {
        Digests {
            keyring: "prod".to_owned(),
            key: LedgerKey { keyring: "id".to_owned(), generation: 1 },
            oldest_generation: 1,
            keys: [("password".to_owned(), format!("digest-{:03}", self.plain))].into(),
            older: BTreeMap::new(),
            modified: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            fingerprint: print(self.plain),
            type_: None,
            last_modified: None,
        }
    }

    fn seen(&self, name: &str) -> SecretSeen {
        match self.secrets.get(name) {
            None => SecretSeen::Absent,
            Some(Stored { foreign: false, ours, .. }) => SecretSeen::Ours(ours.clone()),
            Some(Stored { ours, .. }) => SecretSeen::Foreign {
                uid: ours.uid.clone(),
                resource_version: ours.resource_version.clone(),
                consents: false,
                owner: "somebody else".to_owned(),
                type_: "Opaque".to_owned(),
                immutable: false,
            },
        }
    }

    /// Everything one reconcile gathers; `outgoing` is the content it took for the copy.
    fn observe(&self) -> (Observed<'_>, Option<Plain>) {
        let object = &self.object;
        let opened = match self.sealed {
            true => Opened::Sealed { keyrings: "prod".to_owned() },
            false => Opened::Content(self.digests()),
        };
        let ours = self.secrets.iter().filter(|(_, stored)| !stored.foreign);
        let others: Vec<Other> = ours
            .map(|(name, stored)| Other { name: name.clone(), secret: stored.ours.clone() })
            .filter(|other| is_other(object, &other.name, other.role()))
            .collect();
        let held = held(self.ledger.as_ref(), &others);
        let secret = match (held, delivery(object)) {
            (None, Delivery::Immutable) => SecretSeen::Absent,
            (held, _) => self.seen(&secret_name(object, held.unwrap_or_default())),
        };
        let previous = match delivery(object) {
            Delivery::Previous => self.seen(&previous_name(object)),
            _ => SecretSeen::Absent,
        };
        let outgoing = self.outgoing(&secret);
        let pods = self.pods.iter().map(|secret| pod(secret)).collect();
        let mut observed = Observed {
            object,
            source: Some(format!("source-{}", self.plain)),
            opened,
            secret,
            fresh: SecretSeen::Absent,
            previous,
            live: if outgoing.is_some() { Live::Intact } else { Live::Unknown },
            others,
            alias: self.alias.clone().map_or(AliasSeen::Absent, AliasSeen::Ours),
            ledger: self.ledger.clone(),
            floor: crate::Floor::None,
            consumers: Consumers { known: self.pods_known, pods, ..Consumers::default() },
        };
        if let Some(name) = Place::of(&observed).fresh_name(&at(self.clock)) {
            observed.fresh = self.seen(&name);
        }
        (observed, outgoing)
    }

    /// The content about to be overwritten, where it is what the ledger knows of its number.
    fn outgoing(&self, secret: &SecretSeen) -> Option<Plain> {
        let (SecretSeen::Ours(ours), Some(entry)) = (secret, &self.ledger) else { return None };
        let plain = self.secrets.get("app").filter(|_| delivery(&self.object) == Delivery::Previous)?.plain;
        let intact = entry.keys.get("password").is_some_and(|key| key.digest == format!("digest-{plain:03}"));
        (plain != self.plain && !self.sealed && ours.generation() == Some(entry.generation) && intact)
            .then_some(plain)
    }

    fn decide(&self) -> (Decision, Option<Plain>) {
        let (observed, outgoing) = self.observe();
        (decide(&observed, &at(self.clock)), outgoing)
    }

    /// Carries out a decision that was made on `before`, and stops after so many writes. False where it had to stop by
    /// itself: what it expects is no longer there.
    fn apply(
        &mut self,
        (before, decision, outgoing): (&Cluster, &Decision, Option<Plain>),
        mut writes: usize,
        memory: &mut Memory,
    ) -> bool {
        let mut go_on = move || {
            let go_on = writes > 0;
            writes = writes.saturating_sub(1);
            go_on
        };
        if let (Some(write), Some(plain)) = (&decision.previous, outgoing)
            && !(go_on() && self.write(write, plain, memory))
        {
            return false;
        }
        if let Some(entry) = &decision.ledger {
            if !go_on() || self.ledger != before.ledger {
                return false;
            }
            if let Some(stands) = &self.ledger {
                assert!(entry.generation >= stands.generation, "a number went back");
            }
            let plain: Plain = entry.keys["password"].digest.trim_start_matches("digest-").parse().unwrap();
            let known = *memory.numbers.entry(entry.generation).or_insert(plain);
            assert_eq!(known, plain, "number {} for two contents", entry.generation);
            self.ledger = Some(entry.clone());
        }
        if let Some(write) = &decision.secret
            && !(go_on() && self.write(write, before.plain, memory))
        {
            return false;
        }
        if let Some(write) = &decision.alias {
            let stands = self.alias.as_ref().map(|alias| alias.expected.clone());
            if !go_on() || stands != write.expects {
                return false;
            }
            let resource_version = self.next_version();
            self.alias = Some(OurAlias {
                expected: Expected { uid: "uid-of-alias".to_owned(), resource_version },
                secret_name: Some(write.secret_name.clone()),
                generation: Some(write.generation.clone()),
                owner_uid: write.owner_uid.clone(),
            });
        }
        for change in &decision.reown {
            if !go_on() || !self.is_there(&change.name, &change.expects) {
                return false;
            }
            let version = self.next_version();
            let stored = self.secrets.get_mut(&change.name).unwrap();
            stored.ours.owner_uid = change.owner_uid.clone();
            stored.ours.resource_version = version;
        }
        for removal in &decision.remove {
            if removal.unless_in_a_template && self.templates.contains(&removal.name) {
                continue;
            }
            if !go_on() {
                return false;
            }
            match removal.what {
                Removed::Alias => self.alias = None,
                Removed::Secret if !self.is_there(&removal.name, &removal.expects) => return false,
                Removed::Secret => self.remove(before, removal),
            }
        }
        if let Some(status) = &decision.status {
            if !go_on() {
                return false;
            }
            if self.object.metadata.uid == before.object.metadata.uid {
                self.object.status = Some(status.clone());
            }
        }
        true
    }

    fn is_there(&self, name: &str, expected_there: &Expected) -> bool {
        self.secrets.get(name).is_some_and(|stored| expected(&stored.ours) == *expected_there)
    }

    fn write(&mut self, write: &SecretWrite, plain: Plain, memory: &mut Memory) -> bool {
        let stands = self.secrets.get(&write.name).map(|stored| expected(&stored.ours));
        let served =
            write.name == "app" && self.secrets.get("app").is_none_or(|stored| stored.plain != plain);
        if stands != write.expects {
            return false;
        }
        let number: i64 = write.annotations[GENERATION_ANNOTATION].parse().unwrap();
        assert_eq!(memory.numbers.get(&number), Some(&plain), "{} bears {number}", write.name);
        if write.immutable {
            let known = *memory.names.entry(write.name.clone()).or_insert(plain);
            assert_eq!(known, plain, "{} was used for another content", write.name);
        }
        if let Some(stored) = self.secrets.get(&write.name) {
            assert!(!stored.foreign, "a foreign Secret was written");
            assert!(!stored.ours.immutable || write.replace || stored.plain == plain, "it is immutable");
        }
        let resource_version = self.next_version();
        let ours = OurSecret {
            uid: stands.filter(|_| !write.replace).map_or(format!("made-{resource_version}"), |e| e.uid),
            resource_version,
            fingerprint: print(plain),
            type_: write.type_.clone(),
            immutable: write.immutable,
            deleting: false,
            altered: false,
            source: write.annotations.get(SOURCE_ANNOTATION).cloned(),
            labels: write.labels.clone(),
            annotations: write.annotations.clone(),
            claimed: OurSecret::number(&write.annotations),
            owner_uid: write.owner_uid.clone(),
        };
        self.secrets.insert(write.name.clone(), Stored { plain, ours, foreign: false });
        if served {
            memory.served.push(plain);
        }
        true
    }

    fn remove(&mut self, before: &Cluster, removal: &Removal) {
        let stored = self.secrets.remove(&removal.name).unwrap();
        assert!(!stored.foreign, "a foreign Secret was deleted");
        assert!(!before.sealed, "sealed, nothing goes");
        assert!(
            before.pods_known || stored.ours.annotations.get(ROLE_ANNOTATION).is_some_and(|r| r == PREVIOUS)
        );
        let number = stored.ours.generation().unwrap();
        let entry = before.ledger.as_ref().unwrap();
        if stored.ours.annotations.get(ROLE_ANNOTATION).is_some_and(|role| role == PREVIOUS) {
            let past = entry.history.iter().find(|past| past.number == number);
            let left = past.is_none_or(|past| past.drained.is_some() || past.number == entry.generation);
            assert!(left, "{} went before it was left", removal.name);
            return;
        }
        assert!(before.pods_known, "{} went, and nobody knew who uses it", removal.name);
        assert!(!before.pods.contains(&removal.name), "{} is used", removal.name);
        let main = secret_name(&before.object, entry.generation);
        assert_ne!(removal.name, main, "the newest content went");
    }

    /// Reconciles until nothing is left to do.
    fn rest(&mut self, memory: &mut Memory) {
        for _ in 0..12 {
            let before = self.clone();
            let (decision, outgoing) = before.decide();
            if self.apply((&before, &decision, outgoing), 0, memory) {
                return self.check(memory);
            }
            let done = self.apply((&before, &decision, outgoing), usize::MAX, memory);
            assert!(done, "a write expected what is not there: {decision:?}");
        }
        panic!("it does not come to rest: {:?}", self.decide().0);
    }

    /// What holds at rest.
    fn check(&self, memory: &Memory) {
        let foreign = self.secrets.values().any(|stored| stored.foreign);
        let status = self.object.status.as_ref().unwrap();
        if self.sealed || foreign {
            return;
        }
        let entry = self.ledger.as_ref().unwrap();
        assert_eq!(memory.numbers[&entry.generation], self.plain);
        assert_eq!(status.secret_generation, Some(entry.generation));
        let name = secret_name(&self.object, entry.generation);
        assert_eq!(status.secret_name.as_ref(), Some(&name));
        assert_eq!(self.secrets[&name].plain, self.plain, "{name}");
        assert_eq!(self.secrets[&name].ours.generation(), Some(entry.generation));
        match (delivery(&self.object), &self.alias) {
            (Delivery::Immutable, Some(alias)) => assert_eq!(alias.secret_name.as_ref(), Some(&name)),
            (Delivery::Immutable, None) => panic!("no alias"),
            (_, alias) => assert!(alias.is_none(), "an alias that tells a lie"),
        }
        for stored in self.secrets.values() {
            assert_eq!(stored.ours.owner_uid, self.object.metadata.uid, "its owner is gone: it will go");
            let number = stored.ours.generation().unwrap();
            assert!(stored.ours.altered || memory.numbers[&number] == stored.plain, "{stored:?}");
        }
    }
}

fn pod(secret: &str) -> Consumer {
    let owner = Owner { kind: "Pod".into(), name: "holder".into() };
    let reference = Ref { secret: secret.into(), key: None, how: How::Pull, container: None };
    Consumer {
        shape: Arc::new(Shape { owner, refs: [reference].into() }),
        times: Times { created: 0, started: [].into() },
    }
}

/// What may happen, beside time and the operator.
#[derive(Clone, Copy, Debug)]
enum Event {
    Document(Plain),
    /// A reconcile that stops after so many writes.
    Reconcile(usize),
    /// The other operator carries out what it decided on what it saw when this happened last.
    Late(usize),
    Rest,
    StatusLost,
    StatusForged,
    MadeAgain,
    GarbageCollected,
    SecretDeleted(usize),
    SecretEdited(usize),
    Foreign(usize),
    Deliver(Delivery),
    Pods(usize),
    Templates(usize),
    Blind(bool),
    Seal(bool),
    Wait(i64),
}

fn event(random: &mut Random) -> Event {
    let small = usize::try_from(random.below(6)).unwrap();
    let odd = random.below(2) == 0;
    match random.below(34) {
        0..=6 => Event::Document(u8::try_from(1 + random.below(5)).unwrap()),
        7..=14 => Event::Reconcile(small),
        15..=17 => Event::Late(small),
        18..=19 => Event::Rest,
        20 => Event::StatusLost,
        21 => Event::StatusForged,
        22 => Event::MadeAgain,
        23 => Event::GarbageCollected,
        24 => Event::SecretDeleted(small),
        25 => Event::SecretEdited(small),
        26 => Event::Foreign(small),
        27 => Event::Deliver([Delivery::InPlace, Delivery::Previous, Delivery::Immutable][small % 3]),
        28 => Event::Pods(small),
        29 => Event::Templates(small),
        30 => Event::Blind(odd),
        31 => Event::Seal(odd),
        _ => Event::Wait(i64::try_from(small).unwrap()),
    }
}

impl Cluster {
    fn pick(&self, number: usize) -> Option<String> {
        let names: Vec<&String> = self.secrets.keys().collect();
        names.get(number % names.len().max(1)).map(|name| (*name).clone())
    }

    fn happen(&mut self, event: Event, earlier: &mut Cluster, memory: &mut Memory) {
        self.clock += 1;
        match event {
            Event::Document(plain) => self.plain = plain,
            Event::Reconcile(writes) => {
                let before = self.clone();
                let (decision, outgoing) = before.decide();
                self.apply((&before, &decision, outgoing), writes, memory);
            }
            Event::Late(writes) => {
                let before = std::mem::replace(earlier, self.clone());
                let (decision, outgoing) = before.decide();
                // Of an object that is gone meanwhile it hears before it writes anything new for it.
                if before.object.metadata.uid == self.object.metadata.uid {
                    self.apply((&before, &decision, outgoing), writes, memory);
                }
            }
            Event::Rest => self.rest(memory),
            Event::StatusLost => self.object.status = None,
            Event::StatusForged => {
                if let Some(status) = &mut self.object.status {
                    status.secret_generation = Some(99);
                    status.generations.clear();
                }
            }
            Event::MadeAgain => {
                let uid = format!("uid-{}", self.next_version());
                self.object.metadata.uid = Some(uid);
                self.object.status = None;
            }
            Event::GarbageCollected => {
                let uid = self.object.metadata.uid.clone();
                self.secrets.retain(|_, stored| stored.foreign || stored.ours.owner_uid == uid);
                self.alias = self.alias.take().filter(|alias| alias.owner_uid == uid);
            }
            Event::SecretDeleted(number) => {
                self.pick(number).and_then(|name| self.secrets.remove(&name));
            }
            Event::SecretEdited(number) => {
                let version = self.next_version();
                let Some(name) = self.pick(number) else { return };
                let stored = self.secrets.get_mut(&name).unwrap();
                if !stored.ours.immutable && !stored.foreign {
                    stored.plain = 0;
                    stored.ours.fingerprint = print(0);
                    stored.ours.altered = true;
                    stored.ours.resource_version = version;
                }
            }
            Event::Foreign(number) => {
                let name = ["app", "app-previous", "app-g2", "app-g3", "app-g4", "app-g5"][number];
                if let Some(stored) = self.secrets.get(name) {
                    if stored.foreign {
                        self.secrets.remove(name);
                    }
                    return;
                }
                let resource_version = self.next_version();
                let uid = format!("theirs-{resource_version}");
                let ours = OurSecret { uid, resource_version, ..OurSecret::default() };
                self.secrets.insert(name.to_owned(), Stored { plain: 0, ours, foreign: true });
            }
            Event::Deliver(delivery) => self.rotation().delivery = Some(delivery),
            Event::Pods(number) => {
                let name = self.pick(number);
                toggle(&mut self.pods, name);
            }
            Event::Templates(number) => {
                let name = self.pick(number);
                toggle(&mut self.templates, name);
            }
            Event::Blind(blind) => self.pods_known = !blind,
            Event::Seal(sealed) => self.sealed = sealed,
            Event::Wait(seconds) => self.clock += seconds,
        }
    }
}

fn toggle(set: &mut BTreeSet<String>, name: Option<String>) {
    let Some(name) = name else { return };
    if !set.remove(&name) {
        set.insert(name);
    }
}

#[test]
fn whatever_happens_numbers_and_names_stand_for_one_content_and_it_comes_to_rest_right() {
    let (mut rotations, mut copies, mut generations) = (0, 0, 0);
    for seed in 1..=600 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let (mut cluster, mut memory) = (Cluster::new(), Memory::default());
        let start = [Delivery::InPlace, Delivery::Previous, Delivery::Immutable][random.below(3) as usize];
        cluster.rotation().delivery = Some(start);
        let mut earlier = cluster.clone();
        let mut log = Log { seed, events: Vec::new() };
        for _ in 0..60 {
            let event = event(&mut random);
            log.events.push(event);
            cluster.happen(event, &mut earlier, &mut memory);
            copies += usize::from(cluster.secrets.contains_key("app-previous"));
        }
        // Everybody leaves, and time passes: then nothing is left but what is needed.
        cluster.pods.clear();
        cluster.templates.clear();
        cluster.secrets.retain(|_, stored| !stored.foreign);
        (cluster.pods_known, cluster.sealed) = (true, false);
        // What is written, that everybody left it, and what goes then, come after one another.
        for _ in 0..3 {
            cluster.rest(&mut memory);
            cluster.clock += 1000;
        }
        let newest = cluster.ledger.as_ref().unwrap().generation;
        let left: Vec<&String> = cluster.secrets.keys().collect();
        match delivery(&cluster.object) {
            Delivery::InPlace => assert_eq!(left, ["app"]),
            Delivery::Previous => {
                assert!(left == ["app"] || cluster.secrets["app-previous"].ours.generation() == Some(newest))
            }
            Delivery::Immutable => {
                assert!(left.len() <= 2 && !cluster.secrets.contains_key("app"), "{left:?}")
            }
        }
        rotations += newest;
        generations += memory.names.len();
        log.events.clear();
    }
    assert!(
        rotations > 2000 && copies > 2000 && generations > 500,
        "{rotations} {copies} {generations}: hardly anything"
    );
}

/// Tells what led to a failure.
struct Log {
    seed: u64,
    events: Vec<Event>,
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}: {:?}", self.seed, self.events);
        }
    }
}

/// From rest: a document, a stop after some writes, perhaps another document, another stop; then rest.
#[test]
fn the_content_before_is_kept_wherever_the_operator_stops() {
    let mut kept = 0;
    for first in 0..8 {
        for second in 0..8 {
            for then in [2, 3, 1] {
                let (mut cluster, mut memory) = (Cluster::new(), Memory::default());
                cluster.rotation().delivery = Some(Delivery::Previous);
                // Somebody uses the old content: nothing goes.
                cluster.pods_known = false;
                cluster.rest(&mut memory);
                let mut earlier = cluster.clone();
                for event in [
                    Event::Document(2),
                    Event::Reconcile(first),
                    Event::Document(then),
                    Event::Reconcile(second),
                    Event::Rest,
                ] {
                    cluster.happen(event, &mut earlier, &mut memory);
                }
                let Some([before, now]) = memory.served.last_chunk() else {
                    assert_eq!(memory.served, [1], "{first} {second} {then}");
                    continue;
                };
                assert_eq!(*now, cluster.plain);
                let previous = &cluster.secrets["app-previous"];
                assert_eq!(previous.plain, *before, "stops after {first} and {second}, then {then}");
                kept += 1;
            }
        }
    }
    assert!(kept > 100, "{kept}");
}

/// A cluster at rest whose content was served with this delivery.
fn at_rest(delivery: Delivery) -> (Cluster, Memory) {
    let (mut cluster, mut memory) = (Cluster::new(), Memory::default());
    cluster.rotation().delivery = Some(delivery);
    cluster.rest(&mut memory);
    (cluster, memory)
}

fn reasons(decision: &Decision) -> Vec<Reason> {
    decision.notices.iter().map(|notice| notice.reason).collect()
}

#[test]
fn what_somebody_wrote_into_the_secret_is_not_kept() {
    let (mut cluster, mut memory) = at_rest(Delivery::Previous);
    let mut earlier = cluster.clone();
    cluster.happen(Event::SecretEdited(0), &mut earlier, &mut memory);
    cluster.plain = 2;
    let (decision, _) = cluster.decide();
    assert_eq!((&decision.previous, reasons(&decision).contains(&Reason::PreviousLost)), (&None, true));
    assert_eq!(decision.ledger.unwrap().previous, None);
}

#[test]
fn a_copy_that_was_edited_before_the_rotation_went_on_is_made_again() {
    let (mut cluster, mut memory) = at_rest(Delivery::Previous);
    let mut earlier = cluster.clone();
    cluster.plain = 2;
    for event in [Event::Reconcile(1), Event::SecretEdited(1)] {
        cluster.happen(event, &mut earlier, &mut memory);
    }
    assert_eq!(cluster.secrets["app-previous"].plain, 0);
    cluster.rest(&mut memory);
    assert_eq!(cluster.secrets["app-previous"].plain, 1);
}

#[test]
fn a_copy_that_is_lost_is_told_once_and_never_made_again_wrongly() {
    for lose in [Event::SecretDeleted(1), Event::SecretEdited(1)] {
        let (mut cluster, mut memory) = at_rest(Delivery::Previous);
        let mut earlier = cluster.clone();
        cluster.pods_known = false;
        cluster.plain = 2;
        cluster.rest(&mut memory);
        cluster.happen(lose, &mut earlier, &mut memory);
        let (decision, _) = cluster.decide();
        assert_eq!((reasons(&decision), decision.previous), (vec![Reason::PreviousLost], None));
        cluster.rest(&mut memory);
        assert!(cluster.decide().0.notices.is_empty());
        assert!(cluster.secrets.get("app-previous").is_none_or(|stored| stored.plain == 0));
    }
}

#[test]
fn a_span_longer_than_any_is_not_taken_for_none() {
    for (period, stays) in [("99999d", true), ("36500d", true), ("5s", false)] {
        let (mut cluster, mut memory) = at_rest(Delivery::Previous);
        cluster.rotation().retention = Some(Retention { period: Some(period.to_owned()), generations: None });
        cluster.plain = 2;
        // It is written, everybody has left it, half a century passes.
        for passes in [1000, 50 * 365 * 86_400, 0] {
            cluster.rest(&mut memory);
            cluster.clock += passes;
        }
        assert_eq!(cluster.secrets.contains_key("app-previous"), stays, "{period}");
    }
}

#[test]
fn a_foreign_secret_in_any_place_stops_the_rotation_before_a_number_is_given_out() {
    for (mode, name) in [(Delivery::Previous, "app-previous"), (Delivery::Immutable, "app-g2")] {
        let (mut cluster, _) = at_rest(mode);
        let ours = OurSecret { uid: "theirs".to_owned(), ..OurSecret::default() };
        cluster.secrets.insert(name.to_owned(), Stored { plain: 0, ours, foreign: true });
        cluster.plain = 2;
        let (decision, _) = cluster.decide();
        assert_eq!(decision.ledger.map(|entry| entry.generation), None, "{name}");
        assert!(decision.secret.is_none() && decision.previous.is_none() && decision.alias.is_none());
        assert_eq!(
            (decision.watch_foreign, decision.notices[0].reason),
            (vec![name.to_owned()], Reason::Conflict)
        );
    }
}

#[test]
fn without_a_ledger_numbers_go_on_from_what_is_borne() {
    for mode in [Delivery::InPlace, Delivery::Previous, Delivery::Immutable] {
        let (mut cluster, mut memory) = at_rest(mode);
        for plain in [2, 3] {
            cluster.plain = plain;
            cluster.rest(&mut memory);
        }
        cluster.ledger = None;
        let number = |cluster: &Cluster| cluster.decide().0.ledger.unwrap().generation;
        assert_eq!(number(&cluster), 3, "{mode:?}: the same content keeps its number");
        cluster.plain = 4;
        assert_eq!(number(&cluster), 4, "{mode:?}");
    }
}

#[test]
fn a_number_that_nothing_can_have_come_to_is_not_believed() {
    for mode in [Delivery::InPlace, Delivery::Previous, Delivery::Immutable] {
        for planted in [i64::MAX, i64::MAX - 1, 0, -7] {
            let (mut cluster, _) = at_rest(mode);
            let before = cluster.ledger.as_ref().unwrap().generation;
            for secret in cluster.secrets.values_mut() {
                secret.ours.annotations.insert(GENERATION_ANNOTATION.to_owned(), planted.to_string());
                secret.ours.claimed = OurSecret::number(&secret.ours.annotations);
            }
            cluster.plain = 2;
            let number = |cluster: &Cluster| cluster.decide().0.ledger.unwrap().generation;
            assert_eq!(number(&cluster), before + 1, "{mode:?} {planted}");
            // Also where there is nothing else to go by; and the next content gets another number.
            cluster.ledger = None;
            let first = number(&cluster);
            assert!((1..=2).contains(&first), "{mode:?} {planted}: {first}");
            cluster.rest(&mut Memory::default());
            cluster.plain = 3;
            assert_eq!(number(&cluster), first + 1, "{mode:?} {planted}");
        }
    }
}

#[test]
fn names_that_leave_no_room_for_a_number_are_refused() {
    let ready = |delivery: Delivery, length: usize| {
        let mut cluster = Cluster::new();
        cluster.rotation().delivery = Some(delivery);
        cluster.object.metadata.name = Some("a".repeat(length));
        cluster.decide().0.status.unwrap().conditions[0].reason.clone()
    };
    for (delivery, longest) in
        [(Delivery::InPlace, 253), (Delivery::Previous, 244), (Delivery::Immutable, 232)]
    {
        assert_eq!(ready(delivery, longest), "Materialised", "{delivery:?}");
        let longer = ready(delivery, longest + 1);
        assert!(longer == "InvalidTarget", "{delivery:?}: {longer}");
    }
}
