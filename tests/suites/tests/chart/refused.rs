//! Values that make no sense are refused before anything reaches a cluster, and the refusal says which.

use std::fs;

use touchseal_suites::chart::{RELEASE, folder, helm, words};

use crate::files;

#[test]
fn each_fault_is_refused_by_its_name() {
    let chart = folder();
    let all = files("refused");
    assert!(all.len() > 20, "hardly any faulty value set was found");
    let mut wrong = Vec::new();
    for (name, path) in all {
        let text = fs::read_to_string(&path).unwrap();
        let reason = text.lines().next().and_then(|line| line.strip_prefix("# refused: ")).unwrap();
        let said = helm(&["template", RELEASE, chart.to_str().unwrap(), "-f", path.to_str().unwrap()]);
        if said.status.success() || !words(&said).contains(reason) {
            wrong.push(format!("{name}: not {reason:?} but {}", words(&said)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
