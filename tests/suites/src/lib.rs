//! What the suites and the demo stand on: a leased cluster with Touchseal's CRDs and shipped rights, operators running
//! as the shipped ServiceAccount, holders with and without a card, documents encrypted by the real sops.
//!
//! Test equipment: everything here may panic with a message.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

pub mod apps;
pub mod audit;
pub mod backup;
pub mod binaries;
pub mod chart;
pub mod cli;
pub mod crd_changes;
pub mod documents;
pub mod gitops;
pub mod gnupg;
pub mod holder;
pub mod image;
pub mod monitoring;
pub mod neighbours;
pub mod operator;
pub mod ordeal;
pub mod page;
pub mod pods;
pub mod rights;
pub mod search;
pub mod terminal;
pub mod upgrade;
pub mod world;

pub use apps::Apps;
pub use backup::Backup;
pub use cli::Laptop;
pub use documents::Sops;
pub use gnupg::Gnupg;
pub use holder::SoftHolder;
pub use operator::{Launch, Operator, SHIPPED_LEASE};
pub use ordeal::Ordeal;
pub use page::{Page, Reading};
pub use search::Needle;
pub use world::World;

use std::time::Duration;

/// How long anything may take that takes a moment; generous, for a busy machine. Nothing waits this long unless it fails.
pub const DEADLINE: Duration = Duration::from_secs(60);
