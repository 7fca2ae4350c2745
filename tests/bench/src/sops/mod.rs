//! The sops engine against sops itself: the same documents, in one run, by our crate, by sops's own Go library, by the
//! sops program, and by bare cryptography without any parsing (the floor).

mod contestants;
mod corpus;
mod figures;
mod floor;
mod godecrypt;
mod opponents;

use std::time::Duration;

use serde_json::{Map, Value, json};
use touchseal_rig::scratch::Scratch;

use crate::Outcome;
use crate::contest::{Lane, Series, Task, Worker, race};
use crate::report::{Report, folder};
use crate::worker;
use corpus::Corpus;
use figures::Row;
use opponents::Field;

/// Formats, and the sizes of documents in KiB.
const CASES: [(&str, &[usize]); 5] = [
    ("yaml", &[1, 2, 16, 64, 256, 1024]),
    ("json", &[1, 2, 16, 64, 256, 1024]),
    ("dotenv", &[1, 2, 64, 1024]),
    ("ini", &[1, 2, 64, 1024]),
    ("binary", &[1, 2, 64, 1024]),
];
/// The formats and the size the sops program is run on, a process for each document.
const PROGRAM: ([&str; 2], usize) = (["yaml", "json"], 2);
/// The format, sizes and numbers of documents after which memory is looked at.
const MEMORY: (&str, [(usize, u32); 2]) = ("yaml", [(2, 500), (1024, 10)]);

const ROUNDS: usize = 15;
/// Processor time of one turn: long against a clock tick and short against what neighbours do.
const SLICE: Duration = Duration::from_millis(20);

/// Measures and reports.
///
/// # Errors
/// When something is missing, fails, or gives another plaintext than the others.
pub fn run(report: &mut Report) -> Outcome {
    let scratch = Scratch::new("bench-sops")?;
    let corpus = Corpus::new(scratch.path())?;
    let field = Field::new(scratch.path(), corpus.identity(), godecrypt::build(&folder()?)?)?;
    let mut samples = Map::new();
    for (format, sizes) in CASES {
        eprintln!("bench: {format}, {} documents, {ROUNDS} rounds ...", sizes.len());
        let tasks = sizes.iter().map(|&kib| corpus.make(format, kib)).collect::<Result<Vec<_>, _>>()?;
        library(report, &field, format, &tasks, &mut samples)?;
        if PROGRAM.0.contains(&format) {
            program(report, &field, find(&tasks, PROGRAM.1)?, &mut samples)?;
        }
        if format == MEMORY.0 {
            for (kib, count) in MEMORY.1 {
                memory(report, &field, find(&tasks, kib)?, count)?;
            }
        }
    }
    report.raw("samples", samples.into());
    Ok(())
}

/// Is a contestant; see [`crate::worker`].
///
/// # Errors
/// When the work fails.
pub fn serve(kind: &str) -> Outcome {
    match kind {
        "ours" => worker::serve(&contestants::Ours::from_environment()?),
        "floor" => worker::serve(&floor::Floor),
        "program" => worker::serve(&contestants::Program::from_environment()?),
        _ => Err(format!("there is no contestant {kind}").into()),
    }
}

/// All documents of one format, by whoever works in a warm process.
fn library(
    report: &mut Report,
    field: &Field,
    format: &str,
    tasks: &[Task],
    samples: &mut Map<String, Value>,
) -> Outcome {
    let workers = [field.ours()?, field.go()?, field.go_prepared()?, field.floor()?];
    let series = contest(workers, tasks)?;
    let mut rows = Vec::new();
    for (task, [ours, go, prepared, floor]) in tasks.iter().zip(&series) {
        same(task, &[ours, go, prepared])?;
        let row = Row { task, ours, go, prepared, floor };
        figures::row(report, &row);
        samples.insert(task.name.clone(), row.json());
        rows.push(row);
    }
    figures::growth(report, format, &rows);
    Ok(())
}

/// One document by the sops program, a process each time.
fn program(report: &mut Report, field: &Field, task: &Task, samples: &mut Map<String, Value>) -> Outcome {
    for [ours, program] in contest([field.ours()?, field.program()?], std::slice::from_ref(task))? {
        same(task, &[&ours, &program])?;
        figures::program(report, task, &ours, &program);
        samples.insert(
            format!("{}.program", task.name),
            json!({ "ours": ours.json(), "program": program.json() }),
        );
    }
    Ok(())
}

/// The most memory a fresh process ever holds that opens one document `count` times.
fn memory(report: &mut Report, field: &Field, task: &Task, count: u32) -> Outcome {
    let few = 3; // each sops is a fresh process anyhow
    for (who, mut worker, count) in
        [("ours", field.ours()?, count), ("go", field.go()?, count), ("program", field.program()?, few)]
    {
        worker.repeat(task, count)?;
        let peak = worker.peak()? as f64 / f64::from(1 << 20);
        report.value(&format!("{}.memory.{who}", task.name), peak, "MiB");
    }
    Ok(())
}

/// Every worker on every task, in turns; for each task, one series a worker.
fn contest<const N: usize>(
    mut workers: [Worker; N],
    tasks: &[Task],
) -> Result<Vec<[Series; N]>, Box<dyn std::error::Error>> {
    let lanes: Vec<Lane<'_>> =
        tasks.iter().flat_map(|task| (0..N).map(move |worker| Lane { worker, task })).collect();
    let mut series = race(&mut workers, &lanes, ROUNDS, SLICE)?.into_iter();
    let mut next = || series.by_ref().take(N).collect::<Vec<_>>().try_into().map_err(|_| "a lane is missing");
    Ok(tasks.iter().map(|_| next()).collect::<Result<_, _>>()?)
}

/// A contest between those who do different things would prove nothing.
fn same(task: &Task, series: &[&Series]) -> Outcome {
    match series.windows(2).all(|pair| pair[0].digest == pair[1].digest) {
        true => Ok(()),
        false => Err(format!("{}: the contestants print different plaintexts", task.name).into()),
    }
}

fn find(tasks: &[Task], kib: usize) -> Result<&Task, String> {
    tasks.iter().find(|task| task.kib == kib).ok_or_else(|| format!("no document of {kib} KiB was made"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_plaintext_is_an_error() {
        let task = Task { name: "a".into(), format: "yaml", path: "/".into(), kib: 1, bytes: 1024 };
        let series = |digest: &str| Series { digest: digest.into(), ..Series::default() };
        assert!(same(&task, &[&series("a"), &series("a"), &series("a")]).is_ok());
        assert!(same(&task, &[&series("a"), &series("a"), &series("b")]).is_err());
    }
}
