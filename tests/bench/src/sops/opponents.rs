//! Starts the contestants, each with nothing in its environment but what it needs: whoever runs the benchmark may have
//! identities of their own, which sops would find and try first.

use std::path::{Path, PathBuf};
use std::process::Command;

use touchseal_rig::tools::Tool;

use super::contestants::{IDENTITY, PROGRAM};
use crate::contest::{ContestError, Worker};
use crate::worker;

pub struct Field {
    home: PathBuf,
    identity: String,
    myself: PathBuf,
    godecrypt: PathBuf,
    sops: PathBuf,
}

impl Field {
    pub fn new(home: &Path, identity: &str, godecrypt: PathBuf) -> Result<Field, Box<dyn std::error::Error>> {
        Ok(Field {
            home: home.into(),
            identity: identity.into(),
            myself: std::env::current_exe()?,
            godecrypt,
            sops: Tool::Sops.path()?,
        })
    }

    /// Our crate, the identity prepared once.
    pub fn ours(&self) -> Result<Worker, ContestError> {
        Worker::start("our crate", self.kind("ours"))
    }

    /// The cryptography alone.
    pub fn floor(&self) -> Result<Worker, ContestError> {
        Worker::start("the floor", self.kind("floor"))
    }

    /// sops's Go library by its stable entrance, on one processor.
    pub fn go(&self) -> Result<Worker, ContestError> {
        let mut command = self.command(&self.godecrypt);
        command.env("GOMAXPROCS", "1");
        Worker::start("the Go library", command)
    }

    /// sops's Go library with the identity prepared once.
    pub fn go_prepared(&self) -> Result<Worker, ContestError> {
        let mut command = self.command(&self.godecrypt);
        command.arg("prepared").env("GOMAXPROCS", "1");
        Worker::start("the Go library, prepared", command)
    }

    /// The sops program, a process for each document.
    pub fn program(&self) -> Result<Worker, ContestError> {
        let mut command = self.kind("program");
        command.env(PROGRAM, &self.sops).env("SOPS_DISABLE_VERSION_CHECK", "1");
        Worker::start("the sops program", command)
    }

    fn kind(&self, kind: &str) -> Command {
        let mut command = self.command(&self.myself);
        command.args([worker::ARGUMENT, kind]);
        command
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", &self.home).env(IDENTITY, &self.identity);
        command
    }
}
