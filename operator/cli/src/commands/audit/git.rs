//! `touchseal audit git`: which of the values that are in use were ever committed in the clear. Documents are opened with one
//! operation of the YubiKey; then every object of the repository is read once. Nothing is written, and no value is shown.

use std::path::PathBuf;

use jiff::Timestamp;
use touchseal_sops::Format as Store;

use super::finding::{self, Asked, Finding, Source};
use super::history;
use super::needles::{Needles, Text};
use super::pieces;
use super::report::{self, NotJudged, NotOpened, Report};
use super::repository::{Repository, RepositoryError};
use super::values::{self, Value};
use crate::args::Global;
use crate::error::{Exit, Failure};
use crate::local_keys::{Identities, KeyArgs};
use crate::output::{self, Format};
use crate::terminal;

#[derive(clap::Args, Debug)]
pub struct GitArgs {
    /// Documents with the values in use: sops files, manifests, and folders of them [default: the folder it is run in]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The repository to look through [default: the one the first path is in]
    #[arg(long, value_name = "FOLDER")]
    repository: Option<PathBuf>,
    /// Look through a shallow or partial clone: what it lacks is not looked at
    #[arg(long)]
    incomplete: bool,
    /// Format of sops files whose names do not tell: yaml, json, dotenv, ini or binary
    #[arg(long, value_name = "FORMAT")]
    input_type: Option<Store>,
    #[command(flatten)]
    keys: KeyArgs,
}

/// Runs it.
pub fn run(args: &GitArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Wide, Format::Json, Format::Yaml])?;
    let here = [PathBuf::from(".")];
    let paths = if args.paths.is_empty() { &here[..] } else { &args.paths };
    // Before anybody is asked for a PIN.
    let repository = open(args, paths)?;
    let missing = repository.missing()?;
    if let Some(missing) = missing.filter(|_| !args.incomplete) {
        return Err(RepositoryError::NotWhole { path: repository.path, missing }.into());
    }
    let mut keys = Identities::new(&args.keys, global, paths);
    let values = values::read(paths, args.input_type, global.namespace.as_deref(), &mut keys)?;
    drop(keys);
    let Sought { texts, sources, asked, not_judged } = sought(&values.values);
    let needles = Needles::new(texts);
    let scanned = repository.scan(&needles)?;
    drop(needles);
    let found = match scanned.hits.is_empty() {
        true => Found::default(),
        false => {
            let held = finding::held(&scanned.hits, &sources);
            let history = history::follow(&repository, scanned.commits.clone(), &held)?;
            let findings = finding::findings(&repository, &history, &scanned.hits, &sources, &asked);
            Found { findings, unreadable: history.unreadable }
        }
    };
    let unread = scanned.large.iter().chain(&scanned.unreadable).chain(&found.unreadable);
    let report = Report {
        audited_at: Timestamp::now(),
        repository: repository.path.display().to_string(),
        objects: scanned.objects,
        commits: scanned.commits.len(),
        complete: missing.is_none(),
        judged: asked.iter().filter(|one| one.judged).count(),
        findings: found.findings,
        not_judged,
        not_opened: values.closed.into_iter().map(|(document, why)| NotOpened { document, why }).collect(),
        not_read: unread.map(ToString::to_string).collect(),
    };
    let text = match global.output {
        Format::Table | Format::Wide => report::table(&report.findings, global.output == Format::Wide),
        format => output::machine(format, &report)?,
    };
    output::print(&text)?;
    report::notes(&report, &scanned);
    conclude(&report, scanned.unreadable.len() + found.unreadable.len())
}

fn open(args: &GitArgs, paths: &[PathBuf]) -> Result<Repository, RepositoryError> {
    if let Some(folder) = &args.repository {
        return Repository::open(folder);
    }
    let first = paths.first().map(PathBuf::as_path).unwrap_or_else(|| std::path::Path::new("."));
    let folder = match first.parent() {
        Some(parent) if !first.is_dir() && !parent.as_os_str().is_empty() => parent,
        _ if !first.is_dir() => std::path::Path::new("."),
        _ => first,
    };
    Repository::open(folder)
}

#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
    unreadable: Vec<gix::ObjectId>,
}

/// What is looked for, and what each text is of.
struct Sought<'v> {
    texts: Vec<Text>,
    sources: Vec<Source>,
    asked: Vec<Asked<'v>>,
    not_judged: Vec<NotJudged>,
}

fn sought(values: &[Value]) -> Sought<'_> {
    let mut sought =
        Sought { texts: Vec::new(), sources: Vec::new(), asked: Vec::new(), not_judged: Vec::new() };
    for (number, value) in (0..).zip(values) {
        let mut add = |piece, texts: Vec<Text>| {
            sought.sources.extend(texts.iter().map(|_| Source { value: number, piece }));
            sought.texts.extend(texts);
        };
        let mut asked = Asked { key: &value.key, lines: Vec::new(), pieces_are_all: false, judged: false };
        match pieces::cut(&value.bytes) {
            Ok(cut) => {
                asked.judged = true;
                asked.pieces_are_all = cut.pieces_are_all && !cut.pieces.is_empty();
                add(None, cut.whole);
                for (piece, of) in cut.pieces.into_iter().enumerate() {
                    asked.lines.push(of.line);
                    add(Some(piece), of.texts);
                }
                if cut.left > 0 {
                    let (key, why) = (value.key.name(), pieces::Unjudged::Simple.words());
                    sought.not_judged.push(NotJudged { key, why, parts: Some(cut.left) });
                }
            }
            Err(why) => sought.not_judged.push(NotJudged::new(value.key.name(), why)),
        }
        sought.asked.push(asked);
    }
    sought
}

fn conclude(report: &Report, unreadable: usize) -> Result<(), Failure> {
    let (found, judged) = (report.findings.len(), report.judged);
    let looked = format!("{}, {}", counted(report.objects, "object"), counted(report.commits, "commit"));
    if found > 0 {
        let what =
            format!("{found} of {} in use can be read in the history: {looked}", counted(judged, "value"));
        let hint = "whoever could read the repository has them: change each, and follow it; touchseal audit git -o json > FILE, then \
                    touchseal incident open NAME --from-audit FILE";
        return Err(Failure::new(Exit::Found, what, hint));
    }
    if unreadable > 0 {
        let what = format!("look through the history: {} could not be read", counted(unreadable, "object"));
        return Err(Failure::new(Exit::Failed, what, "check the repository with git fsck"));
    }
    if !report.not_opened.is_empty() {
        let what = format!("{} could not be opened", counted(report.not_opened.len(), "document"));
        let hint =
            "see the warnings above: nothing is known of their values; those of the others were not found";
        return Err(Failure::new(Exit::Failed, what, hint));
    }
    terminal::say(&format!("none of {} in use was found: {looked}", counted(judged, "value")));
    Ok(())
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
