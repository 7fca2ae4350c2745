//! Touchseal on real parts: one program, so that its tests share a pool of clusters. A test leases a cluster of its own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod authoring;
mod canary;
mod ceremony;
mod consumers;
mod delivery;
mod documents;
mod drain;
mod due;
mod encrypt;
mod faults;
mod garbage;
mod generations;
mod incident;
mod keyring_life;
mod mapping;
mod materialise;
mod memory;
mod ownership;
mod pin;
mod quorum;
mod recovery;
mod rekey;
mod replicas;
mod requests;
mod rollback;
mod rollout;
mod rotation;
mod schema;
mod seal_after;
mod sealed;
mod shadow;
mod status;
mod tamper;
mod tenancy;
mod terminal;
