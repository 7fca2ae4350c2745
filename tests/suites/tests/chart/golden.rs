//! What the chart makes of every value set, against files that were reviewed.

use std::fs;

use touchseal_suites::chart::template;
use touchseal_suites::world::repository;

use crate::files;

/// CRDs, alerts and dashboard are carried as they are, and compared elsewhere.
const ARGUMENTS: [&str; 4] = [
    "-n",
    "touchseal-system",
    "--set",
    "crds.install=false,prometheusRule.enabled=false,grafanaDashboard.enabled=false",
];

#[test]
fn the_chart_renders_what_was_reviewed() {
    let bless = std::env::var_os("TOUCHSEAL_BLESS").is_some();
    let golden = repository().join("tests/chart/golden");
    let mut wrong = Vec::new();
    let sets = files("values");
    assert!(sets.len() >= 5, "hardly any value set was found");
    for (name, values) in &sets {
        let rendered = template(&[&ARGUMENTS[..], &["-f", values.to_str().unwrap()]].concat());
        let file = golden.join(format!("{name}.yaml"));
        if bless {
            fs::write(&file, rendered).unwrap();
        } else if let Some(difference) =
            first_difference(&fs::read_to_string(&file).unwrap_or_default(), &rendered)
        {
            wrong.push(format!("{name}.yaml, {difference}"));
        }
    }
    for (name, _) in files("golden") {
        if !sets.iter().any(|(set, _)| *set == name) {
            wrong.push(format!("golden/{name}.yaml belongs to no value set"));
        }
    }
    assert!(wrong.is_empty(), "{}\nif it is meant: see tests/chart/README.md", wrong.join("\n"));
}

fn first_difference(expected: &str, found: &str) -> Option<String> {
    let mut pairs = expected
        .lines()
        .map(Some)
        .chain(std::iter::repeat(None))
        .zip(found.lines().map(Some).chain(std::iter::repeat(None)));
    if expected == found {
        return None;
    }
    let (line, (was, is)) = pairs.by_ref().enumerate().find(|(_, (was, is))| was != is)?;
    Some(format!("line {}:\n  - {}\n  + {}", line + 1, was.unwrap_or("(end)"), is.unwrap_or("(end)")))
}
