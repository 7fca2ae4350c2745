//! The unseal ceremony's operator side: feeds what the API server shows to each keyring's state machine and carries out
//! its effects. Events take effect at once; effects wait in a queue a keyring, so that an API server that does not
//! answer delays no sealing.

pub mod audit;
mod effects;
mod hand_over;
mod report;
mod request;
mod tick;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event as Watched};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use touchseal_crds::names::SEAL_ANNOTATION;
use touchseal_crds::unseal_request::{Release, ShareRelease};
use touchseal_crds::{Keyring, UnsealRequest};
use touchseal_keyring::state::{Effect, Event, Phase};
use touchseal_keyring::{Fingerprint, Pin, State, manifest};

pub use audit::{Budget, Quiet};

use crate::events::Events;
use crate::http::Readiness;
use crate::identity::Identity;
use crate::keys::Keys;
use crate::lax;
use crate::leadership::Leadership;
use crate::pins;
use crate::telemetry::Metrics;
use crate::words;

/// What the ceremony needs.
pub struct Ceremony {
    /// API server.
    pub client: Client,
    /// Who may write for all replicas.
    pub leadership: Leadership,
    /// Most proofs checked at one time: whoever may write requests could ask for any number.
    pub checks: Semaphore,
    /// Told once it is known which keyrings there are and no hand-over is to be expected.
    pub ready: Readiness,
    /// When it is told all the same.
    pub ready_by: Instant,
    /// Which refusals are told in Events.
    pub quiet: audit::Quiet,
    /// This process.
    pub identity: Identity,
    /// Namespace of requests and pins.
    pub namespace: String,
    /// ServiceAccount of the proofs.
    pub service_account: String,
    /// The state machines.
    pub keys: Arc<Keys>,
    /// Ticks whenever a keyring opened or closed.
    pub keys_changed: watch::Sender<u64>,
    /// Events.
    pub events: Events,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// metadata.uid of each Keyring seen.
    pub uids: Mutex<HashMap<String, String>>,
}

impl Ceremony {
    fn learn_uid(&self, keyring: &str, uid: Option<String>) {
        let mut uids = self.uids.lock().unwrap_or_else(PoisonError::into_inner);
        uids.extend(uid.map(|uid| (keyring.to_owned(), uid)));
    }

    /// metadata.uid of a Keyring, for Events about it.
    fn uid(&self, keyring: &str) -> Option<String> {
        self.uids.lock().unwrap_or_else(PoisonError::into_inner).get(keyring).cloned()
    }
}

/// How often it is looked at what waits for nothing but time.
const TICK: Duration = Duration::from_secs(2);

/// Proofs of other replicas that are checked at once, and the time until one more is.
const CHECKS: (u32, Duration) = (20, Duration::from_secs(1));

/// What an effect, or a timer, brings back: keyring and event.
type Answer = (String, Event);

impl Ceremony {
    /// Runs until the process ends. `listed` is told once every keyring there is has been looked at.
    pub async fn run(self, listed: oneshot::Sender<()>) {
        let config_maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let pinned = watcher::Config::default().labels(&pins::selector());
        let mut keyrings = lax::keyrings(self.client.clone()).boxed();
        let mut requests = lax::namespaced::<UnsealRequest>(self.client.clone(), &self.namespace).boxed();
        let mut config_maps = watcher::watcher(config_maps, pinned).default_backoff().boxed();
        let mut pods = crate::lists::metadata::<Pod>(self.client.clone(), &self.identity.namespace).boxed();
        let mut tick = tokio::time::interval(TICK);
        let (answers, mut answered) = mpsc::unbounded_channel();
        let mut desk = Desk::new(Arc::new(self), answers, listed);
        loop {
            tokio::select! {
                Some(event) = keyrings.next() => match event {
                    Ok(event) => desk.keyring(event),
                    Err(error) => failed("Keyrings", &error),
                },
                Some(event) = requests.next() => match event {
                    Ok(event) => desk.request(event),
                    Err(error) => failed("UnsealRequests", &error),
                },
                Some(event) = config_maps.next() => match event {
                    Ok(event) => desk.pin(event),
                    Err(error) => failed("pins", &error),
                },
                Some(event) = pods.next() => match event {
                    Ok(Watched::Delete(_) | Watched::InitDone) => desk.outdated = true,
                    Ok(_) => {}
                    Err(error) => failed("pods", &error),
                },
                _ = tick.tick() => desk.tick(),
                Some((keyring, event)) = answered.recv() => desk.answered(&keyring, event),
                else => return,
            }
            desk.tell_ready();
        }
    }
}

