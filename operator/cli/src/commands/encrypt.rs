//! `touchseal encrypt`: a plain file becomes a sops document, as `sops encrypt` makes it, to the recipients of its namespace
//! or of its creation rule; so do the plain documents of a manifest in their places. Needs a YubiKey only for a namespace whose recipient nobody has told this laptop yet.

mod consent;
mod target;

use std::path::{Path, PathBuf};

use touchseal_sops::{Coverage, Document, EncryptError, Format, OsRng, Rules, limits};
use zeroize::Zeroizing;

use crate::args::Global;
use crate::documents::{self, Candidate, DocumentsError, Progress};
use crate::duration;
use crate::error::{Exit, Explain, Failure, one_line};
use crate::files::{self, Existing};
use crate::local_keys::{Identities, KeyArgs};
use crate::output;
use crate::terminal;

pub use consent::Consent;
pub use target::{Target, Targets, target};

#[derive(clap::Args, Debug)]
pub struct EncryptArgs {
    /// Plain files, and manifests whose documents are still plain; more than one, and folders, with --in-place only. In a
    /// folder: every file that the path_regex of a rule picks
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Replace each file by its document, as a whole and only over what was read; none unless all can be encrypted
    #[arg(short, long)]
    in_place: bool,
    /// Say what would be encrypted, and to whom, and write nothing
    #[arg(long, requires = "in_place")]
    dry_run: bool,
    /// Encrypt to whomever a rule names, though nothing vouches for them, without asking
    #[arg(long)]
    accept_others: bool,
    /// Write the document to this file instead of stdout
    #[arg(long, value_name = "FILE", conflicts_with = "in_place")]
    to: Option<PathBuf>,
    /// Replace that file if it exists
    #[arg(long, requires = "to")]
    force: bool,
    /// Format of the files: yaml, json, dotenv, ini or binary [default: by their names]
    #[arg(long, value_name = "FORMAT")]
    input_type: Option<Format>,
    /// Choose rule and format as for a file of this name
    #[arg(long, value_name = "FILE")]
    filename_override: Option<PathBuf>,
    /// age recipients, separated by commas, instead of those of a rule
    #[arg(long, value_name = "RECIPIENT", value_delimiter = ',')]
    age: Vec<String>,
    /// Creation rules [default: SOPS_CONFIG, else .sops.yaml beside or above each file]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArgs,
}

/// Why a file was not encrypted.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("--to and stdout are for one file, but there are {0}")]
    Several(usize),
    #[error("encrypt {}: {error}", .path.display())]
    Encrypt { path: PathBuf, error: EncryptError },
    #[error("encrypt {}: it is an EncryptedSecret manifest that holds no document", .0.display())]
    Manifest(PathBuf),
    #[error("encrypt {}: its manifest names no namespace", .0.display())]
    NoNamespace(PathBuf),
    #[error("encrypt {path}: what is to be encrypted fits none of its {clear} values", path = .path.display())]
    Nothing { path: PathBuf, clear: usize },
}

