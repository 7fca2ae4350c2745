//! `touchseal rotation wait`: blocks until no pod holds an older value of a secret, for scripts that revoke it then.

use std::time::{Duration, Instant};

use touchseal_crds::encrypted_secret::KeyStatus;
use touchseal_crds::rotation::RotationClass;
use touchseal_crds::{ConditionType, EncryptedSecret, EncryptedSecretStatus, Reason};

use super::state::{between, condition, is};
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
    /// Wait until this secret generation, or a newer one, is served and the ones before it are left; without it, what is
    /// applied now counts. Needed where the documents are in ConfigMaps and where Flux or Argo CD applies them, as the change
    /// may not have arrived yet: it is the GENERATION that kubectl get esec showed before it, plus one
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
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
    #[error("{0} comes by Flux, Argo CD or a ConfigMap: whether its last change arrived cannot be told")]
    Ambiguous(String),
    #[error("{name} serves again what was served before: {what}")]
    CameBack { name: String, what: String },
    #[error("waiting for {name} ended after {} s: {last}", .after.as_secs_f32())]
    TimedOut { name: String, after: Duration, last: String, for_what: For },
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
            Self::CameBack { .. } => {
                "what is in use now was valid before: revoke by hand what is named here, and nothing else".to_owned()
            }
            Self::TimedOut { for_what, .. } => for_what.hint().to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::TimedOut { .. } => Exit::TimedOut,
            Self::Ambiguous(_) => Exit::Usage,
            Self::CameBack { .. } => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

/// What it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Pods that hold the old value.
    Pods,
    /// The same, where the old value is not valid any more.
    Failing,
    /// A generation that is not served.
    Change,
    /// A key.
    Unseal,
    /// What the operator or the API server says.
    Word,
}

impl For {
    const fn hint(self) -> &'static str {
        match self {
            Self::Pods => "do not revoke the old value yet: touchseal rotation -o wide names who holds it",
            Self::Failing => {
                "pods that hold the old value fail until they have the new one: touchseal rotation -o wide names them"
            }
            Self::Change => {
                "do not revoke anything yet; see whether the change was committed, and applied: kubectl get esec"
            }
            Self::Unseal => "do not revoke anything yet; the operator waits for a holder: touchseal unseal",
            Self::Word => "do not revoke anything yet; see touchseal status, and kubectl describe esec",
        }
    }
}

