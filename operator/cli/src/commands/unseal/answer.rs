//! One operation of the YubiKey, then a release for every session of the keyring: of the master, or of the holder's share.

use touchseal_crds::UnsealRequest;
use touchseal_crds::keyring::{Holder, ReplicaStatus};
use touchseal_crds::unseal_request::{Release, ShareRelease};
use touchseal_keyring::{OpenKeyring, seal_release, seal_share};

use super::gather::{Asking, Group, Seen};
use super::report::Told;
use crate::card;
use crate::ceremony::{Sent, ShareSent, progress, replica};
use crate::cluster::{Cluster, ClusterError};
use crate::error::Failure;
use crate::secret_input::PinSource;

/// How often a release is written again after the operator changed the request meanwhile (it renews its proof).
const MAX_WRITES: usize = 4;

/// What was done about one request.
#[derive(Debug)]
pub struct Answer {
    pub seen: Seen,
    pub written: Result<Sent, Told>,
}

/// Opens the keyring and answers everybody who asks for it. An error means that nobody was answered.
pub fn answer(
    cluster: &Cluster,
    group: &Group,
    serial: Option<u32>,
    pin: &mut PinSource,
) -> Result<Vec<Answer>, Failure> {
    let status = cluster.keyring(&group.keyring)?.and_then(|keyring| keyring.status);
    let before = |asking: &Asking| replica(status.as_ref(), &asking.request.spec.pod).cloned();
    let (mut token, holder) = card::open_holder(&group.keyring, &group.manifest, serial)?;
    if let Some(needed) = group.manifest.quorum() {
        let sent = ShareSent { serial: holder.serial, needed };
        let (there, asking): (Vec<_>, Vec<_>) =
            group.asking.iter().partition(|asking| sent.released(&asking.request).is_some());
        let mut answers: Vec<_> = there.into_iter().map(|asking| released(asking, sent)).collect();
        if asking.is_empty() {
            return Ok(answers);
        }
        let share = card::open_share(&group.keyring, &group.manifest, &mut token, holder, pin)?;
        let releases: Vec<_> = asking
            .into_iter()
            .map(|asking| (asking, seal_share(&share, group.manifest.id(), &asking.offer)))
            .collect();
        drop(share);
        answers.extend(releases.into_iter().map(|(asking, release)| {
            Answer {
                seen: asking.seen.clone(),
                written: release
                    .map_err(|error| Told::Forged(error.to_string()))
                    .and_then(|release| write(cluster, asking, &What::Share(&release, sent), before(asking))),
            }
        }));
        return Ok(answers);
    }
    let open = card::open_keyring(&group.keyring, &group.manifest, &mut token, holder, pin)?;
    let releases: Vec<_> =
        group.asking.iter().map(|asking| (asking, release(&open, asking, holder))).collect();
    // What is left to do is network: the master is not needed for it.
    open.seal();
    Ok(releases
        .into_iter()
        .map(|(asking, release)| Answer {
            seen: asking.seen.clone(),
            written: release
                .and_then(|release| write(cluster, asking, &What::Master(&release), before(asking))),
        })
        .collect())
}

fn release(open: &OpenKeyring, asking: &Asking, holder: &Holder) -> Result<Release, Told> {
    seal_release(open, &asking.offer, &holder.name, holder.serial)
        .map_err(|error| Told::Forged(error.to_string()))
}

/// This holder's share is there already: the YubiKey is not asked again.
fn released(asking: &Asking, sent: ShareSent) -> Answer {
    let so_far = sent.released(&asking.request).unwrap_or_default();
    Answer { seen: asking.seen.clone(), written: Err(Told::Counted(progress(so_far, sent.needed))) }
}

/// What is written into a request.
enum What<'a> {
    Master(&'a Release),
    Share(&'a ShareRelease, ShareSent),
}

impl What<'_> {
    fn write(&self, cluster: &Cluster, request: &UnsealRequest) -> Result<UnsealRequest, ClusterError> {
        match self {
            What::Master(release) => cluster.release(request, release),
            What::Share(share, _) => cluster.release_share(request, share),
        }
    }

    const fn share(&self) -> Option<ShareSent> {
        match self {
            What::Master(_) => None,
            What::Share(_, sent) => Some(*sent),
        }
    }
}

/// Writes the release into the request that was checked. A request that changed is written again only while it is the
/// same session that asks: a session that was not checked gets nothing.
fn write(
    cluster: &Cluster,
    asking: &Asking,
    what: &What<'_>,
    before: Option<ReplicaStatus>,
) -> Result<Sent, Told> {
    let share = what.share();
    let mut request = asking.request.clone();
    for _ in 0..MAX_WRITES {
        match what.write(cluster, &request) {
            Ok(written) => {
                let generation = written.metadata.generation;
                return Ok(Sent { request: asking.request.clone(), generation, before, share });
            }
            Err(error) if error.is_conflict() => {}
            // Another person was faster, or the process ended. The Keyring's status will tell.
            Err(error) if error.is_not_found() => {
                return Ok(Sent { request, generation: None, before, share });
            }
            Err(error) => return Err(Told::NotWritten(error.to_string())),
        }
        let (name, namespace) = (request.metadata.name.clone(), request.metadata.namespace.clone());
        match cluster.unseal_request(&namespace.unwrap_or_default(), &name.unwrap_or_default()) {
            Ok(Some(now)) if same_session(&now, &asking.request) => request = now,
            Ok(Some(_)) => return Err(Told::AsksAnew),
            Ok(None) => return Ok(Sent { request, generation: None, before, share }),
            Err(error) => return Err(Told::NotWritten(error.to_string())),
        }
    }
    Err(Told::NotWritten("the request changes faster than it can be answered".to_owned()))
}

fn same_session(one: &UnsealRequest, other: &UnsealRequest) -> bool {
    let session = |request: &UnsealRequest| {
        request.status.as_ref().map(|status| (status.session_key.clone(), status.nonce.clone()))
    };
    one.metadata.uid == other.metadata.uid && one.spec.pod == other.spec.pod && session(one) == session(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn request(uid: &str, pod: &str, key: &str, proof: &str) -> UnsealRequest {
        let value: Value = json!({
            "metadata": { "name": "r", "uid": uid },
            "spec": { "keyring": "main", "pod": pod },
            "status": { "sessionKey": key, "nonce": "n", "proof": proof },
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_renewed_proof_is_the_same_session_and_another_key_is_not() {
        let checked = request("u", "p", "k", "old");
        assert!(same_session(&request("u", "p", "k", "new"), &checked));
        for other in
            [request("v", "p", "k", "old"), request("u", "q", "k", "old"), request("u", "p", "l", "old")]
        {
            assert!(!same_session(&other, &checked));
        }
    }
}
