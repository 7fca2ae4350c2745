//! Wires watches, ceremony, reconciles and probes together.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use futures::channel::mpsc as futures_mpsc;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::runtime::{Config as ControllerConfig, Controller, WatchStreamExt as _, controller};
use kube::{Client, ResourceExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use touchseal_crds::EncryptedSecret;

use crate::args::Args;
use crate::context::Context;
use crate::desk::Desk;
use crate::events::Events;
use crate::http::{self, Readiness};
use crate::incidents::Incidents;
use crate::keys::Keys;
use crate::ledger::Ledger;
use crate::objects::Gate;
use crate::pods::Pods;
use crate::rollout::Rollouts;
use crate::secrets::{self, Key, Secrets};
use crate::telemetry::Metrics;
use crate::watches::Watches;
use crate::{ceremony, client, identity, lists, recipients, reconcile, words};

/// Why the operator ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No client.
    #[error("no usable cluster configuration: {0}")]
    Config(String),
    /// Who am I.
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    /// A listener.
    #[error("listening on {address}: {source}")]
    Listen {
        /// Address.
        address: std::net::SocketAddr,
        /// Problem.
        source: std::io::Error,
    },
}

/// Runs the operator until it is told to stop.
///
/// # Errors
/// It could not start.
pub async fn run(args: Args) -> Result<(), RunError> {
    let client = client::connect(&args).await.map_err(RunError::Config)?;
    let identity = identity::discover(&client).await?;
    let namespace = args.operator_namespace.clone().unwrap_or_else(|| identity.namespace.clone());
    tracing::info!(
        pod = identity.pod,
        namespace,
        version = env!("CARGO_PKG_VERSION"),
        "touchseal operator starts, sealed"
    );

    let (metrics, registry) = Metrics::new();
    let metrics = Arc::new(metrics);
    let ready = Readiness::default();
    let keys = Arc::new(Keys::default());
    let secrets = Arc::new(Secrets::new());
    let (wake, woken) = mpsc::unbounded_channel();
    let (keys_changed, keys_ticks) = watch::channel(0_u64);
    let events = Events::new(client.clone(), &identity.pod);
    let pods = Pods::new(client.clone(), wake.clone());
    let (objects, objects_changed) = (reflector::store(), watch::channel(()));
    let rollouts = Rollouts::new(client.clone(), events.clone(), wake.clone());
    let ledger = Ledger::new(&client, &namespace);
    let incidents = Incidents::new(client.clone(), ledger.clone(), events.clone(), Arc::clone(&metrics));
    let incidents = incidents.follow(objects.0.clone(), objects_changed.1);
    let context = Arc::new(Context {
        client: client.clone(),
        keys: Arc::clone(&keys),
        secrets: Arc::clone(&secrets),
        ledger,
        desk: Desk::default(),
        watches: Watches::new(client.clone(), wake.clone()),
        pods: Arc::clone(&pods),
        rollouts: Arc::clone(&rollouts),
        mount_refresh: args.mount_refresh,
        events: events.clone(),
        metrics: Arc::clone(&metrics),
        echoes: Arc::default(),
        failures: Mutex::new(HashMap::new()),
    });

    let ceremony = ceremony::Ceremony {
        client: client.clone(),
        identity,
        namespace,
        service_account: args.service_account.clone(),
        keys: Arc::clone(&keys),
        keys_changed,
        events,
        metrics,
        uids: Mutex::default(),
    };
    let (secrets_listed, keyrings_listed) = (oneshot::channel(), oneshot::channel());
    let follow = follow_secrets(client.clone(), secrets, wake.clone(), secrets_listed.0);
    let control = control(
        context,
        (objects, objects_changed.0),
        args.concurrency,
        (wake, woken),
        keys_ticks.clone(),
        [secrets_listed.1, keyrings_listed.1],
        ready.clone(),
    );
    let (probe_address, metrics_address) = (args.health_probe_bind_address, args.metrics_bind_address);
    tokio::select! {
        () = control => {}
        () = ceremony.run(keyrings_listed.0) => {}
        () = follow => {}
        () = incidents => {}
        () = pods.run() => {}
        () = rollouts.run() => {}
        () = recipients::publish(client, keys, keys_ticks) => {}
        served = http::serve_probes(probe_address, ready) => {
            served.map_err(|source| RunError::Listen { address: probe_address, source })?;
        }
        served = http::serve_metrics(metrics_address, registry) => {
            served.map_err(|source| RunError::Listen { address: metrics_address, source })?;
        }
        () = stop_signal() => tracing::info!("told to stop; keys are dropped"),
    }
    Ok(())
}

type Wake =
    (mpsc::UnboundedSender<ObjectRef<EncryptedSecret>>, mpsc::UnboundedReceiver<ObjectRef<EncryptedSecret>>);

