//! `touchseal version`: of this program and of the operator, and whether it matters where they differ.

pub mod skew;

use serde::Serialize;

use crate::args::{AccountArgs, Global};
use crate::cluster::{Cluster, ClusterError};
use crate::error::{Failure, one_line};
use crate::output::{self, Format};
use crate::seal_wait::Live;
use skew::{Reported, Skew};
use touchseal_keyring::proof::Operator;

/// Version of this program.
pub const OWN: &str = env!("CARGO_PKG_VERSION");

#[derive(clap::Args, Debug)]
pub struct VersionArgs {
    /// Only the version of this program; asks no cluster
    #[arg(long)]
    client: bool,
    #[command(flatten)]
    operator: AccountArgs,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    version: &'static str,
    #[serde(flatten)]
    skew: Option<Skew>,
    /// Why nothing is said of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_unknown: Option<String>,
}

/// Runs it. A cluster that does not answer is no failure: this program's version is told all the same.
pub fn run(args: &VersionArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml])?;
    let mut view = View { version: OWN, skew: None, operator_unknown: None };
    if !args.client {
        match ask(global, args.operator.account()) {
            Ok(reported) if reported.is_empty() => {
                view.operator_unknown = Some("no replica has reported on any keyring".to_owned());
            }
            Ok(reported) => view.skew = Some(skew::judge(OWN, &reported)),
            Err(error) => view.operator_unknown = Some(error.to_string()),
        }
    }
    match global.output {
        Format::Table => output::print(&text(&view)),
        format => output::print(&output::machine(format, &view)?),
    }
}

fn ask(global: &Global, account: Operator<'_>) -> Result<Reported, ClusterError> {
    let cluster = Cluster::connect(global)?;
    let keyrings = cluster.keyrings()?;
    let live = match cluster.pods(account.namespace) {
        Ok(pods) => Some(Live::of(&pods, account.service_account)),
        Err(error) if error.is_forbidden() => None,
        Err(error) => return Err(error),
    };
    Ok(skew::reported(&keyrings, live.as_ref()))
}

fn text(view: &View) -> String {
    let mut out = format!("touchseal {}\n", view.version);
    if let Some(why) = &view.operator_unknown {
        out.push_str(&format!("operator not known: {}\n", one_line(why)));
    }
    let Some(skew) = &view.skew else { return out };
    for running in &skew.operator {
        let version = running.version.as_deref().unwrap_or("of no known version");
        out.push_str(&format!("operator {} ({})\n", one_line(version), one_line(&running.pods.join(", "))));
    }
    for note in &skew.notes {
        let word = if note.next.is_some() { "warning" } else { "note" };
        out.push_str(&format!("{word}: {}\n", one_line(&note.finding)));
        if let Some(next) = &note.next {
            out.push_str(&format!("  -> {}\n", one_line(next)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(skew: Option<Skew>, operator_unknown: Option<&str>) -> View {
        View { version: "0.2.0", skew, operator_unknown: operator_unknown.map(str::to_owned) }
    }

    #[test]
    fn what_matters_is_a_warning_with_the_next_step_below_it() {
        let reported = Reported::from([("op-1".to_owned(), Some("0.1.0".to_owned()))]);
        let skewed = text(&view(Some(skew::judge("0.2.0", &reported)), None));
        let lines: Vec<&str> = skewed.lines().collect();
        assert_eq!(lines[..2], ["touchseal 0.2.0", "operator 0.1.0 (op-1)"]);
        assert!(lines[2].starts_with("warning: the operator's 0.1.0 is older"), "{skewed}");
        assert!(lines[3].starts_with("  -> upgrade the operator to 0.2.0"), "{skewed}");

        let reported = Reported::from([("op-1".to_owned(), Some("0.2.1".to_owned()))]);
        let near = text(&view(Some(skew::judge("0.2.0", &reported)), None));
        assert_eq!(near.lines().nth(2), Some("note: 0.2.0 and 0.2.1 are of one series and work together"));

        let lines = text(&view(None, Some("it is\nfar away")));
        assert_eq!(lines, "touchseal 0.2.0\noperator not known: it is far away\n");
    }

    #[test]
    fn programs_get_the_same() {
        let reported = Reported::from([("op-1".to_owned(), Some("0.1.0".to_owned()))]);
        let value = serde_json::to_value(view(Some(skew::judge("0.2.0", &reported)), None)).unwrap();
        assert_eq!(value["operator"], serde_json::json!([{ "version": "0.1.0", "pods": ["op-1"] }]));
        assert_eq!((&value["version"], &value["matters"]), (&"0.2.0".into(), &true.into()));
        assert!(value["notes"][0]["next"].is_string());
        let value = serde_json::to_value(view(None, None)).unwrap();
        assert_eq!(value, serde_json::json!({ "version": "0.2.0" }), "as --client has it");
    }
}
