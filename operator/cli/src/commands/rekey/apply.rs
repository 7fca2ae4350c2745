//! The second pass: opens what is to change, wraps its data key anew, and puts each file back whole.

use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;

use touchseal_sops::{ChangeError, DecryptError, Document, Edited, EncryptError, Fault, Opener, OsRng};

use super::RekeyArgs;
use super::report::{Action, Row};
use super::splice;
use super::survey::{FileJob, Job};
use crate::duration;
use crate::error::{Explain, Failure};
use crate::local_keys::{Identities, Scope};
use crate::wrapping;

/// Why a document stays as it is.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    /// It was copied from elsewhere, or never was the namespace's.
    #[error("it is not encrypted for namespace {0}")]
    OtherNamespace(String),
    /// The cluster, or a file of this laptop, said something else than the keyring.
    #[error("the recipient known for namespace {0} is not the one the keyring derives")]
    Forged(String),
    #[error("{0}")]
    Change(ChangeError),
    #[error("another document of this file could not be rekeyed")]
    WithOthers,
}

impl Explain for ApplyError {
    fn hint(&self) -> String {
        match self {
            Self::OtherNamespace(_) => {
                "whoever may read it encrypts it for that namespace: touchseal decrypt, then touchseal encrypt".to_owned()
            }
            Self::Change(ChangeError::OtherKinds { .. } | ChangeError::OtherRecipient { .. }) => {
                "take the other kinds away with --drop-others, let it keep its data key with --keep-data-key, or use sops \
                 itself: sops updatekeys, sops rotate"
                    .to_owned()
            }
            Self::Change(ChangeError::Encrypt(EncryptError::Recipient { .. })) => {
                "take that recipient away with --drop-others, or use sops itself: sops updatekeys, sops rotate".to_owned()
            }
            Self::Change(ChangeError::Open(error)) if error.fault() == Fault::Tampered => {
                "somebody changed it without its key: use its last version from git that opens".to_owned()
            }
            Self::Change(_) => "touchseal verify --decrypt FILE tells whether it is whole".to_owned(),
            Self::Forged(_) => {
                "do not encrypt to it: find out who wrote it (kubectl get recipients, or known_recipients beside \
                 known_keyrings), then take it away"
                    .to_owned()
            }
            Self::WithOthers => "correct the others, then run it again".to_owned(),
        }
    }
}

/// One file: all of its documents or none.
pub fn apply(file: &mut FileJob, args: &RekeyArgs, keys: &mut Identities) -> Vec<Row> {
    let mut rows = std::mem::take(&mut file.rows);
    let mut whole = !rows.iter().any(|row| row.action == Action::Failed);
    let mut done = Vec::new();
    for job in std::mem::take(&mut file.jobs) {
        let before = file.file.documents()[job.index].text.clone();
        match change(&job, &before, file.path(), args, keys) {
            Ok(None) => done.push(job.row.done(Action::UpToDate)),
            Ok(Some(text)) => match file.file.replace(job.index, text.as_bytes()) {
                Ok(()) => done.push(job.row.done(action(args, job.rotate))),
                Err(problem) => {
                    whole = false;
                    done.push(job.row.failed(&problem.beside_its_file()));
                }
            },
            Err(failure) => {
                whole = false;
                done.push(job.row.failed(&failure));
            }
        }
    }
    let written = if whole {
        file.file.write(args.dry_run).map(drop).map_err(|problem| problem.beside_its_file())
    } else {
        Ok(())
    };
    let failure = match written {
        Err(failure) => Some(failure),
        Ok(()) if whole => None,
        Ok(()) => Some(ApplyError::WithOthers.into()),
    };
    rows.extend(done.into_iter().map(|row| match &failure {
        Some(failure) if row.action != Action::UpToDate && row.action != Action::Failed => {
            row.failed(failure)
        }
        _ => row,
    }));
    rows.sort_by(|one, other| one.document.cmp(&other.document));
    rows
}

const fn action(args: &RekeyArgs, rotate: bool) -> Action {
    match (args.dry_run, rotate) {
        (true, _) => Action::WouldChange,
        (false, true) => Action::Rotated,
        (false, false) => Action::Rekeyed,
    }
}

/// The document's new text; `None` if it is right as it is.
fn change(
    job: &Job,
    before: &str,
    path: &Path,
    args: &RekeyArgs,
    keys: &mut Identities,
) -> Result<Option<String>, Failure> {
    if args.dry_run {
        return Ok(Some(before.to_owned()));
    }
    let (opener, vouched) = opener(job, path, keys)?;
    let failed = |error: ChangeError| match (&error, &job.namespace) {
        (ChangeError::Open(DecryptError::NoMatchingKey { .. }), Some((namespace, _))) if vouched => {
            Failure::from(ApplyError::OtherNamespace(namespace.clone()))
        }
        _ => ApplyError::Change(error).into(),
    };
    let listed: HashSet<&str> = job.document.age_recipients().collect();
    let recipients = wrapping::recipients(&job.plan.after.groups, job.plan.after.threshold, &listed)?;
    let (keep_others, now) = (!args.drop_others, duration::now());
    let after = if job.rotate {
        job.document.rotate(&opener, Some(&recipients), keep_others, &now, &mut OsRng).map_err(failed)?
    } else {
        match job.document.update_keys(&opener, &recipients, keep_others, &mut OsRng).map_err(failed)? {
            Edited::Unchanged => return Ok(None),
            Edited::Changed(document) => *document,
        }
    };
    Ok(Some(text(before, &job.document, &after, job.rotate)?))
}

/// What opens the document, and whether that proves it to be the namespace's: with nothing but the namespace's own keys.
fn opener(job: &Job, path: &Path, keys: &mut Identities) -> Result<(Rc<Opener>, bool), Failure> {
    match &job.namespace {
        _ if job.by_gpg => Ok((keys.by_gpg(&job.document)?, false)),
        Some((namespace, own)) if !job.stock => {
            let opener = keys.for_namespace(namespace)?;
            // What is wrapped to was published or remembered; now that the keyring is open, it tells itself.
            if opener.recipients().next() != Some(own) {
                return Err(ApplyError::Forged(namespace.clone()).into());
            }
            Ok((opener, true))
        }
        Some((namespace, _)) => Ok((keys.for_document(&job.document, Scope::Namespace(namespace))?, false)),
        None => Ok((keys.for_document(&job.document, Scope::File(path))?, false)),
    }
}

fn text(before: &str, old: &Document, new: &Document, rotated: bool) -> Result<String, Failure> {
    let emitted = if rotated { None } else { splice::metadata(before, old, new) };
    let not_text = |_| {
        ApplyError::Change(ChangeError::Encrypt(EncryptError::NotReadBack { problem: "no text".to_owned() }))
    };
    match emitted {
        Some(text) => Ok(text),
        None => Ok(String::from_utf8(new.emit()).map_err(not_text)?),
    }
}
