//! From measurements to figures, and what the budgets are.

use serde_json::{Value, json};

use crate::contest::{Series, Task, median};
use crate::report::{Budget, Report};

/// What the crate owes: so many times the documents a second and core of the Go library, on documents of up to
/// [`SMALL`] KiB. Larger ones cost the Go library more still.
const VS_GO: Budget = Budget::AtLeast(4.0);
const SMALL: usize = 2;
/// A byte of a [`LARGE`] document may cost so many times one of a [`MEDIUM`] one (in KiB): time grows with size alone.
const GROWTH: Budget = Budget::AtMost(1.3);
const MEDIUM: usize = 64;
const LARGE: usize = 1024;

/// One document and how the contestants did on it.
pub struct Row<'a> {
    pub task: &'a Task,
    pub ours: &'a Series,
    pub go: &'a Series,
    pub prepared: &'a Series,
    pub floor: &'a Series,
}

impl Row<'_> {
    pub fn json(&self) -> Value {
        json!({
            "bytes": self.task.bytes,
            "ours": self.ours.json(),
            "go": self.go.json(),
            "go-prepared": self.prepared.json(),
            "floor": self.floor.json(),
        })
    }
}

/// One document: speeds, and how far from the Go library and from the floor.
pub fn row(report: &mut Report, row: &Row<'_>) {
    let name = |what: &str| format!("{}.{what}", row.task.name);
    for (who, series) in [("ours", row.ours), ("go", row.go), ("floor", row.floor)] {
        report.value(&name(who), speed(series), "docs/cpu-s");
    }
    let vs_go = row.go.times(row.ours);
    if row.task.kib <= SMALL {
        report.ratio(&name("vs-go"), vs_go, VS_GO);
        report.value(&name("vs-go-prepared"), row.prepared.times(row.ours), "x");
    } else {
        report.value(&name("vs-go"), vs_go, "x");
    }
    report.value(&name("above-floor"), row.ours.times(row.floor), "x");
}

/// The time of a byte of ours, large against medium-sized documents, round by round.
pub fn growth(report: &mut Report, format: &str, rows: &[Row<'_>]) {
    let of = |kib| rows.iter().find(|row| row.task.kib == kib);
    let ratio = match (of(MEDIUM), of(LARGE)) {
        (Some(medium), Some(large)) => {
            large.ours.times(medium.ours) * medium.task.bytes as f64 / large.task.bytes as f64
        }
        _ => f64::NAN,
    };
    report.ratio(&format!("{format}.growth"), ratio, GROWTH);
}

/// The sops program: here the wait counts, too.
pub fn program(report: &mut Report, task: &Task, ours: &Series, program: &Series) {
    let name = |what: &str| format!("{}.{what}", task.name);
    report.value(&name("program"), speed(program), "docs/cpu-s");
    report.value(&name("program-wall"), 1e3 * median(program.wall.iter().copied()), "ms");
    report.value(&name("vs-program"), program.times(ours), "x");
}

/// Documents a second of processor time.
fn speed(series: &Series) -> f64 {
    1.0 / median(series.cpu.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(kib: usize) -> Task {
        Task { name: format!("yaml.{kib}KiB"), format: "yaml", path: "/".into(), kib, bytes: kib * 1024 }
    }

    fn series(cpu: f64) -> Series {
        Series { cpu: vec![cpu; 3], ..Series::default() }
    }

    fn kept(kib: usize, ours: f64, go: f64) -> bool {
        let mut report = Report::new("test");
        let (task, ours, go) = (task(kib), series(ours), series(go));
        row(&mut report, &Row { task: &task, ours: &ours, go: &go, prepared: &go, floor: &ours });
        report.kept()
    }

    #[test]
    fn a_small_document_has_to_be_four_times_as_fast_as_in_go() {
        assert!(kept(1, 1.0, 4.1) && kept(2, 1.0, 4.1));
        assert!(!kept(1, 1.0, 3.9) && !kept(2, 1.0, 3.9));
        assert!(kept(64, 1.0, 3.9), "the budget is on small ones");
    }

    #[test]
    fn sixteen_times_the_size_may_not_cost_much_more_than_sixteen_times_the_time() {
        let kept = |medium: f64, large: f64| {
            let (tasks, medium, large) = ([task(MEDIUM), task(LARGE)], series(medium), series(large));
            let row = |task, ours| Row { task, ours, go: ours, prepared: ours, floor: ours };
            let mut report = Report::new("test");
            growth(&mut report, "yaml", &[row(&tasks[0], &medium), row(&tasks[1], &large)]);
            report.kept()
        };
        assert!(kept(1.0, 16.0) && kept(1.0, 20.7));
        assert!(!kept(1.0, 21.0) && !kept(1.0, 256.0));
    }

    #[test]
    fn growth_that_was_not_measured_is_over() {
        let mut report = Report::new("test");
        growth(&mut report, "yaml", &[]);
        assert!(!report.kept());
    }
}
