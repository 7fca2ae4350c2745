//! `touchseal verify`: whether files and manifests are what the operator needs. Without a key: complete, well-formed, for
//! the right recipients where those are known; with `--decrypt` each document is opened and its MAC checked.

mod check;
pub mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use touchseal_sops::Format as Store;

use crate::args::Global;
use crate::documents::{self, Candidate, DocumentFile, Progress, Reading};
use crate::error::{Exit, Failure, one_line};
use crate::local_keys::{Identities, KeyArgs};
use crate::output::{self, Format, Table};
use crate::terminal;

#[derive(clap::Args, Debug)]
pub struct VerifyArgs {
    /// sops files, manifests, and folders of them
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Open every document and check its MAC: one PIN and one touch for all of them
    #[arg(long)]
    decrypt: bool,
    /// Recipients that neither the namespace nor the rule has are a problem, too, and those nobody knows what to compare
    /// with
    #[arg(long)]
    strict: bool,
    /// Format of sops files whose names do not tell: yaml, json, dotenv, ini or binary
    #[arg(long, value_name = "FORMAT")]
    input_type: Option<Store>,
    #[command(flatten)]
    keys: KeyArgs,
}

/// What was found out about one document, or about the file around it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// As the document lists them; not authenticated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Those that are neither its namespace's nor its rule's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_recipients: Vec<String>,
    /// The newest key generation of the keyring that it is encrypted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_generation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// It was opened, and its MAC is right.
    pub opened: bool,
    /// Whether its recipients were compared with those of its namespace.
    pub recipients_checked: bool,
    /// Empty if all is right. Never holds a value.
    pub problems: Vec<String>,
}

/// Runs it.
pub fn run(args: &VerifyArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Wide, Format::Json, Format::Yaml])?;
    let candidates = documents::find(&args.paths)?;
    let mut keys = Identities::new(&args.keys, global, &args.paths);
    let mut check = check::Check::new(&mut keys, args.decrypt, args.keys.keyring.is_some(), global)?;
    let mut progress = Progress::new(candidates.len());
    let (mut rows, mut doubtful) = (Vec::new(), Vec::new());
    for candidate in &candidates {
        progress.file(&candidate.path);
        match candidate.read(args.input_type) {
            Ok(Reading::Documents(file)) => {
                // A PIN may be asked for.
                if args.decrypt {
                    progress.clear();
                }
                of_file(&file, &mut check, &mut rows)?;
            }
            Ok(Reading::Other) => {}
            Ok(Reading::Doubtful) => doubtful.push(candidate),
            Err(problem) => rows.push(Row {
                file: candidate.path.display().to_string(),
                problems: vec![problem.of_its_file()],
                ..Row::default()
            }),
        }
    }
    drop(progress);
    if args.strict {
        for row in &mut rows {
            let others = row.other_recipients.iter();
            row.problems.extend(others.map(|one| format!("it is encrypted to {} as well", one_line(one))));
            if !row.recipients_checked && row.problems.is_empty() {
                row.problems.push("whom it should be encrypted to is not known here".to_owned());
            }
        }
    }
    let text = match global.output {
        Format::Table | Format::Wide => table(&rows, global.output == Format::Wide),
        format => output::machine(format, &rows)?,
    };
    output::print(&text)?;
    if !args.strict {
        tell_others(&rows);
    }
    conclude(&rows, &doubtful, candidates.len(), args.decrypt)
}

fn of_file(file: &DocumentFile, check: &mut check::Check<'_>, rows: &mut Vec<Row>) -> Result<(), Failure> {
    for problem in objects::problems(file) {
        rows.push(Row { file: file.path().display().to_string(), problems: vec![problem], ..Row::default() });
    }
    for index in 0..file.documents().len() {
        rows.push(check.document(file, index)?);
    }
    Ok(())
}

fn table(rows: &[Row], wide: bool) -> String {
    let mut headings = vec!["FILE", "DOCUMENT", "NAMESPACE", "KEY", "RESULT"];
    if wide {
        headings.splice(4..4, ["FORMAT", "RECIPIENTS", "MODIFIED"]);
    }
    let mut table = Table::new(&headings);
    for row in rows {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let key = row.key_generation.map(|number| number.to_string()).unwrap_or_default();
        let result = match (row.problems.is_empty(), row.opened) {
            (false, _) => row.problems.join("; "),
            (true, true) => "opened".to_owned(),
            (true, false) => "well-formed".to_owned(),
        };
        let mut cells = vec![row.file.clone(), text(&row.document), text(&row.namespace), key, result];
        if wide {
            let count = row.recipients.len().to_string();
            cells.splice(4..4, [text(&row.format), count, text(&row.last_modified)]);
        }
        table.cells(cells);
    }
    table.render()
}

/// Who else can read what, each once.
fn tell_others(rows: &[Row]) {
    let mut places: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        for recipient in &row.other_recipients {
            places.entry(recipient).or_default().push(row);
        }
    }
    for (recipient, rows) in places {
        let first = rows.first().map_or("", |row| row.file.as_str());
        let more = match rows.len() {
            1 => String::new(),
            several => format!(" and {} more", several - 1),
        };
        let recipient = one_line(recipient);
        terminal::say(&format!(
            "note: {recipient} can read {}{more}, and nothing vouches for it (--strict refuses it)",
            one_line(first)
        ));
    }
}

fn conclude(rows: &[Row], doubtful: &[&Candidate], files: usize, decrypt: bool) -> Result<(), Failure> {
    if let Some(first) = doubtful.first() {
        let more = match doubtful.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let path = first.path.display();
        terminal::say(&format!("note: {path}{more} holds what sops writes, but is no document; passed over"));
    }
    if let Some(note) = not_checked(rows, decrypt) {
        terminal::say(&one_line(&note));
    }
    let bad = rows.iter().filter(|row| !row.problems.is_empty()).count();
    if bad > 0 {
        let what = format!("not right: {bad} of {}", rows.len());
        return Err(Failure::new(Exit::Failed, what, "see the last column; nothing was changed"));
    }
    if rows.is_empty() {
        return Err(documents::nothing_in(files));
    }
    if !decrypt {
        terminal::say("well-formed; whether they open is checked with --decrypt");
    }
    Ok(())
}

/// Which documents could be anybody's, as far as this run can tell, and of which namespaces nothing is known.
fn not_checked(rows: &[Row], decrypt: bool) -> Option<String> {
    let unchecked: Vec<&Row> =
        rows.iter().filter(|row| row.problems.is_empty() && !row.recipients_checked).collect();
    let which = match unchecked.as_slice() {
        [] => return None,
        [only] => format!("{} is", only.file),
        [first, more @ ..] => format!("{} and {} more are", first.file, counted(more.len(), "document")),
    };
    let namespaces: BTreeSet<&str> = unchecked.iter().filter_map(|row| row.namespace.as_deref()).collect();
    let of = match namespaces.is_empty() {
        true => "the recipients they should have".to_owned(),
        false => format!("the recipients of {}", namespaces.into_iter().collect::<Vec<_>>().join(", ")),
    };
    // Where an age key of the person's own opened all, --decrypt told nothing of the keyring.
    let how = if decrypt { "--keyring or by rules" } else { "--keyring, by rules, or with --decrypt" };
    Some(format!(
        "note: whether {which} encrypted for the right namespace, and for nobody else, could not be checked: {of} are not \
         known here; tell them by {how} (--strict refuses it)"
    ))
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
