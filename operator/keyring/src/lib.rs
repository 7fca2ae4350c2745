//! Keyrings: the master key, what is derived from it, how it is wrapped to holders, the signed manifest, the release
//! of the master to one session, and the state machine of one keyring in one operator process.
//!
//! On the path of a document this crate is where a key is used: [`open::OpenKeyring`] yields the namespace identities
//! that `touchseal-sops` decrypts with. It knows no client, no card, no clock and no disk: times are arguments, the one
//! private-key operation of a ceremony is a closure, and random bytes are drawn inside `generate()` functions only.
//! The cryptography is specified in `crds/keyring.md` and `crds/unsealrequest.md`.

mod agefile;
mod bytes;
mod canonical;
pub mod derive;
pub mod enrolment;
pub mod holder;
pub mod id;
pub mod locked;
pub mod manifest;
pub mod master;
pub mod open;
pub mod pin;
pub mod proof;
pub mod release;
pub mod scrub;
pub mod session;
pub mod share;
pub mod state;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod vectors;

pub use derive::{DeriveError, DigestKey, NamespaceIdentity};
pub use holder::{HolderKey, PivPublicKey, UnwrapError, WrapError};
pub use id::{Fingerprint, KeyringId};
pub use manifest::{EditError, ManifestError, VerifiedManifest};
pub use master::MasterKey;
pub use open::{OpenError, OpenKeyring};
pub use pin::{Pin, PinCheck};
pub use release::{Offer, ReleaseError, seal_release, seal_share};
pub use session::Session;
pub use share::{Share, ShareError};
pub use state::{Effect, Event, State};