/// Where a secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stand {
    /// Nobody holds an older value of what was asked for; says since when, or that there is none.
    Done(String),
    /// Not yet, and why.
    Waiting(String, For),
    /// Nobody holds an older value, but what is served was served before; says what may be revoked.
    CameBack(String),
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
        let (last, for_what) = match cluster.encrypted_secret(namespace, &args.name) {
            Ok(None) => return Err(WaitError::Missing(name).into()),
            Ok(Some(object)) => match stand(&object, args.generation) {
                Stand::Done(how) => return done(&object, &how, global.output),
                Stand::NotRotated => return Err(WaitError::NotRotated(name).into()),
                Stand::Ambiguous => return Err(WaitError::Ambiguous(name).into()),
                Stand::CameBack(what) => return Err(WaitError::CameBack { name, what }.into()),
                Stand::Unknown(message) => return Err(WaitError::Unknown { name, message }.into()),
                Stand::Waiting(why, for_what) => (why, for_what),
            },
            // An API server that is away for a moment ends nothing but this look at it.
            Err(error) if error.is_transient() => (error.to_string(), For::Word),
            Err(error) => return Err(error.into()),
        };
        if last != told {
            terminal::say(&format!("{name}: {last}"));
            told.clone_from(&last);
        }
        if !args.timeout.is_zero() && began.elapsed() >= args.timeout {
            return Err(WaitError::TimedOut { name, after: args.timeout, last, for_what }.into());
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
    if wanted.is_none() && arrives_later(object) {
        return Stand::Ambiguous;
    }
    let waiting = |why: &str, for_what| Stand::Waiting(why.to_owned(), for_what);
    let Some(status) = &object.status else { return waiting("the operator has not seen it yet", For::Word) };
    if status.observed_generation != object.metadata.generation {
        return waiting("the operator has not worked on its present spec yet", For::Word);
    }
    let ready = match condition(object, ConditionType::Ready) {
        None => return waiting("not served yet", For::Word),
        Some(ready) if ready.status != "True" => {
            let sealed = ready.reason == Reason::Sealed.as_str();
            let for_what = if sealed { For::Unseal } else { For::Word };
            return Stand::Waiting(format!("{}: {}", ready.reason, ready.message), for_what);
        }
        Some(ready) => ready,
    };
    let Some(present) = status.secret_generation else { return waiting(&ready.message, For::Word) };
    if let Some(wanted) = wanted.filter(|wanted| *wanted > present) {
        let why = format!("secret generation {present} is served, {wanted} is not yet");
        return Stand::Waiting(why, For::Change);
    }
    if wanted.is_none() && present == 1 {
        return Stand::NotRotated;
    }
    let class = object.spec.rotation.as_ref().and_then(|rotation| rotation.class);
    let is_reset = class == Some(RotationClass::InPlaceReset);
    match condition(object, ConditionType::Draining) {
        None if present == 1 => Stand::Done("secret generation 1: there is no older value".to_owned()),
        // The condition comes with the status of the generation, or a moment later.
        None => waiting("the operator has not told yet who holds an older value", For::Word),
        Some(draining) => match draining.status.as_str() {
            "False" => match came_back(object, status, wanted) {
                Some(what) => Stand::CameBack(what),
                None if is_reset => Stand::Done(
                    "no pod holds an older value; the reset ended it, so there is none to revoke".to_owned(),
                ),
                // The operator's own words name the keys of the newest change.
                None if wanted.is_none_or(|wanted| wanted == present) => {
                    Stand::Done(draining.message.clone())
                }
                None => Stand::Done(format!("{}; {}", draining.message, names(status, wanted))),
            },
            "True" => {
                let for_what = if is_reset { For::Failing } else { For::Pods };
                Stand::Waiting(format!("{}; {}", draining.message, names(status, wanted)), for_what)
            }
            _ => Stand::Unknown(draining.message.clone()),
        },
    }
}

/// Whether a change may have been made that does not show in the object before somebody else, or the operator, brings it.
fn arrives_later(object: &EncryptedSecret) -> bool {
    const CARRIERS: [&str; 2] = ["fluxcd.io/", "argocd.argoproj.io/"];
    let marks = object.metadata.labels.iter().chain(&object.metadata.annotations).flatten();
    let carried = marks.into_iter().any(|(name, _)| CARRIERS.iter().any(|carrier| name.contains(carrier)));
    carried || object.spec.documents.iter().any(|document| document.config_map_key_ref.is_some())
}

/// What may be revoked where "the old value" can be taken for the one that is served: an older document came back, or an
/// earlier value by a new one.
fn came_back(
    object: &EncryptedSecret,
    status: &EncryptedSecretStatus,
    wanted: Option<i64>,
) -> Option<String> {
    let rolled_back = is(object, ConditionType::RolledBack, "True");
    let keys: Vec<&KeyStatus> = replaced(status, wanted).collect();
    if !rolled_back && !keys.iter().any(|key| key.returned) {
        return None;
    }
    let said =
        keys.iter().map(|key| format!("of {} only {} may be revoked", key.name, between(object, &key.name)));
    let said: Vec<String> = said.collect();
    Some(if said.is_empty() {
        "no value was replaced, so none may be revoked".to_owned()
    } else {
        said.join("; ")
    })
}

/// Keys with an old value that this is about: those replaced since the generation that is waited for.
fn replaced(status: &EncryptedSecretStatus, wanted: Option<i64>) -> impl Iterator<Item = &KeyStatus> {
    let number = wanted.or(status.secret_generation);
    // What is older than the history may have come with it: then all that were ever replaced are meant.
    let since = status.generations.iter().find(|one| Some(one.number) == number).map(|one| &one.since);
    status.keys.iter().filter(move |key| key.replaced && since.is_none_or(|since| key.since >= *since))
}

/// Their names, in words.
fn names(status: &EncryptedSecretStatus, wanted: Option<i64>) -> String {
    let Some(number) = wanted.or(status.secret_generation) else { return String::new() };
    let names: Vec<&str> = replaced(status, wanted).map(|key| key.name.as_str()).collect();
    match names.as_slice() {
        [] => format!("no value was replaced since generation {number}"),
        names => format!("replaced since generation {number}: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
