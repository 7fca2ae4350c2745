//! `touchseal incident status`: all incidents in a table, or one with what remains and what to do about it.

use jiff::Timestamp;
use touchseal_crds::{EncryptedSecret, Incident};

use super::advice::{Advice, revocation};
use super::scope::Scope;
use super::{get, state, word};
use crate::args::Global;
use crate::cluster::Cluster;
use crate::duration::age;
use crate::error::Failure;
use crate::output::{self, Format, Table};

#[derive(clap::Args, Debug)]
pub struct StatusArgs {
    /// Name of an incident; default: all
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Runs it.
pub fn run(args: &StatusArgs, global: &Global) -> Result<(), Failure> {
    let cluster = Cluster::connect(global)?;
    let Some(name) = &args.name else {
        let mut incidents = cluster.incidents()?;
        incidents.sort_by(|a, b| b.spec.exposed_at.cmp(&a.spec.exposed_at));
        return match global.output {
            Format::Table | Format::Wide => output::print(&all(&incidents, Timestamp::now())),
            Format::Name => output::print(&names(&incidents)),
            format => output::print(&output::machine(format, &incidents)?),
        };
    };
    let incident = get(&cluster, name)?;
    match global.output {
        Format::Name => output::print(&names(std::slice::from_ref(&incident))),
        Format::Json | Format::Yaml | Format::Sarif => {
            output::print(&output::machine(global.output, &incident)?)
        }
        // What kind of credential it is and who holds it makes the advice better; without the right to read that, it goes without.
        Format::Table | Format::Wide => {
            let objects = match cluster.encrypted_secrets(None) {
                Err(error) if error.is_forbidden() => Vec::new(),
                other => other?,
            };
            output::print(&one(&incident, &objects, Timestamp::now()))
        }
    }
}

fn all(incidents: &[Incident], now: Timestamp) -> String {
    if incidents.is_empty() {
        return "no incident\n".to_owned();
    }
    let mut table =
        Table::new(&["NAME", "STATE", "EXPOSED AT", "EXPOSED", "DRAINING", "SAFE", "ACCEPTED", "AGE"]);
    for incident in incidents {
        let totals = incident.status.as_ref().and_then(|status| status.totals);
        let count = |of: fn(&touchseal_crds::incident::IncidentTotals) -> i32| {
            totals.as_ref().map(|totals| of(totals).to_string()).unwrap_or_default()
        };
        table.row([
            incident.metadata.name.clone().unwrap_or_default(),
            state(incident).to_owned(),
            incident.spec.exposed_at.0.to_string(),
            count(|t| t.exposed),
            count(|t| t.draining),
            count(|t| t.safe),
            count(|t| t.accepted),
            age(incident.metadata.creation_timestamp.as_ref().map(|time| time.0), now),
        ]);
    }
    table.render()
}

fn one(incident: &Incident, objects: &[EncryptedSecret], now: Timestamp) -> String {
    let advice = Advice::new(objects, incident.spec.exposed_at.0, now);
    let mut out = all(std::slice::from_ref(incident), now);
    if let Some(description) = &incident.spec.description {
        out.push_str(&format!("\n{}\n", crate::error::one_line(description)));
    }
    match word(incident) {
        Some(word) => out.push_str(&format!("\n{}\n", crate::error::one_line(&word))),
        None => out.push_str("\nthe operator has not looked at it since it changed: see touchseal status\n"),
    }
    let remaining = incident.status.as_ref().map(|status| status.remaining.as_slice()).unwrap_or_default();
    if !remaining.is_empty() {
        let mut table = Table::new(&["NAMESPACE", "SECRET", "KEY", "STATE", "VALUE AGE", "NEXT STEP"]);
        for entry in remaining {
            table.row([
                entry.namespace.clone(),
                entry.name.clone(),
                entry.key.clone(),
                format!("{:?}", entry.state),
                age(Some(entry.since.0), now),
                advice.next_step(entry),
            ]);
        }
        out.push_str(&format!("\n{}", table.render()));
    }
    let all = incident
        .status
        .as_ref()
        .and_then(|status| status.totals)
        .map(|t| t.exposed.saturating_add(t.draining));
    let unlisted = all.map_or(0, |all| usize::try_from(all).unwrap_or(0).saturating_sub(remaining.len()));
    if unlisted > 0 {
        out.push_str(&format!("\n{unlisted} more remain and are not listed\n"));
    }
    out.push_str(&revocable(incident, objects, now));
    if !incident.spec.accepted.is_empty() {
        let mut table = Table::new(&["ACCEPTED", "KEY", "REASON"]);
        for accepted in &incident.spec.accepted {
            table.row([
                format!("{}/{}", accepted.namespace, accepted.name),
                accepted.key.clone().unwrap_or_else(|| "all".to_owned()),
                accepted.reason.clone(),
            ]);
        }
        out.push_str(&format!("\n{}", table.render()));
    }
    out
}

/// What is safe is not over: old values are valid at their services until somebody revokes them.
fn revocable(incident: &Incident, objects: &[EncryptedSecret], now: Timestamp) -> String {
    let safe = Scope::new(incident).safe(objects, now);
    let mut out = String::new();
    if !safe.is_empty() {
        let mut table = Table::new(&["SAFE", "KEY", "VALUE AGE", "THE OLD VALUE, IF IT IS STILL VALID"]);
        for safe in &safe {
            let place = format!("{}/{}", safe.namespace, safe.name);
            table.row([place, safe.key.to_owned(), age(Some(safe.since), now), revocation(safe).to_owned()]);
        }
        out = format!("\n{}", table.render());
    }
    let totals = incident.status.as_ref().and_then(|status| status.totals);
    let all = totals.map_or(0, |totals| usize::try_from(totals.safe).unwrap_or(0));
    let more = all.saturating_sub(safe.len());
    if more > 0 {
        out.push_str(&format!(
            "\n{more} safe keys are not listed here; their old values are to be revoked, too: \
             see touchseal rotation --filter revocable\n"
        ));
    }
    out
}

fn names(incidents: &[Incident]) -> String {
    let name = |incident: &Incident| incident.metadata.name.clone().unwrap_or_default();
    incidents.iter().map(|incident| format!("incident.touchseal.dev/{}\n", name(incident))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn incident(observed: i64) -> Incident {
        serde_json::from_value(json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "Incident",
            "metadata": { "name": "leak", "generation": 2, "creationTimestamp": "2026-05-30T00:00:00Z" },
            "spec": {
                "exposedAt": "2026-05-01T00:00:00Z", "description": "CI service \u{1b}[31mleaked",
                "accepted": [{ "namespace": "test", "name": "db", "reason": "a test system" }],
            },
            "status": {
                "observedGeneration": observed,
                "conditions": [{ "type": "Closed", "status": "False", "reason": "Exposed", "message": "1 exposed, 1 draining",
                    "lastTransitionTime": "2026-05-30T00:00:00Z" }],
                "totals": { "exposed": 1, "draining": 1, "safe": 7, "accepted": 2 },
                "remaining": [
                    { "namespace": "shop", "name": "db", "key": "password", "state": "Exposed", "since": "2026-01-01T00:00:00Z" },
                    { "namespace": "shop", "name": "mail", "key": "token", "state": "Draining", "since": "2026-05-31T00:00:00Z" },
                ],
            },
        }))
        .unwrap()
    }

