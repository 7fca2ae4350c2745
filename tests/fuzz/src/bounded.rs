//! A bounded run of one target: all vectors and the kept corpus, then mutants of them, the same ones for the same seed.

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use crate::corpus::escape;
use crate::mutate::mutate;
use crate::random::Random;
use crate::targets::Target;

/// For one input of a few KiB in a build without optimisation on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// Runs `target` over its seeds and `mutants` mutants.
///
/// # Errors
/// The first input that made the target panic or take too long, escaped, and how to run it again.
pub fn run(target: &Target, seed: u64, mutants: usize) -> Result<(), String> {
    let seeds = target.seeds();
    if seeds.is_empty() {
        return Err(format!("{} has no seeds", target.name));
    }
    for input in &seeds {
        one(target, input).map_err(|problem| report(target, "a seed", input, &problem))?;
    }
    let mut random = Random::new(seed);
    let pool: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    for number in 0..mutants {
        let (input, other) = (random.pick(&pool).unwrap_or_default(), random.pick(&pool).unwrap_or_default());
        let mutant = mutate(input, other, &mut random);
        one(target, &mutant).map_err(|problem| {
            report(target, &format!("mutant {number} of seed {seed}"), &mutant, &problem)
        })?;
    }
    Ok(())
}

/// Runs one input; what went wrong as text.
pub fn one(target: &Target, input: &[u8]) -> Result<(), String> {
    let start = Instant::now();
    catch_unwind(|| (target.run)(input)).map_err(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        text.or(cause.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })?;
    let took = start.elapsed();
    if took > SOON { Err(format!("it took {took:?}")) } else { Ok(()) }
}

/// The line to add to the corpus, so that it is never forgotten.
pub fn report(target: &Target, which: &str, input: &[u8], problem: &str) -> String {
    let name = target.name;
    format!(
        "{name}: {which}: {problem}\nkeep it as a line of tests/fuzz/corpus/failed/{name}.txt:\n{}\n",
        escape(input)
    )
}
