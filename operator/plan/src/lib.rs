//! What should happen, as pure functions: no client, no clock, no randomness, no disk, no cryptography.
//!
//! `observed` is everything one reconcile gathered, `decide` turns it and `now` into a `Decision`, whose effects the
//! controller's one writer applies. `mapping` turns decrypted documents into Secret keys.

pub mod census;
pub mod conditions;
mod conflict;
pub mod consumers;
pub mod content;
pub mod decide;
pub mod decision;
pub mod deliver;
pub mod drain;
mod draining;
mod due;
pub mod entry;
pub mod floor;
mod follow;
pub mod generation;
pub mod incident;
pub mod mapping;
pub mod number;
pub mod observed;
pub mod older;
#[cfg(test)]
mod random;
pub mod revision;
pub mod rollout;
mod status;
pub mod tally;
pub mod template;

pub use content::Content;
pub use decide::decide;
pub use decision::{AliasWrite, Decision, Expected, Notice, Removal, Removed, Reown, SecretWrite};
pub use floor::Floor;
pub use generation::{LedgerEntry, LedgerKey};
pub use observed::{
    AliasSeen, Consumers, Digests, Live, Observed, Opened, Other, OurAlias, OurSecret, SecretSeen, Trouble,
};
