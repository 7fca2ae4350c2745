//! `fuzz run TARGET SECONDS`: a coverage-guided run, see `make fuzz`. `fuzz one TARGET FILE`: one input. `fuzz cost SHAPE
//! BYTES`: what parsing and opening one hostile document costs this process, for the tests of time and memory.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use touchseal_fuzz::coverage::Coverage;
use touchseal_fuzz::{bounded, guided, shapes, targets};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["run", target, seconds] => run(target, seconds),
        ["one", target, file] => one(target, Path::new(file)),
        ["cost", shape, bytes] => shapes::cost(shape, bytes).map(|cost| println!("{cost}")),
        _ => Err("fuzz run TARGET|all SECONDS, fuzz one TARGET FILE, fuzz cost SHAPE BYTES".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn target(name: &str) -> Result<&'static targets::Target, String> {
    let names = || targets::ALL.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    targets::named(name).ok_or_else(|| format!("no target {name}: one of {}", names()))
}

/// Each target for the time; one process, so that the counters stay where they are.
fn run(name: &str, seconds: &str) -> Result<(), String> {
    let time: u64 = seconds.parse().map_err(|_| "SECONDS is a whole number".to_owned())?;
    let chosen: Vec<_> = if name == "all" { targets::ALL.iter().collect() } else { vec![target(name)?] };
    let mut coverage = Coverage::of_this_process()
        .ok_or("this program has no coverage counters: start it with make fuzz".to_owned())?;
    let time = Duration::from_secs(time) / u32::try_from(chosen.len()).unwrap_or(1);
    // A run that was not there before is another run.
    let seed = u64::from(std::process::id())
        ^ u64::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec).unwrap_or(0);
    for target in chosen {
        let last = PathBuf::from(format!("{}.last", std::env::current_exe().unwrap_or_default().display()));
        let outcome = guided::run(target, &mut coverage, seed, time, &last)
            .map_err(|problem| format!("seed {seed}: {problem}"))?;
        let _ = std::fs::remove_file(last);
        let (runs, features, kept) = (outcome.runs, outcome.features, outcome.kept);
        println!("fuzz {} seed {seed} runs {runs} features {features} kept {kept}", target.name);
    }
    Ok(())
}

fn one(name: &str, file: &Path) -> Result<(), String> {
    let input = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    bounded::one(target(name)?, &input)
}
