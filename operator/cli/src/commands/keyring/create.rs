//! `touchseal keyring create`: a key on a YubiKey, a fresh master wrapped to it, and the manifest for git.

use std::path::PathBuf;

use touchseal_crds::keyring::Holder;
use touchseal_keyring::manifest;
use touchseal_token::{Card, Which};

use super::enrol;
use super::new_key::{self, NewKeyArgs};
use super::pgp_key::{self, PgpArgs};
use crate::args::Global;
use crate::duration::now;
use crate::error::{Exit, Explain, Failure};
use crate::files::{self, Existing};
use crate::known::Store;
use crate::secret_input::{PinArgs, PinSource};
use crate::{manifest_file, output, terminal};

#[derive(clap::Args, Debug)]
pub struct CreateArgs {
    /// Name of the keyring
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    key: NewKeyArgs,
    #[command(flatten)]
    pgp: PgpArgs,
    /// Another holder, whose YubiKey is plugged in too, or afterwards; may be given several times
    #[arg(long, value_name = "NAME")]
    and_holder: Vec<String>,
    /// How many holders it takes to open the keyring
    #[arg(long, value_name = "NUMBER", requires = "and_holder", value_parser = clap::value_parser!(u32).range(2..))]
    quorum: Option<u32>,
    #[command(flatten)]
    pin: PinArgs,
    /// Where to write the manifest; default: NAME.keyring.yaml
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that is there already: what it could open is lost unless git has it
    #[arg(long)]
    force: bool,
}

