//! `touchseal unseal`: the ceremony. Who asks is checked first, then one operation of the YubiKey opens the master, which
//! is sealed to every replica that waits; then each replica's own word is awaited. With `--stay` nobody sits in front of it.

mod answer;
mod gather;
mod idle;
mod report;
mod stay;
mod wait;

use std::time::{Duration, Instant};

use crate::args::{AccountArgs, Global};
use crate::cluster::Cluster;
use crate::duration;
use crate::error::Failure;
use crate::known::Store;
use crate::output::{self, Format};
use crate::secret_input::{PinArgs, PinSource};
use crate::terminal;

use gather::Group;
use report::{Line, Told};

#[derive(clap::Args, Debug)]
pub struct UnsealArgs {
    /// Name of a keyring; may be given several times; default: every one that is asked for
    #[arg(long = "keyring", value_name = "NAME")]
    keyrings: Vec<String>,
    /// Serial number of the YubiKey, with several plugged in
    #[arg(long, value_name = "NUMBER")]
    serial: Option<u32>,
    /// Accept a keyring not seen before without asking; never one that has changed
    #[arg(long)]
    yes: bool,
    /// How long to wait for the replicas to confirm
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    pin: PinArgs,
    #[command(flatten)]
    operator: AccountArgs,
    #[command(flatten)]
    stay: stay::StayArgs,
}

/// Runs it.
pub fn run(args: &UnsealArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml, Format::Wide])?;
    let cluster = Cluster::connect(global)?;
    if args.stay.is_wanted() {
        return stay::run(args, &cluster);
    }
    let operator = args.operator.account();
    let namespace = operator.namespace;

    let deadline = Instant::now() + args.timeout.min(gather::MAX_SETTLE);
    let gathered = loop {
        let gathered = gather::gather(&cluster, operator, &args.keyrings, args.timeout)?;
        if !gathered.is_empty() {
            break gathered;
        }
        let idle = idle::Idle::look(&cluster, operator, &args.keyrings)?;
        if idle.is_about_to_change(namespace) && Instant::now() < deadline {
            std::thread::sleep(gather::LOOK_EVERY);
            continue;
        }
        if matches!(global.output, Format::Json | Format::Yaml) {
            output::print(&output::machine(global.output, &[(); 0])?)?;
        }
        return idle.explain(namespace);
    };
    let who = report::who_asks(&gathered);
    if !who.is_empty() {
        terminal::say(who.trim_end());
    }
    let mut known = Store::open()?;
    let mut lines = gathered.refused;
    let mut ended = Ok(());
    let groups: Vec<_> = gathered.groups.into_iter().filter(|group| !group.asking.is_empty()).collect();
    let trusted = trusted(groups, &mut lines, &mut ended, &mut |group| {
        known.accept(Some(cluster.server()), &group.keyring, &group.manifest, args.yes)
    });

    let mut pin = PinSource::new(&args.pin);
    for group in &trusted {
        // A keyring whose YubiKey fails keeps no other keyring from being unsealed, and is told at the end.
        match answer::answer(&cluster, group, args.serial, &mut pin) {
            Ok(answers) => {
                let deadline = Instant::now() + args.timeout;
                lines.extend(wait::wait(&cluster, &group.keyring, answers, deadline));
            }
            Err(failure) => {
                pin.reject();
                let told = Told::NotOpened(failure.what().to_owned());
                lines.extend(group.asking.iter().map(|asking| Line::new(&asking.seen, told.clone())));
                ended = report::graver(ended, failure);
            }
        }
    }
    report::print(&lines, global.output)?;
    report::ending(ended, &lines)
}

/// The groups whose keyring the person trusts. One that was swapped, or that nobody vouches for, keeps no other keyring
/// from being unsealed: it is listed, and told at the end.
fn trusted(
    groups: Vec<Group>,
    lines: &mut Vec<Line>,
    ended: &mut Result<(), Failure>,
    accept: &mut dyn FnMut(&Group) -> Result<(), Failure>,
) -> Vec<Group> {
    let mut trusted = Vec::new();
    for group in groups {
        match accept(&group) {
            Ok(()) => trusted.push(group),
            Err(failure) => {
                let told = Told::NotTrusted(failure.what().to_owned());
                lines.extend(group.asking.iter().map(|asking| Line::new(&asking.seen, told.clone())));
                *ended = report::graver(std::mem::replace(ended, Ok(())), failure);
            }
        }
    }
    trusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;
    use crate::error::Exit;
    use serde_json::json;
    use touchseal_crds::UnsealRequest;
    use touchseal_keyring::{Offer, Session, manifest};

    fn group(keyring: &str) -> Group {
        let (spec, _) = manifest::create(vec![holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap();
        let request: UnsealRequest =
            serde_json::from_value(json!({ "metadata": {}, "spec": { "keyring": keyring, "pod": "p" } }))
                .unwrap();
        let session = Session::generate();
        let offer = Offer::parse(&session.public_key(), session.nonce()).unwrap();
        let seen = gather::Seen { keyring: keyring.to_owned(), ..gather::Seen::default() };
        let asking = vec![gather::Asking { request, offer, seen }];
        Group { keyring: keyring.to_owned(), manifest: manifest::verify(&spec).unwrap(), asking }
    }

    #[test]
    fn an_odd_keyring_is_refused_and_the_others_are_unsealed() {
        let groups = ["good", "odd", "well"].map(group).into();
        let (mut lines, mut ended) = (Vec::new(), Ok(()));
        let trusted = trusted(groups, &mut lines, &mut ended, &mut |group| match group.keyring.as_str() {
            "odd" => Err(Failure::new(Exit::Refused, "odd has changed", "ask")),
            _ => Ok(()),
        });
        assert_eq!(trusted.iter().map(|group| group.keyring.as_str()).collect::<Vec<_>>(), ["good", "well"]);
        assert_eq!(lines.iter().map(|line| line.keyring.as_str()).collect::<Vec<_>>(), ["odd"]);
        assert_eq!(lines[0].result, Told::NotTrusted("odd has changed".to_owned()));
        let later = report::graver(ended, Failure::new(Exit::Failed, "no YubiKey", "plug it in"));
        let failure = report::ending(later, &lines).unwrap_err();
        assert_eq!((failure.exit(), failure.hint()), (Exit::Refused, "ask"));
    }
}
