//! The decisions of an unseal ceremony, without cards and clusters: which YubiKey, and what became of each release.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use touchseal_crds::keyring::{Holder, HolderRecord, KeyringStatus, ReplicaState, ReplicaStatus};
use touchseal_crds::{ConditionType, UnsealRequest};

use crate::error::{Exit, Explain};

/// Why no YubiKey was chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// None of those plugged in is a holder.
    #[error("choose a YubiKey: none of those plugged in ({}) can open keyring {keyring}", list(.present))]
    NoHolder { keyring: String, present: Vec<u32>, holders: Vec<u32> },
    /// Several are.
    #[error("choose a YubiKey: {} can open keyring {keyring}", list(.candidates))]
    Several { keyring: String, candidates: Vec<u32> },
    /// The one asked for is not a holder.
    #[error("choose a YubiKey: {wanted} is not a holder of keyring {keyring}")]
    NotAHolder { keyring: String, wanted: u32, holders: Vec<u32> },
    /// The one asked for is not plugged in.
    #[error("choose a YubiKey: {wanted} is not plugged in")]
    Absent { wanted: u32, present: Vec<u32> },
}

impl Explain for ChoiceError {
    fn hint(&self) -> String {
        match self {
            Self::NoHolder { holders, .. } => format!("plug in one of {}", list(holders)),
            Self::Several { candidates, .. } => {
                format!("name one: --serial {}", candidates.first().copied().unwrap_or_default())
            }
            Self::NotAHolder { holders, .. } => format!("its holders are {}", list(holders)),
            Self::Absent { wanted, present } if present.is_empty() => format!("plug in {wanted}"),
            Self::Absent { wanted, present } => format!("plug in {wanted}; plugged in: {}", list(present)),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// The holder to act: of the YubiKeys plugged in (`present`) the only one that is a holder, or the one asked for
/// (`wanted`, `--serial`). Of several keys of the keyring on one YubiKey the first.
pub fn choose_holder<'a>(
    keyring: &str,
    holders: &'a [Holder],
    present: &[u32],
    wanted: Option<u32>,
) -> Result<&'a Holder, ChoiceError> {
    let serials = || holders.iter().map(|holder| holder.serial).collect::<Vec<_>>();
    if let Some(wanted) = wanted {
        let holder = holders.iter().find(|holder| holder.serial == wanted);
        let not_a_holder =
            || ChoiceError::NotAHolder { keyring: keyring.to_owned(), wanted, holders: serials() };
        let holder = holder.ok_or_else(not_a_holder)?;
        if !present.contains(&wanted) {
            return Err(ChoiceError::Absent { wanted, present: present.to_vec() });
        }
        return Ok(holder);
    }
    let candidates: BTreeSet<u32> = serials().into_iter().filter(|serial| present.contains(serial)).collect();
    let candidates: Vec<u32> = candidates.into_iter().collect();
    if candidates.len() > 1 {
        return Err(ChoiceError::Several { keyring: keyring.to_owned(), candidates });
    }
    holders.iter().find(|holder| candidates.contains(&holder.serial)).ok_or_else(|| ChoiceError::NoHolder {
        keyring: keyring.to_owned(),
        present: present.to_vec(),
        holders: serials(),
    })
}

/// What became of one release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Pending,
    /// The replica is unsealed.
    Unsealed,
    /// The replica holds the share, and waits for other holders.
    Counted(String),
    /// The replica refused the release.
    Refused { reason: String, message: String },
    /// The replica asks anew: with another session after a restart, or it took the release out while renewing its proof.
    AsksAnew,
    /// The request is gone, and the replica has not said that it is unsealed (yet).
    Gone,
}

/// A release that was written.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The request as it was answered.
    pub request: UnsealRequest,
    /// `metadata.generation` after writing the release.
    pub generation: Option<i64>,
    /// What the replica of that pod had reported before: a word from an earlier life is no answer.
    pub before: Option<ReplicaStatus>,
    /// With a quorum, what was released is a share.
    pub share: Option<ShareSent>,
}

