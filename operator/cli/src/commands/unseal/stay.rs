//! `touchseal unseal --stay`: a YubiKey that is left in a node, for clusters that must come back alone. It performs the very
//! ceremony a person would, whenever somebody asks; its PIN comes from a file, and what it trusts was said beforehand.
//!
//! What would need a person ends it: a key that wants a touch, and a PIN that was wrong once. All else may pass, and is
//! tried again.

mod guard;
mod held;
mod trust;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use touchseal_crds::Keyring;
use touchseal_crds::keyring::KeyRemoval;
use touchseal_keyring::{Fingerprint, proof::Operator};
use touchseal_token::{Card, TokenError, Which};

use super::report::{Line, Told};
use super::{UnsealArgs, answer, gather, wait};
use crate::cluster::Cluster;
use crate::commands::keyring::fetch;
use crate::commands::seal;
use crate::error::{Explain, Failure, one_line};
use crate::secret_input::PinSource;
use crate::{card, ceremony, terminal};

use trust::Trust;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A reader that is reset looks empty for a moment: so often in a row it is empty before the key counts as pulled.
const OUT_AFTER: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const MOST_SAID: usize = 100;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "A key that is left in a node")]
pub struct StayArgs {
    /// Stay, and answer whoever asks from now on, with a YubiKey that needs no touch: for clusters that must come back alone
    #[arg(long, requires_all = ["serial", "pin_file"], conflicts_with_all = ["yes", "pin_fd", "allow_last_pin_try"])]
    stay: bool,
    /// Read the PIN from this file, which others must not be able to read
    #[arg(long, value_name = "FILE", requires = "stay")]
    pin_file: Option<PathBuf>,
    /// Fingerprint of a keyring to unseal; may be given several times; default: those accepted before
    #[arg(long = "fingerprint", value_name = "SHA256:...", requires = "stay")]
    fingerprints: Vec<Fingerprint>,
    /// Use the PIN although a try was spent, while so many are left; default: only while none is
    #[arg(long, value_name = "NUMBER", requires = "stay", value_parser = clap::value_parser!(u8).range(2..))]
    min_pin_tries: Option<u8>,
}

impl StayArgs {
    /// `--stay`.
    pub const fn is_wanted(&self) -> bool {
        self.stay
    }
}

/// Runs until something happens that needs a person.
pub fn run(args: &UnsealArgs, cluster: &Cluster) -> Result<(), Failure> {
    let (Some(serial), Some(pin_file)) = (args.serial, args.stay.pin_file.clone()) else {
        return Err(Failure::usage("--stay needs a YubiKey and its PIN", "add --serial and --pin-file"));
    };
    // Now and not when it is needed at night.
    PinSource::from_file(serial, &pin_file)?;
    let node = Node {
        args,
        cluster,
        operator: args.operator.account(),
        serial,
        pin_file,
        trust: Trust::new(&args.stay.fingerprints)?,
        presence: None,
        out_for: 0,
        sealed: false,
        reviewed: false,
        pause: FIRST_PAUSE,
        not_before: Instant::now(),
        said: BTreeSet::new(),
    };
    terminal::say(&format!("staying with YubiKey {serial}: whoever asks is answered after the same proof"));
    Err(node.stay())
}

/// Where the YubiKey is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    In,
    Out,
}

struct Node<'a> {
    args: &'a UnsealArgs,
    cluster: &'a Cluster,
    operator: Operator<'a>,
    serial: u32,
    pin_file: PathBuf,
    trust: Trust,
    /// As last told.
    presence: Option<Presence>,
    out_for: u32,
    /// Since it was pulled, everything was sealed.
    sealed: bool,
    /// Since it was plugged in, it was seen to be able to open what it is for.
    reviewed: bool,
    pause: Duration,
    not_before: Instant,
    /// What was told since something went well.
    said: BTreeSet<String>,
}

