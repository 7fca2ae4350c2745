//! What a leader does: everything that writes for all replicas, from lists that are fresh at each term. When the term is over
//! all of it is dropped, in the middle of whatever it was doing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::FusedFuture as _;
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::runtime::watcher::Event;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::context::Context;
use crate::desk::Desk;
use crate::echoes::Echoes;
use crate::enrolments::Enrolments;
use crate::events::Events;
use crate::floor::Floors;
use crate::http::Readiness;
use crate::incidents::Incidents;
use crate::keys::Keys;
use crate::leadership::Leadership;
use crate::ledger::Ledger;
use crate::names::Names;
use crate::objects::{Found, Objects};
use crate::places::{self, Kind, Places, Told};
use crate::pods::Pods;
use crate::queue::{Lane, Queue, Room};
use crate::rollout::Rollouts;
use crate::scope::Scope;
use crate::secrets::{self, Key, Secrets};
use crate::telemetry::Metrics;
use crate::templates::Templates;
use crate::watches::Watches;
use crate::{census, lists, recipients, reconcile};

/// What outlives a term.
pub struct Lead {
    /// API server.
    pub client: Client,
    /// Who may write.
    pub leadership: Leadership,
    /// Namespace of the ledger.
    pub namespace: String,
    /// Which namespaces are served.
    pub scope: Scope,
    /// This process's pod.
    pub pod: String,
    /// Keyrings open in this process.
    pub keys: Arc<Keys>,
    /// Ticks whenever a keyring opened or closed.
    pub keys_ticks: watch::Receiver<u64>,
    /// Set once it is known which keyrings there are.
    pub known: Readiness,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Objects worked on at the same time.
    pub concurrency: u16,
    /// How long a kubelet may take to refresh a mounted Secret, in seconds.
    pub mount_refresh: u32,
}

impl Lead {
    /// Leads whenever it may, for as long as the process runs.
    pub async fn run(&self) {
        loop {
            let term = self.leadership.gained().await;
            tracing::info!(pod = self.pod, term, "this replica leads");
            self.metrics.leads.set(1);
            let client = self.leadership.fence(&self.client, term);
            let (wake, woken) = mpsc::unbounded_channel();
            let watches = Watches::new(client.clone(), wake.clone());
            let interrupted = self.metrics.pod_watches_interrupted.clone();
            let pods = Pods::new(client.clone(), wake.clone(), interrupted, self.scope.is_limited());
            tokio::select! {
                biased;
                () = self.leadership.lost(term) => {}
                () = self.work(&client, (wake, woken), &watches, &pods) => {}
            }
            // Their watches are tasks of their own.
            watches.stop();
            pods.stop();
            self.metrics.led();
            tracing::info!(
                pod = self.pod,
                term,
                "this replica does not lead any more; it writes nothing but its own requests and reports"
            );
        }
    }