fn failed(what: &str, error: &watcher::Error) {
    tracing::warn!(problem = words::of_watch(error), "watch of {what} failed; it is tried again");
}

/// Turns what the watches show into events. Does no input or output itself.
struct Desk {
    ceremony: Arc<Ceremony>,
    answers: mpsc::UnboundedSender<Answer>,
    /// Effects waiting, by keyring.
    queues: HashMap<String, mpsc::UnboundedSender<effects::Job>>,
    /// Keyrings in the cluster.
    present: HashSet<String>,
    /// Keyrings listed by the watch that is being set up again.
    listed: HashSet<String>,
    keyrings_listed: bool,
    /// Pins as stored; a keyring without one is told so once the list is complete.
    pins: BTreeMap<String, Option<Pin>>,
    /// The list of pins that is coming in; it replaces `pins` when it is complete.
    pins_coming: BTreeMap<String, Option<Pin>>,
    /// Fingerprint of each keyring's manifest, where it verifies.
    lines: HashMap<String, Fingerprint>,
    pins_listed: bool,
    /// Told once both lists are in.
    listed_once: Option<oneshot::Sender<()>>,
    /// Keyrings this process's requests in the cluster ask for.
    requests: HashSet<String>,
    /// The same as it was before the watch was set up again.
    requests_before: HashSet<String>,
    /// Other replicas' requests.
    waiting: hand_over::Waiting,
    /// Of their proofs that may be checked: each costs the API server a review.
    checks: audit::Budget,
    /// Keyrings that another replica may hand over, by their statuses.
    elsewhere: HashSet<String>,
    /// A pod may be gone that the Keyrings' statuses still name.
    outdated: bool,
    /// The release last fed to each keyring: the watch shows the same one many times.
    releases: HashMap<String, Release>,
    /// The same of shares: by keyring, then YubiKey.
    shares: HashMap<String, HashMap<u32, ShareRelease>>,
}

impl Desk {
    fn new(
        ceremony: Arc<Ceremony>,
        answers: mpsc::UnboundedSender<Answer>,
        listed: oneshot::Sender<()>,
    ) -> Desk {
        Desk {
            ceremony,
            answers,
            queues: HashMap::new(),
            present: HashSet::new(),
            listed: HashSet::new(),
            keyrings_listed: false,
            pins: BTreeMap::new(),
            pins_coming: BTreeMap::new(),
            lines: HashMap::new(),
            pins_listed: false,
            listed_once: Some(listed),
            requests: HashSet::new(),
            requests_before: HashSet::new(),
            waiting: hand_over::Waiting::default(),
            checks: audit::Budget::new(CHECKS.0, CHECKS.1, Instant::now()),
            elsewhere: HashSet::new(),
            outdated: true,
            releases: HashMap::new(),
            shares: HashMap::new(),
        }
    }

    fn keyring(&mut self, event: Watched<Keyring>) {
        match event {
            Watched::Init => self.listed.clear(),
            Watched::InitApply(keyring) => {
                self.listed.insert(keyring.name_any());
                self.keyring_seen(keyring);
            }
            Watched::InitDone => {
                let lost: Vec<String> = self.present.difference(&self.listed).cloned().collect();
                lost.iter().for_each(|name| self.keyring_gone(name));
                self.keyrings_listed = true;
                self.tell_listed();
            }
            Watched::Apply(keyring) => self.keyring_seen(keyring),
            Watched::Delete(keyring) => self.keyring_gone(&keyring.name_any()),
        }
    }

