//! What a person is told of a ceremony, and the exit code that follows from it.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::gather::{Gathered, Seen};
use crate::duration::age;
use crate::error::{Exit, Failure};
use crate::output::{self, Format, Table};

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The replica says that it is unsealed.
    Unsealed,
    /// The replica holds this holder's share, and waits for other holders.
    Counted(String),
    /// The replica refused the release.
    Refused(String),
    /// The request is not an honest operator's: nothing was sealed to it.
    Forged(String),
    /// The keyring is not one that the person accepted: its YubiKey was not asked.
    NotTrusted(String),
    /// Left over by a process that is gone.
    Stale(String),
    /// No proof yet.
    NotReady(String),
    /// Another session asks by now.
    AsksAnew,
    /// Its request is gone, and it has not become unsealed.
    Gone,
    /// The YubiKey did not open the keyring.
    NotOpened(String),
    /// The release could not be written.
    NotWritten(String),
    /// The release is written; what came of it cannot be seen.
    Unknown(String),
    /// The replica has not said anything.
    TimedOut,
}

/// One replica and its result.
#[derive(Clone, Debug)]
pub struct Line {
    pub keyring: String,
    pub pod: String,
    pub node: String,
    pub result: Told,
}

impl Line {
    /// The result of one request.
    pub fn new(seen: &Seen, result: Told) -> Self {
        Self { keyring: seen.keyring.clone(), pod: seen.pod.clone(), node: seen.node.clone(), result }
    }
}

impl Line {
    /// The same as a line of a log.
    pub fn text(&self) -> String {
        let (word, message) = self.result.words();
        let colon = if message.is_empty() { "" } else { ": " };
        format!("keyring {}, pod {}: {word}{colon}{message}", self.keyring, self.pod)
    }
}

impl Told {
    /// One word, and what there is to say about it.
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Unsealed => ("Unsealed", ""),
            Self::Counted(progress) => ("Counted", progress),
            Self::Refused(why) => ("Refused", why),
            Self::Forged(why) => ("NotAnswered", why),
            Self::NotTrusted(why) => ("NotAnswered", why),
            Self::Stale(why) => ("Skipped", why),
            Self::NotReady(why) => ("NotReady", why),
            Self::AsksAnew => {
                ("AsksAnew", "it asks anew, for another session than the one that was answered")
            }
            Self::Gone => ("Gone", "its request is gone, and it does not report itself unsealed"),
            Self::NotOpened(why) => ("NotAnswered", why),
            Self::NotWritten(why) => ("NotAnswered", why),
            Self::Unknown(why) => ("Unknown", why),
            Self::TimedOut => ("TimedOut", "it has not confirmed in time"),
        }
    }

    /// How it counts: the exit code it alone would give, and what to do next.
    const fn verdict(&self) -> Option<(Exit, &'static str)> {
        match self {
            Self::Unsealed | Self::Counted(_) | Self::Stale(_) => None,
            Self::Forged(_) => Some((
                Exit::Refused,
                "nothing was sealed to it; find out who made that request, and check --operator-namespace and --service-account",
            )),
            Self::NotTrusted(_) => Some((
                Exit::Refused,
                "nothing was sealed to it; compare the keyring with whoever keeps it, then unseal it alone: --keyring",
            )),
            Self::Refused(_) => Some((
                Exit::Failed,
                "compare the keyring in the cluster with the one in git (touchseal keyring show), then unseal again",
            )),
            Self::Gone => Some((
                Exit::Failed,
                "its process ended meanwhile, or another holder was faster: see touchseal status, and unseal again if it waits anew",
            )),
            Self::AsksAnew | Self::NotOpened(_) | Self::NotWritten(_) => {
                Some((Exit::Failed, "run touchseal unseal again"))
            }
            Self::Unknown(_) => Some((
                Exit::Failed,
                "its release is written; touchseal status shows what came of it once the API server answers",
            )),
            Self::NotReady(_) => Some((
                Exit::TimedOut,
                "run touchseal unseal again; if it stays so, look at the operator's log",
            )),
            Self::TimedOut => Some((
                Exit::TimedOut,
                "see touchseal status and the operator's log; its release stays written",
            )),
        }
    }
}

const GRAVEST_FIRST: [Exit; 3] = [Exit::Refused, Exit::Failed, Exit::TimedOut];

/// The graver of two failures; of equals the first.
pub fn graver(before: Result<(), Failure>, failure: Failure) -> Result<(), Failure> {
    let rank = |exit| GRAVEST_FIRST.iter().position(|of| *of == exit).unwrap_or(GRAVEST_FIRST.len());
    match before {
        Err(before) if rank(before.exit()) <= rank(failure.exit()) => Err(before),
        _ => Err(failure),
    }
}