    async fn work(&self, client: &Client, (wake, woken): Wake, watches: &Arc<Watches>, pods: &Arc<Pods>) {
        let secrets = Arc::new(Secrets::new());
        let places = Places::new(self.scope.clone());
        let events = Events::new(client.clone(), &self.pod);
        let echoes = Arc::<Echoes>::default();
        let objects = Arc::new(Objects::new(Arc::clone(&echoes)));
        let rollouts = Rollouts::new(client.clone(), events.clone(), wake.clone());
        // A ledger of this term: what an earlier one had read is not believed.
        let ledger = Ledger::new(client, &self.namespace);
        let floor = Arc::new(Floors::new());
        let incidents =
            Incidents::new(client.clone(), ledger.clone(), events.clone(), Arc::clone(&self.metrics));
        let enrolments = Enrolments::new(
            client.clone(),
            &self.namespace,
            events.clone(),
            Arc::clone(&self.keys),
            Arc::clone(&self.metrics),
        );
        let enrolments = enrolments.follow(self.keys_ticks.clone());
        let known = (Arc::clone(&places), Arc::clone(&objects));
        let census = census::follow(client.clone(), known.clone());
        let incidents = incidents.follow(known);
        let context = Arc::new(Context {
            client: client.clone(),
            keys: Arc::clone(&self.keys),
            objects: Arc::clone(&objects),
            secrets: Arc::clone(&secrets),
            ledger,
            floor: Arc::clone(&floor),
            templates: Templates::default(),
            desk: Desk::default(),
            names: Names::new(client.clone()),
            watches: Arc::clone(watches),
            pods: Arc::clone(pods),
            rollouts: Arc::clone(&rollouts),
            mount_refresh: self.mount_refresh,
            events,
            metrics: Arc::clone(&self.metrics),
            echoes,
            failures: Mutex::new(HashMap::new()),
        });
        let count = count(Arc::clone(&self.metrics), Arc::clone(&places), Arc::clone(&objects));
        let told = {
            let client = client.clone();
            places::follow(&places, Kind::Secrets, move |within| lists::our_secrets(client.clone(), within))
        };
        let secrets = follow_secrets(told, secrets, wake.clone());
        let ticks = stream::select(ticks(self.keys_ticks.clone()), ticks(floor.ticks()));
        let control = async {
            // A reconcile must know which keyrings there are and where numbers begin before it decides, and which Secrets are
            // ours (`places`).
            self.known.is_set().await;
            floor.known().await;
            control(context, &places, &objects, self.concurrency, woken, ticks).await;
        };
        let keys = (Arc::clone(&self.keys), self.keys_ticks.clone());
        tokio::select! {
            () = control => {}
            () = places.follow(client.clone()) => {}
            () = secrets => {}
            () = floor.follow(client.clone(), &self.namespace) => {}
            () = incidents => {}
            () = census => {}
            () = count => {}
            () = enrolments => {}
            () = Arc::clone(pods).run() => {}
            () = rollouts.run() => {}
            () = recipients::publish(client.clone(), &places, keys) => {}
        }
    }
}

/// Has metrics count the objects, once they are complete.
async fn count(metrics: Arc<Metrics>, places: Arc<Places>, objects: Arc<Objects>) {
    places.settled(Kind::EncryptedSecrets).await;
    metrics.documents.follow(objects);
    std::future::pending().await
}

type Wake = (mpsc::UnboundedSender<Key>, mpsc::UnboundedReceiver<Key>);

/// Reconciles EncryptedSecrets whenever something they depend on changes.
async fn control(
    context: Arc<Context>,
    places: &Arc<Places>,
    objects: &Objects,
    concurrency: u16,
    mut woken: mpsc::UnboundedReceiver<Key>,
    ticks: impl Stream<Item = ()> + Send + 'static,
) {
    let client = context.client.clone();
    let mut told = std::pin::pin!(places::follow(places, Kind::EncryptedSecrets, move |within| {
        lists::encrypted_secrets(client.clone(), within)
    }));
    let mut ticks = std::pin::pin!(ticks);
    let mut queue = Queue::default();
    let mut running = Running::default();
    let mut may_decide = std::pin::pin!(places.may_decide().fuse());
    loop {
        // Many at once, where many wait: what those that begin together commit to the ledger goes out together.
        let waits = !may_decide.is_terminated() || running.len() > usize::from(concurrency) / 2;
        let most = if waits { 0 } else { usize::from(concurrency) };
        while running.len() < most
            && let Some(key) = queue.next(Room { now: most - running.len(), most })
        {
            match objects.get(&key) {
                Some(found) => running.start(key, found, &context),
                None => {
                    context.forget(&key);
                    queue.done(&key, None, Instant::now());
                }
            }
        }
        context.events.hold(queue.is_catching_up(usize::from(concurrency)));
        let due = queue.next_due();
        let mut ask = |key: Key, lane, wait: Duration| {
            if wait.is_zero() {
                context.metrics.reconciles.wait(&key);
            }
            queue.add_after(key, lane, wait, Instant::now());
        };
        tokio::select! {
            () = &mut may_decide, if !may_decide.is_terminated() => {}
            Some((key, again)) = running.next(&context) => queue.done(&key, again, Instant::now()),
            Some(told) = told.next() => {
                for (key, lane, wait) in objects.take(told) {
                    if lane == Lane::Listed {
                        context.ledger.expect(&key.0, &key.1);
                    }
                    ask(key, lane, wait);
                }
            }
            Some(key) = woken.recv() => ask(key, Lane::Changed, Duration::ZERO),
            Some(()) = ticks.next() => objects.keys().into_iter().for_each(|key| ask(key, Lane::Listed, Duration::ZERO)),
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                queue.wake(Instant::now());
            }
        }
    }
}

