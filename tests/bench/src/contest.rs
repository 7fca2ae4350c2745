//! The measuring side of a contest: contestants are processes of their own (see [`crate::worker`] for what is said to
//! them) and take turns in short slices, so that whatever else the machine does falls on all of them alike.

use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A contestant's process. It ends when this value does, or when this program does: its input ends then.
pub struct Worker {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What contestants work on.
#[derive(Debug, Clone)]
pub struct Task {
    pub name: String,
    pub format: &'static str,
    pub path: PathBuf,
    /// The size it was meant to have, in KiB, and the one it has.
    pub kib: usize,
    pub bytes: usize,
}

/// Who does what.
pub struct Lane<'a> {
    pub worker: usize,
    pub task: &'a Task,
}

/// One lane's measurements, one a round, in seconds for one document.
#[derive(Debug, Default, Clone)]
pub struct Series {
    pub cpu: Vec<f64>,
    pub wall: Vec<f64>,
    /// SHA-256 of the result.
    pub digest: String,
    /// Documents a round.
    pub count: u32,
}

struct Sample {
    wall: f64,
    cpu: f64,
    digest: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ContestError {
    #[error("cannot start {name}")]
    Start { name: &'static str, source: io::Error },
    #[error("cannot speak to {name}")]
    Speak { name: &'static str, source: io::Error },
    #[error("{name} gave up on {task}; what it said is above")]
    GaveUp { name: &'static str, task: String },
    #[error("{name} answered {task} with something that is no measurement")]
    Answer { name: &'static str, task: String },
}

/// Lets every lane run once a round, for about `slice` of processor time, forwards in even rounds and backwards in odd
/// ones.
///
/// # Errors
/// When a contestant fails.
pub fn race(
    workers: &mut [Worker],
    lanes: &[Lane<'_>],
    rounds: usize,
    slice: Duration,
) -> Result<Vec<Series>, ContestError> {
    let mut series = vec![Series::default(); lanes.len()];
    for (lane, series) in lanes.iter().zip(&mut series) {
        series.count = workers[lane.worker].warm_up(lane.task, slice)?;
    }
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..lanes.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let (lane, series) = (&lanes[index], &mut series[index]);
            let sample = workers[lane.worker].run(lane.task, series.count)?;
            series.cpu.push(sample.cpu);
            series.wall.push(sample.wall);
            series.digest = sample.digest;
        }
    }
    Ok(series)
}

impl Series {
    pub fn json(&self) -> Value {
        json!({ "documents_a_round": self.count, "cpu_s": self.cpu, "wall_s": self.wall })
    }

    /// How many times the processor time of `other` this one took: the median over the rounds.
    pub fn times(&self, other: &Series) -> f64 {
        median(self.cpu.iter().zip(&other.cpu).map(|(ours, theirs)| ours / theirs))
    }
}

/// The middle one; of an even number, the mean of the two in the middle. Not a number if there is none.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => numbers[middle],
        _ => (numbers[middle - 1] + numbers[middle]) / 2.0,
    }
}

impl Worker {
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &'static str, mut command: Command) -> Result<Worker, ContestError> {
        let failed = |source| ContestError::Start { name, source };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Worker { name, child, input, output: BufReader::new(output) })
    }

    /// The most memory it ever held, in bytes.
    ///
    /// # Errors
    /// When it fails.
    pub fn peak(&mut self) -> Result<u64, ContestError> {
        let answer = self.ask("peak", "a question for its memory")?;
        let kib: u64 = answer.parse().map_err(|_| self.unusable("a question for its memory"))?;
        Ok(kib * 1024)
    }

    /// Does the work `count` times; no measurement comes out.
    ///
    /// # Errors
    /// When it fails.
    pub fn repeat(&mut self, task: &Task, count: u32) -> Result<(), ContestError> {
        self.run(task, count).map(drop)
    }

    /// How many documents make a slice, found by doing more and more of them.
    fn warm_up(&mut self, task: &Task, slice: Duration) -> Result<u32, ContestError> {
        let mut count = 1;
        loop {
            let sample = self.run(task, count)?;
            if sample.cpu * f64::from(count) >= slice.as_secs_f64() || count >= 1 << 20 {
                return Ok(count);
            }
            count *= 2;
        }
    }

    fn run(&mut self, task: &Task, count: u32) -> Result<Sample, ContestError> {
        let request = format!("run {count} {} {}", task.format, task.path.display());
        let answer = self.ask(&request, &task.name)?;
        sample(&answer, count).ok_or_else(|| self.unusable(&task.name))
    }

    fn ask(&mut self, request: &str, task: &str) -> Result<String, ContestError> {
        let name = self.name;
        let failed = |source| ContestError::Speak { name, source };
        let gave_up = || ContestError::GaveUp { name, task: task.to_owned() };
        let input = self.input.as_mut().ok_or_else(gave_up)?;
        writeln!(input, "{request}").map_err(failed)?;
        let mut answer = String::new();
        match self.output.read_line(&mut answer).map_err(failed)? {
            0 => Err(gave_up()),
            _ => Ok(answer.trim_end().to_owned()),
        }
    }

    fn unusable(&self, task: &str) -> ContestError {
        ContestError::Answer { name: self.name, task: task.to_owned() }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn sample(answer: &str, count: u32) -> Option<Sample> {
    let mut words = answer.split(' ');
    let mut seconds = || Some(words.next()?.parse::<f64>().ok()? / 1e9 / f64::from(count));
    let (wall, cpu) = (seconds()?, seconds()?);
    let digest = words.next().filter(|digest| digest.len() == 64)?.to_owned();
    Some(Sample { wall, cpu, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_and_one_outlier_does_not_move_it() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([3.0, 1.0, 2.0, 4.0]), 2.5);
        assert_eq!(median([1.0, 1.0, 1000.0]), 1.0);
        assert!(median([]).is_nan());
    }

    #[test]
    fn rounds_are_compared_one_by_one() {
        let series = |cpu: &[f64]| Series { cpu: cpu.into(), ..Series::default() };
        // The machine slowed down threefold half way: each round still says 2.
        assert_eq!(series(&[2.0, 2.0, 6.0, 6.0]).times(&series(&[1.0, 1.0, 3.0, 3.0])), 2.0);
    }

    #[test]
    fn an_answer_is_divided_by_the_documents_it_is_for() {
        let answer = format!("4000000000 2000000000 {}", "0".repeat(64));
        let sample = sample(&answer, 4).expect("a sample");
        assert_eq!((sample.wall, sample.cpu), (1.0, 0.5));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for answer in ["", "1", "1 2", "1 2 abc", "x 2 abc"] {
            assert!(sample(answer, 1).is_none(), "{answer}");
        }
    }

    #[test]
    fn a_contestant_that_ends_is_reported() {
        let task = Task { name: "a".into(), format: "yaml", path: "/".into(), kib: 1, bytes: 1024 };
        let mut worker = Worker::start("nobody", Command::new("true")).expect("starts");
        let failure = worker.repeat(&task, 1).expect_err("it is gone");
        assert!(matches!(failure, ContestError::GaveUp { .. } | ContestError::Speak { .. }), "{failure}");
    }
}
