//! `touchseal edit`: a document in the person's editor, and back in its file encrypted as before. The plaintext is in
//! memory and in the editor's private folder only ([`room`]); unchanged values keep their ciphertext.

mod clear;
mod editor;
mod room;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use touchseal_sops::{ChangeError, Document, Edited, Format, OsRng};
use zeroize::Zeroizing;

use crate::args::Global;
use crate::commands::rekey::consent;
use crate::documents::{Candidate, DocumentFile, DocumentsError, InPlace, Opened, Written};
use crate::error::{Explain, Failure, chain};
use crate::files::{self, Existing, FileError};
use crate::local_keys::{Identities, KeyArgs};
use crate::{duration, output, terminal};

use editor::{Again, Editor};
use room::Room;

const ABOUT: &str = "\
The editor is $SOPS_EDITOR, else $EDITOR, else vim, nano or vi. It works on a
copy in a folder of its own that is in memory (tmpfs), readable by you alone,
overwritten and removed at the end, also after Ctrl-C.

An edit goes on with the document's data key. Whoever had it and can still get at
the file reads what is added, so after a recipient was taken away by other means
than touchseal rekey: --rotate-data-key.

What the editor writes elsewhere is up to the editor: switch off swap files,
backups, undo files and histories that it keeps outside that folder. tmpfs can
be swapped out: turn swap off, or encrypt it.";

#[derive(clap::Args, Debug)]
#[command(after_help = ABOUT)]
pub struct EditArgs {
    /// A sops file, or a manifest with documents in it
    file: PathBuf,
    /// Which document of a manifest [default: each in turn]
    #[arg(long, value_name = "NAME")]
    document: Option<String>,
    /// Format of a sops file whose name does not tell: yaml, json, dotenv, ini or binary
    #[arg(long, value_name = "FORMAT")]
    input_type: Option<Format>,
    /// Give the document a new data key, too: whoever had the old one cannot read it any more
    #[arg(long)]
    rotate_data_key: bool,
    /// With a new data key, encrypt it to everybody the document lists without asking
    #[arg(long, requires = "rotate_data_key")]
    accept_others: bool,
    /// Let values that the edit adds be in plain text, where the document says so and its creation rule does not
    #[arg(long)]
    accept_plain: bool,
    /// Let the editor work in the ordinary folder for temporary files, which may be on a disk
    #[arg(long)]
    insecure_tempdir: bool,
    #[command(flatten)]
    keys: KeyArgs,
}

/// Why a document stays as it was.
#[derive(Debug, thiserror::Error)]
enum EditError {
    #[error("edit {0}: it does not fit its format and cannot be shown")]
    Emit(String),
    #[error("edit {document}: {problem}")]
    NotTaken { document: String, problem: String },
    #[error("give {document} a new data key: {problem}")]
    NotRotated { document: String, problem: ChangeError },
    #[error("edit {}: the edited document does not read back", .0.display())]
    ReadBack(PathBuf),
    #[error("write {}: it was changed by somebody else meanwhile; your edit is kept, encrypted, in {}", .path.display(), .kept.display())]
    Kept { path: PathBuf, kept: PathBuf },
}

impl Explain for EditError {
    fn hint(&self) -> String {
        match self {
            Self::Emit(_) => "use its last version from git that was right".to_owned(),
            Self::NotTaken { .. } => "nothing was changed; run the command again".to_owned(),
            Self::NotRotated { .. } => {
                "nothing was changed; touchseal rekey --rotate-data-key --drop-others FILE takes other kinds away"
                    .to_owned()
            }
            Self::ReadBack(_) => {
                "this is a bug in touchseal: please report it; the file was not changed".to_owned()
            }
            Self::Kept { .. } => {
                "compare the two files, take over what you want, then delete the second".to_owned()
            }
        }
    }
}

/// Runs it.
pub fn run(args: &EditArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    let command = editor::Command::of_environment()?;
    let mut file = Candidate::named(&args.file).read_documents(args.input_type)?;
    files::check_writable(&args.file)?;
    let chosen = file.choose(args.document.as_deref())?;
    if chosen.is_empty() {
        return Err(DocumentsError::Neither(args.file.clone()).into());
    }
    let mut keys = Identities::new(&args.keys, global, std::slice::from_ref(&args.file));
    let mut opened = Vec::new();
    for index in chosen {
        opened.push((index, file.open(index, &mut keys, global.namespace.as_deref())?));
    }
    if args.rotate_data_key {
        ask(&file, &opened, args.accept_others)?;
    }
    let before = file.documents().to_vec();
    let room = Room::new(args.insecure_tempdir)?;
    // From here on a signal no longer ends the process by itself, so the room is always emptied.
    let mut editor = Editor::new(command)?;
    let mut changed = Vec::new();
    for (index, opened) in &opened {
        if let Some(new) = of_document(&file, *index, opened, &room, &mut editor, args.rotate_data_key)? {
            file.replace(*index, &new.emit())?;
            changed.push((*index, new));
        }
    }
    drop(room);
    clear::ask(&file, &opened, &changed, args.accept_plain)?;
    for (index, document) in file.documents().iter().enumerate() {
        if document.text != before[index].text && document.parse().is_err() {
            return Err(EditError::ReadBack(args.file.clone()).into());
        }
    }
    let path = args.file.display();
    match file.write(false) {
        Ok(Written::Unchanged) => terminal::say(&format!("{path}: no change")),
        Ok(Written::Changed) => terminal::say(&format!("{path} written")),
        Err(DocumentsError::Changed(_) | DocumentsError::File(FileError::Changed(_))) => {
            later(args, &file, &before)?;
        }
        Err(problem) => return Err(problem.into()),
    }
    Ok(())
}

