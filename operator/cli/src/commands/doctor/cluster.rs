//! Cluster, rights, operator and keyrings.

use touchseal_crds::{Keyring, names};
use touchseal_keyring::{VerifiedManifest, manifest};

use super::check::Check;
use crate::args::Global;
use crate::cluster::{Cluster, ClusterError, Right};
use crate::commands::keyring::{is_object_name, refused, warning};
use crate::commands::version::{self, skew, skew::Skew};
use crate::error::{Explain, Failure};
use crate::seal_wait::Live;
use touchseal_keyring::proof::Operator;

const AREA: &str = "cluster";
const REQUESTS: &str = "operator";
const KINDS: [&str; 6] =
    ["encryptedsecrets", "enrolments", "incidents", "keyrings", "recipients", "unsealrequests"];

/// All findings about the cluster. Without an answer to the first question the others are not asked.
pub fn checks(global: &Global, account: Operator<'_>) -> Vec<Check> {
    let version =
        Cluster::connect(global).and_then(|cluster| cluster.version().map(|version| (cluster, version)));
    let (cluster, version) = match version {
        Ok(answer) => answer,
        Err(error) => return vec![Check::failed(AREA, &error.into())],
    };
    let mut checks = vec![Check::ok(AREA, format!("{} answers, Kubernetes {version}", cluster.server()))];
    match cluster.kinds() {
        Err(error) => checks.push(Check::failed("kinds", &error.into())),
        Ok(kinds) => match KINDS.iter().find(|kind| !kinds.iter().any(|known| known == *kind)) {
            Some(missing) => {
                checks.push(Check::fail(
                    "kinds",
                    format!("{missing}.{} is not installed", names::GROUP),
                    "install Touchseal on this cluster, or choose another with --context",
                ));
                return checks;
            }
            None => checks.push(Check::ok(
                "kinds",
                format!("all {} kinds of {} are installed", KINDS.len(), names::GROUP),
            )),
        },
    }
    checks.extend(rights(&cluster, account));
    let pods = cluster.pods(account.namespace).map(|pods| Live::of(&pods, account.service_account));
    let trouble = runs(pods.as_ref(), account.namespace);
    let idle = trouble.is_none();
    checks.extend(trouble);
    checks.extend(requests(&cluster, account.namespace, idle));
    checks.extend(keyrings(&cluster, account.namespace, pods.as_ref().ok()));
    checks
}

/// A keyring's manifest, from wherever.
pub fn keyring(name: &str, manifest: &VerifiedManifest) -> Check {
    match warning(manifest) {
        Some(warning) => Check::warn(
            "keyring",
            format!("{name}: {warning}"),
            "touchseal keyring enrol -f FILE --holder NAME",
        ),
        None => Check::ok("keyring", format!("{name}: verified, {} holders", manifest.spec().holders.len())),
    }
}

fn rights(cluster: &Cluster, account: Operator<'_>) -> Vec<Check> {
    let operator_namespace = account.namespace;
    let needed = Right::of_unseal(operator_namespace).into_iter().chain(Right::of_seal(operator_namespace));
    let mut missing = Vec::new();
    let mut all = 0;
    for right in needed {
        all += 1;
        match cluster.has(&right) {
            Ok(true) => {}
            Ok(false) => missing.push(Check::fail(
                "rights",
                format!("you may not {right}"),
                "ask a cluster administrator to bind you to a role that allows it",
            )),
            Err(error) => return vec![Check::failed("rights", &error.into())],
        }
    }
    if missing.is_empty() {
        vec![Check::ok("rights", format!("you have all {all} rights that unsealing and sealing need"))]
    } else {
        missing
    }
}

/// What there is to say when it is not certain that an operator runs.
fn runs(pods: Result<&Live, &ClusterError>, namespace: &str) -> Option<Check> {
    match pods {
        Ok(live) if live.operators.is_empty() => Some(Check::fail(
            REQUESTS,
            format!("no running operator pod in {namespace}"),
            format!(
                "kubectl get deploy,pods -n {namespace}; if it runs elsewhere: --operator-namespace, --service-account"
            ),
        )),
        Ok(live) if live.stuck.len() == live.operators.len() => {
            let pods: Vec<String> = live.stuck.iter().map(|(pod, why)| format!("{pod}: {why}")).collect();
            Some(Check::fail(
                REQUESTS,
                format!("no operator pod in {namespace} runs: {}", pods.join(", ")),
                format!("if it stays so: kubectl describe pods -n {namespace}"),
            ))
        }
        Ok(_) => None,
        Err(error) => Some(Check::warn(
            REQUESTS,
            format!("whether an operator runs cannot be told: {error}"),
            error.hint(),
        )),
    }
}

fn requests(cluster: &Cluster, operator_namespace: &str, runs: bool) -> Vec<Check> {
    let listed = match cluster.unseal_requests(operator_namespace) {
        Ok(listed) => listed,
        Err(error) => return vec![Check::failed(REQUESTS, &error.into())],
    };
    if listed.is_empty() {
        // Nobody asks when nobody runs.
        if !runs {
            return Vec::new();
        }
        return vec![Check::ok(
            REQUESTS,
            format!("nothing waits to be unsealed in namespace {operator_namespace}"),
        )];
    }
    listed
        .iter()
        .map(|request| {
            let (pod, keyring) = (&request.spec.pod, &request.spec.keyring);
            // A name that is no name of a pod must not reach a URL; there is no such pod either.
            let found = match is_object_name(pod) {
                true => cluster.pod(operator_namespace, pod),
                false => Ok(None),
            };
            match found {
                Ok(Some(_)) => Check::warn(
                    REQUESTS,
                    format!("pod {pod} waits for keyring {keyring}"),
                    format!("touchseal unseal --keyring {keyring}"),
                ),
                Ok(None) => Check::warn(
                    REQUESTS,
                    format!("a request of pod {pod}, which is gone, is left over for keyring {keyring}"),
                    "a running operator removes it; see whether one runs",
                ),
                Err(error) => Check::failed(REQUESTS, &error.into()),
            }
        })
        .collect()
}