/// Who asks, before anything is done: a person decides on this.
pub fn who_asks(gathered: &Gathered) -> String {
    let now = Timestamp::now();
    let mut table = Table::new(&["KEYRING", "POD", "NODE", "WAITS", "IMAGES"]);
    for asking in gathered.groups.iter().flat_map(|group| &group.asking) {
        let seen = &asking.seen;
        let (pod, node) = (seen.pod.clone(), seen.node.clone());
        table.row([seen.keyring.clone(), pod, node, age(seen.since, now), seen.images.join(", ")]);
    }
    table.render()
}

/// Prints the results.
pub fn print(lines: &[Line], format: Format) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => {
            let mut table = Table::new(&["KEYRING", "POD", "RESULT", "MESSAGE"]);
            for line in lines {
                let (word, message) = line.result.words();
                table.row([line.keyring.clone(), line.pod.clone(), word.to_owned(), message.to_owned()]);
            }
            output::print(&table.render())
        }
        format => {
            let rows: Vec<_> = lines.iter().map(Row::from).collect();
            output::print(&output::machine(format, &json!(rows))?)
        }
    }
}

/// How the command ends: the gravest of what went wrong before anything was written and of the results.
pub fn ending(ended: Result<(), Failure>, lines: &[Line]) -> Result<(), Failure> {
    match verdict(lines) {
        Ok(()) => ended,
        Err(failure) => graver(ended, failure),
    }
}

/// Success only when every replica that waits was unsealed, or counts this holder's share; the gravest result decides the exit code.
pub fn verdict(lines: &[Line]) -> Result<(), Failure> {
    let waiting = lines.iter().filter(|line| !matches!(line.result, Told::Stale(_))).count();
    let unsealed = lines.iter().filter(|line| line.result == Told::Unsealed).count();
    let bad: Vec<_> = lines.iter().filter_map(|line| Some((line, line.result.verdict()?))).collect();
    let gravest = GRAVEST_FIRST.iter().find_map(|exit| bad.iter().find(|(_, (code, _))| code == exit));
    match gravest {
        None => Ok(()),
        Some((line, (exit, hint))) => {
            let (_, message) = line.result.words();
            let what =
                format!("{unsealed} of {waiting} waiting replicas unsealed; pod {}: {message}", line.pod);
            Err(Failure::new(*exit, what, *hint))
        }
    }
}

#[derive(Serialize)]
struct Row<'a> {
    keyring: &'a str,
    pod: &'a str,
    node: &'a str,
    result: &'static str,
    message: &'a str,
}

impl<'a> From<&'a Line> for Row<'a> {
    fn from(line: &'a Line) -> Self {
        let (result, message) = line.result.words();
        Self { keyring: &line.keyring, pod: &line.pod, node: &line.node, result, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(results: &[Told]) -> Option<Exit> {
        let lines: Vec<Line> = results.iter().map(|r| Line::new(&Seen::default(), r.clone())).collect();
        verdict(&lines).err().map(|failure| failure.exit())
    }

    #[test]
    fn only_all_unsealed_is_success() {
        use Told::*;
        assert_eq!(exit(&[Unsealed, Unsealed]), None);
        assert_eq!(exit(&[Unsealed, Stale("gone".into())]), None, "nobody waits in a pod that is gone");
        assert_eq!(exit(&[Unsealed, TimedOut]), Some(Exit::TimedOut));
        assert_eq!(exit(&[Unsealed, NotReady("x".into())]), Some(Exit::TimedOut));
        assert_eq!(exit(&[TimedOut, Refused("x".into())]), Some(Exit::Failed));
        for failed in [AsksAnew, Gone, NotOpened("x".into()), NotWritten("x".into()), Unknown("x".into())] {
            assert_eq!(exit(&[Unsealed, failed]), Some(Exit::Failed));
        }
        assert_eq!(exit(&[Refused("x".into()), Forged("x".into()), TimedOut]), Some(Exit::Refused));
    }

    #[test]
    fn the_message_counts_and_names_the_pod() {
        let seen = Seen { pod: "op-1".into(), ..Seen::default() };
        let failure =
            verdict(&[Line::new(&seen, Told::Unsealed), Line::new(&seen, Told::TimedOut)]).unwrap_err();
        assert_eq!(
            failure.what(),
            "1 of 2 waiting replicas unsealed; pod op-1: it has not confirmed in time"
        );
    }
}
