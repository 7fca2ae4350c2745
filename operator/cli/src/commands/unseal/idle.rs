//! Nobody asks: because no keyring needs it, or because the operator refuses the keyring or has not seen it.

use touchseal_crds::Keyring;

use crate::cluster::Cluster;
use crate::commands::keyring::{is_new, refused};
use crate::error::{Exit, Failure};
use crate::terminal;

/// Says why nothing waits; a failure when every keyring meant is refused.
pub fn explain(cluster: &Cluster, only: &[String], namespace: &str) -> Result<(), Failure> {
    let keyrings = if only.is_empty() {
        match cluster.keyrings() {
            Ok(keyrings) => keyrings,
            // Unsealing needs no right to list keyrings.
            Err(error) if error.is_forbidden() => Vec::new(),
            Err(error) => return Err(error.into()),
        }
    } else {
        let found: Result<Vec<_>, _> = only.iter().map(|name| cluster.keyring(name)).collect();
        found?.into_iter().flatten().collect()
    };
    let (lines, ended) = words(&keyrings, namespace);
    lines.iter().for_each(|line| terminal::say(line));
    ended
}

fn words(keyrings: &[Keyring], namespace: &str) -> (Vec<String>, Result<(), Failure>) {
    let mut lines = Vec::new();
    let mut ended = Ok(());
    let (mut bad, mut new) = (0, 0);
    for object in keyrings {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        if let Some(refused) = refused(object, namespace) {
            bad += 1;
            let what = format!("the operator refuses keyring {name}: {}", refused.message);
            lines.push(format!("{what}\n  {}", refused.hint));
            if ended.is_ok() {
                ended = Err(Failure::new(Exit::Failed, what, refused.hint));
            }
        } else if is_new(object) {
            new += 1;
            lines.push(format!("no operator has looked at keyring {name} yet: see touchseal doctor"));
        }
    }
    let rest = if bad + new == 0 { "no keyring needs unsealing" } else { "no other keyring needs unsealing" };
    if bad == 0 || bad < keyrings.len() {
        lines.push(format!("nothing waits in namespace {namespace}: {rest}"));
        return (lines, Ok(()));
    }
    // The first is told as the error.
    lines.remove(0);
    (lines, ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn keyring(name: &str, status: &Value) -> Keyring {
        serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "version": 1, "id": "", "revision": 1, "holders": [], "generations": [], "signature": "" },
            "status": status,
        }))
        .unwrap()
    }

    fn tampered(reason: &str) -> Value {
        json!({ "conditions": [{ "type": "Tampered", "status": "True", "reason": reason, "message": "it is another",
            "lastTransitionTime": "2026-01-01T00:00:00Z" }] })
    }

    #[test]
    fn a_refused_keyring_is_a_failure_with_its_way_out() {
        for reason in ["FingerprintChanged", "ManifestForked", "ManifestRolledBack"] {
            let failure = words(&[keyring("main", &tampered(reason))], "ts").1.unwrap_err();
            assert_eq!(failure.exit(), Exit::Failed);
            assert!(failure.what().contains("main: it is another"), "{failure}");
            assert!(failure.hint().contains("kubectl delete configmap touchseal-pin-main -n ts"));
        }
        let failure = words(&[keyring("main", &tampered("ManifestInvalid"))], "ts").1.unwrap_err();
        assert!(!failure.hint().contains("delete"), "{}", failure.hint());
    }

    #[test]
    fn beside_others_it_is_mentioned_and_a_new_one_is_no_idle_one() {
        let good =
            json!({ "replicas": [{ "pod": "p", "state": "Unsealed", "since": "2026-01-01T00:00:00Z" }] });
        let (lines, ended) = words(&[keyring("main", &good)], "ts");
        assert_eq!(lines, ["nothing waits in namespace ts: no keyring needs unsealing"]);
        assert!(ended.is_ok());
        let (lines, ended) =
            words(&[keyring("main", &good), keyring("odd", &tampered("ManifestForked"))], "ts");
        assert!(ended.is_ok() && lines[0].contains("refuses keyring odd") && lines[1].contains("no other"));
        let (lines, ended) = words(&[keyring("main", &Value::Null)], "ts");
        assert!(ended.is_ok() && lines[0].contains("no operator has looked at keyring main yet"));
    }
}
