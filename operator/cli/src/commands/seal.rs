//! `touchseal seal`: the panic button. Every replica drops and overwrites its keys; this waits until each has said so.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand_core::{OsRng, RngCore};

use super::keyring::ClusterKeyringError;
use crate::args::{AccountArgs, Global};
use crate::cluster::{Cluster, ClusterError};
use crate::error::{Exit, Explain, Failure};
use crate::output::{self, Format, Table};
use crate::seal_wait::{Live, Progress, Replica, progress};
use crate::{duration, terminal};
use touchseal_keyring::proof::Operator;

const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(clap::Args, Debug)]
pub struct SealArgs {
    /// Name of a keyring; may be given several times; default: all
    #[arg(long = "keyring", value_name = "NAME")]
    keyrings: Vec<String>,
    /// How long to wait for the replicas
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    operator: AccountArgs,
}

/// Why it is not certain that everything is sealed.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} of {all} replicas have not confirmed within {} s that they dropped their keys: {}",
    .waiting.len(), .after.as_secs_f32(), .waiting.join(", ")
)]
struct NotConfirmed {
    /// Pod and keyring of each.
    waiting: Vec<String>,
    all: usize,
    after: Duration,
    operator_namespace: String,
}

/// Nobody was seen who could have dropped keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Nobody {
    #[error("there is no keyring on this cluster: nothing was sealed")]
    Keyring,
    #[error(
        "no pod of ServiceAccount {account} runs in namespace {namespace}: nobody confirmed that keys were dropped"
    )]
    Pod { account: String, namespace: String },
}

impl Explain for Nobody {
    fn hint(&self) -> String {
        match self {
            Self::Keyring => "if this is not the cluster you mean, choose it: --context".to_owned(),
            Self::Pod { .. } => {
                "the request stands; if the operator runs elsewhere, say where: --operator-namespace, \
                 --service-account; if it is stopped, its keys are gone with it"
                    .to_owned()
            }
        }
    }
}

impl Explain for NotConfirmed {
    fn hint(&self) -> String {
        format!(
            "the request stands; to be certain now, delete the pods named: kubectl -n {} delete pod POD",
            self.operator_namespace
        )
    }

    fn exit(&self) -> Exit {
        Exit::TimedOut
    }
}

/// Runs it.
pub fn run(args: &SealArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml, Format::Wide])?;
    let cluster = Cluster::connect(global)?;
    let names = names(args, &cluster)?;
    if names.is_empty() {
        return Err(Nobody::Keyring.into());
    }
    let account = args.operator.account();
    let marker = ask(&cluster, &names, marker())?;
    let replicas = wait(&cluster, &names, &marker, account, args.timeout)?;
    report(&replicas, global.output)?;
    certain(&replicas, args.timeout, account)
}

/// Asks every replica to drop the keys of these keyrings; the request's marker.
pub fn ask(cluster: &Cluster, names: &[String], marker: String) -> Result<String, ClusterError> {
    for name in names {
        cluster.request_seal(name, &marker)?;
    }
    terminal::say(&format!("asked every replica to drop the keys of {}", names.join(", ")));
    Ok(marker)
}

