//! What a benchmark found: one line a figure on stdout, the raw numbers in `target/bench/NAME.json`, and whether every
//! budget was kept.
//!
//! ```text
//! bench NAME ratio R budget >=B ok|over
//! bench NAME ratio R budget <=B ok|over
//! bench NAME value V UNIT
//! ```
//!
//! A budget is always on a ratio of two things measured in the same run, so that it means the same on every machine.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

pub struct Report {
    name: &'static str,
    lines: Vec<Line>,
    raw: Map<String, Value>,
}

/// What a ratio has to keep.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Debug)]
enum Line {
    Ratio { name: String, ratio: f64, budget: Budget },
    Value { name: String, value: f64, unit: &'static str },
}

impl Report {
    pub fn new(name: &'static str) -> Report {
        Report { name, lines: Vec::new(), raw: Map::new() }
    }

    /// A figure with a budget. Printed at once, like every figure.
    pub fn ratio(&mut self, name: &str, ratio: f64, budget: Budget) {
        self.add(Line::Ratio { name: self.full(name), ratio, budget });
    }

    /// A figure without one.
    pub fn value(&mut self, name: &str, value: f64, unit: &'static str) {
        self.add(Line::Value { name: self.full(name), value, unit });
    }

    /// Numbers for the file only.
    pub fn raw(&mut self, key: &str, numbers: Value) {
        self.raw.insert(key.to_owned(), numbers);
    }

    /// Whether no budget is over.
    pub fn kept(&self) -> bool {
        self.lines.iter().all(Line::kept)
    }

    /// Writes everything to `folder/NAME.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), ReportError> {
        let path = folder.join(self.name).with_extension("json");
        let figures: Vec<Value> = self.lines.iter().map(Line::json).collect();
        let file = json!({
            "bench": self.name,
            "machine": machine(),
            "kept": self.kept(),
            "figures": figures,
            "raw": self.raw,
        });
        fs::write(&path, format!("{file:#}\n")).map_err(|source| ReportError::Write { path, source })
    }

    fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    fn add(&mut self, line: Line) {
        println!("{line}");
        self.lines.push(line);
    }
}

/// `target/bench`, made if need be.
///
/// # Errors
/// When it cannot be made.
pub fn folder() -> Result<PathBuf, ReportError> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        |folder| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder),
    );
    let path = target.join("bench");
    match fs::create_dir_all(&path).and_then(|()| path.canonicalize()) {
        Ok(path) => Ok(path),
        Err(source) => Err(ReportError::Write { path, source }),
    }
}

fn machine() -> Value {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    json!({
        "processor": model.map(|(_, name)| name),
        "cores": std::thread::available_parallelism().map(usize::from).ok(),
        "load_afterwards": read("/proc/loadavg").trim(),
    })
}

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Budget {
    /// What is no number keeps no budget.
    fn keeps(self, ratio: f64) -> bool {
        match self {
            _ if !ratio.is_finite() => false,
            Budget::AtLeast(least) => ratio >= least,
            Budget::AtMost(most) => ratio <= most,
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Budget::AtLeast(least) => write!(f, ">={least}"),
            Budget::AtMost(most) => write!(f, "<={most}"),
        }
    }
}

impl Line {
    fn kept(&self) -> bool {
        match self {
            Line::Ratio { ratio, budget, .. } => budget.keeps(*ratio),
            Line::Value { .. } => true,
        }
    }

    fn json(&self) -> Value {
        match self {
            Line::Ratio { name, ratio, budget } => {
                json!({ "name": name, "ratio": ratio, "budget": budget.to_string(), "verdict": self.verdict() })
            }
            Line::Value { name, value, unit } => json!({ "name": name, "value": value, "unit": unit }),
        }
    }

    fn verdict(&self) -> &'static str {
        if self.kept() { "ok" } else { "over" }
    }
}

/// The verdict is on the number itself, not on its two printed decimals.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Ratio { name, ratio, budget } => {
                write!(f, "bench {name} ratio {ratio:.2} budget {budget} {}", self.verdict())
            }
            Line::Value { name, value, unit } if *value >= 100.0 => {
                write!(f, "bench {name} value {value:.0} {unit}")
            }
            Line::Value { name, value, unit } => write!(f, "bench {name} value {value:.2} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ratio: f64, budget: Budget) -> String {
        Line::Ratio { name: "a.b".into(), ratio, budget }.to_string()
    }

    #[test]
    fn a_budget_is_kept_up_to_its_very_edge() {
        assert_eq!(line(4.0, Budget::AtLeast(4.0)), "bench a.b ratio 4.00 budget >=4 ok");
        assert_eq!(line(3.999, Budget::AtLeast(4.0)), "bench a.b ratio 4.00 budget >=4 over");
        assert_eq!(line(1.3, Budget::AtMost(1.3)), "bench a.b ratio 1.30 budget <=1.3 ok");
        assert_eq!(line(1.301, Budget::AtMost(1.3)), "bench a.b ratio 1.30 budget <=1.3 over");
    }

    #[test]
    fn what_is_no_number_is_over() {
        for ratio in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(line(ratio, Budget::AtLeast(4.0)).ends_with(" over"), "{ratio}");
            assert!(line(ratio, Budget::AtMost(4.0)).ends_with(" over"), "{ratio}");
        }
    }

    #[test]
    fn one_budget_over_spoils_the_report_and_a_value_does_not() {
        let mut report = Report::new("test");
        report.value("large", 1e9, "docs/s");
        report.ratio("good", 5.0, Budget::AtLeast(4.0));
        assert!(report.kept());
        report.ratio("bad", 3.0, Budget::AtLeast(4.0));
        report.ratio("good-again", 1.0, Budget::AtMost(1.3));
        assert!(!report.kept());
    }

    #[test]
    fn the_file_holds_every_figure_and_the_raw_numbers() {
        let scratch = touchseal_rig::scratch::Scratch::new("bench-report").expect("a folder");
        let mut report = Report::new("test");
        report.ratio("bad", 3.0, Budget::AtLeast(4.0));
        report.value("speed", 12.345, "docs/s");
        report.raw("samples", json!([1, 2]));
        report.write(scratch.path()).expect("written");
        let text = fs::read_to_string(scratch.path().join("test.json")).expect("a file");
        let file: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(file["kept"], false);
        assert_eq!(file["figures"][0]["verdict"], "over");
        assert_eq!(file["figures"][1]["name"], "test.speed");
        assert_eq!(file["raw"]["samples"], json!([1, 2]));
    }
}