impl Node<'_> {
    fn stay(mut self) -> Failure {
        loop {
            if let Err(fatal) = self.turn() {
                return fatal;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// One look at reader and cluster. An error needs a person.
    fn turn(&mut self) -> Result<(), Failure> {
        match self.look() {
            Some(Presence::In) if Instant::now() >= self.not_before => self.serve(),
            Some(Presence::Out) if !self.sealed => {
                self.seal();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Where the YubiKey is; `None` while that cannot be said, which is no removal.
    fn look(&mut self) -> Option<Presence> {
        let serials: Vec<u32> = match card::present() {
            Ok(cards) => cards.iter().map(|card| card.serial).collect(),
            Err(error) => {
                self.trouble(&error.into());
                return None;
            }
        };
        let now = if serials.contains(&self.serial) { Presence::In } else { Presence::Out };
        self.out_for = if now == Presence::Out { self.out_for.saturating_add(1) } else { 0 };
        if now == Presence::Out && self.out_for < OUT_AFTER {
            return None;
        }
        if self.presence != Some(now) {
            match now {
                Presence::In => terminal::say(&format!("YubiKey {} is plugged in", self.serial)),
                Presence::Out => {
                    let choice = ceremony::ChoiceError::Absent { wanted: self.serial, present: serials };
                    terminal::say(&format!("{choice}; {}", choice.hint()));
                }
            }
            self.presence = Some(now);
            (self.sealed, self.reviewed) = (false, false);
            self.succeeded();
        }
        Some(now)
    }

    fn serve(&mut self) -> Result<(), Failure> {
        if !self.reviewed {
            self.review()?;
            if !self.reviewed {
                return Ok(());
            }
        }
        match self.somebody_asks() {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(failure) => {
                self.failed(&failure);
                return Ok(());
            }
        }
        match self.ceremony()? {
            Ok(lines) => {
                lines.iter().for_each(|line| self.tell(&line.text()));
                let served =
                    lines.iter().any(|line| matches!(line.result, Told::Unsealed | Told::Counted(_)));
                match super::report::verdict(&lines) {
                    Ok(()) if served => self.succeeded(),
                    // What is left over by processes that are gone needs no second look at once.
                    Ok(()) => self.pause(),
                    Err(failure) => self.failed(&failure),
                }
            }
            Err(failure) => self.failed(&failure),
        }
        Ok(())
    }

    /// Whether this YubiKey can do its part, looked at when it is plugged in and not when it is needed.
    fn review(&mut self) -> Result<(), Failure> {
        let mut card = match self.guarded_card()? {
            Ok(card) => card,
            Err(error) => {
                self.failed(&error.into());
                return Ok(());
            }
        };
        let names = match self.named() {
            Ok(names) => names,
            Err(failure) => {
                self.failed(&failure);
                return Ok(());
            }
        };
        for name in &names {
            let looked = fetch(self.cluster, name).and_then(|manifest| {
                self.trust.accept(self.cluster.server(), name, &manifest)?;
                Ok(manifest)
            });
            match looked {
                Ok(manifest) => {
                    guard::touch(&mut card, name, &manifest)?;
                    terminal::say(&format!("YubiKey {} opens keyring {name} without a touch", self.serial));
                }
                Err(failure) => self.trouble(&failure),
            }
        }
        self.reviewed = true;
        Ok(())
    }

    /// The YubiKey, with all the PIN tries it should have. The outer error needs a person.
    fn guarded_card(&self) -> Result<Result<Card, TokenError>, Failure> {
        let mut card = match Card::open(Which::Serial(self.serial)) {
            Ok(card) => card,
            Err(error) => return Ok(Err(error)),
        };
        Ok(guard::tries(&mut card, self.args.stay.min_pin_tries)?.map(|()| card))
    }

    /// Names of the keyrings meant, also of one that is not there.
    fn named(&self) -> Result<Vec<String>, Failure> {
        if !self.args.keyrings.is_empty() {
            return Ok(self.args.keyrings.clone());
        }
        Ok(self.keyrings()?.into_iter().filter_map(|keyring| keyring.metadata.name).collect())
    }

    /// The keyrings meant: those named, or all that list this YubiKey.
    fn keyrings(&self) -> Result<Vec<Keyring>, Failure> {
        let only = &self.args.keyrings;
        let mut all = self.cluster.keyrings()?;
        all.retain(|keyring| match only.is_empty() {
            true => keyring.spec.holders.iter().any(|holder| holder.serial == self.serial),
            false => keyring.metadata.name.as_ref().is_some_and(|name| only.contains(name)),
        });
        Ok(all)
    }

    fn somebody_asks(&self) -> Result<bool, Failure> {
        let requests = self.cluster.unseal_requests(self.operator.namespace)?;
        let only = &self.args.keyrings;
        Ok(requests.iter().any(|request| {
            let sent = ceremony::ShareSent { serial: self.serial, needed: 0 };
            (only.is_empty() || only.contains(&request.spec.keyring))
                && request.metadata.deletion_timestamp.is_none()
                && request.spec.release.is_none()
                && sent.released(request).is_none()
        }))
    }

    /// Answers everybody who asks for the right keyring, with one operation a keyring. The outer error needs a person.
    fn ceremony(&mut self) -> Result<Result<Vec<Line>, Failure>, Failure> {
        let timeout = self.args.timeout;
        let gathered = match gather::gather(self.cluster, self.operator, &self.args.keyrings, timeout) {
            Ok(gathered) => gathered,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut lines = gathered.refused;
        for group in gathered.groups.into_iter().filter(|group| !group.asking.is_empty()) {
            let held = match held::by_a_person(self.cluster, &group.keyring) {
                Ok(held) => held,
                Err(error) => return Ok(Err(error.into())),
            };
            let not_trusted = self.trust.accept(self.cluster.server(), &group.keyring, &group.manifest).err();
            let failed = match (not_trusted, held) {
                (Some(failure), _) => Told::NotTrusted(failure.what().to_owned()),
                (None, Some(marker)) => Told::Stale(held::words(&group.keyring, &marker)),
                (None, None) => match self.answer(&group)? {
                    Ok(answered) => {
                        let deadline = Instant::now() + timeout;
                        lines.extend(wait::wait(self.cluster, &group.keyring, answered, deadline));
                        continue;
                    }
                    Err(failure) => Told::NotOpened(failure.what().to_owned()),
                },
            };
            lines.extend(group.asking.iter().map(|asking| Line::new(&asking.seen, failed.clone())));
        }
        Ok(Ok(lines))
    }

    /// The YubiKey's part. Whether it may do it is looked at before and, for a wrong PIN, after.
    fn answer(&mut self, group: &gather::Group) -> Result<Result<Vec<answer::Answer>, Failure>, Failure> {
        match self.guarded_card()? {
            Ok(mut card) => guard::touch(&mut card, &group.keyring, &group.manifest)?,
            Err(error) => return Ok(Err(error.into())),
        }
        let mut pin = match PinSource::from_file(self.serial, &self.pin_file) {
            Ok(pin) => pin,
            Err(error) => return Ok(Err(error.into())),
        };
        let answered = answer::answer(self.cluster, group, Some(self.serial), &mut pin);
        if let Err(failure) = &answered {
            self.trouble(failure);
            // Where the card does not answer now, it is asked before the PIN is presented again.
            let _later = self.guarded_card()?;
        }
        Ok(answered)
    }

    /// Makes every replica drop what this YubiKey opens and whose manifest says so; asked again at the next look where it could not be asked.
    fn seal(&mut self) {
        let asked = self.keyrings().and_then(|keyrings| {
            // A manifest that its holders did not sign so seals every replica anyway.
            let sealing = |keyring: Keyring| {
                keyring.metadata.name.filter(|_| keyring.spec.on_key_removal == Some(KeyRemoval::Seal))
            };
            let mut names: Vec<String> = keyrings.into_iter().filter_map(sealing).collect();
            // Those that a person sealed are sealed, and must not look as if the key had been the reason.
            let held: Result<Vec<_>, _> =
                names.iter().map(|name| held::by_a_person(self.cluster, name)).collect();
            let mut held = held?.into_iter();
            names.retain(|_| !matches!(held.next(), Some(Some(_))));
            let marker = if names.is_empty() {
                String::new()
            } else {
                seal::ask(self.cluster, &names, held::own_marker())?
            };
            Ok((names, marker))
        });
        let (names, marker) = match asked {
            Ok(asked) => asked,
            Err(failure) => return self.trouble(&failure),
        };
        self.sealed = true;
        if names.is_empty() {
            return terminal::say(&format!(
                "nothing to seal: no other keyring that YubiKey {} opens is to be sealed when it is pulled",
                self.serial
            ));
        }
        let timeout = self.args.timeout;
        let certain =
            seal::wait(self.cluster, &names, &marker, self.operator, timeout).map_err(Failure::from);
        match certain.and_then(|replicas| seal::certain(&replicas, timeout, self.operator)) {
            Ok(()) => {
                terminal::say(&format!("sealed: every replica has dropped the keys of {}", names.join(", ")))
            }
            Err(failure) => self.trouble(&failure),
        }
    }

    fn succeeded(&mut self) {
        self.pause = FIRST_PAUSE;
        self.not_before = Instant::now();
        self.said.clear();
    }

    /// What may pass is tried again, later each time.
    fn failed(&mut self, failure: &Failure) {
        self.trouble(failure);
        self.pause();
    }

    fn pause(&mut self) {
        self.not_before = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn trouble(&mut self, failure: &Failure) {
        self.tell(&format!("{failure}; {}", failure.hint()));
    }

    /// Says a thing once, until something went well.
    fn tell(&mut self, text: &str) {
        if self.said.len() >= MOST_SAID {
            self.said.clear();
        }
        let text = one_line(text);
        if !self.said.contains(&text) {
            terminal::say(&text);
            self.said.insert(text);
        }
    }
}