impl Explain for FileError {
    fn hint(&self) -> String {
        match self {
            Self::Several(_) => "encrypt them one by one, or replace them with --in-place".to_owned(),
            Self::Manifest(_) => {
                "give it documents with inline text (spec.documents[].sops), or make a manifest of sops files with touchseal \
                 wrap"
                    .to_owned()
            }
            Self::NoNamespace(_) => "write metadata.namespace into it, or add --namespace NAME".to_owned(),
            Self::Nothing { .. } => {
                "correct encrypted_regex, encrypted_suffix and the like in its creation rule: nothing would be secret".to_owned()
            }
            Self::Encrypt { error: EncryptError::AlreadyEncrypted, path } => format!(
                "change it with touchseal edit {0}, or whom it is encrypted to with touchseal rekey {0}",
                path.display()
            ),
            Self::Encrypt { error: EncryptError::Parse(_), .. } => {
                "correct the file, or say what it is: --input-type yaml|json|dotenv|ini|binary".to_owned()
            }
            Self::Encrypt { error: EncryptError::Time | EncryptError::Randomness, .. } => {
                "this is a bug in touchseal: please report it".to_owned()
            }
            Self::Encrypt { .. } => "change the file or its creation rule".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Several(_) => Exit::Usage,
            Self::Nothing { .. } => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

/// A file, and what becomes of it.
struct Job {
    path: PathBuf,
    before: Zeroizing<Vec<u8>>,
    after: String,
    /// To whom, and how much of it.
    said: String,
}

/// One run over all files.
struct Run<'a> {
    args: &'a EncryptArgs,
    namespace: Option<&'a str>,
    targets: Targets<'a>,
    consent: Consent,
    progress: Progress,
}

/// Runs it. Nothing is written unless every file can be encrypted.
pub fn run(args: &EncryptArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    if !args.in_place && (args.files.len() > 1 || args.files.iter().any(|path| path.is_dir())) {
        return Err(FileError::Several(args.files.len()).into());
    }
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    if let Some(to) = &args.to {
        files::check_place(to, existing)?;
    }
    let keys = Identities::new(&args.keys, global, &args.files);
    let named = args.keys.keyring.is_some();
    let namespace = global.namespace.as_deref();
    let targets = Targets::new(keys, named, namespace, &args.age, args.config.as_deref());
    let candidates = documents::find(&args.files)?;
    let progress = Progress::new(candidates.len());
    let mut run = Run { args, namespace, targets, consent: Consent::default(), progress };
    let mut jobs = Vec::new();
    for candidate in &candidates {
        run.progress.file(&candidate.path);
        jobs.extend(run.file(candidate)?);
    }
    run.progress.clear();
    if args.in_place {
        jobs.iter().try_for_each(|job| files::check_writable(&job.path))?;
    }
    run.consent.ask(args.accept_others || args.dry_run)?;
    for job in &jobs {
        job.put(args, existing)?;
    }
    if jobs.is_empty() {
        terminal::say("nothing is to be encrypted");
    }
    Ok(())
}

impl Job {
    fn put(&self, args: &EncryptArgs, existing: Existing) -> Result<(), Failure> {
        let path = one_line(&self.path.display().to_string());
        match (&args.to, args.in_place) {
            (Some(to), _) => files::write(to, &self.after, existing, false)?,
            (None, true) if args.dry_run => {
                terminal::say(&format!("{path} would be encrypted to {}", self.said));
                return Ok(());
            }
            (None, true) => files::exchange(&self.path, &self.before, self.after.as_bytes())?,
            (None, false) => output::print(&self.after)?,
        }
        terminal::say(&format!("{path} encrypted to {}", self.said));
        Ok(())
    }
}

impl Run<'_> {
    /// `None` for a file of a folder that is not to be encrypted, or is already.
    fn file(&mut self, candidate: &Candidate) -> Result<Option<Job>, Failure> {
        let path = &candidate.path;
        if !candidate.named && (is_left_alone(path) || is_large(path)) {
            return Ok(None);
        }
        let before = read(path)?;
        if is_manifest(&before) {
            return self.manifest(candidate, before);
        }
        let known_as = self.args.filename_override.as_ref().filter(|_| candidate.named).unwrap_or(path);
        let format = self.args.input_type.or_else(|| Format::from_file_name(&known_as.to_string_lossy()));
        let format = format.unwrap_or(Format::Binary);
        if !candidate.named
            && (!self.targets.picks(path)? || is_object(&before) || Document::parse(&before, format).is_ok())
        {
            return Ok(None);
        }
        if self.namespace.is_some() {
            // A PIN may be asked for.
            self.progress.clear();
        }
        let target = self.targets.of(known_as, format)?;
        let (after, coverage) = encrypt(path, &before, format, &target, None)?;
        self.consent.add(&target.doubtful.0, &target.doubtful.1, path);
        Ok(Some(Job { path: path.clone(), before, after, said: said(&target, coverage) }))
    }

    /// The documents of a manifest that are plain text still; each is for the namespace of its object.
    fn manifest(
        &mut self,
        candidate: &Candidate,
        before: Zeroizing<Vec<u8>>,
    ) -> Result<Option<Job>, Failure> {
        let path = &candidate.path;
        let mut file = match Candidate::named(path).read_documents(None) {
            Ok(file) if file.is_manifest() && !file.documents().is_empty() => file,
            Err(problem) if !matches!(problem, DocumentsError::Neither(_)) => return Err(problem.into()),
            _ if candidate.named => return Err(FileError::Manifest(path.clone()).into()),
            _ => return Ok(None),
        };
        if file.text()?.as_bytes() != before.as_slice() {
            return Err(files::FileError::Changed(path.clone()).into());
        }
        let mut all = Vec::new();
        for index in 0..file.documents().len() {
            if file.documents()[index].parse().is_ok() {
                continue;
            }
            let namespace = file.namespace(index, self.namespace)?;
            let namespace = namespace.ok_or_else(|| FileError::NoNamespace(path.clone()))?.to_owned();
            self.progress.clear();
            let target = self.targets.of_namespace(&namespace)?;
            let document = &file.documents()[index];
            let label = PathBuf::from(file.label(index));
            let (text, coverage) = encrypt(&label, document.text.as_bytes(), document.format, &target, None)?;
            all.push(said(&target, coverage));
            file.replace(index, text.as_bytes())?;
        }
        all.dedup();
        let after = file.text()?.into_owned();
        let job = Job { path: path.clone(), before, after, said: all.join("\n") };
        Ok((!all.is_empty()).then_some(job))
    }
}

/// Every recipient in full: a person can compare what is whole only.
fn said(target: &Target, coverage: Coverage) -> String {
    let clear = match coverage.clear {
        0 => String::new(),
        clear => format!("; {} in the clear", counted(clear, "value")),
    };
    said_with(target, &clear)
}

/// The same of a target alone.
pub fn named(target: &Target) -> String {
    said_with(target, "")
}

fn said_with(target: &Target, more: &str) -> String {
    let mut said = format!("{}{more}", one_line(&target.why));
    for recipient in &target.listed {
        said.push_str(&format!("\n  {}", one_line(recipient)));
    }
    said
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The document of a plaintext; `path` is for messages. `rules` are in the place of the target's.
pub fn encrypt(
    path: &Path,
    plaintext: &[u8],
    format: Format,
    target: &Target,
    rules: Option<&Rules>,
) -> Result<(String, Coverage), Failure> {
    let failed = |error| FileError::Encrypt { path: path.to_owned(), error };
    // Any bytes are a binary file, those of an encrypted one, too: sops encrypts it twice.
    if format == Format::Binary && Document::parse(plaintext, format).is_ok() {
        return Err(failed(EncryptError::AlreadyEncrypted).into());
    }
    let now = duration::now();
    let made = Document::encrypt(
        plaintext,
        format,
        &target.recipients,
        rules.unwrap_or(&target.rules),
        &now,
        &mut OsRng,
    );
    let made = made.map_err(failed)?;
    let coverage = made.coverage();
    if coverage.encrypted == 0 && coverage.clear > 0 {
        return Err(FileError::Nothing { path: path.to_owned(), clear: coverage.clear }.into());
    }
    let text = String::from_utf8(match target.indent {
        Some(columns) => made.indented(columns).emit(),
        None => made.emit(),
    });
    let not_text = |_| failed(EncryptError::NotReadBack { problem: "it is not text".to_owned() });
    Ok((text.map_err(not_text)?, coverage))
}

/// The plaintext in one buffer that is wiped.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, files::FileError> {
    Ok(Zeroizing::new(files::read(path, limits::MAX_BYTES as u64)?))
}

/// More than a document can hold.
fn is_large(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() > limits::MAX_BYTES as u64)
}

