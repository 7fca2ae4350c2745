//! The architecture as a test: what each part may not know, where writes may stand, and that generated files and
//! documentation follow the code. No cluster; only the files of the repository and cargo's own view of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use touchseal_crds::{ConditionType, Reason};

const LONGEST_FILE: usize = 450;
/// Crates that know no client, no runtime, no clock and no disk; the folders of their sources.
const PURE: [(&str, &str); 5] = [
    ("touchseal-crds", "crds/src"),
    ("touchseal-shamir", "operator/shamir/src"),
    ("touchseal-sops", "operator/sops/src"),
    ("touchseal-keyring", "operator/keyring/src"),
    ("touchseal-plan", "operator/plan/src"),
];
/// Files of the operator that write to the API server.
const WRITERS: [&str; 12] = [
    "apply.rs",
    "census.rs",
    "apply/",
    "enrolments.rs",
    "ledger/shard.rs",
    "incidents.rs",
    "pins.rs",
    "recipients.rs",
    "rollout.rs",
    "events.rs",
    "ceremony/",
    "election/",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every .rs file of the workspace with its path from the root, without build results.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut folders: Vec<PathBuf> = ["crds", "operator", "tests"].map(|folder| root.join(folder)).into();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().display().to_string(), text));
            }
        }
    }
    assert!(found.len() > 100, "hardly any source was found");
    found
}

/// A source without its unit tests and comments.
fn code(text: &str) -> String {
    let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    production.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Whether a file holds nothing but tests or test equipment.
fn is_test(path: &str) -> bool {
    ["tests/", "/tests", "_tests.rs", "testkit", "vectors", "random.rs", "/build.rs"]
        .iter()
        .any(|part| path.contains(part))
}

fn nothing(found: Vec<String>) {
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_can_be_read_in_one_go() {
    let complaints = sources().into_iter().filter_map(|(path, text)| {
        // A crate may begin with its page instead.
        if !text.starts_with("//!") && !text.starts_with("#![doc = include_str!(") {
            return Some(format!("{path}: does not start with //!"));
        }
        let lines = text.lines().count();
        let long = lines > LONGEST_FILE && !is_test(&path);
        long.then(|| format!("{path}: {lines} lines, more than {LONGEST_FILE}: look for the seam"))
    });
    nothing(complaints.collect());
}

#[test]
fn pure_crates_know_no_client_no_runtime_no_clock_and_no_disk() {
    const FOREIGN: [&str; 12] = [
        "kube::",
        "kube_client",
        "kube_runtime",
        "tokio",
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "std::env",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
    ];
    let mut found = Vec::new();
    for (path, text) in sources() {
        let pure = PURE.iter().any(|(_, folder)| path.starts_with(folder));
        if !pure || is_test(&path) || path.contains("/bin/") {
            continue;
        }
        let code = code(&text);
        found.extend(
            FOREIGN.iter().filter(|word| code.contains(**word)).map(|word| format!("{path}: {word}")),
        );
    }
    nothing(found);
}

#[test]
fn pure_crates_depend_on_no_client_and_no_runtime() {
    for (package, _) in PURE {
        let tree = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--edges=normal",
                "--prefix=none",
                "--format={p}",
                "--package",
                package,
            ])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout).unwrap();
        assert!(tree.contains(package) && tree.contains("proc-macro2"), "{tree}");
        let foreign =
            ["tokio ", "kube ", "kube-client ", "kube-runtime ", "hyper ", "reqwest ", "pcsc ", "async-std "];
        nothing(
            tree.lines()
                .filter(|line| foreign.iter().any(|name| line.starts_with(name)))
                .map(|line| format!("{package}: {line}"))
                .collect(),
        );
    }
}

#[test]
fn only_the_writers_write() {
    const WRITES: [&str; 12] = [
        ".patch(",
        ".patch_metadata(",
        ".patch_subresource(",
        ".replace_subresource(",
        ".patch_status(",
        ".create(",
        ".replace(",
        ".replace_status(",
        ".delete(",
        ".delete_collection(",
        ".create_token_request(",
        ".evict(",
    ];
    let mut found = Vec::new();
    let mut idle = WRITERS.to_vec();
    for (path, text) in sources() {
        let Some(file) = path.strip_prefix("operator/controller/src/") else { continue };
        let code = code(&text);
        let writes: Vec<&str> = WRITES.iter().copied().filter(|write| code.contains(write)).collect();
        let is = |writer: &str| file == writer || (writer.ends_with('/') && file.starts_with(writer));
        if WRITERS.iter().any(|writer| is(writer)) {
            idle.retain(|writer| writes.is_empty() || !is(writer));
        } else if ["identity.rs", "http/review.rs"].contains(&file) && writes == [".create("] {
            // SelfSubjectReview, TokenReview, SubjectAccessReview: questions, asked by creating nothing that stays.
        } else {
            found.extend(writes.iter().map(|write| format!("{path}: {write}")));
        }
    }
    found.extend(
        idle.into_iter().map(|writer| format!("{writer} writes nothing, or the search does not find it")),
    );
    nothing(found);
}

