//! One reconcile: observe, decide, apply. And what to do when that fails.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use rand::Rng as _;
use touchseal_crds::{EncryptedSecret, Reason};
use touchseal_plan::revision::{Came, is_doubtful};
use touchseal_plan::{Observed, Opened, Trouble, decide};
use tracing::Instrument as _;

use crate::apply::{self, ApplyError, Material};
use crate::clock;
use crate::context::Context;
use crate::ledger::LedgerError;
use crate::objects::Found;
use crate::observe::{self, ObserveError};
use crate::secrets::Key;

/// Longest wait between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Shortest and longest wait for something that time alone brings. What lies further away is looked at again in between;
/// the timer takes no more than two years.
const MIN_WAIT: Duration = Duration::from_millis(50);
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a reconcile is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Gathering failed.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// Writing failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl ReconcileError {
    /// What the object is shown as: what stays so until somebody does something.
    fn trouble(&self) -> Option<Trouble> {
        match self {
            ReconcileError::Observe(ObserveError::Ledger(ledger @ LedgerError::Corrupt { .. })) => {
                Some(Trouble::new(Reason::ApiError, ledger.to_string()))
            }
            ReconcileError::Observe(_) => None,
            ReconcileError::Apply(error) => apply::trouble(error),
        }
    }

    /// A word for metrics.
    const fn reason(&self) -> &'static str {
        match self {
            ReconcileError::Observe(ObserveError::Read { .. }) => "read",
            ReconcileError::Observe(ObserveError::Derive { .. }) => "derive",
            ReconcileError::Apply(ApplyError::Changed { .. } | ApplyError::Ledger(LedgerError::Stale)) => {
                "moved"
            }
            ReconcileError::Observe(ObserveError::Ledger(_))
            | ReconcileError::Apply(ApplyError::Ledger(_)) => "ledger",
            ReconcileError::Apply(ApplyError::Write { .. }) => "write",
        }
    }
}

/// Brings one EncryptedSecret's Secret and status up to date. What is logged meanwhile bears the object, the generation of
/// its spec and a number of this reconcile. Gives when it is to be looked at again whatever changes: what failed is, and
/// what time alone brings.
pub async fn reconcile(found: Found, context: Arc<Context>) -> Option<Duration> {
    let (object, key) = (&found.object, observe::key(&found.object));
    let _turn = context.metrics.reconciles.begin(&key);
    let (name, id) = (format!("{}/{}", key.0, key.1), format!("{:016x}", rand::random::<u64>()));
    let generation = object.metadata.generation.unwrap_or_default();
    let span = tracing::info_span!("reconcile", object = name, generation, reconcile_id = id);
    let work = async {
        match bring_up_to_date(found, &context).await {
            Ok(again) => again,
            Err(error) => Some(failed(&key, &error, &context)),
        }
    };
    work.instrument(span).await
}

/// Looks again at once where only the world moved, later and later where something fails, and says so. Never gives up.
fn failed(key: &Key, error: &ReconcileError, context: &Context) -> Duration {
    context.metrics.reconciles.failed(error.reason());
    let attempt = one_more(key, context);
    if moved(error) {
        return backoff(Duration::from_millis(5), attempt);
    }
    tracing::warn!(attempt, %error, "EncryptedSecret could not be reconciled; it is tried again");
    backoff(Duration::from_millis(100), attempt)
}

/// How long until one is looked at again whose reconcile came to no end.
pub fn later(key: &Key, context: &Context) -> Duration {
    context.metrics.reconciles.failed("bug");
    backoff(Duration::from_millis(100), one_more(key, context))
}

/// Counts a failure; how many there have been in a row.
fn one_more(key: &Key, context: &Context) -> u32 {
    let mut failures = context.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let count = failures.entry(key.clone()).or_insert(0);
    *count = count.saturating_add(1);
    *count
}

fn backoff(base: Duration, attempt: u32) -> Duration {
    let wait = base.saturating_mul(1 << attempt.min(12)).min(MAX_BACKOFF);
    wait.mul_f64(rand::thread_rng().gen_range(0.5..1.0))
}

async fn bring_up_to_date(found: Found, context: &Arc<Context>) -> Result<Option<Duration>, ReconcileError> {
    let came = match (found.whole, found.listed) {
        (false, _) => Came::Asked,
        (true, true) => Came::ByList,
        (true, false) => Came::ByWatch,
    };
    // One that is gone by now is told of by its watch.
    let Some(object) = observe::whole(context, found).await? else { return Ok(None) };
    let object = observe::as_written(context, object);
    let done = settle(&object, came, context).await;
    if let Some(trouble) = done.as_ref().err().and_then(ReconcileError::trouble)
        && let Some(status) = decide::refused(&object, &trouble, &now())
    {
        apply::report(context, &object, status, &trouble).await?;
    }
    done
}

async fn settle(
    object: &Arc<EncryptedSecret>,
    came: Came,
    context: &Arc<Context>,
) -> Result<Option<Duration>, ReconcileError> {
    let gathered = observe::observe(context, Arc::clone(object)).await?;
    let observed = Observed {
        object: &gathered.object,
        source: gathered.source,
        opened: gathered.opened,
        secret: gathered.secret,
        fresh: gathered.fresh,
        previous: gathered.beside.previous,
        live: gathered.live,
        others: gathered.beside.others,
        alias: gathered.beside.alias,
        ledger: gathered.ledger.clone(),
        floor: gathered.floor,
        consumers: observe::consumers(context, &gathered.object).await,
    };
    let serves = matches!(observed.opened, Opened::Content(_));
    let now = now();
    let decision = decide(&observed, &now);
    let again = decision.again.clone();
    let outcome = decide::outcome(&observed, &decision);
    if is_doubtful(&observed, &decision, came) && !observe::is_latest(context, &gathered.object).await? {
        return Err(
            ApplyError::Changed { what: "an EncryptedSecret of which more is known".to_owned() }.into()
        );
    }
    context.metrics.reconciles.decided(outcome);
    tracing::debug!(outcome, writes_secret = decision.secret.is_some(), "decided");
    let material = Material {
        turn: decision.ledger.is_some().then_some(gathered.turn),
        ledger: gathered.ledger,
        content: gathered.content,
        outgoing: gathered.outgoing,
    };
    apply::apply(context, &gathered.object, decision, material).await?;
    if serves {
        context.objects.served(&gathered.object);
    }
    context.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&observe::key(&gathered.object));
    Ok(again.map(|time| until(&time)))
}

/// How long until `time`, seldom more than that: a moment may have passed since it was decided on.
fn until(time: &Time) -> Duration {
    let left = time.0.duration_since(clock::now());
    Duration::try_from(left).unwrap_or_default().clamp(MIN_WAIT, MAX_WAIT)
}

/// What was observed was not so any more when it was to be written.
const fn moved(error: &ReconcileError) -> bool {
    matches!(
        error,
        ReconcileError::Apply(ApplyError::Changed { .. } | ApplyError::Ledger(LedgerError::Stale))
    )
}

/// Now, as the API server writes it: seconds that have begun.
pub fn now() -> Time {
    let now = clock::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_together_does_not_try_again_together() {
        for (attempt, longest) in [(0, 100), (3, 800), (40, 60_000)] {
            let waits: Vec<Duration> =
                (0..50).map(|_| backoff(Duration::from_millis(100), attempt)).collect();
            let longest = Duration::from_millis(longest);
            assert!(waits.iter().all(|wait| (longest / 2..=longest).contains(wait)), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
        }
    }
}
