//! `make bench`: measures and prints one line a figure, and fails when a budget is over. `touchseal-bench` runs every
//! benchmark, `touchseal-bench NAME...` those. A benchmark is one module with one function in [`BENCHES`].

mod audit;
mod contest;
mod lint;
mod report;
mod run;
mod scale;
mod sops;
mod worker;

use std::process::ExitCode;

use report::Report;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// One benchmark: its name, which is also that of its raw numbers' file, and what fills its report.
struct Bench {
    name: &'static str,
    run: fn(&mut Report) -> Outcome,
}

const BENCHES: [Bench; 7] = [
    Bench { name: "sops", run: sops::run },
    Bench { name: "lint", run: lint::run },
    Bench { name: "audit", run: audit::run },
    Bench { name: "verbs", run: scale::verbs::run },
    Bench { name: "cold", run: scale::cold::run },
    Bench { name: "steady", run: scale::steady::run },
    Bench { name: "churn", run: scale::churn::run },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((first, [kind])) if first == worker::ARGUMENT => sops::serve(kind).map(|()| true),
        _ => bench(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {}", in_full(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Whether every budget was kept.
fn bench(names: &[String]) -> Result<bool, Box<dyn std::error::Error>> {
    let known = BENCHES.map(|bench| bench.name);
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("no benchmark is called {name}: there is {}", known.join(", ")).into());
    }
    let mut kept = true;
    for bench in BENCHES {
        if names.is_empty() || names.iter().any(|name| name == bench.name) {
            let mut report = Report::new(bench.name);
            (bench.run)(&mut report)?;
            report.write(&report::folder()?)?;
            kept &= report.kept();
        }
    }
    Ok(kept)
}

/// An error and what it came from.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
