//! `touchseal incident open`: names the moment and what it is about.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use touchseal_crds::incident::IncidentSelector;
use touchseal_crds::{Incident, IncidentSpec, duration};

use super::from_audit::Audit;
use super::{IncidentError, subject};
use crate::args::Global;
use crate::cluster::Cluster;
use crate::commands::keyring::is_object_name;
use crate::error::{Failure, one_line};
use crate::output::{self, Format};
use crate::terminal;

#[derive(clap::Args, Debug)]
pub struct OpenArgs {
    /// Name of the incident
    #[arg(value_name = "NAME")]
    name: String,
    /// The moment of the exposure: 2026-05-01T14:30:00Z, or how long ago, such as 3d or 2h30m; when in doubt, a later one
    #[arg(long, value_name = "TIME", value_parser = moment, required_unless_present = "from_audit")]
    exposed_at: Option<Timestamp>,
    /// What touchseal audit git -o json found: the keys it names, of the moment it looked. Where Secrets do not share their
    /// keys it takes several incidents: NAME-1, NAME-2 and so on
    #[arg(long, value_name = "FILE", conflicts_with_all = ["exposed_at", "namespaces", "selector", "secrets", "keys"])]
    from_audit: Option<PathBuf>,
    /// What happened, for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only EncryptedSecrets of these namespaces; --namespace names one, too
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Only EncryptedSecrets with these labels
    #[arg(short = 'l', long, value_name = "LABEL=VALUE", value_delimiter = ',', value_parser = label)]
    selector: Vec<(String, String)>,
    /// Only EncryptedSecrets of this name; may be given several times
    #[arg(long = "secret", value_name = "NAME")]
    secrets: Vec<String>,
    /// Only this Secret key; may be given several times
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
}

/// Runs it.
pub fn run(args: &OpenArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml, Format::Name, Format::Wide])?;
    let incidents = incidents(args, global.namespace.as_deref(), Timestamp::now())?;
    let cluster = Cluster::connect(global)?;
    let exists = |incident: &Incident| Failure::from(IncidentError::Exists(name_of(incident)));
    // None of several is opened unless all can be.
    for incident in incidents.iter().filter(|_| incidents.len() > 1) {
        if cluster.incident(&name_of(incident))?.is_some() {
            return Err(exists(incident));
        }
    }
    let mut stored = Vec::new();
    for incident in &incidents {
        stored.push(cluster.open_incident(incident).map_err(|error| match error.is_conflict() {
            true => exists(incident),
            false => error.into(),
        })?);
    }
    match (global.output, stored.as_slice()) {
        (Format::Table | Format::Wide, all) => {
            let told: String = all.iter().map(|one| told(&name_of(one), &one.spec)).collect();
            output::print(&told)
        }
        (Format::Name, all) => {
            let names = all.iter().map(|one| format!("incident.touchseal.dev/{}\n", name_of(one)));
            output::print(&names.collect::<String>())
        }
        (format, [one]) => output::print(&output::machine(format, one)?),
        (format, all) => output::print(&output::machine(format, &all)?),
    }
}

fn name_of(incident: &Incident) -> String {
    incident.metadata.name.clone().unwrap_or_default()
}

/// One, or what an audit found.
fn incidents(args: &OpenArgs, namespace: Option<&str>, now: Timestamp) -> Result<Vec<Incident>, Failure> {
    let Some(file) = &args.from_audit else { return Ok(vec![incident(args, namespace, now)?]) };
    check_name(&args.name)?;
    let audit = Audit::read(file)?;
    let (selectors, others) = audit.selectors(file, namespace)?;
    if others > 0 {
        terminal::say(&format!("note: findings of other namespaces are left out: {others}"));
    }
    let left_out = audit.left_out();
    if let Some(first) = left_out.first() {
        terminal::say(&one_line(&format!(
            "note: {} values, such as {first}, are in no Secret that is known of: no incident follows them",
            left_out.len()
        )));
    }
    let several = selectors.len() > 1;
    let named = (1..).zip(selectors).map(|(number, selector)| {
        let name = if several { format!("{}-{number}", args.name) } else { args.name.clone() };
        made(&name, audit.audited_at, selector, args)
    });
    Ok(named.collect())
}

fn told(name: &str, spec: &IncidentSpec) -> String {
    let of = match spec.selector.as_ref().map(subject).filter(|words| !words.is_empty()) {
        Some(subject) => format!(" of {subject}"),
        None => String::new(),
    };
    format!(
        "incident {name} is open: every value{of} that existed at {at} counts as exposed\n\
         next: touchseal incident status {name}\n",
        at = spec.exposed_at.0,
    )
}

fn incident(args: &OpenArgs, namespace: Option<&str>, now: Timestamp) -> Result<Incident, Failure> {
    check_name(&args.name)?;
    let exposed_at = args.exposed_at.unwrap_or(now);
    if exposed_at > now {
        return Err(Failure::usage(
            format!("--exposed-at {exposed_at} is in the future"),
            "give the moment of the exposure, or how long ago it was; mind the time zone (Z is UTC)",
        ));
    }
    let namespaces = args.namespaces.iter().cloned().chain(namespace.map(str::to_owned)).collect();
    let selector = IncidentSelector {
        namespaces,
        match_labels: args.selector.iter().cloned().collect::<BTreeMap<_, _>>(),
        names: args.secrets.clone(),
        keys: args.keys.clone(),
    };
    Ok(made(&args.name, exposed_at, selector, args))
}