/// EncryptedSecrets as the watch brings them, and who is told that one changed.
type Objects = ((Store<EncryptedSecret>, Writer<EncryptedSecret>), watch::Sender<()>);

/// Reconciles EncryptedSecrets whenever something they depend on changes.
async fn control(
    context: Arc<Context>,
    ((reader, writer), news): Objects,
    concurrency: u16,
    (wake, woken): Wake,
    keys_ticks: watch::Receiver<u64>,
    listed: [oneshot::Receiver<()>; 2],
    ready: Readiness,
) {
    // A reconcile must know which Secrets are ours and which keyrings there are before it decides.
    for list in listed {
        if list.await.is_err() {
            return;
        }
    }
    ready.set();
    let mut gate = Gate::new(Arc::clone(&context.echoes), wake);
    let objects = lists::encrypted_secrets(context.client.clone())
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .filter_map(move |event| {
            news.send_replace(());
            std::future::ready(match event {
                Ok(event) => gate.pass(event).map(Ok),
                Err(error) => {
                    let problem = words::of_watch(&error);
                    tracing::warn!(problem, "watch of EncryptedSecrets failed; it is tried again");
                    Some(Err(error))
                }
            })
        });
    let clear_up = Arc::clone(&context);
    Controller::for_stream(objects, reader)
        .with_config(ControllerConfig::default().concurrency(concurrency))
        .reconcile_on(stream_of(woken))
        .reconcile_all_on(ticks(keys_ticks))
        .run(reconcile::reconcile, reconcile::on_error, context)
        .for_each(|result| {
            if let Err(controller::Error::ObjectNotFound(gone)) = result {
                clear_up.forget(&(gone.namespace.clone().unwrap_or_default(), gone.name.clone()));
            }
            std::future::ready(())
        })
        .await;
}

/// Follows the Secrets of ours and wakes the EncryptedSecret of each that changed under somebody else's hand.
async fn follow_secrets(
    client: Client,
    secrets: Arc<Secrets>,
    wake: mpsc::UnboundedSender<ObjectRef<EncryptedSecret>>,
    listed: oneshot::Sender<()>,
) {
    let mut events = lists::our_secrets(client).boxed();
    let mut listed = Some(listed);
    let mut present: HashSet<Key> = HashSet::new();
    // Whoever the Secret said it came from, before and now: a Secret that changes hands concerns both.
    let wake_sources = |(namespace, _): Key, sources: [Option<String>; 2]| {
        for source in sources.into_iter().flatten().collect::<HashSet<_>>() {
            let _ = wake.send(ObjectRef::new(&source).within(&namespace));
        }
    };
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => present.clear(),
            Ok(Event::InitApply(secret)) => {
                let key = secrets::key(&secret);
                present.insert(key.clone());
                let before = secrets.get(&key).and_then(|known| known.source);
                if secrets.seen(&secret) && listed.is_none() {
                    wake_sources(key, [before, source(&secret)]);
                }
            }
            Ok(Event::InitDone) => {
                for (key, lost) in secrets.retain(&present) {
                    wake_sources(key, [lost.source, None]);
                }
                if let Some(listed) = listed.take() {
                    let _ = listed.send(());
                }
            }
            Ok(Event::Apply(secret)) => {
                let key = secrets::key(&secret);
                let before = secrets.get(&key).and_then(|known| known.source);
                if secrets.seen(&secret) {
                    wake_sources(key, [before, source(&secret)]);
                }
            }
            Ok(Event::Delete(secret)) => {
                let key = secrets::key(&secret);
                let before = secrets.get(&key).and_then(|known| known.source);
                secrets.gone(&secret);
                wake_sources(key, [before, source(&secret)]);
            }
            Err(error) => {
                let problem = words::of_watch(&error);
                tracing::warn!(problem, "watch of Secrets failed; it is tried again");
            }
        }
    }
}

fn source(secret: &Secret) -> Option<String> {
    secrets::source(&secret.metadata).map(str::to_owned)
}

fn stream_of(
    mut receiver: mpsc::UnboundedReceiver<ObjectRef<EncryptedSecret>>,
) -> impl Stream<Item = ObjectRef<EncryptedSecret>> {
    futures::stream::poll_fn(move |cx| receiver.poll_recv(cx))
}

/// One item whenever a keyring opened or closed.
fn ticks(mut changes: watch::Receiver<u64>) -> impl Stream<Item = ()> + Send + 'static {
    let (mut sender, receiver) = futures_mpsc::channel(1);
    tokio::spawn(async move {
        while changes.changed().await.is_ok() {
            if futures::SinkExt::send(&mut sender, ()).await.is_err() {
                return;
            }
        }
    });
    receiver
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be handled");
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
