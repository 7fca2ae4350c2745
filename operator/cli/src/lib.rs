//! The command line: where a person meets Touchseal. One command a file under [`commands`].
//!
//! What decides is pure and tested beside its code ([`ceremony`], [`known`], [`proof`]); cards are reached through
//! `touchseal-token`, keys through `touchseal-keyring`, the API server through [`cluster`] only.

mod args;
mod card;
mod ceremony;
mod cluster;
mod commands;
mod complete;
mod creation_rules;
mod documents;
mod duration;
mod error;
mod examples;
mod files;
mod gpg;
mod hardening;
#[cfg(test)]
mod hints_tests;
mod invocation;
mod known;
mod local_keys;
mod logs;
mod manifest_file;
mod output;
mod published;
mod report;
mod seal_wait;
mod secret_input;
mod terminal;
mod wrapping;
mod yaml;

pub use invocation::main;