/// What writes for all replicas gets the client that writes in one term only.
#[test]
fn a_leader_has_no_client_but_the_fenced_one() {
    let lead = fs::read_to_string(root().join("operator/controller/src/lead.rs")).unwrap();
    let lead = code(&lead);
    let uses = lead.matches("self.client").count() + lead.matches("lead.client").count();
    assert_eq!((uses, lead.matches(".fence(&self.client, term)").count()), (1, 1));
    // Whoever writes what all replicas share is made there and nowhere else.
    for made in ["Ledger::new(", "Context {", "recipients::publish(", "Rollouts::new(", "Incidents::new("] {
        let makes = |path: &str, text: &str| {
            path.starts_with("operator/controller/src/") && !is_test(path) && code(text).contains(made)
        };
        let mut places: Vec<String> =
            sources().into_iter().filter(|(path, text)| makes(path, text)).map(|(path, _)| path).collect();
        places.retain(|path| !(made == "Context {" && path.ends_with("/context.rs")));
        assert_eq!(places, ["operator/controller/src/lead.rs"], "{made}");
    }
}

#[test]
fn only_the_token_crate_names_the_card() {
    let names_card = |text: &str| {
        ["pcsc", "yubikey::"]
            .iter()
            .any(|word| text.contains(&format!("use {word}")) || text.contains(&format!(" {word}::")))
    };
    let outside = |path: &str| !path.starts_with("operator/token/") && !path.starts_with("tests/");
    let all = sources();
    assert!(
        all.iter().any(|(path, text)| !outside(path) && names_card(&code(text))),
        "the search finds nothing at all"
    );
    nothing(
        all.iter()
            .filter(|(path, text)| outside(path) && names_card(&code(text)))
            .map(|(path, _)| path.clone())
            .collect(),
    );
}

/// The command line is for laptops of every kind: what only some systems have stands behind a `cfg` that names them, in the same
/// block or above it. That it then compiles there `operator/cli/cross.sh` says.
#[test]
fn what_only_some_systems_have_stands_behind_a_cfg() {
    const THEIRS: [&str; 7] =
        ["rustix::", "libc::", "std::os::unix", "std::os::fd", "tokio::signal::unix", "/proc/", "/sys/"];
    const LAPTOP: [&str; 3] = ["operator/cli/src/", "operator/token/src/", "operator/keyring/src/"];
    let is_cfg = |line: &str| {
        line.contains("cfg") && ["unix", "linux", "windows"].iter().any(|system| line.contains(system))
    };
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let (mut found, mut seen) = (Vec::new(), 0);
    for (path, text) in sources() {
        // `mod hidden_unix` has its cfg where it is named.
        if !LAPTOP.iter().any(|folder| path.starts_with(folder))
            || is_test(&path)
            || path.ends_with("_unix.rs")
        {
            continue;
        }
        let code = code(&text);
        let lines: Vec<&str> = code.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let Some(word) = THEIRS.iter().find(|word| line.contains(**word)) else { continue };
            seen += 1;
            let mut outer = indentation(line);
            let above = lines[..number].iter().rev().filter(|line| !line.trim().is_empty());
            let mut around = above.filter(|above| {
                if !above.trim_start().starts_with(['}', ')', ']']) {
                    outer = outer.min(indentation(above));
                }
                indentation(above) <= outer
            });
            if !is_cfg(line) && !around.any(|line| is_cfg(line)) {
                found.push(format!("{path}: {word} in `{}`", line.trim()));
            }
        }
    }
    assert!(seen > 10, "the search finds hardly anything");
    nothing(found);
}

#[test]
fn generated_definitions_are_up_to_date() {
    let check = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--offline",
            "--package",
            "touchseal-crds",
            "--bin",
            "crdgen",
            "--",
            "--check",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(check.status.success(), "run crdgen: {}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn every_word_a_status_may_use_is_documented() {
    let pages: Vec<String> =
        ["encryptedsecret", "enrolment", "incident", "keyring", "unsealrequest", "recipient"]
            .iter()
            .map(|page| fs::read_to_string(root().join(format!("crds/{page}.md"))).unwrap())
            .collect();
    let documented = |word: &str| pages.iter().any(|page| page.contains(&format!("`{word}`")));
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    let words = reasons.chain(ConditionType::ALL.iter().map(|type_| type_.as_str()));
    nothing(
        words.filter(|word| !documented(word)).map(|word| format!("{word} is in no page of crds/")).collect(),
    );
}

/// A tag can be moved to other code by whoever has the action's repository; a commit cannot.
#[test]
fn actions_of_others_are_named_by_their_commit() {
    let mut actions = 0;
    for entry in fs::read_dir(root().join(".github/workflows")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("- uses: ")) {
            actions += 1;
            let (commit, version) = line.split_once('@').unwrap().1.split_once(" # v").unwrap_or_default();
            let named = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(named && !version.is_empty(), "{}: {line}", path.display());
        }
    }
    assert!(actions >= 6);
}

/// Tests share clusters, one after the other; whoever reads what the API server logged of a name reads all who had it.
#[test]
fn no_two_tests_have_a_world_of_one_name() {
    let mut names: Vec<(String, String)> = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("tests/suites/tests/real/"))
    {
        for made in ["new(\"", "with(\"", "alone(\"", "bare(\""] {
            for world in ["Apps::", "World::"] {
                let call = format!("{world}{made}");
                let calls = text.split(call.as_str()).skip(1);
                names.extend(
                    calls.filter_map(|rest| Some((rest.split('"').next()?.to_owned(), path.clone()))),
                );
            }
        }
    }
    assert!(names.len() > 50, "{names:?}");
    names.sort();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0].0 == pair[1].0).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
