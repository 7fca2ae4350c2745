//! A holder by a PGP key on a YubiKey's OpenPGP applet, for teams whose YubiKeys hold no PIV key. The person's GnuPG has the public
//! key; the age identity that is made for the holder leaves this process as a PGP message only.

use touchseal_crds::keyring::{Holder, HolderKind, PgpKey, TouchPolicy};
use touchseal_keyring::holder::{OPENPGP_SLOT, new_identity};

use super::new_key::NewKeyArgs;
use crate::error::{Exit, Explain, Failure};
use crate::gpg::Gpg;
use crate::terminal;

/// The key.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct PgpArgs {
    /// Enrol this PGP key, which is on the OpenPGP applet of a YubiKey; your gpg must have its public key. With --serial for
    /// somebody else's
    #[arg(long, value_name = "FINGERPRINT", conflicts_with_all = ["slot", "use_existing", "pin_policy", "touch_policy"])]
    pub pgp: Option<String>,
}

/// Why no holder came of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum PgpKeyError {
    #[error("find PGP key {0}: gpg has no public key of that fingerprint")]
    Unknown(String),
    #[error("{0:?} is not the fingerprint of a PGP key")]
    Fingerprint(String),
    #[error("enrol PGP key {0}: its decryption key is in a file of this computer, not on a YubiKey")]
    OnDisk(String),
    #[error("enrol PGP key {0}: it has no decryption key that is in force")]
    NoneInForce(String),
    #[error("enrol PGP key {0}: its decryption keys that are in force are not all on one YubiKey")]
    Scattered(String),
    #[error("use PGP key {fingerprint}: its public key is that of {found}")]
    OtherKey { fingerprint: String, found: String },
    #[error("enrol PGP key {0}: gpg has no secret key of it, so nothing says on which YubiKey it is")]
    NoSerial(String),
    #[error("enrol PGP key {fingerprint}: it is on YubiKey {found}, not on {said}")]
    OtherSerial { fingerprint: String, found: u32, said: u32 },
    #[error("enrol PGP key {0}: what was encrypted to it does not open again")]
    NotBack(String),
}

impl Explain for PgpKeyError {
    fn hint(&self) -> String {
        match self {
            Self::Unknown(_) => "import it first: gpg --import FILE; compare the fingerprint with its owner".to_owned(),
            Self::Fingerprint(_) => "give all 40 digits, as gpg --list-keys --with-colons or gpg --card-status shows them".to_owned(),
            Self::OnDisk(_) => "move it onto the YubiKey (gpg --edit-key, keytocard): no key of a keyring is on a disk".to_owned(),
            Self::NoneInForce(_) => "look at gpg --list-secret-keys: has it expired, was it revoked".to_owned(),
            Self::Scattered(_) => "gpg encrypts to the newest of them: move it onto the YubiKey (gpg --edit-key, keytocard), or revoke it (revkey)".to_owned(),
            Self::OtherKey { .. } => "give the fingerprint of the primary key, the first that gpg --list-keys shows of it".to_owned(),
            Self::NoSerial(_) => "give the serial number of its owner's YubiKey: --serial NUMBER; or let gpg see the card: gpg --card-status".to_owned(),
            Self::OtherSerial { .. } => "plug in the right YubiKey, or leave --serial out".to_owned(),
            Self::NotBack(_) => "gpg used another key than it should; look at gpg --list-secret-keys".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        if matches!(self, Self::Fingerprint(_)) { Exit::Usage } else { Exit::Failed }
    }
}

/// The holder. Where the key is this person's, it has opened its message once when this returns.
pub fn holder(args: &NewKeyArgs, written: &str) -> Result<Holder, Failure> {
    let gpg = Gpg::of_environment();
    let written: String = written.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase();
    let written = written.strip_prefix("0X").unwrap_or(&written);
    if !matches!(written.len(), 40 | 64) || !written.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(PgpKeyError::Fingerprint(written.chars().take(80).collect()).into());
    }
    let fingerprint = written.to_owned();
    let public_key =
        gpg.public_key(&fingerprint)?.ok_or_else(|| PgpKeyError::Unknown(fingerprint.clone()))?;
    let secret = gpg.secret_keys()?;
    let own = secret.contains(&fingerprint);
    let serial = serial(&gpg, &fingerprint, own, args.serial)?;
    let (recipient, key) = message(&gpg, fingerprint, public_key)?;
    if own {
        terminal::say(&format!("gpg opens what was encrypted to it; touch YubiKey {serial} if it blinks"));
        let back = gpg.open(&key.identity, &secret)?;
        if touchseal_keyring::holder::recipient_of(&back).as_deref() != Some(recipient.as_str()) {
            return Err(PgpKeyError::NotBack(key.fingerprint).into());
        }
    } else {
        terminal::say(&format!(
            "warning: nothing proves that PGP key {} is on a YubiKey, or whose it is: compare it with its owner",
            key.fingerprint
        ));
    }
    Ok(Holder {
        name: args.holder.clone(),
        kind: HolderKind::Pgp,
        serial,
        slot: OPENPGP_SLOT.to_owned(),
        recipient,
        pgp: Some(key),
        pin_policy: None,
        touch_policy: None::<TouchPolicy>,
    })
}