    fn tell_listed(&mut self) {
        if self.keyrings_listed && self.pins_listed {
            // Nobody waits for it any more when the process ends.
            let _ = self.listed_once.take().map(|listed| listed.send(()));
        }
    }

    fn keyring_seen(&mut self, keyring: Keyring) {
        let name = keyring.name_any();
        let new = self.present.insert(name.clone());
        self.ceremony.learn_uid(&name, keyring.uid());
        if hand_over::may_come(&keyring, &self.ceremony.identity.pod) {
            self.elsewhere.insert(name.clone());
        } else {
            self.elsewhere.remove(&name);
        }
        if let Some(marker) = keyring.annotations().get(SEAL_ANNOTATION) {
            self.feed(&name, Event::SealRequested { marker: marker.clone() });
        }
        let line = manifest::verify(&keyring.spec).ok().map(|verified| verified.fingerprint());
        let another = match line {
            Some(line) => self.lines.insert(name.clone(), line) != Some(line),
            None => self.lines.remove(&name).is_some(),
        };
        // The pin goes first: an unpinned keyring must not meet a manifest whose line is pinned under another name.
        if (new || another) && self.pins_listed {
            self.feed_pin(&name);
        }
        let observed = keyring.status.as_ref().and_then(|status| status.observed_generation);
        let edited = observed != keyring.metadata.generation;
        self.feed(&name, Event::ManifestSeen(keyring.spec));
        // An edit that changes nothing about who holds keys is seen all the same.
        let judged = |state: &State| !matches!(state.phase(), Phase::Absent);
        if edited && self.ceremony.keys.look(&name, judged) == Some(true) {
            self.queues.get(&name).into_iter().for_each(|queue| drop(queue.send(effects::Job::Report)));
        }
    }

    fn keyring_gone(&mut self, name: &str) {
        self.present.remove(name);
        self.elsewhere.remove(name);
        self.lines.remove(name);
        self.releases.remove(name);
        self.shares.remove(name);
        self.feed(name, Event::ManifestGone);
    }

    fn pin(&mut self, event: Watched<ConfigMap>) {
        match event {
            Watched::Init => self.pins_coming.clear(),
            Watched::InitApply(map) => self.pins_coming.extend(pins::read(&map)),
            Watched::InitDone => {
                self.pins = std::mem::take(&mut self.pins_coming);
                self.pins_listed = true;
                self.feed_pins();
                self.tell_listed();
            }
            Watched::Apply(map) => {
                self.pins.extend(pins::read(&map));
                self.feed_pins();
            }
            Watched::Delete(map) => {
                if let Some((name, _)) = pins::read(&map) {
                    self.pins.remove(&name);
                    self.feed_pins();
                }
            }
        }
    }

    /// What an effect or a timer brought back. A pin that was found stored is one of several that may bind the keyring.
    fn answered(&mut self, keyring: &str, event: Event) {
        match event {
            Event::PinLoaded(Some(found)) => {
                self.pins.insert(keyring.to_owned(), Some(found));
                self.feed_pins();
            }
            Event::PinPersisted(pin) => {
                self.pins.insert(keyring.to_owned(), Some(pin.clone()));
                self.feed(keyring, Event::PinPersisted(pin));
            }
            event => self.feed(keyring, event),
        }
    }

    /// A pin binds every keyring of its line.
    fn feed_pins(&mut self) {
        for name in self.present.clone() {
            self.feed_pin(&name);
        }
    }

    /// A keyring whose pin cannot be read stays shut, for what was pinned is not known.
    fn feed_pin(&mut self, keyring: &str) {
        match pins::binding(&self.pins, keyring, self.lines.get(keyring)) {
            None => self.feed(keyring, Event::PinLoaded(None)),
            Some(Some(pin)) => {
                let pin = pin.clone();
                self.feed(keyring, Event::PinLoaded(Some(pin)));
            }
            Some(None) => tracing::error!(
                keyring,
                config_map = pins::name(keyring),
                "the pin cannot be read, so the keyring is not used; restore the ConfigMap, or delete it to pin the present manifest"
            ),
        }
    }

