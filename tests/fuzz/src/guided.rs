//! A coverage-guided run of one target: mutants that reach new code join the corpus, and at the end the smallest inputs
//! that reach all of it are kept.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::bounded;
use crate::corpus;
use crate::coverage::{Coverage, Feature};
use crate::mutate::{MAX_INPUT, mutate};
use crate::random::Random;
use crate::targets::Target;

/// The most bytes kept for one target.
const KEPT: usize = 32 * 1024;

/// What a run came to.
pub struct Outcome {
    pub runs: u64,
    pub features: usize,
    pub kept: usize,
}

/// Fuzzes `target` for `time`; `last` is where each input is written before it is run, in case it ends the process.
///
/// # Errors
/// The input that made the target fail.
pub fn run(
    target: &Target,
    coverage: &mut Coverage,
    seed: u64,
    time: Duration,
    last: &Path,
) -> Result<Outcome, String> {
    let mut session = Session { target, coverage, last, seen: HashSet::new(), runs: 0 };
    let mut pool: Vec<Vec<u8>> = Vec::new();
    for input in target.seeds() {
        session.gains(&input)?;
        pool.push(input);
    }
    let end = Instant::now() + time;
    let mut random = Random::new(seed);
    while Instant::now() < end {
        // Half of the time from what was found last: it is the least explored.
        let recent = pool.len() - random.below(1 + pool.len() / 8).min(pool.len() - 1) - 1;
        let index = if random.below(2) == 0 { recent } else { random.below(pool.len()) };
        let mutant = mutate(&pool[index], &pool[random.below(pool.len())], &mut random);
        if mutant.len() <= MAX_INPUT && session.gains(&mutant)? {
            pool.push(mutant);
        }
    }
    let (runs, features) = (session.runs, session.seen.len());
    let kept = session.minimised(pool)?;
    let outcome = Outcome { runs, features, kept: kept.len() };
    corpus::save(target.name, kept).map_err(|error| format!("write the corpus: {error}"))?;
    Ok(outcome)
}

struct Session<'a> {
    target: &'a Target,
    coverage: &'a mut Coverage,
    last: &'a Path,
    seen: HashSet<Feature>,
    runs: u64,
}

impl Session<'_> {
    /// Whether the input reached anything new.
    fn gains(&mut self, input: &[u8]) -> Result<bool, String> {
        self.runs += 1;
        std::fs::write(self.last, input).map_err(|error| format!("write the last input: {error}"))?;
        let target = self.target;
        let (result, features) = self.coverage.observe(|| bounded::one(target, input));
        result.map_err(|problem| bounded::report(target, "found", input, &problem))?;
        let before = self.seen.len();
        self.seen.extend(features);
        Ok(self.seen.len() > before)
    }

    /// The inputs needed beyond the vectors, small ones first. Counts of loops are left out of it: they vary endlessly.
    fn minimised(&mut self, mut pool: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
        let vectors = (self.target.vectors)();
        let mut reached: HashSet<u32> = HashSet::new();
        for input in &vectors {
            let (_, features) = self.coverage.observe(|| bounded::one(self.target, input));
            reached.extend(features.into_iter().map(|(place, _)| place));
        }
        pool.sort_by_key(Vec::len);
        let mut size = 0;
        pool.retain(|input| {
            if vectors.contains(input) || size + input.len() > KEPT {
                return false;
            }
            let (_, features) = self.coverage.observe(|| bounded::one(self.target, input));
            let before = reached.len();
            reached.extend(features.into_iter().map(|(place, _)| place));
            let gained = reached.len() > before;
            size += if gained { input.len() } else { 0 };
            gained
        });
        Ok(pool)
    }
}
