//! `touchseal rekey`: a tree's documents move to the recipients they should have: in manifests the present one of their
//! namespace, in files those of their creation rule. One operation of the YubiKey for the whole tree, none if nothing is to
//! be done; documents that only a PGP key of the person opens take one of that key each. Whoever a document is taken from has its data key, so it gets a new one. Everything is decided before anything is
//! written; each file is written whole; run again, it goes on.

mod apply;
pub mod consent;
mod plan;
mod report;
mod splice;
mod survey;
mod wanted;

use std::path::PathBuf;

use touchseal_sops::Format;

use crate::args::Global;
use crate::documents::{self, Progress};
use crate::error::{Exit, Failure};
use crate::local_keys::{Identities, KeyArgs};
use crate::output;
use crate::terminal;

use report::Action;

#[derive(clap::Args, Debug)]
pub struct RekeyArgs {
    /// Files and folders: sops files, and EncryptedSecret manifests with documents in them
    #[arg(value_name = "FILE", required = true)]
    paths: Vec<PathBuf>,
    /// Give each document a new data key, too, and encrypt all of its values anew. A document that loses a recipient gets
    /// one anyway; not one that only moves to a newer key generation of its namespace: after a leak of the older one,
    /// say it
    #[arg(long)]
    rotate_data_key: bool,
    /// Let a document keep its data key although a recipient goes, who then can read what is added to it later
    #[arg(long, conflicts_with = "rotate_data_key")]
    keep_data_key: bool,
    /// Take away recipients that nobody asked for, PGP and KMS keys among them; they are kept otherwise
    #[arg(long)]
    drop_others: bool,
    /// Add recipients other than a namespace's own without asking
    #[arg(long)]
    accept_others: bool,
    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Creation rules [default: SOPS_CONFIG, else .sops.yaml beside or above each file]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Format of a sops file whose name does not tell: yaml, json, dotenv, ini or binary
    #[arg(long, value_name = "FORMAT")]
    input_type: Option<Format>,
    #[command(flatten)]
    keys: KeyArgs,
}

/// Runs it.
pub fn run(args: &RekeyArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[output::Format::Json, output::Format::Yaml, output::Format::Wide])?;
    let candidates = documents::find(&args.paths)?;
    let mut keys = Identities::new(&args.keys, global, &args.paths);
    let mut survey = survey::Survey::new(args, global.namespace.as_deref());
    let mut progress = Progress::new(candidates.len());
    for candidate in &candidates {
        progress.file(&candidate.path);
        survey.look(candidate, &mut keys, &mut progress)?;
    }
    progress.clear();
    let survey::Surveyed { mut files, mut rows } = survey.end();
    match args.dry_run {
        true => consent::tell(&files),
        false => consent::ask(&files, args.accept_others)?,
    }
    if !args.dry_run {
        tell_gpg(&files);
    }
    // Once GnuPG has a YubiKey it keeps others off it, and the keyring may be opened with the same one.
    files.sort_by_key(|file| file.jobs.iter().any(|job| job.by_gpg));
    let mut progress = Progress::new(files.len());
    for file in &mut files {
        progress.file(file.path());
        let done = apply::apply(file, args, &mut keys);
        if let Some(failure) = keys.failure() {
            progress.clear();
            return Err(stopped(failure, &rows));
        }
        rows.extend(done);
    }
    progress.clear();
    if rows.is_empty() {
        return Err(documents::nothing_in(candidates.len()));
    }
    report::print(&mut rows, global.output)?;
    match rows.iter().filter(|row| row.action == Action::Failed).count() {
        0 => Ok(()),
        failed => Err(Failure::new(
            Exit::Failed,
            format!("rekey: {failed} of {} documents could not be rekeyed", rows.len()),
            rows.iter()
                .find_map(|row| row.hint.clone())
                .unwrap_or_else(|| "see the reasons above".to_owned()),
        )),
    }
}

/// Who will be asked, and how often a YubiKey that wants a touch each time will want one.
fn tell_gpg(files: &[survey::FileJob]) {
    match files.iter().flat_map(|file| &file.jobs).filter(|job| job.by_gpg).count() {
        0 => {}
        1 => terminal::say("gpg opens 1 document"),
        several => terminal::say(&format!(
            "gpg opens {several} documents, one operation of your PGP key each; its agent asks for the PIN or passphrase"
        )),
    }
}

/// A key that failed on the way: what is written stays.
fn stopped(failure: Failure, rows: &[report::Row]) -> Failure {
    match rows.iter().filter(|row| matches!(row.action, Action::Rekeyed | Action::Rotated)).count() {
        0 => failure,
        done => Failure::new(
            failure.exit(),
            format!("{} ({done} of the documents are rekeyed already)", failure.what()),
            failure.hint(),
        ),
    }
}