    fn shown(incident: &Incident) -> String {
        let object: EncryptedSecret = serde_json::from_value(json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
            "metadata": { "name": "db", "namespace": "shop" },
            "spec": { "documents": [], "rotation": { "class": "dualKey" } },
        }))
        .unwrap();
        one(incident, &[object], "2026-06-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn it_tells_what_remains_and_what_to_do_by_the_kind_of_credential() {
        let text = shown(&incident(2));
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
        assert!(
            line("leak").contains("Open    2026-05-01T00:00:00Z   1         1          7      2"),
            "{text}"
        );
        assert!(line("shop        db").contains("second key"), "a dualKey credential: {text}");
        assert!(line("shop        mail").contains("restart them, then revoke"), "{text}");
        assert!(text.contains("\n7 safe keys are not listed here"), "{text}");
        assert!(line("test/db").contains("all   a test system"), "{text}");
        assert!(text.contains("1 exposed, 1 draining") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_list_that_is_cut_says_so() {
        let mut incident = incident(2);
        assert!(!shown(&incident).contains("more remain"));
        incident.status.as_mut().unwrap().totals.as_mut().unwrap().exposed = 700;
        assert!(shown(&incident).contains("\n699 more remain and are not listed\n"), "{}", shown(&incident));
    }

    #[test]
    fn an_old_status_is_not_shown_as_the_present_state() {
        let text = shown(&incident(1));
        assert!(text.contains("Unseen") && text.contains("has not looked at it"), "{text}");
        assert_eq!(all(&[], Timestamp::UNIX_EPOCH), "no incident\n");
    }
}