/// The new document, or `None` for no change. Asks for another round where the result is not taken.
fn of_document(
    file: &DocumentFile,
    index: usize,
    opened: &Opened,
    room: &Room,
    editor: &mut Editor,
    rotate: bool,
) -> Result<Option<Document>, Failure> {
    let plain = opened.plain.emit().ok_or_else(|| EditError::Emit(file.label(index)))?;
    let copy = room.put(&file.documents()[index].name, &plain)?;
    loop {
        editor.edit(&copy)?;
        let new: Zeroizing<Vec<u8>> = room.take(&copy)?;
        if *new == *plain {
            return Ok(None);
        }
        let problem = match change(opened, &new, rotate) {
            Ok(document) => return Ok(document),
            Err(problem) => chain(&problem),
        };
        let document = file.label(index);
        let question = format!(
            "{document} cannot be taken as it is: {problem}\nedit it again? (no gives up what you typed)"
        );
        match editor.again(&question)? {
            Again::Yes => {}
            Again::No => return Err(EditError::NotTaken { document, problem }.into()),
        }
    }
}

/// With a new data key if one is wanted; what was not edited keeps its own.
fn change(opened: &Opened, new: &[u8], rotate: bool) -> Result<Option<Document>, ChangeError> {
    let now = duration::now();
    match opened.document.edit(&opened.opener, new, &now, &mut OsRng)? {
        Edited::Unchanged => Ok(None),
        Edited::Changed(edited) if rotate => {
            edited.rotate(&opened.opener, None, true, &now, &mut OsRng).map(Some)
        }
        Edited::Changed(edited) => Ok(Some(*edited)),
    }
}

/// A new data key is everybody's the document lists, and anybody can have written a name into it.
fn ask(file: &DocumentFile, opened: &[(usize, Opened)], accepted: bool) -> Result<(), Failure> {
    let mut coming: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (index, opened) in opened {
        // What cannot be done is told before anything is typed.
        let tried = opened.document.rotate(&opened.opener, None, true, &duration::now(), &mut OsRng);
        tried.map_err(|problem| EditError::NotRotated { document: file.label(*index), problem })?;
        let held = |one: &str| opened.opener.recipients().any(|mine| mine == one);
        for recipient in opened.document.age_recipients().filter(|one| !held(one)) {
            coming.entry(recipient).or_default().push(file.label(*index));
        }
    }
    consent::confirm(&coming, accepted)
}

/// The file was written by somebody else while the editor was open: the edit goes into what is there now if the documents
/// it concerns are the same, else into a file of its own. It is ciphertext either way.
fn later(args: &EditArgs, file: &DocumentFile, before: &[InPlace]) -> Result<(), Failure> {
    if let Ok(true) = merge(args, file, before) {
        terminal::say(&format!(
            "{} written, over a version that changed elsewhere meanwhile",
            args.file.display()
        ));
        return Ok(());
    }
    let kept = keep(&args.file, file.text()?.as_bytes())?;
    Err(EditError::Kept { path: args.file.clone(), kept }.into())
}

/// Writes it beside the file, under the first name that is free.
fn keep(file: &Path, text: &[u8]) -> Result<PathBuf, FileError> {
    let mut number = 1;
    loop {
        let mut name = file.as_os_str().to_owned();
        name.push(if number == 1 { ".edited".to_owned() } else { format!(".edited.{number}") });
        let kept = PathBuf::from(name);
        match files::write(&kept, text, Existing::Refuse, false) {
            Err(FileError::Exists(_)) => number += 1,
            done => return done.map(|()| kept),
        }
    }
}

fn merge(args: &EditArgs, file: &DocumentFile, before: &[InPlace]) -> Result<bool, DocumentsError> {
    let mut now = Candidate::named(&args.file).read_documents(args.input_type)?;
    for (old, new) in before.iter().zip(file.documents()).filter(|(old, new)| old.text != new.text) {
        let there = now.documents().iter().position(|one| one.name == old.name && one.text == old.text);
        let Some(there) = there else { return Ok(false) };
        now.replace(there, new.text.as_bytes())?;
    }
    now.write(false).map(|written| written == Written::Changed)
}