/// Waits until each has said so, or time is up.
pub fn wait(
    cluster: &Cluster,
    names: &[String],
    marker: &str,
    account: Operator<'_>,
    timeout: Duration,
) -> Result<Vec<Replica>, ClusterError> {
    let deadline = Instant::now() + timeout;
    loop {
        // Once asked for, an API server that stops answering for a moment ends nothing but this look at it.
        match look(cluster, names, marker, account) {
            Ok(replicas) if replicas.iter().all(|replica| replica.state != Progress::Waiting) => {
                return Ok(replicas);
            }
            Ok(replicas) if Instant::now() >= deadline => return Ok(replicas),
            Err(error) if !error.is_transient() || Instant::now() >= deadline => return Err(error),
            Ok(_) | Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Whether it is certain that everything is sealed.
pub fn certain(replicas: &[Replica], timeout: Duration, account: Operator<'_>) -> Result<(), Failure> {
    seen(replicas, account)?;
    Ok(confirmed(replicas, timeout, account.namespace)?)
}

/// Certain only when nobody is waited for.
fn confirmed(replicas: &[Replica], after: Duration, operator_namespace: &str) -> Result<(), NotConfirmed> {
    let waiting: Vec<String> = replicas
        .iter()
        .filter(|replica| replica.state == Progress::Waiting)
        .map(|replica| format!("pod {} (keyring {})", replica.pod, replica.keyring))
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let operator_namespace = operator_namespace.to_owned();
    Err(NotConfirmed { waiting, all: replicas.len(), after, operator_namespace })
}

fn names(args: &SealArgs, cluster: &Cluster) -> Result<Vec<String>, Failure> {
    let existing: BTreeSet<String> =
        cluster.keyrings()?.into_iter().filter_map(|k| k.metadata.name).collect();
    if args.keyrings.is_empty() {
        return Ok(existing.into_iter().collect());
    }
    match args.keyrings.iter().find(|name| !existing.contains(*name)) {
        Some(missing) => Err(ClusterKeyringError::Missing(missing.clone()).into()),
        None => Ok(args.keyrings.clone()),
    }
}

fn look(
    cluster: &Cluster,
    names: &[String],
    marker: &str,
    account: Operator<'_>,
) -> Result<Vec<Replica>, ClusterError> {
    let mut all = Vec::new();
    for name in names {
        // The status before the pods: a pod that appears in between is waited for, not taken for gone.
        let status = cluster.keyring(name)?.and_then(|keyring| keyring.status);
        let live = Live::of(&cluster.pods(account.namespace)?, account.service_account);
        all.extend(progress(name, status.as_ref(), marker, &live));
    }
    Ok(all)
}

/// Where only pods that are gone are known, the operator may run elsewhere, with its keys.
fn seen(replicas: &[Replica], account: Operator<'_>) -> Result<(), Nobody> {
    if replicas.iter().any(|replica| replica.state != Progress::Gone) {
        return Ok(());
    }
    Err(Nobody::Pod { account: account.service_account.to_owned(), namespace: account.namespace.to_owned() })
}

fn report(replicas: &[Replica], format: Format) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => {
            let mut table = Table::new(&["KEYRING", "POD", "STATE"]);
            for replica in replicas {
                table.row([replica.keyring.clone(), replica.pod.clone(), format!("{:?}", replica.state)]);
            }
            output::print(&table.render())
        }
        format => output::print(&output::machine(format, &replicas)?),
    }
}

/// Different every time, and readable: when, and something random.
pub fn marker() -> String {
    let mut random = [0; 8];
    OsRng.fill_bytes(&mut random);
    format!("{}/{:016x}", Timestamp::now(), u64::from_be_bytes(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_has_not_confirmed_is_named_and_ends_with_exit_4() {
        let replica = |pod: &str, state| Replica { keyring: "main".into(), pod: pod.into(), state };
        let replicas = [replica("a", Progress::Sealed), replica("b", Progress::Gone)];
        assert!(confirmed(&replicas, Duration::from_secs(1), "system").is_ok());
        let replicas = [replica("a", Progress::Sealed), replica("c", Progress::Waiting)];
        let error = confirmed(&replicas, Duration::from_secs(1), "system").unwrap_err();
        assert_eq!(error.exit(), Exit::TimedOut);
        assert!(error.to_string().contains("1 of 2") && error.to_string().contains("pod c (keyring main)"));
    }

    #[test]
    fn where_nobody_is_seen_nothing_is_known_to_be_sealed() {
        let replica = |state| Replica { keyring: "main".into(), pod: "a".into(), state };
        let seen =
            |replicas: &[Replica]| seen(replicas, Operator { namespace: "nowhere", service_account: "op" });
        for nobody in [&[][..], &[replica(Progress::Gone)]] {
            let error = Failure::from(seen(nobody).unwrap_err());
            assert!(error.exit() == Exit::Failed && error.what().contains("namespace nowhere"), "{error}");
            assert!(error.hint().contains("--operator-namespace"), "{}", error.hint());
        }
        for somebody in [Progress::Sealed, Progress::Waiting] {
            assert_eq!(seen(&[replica(Progress::Gone), replica(somebody)]), Ok(()));
        }
    }

    #[test]
    fn no_two_requests_are_the_same() {
        assert_ne!(marker(), marker());
    }
}