fn keyrings(cluster: &Cluster, operator_namespace: &str, live: Option<&Live>) -> Vec<Check> {
    let listed = match cluster.keyrings() {
        Ok(listed) => listed,
        Err(error) => return vec![Check::failed("keyring", &error.into())],
    };
    if listed.is_empty() {
        let next = "touchseal keyring create NAME --holder YOU, then kubectl apply -f NAME.keyring.yaml";
        return vec![Check::warn("keyring", "there is no keyring on this cluster", next)];
    }
    let unlocked = listed.iter().filter_map(unlocked);
    let all = listed.iter().map(|object| {
        let name = object.metadata.name.clone().unwrap_or_default();
        if let Some(refused) = refused(object, operator_namespace) {
            let what = format!("the operator refuses keyring {name}: {}", refused.message);
            return Check::fail("keyring", what, refused.hint);
        }
        match manifest::verify(&object.spec) {
            Ok(verified) => keyring(&name, &verified),
            Err(error) => {
                let error = crate::commands::keyring::ClusterKeyringError::Invalid(name, error);
                Check::failed("keyring", &Failure::from(error))
            }
        }
    });
    all.chain(unlocked).chain(versions(&skew::judge(version::OWN, &skew::reported(&listed, live)))).collect()
}

/// Whether touchseal and the operator fit together; nothing where no replica has reported.
fn versions(skew: &Skew) -> Vec<Check> {
    const AREA: &str = "version";
    let matters = skew.notes.iter().filter_map(|note| Some((&note.finding, note.next.as_ref()?)));
    let found: Vec<Check> = matters.map(|(finding, next)| Check::warn(AREA, finding, next)).collect();
    match skew.operator.first() {
        Some(running) if found.is_empty() => {
            let theirs = running.version.as_deref().unwrap_or_default();
            vec![Check::ok(AREA, format!("touchseal {} and operator {theirs} work together", version::OWN))]
        }
        _ => found,
    }
}

/// Replicas whose keys a node may write to its swap.
fn unlocked(object: &Keyring) -> Option<Check> {
    let replicas = object.status.iter().flat_map(|status| &status.replicas);
    let (pods, why): (Vec<_>, Vec<_>) =
        replicas.filter_map(|r| Some((r.pod.as_str(), r.memory_not_locked.as_deref()?))).unzip();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    why.first().map(|why| {
        let finding = format!("{name}: keys are not locked in the memory of {}: {why}", pods.join(", "));
        Check::warn("memory", finding, "raise the limit of locked memory of the operator's container (RLIMIT_MEMLOCK), or turn swap off on its nodes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Problem;
    use crate::commands::doctor::check::Level;

    #[test]
    fn every_kind_there_is_is_looked_for() {
        let all = touchseal_crds::all().into_iter().map(|(_, kind)| kind.spec.names.plural);
        assert_eq!(all.collect::<Vec<_>>(), KINDS);
    }

    #[test]
    fn keys_that_may_be_swapped_out_are_told_with_their_pods() {
        let (spec, _) =
            manifest::create(vec![crate::card::testing::holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap();
        let mut keyring = Keyring::new("main", spec);
        assert_eq!(unlocked(&keyring), None);
        let replica = |pod: &str, why: Option<&str>| serde_json::json!({ "pod": pod, "state": "Sealed", "since": "2026-01-01T00:00:00Z", "memoryNotLocked": why });
        let replicas = [replica("a", None), replica("b", Some("no memory"))];
        keyring.status = serde_json::from_value(serde_json::json!({ "replicas": replicas })).unwrap();
        let check = unlocked(&keyring).unwrap();
        assert_eq!(check.level, Level::Warn);
        assert_eq!(check.finding, "main: keys are not locked in the memory of b: no memory");
    }

    #[test]
    fn versions_are_told_and_warned_of_where_it_matters() {
        let of = |version: &str| {
            let reported = skew::Reported::from([("op".to_owned(), Some(version.to_owned()))]);
            versions(&skew::judge("0.2.0", &reported))
        };
        let [fits] = &of("0.2.3")[..] else { panic!("one word is enough") };
        assert_eq!(fits.level, Level::Ok);
        let [older] = &of("0.1.0")[..] else { panic!("one word is enough") };
        assert!(older.level == Level::Warn && older.next.is_some(), "{older:?}");
        assert_eq!(versions(&Skew::default()), []);
    }

    #[test]
    fn an_operator_that_does_not_run_is_no_health() {
        let check = runs(Ok(&Live::default()), "ts").unwrap();
        assert_eq!((check.level, check.finding.as_str()), (Level::Fail, "no running operator pod in ts"));
        assert!(check.next.unwrap().contains("kubectl get deploy,pods -n ts"));
        let op = || ["op".to_owned()].into();
        let live = Live { operators: op(), ..Live::default() };
        assert_eq!(runs(Ok(&live), "ts"), None);
        let stuck = [("op".to_owned(), "ImagePullBackOff".to_owned())].into();
        let check = runs(Ok(&Live { operators: op(), stuck, ..Live::default() }), "ts").unwrap();
        assert!(check.level == Level::Fail && check.finding.ends_with("op: ImagePullBackOff"), "{check:?}");
        let unseen = ClusterError::new("list pods", Problem::TimedOut(std::time::Duration::from_secs(1)));
        let check = runs(Err(&unseen), "ts").unwrap();
        assert!(check.level == Level::Warn && check.finding.contains("cannot be told: list pods"));
    }
}