fn made(name: &str, exposed_at: Timestamp, selector: IncidentSelector, args: &OpenArgs) -> Incident {
    let spec = IncidentSpec {
        exposed_at: Time(exposed_at),
        selector: (selector != IncidentSelector::default()).then_some(selector),
        description: args.description.clone(),
        accepted: Vec::new(),
        closed: None,
    };
    Incident::new(name, spec)
}

fn check_name(name: &str) -> Result<(), Failure> {
    if is_object_name(name) {
        return Ok(());
    }
    Err(Failure::usage(
        format!("{name:?} cannot be the name of an incident"),
        "use lower-case letters, digits, - and .; begin and end with a letter or digit",
    ))
}

/// A moment, or a span that counts back from now.
fn moment(text: &str) -> Result<Timestamp, String> {
    let ago = duration::seconds(text)
        .and_then(|seconds| Timestamp::from_second(Timestamp::now().as_second().checked_sub(seconds)?).ok());
    match ago {
        Some(moment) => Ok(moment),
        None => text.parse().map_err(|_| "give 2026-05-01T14:30:00Z, or how long ago: 3d, 2h30m".to_owned()),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((label, value)) if is_label(label) && is_word(value, true) => {
            Ok((label.to_owned(), value.to_owned()))
        }
        _ => Err("give LABEL=VALUE; no other kind of selector is known".to_owned()),
    }
}

/// A label's name, as Kubernetes takes it: `[DOMAIN/]WORD`.
fn is_label(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, word)) => is_object_name(domain) && is_word(word, false),
        None => is_word(text, false),
    }
}

fn is_word(text: &str, may_be_empty: bool) -> bool {
    let at_the_end = |c: Option<char>| c.map_or(may_be_empty, |c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && at_the_end(text.chars().next())
        && at_the_end(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: OpenArgs,
    }

    fn parse(words: &[&str]) -> Result<OpenArgs, String> {
        let line = Line::try_parse_from(["open"].iter().chain(words));
        line.map(|line| line.args).map_err(|error| error.to_string())
    }

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn without_a_selector_it_is_about_everything() {
        let args = parse(&["leak", "--exposed-at", "2026-05-01T14:30:00+02:00"]).unwrap();
        let made = incident(&args, None, now()).unwrap();
        assert_eq!(made.spec.selector, None);
        assert_eq!(made.spec.exposed_at.0.to_string(), "2026-05-01T12:30:00Z");
    }

    #[test]
    fn everything_that_is_named_goes_into_the_selector() {
        let args = parse(&[
            "leak",
            "--exposed-at",
            "2026-05-01T14:30:00Z",
            "--namespaces",
            "a,b",
            "-l",
            "team=x,tier=db",
            "--secret",
            "db",
            "--key",
            "password",
            "--key",
            "token",
        ])
        .unwrap();
        let selector = incident(&args, Some("c"), now()).unwrap().spec.selector.unwrap();
        assert_eq!(selector.namespaces, ["a", "b", "c"]);
        assert_eq!(selector.match_labels.len(), 2);
        assert_eq!((selector.names, selector.keys.len()), (vec!["db".to_owned()], 2));
    }

    #[test]
    fn a_moment_is_absolute_or_back_from_now_and_never_in_the_future() {
        let before = Timestamp::now().as_second() - 86_400;
        let ago = parse(&["leak", "--exposed-at", "1d"]).unwrap().exposed_at.unwrap().as_second();
        assert!((before..=before + 60).contains(&ago));
        for bad in ["yesterday", "2026-05-01", "2026-05-01T14:30:00", "-1d"] {
            assert!(parse(&["leak", &format!("--exposed-at={bad}")]).is_err(), "{bad}");
        }
        let future = parse(&["leak", "--exposed-at", "2026-06-01T00:00:01Z"]).unwrap();
        assert!(incident(&future, None, now()).unwrap_err().what().contains("in the future"));
    }

    #[test]
    fn a_selector_takes_labels_and_nothing_else() {
        for bad in [
            "tier==db", "team!=x", "team", "=x", "a b=c", "-a=b", "a/b/c=d", "Team/x=y", "tier=a b",
            "team=x!",
        ] {
            assert!(parse(&["leak", "--exposed-at", "1d", &format!("-l={bad}")]).is_err(), "{bad}");
        }
        for good in ["team=x", "team=", "app.kubernetes.io/part-of=a_b.c"] {
            assert!(parse(&["leak", "--exposed-at", "1d", "-l", good]).is_ok(), "{good}");
        }
    }

    #[test]
    fn only_what_was_selected_is_said_to_be_exposed() {
        let said = |words: &[&str]| {
            let args = parse(&[&["leak", "--exposed-at", "2026-05-01T00:00:00Z"], words].concat()).unwrap();
            told("leak", &incident(&args, None, now()).unwrap().spec)
        };
        assert!(
            said(&[]).contains("every value that existed at 2026-05-01T00:00:00Z counts"),
            "{}",
            said(&[])
        );
        let some = said(&["--namespaces", "nope", "--key", "token"]);
        assert!(some.contains("every value of namespaces nope; keys token that existed at"), "{some}");
    }
}
