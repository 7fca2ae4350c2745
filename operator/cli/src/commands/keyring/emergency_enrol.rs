//! `touchseal keyring emergency-enrol`: somebody becomes a holder through an unsealed operator, when no holder's YubiKey is
//! left. The operator does it for a keyring whose manifest allows it, and writes it down; what it gives back is verified here like any
//! edit before it is written.

use std::time::{Duration, Instant};

use kube::api::ObjectMeta;
use touchseal_crds::enrolment::EnrolmentSpec;
use touchseal_crds::keyring::Holder;
use touchseal_crds::{Enrolment, KeyringSpec, Reason};
use touchseal_keyring::manifest;

use super::change::{Change, ChangeError};
use super::enrol;
use super::new_key::{self, NewKeyArgs};
use super::public_key::PublicKeyArgs;
use crate::args::{Global, OperatorArgs};
use crate::card;
use crate::cluster::Cluster;
use crate::error::{Exit, Explain, Failure, one_line};
use crate::secret_input::{PinArgs, PinSource};
use crate::{duration, output, terminal};

const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(clap::Args, Debug)]
pub struct EmergencyEnrolArgs {
    /// The keyring's manifest; rewritten in place
    #[arg(short, long, value_name = "FILE")]
    file: std::path::PathBuf,
    #[command(flatten)]
    key: NewKeyArgs,
    #[command(flatten)]
    public: PublicKeyArgs,
    #[command(flatten)]
    pin: PinArgs,
    /// Why, for those who read Events and logs later
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do it without asking, also for a keyring not seen before
    #[arg(long)]
    yes: bool,
    /// How long to wait for the operator
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Why nobody was enrolled.
#[derive(Debug, thiserror::Error)]
enum EmergencyError {
    #[error("keyring {0} does not allow emergency enrolments")]
    NotAllowed(String),
    #[error("you did not agree")]
    Declined,
    #[error("the operator made nobody a holder: {0}")]
    Refused(String),
    #[error("the enrolment was deleted meanwhile")]
    Gone,
    #[error("the operator gave no manifest within {} s{}", .0.as_secs_f32(), .1)]
    TimedOut(Duration, String),
    #[error("the operator's manifest differs from this file in more than the new holder")]
    NotThat,
    #[error("read the operator's manifest: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl Explain for EmergencyError {
    fn hint(&self) -> String {
        match self {
            Self::NotAllowed(_) => {
                "a holder allows it with `touchseal keyring emergency-enrolment allow`; with none left, make a new keyring and \
                 encrypt the cluster's Secrets to it"
                    .to_owned()
            }
            Self::Declined => "nothing was changed".to_owned(),
            Self::Refused(_) | Self::Gone => "nothing was changed; see the Keyring's Events".to_owned(),
            Self::TimedOut(..) => {
                "nothing was changed; see that a replica leads and is unsealed: touchseal status".to_owned()
            }
            Self::NotThat | Self::Unreadable(_) => {
                "the file was not changed; see that it is the manifest that is applied, and who runs the operator".to_owned()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::TimedOut(..) => Exit::TimedOut,
            Self::NotAllowed(_) | Self::Declined | Self::NotThat => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

/// Runs it.
pub fn run(args: &EmergencyEnrolArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    new_key::check_name(&args.key)?;
    let change = Change::begin(&args.file, args.yes, false)?;
    change.accept()?;
    let name = change.name().to_owned();
    if !change.manifest().enrols_in_an_emergency() {
        return Err(EmergencyError::NotAllowed(name).into());
    }
    enrol::check_name_is_free(change.manifest(), &args.key.holder)?;
    let cluster = Cluster::connect(global)?;
    let user = cluster.user()?;
    let mut pin = PinSource::shared(&args.pin);
    let on_card = !args.public.given();
    let holder = if on_card {
        enrol::on_card(&change, &args.key, &mut pin)?
    } else {
        let given = args.public.holder(&args.key)?;
        enrol::check_key(change.manifest(), &given.holder)?;
        given.tell();
        given.holder
    };
    let question = format!(
        "make {} (YubiKey {}) a holder of keyring {name} without any holder, recorded as asked for by {user}?",
        holder.name, holder.serial
    );
    if !args.yes && !terminal::confirm(&question)? {
        return Err(EmergencyError::Declined.into());
    }
    let wish = EnrolmentSpec {
        keyring: name.clone(),
        revision: change.manifest().spec().revision,
        holder: holder.clone(),
        requested_by: user,
        reason: args.reason.clone(),
        answer: None,
    };
    let spec = ask(&cluster, args, &name, wish)?;
    if !only_adds(change.manifest().spec(), &spec, &holder) {
        return Err(EmergencyError::NotThat.into());
    }
    if on_card {
        prove(&name, &spec, &holder, &mut pin)?;
    }
    let file = change.path().display().to_string();
    if change.end(&spec)? {
        terminal::say(&format!(
            "{file} rewritten: commit it and apply it while a replica is unsealed, then enrol a second YubiKey"
        ));
        if !on_card {
            terminal::say(
                "the new key was NOT tried: seal, rotate and restart nothing before it has opened the keyring once",
            );
        }
    }
    Ok(())
}

/// The operator's part: it asks back, and gives the next manifest.
fn ask(
    cluster: &Cluster,
    args: &EmergencyEnrolArgs,
    keyring: &str,
    wish: EnrolmentSpec,
) -> Result<KeyringSpec, Failure> {
    let namespace = args.operator.operator_namespace.as_str();
    let mut asked = Enrolment::new("", wish);
    asked.metadata = ObjectMeta { generate_name: Some(format!("{keyring}-")), ..ObjectMeta::default() };
    let made = cluster.request_enrolment(namespace, &asked)?;
    let name = made.metadata.name.clone().unwrap_or_default();
    let outcome = follow(cluster, namespace, &name, args.timeout);
    // Whatever became of it: an open wish must not lie about.
    if let Err(error) = cluster.delete_enrolment(namespace, &name) {
        terminal::say(&format!("{error}; delete it by hand: kubectl delete enrolment -n {namespace} {name}"));
    }
    outcome
}

fn follow(cluster: &Cluster, namespace: &str, name: &str, timeout: Duration) -> Result<KeyringSpec, Failure> {
    let deadline = Instant::now() + timeout;
    loop {
        let Some(now) = cluster.enrolment(namespace, name)? else { return Err(EmergencyError::Gone.into()) };
        let status = now.status.clone().unwrap_or_default();
        if let Some(manifest) = &status.manifest {
            return Ok(serde_json::from_str(manifest).map_err(EmergencyError::Unreadable)?);
        }
        let said = status.conditions.first();
        if let Some(said) = said.filter(|said| said.reason == Reason::EnrolmentRefused.as_str()) {
            return Err(EmergencyError::Refused(one_line(&said.message)).into());
        }
        if let Some(challenge) = status.challenge.filter(|_| now.spec.answer.is_none()) {
            cluster.answer_enrolment(&now, &challenge)?;
            continue;
        }
        if Instant::now() >= deadline {
            let said = said.map(|said| format!("; it says: {}", one_line(&said.message)));
            return Err(EmergencyError::TimedOut(timeout, said.unwrap_or_default()).into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Whether `after` is `before` with this holder, and no other word changed but those that have to: ciphertext, revision,
/// signature.
fn only_adds(before: &KeyringSpec, after: &KeyringSpec, holder: &Holder) -> bool {
    let mut wanted = before.clone();
    wanted.holders.push(holder.clone());
    wanted.revision += 1;
    bare(&wanted) == bare(after)
}

fn bare(spec: &KeyringSpec) -> KeyringSpec {
    let mut bare = spec.clone();
    bare.signature.clear();
    for generation in &mut bare.generations {
        generation.wrapped = generation.wrapped.take().map(|_| String::new());
        generation.shares.clear();
    }
    bare
}

/// That the new YubiKey opens what it was given, before anybody relies on it: one operation of it.
fn prove(keyring: &str, spec: &KeyringSpec, holder: &Holder, pin: &mut PinSource) -> Result<(), Failure> {
    let next = manifest::verify(spec).map_err(ChangeError::Verify)?;
    let (mut token, _) = card::open_holder(keyring, &next, Some(holder.serial))?;
    if next.quorum().is_some() {
        return card::open_share(keyring, &next, &mut token, holder, pin).map(drop);
    }
    card::open_keyring(keyring, &next, &mut token, holder, pin)?.seal();
    Ok(())
}

#[cfg(test)]
mod tests {
    use touchseal_crds::keyring::{EmergencyEnrolment, HandOver};

    use super::*;
    use crate::card::testing::holder;

    #[test]
    fn what_changes_more_than_the_holder_is_not_what_was_asked_for() {
        let (spec, open) = manifest::create(vec![holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap();
        let before = manifest::verify(&spec).unwrap();
        let next = manifest::add_holder(&before, &open, holder("ben", 2)).unwrap();
        assert!(only_adds(&spec, &next, &holder("ben", 2)));
        assert!(!only_adds(&spec, &next, &holder("carl", 3)), "another holder");
        assert!(!only_adds(&spec, &spec, &holder("ben", 2)), "none");
        let with = |change: fn(&mut KeyringSpec)| {
            let mut other = next.clone();
            change(&mut other);
            only_adds(&spec, &other, &holder("ben", 2))
        };
        assert!(!with(|spec| spec.hand_over = Some(HandOver::Deny)));
        assert!(!with(|spec| spec.emergency_enrolment = Some(EmergencyEnrolment::Deny)));
        assert!(!with(|spec| spec.holders.push(holder("carl", 3))));
        assert!(!with(|spec| spec.revision += 1));
        assert!(!with(|spec| spec.generations[0].wrapped = None));
    }
}