/// Why no keyring was made.
#[derive(Debug, thiserror::Error)]
enum CreateError {
    #[error("{0:?} cannot be the name of a Kubernetes object")]
    Name(String),
    #[error("a quorum of {0} cannot be met: {1} holders are named")]
    Quorum(u32, usize),
    #[error("two holders are named {0}")]
    NameTwice(String),
    #[error("make the manifest")]
    Edit(#[from] manifest::EditError),
    #[error("verify the new manifest")]
    Verify(#[from] touchseal_keyring::ManifestError),
    #[error("write the manifest: {0}")]
    Render(#[from] serde_json::Error),
}

impl Explain for CreateError {
    fn hint(&self) -> String {
        match self {
            Self::Name(_) => {
                "use lower-case letters, digits, - and .; begin and end with a letter or digit".to_owned()
            }
            Self::Quorum(..) => "name more: --and-holder NAME".to_owned(),
            Self::NameTwice(_) => "give each holder a name of their own".to_owned(),
            _ => "this is a bug in touchseal: please report it".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        if matches!(self, Self::Name(_) | Self::Quorum(..) | Self::NameTwice(_)) {
            Exit::Usage
        } else {
            Exit::Failed
        }
    }
}

/// Runs it.
pub fn run(args: &CreateArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    if !is_object_name(&args.name) {
        return Err(CreateError::Name(args.name.clone()).into());
    }
    new_key::check_name(&args.key)?;
    check_holders(args)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.keyring.yaml", args.name)));
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    files::check_place(&out, existing)?;
    let mut known = Store::open()?;

    let mut pin = PinSource::new(&args.pin);
    let holder = first(args, &mut pin)?;
    let (serial, slot) = (holder.serial, holder.slot.clone());
    let holders = with_others(args, holder, &mut pin)?;
    let written = || -> Result<String, Failure> {
        let (spec, open) = manifest::create_with(holders, args.quorum, &now()).map_err(CreateError::Edit)?;
        open.seal();
        let verified = manifest::verify(&spec).map_err(CreateError::Verify)?;
        let text = manifest_file::render(&args.name, &spec).map_err(CreateError::Render)?;
        manifest_file::write(&out, &text, existing)?;
        known.remember_created(&args.name, &verified)?;
        Ok(verified.fingerprint().to_string())
    };
    let fingerprint = written().map_err(|failure| {
        // The key is on the card; generating another one would only fill slots.
        let again = match args.pgp.pgp {
            Some(_) => failure.hint().to_owned(),
            None => {
                format!("{}; then use the key that was made: --slot {slot} --use-existing", failure.hint())
            }
        };
        Failure::new(failure.exit(), failure.what(), again)
    })?;

    output::print(&format!("keyring {} created\nfingerprint {fingerprint}\n", args.name))?;
    terminal::say(&next_steps(&args.name, &out.display().to_string(), serial, &slot));
    Ok(())
}

/// The first holder: by a new key on the YubiKey that is plugged in, or by a PGP key.
fn first(args: &CreateArgs, pin: &mut PinSource) -> Result<Holder, Failure> {
    if let Some(fingerprint) = &args.pgp.pgp {
        return pgp_key::holder(&args.key, fingerprint);
    }
    let mut card = Card::open(args.key.serial.map_or(Which::Only, Which::Serial))?;
    new_key::make_holder(&args.name, &mut card, &args.key, pin)
}

/// Who is named, before anything is done on a YubiKey.
fn check_holders(args: &CreateArgs) -> Result<(), Failure> {
    let mut names = vec![&args.key.holder];
    for name in &args.and_holder {
        new_key::check_name(&NewKeyArgs { holder: name.clone(), ..args.key.clone() })?;
        if names.contains(&name) {
            return Err(CreateError::NameTwice(name.clone()).into());
        }
        names.push(name);
    }
    match args.quorum {
        Some(quorum) if usize::try_from(quorum).is_ok_and(|quorum| quorum > names.len()) => {
            Err(CreateError::Quorum(quorum, names.len()).into())
        }
        _ => Ok(()),
    }
}

/// Keys of the other holders, each on a YubiKey that has no part in the keyring yet: with a quorum from the beginning, its
/// master is never wrapped whole.
fn with_others(args: &CreateArgs, first: Holder, pin: &mut PinSource) -> Result<Vec<Holder>, Failure> {
    let mut holders = vec![first];
    if !args.and_holder.is_empty() {
        pin.share();
    }
    for name in &args.and_holder {
        let mut card = enrol::new_card(&holders, None)?;
        terminal::say(&format!("enrolling YubiKey {} for {name}", card.serial()));
        let key = NewKeyArgs {
            holder: name.clone(),
            serial: None,
            slot: None,
            use_existing: false,
            ..args.key.clone()
        };
        holders.push(new_key::make_holder(&args.name, &mut card, &key, pin)?);
    }
    Ok(holders)
}

fn next_steps(name: &str, file: &str, serial: u32, slot: &str) -> String {
    format!(
        "\nThe key is in slot {slot} of YubiKey {serial}.\n\
         {file} holds no secret: commit it.\n\
         Next:\n\
         \x20 touchseal keyring enrol -f {file} --holder NAME\n\
         \x20     a second YubiKey: lose the only one, lose the keyring\n\
         \x20 touchseal recipients -f {file} --for NAMESPACE --sops-yaml\n\
         \x20     what to encrypt to\n\
         \x20 kubectl apply -f {file}\n\
         \x20     then: touchseal unseal --keyring {name}\n\
         Tell the fingerprint to those who will unseal: they compare it once."
    )
}

/// A DNS subdomain name (RFC 1123).
pub fn is_object_name(name: &str) -> bool {
    let label = |label: &str| {
        let end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && end(label.bytes().next())
            && end(label.bytes().last())
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_kubernetes_takes() {
        for good in ["main", "a", "team-1.prod"] {
            assert!(is_object_name(good), "{good}");
        }
        for bad in ["", "Main", "-a", "a-", "a..b", "a_b", "../x", &"a".repeat(254)] {
            assert!(!is_object_name(bad), "{bad}");
        }
    }

    #[test]
    fn the_next_steps_fit_a_terminal() {
        let text = next_steps("prod", "prod.keyring.yaml", 12_345_678, "82");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn times_are_whole_seconds_of_rfc_3339() {
        let now = now();
        assert!(now.ends_with('Z') && now.len() == "2026-01-01T00:00:00Z".len(), "{now}");
    }
}
