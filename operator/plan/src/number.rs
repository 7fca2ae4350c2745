//! Which number the content as it is now has, and so which name, before anything is decided.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use touchseal_crds::EncryptedSecret;
use touchseal_crds::rotation::Delivery;

use crate::deliver::{delivery, held, secret_name};
use crate::entry::LedgerEntry;
use crate::floor::Floor;
use crate::generation::{self, Step};
use crate::observed::{Digests, MAX_NUMBER, Observed, Opened, Other, OurSecret, SecretSeen};

/// The part of what was observed that a number follows from; the fields are those of [`Observed`].
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The object.
    pub object: &'a EncryptedSecret,
    /// Digest of the ciphertext.
    pub source: Option<&'a str>,
    /// What became of the documents.
    pub opened: &'a Opened,
    /// The Secret that is to hold the ledger's present number.
    pub secret: &'a SecretSeen,
    /// Our further Secrets.
    pub others: &'a [Other],
    /// What the ledger knows.
    pub ledger: Option<&'a LedgerEntry>,
    /// The least number that is given out.
    pub floor: Floor,
}

impl<'a> Place<'a> {
    /// Of everything that was observed.
    pub fn of(observed: &'a Observed<'_>) -> Place<'a> {
        Place {
            object: observed.object,
            source: observed.source.as_deref(),
            opened: &observed.opened,
            secret: &observed.secret,
            others: &observed.others,
            ledger: observed.ledger.as_ref(),
            floor: observed.floor,
        }
    }

    /// Name of the Secret that the content as it is now goes to, where that is not the one in `secret`.
    pub fn fresh_name(&self, now: &Time) -> Option<String> {
        let Opened::Content(digests) = self.opened else { return None };
        let number = self.advance(digests, now).generation;
        let moves =
            delivery(self.object) == Delivery::Immutable && held(self.ledger, self.others) != Some(number);
        moves.then(|| secret_name(self.object, number))
    }

    /// The entry that the content as it is now leads to.
    pub fn advance(&self, digests: &Digests, now: &Time) -> LedgerEntry {
        let serves = |ours: &OurSecret| ours.fingerprint == digests.fingerprint;
        let newest = held(self.ledger, self.others);
        let served_unchanged = matches!(self.secret, SecretSeen::Ours(ours) if serves(ours))
            || self.others.iter().any(|other| other.generation() == newest && serves(&other.secret));
        let borne = match delivery(self.object) {
            // Single generations are told apart by name: none is served late under another one's.
            Delivery::Immutable => None,
            Delivery::InPlace | Delivery::Previous => self.secret.generation(),
        };
        let (source, highest, floor) = (self.source.unwrap_or_default(), self.highest(), self.floor);
        let step = Step { digests, source, served_unchanged, borne, highest, floor, now };
        generation::advance(self.ledger, step)
    }

    /// The highest number that a Secret of this object bears. One so high that those after it would not be believed was
    /// written by somebody else. Without a ledger a number counts whoever wrote it: a restored Secret is its restorer's.
    fn highest(&self) -> Option<i64> {
        let main = match self.secret {
            SecretSeen::Ours(ours) => Some(ours),
            SecretSeen::Absent | SecretSeen::Foreign { .. } => None,
        };
        let all = self.others.iter().map(|other| &other.secret).chain(main);
        let number = |ours: &OurSecret| ours.generation().or(ours.claimed.filter(|_| self.ledger.is_none()));
        all.filter_map(number).filter(|number| *number <= MAX_NUMBER / 2).max()
    }
}