    fn request(&mut self, event: Watched<UnsealRequest>) {
        match event {
            Watched::Init => {
                self.requests_before = std::mem::take(&mut self.requests);
                self.waiting.clear();
            }
            Watched::Apply(request) | Watched::InitApply(request) => self.request_seen(request),
            Watched::InitDone => {
                let lost: Vec<String> = self.requests_before.difference(&self.requests).cloned().collect();
                lost.iter().for_each(|keyring| self.ask_again(keyring));
            }
            Watched::Delete(request) => {
                if self.is_mine(&request) {
                    self.requests.remove(&request.spec.keyring);
                    self.ask_again(&request.spec.keyring);
                } else {
                    self.waiting.gone(&request.name_any());
                }
            }
        }
    }

    fn request_seen(&mut self, request: UnsealRequest) {
        if !self.is_mine(&request) {
            self.waiting.seen(&request);
            self.hand_over();
            return;
        }
        let keyring = request.spec.keyring;
        self.requests.insert(keyring.clone());
        self.shares_seen(&keyring, request.spec.shares);
        let Some(release) = request.spec.release else { return };
        if self.releases.get(&keyring) == Some(&release) {
            return;
        }
        self.releases.insert(keyring.clone(), release.clone());
        self.feed(&keyring, Event::ReleaseSeen(release));
    }

    /// Each share is fed once; one that was taken out of the request may be written again.
    fn shares_seen(&mut self, keyring: &str, shares: Vec<ShareRelease>) {
        let shares: HashMap<u32, ShareRelease> =
            shares.into_iter().map(|share| (share.serial, share)).collect();
        let before = self.shares.insert(keyring.to_owned(), shares.clone()).unwrap_or_default();
        for (serial, share) in shares {
            if before.get(&serial) != Some(&share) {
                self.feed(keyring, Event::ShareSeen(share));
            }
        }
    }

    /// A request whose pod is this one and whose keyring is in the cluster; whoever may write requests can invent others.
    fn is_mine(&self, request: &UnsealRequest) -> bool {
        request.spec.pod == self.ceremony.identity.pod && self.present.contains(&request.spec.keyring)
    }

    /// Somebody deleted our request. Where the keyring is still sealed a new one follows, with a new proof; where it was
    /// our own hand, because it is answered, nothing does.
    fn ask_again(&mut self, keyring: &str) {
        self.feed(keyring, Event::ProofExpiring);
    }

    /// One event: it takes effect now, its effects are queued.
    fn feed(&mut self, keyring: &str, event: Event) {
        let keys = &self.ceremony.keys;
        let before = keys.standing(keyring);
        let handled = keys.look(keyring, |state| state.handled_seal_marker().map(str::to_owned));
        let effects = keys.step(keyring, event);
        if before != keys.standing(keyring) {
            self.ceremony.keys_changed.send_modify(|tick| *tick += 1);
        }
        let marked = handled != keys.look(keyring, |state| state.handled_seal_marker().map(str::to_owned));
        let reports = |e: &Effect| {
            matches!(
                e,
                Effect::ReportSealed { .. } | Effect::ReportUnsealed { .. } | Effect::ReportTampered { .. }
            )
        };
        let told = effects.iter().any(reports);
        let queue = self.queues.entry(keyring.to_owned()).or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            tokio::spawn(effects::carry_out(
                Arc::clone(&self.ceremony),
                keyring.to_owned(),
                receiver,
                self.answers.clone(),
            ));
            sender
        });
        for effect in effects {
            audit::effect(&self.ceremony.metrics, keyring, &self.ceremony.identity.pod, &effect);
            // The receiving task lives as long as this sender.
            let _ = queue.send(effects::Job::Effect(effect));
        }
        if marked && !told {
            let _ = queue.send(effects::Job::Report);
        }
    }
}
