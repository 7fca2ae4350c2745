//! `touchseal incident accept`: a person declares that something is not affected; name and reason are kept in the object.

use serde_json::json;
use touchseal_crds::Incident;
use touchseal_crds::incident::Accepted;

use super::get_open;
use crate::args::Global;
use crate::cluster::Cluster;
use crate::error::{Exit, Explain, Failure};
use crate::output::{self, Format};

/// How often a change that somebody else's change crossed is tried.
const TRIES: usize = 5;

#[derive(clap::Args, Debug)]
pub struct AcceptArgs {
    /// Name of the incident
    #[arg(value_name = "NAME")]
    name: String,
    /// The EncryptedSecret, and the Secret key if it is about one
    #[arg(value_name = "NAMESPACE/SECRET[:KEY]", value_parser = target)]
    target: Target,
    /// Why it is not affected
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    namespace: String,
    name: String,
    key: Option<String>,
}

/// Why nothing was accepted.
#[derive(Debug, thiserror::Error)]
enum AcceptError {
    #[error("nothing of {target} remains in incident {incident}")]
    NothingRemains { target: String, incident: String },
    #[error("the reason is empty")]
    NoReason,
}

impl Explain for AcceptError {
    fn hint(&self) -> String {
        match self {
            Self::NothingRemains { incident, .. } => {
                format!("see what does: touchseal incident status {incident}")
            }
            Self::NoReason => "say why it is not affected: others will read it".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoReason => Exit::Usage,
            Self::NothingRemains { .. } => Exit::Failed,
        }
    }
}

/// Runs it.
pub fn run(args: &AcceptArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml, Format::Wide])?;
    if args.reason.trim().is_empty() {
        return Err(AcceptError::NoReason.into());
    }
    let cluster = Cluster::connect(global)?;
    let mut tries = 1;
    let stored = loop {
        let incident = get_open(&cluster, &args.name)?;
        let accepted = accepted(&incident, args)?;
        match cluster.change_incident(&incident, &json!({ "accepted": accepted })) {
            Err(error) if error.is_conflict() && tries < TRIES => tries += 1,
            other => break other?,
        }
    };
    match global.output {
        Format::Table | Format::Wide => output::print(&format!(
            "{} is accepted in incident {} as not affected: {}\n",
            args.target, args.name, args.reason
        )),
        format => output::print(&output::machine(format, &stored)?),
    }
}

/// The list with this one in it; a new reason replaces an earlier one.
fn accepted(incident: &Incident, args: &AcceptArgs) -> Result<Vec<Accepted>, AcceptError> {
    let Target { namespace, name, key } = args.target.clone();
    let new = Accepted { namespace, name, key, reason: args.reason.clone() };
    let same = |a: &Accepted| (&a.namespace, &a.name, &a.key) == (&new.namespace, &new.name, &new.key);
    let mut list = incident.spec.accepted.clone();
    if let Some(known) = list.iter_mut().find(|a| same(a)) {
        known.reason = new.reason;
        return Ok(list);
    }
    if let Some(status) = &incident.status {
        let covers = |key: &str| new.key.as_deref().is_none_or(|wanted| wanted == key);
        let remains = status
            .remaining
            .iter()
            .any(|entry| entry.namespace == new.namespace && entry.name == new.name && covers(&entry.key));
        let listed = i32::try_from(status.remaining.len()).unwrap_or(i32::MAX);
        // A list that is cut names not everything that remains.
        let whole =
            status.totals.is_none_or(|totals| totals.exposed.saturating_add(totals.draining) <= listed);
        if !remains && whole {
            let incident = incident.metadata.name.clone().unwrap_or_default();
            return Err(AcceptError::NothingRemains { target: args.target.to_string(), incident });
        }
    }
    list.push(new);
    Ok(list)
}

fn target(text: &str) -> Result<Target, String> {
    const WANTED: &str = "give NAMESPACE/SECRET, or NAMESPACE/SECRET:KEY";
    let (namespace, rest) = text.split_once('/').ok_or(WANTED)?;
    let (name, key) = match rest.split_once(':') {
        Some((name, key)) => (name, Some(key)),
        None => (rest, None),
    };
    if namespace.is_empty() || name.is_empty() || name.contains('/') || key.is_some_and(str::is_empty) {
        return Err(WANTED.to_owned());
    }
    Ok(Target { namespace: namespace.to_owned(), name: name.to_owned(), key: key.map(str::to_owned) })
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        self.key.as_ref().map_or(Ok(()), |key| write!(f, ":{key}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(exposed: i32) -> Incident {
        serde_json::from_value(json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "Incident", "metadata": { "name": "leak" },
            "spec": { "exposedAt": "2026-05-01T00:00:00Z" },
            "status": {
                "totals": { "exposed": exposed, "draining": 0, "safe": 0, "accepted": 0 },
                "remaining": [{ "namespace": "shop", "name": "db", "key": "password", "state": "Exposed", "since": "2026-01-01T00:00:00Z" }],
            },
        }))
        .unwrap()
    }

    fn args(text: &str) -> AcceptArgs {
        AcceptArgs {
            name: "leak".to_owned(),
            target: target(text).unwrap(),
            reason: "a test system".to_owned(),
        }
    }

    #[test]
    fn targets_are_read_or_refused() {
        let key = |key: &str| Target { namespace: "a".into(), name: "b.c".into(), key: Some(key.into()) };
        assert_eq!(target("a/b.c:tls.key"), Ok(key("tls.key")));
        assert_eq!(target("a/b.c"), Ok(Target { key: None, ..key("") }));
        for bad in ["", "a", "a/", "/b", "a/b:", "a/b/c", "a/:k"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_remains_is_accepted() {
        for good in ["shop/db", "shop/db:password"] {
            assert_eq!(accepted(&incident(1), &args(good)).unwrap().len(), 1, "{good}");
        }
        for bad in ["shop/bd", "shop/db:user", "other/db"] {
            assert!(accepted(&incident(1), &args(bad)).is_err(), "{bad}");
        }
        // More remains than is listed: it may be among that.
        assert!(accepted(&incident(2), &args("shop/mail")).is_ok());
    }

    #[test]
    fn a_new_reason_replaces_the_earlier_one_and_nothing_else() {
        let mut incident = incident(1);
        incident.spec.accepted = accepted(&incident, &args("shop/db:password")).unwrap();
        let again = AcceptArgs { reason: "revoked".to_owned(), ..args("shop/db:password") };
        let list = accepted(&incident, &again).unwrap();
        assert_eq!((list.len(), list[0].reason.as_str()), (1, "revoked"));
        assert_eq!(accepted(&incident, &args("shop/db")).unwrap().len(), 2);
    }
}
