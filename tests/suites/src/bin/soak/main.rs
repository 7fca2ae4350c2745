//! `make soak`: people change things all the time, and every kind of fault comes at random, from one seed, for as many minutes as
//! `MINUTES` says. After each round everything must be right (`touchseal_suites::ordeal`); the first time it is not, this ends with
//! the seed and what was done last. It is bounded in memory and on disk, and tidies up after itself.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod faults;
mod scene;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use scene::Scene;

fn main() -> ExitCode {
    let minutes = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(60.0);
    let whole = Duration::from_secs_f64(minutes * 60.0);
    // Its lower half: a seed that a person can type.
    let usual = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() % 1_000_000_007;
    let began = Instant::now();
    let mut scene = Scene::new(u64::try_from(usual).unwrap());
    println!("soak: {minutes} minutes; everything stands after {:.0?}", began.elapsed());
    let mut said = Instant::now();
    let mut wrong = None;
    while began.elapsed() < whole && wrong.is_none() {
        wrong = scene.round().err();
        if said.elapsed() > Duration::from_secs(60) {
            println!("{}", scene.summary(began.elapsed()));
            said = Instant::now();
        }
    }
    println!("{}; {} failures", scene.summary(began.elapsed()), usize::from(wrong.is_some()));
    let Some(wrong) = wrong else { return ExitCode::SUCCESS };
    println!("\n{wrong}\n\nDone last:\n{}", scene.ordeal.diary);
    for operator in &scene.ordeal.operators {
        println!("{}", operator.process.tail(20));
    }
    println!("{}", scene.ordeal.world.cluster.log_tails());
    println!("TOUCHSEAL_SEED={} draws the same again", scene.seed);
    ExitCode::FAILURE
}
