//! After the releases are written: the replicas' own word, until each has spoken or time is up.

use std::time::{Duration, Instant};

use super::answer::Answer;
use super::gather::Seen;
use super::report::{Line, Told};
use crate::ceremony::{Outcome, Sent, outcome};
use crate::cluster::{Cluster, ClusterError};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a replica whose request is gone may take to report itself unsealed.
const GONE_GRACE: Duration = Duration::from_secs(5);

/// One line a replica.
pub fn wait(cluster: &Cluster, keyring: &str, answers: Vec<Answer>, deadline: Instant) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut pending: Vec<Pending> = Vec::new();
    for Answer { seen, written } in answers {
        match written {
            Ok(sent) => pending.push(Pending { seen, sent, gone_since: None }),
            Err(told) => lines.push(Line::new(&seen, told)),
        }
    }
    let mut trouble = None;
    while !pending.is_empty() {
        match look(cluster, keyring, &pending) {
            Ok(outcomes) => {
                trouble = None;
                let mut still = Vec::new();
                for (mut waiting, outcome) in pending.into_iter().zip(outcomes) {
                    match waiting.judge(outcome, Instant::now()) {
                        None => still.push(waiting),
                        Some(told) => lines.push(Line::new(&waiting.seen, told)),
                    }
                }
                pending = still;
            }
            // The releases are written; an API server that is away for a moment changes nothing about them.
            Err(error) if error.is_transient() => trouble = Some(error.to_string()),
            Err(error) => {
                let told = Told::Unknown(error.to_string());
                lines.extend(pending.drain(..).map(|waiting| Line::new(&waiting.seen, told.clone())));
            }
        }
        if pending.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            let told = match trouble.take() {
                Some(trouble) => Told::Unknown(trouble),
                None => Told::TimedOut,
            };
            lines.extend(pending.drain(..).map(|waiting| Line::new(&waiting.seen, told.clone())));
        } else {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    lines
}

/// A replica that has not spoken yet.
struct Pending {
    seen: Seen,
    sent: Sent,
    gone_since: Option<Instant>,
}

impl Pending {
    /// The result, once there is one.
    fn judge(&mut self, outcome: Outcome, now: Instant) -> Option<Told> {
        match outcome {
            Outcome::Pending => None,
            Outcome::Unsealed => Some(Told::Unsealed),
            Outcome::Counted(progress) => Some(Told::Counted(progress)),
            Outcome::AsksAnew => Some(Told::AsksAnew),
            Outcome::Refused { reason, message } => Some(Told::Refused(format!("{reason}: {message}"))),
            Outcome::Gone => {
                let since = *self.gone_since.get_or_insert(now);
                (now.duration_since(since) >= GONE_GRACE).then_some(Told::Gone)
            }
        }
    }
}

fn look(cluster: &Cluster, keyring: &str, pending: &[Pending]) -> Result<Vec<Outcome>, ClusterError> {
    // The requests before the status: a replica reports itself unsealed before its request goes.
    let mut now = Vec::new();
    for waiting in pending {
        let metadata = &waiting.sent.request.metadata;
        let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
        now.push(cluster.unseal_request(namespace.unwrap_or_default(), name.unwrap_or_default())?);
    }
    let status = cluster.keyring(keyring)?.and_then(|keyring| keyring.status);
    Ok(pending
        .iter()
        .zip(&now)
        .map(|(waiting, now)| outcome(&waiting.sent, now.as_ref(), status.as_ref()))
        .collect())
}
