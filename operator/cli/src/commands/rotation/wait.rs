//! `touchseal rotation wait`: blocks until no pod holds an older value of a secret, for scripts that revoke it then.

use std::time::{Duration, Instant};

use touchseal_crds::{ConditionType, EncryptedSecret, EncryptedSecretStatus};

use super::state::condition;
use crate::args::Global;
use crate::cluster::Cluster;
use crate::error::{Exit, Explain, Failure};
use crate::output::{self, Format};
use crate::{duration, terminal};

const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(clap::Args, Debug)]
pub struct WaitArgs {
    /// Name of the EncryptedSecret
    #[arg(value_name = "NAME")]
    name: String,
    /// How long to wait; 0 means for ever
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    timeout: Duration,
    /// Wait until this secret generation, or a newer one, is served and the ones before it are left; needed where the
    /// documents are in ConfigMaps
    #[arg(long, value_name = "NUMBER")]
    generation: Option<i64>,
}

/// Why it is not certain that nobody holds an older value.
#[derive(Debug, thiserror::Error)]
enum WaitError {
    #[error("EncryptedSecret {0} does not exist")]
    Missing(String),
    #[error("nobody knows which pods use {name}: {message}")]
    Unknown { name: String, message: String },
    #[error("{0} is at its first secret generation: no rotation was seen")]
    NotRotated(String),
    #[error("{0} has documents in ConfigMaps: whether their last change was seen cannot be told")]
    Ambiguous(String),
    #[error("waiting for {name} ended after {} s: {last}", .after.as_secs_f32())]
    TimedOut { name: String, after: Duration, last: String },
}

