//! Alerts and dashboard as files: promtool reads and tries them, and none is without a test, a runbook or a metric that
//! exists. What their queries come to on real metrics is in `real/metrics.rs`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use touchseal_rig::scratch::Scratch;
use touchseal_rig::tools::Tool;
use touchseal_suites::binaries;
use touchseal_suites::monitoring::{alerts, documented, expressions, panels, selectors};
use touchseal_suites::world::repository;

const TESTS: &str = "tests/alerts/alerts.test.yaml";

fn yaml(path: PathBuf) -> Value {
    serde_norway::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Whether promtool is content, and what it says.
fn promtool(arguments: &[&str]) -> (bool, String) {
    let output = Tool::Promtool.command().unwrap().args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// What the tests of alerts say when one alert's expression is another.
fn tried_with(scratch: &Scratch, alert: &str, expression: &str) -> bool {
    let mut file = yaml(repository().join("charts/touchseal/files/alerts.yaml"));
    let groups = file["groups"].as_array_mut().unwrap().iter_mut();
    let mut rules = groups.flat_map(|group| group["rules"].as_array_mut().unwrap());
    let rule = rules.find(|rule| rule["alert"] == alert).unwrap();
    rule["expr"] = json!(expression);
    rule.as_object_mut().unwrap().remove("for");
    let mut tests = yaml(repository().join(TESTS));
    tests["rule_files"] = json!(["alerts.json"]);
    let about = |test: &Value| test["alert_rule_test"].to_string().contains(&format!("\"{alert}\""));
    tests["tests"].as_array_mut().unwrap().retain(about);
    // JSON is YAML.
    fs::write(scratch.path().join("alerts.json"), file.to_string()).unwrap();
    let path = scratch.path().join("tests.json");
    fs::write(&path, tests.to_string()).unwrap();
    promtool(&["test", "rules", path.to_str().unwrap()]).0
}

#[test]
fn every_alert_is_tried_both_ways() {
    let rules = repository().join("charts/touchseal/files/alerts.yaml");
    let (valid, said) = promtool(&["check", "rules", rules.to_str().unwrap()]);
    assert!(valid, "{said}");
    let (passed, said) = promtool(&["test", "rules", repository().join(TESTS).to_str().unwrap()]);
    assert!(passed, "{said}");
    let file = yaml(repository().join(TESTS));
    let tests = file["tests"].as_array().unwrap().iter();
    let tries: Vec<&Value> = tests.flat_map(|test| test["alert_rule_test"].as_array().unwrap()).collect();
    let alerts = alerts();
    assert!(alerts.len() > 10);
    for alert in &alerts {
        let name = &alert["alert"];
        let of: Vec<_> = tries.iter().filter(|one| one["alertname"] == *name).collect();
        assert!(of.iter().any(|one| one["exp_alerts"].is_array()), "no test expects that {name} fires");
        assert!(
            of.iter().any(|one| one["exp_alerts"].is_null()),
            "no test expects that {name} does not fire"
        );
    }
    // What is expected and not so is found out.
    let scratch = Scratch::new("alerts").unwrap();
    assert!(!tried_with(&scratch, "TouchsealKeyringRefused", "vector(1)"));
    assert!(!tried_with(&scratch, "TouchsealKeyringRefused", "vector(0) > 1"));
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    let page = fs::read_to_string(repository().join("docs/runbooks.md")).unwrap();
    let sections: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut names = BTreeSet::new();
    for alert in &alerts() {
        let name = alert["alert"].as_str().unwrap().to_owned();
        assert!(name.starts_with("Touchseal") && sections.contains(&*name), "{name} has no runbook");
        assert!(["critical", "warning", "info"].contains(&alert["labels"]["severity"].as_str().unwrap()));
        for annotation in ["summary", "description"] {
            assert!(alert["annotations"][annotation].is_string(), "{name}: {annotation}");
        }
        let link = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], link);
        assert!(names.insert(name), "twice");
    }
    let runbooks: BTreeSet<String> = sections.into_iter().map(str::to_owned).collect();
    assert_eq!(runbooks, names, "a runbook without an alert");
}

#[test]
fn what_the_runbooks_tell_to_run_exists() {
    let page = fs::read_to_string(repository().join("docs/runbooks.md")).unwrap();
    let commands: BTreeSet<Vec<&str>> = page
        .split(['`', '\n'])
        .filter_map(|text| text.trim().strip_prefix("touchseal "))
        .map(|rest| {
            rest.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())).collect()
        })
        .collect();
    assert!(commands.len() > 6, "{commands:?}");
    for words in commands {
        let said = Command::new(binaries::touchseal()).args(&words).arg("--help").output().unwrap();
        let known =
            String::from_utf8_lossy(&said.stdout).contains(&format!("Usage: touchseal {}", words.join(" ")));
        assert!(said.status.success() && known, "touchseal {words:?}");
    }
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_are_documented() {
    let documented = documented();
    let asked: BTreeSet<String> = expressions()
        .iter()
        .flat_map(|(_, query)| selectors(query))
        .map(|selector| selector.metric)
        .collect();
    assert!(asked.len() > 20, "{asked:?}");
    let unknown: Vec<_> = asked.iter().filter(|metric| !documented.contains(*metric)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_dashboard_is_one_grafana_takes() {
    let panels = panels();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut places = BTreeSet::new();
    for panel in &panels {
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for row in at("y")..at("y") + at("h") {
            for column in at("x")..at("x") + at("w") {
                assert!(places.insert((row, column)), "{} lies over another", panel["title"]);
            }
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
}