/// Whether a file of a folder is none that a rule means, whatever its `path_regex` fits.
pub fn is_never_meant(path: &Path, plaintext: &[u8]) -> bool {
    is_left_alone(path) || is_manifest(plaintext) || is_object(plaintext)
}

/// Files that tools look for by their names; nobody means them by a rule for a folder.
fn is_left_alone(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let known = [".sops.yaml", ".gitignore", ".gitattributes", "kustomization.yaml", "kustomization.yml"];
    known.contains(&name.as_ref())
}

/// A Kubernetes object, other than a Secret: no cluster takes it encrypted.
fn is_object(plaintext: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(plaintext) else { return false };
    let has = |word: &str| text.lines().any(|line| line.starts_with(word));
    has("apiVersion:") && has("kind:") && !has("kind: Secret")
}

/// An EncryptedSecret; encrypted as a file it would be something that no cluster takes.
pub fn is_manifest(plaintext: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(plaintext) else { return false };
    let has = |word: &str| text.contains(word);
    has("touchseal.dev/v1alpha1")
        && ["kind: EncryptedSecret", "\"kind\": \"EncryptedSecret\"", "\"kind\":\"EncryptedSecret\""]
            .into_iter()
            .any(has)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn target() -> Target {
        let own = age::x25519::Identity::generate().to_public().to_string();
        let recipients = crate::wrapping::recipients(&[vec![own]], None, &HashSet::new()).unwrap();
        Target {
            recipients,
            rules: touchseal_sops::Rules::default(),
            indent: None,
            why: String::new(),
            listed: Vec::new(),
            own: Vec::new(),
            doubtful: (Vec::new(), String::new()),
        }
    }

    #[test]
    fn what_is_encrypted_already_is_refused_in_every_format() {
        for (format, plain) in [
            (Format::Yaml, "a: b\n"),
            (Format::Json, "{\"a\": 1}"),
            (Format::Dotenv, "A=b\n"),
            (Format::Binary, "x"),
        ] {
            let path = Path::new("x");
            let once = encrypt(path, plain.as_bytes(), format, &target(), None).unwrap().0;
            let twice = encrypt(path, once.as_bytes(), format, &target(), None).unwrap_err();
            assert!(twice.hint().contains("touchseal edit x"), "{format}: {twice}");
        }
    }

    #[test]
    fn a_manifest_is_told_from_other_objects() {
        assert!(is_manifest(b"apiVersion: touchseal.dev/v1alpha1\nkind: EncryptedSecret\n"));
        assert!(!is_manifest(b"apiVersion: v1\nkind: Secret\n"));
        assert!(
            is_object(b"kind: Service\napiVersion: v1\n") && !is_object(b"kind: Secret\napiVersion: v1\n")
        );
        assert!(!is_object(b"password: hunter2\n"));
    }

    #[test]
    fn a_selector_that_fits_nothing_makes_no_document() {
        let mut target = target();
        target.rules.selector = touchseal_sops::Selector::EncryptedRegex("^pasword$".to_owned());
        let refused =
            encrypt(Path::new("x"), b"password: hunter2\n", Format::Yaml, &target, None).unwrap_err();
        assert_eq!(refused.exit(), Exit::Refused);
        target.rules.selector = touchseal_sops::Selector::EncryptedRegex("^password$".to_owned());
        let made =
            encrypt(Path::new("x"), b"user: a\npassword: hunter2\n", Format::Yaml, &target, None).unwrap();
        assert!(said(&target, made.1).contains("1 value in the clear"));
    }

    #[test]
    fn what_was_changed_meanwhile_stays() {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: EncryptArgs,
        }
        let args = Line::parse_from(["encrypt", "-i", "x"]).args;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "changed").unwrap();
        let before = Zeroizing::new(b"read".to_vec());
        let job = Job { path: path.clone(), before, after: "document".to_owned(), said: String::new() };
        let refused = job.put(&args, Existing::Refuse).unwrap_err();
        assert!(refused.what().contains("meanwhile"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "changed");
    }
}
