//! Who asks, and which of them may be answered. Reads only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use touchseal_crds::UnsealRequest;
use touchseal_keyring::{Offer, VerifiedManifest};

use super::report::{Line, Told};
use crate::cluster::{Cluster, ClusterError};
use crate::commands::keyring::{ClusterKeyringError, fetch, is_object_name};
use crate::error::{Exit, Failure};
use touchseal_keyring::proof::{self, Gravity, Operator, Refusal};

pub const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A starting operator publishes its session in moments; longer it is not waited for.
pub const MAX_SETTLE: Duration = Duration::from_secs(5);

/// What is shown of one request.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub keyring: String,
    pub pod: String,
    pub node: String,
    pub images: Vec<String>,
    pub since: Option<Timestamp>,
}

/// A request that passed every check.
#[derive(Clone, Debug)]
pub struct Asking {
    pub request: UnsealRequest,
    pub offer: Offer,
    pub seen: Seen,
}

/// The requests of one keyring.
#[derive(Debug)]
pub struct Group {
    pub keyring: String,
    pub manifest: VerifiedManifest,
    pub asking: Vec<Asking>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Gathered {
    pub groups: Vec<Group>,
    /// Requests that are not answered, and why.
    pub refused: Vec<Line>,
}

impl Gathered {
    /// Nobody asks.
    pub fn is_empty(&self) -> bool {
        self.refused.is_empty() && self.groups.iter().all(|group| group.asking.is_empty())
    }
}

/// Lists and checks the requests; looks again for a moment while some are not ready.
pub fn gather(
    cluster: &Cluster,
    operator: Operator<'_>,
    only: &[String],
    timeout: Duration,
) -> Result<Gathered, Failure> {
    let deadline = Instant::now() + timeout.min(MAX_SETTLE);
    for name in only {
        if cluster.keyring(name)?.is_none() {
            return Err(ClusterKeyringError::Missing(name.clone()).into());
        }
    }
    loop {
        let gathered = look(cluster, operator, only)?;
        let unready = gathered.refused.iter().any(|line| matches!(line.result, Told::NotReady(_)));
        if !unready || Instant::now() >= deadline {
            return Ok(gathered);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn look(cluster: &Cluster, operator: Operator<'_>, only: &[String]) -> Result<Gathered, Failure> {
    let (by_keyring, refused) = sort(cluster.unseal_requests(operator.namespace)?, only);
    let mut gathered = Gathered { refused, ..Gathered::default() };
    for (keyring, requests) in by_keyring {
        let manifest = match fetch(cluster, &keyring) {
            Ok(manifest) => manifest,
            // The keyring itself is at fault: its requests are refused, others go on.
            Err(failure) if failure.exit() == Exit::Refused => {
                let told = Told::Forged(failure.what().to_owned());
                gathered.refused.extend(requests.iter().map(|r| Line::new(&seen(r, None), told.clone())));
                continue;
            }
            Err(failure) if cluster.keyring(&keyring)?.is_none() => {
                let told = Told::Stale(failure.what().to_owned());
                gathered.refused.extend(requests.iter().map(|r| Line::new(&seen(r, None), told.clone())));
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let mut asking = Vec::new();
        for request in requests {
            let (seen, verdict) = examine(cluster, operator, &request, &manifest)?;
            match verdict {
                Ok(offer) => asking.push(Asking { request, offer, seen }),
                Err(refusal) => gathered.refused.push(Line::new(&seen, told(&refusal))),
            }
        }
        gathered.groups.push(Group { keyring, manifest, asking });
    }
    Ok(gathered)
}

/// The requests of each keyring, and those that name none: whoever writes a request chooses that word, so one that is
/// no name of an object must not reach a URL.
fn sort(requests: Vec<UnsealRequest>, only: &[String]) -> (BTreeMap<String, Vec<UnsealRequest>>, Vec<Line>) {
    let mut by_keyring: BTreeMap<String, Vec<UnsealRequest>> = BTreeMap::new();
    let mut refused = Vec::new();
    for request in requests {
        let keyring = request.spec.keyring.clone();
        // An object being deleted asks for nothing any more.
        if request.metadata.deletion_timestamp.is_some() || !(only.is_empty() || only.contains(&keyring)) {
            continue;
        }
        if is_object_name(&keyring) {
            by_keyring.entry(keyring).or_default().push(request);
        } else {
            let told = Told::Forged("what it asks for cannot be the name of a keyring".to_owned());
            refused.push(Line::new(&seen(&request, None), told));
        }
    }
    (by_keyring, refused)
}

fn examine(
    cluster: &Cluster,
    operator: Operator<'_>,
    request: &UnsealRequest,
    manifest: &VerifiedManifest,
) -> Result<(Seen, Result<Offer, Refusal>), ClusterError> {
    // A name that is no name of a pod must not reach a URL; there is no such pod either.
    let pod = match is_object_name(&request.spec.pod) {
        true => cluster.pod(operator.namespace, &request.spec.pod)?,
        false => None,
    };
    let seen = seen(request, pod.as_ref());
    let claim = match proof::claim(request, manifest.id(), Timestamp::now()) {
        Ok(claim) => claim,
        Err(Refusal::Expired | Refusal::NotReady) if pod.is_none() => {
            return Ok((seen, Err(Refusal::PodGone)));
        }
        Err(refusal) => return Ok((seen, Err(refusal))),
    };
    let review = cluster.review(&claim.token, &claim.audience)?;
    let verdict =
        proof::check(operator, &request.spec.pod, &claim, &review, pod.as_ref()).map(|()| claim.offer);
    Ok((seen, verdict))
}

fn seen(request: &UnsealRequest, pod: Option<&Pod>) -> Seen {
    let spec = pod.and_then(|pod| pod.spec.as_ref());
    Seen {
        keyring: request.spec.keyring.clone(),
        pod: request.spec.pod.clone(),
        node: spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        images: spec
            .map(|spec| spec.containers.iter().filter_map(|container| container.image.clone()).collect())
            .unwrap_or_default(),
        since: request.metadata.creation_timestamp.as_ref().map(|time| time.0),
    }
}

fn told(refusal: &Refusal) -> Told {
    match refusal.gravity() {
        Gravity::Later => Told::NotReady(refusal.to_string()),
        Gravity::Stale => Told::Stale(refusal.to_string()),
        Gravity::Forged => Told::Forged(refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(keyring: &str) -> UnsealRequest {
        serde_json::from_value(
            json!({ "metadata": { "name": "r" }, "spec": { "keyring": keyring, "pod": "p" } }),
        )
        .unwrap()
    }

    #[test]
    fn what_is_no_name_of_a_keyring_is_refused_and_never_looked_up() {
        let bad = ["", "..", "../secrets", "main/status", "main?watch=1", "Main", "ma\u{202e}in"];
        let requests = bad.iter().chain(&["main", "team.prod"]).map(|keyring| request(keyring)).collect();
        let (by_keyring, refused) = sort(requests, &[]);
        assert_eq!(by_keyring.keys().collect::<Vec<_>>(), ["main", "team.prod"]);
        assert_eq!(refused.iter().map(|line| line.keyring.as_str()).collect::<Vec<_>>(), bad);
        assert!(refused.iter().all(|line| matches!(line.result, Told::Forged(_))));
    }

    #[test]
    fn with_names_given_others_are_left_alone() {
        let (by_keyring, refused) =
            sort(vec![request("main"), request("other"), request("../x")], &["main".into()]);
        assert_eq!(by_keyring.keys().collect::<Vec<_>>(), ["main"]);
        assert!(refused.is_empty());
    }
}
