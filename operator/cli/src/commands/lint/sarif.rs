//! Findings as SARIF 2.1.0, which code hosts show beside the lines of a change.

use serde_json::{Value, json};

use super::finding::Finding;
use super::rules::{Level, Rule};
use super::tree::Tree;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The log of one run. `shown` names are turned into addresses from the folder of the tree on.
pub fn log(findings: &[Finding], tree: &Tree) -> Value {
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, tree)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "touchseal",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": Rule::ALL.iter().map(|rule| described(*rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn described(rule: Rule) -> Value {
    json!({
        "id": rule.id(),
        "shortDescription": { "text": rule.about() },
        "help": { "text": rule.next() },
        "defaultConfiguration": { "level": level(rule.level()) },
    })
}

fn result(finding: &Finding, tree: &Tree) -> Value {
    let index = Rule::ALL.iter().position(|rule| *rule == finding.rule);
    json!({
        "ruleId": finding.rule.id(),
        "ruleIndex": index,
        "level": level(finding.rule.level()),
        "message": { "text": format!("{}: {}", finding.message, finding.rule.next()) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": address(&tree.below_root(&finding.file)) },
            "region": { "startLine": finding.line, "startColumn": finding.column },
        }}],
    })
}

const fn level(level: Level) -> &'static str {
    level.word()
}

/// A relative reference: all but unreserved characters and slashes as percent signs and digits.
fn address(path: &str) -> String {
    let mut address = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                address.push(char::from(byte));
            }
            b'\\' if cfg!(windows) => address.push('/'),
            other => address.push_str(&format!("%{other:02X}")),
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::lint::finding::Place;
    use serde_sarif::sarif::Sarif;

    #[test]
    fn every_finding_is_a_result_of_the_official_schema() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::of(&[dir.path().to_owned()]).unwrap();
        let name = dir.path().canonicalize().unwrap().join("a b/ü:?.yaml").display().to_string();
        let findings: Vec<Finding> = Rule::ALL
            .iter()
            .enumerate()
            .map(|(line, rule)| Finding::new(&name, Place::line(line), *rule, "what"))
            .collect();
        let log = log(&findings, &tree);
        let typed: Sarif = serde_json::from_value(log.clone()).unwrap();
        // Nothing in it that the schema does not know.
        assert_eq!(serde_json::to_value(&typed).unwrap(), log);
        let results = typed.runs[0].results.as_ref().unwrap();
        assert_eq!(results.len(), Rule::ALL.len());
        let rules = typed.runs[0].tool.driver.rules.as_ref().unwrap();
        for result in results {
            let index = usize::try_from(result.rule_index.unwrap()).unwrap();
            assert_eq!(Some(&rules[index].id), result.rule_id.as_ref());
        }
        let location = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(location["artifactLocation"]["uri"], "a%20b/%C3%BC%3A%3F.yaml");
    }
}
