//! `touchseal lint` on a tree of 5,000 files, and what people would search it with otherwise: `grep -r`. Both read every file of
//! the same tree from the page cache, in turns; compared is processor time, of all threads.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use touchseal_rig::scratch::Scratch;

use crate::Outcome;
use crate::contest::median;
use crate::report::{Budget, Report};
use crate::run::{self, Run, measure};

const FILES: usize = 5_000;
const ROUNDS: usize = 15;
/// Times the processor time of grep, which knows neither YAML nor sops.
const BUDGET: f64 = 3.0;
/// What somebody would look for by hand.
const PATTERN: &str = "kind: Secret|ENC\\[AES256_GCM|secretGenerator|password";

pub fn run(report: &mut Report) -> Outcome {
    let program = run::touchseal()?;
    let scratch = Scratch::new("bench-lint")?;
    let bytes = tree(scratch.path())?;
    let lint = || {
        let mut command = Command::new(&program);
        command.args(["lint", "-o", "json"]).env("XDG_CONFIG_HOME", scratch.path()).env_remove("SOPS_CONFIG");
        // What is plain in the tree is found: each of them, and nothing else.
        measure(command.current_dir(scratch.path()), Some(5), |out| {
            let found = String::from_utf8_lossy(out).matches("\"plaintext-secret\"").count();
            if found == FILES / 100 { Ok(()) } else { Err(format!("lint found {found} Secrets").into()) }
        })
    };
    let grep = || {
        let mut command = Command::new("grep");
        command.args(["-rE", "--exclude-dir=.git", PATTERN, "."]).env("LC_ALL", "C.UTF-8");
        measure(command.current_dir(scratch.path()), Some(0), |_| Ok(()))
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    lint()?;
    grep()?;
    for _ in 0..ROUNDS {
        ours.push(lint()?);
        theirs.push(grep()?);
    }
    let ratio =
        |of: fn(&Run) -> f64| median(ours.iter().zip(&theirs).map(|(ours, theirs)| of(ours) / of(theirs)));
    report.ratio("vs-grep", ratio(|run| run.cpu), Budget::AtMost(BUDGET));
    report.value("wall-vs-grep", ratio(|run| run.wall), "times");
    report.value("wall", median(ours.iter().map(|run| run.wall)) * 1e3, "ms");
    report.raw("tree", json!({ "files": FILES, "bytes": bytes }));
    report.raw("lint", run::numbers(&ours));
    report.raw("grep", run::numbers(&theirs));
    Ok(())
}

/// Manifests, settings and sources as a repository of a few teams has them; a document in twenty files, a plain Secret in a
/// hundred. Gives its size.
fn tree(root: &Path) -> Result<usize, Box<dyn std::error::Error>> {
    let document =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/sops/good.yaml"))?;
    let wrapped: String = document.lines().map(|line| format!("      {line}\n")).collect();
    let mut bytes = 0;
    for number in 0..FILES {
        let folder = root.join(format!("team{}/app{}", number % 10, number % 250));
        fs::create_dir_all(&folder)?;
        let (ending, text) = match number % 100 {
            0 => (
                "yaml",
                format!(
                    "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s{number}\nstringData:\n  token: t{number}\n"
                ),
            ),
            20 | 40 | 60 => ("yaml", document.clone()),
            80 => (
                "esec.yaml",
                format!(
                    "apiVersion: touchseal.dev/v1alpha1\nkind: EncryptedSecret\nmetadata:\n  name: e{number}\n  namespace: team\nspec:\n  documents:\n  - name: app.yaml\n    sops: |\n{wrapped}"
                ),
            ),
            rest if rest % 4 == 3 => ("rs", source(number)),
            _ => ("yaml", manifest(number)),
        };
        bytes += text.len();
        fs::write(folder.join(format!("f{number}.{ending}")), text)?;
    }
    fs::write(root.join(".sops.yaml"), "creation_rules:\n- path_regex: \\.enc\\.yaml$\n  age: age1x\n")?;
    Ok(bytes)
}

fn manifest(number: usize) -> String {
    let mut text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app{number}\nspec:\n  template:\n    spec:\n      containers:\n"
    );
    for container in 0..8 {
        text.push_str(&format!(
            "      - name: c{container}\n        image: registry.example.com/app{number}:{container}\n        env:\n        - name: DATABASE_PASSWORD\n          \
             valueFrom:\n            secretKeyRef:\n              name: database\n              key: token\n        resources:\n          limits:\n            memory: 128Mi\n"
        ));
    }
    text
}

fn source(number: usize) -> String {
    (0..120)
        .map(|line| format!("    let value_{line} = compute({number}, \"{line}\").unwrap_or_default();\n"))
        .collect()
}
