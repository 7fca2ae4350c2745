//! `touchseal audit git` on a repository of 100,000 objects, and what it takes git itself to print them all: `git cat-file
//! --batch-all-objects`. Both read every object of the same pack from the page cache, in turns.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use touchseal_rig::scratch::Scratch;
use touchseal_sops::{Document, Format, OsRng, Recipients, Rules};

use crate::Outcome;
use crate::contest::median;
use crate::report::{Budget, Report};
use crate::run::{self, Run, measure, peaks};

/// Each changes one file two folders down, and so makes five objects.
const COMMITS: usize = 20_000;
const FILES: usize = 1_000;
const LINES: usize = 120;
const ROUNDS: usize = 5;
const DOCUMENTS: usize = 20;
const VALUES: usize = 25;
/// Times the processor time of git, which looks for nothing.
const BUDGET: f64 = 2.5;
/// MiB that are the process's own; the pack is mapped, and is the page cache's.
const MEMORY: f64 = 200.0;
/// A value that stood in the history for a while.
const PUBLIC: &str = "value-3-of-document-7-q8Zr";

pub fn run(report: &mut Report) -> Outcome {
    let program = run::touchseal()?;
    let scratch = Scratch::new("bench-audit")?;
    let folder = scratch.path();
    repository(folder)?;
    documents(folder)?;
    let audit = || {
        let mut command = Command::new(&program);
        command.args(["audit", "git", "documents", "-o", "json"]).current_dir(folder);
        command.env("XDG_CONFIG_HOME", folder).env("SOPS_AGE_KEY_FILE", folder.join("keys.txt"));
        command
    };
    let git = || {
        let mut command = Command::new("git");
        command.args(["cat-file", "--batch-all-objects", "--batch"]).current_dir(folder);
        command
    };
    let mut objects = 0;
    let mut ours_once = || {
        measure(&mut audit(), Some(5), |out| {
            let told: Value = serde_json::from_slice(out)?;
            objects = told["objects"].as_u64().unwrap_or_default();
            let found = &told["findings"];
            let right = found.as_array().is_some_and(|all| all.len() == 1)
                && found[0]["key"] == "documents/7.yaml:key3"
                && told["judged"] == DOCUMENTS * VALUES;
            if right { Ok(()) } else { Err(format!("the audit told something else: {told}").into()) }
        })
    };
    let mut bytes = 0;
    let mut theirs_once = || {
        measure(&mut git(), Some(0), |out| {
            bytes = out.len();
            Ok(())
        })
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    ours_once()?;
    theirs_once()?;
    for _ in 0..ROUNDS {
        ours.push(ours_once()?);
        theirs.push(theirs_once()?);
    }
    let ratio =
        |of: fn(&Run) -> f64| median(ours.iter().zip(&theirs).map(|(ours, theirs)| of(ours) / of(theirs)));
    let [own, all] = peaks(&mut audit(), ["RssAnon", "VmHWM"])?;
    report.value("objects", objects as f64, "objects");
    report.ratio("vs-cat-file", ratio(|run| run.cpu), Budget::AtMost(BUDGET));
    report.value("wall-vs-cat-file", ratio(|run| run.wall), "times");
    report.value("wall", median(ours.iter().map(|run| run.wall)), "s");
    report.ratio("memory-of-200mib", own / MEMORY, Budget::AtMost(1.0));
    report.value("memory", own, "MiB");
    report.value("memory-with-mapped-pack", all, "MiB");
    report.raw("repository", json!({ "objects": objects, "bytes": bytes, "commits": COMMITS }));
    report.raw("audit", run::numbers(&ours));
    report.raw("cat_file", run::numbers(&theirs));
    Ok(())
}

/// A history as a few teams make it: one file changes a little in each commit. One commit of the first thousand brings the
/// value in, one of the last takes it out again.
fn repository(folder: &Path) -> Outcome {
    git(folder, &["init", "-q", "-b", "main"])?;
    let mut import = Command::new("git");
    import.args(["fast-import", "--quiet"]).current_dir(folder).stdin(Stdio::piped());
    let mut child = import.spawn()?;
    let mut stream = std::io::BufWriter::new(child.stdin.take().ok_or("no pipe to git")?);
    let mut files: Vec<Vec<usize>> = (0..FILES).map(|_| vec![0; LINES]).collect();
    for commit in 0..COMMITS {
        let message = format!("change {commit}\n");
        let when = 1_600_000_000 + commit * 600;
        write!(
            stream,
            "commit refs/heads/main\ncommitter a <a@example.invalid> {when} +0000\ndata {}\n{message}",
            message.len()
        )?;
        // All files once, then one after the other in no order.
        let changed = if commit == 0 { 0..FILES } else { commit * 7_919 % FILES..commit * 7_919 % FILES + 1 };
        for file in changed {
            files[file][commit * 31 % LINES] = commit;
            let text = settings(file, &files[file], (800..COMMITS - 800).contains(&commit) && file == 5);
            let path = format!("team{}/app{}/f{file}.yaml", file % 10, file % 250);
            write!(stream, "M 100644 inline {path}\ndata {}\n{text}\n", text.len())?;
        }
    }
    stream.flush()?;
    drop(stream);
    if !child.wait()?.success() {
        return Err("git fast-import failed".into());
    }
    git(folder, &["repack", "-adfq"])
}

fn settings(file: usize, lines: &[usize], public: bool) -> String {
    let mut text = format!("# settings {file}\n");
    for (number, changed) in lines.iter().enumerate() {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "  setting_{number}_of_{file}: \"changed by {changed}, {:x}\"",
            changed * 2_654_435_761 + number
        );
    }
    if public {
        let _ = writeln!(text, "  password: \"{PUBLIC}\"");
    }
    text
}

/// What is in use: documents for an age key of this run. In the history stands one value of the 500.
fn documents(folder: &Path) -> Outcome {
    use age::secrecy::ExposeSecret as _;
    let identity = age::x25519::Identity::generate();
    fs::write(folder.join("keys.txt"), identity.to_string().expose_secret())?;
    fs::create_dir(folder.join("documents"))?;
    let recipients = Recipients::new(vec![identity.to_public().to_string().parse()?])?;
    for document in 0..DOCUMENTS {
        let text: String = (0..VALUES)
            .map(|value| format!("key{value}: value-{value}-of-document-{document}-q8Zr\n"))
            .collect();
        let now = "2026-01-01T00:00:00Z";
        let made = Document::encrypt(
            text.as_bytes(),
            Format::Yaml,
            &recipients,
            &Rules::default(),
            now,
            &mut OsRng,
        )?;
        fs::write(folder.join(format!("documents/{document}.yaml")), made.emit())?;
    }
    Ok(())
}

fn git(folder: &Path, arguments: &[&str]) -> Outcome {
    match Command::new("git").args(arguments).current_dir(folder).status()?.success() {
        true => Ok(()),
        false => Err(format!("git {arguments:?} failed").into()),
    }
}
