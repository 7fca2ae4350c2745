//! Whether the operator's memory stays where it is while objects come, change and go, tens of thousands of times. The names are the
//! same each time: of a name that ever was the ledger keeps its numbers, which is no leak. Nor is what fills up to a bound: Events
//! are remembered for some minutes, and of each key the digests of some hundred earlier values. So a third of the rounds pass
//! before the first look, and as one sample of memory is a tenth off at times, a look is the median of a sixth of them.

use super::bare::Ask;
use super::stage::Stage;
use super::{Fault, block_on, process};
use crate::Outcome;
use crate::contest::median;
use crate::report::{Budget, Report};

/// Objects at a time: few, so that what has a bound is full soon; each is made, changed and deleted in a round.
const OBJECTS: usize = 100;
const AT_ONCE: usize = 32;
/// Changes of any kind in all, `TOUCHSEAL_BENCH_CHURN` says otherwise.
const CHANGES: usize = 100_000;
/// Fewest rounds.
const LEAST: usize = 6;

/// # Errors
/// When the cluster does not do what it should.
pub fn run(report: &mut Report) -> Outcome {
    block_on(async {
        let changes = std::env::var("TOUCHSEAL_BENCH_CHURN").ok().and_then(|text| text.parse().ok());
        let changes: usize = changes.unwrap_or(CHANGES);
        let rounds = (changes / (3 * OBJECTS)).max(LEAST);
        let mut stage = Stage::new().await?;
        stage.start_waiting().await?;
        stage.lead().await?;
        let pid = stage.pid()?;
        let mut resident = Vec::new();
        for number in 0..rounds {
            round(&stage).await?;
            resident.push(process::memory_mib(pid, "VmRSS")?);
            eprintln!("bench: round {} of {rounds}: {:.1} MiB", number + 1, resident[number]);
        }
        let (before, look) = (rounds / 3, rounds / 6);
        let of = |from: usize| median(resident[from..from + look].iter().copied());
        let (first, last) = (of(before), of(rounds - look));
        report.value("changes", (rounds * 3 * OBJECTS) as f64, "");
        report.value("new", of(0), "MiB");
        report.value("first", first, "MiB");
        report.value("last", last, "MiB");
        report.ratio("last-vs-first", last / first, Budget::AtMost(1.1));
        report.raw("resident", resident.into());
        Ok(())
    })
}

async fn round(stage: &Stage) -> Result<(), Fault> {
    stage.fill(0, OBJECTS).await?;
    stage.wait_until_ready(OBJECTS).await?;
    let before = stage.secret_writes()?;
    let changes = (0..OBJECTS).map(|index| stage.fleet.change(index)).collect::<Result<Vec<_>, _>>()?;
    stage.bare.all(changes, AT_ONCE).await?;
    stage.wait_for_secret_writes(before + OBJECTS as u64).await?;
    let delete = |path: String| Ask { verb: "DELETE", path, body: Vec::new() };
    let paths = (0..OBJECTS).flat_map(|index| {
        let (namespace, name) = stage.fleet.key(index);
        // The garbage collector takes its time.
        [
            format!("/apis/touchseal.dev/v1alpha1/namespaces/{namespace}/encryptedsecrets/{name}"),
            format!("/api/v1/namespaces/{namespace}/secrets/{name}"),
        ]
    });
    // One after the other, or the operator would make the Secret again.
    for half in 0..2 {
        let asks = paths.clone().skip(half).step_by(2).map(delete).collect();
        stage.bare.all(asks, AT_ONCE).await?;
        stage.wait_until_none_is_ready().await?;
    }
    Ok(())
}
