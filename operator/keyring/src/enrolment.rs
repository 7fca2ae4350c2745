//! Emergency enrolment: what an unsealed process makes of an administrator's wish to make somebody a holder when no holder's
//! YubiKey is left. Pure; the spec page is `crds/enrolment.md`.
//!
//! A wish that stands in git must not be enough: whoever asks repeats a challenge that was made after they asked, so they can
//! read the cluster and not only write to it.

use jiff::{SignedDuration, Timestamp};
use rand_core::{OsRng, RngCore};
use touchseal_crds::KeyringSpec;
use touchseal_crds::enrolment::EnrolmentSpec;

use crate::manifest::{self, EditError};
use crate::open::OpenKeyring;

/// How long a challenge may be answered.
pub const CHALLENGE_LIFE: SignedDuration = SignedDuration::from_mins(2);

const CHALLENGE_BYTES: usize = 16;

/// What one Enrolment was asked back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// To be repeated: lower-case hexadecimal digits.
    pub text: String,
    /// Until then.
    pub expires_at: Timestamp,
}

impl Challenge {
    /// A random one.
    pub fn generate(now: Timestamp) -> Challenge {
        let mut bytes = [0; CHALLENGE_BYTES];
        OsRng.fill_bytes(&mut bytes);
        let expires_at = now.checked_add(CHALLENGE_LIFE).unwrap_or(Timestamp::MAX);
        Challenge { text: hex::encode(bytes), expires_at }
    }
}

/// What is to be done about one Enrolment.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing while the keyring is sealed here.
    Sealed,
    /// A challenge is to be issued.
    Ask,
    /// It was issued and is not answered.
    Wait,
    /// This is the keyring's next manifest.
    Enrol(Box<KeyringSpec>),
    /// Nobody becomes a holder by this Enrolment.
    Refuse(Refused),
}

/// Why an Enrolment is refused; it stays so.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The holders said no, or nothing.
    #[error(
        "the keyring's manifest does not allow it: a holder could have said so with `touchseal keyring \
         emergency-enrolment allow`; every value is still in the cluster's Secrets, so make a new keyring and encrypt them to it"
    )]
    NotAllowed,
    /// The file and the cluster have different manifests.
    #[error(
        "it was asked for revision {asked} of the manifest, and revision {there} is there: take that one's file"
    )]
    Revision {
        /// In the Enrolment.
        asked: i64,
        /// In the cluster.
        there: i64,
    },
    /// The answer is not what was asked, or it was there before anything was asked.
    #[error("its answer is not the challenge it was given: ask anew")]
    WrongAnswer,
    /// The answer came too late.
    #[error("its challenge was not answered within {} s: ask anew", CHALLENGE_LIFE.as_secs())]
    TooLate,
    /// The edit is not one.
    #[error("{0}")]
    Edit(#[from] EditError),
}

/// Judges an Enrolment by what this process knows: the keyring if it is open here, and what it asked this very object.
pub fn judge(
    wish: &EnrolmentSpec,
    keyring: Option<&OpenKeyring>,
    asked: Option<&Challenge>,
    now: Timestamp,
) -> Verdict {
    let Some(open) = keyring else { return Verdict::Sealed };
    let manifest = open.manifest();
    if !manifest.enrols_in_an_emergency() {
        return Verdict::Refuse(Refused::NotAllowed);
    }
    let there = manifest.spec().revision;
    if wish.revision != there {
        return Verdict::Refuse(Refused::Revision { asked: wish.revision, there });
    }
    match (asked, &wish.answer) {
        (None, None) => Verdict::Ask,
        (None, Some(_)) => Verdict::Refuse(Refused::WrongAnswer),
        (Some(challenge), _) if now >= challenge.expires_at => Verdict::Refuse(Refused::TooLate),
        (Some(_), None) => Verdict::Wait,
        (Some(challenge), Some(answer)) if *answer != challenge.text => Verdict::Refuse(Refused::WrongAnswer),
        (Some(_), Some(_)) => match manifest::add_holder(manifest, open, wish.holder.clone()) {
            Ok(spec) => Verdict::Enrol(Box::new(spec)),
            Err(error) => Verdict::Refuse(error.into()),
        },
    }
}

#[cfg(test)]
#[path = "enrolment_tests.rs"]
mod tests;