impl Explain for WaitError {
    fn hint(&self) -> String {
        match self {
            Self::Missing(_) => "check the name, and say its namespace with -n".to_owned(),
            Self::Unknown { .. } => {
                "let the operator list and watch pods, or look yourself before you revoke anything".to_owned()
            }
            Self::NotRotated(_) => {
                "revoke nothing; after a change is applied, wait for it with --generation 2".to_owned()
            }
            Self::Ambiguous(_) => {
                "say which change with --generation: the GENERATION kubectl get esec showed before it, plus one".to_owned()
            }
            Self::TimedOut { .. } => {
                "do not revoke the old value yet: touchseal rotation -o wide names who holds it".to_owned()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::TimedOut { .. } => Exit::TimedOut,
            Self::Ambiguous(_) => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

/// Where a secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stand {
    /// Nobody holds an older value of what was asked for; says since when, or that there is none.
    Done(String),
    /// Not yet, and why.
    Waiting(String),
    /// It cannot be known.
    Unknown(String),
    /// No rotation is named, and there was none.
    NotRotated,
    /// No rotation is named, and a change of a ConfigMap does not show in the object before the operator saw it.
    Ambiguous,
}

/// Runs it.
pub fn run(args: &WaitArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml, Format::Wide])?;
    let cluster = Cluster::connect(global)?;
    let namespace = global.namespace.as_deref().unwrap_or_else(|| cluster.namespace());
    let name = format!("{namespace}/{}", args.name);
    let began = Instant::now();
    let mut told = String::new();
    loop {
        let last = match cluster.encrypted_secret(namespace, &args.name) {
            Ok(None) => return Err(WaitError::Missing(name).into()),
            Ok(Some(object)) => match stand(&object, args.generation) {
                Stand::Done(how) => return done(&object, &how, global.output),
                Stand::NotRotated => return Err(WaitError::NotRotated(name).into()),
                Stand::Ambiguous => return Err(WaitError::Ambiguous(name).into()),
                Stand::Unknown(message) => return Err(WaitError::Unknown { name, message }.into()),
                Stand::Waiting(why) => why,
            },
            // An API server that is away for a moment ends nothing but this look at it.
            Err(error) if error.is_transient() => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        if last != told {
            terminal::say(&format!("{name}: {last}"));
            told.clone_from(&last);
        }
        if !args.timeout.is_zero() && began.elapsed() >= args.timeout {
            return Err(WaitError::TimedOut { name, after: args.timeout, last }.into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn done(object: &EncryptedSecret, how: &str, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => output::print(&format!("{how}\n")),
        format => output::print(&output::machine(format, &object.status)?),
    }
}

fn stand(object: &EncryptedSecret, wanted: Option<i64>) -> Stand {
    if wanted.is_none() && object.spec.documents.iter().any(|document| document.config_map_key_ref.is_some())
    {
        return Stand::Ambiguous;
    }
    let Some(status) = &object.status else {
        return Stand::Waiting("the operator has not seen it yet".to_owned());
    };
    if status.observed_generation != object.metadata.generation {
        return Stand::Waiting("the operator has not worked on its present spec yet".to_owned());
    }
    let Some(ready) = condition(object, ConditionType::Ready).filter(|ready| ready.status == "True") else {
        let why = condition(object, ConditionType::Ready);
        return Stand::Waiting(
            why.map_or("not served yet".to_owned(), |c| format!("{}: {}", c.reason, c.message)),
        );
    };
    let Some(present) = status.secret_generation else { return Stand::Waiting(ready.message.clone()) };
    if let Some(wanted) = wanted.filter(|wanted| *wanted > present) {
        return Stand::Waiting(format!("secret generation {present} is served, {wanted} is not yet"));
    }
    if wanted.is_none() && present == 1 {
        return Stand::NotRotated;
    }
    match condition(object, ConditionType::Draining) {
        None if present == 1 => Stand::Done("secret generation 1: there is no older value".to_owned()),
        // The condition comes with the status of the generation, or a moment later.
        None => Stand::Waiting("the operator has not told yet who holds an older value".to_owned()),
        Some(draining) => match draining.status.as_str() {
            // The operator's own words name the keys of the newest change.
            "False" if wanted.is_none_or(|wanted| wanted == present) => Stand::Done(draining.message.clone()),
            "False" => Stand::Done(format!("{}; {}", draining.message, replaced(status, wanted))),
            "True" => Stand::Waiting(format!("{}; {}", draining.message, replaced(status, wanted))),
            _ => Stand::Unknown(draining.message.clone()),
        },
    }
}

/// Which Secret keys have an old value that this is about: those replaced since the generation that is waited for.
fn replaced(status: &EncryptedSecretStatus, wanted: Option<i64>) -> String {
    let Some(number) = wanted.or(status.secret_generation) else { return String::new() };
    // What is older than the history may have come with it: then all that were ever replaced are named.
    let since = status.generations.iter().find(|one| one.number == number).map(|one| &one.since);
    let keys = status.keys.iter().filter(|key| key.replaced && since.is_none_or(|since| key.since >= *since));
    let names: Vec<&str> = keys.map(|key| key.name.as_str()).collect();
    match names.as_slice() {
        [] => format!("no value was replaced since generation {number}"),
        names => format!("replaced since generation {number}: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(
        generation: i64,
        secret_generation: Value,
        conditions: &[(&str, &str, &str)],
    ) -> EncryptedSecret {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(type_, status, message)| {
                json!({ "type": type_, "status": status, "reason": "Word", "message": message,
                    "lastTransitionTime": "2026-01-01T00:00:00Z" })
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
            "metadata": { "name": "db", "namespace": "shop", "generation": generation }, "spec": { "documents": [] },
            "status": { "observedGeneration": 1, "secretGeneration": secret_generation, "conditions": conditions },
        }))
        .unwrap()
    }

    #[test]
    fn only_a_present_word_of_the_operator_ends_the_wait() {
        let ready = ("Ready", "True", "served");
        let waiting = |text: &str| Stand::Waiting(text.to_owned());
        for (what, object, wanted, stand_is) in [
            ("first content", object(1, json!(1), &[ready]), None, Stand::NotRotated),
            (
                "first content, as asked for",
                object(1, json!(1), &[ready]),
                Some(1),
                Stand::Done("secret generation 1: there is no older value".to_owned()),
            ),
            (
                "left",
                object(1, json!(2), &[ready, ("Draining", "False", "left at noon")]),
                None,
                Stand::Done("left at noon".to_owned()),
            ),
            (
                "held",
                object(1, json!(2), &[ready, ("Draining", "True", "2 pods")]),
                None,
                waiting("2 pods; no value was replaced since generation 2"),
            ),
            (
                "dark",
                object(1, json!(2), &[ready, ("Draining", "Unknown", "no right")]),
                None,
                Stand::Unknown("no right".to_owned()),
            ),
            (
                "a later spec",
                object(2, json!(2), &[ready, ("Draining", "False", "left")]),
                None,
                waiting("the operator has not worked on its present spec yet"),
            ),
            (
                "sealed",
                object(1, json!(2), &[("Ready", "False", "no key"), ("Draining", "False", "left")]),
                None,
                waiting("Word: no key"),
            ),
            (
                "rotated, nothing said",
                object(1, json!(2), &[ready]),
                None,
                waiting("the operator has not told yet who holds an older value"),
            ),
            (
                "not there yet",
                object(1, json!(2), &[ready, ("Draining", "False", "left")]),
                Some(3),
                waiting("secret generation 2 is served, 3 is not yet"),
            ),
            (
                "there already",
                object(1, json!(3), &[ready, ("Draining", "False", "left")]),
                Some(2),
                Stand::Done("left; no value was replaced since generation 2".to_owned()),
            ),
        ] {
            assert_eq!(stand(&object, wanted), stand_is, "{what}");
        }
    }

    #[test]
    fn the_keys_whose_value_was_replaced_are_named() {
        let ready = ("Ready", "True", "served");
        let at = |hour: u8| format!("2026-01-01T{hour:02}:00:00Z");
        let said = |draining: &str, wanted| {
            let mut object = object(1, json!(3), &[ready, ("Draining", draining, "m")]);
            let status = object.status.as_mut().unwrap();
            let generation = |n: u8| json!({ "number": n, "since": at(n), "changedCount": 1 });
            status.generations = serde_json::from_value(json!([3, 2].map(generation))).unwrap();
            let key = |name: &str, hour, replaced: bool| json!({ "name": name, "since": at(hour), "replaced": replaced });
            let keys = json!([
                key("added", 3, false),
                key("last", 3, true),
                key("middle", 2, true),
                key("long-ago", 1, true),
                key("never", 1, false)
            ]);
            status.keys = serde_json::from_value(keys).unwrap();
            match stand(&object, wanted) {
                Stand::Done(text) | Stand::Waiting(text) => text,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(said("True", None), "m; replaced since generation 3: last");
        assert_eq!(said("True", Some(2)), "m; replaced since generation 2: last, middle");
        assert_eq!(said("False", Some(2)), "m; replaced since generation 2: last, middle");
        assert_eq!(said("False", Some(1)), "m; replaced since generation 1: last, middle, long-ago");
        assert_eq!((said("False", None), said("False", Some(3))), ("m".to_owned(), "m".to_owned()));
    }

    #[test]
    fn a_change_of_a_configmap_is_waited_for_by_its_generation_only() {
        let left = ("Draining", "False", "left at noon");
        let mut object = object(1, json!(2), &[("Ready", "True", "served"), left]);
        object.spec.documents = serde_json::from_value(json!([
            { "sops": "inline" }, { "configMapKeyRef": { "name": "app", "key": "app.yaml" } },
        ]))
        .unwrap();
        assert_eq!(stand(&object, None), Stand::Ambiguous);
        assert_eq!(stand(&object, Some(2)), Stand::Done("left at noon".to_owned()));
        let next = "secret generation 2 is served, 3 is not yet".to_owned();
        assert_eq!(stand(&object, Some(3)), Stand::Waiting(next));
        // What the operator has not looked at yet makes no difference to that.
        object.status = None;
        assert_eq!(stand(&object, None), Stand::Ambiguous);
        assert_eq!(WaitError::Ambiguous("shop/db".to_owned()).exit(), Exit::Usage);
    }

    #[test]
    fn time_that_is_up_has_an_exit_code_of_its_own() {
        let name = || "shop/db".to_owned();
        let up =
            WaitError::TimedOut { name: name(), after: Duration::from_secs(1), last: "2 pods".to_owned() };
        assert_eq!(up.exit(), Exit::TimedOut);
        assert!(up.hint().contains("do not revoke"));
        assert_eq!(WaitError::Unknown { name: name(), message: String::new() }.exit(), Exit::Failed);
    }
}