/// The reconciles that are going on, each a task. All of them end with it.
#[derive(Default)]
struct Running {
    tasks: JoinSet<Option<Duration>>,
    keys: HashMap<tokio::task::Id, Key>,
}

impl Running {
    fn len(&self) -> usize {
        self.tasks.len()
    }

    fn start(&mut self, key: Key, found: Found, context: &Arc<Context>) {
        let task = self.tasks.spawn(reconcile::reconcile(found, Arc::clone(context)));
        self.keys.insert(task.id(), key);
    }

    /// The next one that ends, and when it is to be looked at again. None while none is going on.
    async fn next(&mut self, context: &Context) -> Option<(Key, Option<Duration>)> {
        loop {
            let (id, again) = match self.tasks.join_next_with_id().await? {
                Ok((id, again)) => (id, Some(again)),
                Err(fell) => (fell.id(), None),
            };
            if let Some(key) = self.keys.remove(&id) {
                let again = again.unwrap_or_else(|| Some(reconcile::later(&key, context)));
                return Some((key, again));
            }
        }
    }
}

/// Follows the Secrets of ours and wakes the EncryptedSecret of each that changed under somebody else's hand.
async fn follow_secrets(
    told: impl Stream<Item = Told<Secret>> + Send,
    secrets: Arc<Secrets>,
    wake: mpsc::UnboundedSender<Key>,
) {
    let mut told = std::pin::pin!(told);
    // Places listed before: in a first list everything is news, and nobody has decided anything yet.
    let mut known = HashSet::new();
    let mut present: HashSet<Key> = HashSet::new();
    // Whoever the Secret said it came from, before and now: a Secret that changes hands concerns both.
    let wake_sources = |(namespace, _): Key, sources: [Option<String>; 2]| {
        for source in sources.into_iter().flatten().collect::<HashSet<_>>() {
            let _ = wake.send((namespace.clone(), source));
        }
    };
    while let Some(Told { place, event }) = told.next().await {
        match event {
            Event::Init => present.clear(),
            Event::InitApply(secret) => {
                let key = secrets::key(&secret);
                present.insert(key.clone());
                let before = secrets.get(&key).and_then(|known| known.source);
                if secrets.seen(&secret) && known.contains(&place) {
                    wake_sources(key, [before, source(&secret)]);
                }
            }
            Event::InitDone => {
                for (key, lost) in secrets.retain(place.as_deref(), &present) {
                    wake_sources(key, [lost.source, None]);
                }
                known.insert(place);
            }
            Event::Apply(secret) => {
                let key = secrets::key(&secret);
                let before = secrets.get(&key).and_then(|known| known.source);
                if secrets.seen(&secret) {
                    wake_sources(key, [before, source(&secret)]);
                }
            }
            Event::Delete(secret) => {
                let key = secrets::key(&secret);
                let before = secrets.get(&key).and_then(|known| known.source);
                secrets.gone(&secret);
                wake_sources(key, [before, source(&secret)]);
            }
        }
    }
}

fn source(secret: &Secret) -> Option<String> {
    secrets::source(&secret.metadata).map(str::to_owned)
}

/// One item whenever something changed that every object depends on.
fn ticks<T: Send + Sync + 'static>(changes: watch::Receiver<T>) -> impl Stream<Item = ()> + Send + 'static {
    stream::unfold(changes, async |mut changes| changes.changed().await.ok().map(|()| ((), changes)))
}