/// A share that was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareSent {
    /// YubiKey of its holder.
    pub serial: u32,
    /// How many holders it takes.
    pub needed: usize,
}

impl ShareSent {
    /// Whose shares the asking session holds, if this one is among them.
    pub fn released(self, request: &UnsealRequest) -> Option<&[HolderRecord]> {
        let released = request.status.as_ref()?.released.as_slice();
        released.iter().any(|of| of.serial == self.serial).then_some(released)
    }
}

/// How far a quorum has come, in words.
pub fn progress(released: &[HolderRecord], needed: usize) -> String {
    let names: Vec<_> = released.iter().map(|of| of.holder.as_str()).collect();
    let missing = needed.saturating_sub(released.len());
    let so_far = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    format!("{} of {needed} needed holders released{so_far}; needs {missing} more", released.len())
}

/// What became of it, seen from the request as it is now (`None`: deleted) and the Keyring's status.
pub fn outcome(sent: &Sent, now: Option<&UnsealRequest>, keyring: Option<&KeyringStatus>) -> Outcome {
    let Some(request) = now.filter(|now| now.metadata.uid == sent.request.metadata.uid) else {
        return match (is_unsealed_now(sent, keyring), now) {
            (true, _) => Outcome::Unsealed,
            (false, Some(_)) => Outcome::AsksAnew,
            (false, None) => Outcome::Gone,
        };
    };
    let nonce = |request: &UnsealRequest| request.status.as_ref().and_then(|status| status.nonce.clone());
    if nonce(request) != nonce(&sent.request) {
        return Outcome::AsksAnew;
    }
    if let Some(share) = sent.share {
        return share_outcome(share, request);
    }
    // The operator takes a release out after refusing it, so one that is still there is not refused unless newly so.
    match (refusal(request), &request.spec.release) {
        (Some(refusal), release) if release.is_none() || is_new(refusal, sent) => {
            Outcome::Refused { reason: refusal.reason.clone(), message: refusal.message.clone() }
        }
        (None, None) => Outcome::AsksAnew,
        _ => Outcome::Pending,
    }
}

fn share_outcome(share: ShareSent, request: &UnsealRequest) -> Outcome {
    match share.released(request) {
        // The last one was there in time: it is being opened.
        Some(released) if released.len() >= share.needed => return Outcome::Pending,
        Some(released) => return Outcome::Counted(progress(released, share.needed)),
        None => {}
    }
    let written = request.spec.shares.iter().any(|written| written.serial == share.serial);
    match refusal(request) {
        _ if written => Outcome::Pending,
        Some(refusal) => {
            Outcome::Refused { reason: refusal.reason.clone(), message: refusal.message.clone() }
        }
        None => Outcome::AsksAnew,
    }
}

/// What a Keyring's status says of a pod.
pub fn replica<'a>(keyring: Option<&'a KeyringStatus>, pod: &str) -> Option<&'a ReplicaStatus> {
    keyring?.replicas.iter().find(|replica| replica.pod == pod)
}

fn is_unsealed_now(sent: &Sent, keyring: Option<&KeyringStatus>) -> bool {
    replica(keyring, &sent.request.spec.pod)
        .is_some_and(|now| now.state == ReplicaState::Unsealed && Some(now) != sent.before.as_ref())
}

fn refusal(request: &UnsealRequest) -> Option<&Condition> {
    let conditions = &request.status.as_ref()?.conditions;
    let wanted = ConditionType::ReleaseRefused.as_str();
    conditions.iter().find(|condition| condition.type_ == wanted && condition.status == "True")
}

/// Whether a refusal speaks of this release and not of an earlier one.
fn is_new(condition: &Condition, sent: &Sent) -> bool {
    match (condition.observed_generation, sent.generation) {
        (Some(observed), Some(written)) => observed >= written,
        _ => refusal(&sent.request) != Some(condition),
    }
}

fn list(serials: &[u32]) -> String {
    if serials.is_empty() {
        return "none".to_owned();
    }
    serials.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