/// The holders of a new key generation: those by PGP get another identity, so that what their PGP key opened in an older
/// manifest opens no newer one.
///
/// # Errors
/// Nothing can be encrypted to one of them, who is named.
pub fn renewed<'h>(holders: impl IntoIterator<Item = &'h Holder>) -> Result<Vec<Holder>, Failure> {
    let gpg = Gpg::of_environment();
    let renew = |holder: &Holder| match &holder.pgp {
        None => Ok(holder.clone()),
        Some(key) => {
            let made = message(&gpg, key.fingerprint.clone(), key.public_key.clone());
            let (recipient, key) =
                made.map_err(|failure| not_renewed(&holder.name, &key.fingerprint, &failure))?;
            Ok(Holder { recipient, pgp: Some(key), ..holder.clone() })
        }
    };
    holders.into_iter().map(renew).collect()
}

/// The manifest has a public key as it was at enrolment: whatever is wrong with it, another enrolment mends.
fn not_renewed(name: &str, fingerprint: &str, failure: &Failure) -> Failure {
    let what = format!("add a key generation for holder {name}, PGP key {fingerprint}: {}", failure.what());
    let hint = "nothing was changed; remove that holder (touchseal keyring remove-holder NAME -f FILE) and enrol them again with a key that is in force";
    Failure::new(failure.exit(), what, hint)
}

/// A new identity, encrypted to the PGP key: to what it is called by, and to no other.
fn message(gpg: &Gpg, fingerprint: String, public_key: String) -> Result<(String, PgpKey), Failure> {
    let found = gpg.primaries_of(&public_key)?;
    if found != [fingerprint.as_str()] {
        let found = if found.is_empty() { "nobody".to_owned() } else { found.join(" and ") };
        return Err(PgpKeyError::OtherKey { fingerprint, found }.into());
    }
    let (recipient, text) = new_identity();
    let identity = gpg.encrypt_to(&public_key, text.as_bytes())?;
    Ok((recipient, PgpKey { fingerprint, public_key, identity }))
}

fn serial(gpg: &Gpg, fingerprint: &str, own: bool, said: Option<u32>) -> Result<u32, Failure> {
    let named = || fingerprint.to_owned();
    if !own {
        return Ok(said.ok_or_else(|| PgpKeyError::NoSerial(named()))?);
    }
    let found = match gpg.cards_of(fingerprint)?[..] {
        [Some(serial)] => serial,
        [] => return Err(PgpKeyError::NoneInForce(named()).into()),
        [None] => return Err(PgpKeyError::OnDisk(named()).into()),
        _ => return Err(PgpKeyError::Scattered(named()).into()),
    };
    match said.filter(|said| *said != found) {
        Some(said) => Err(PgpKeyError::OtherSerial { fingerprint: named(), found, said }.into()),
        None => Ok(found),
    }
}
