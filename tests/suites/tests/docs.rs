//! The documentation as files: links lead somewhere, nothing is left out, and what pages quote is what the programs say. No
//! cluster; the commands in the pages are run by the real-parts suite.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use touchseal_suites::Page;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Files of the repository below these folders, by their path from the root, without build results.
fn files(folders: &[&str], extension: &str) -> BTreeMap<String, String> {
    let root = root();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut found = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(&root).unwrap().display().to_string(), text);
            }
        }
    }
    found
}

/// Every page of the repository.
fn pages() -> BTreeMap<String, String> {
    files(&[""], "md")
}

fn nothing(found: Vec<String>) {
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The lines of a page that are no block of code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Where the links of a page lead.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        // What is quoted as code is no link.
        let line: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next().map(str::to_owned));
        found.extend(targets);
    }
    found
}

/// The anchors of a page, as forges make them of headings.
fn anchors(page: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in prose(page) {
        let Some(heading) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()) else {
            continue;
        };
        let kept: String = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let times = found.iter().filter(|known| **known == kept).count();
        found.push(if times == 0 { kept } else { format!("{kept}-{times}") });
    }
    found
}

/// `a/b/../c` as `a/c`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            _ => {}
        }
    }
    parts.join("/")
}

/// What is wrong with a link of a page, if anything is.
fn broken(pages: &BTreeMap<String, String>, page: &str, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() {
        page.to_owned()
    } else {
        normal(&Path::new(page).parent().unwrap_or(Path::new("")).join(file))
    };
    if !root().join(&target).exists() {
        return Some(format!("{page}: ({link}): there is no {target}"));
    }
    let known = pages.get(&target).map(|text| anchors(text)).unwrap_or_default();
    let leads = anchor.is_empty() || known.iter().any(|known| known == anchor);
    (!leads).then(|| format!("{page}: ({link}): {target} has no such heading"))
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let all: Vec<(&String, String)> =
        pages.iter().flat_map(|(name, text)| links(text).into_iter().map(move |link| (name, link))).collect();
    assert!(all.len() > 100, "hardly any link was found");
    nothing(all.iter().filter_map(|(page, link)| broken(&pages, page, link)).collect());
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text = "# One\nSee [this](b.md#two-of-it), [that](#one), `[no](link)`.\n```\n[no](code)\n```\n";
    assert_eq!(links(text), ["b.md#two-of-it", "#one"]);
    let b = "## Two, of `it`\n## Two, of it\n";
    assert_eq!(anchors(b), ["two-of-it", "two-of-it-1"]);
    let pages = BTreeMap::from([
        ("README.md".to_owned(), text.to_owned()),
        ("docs/README.md".to_owned(), b.to_owned()),
    ]);
    for good in ["docs/README.md#two-of-it-1", "#one", "docs", "https://example.com/x#y"] {
        assert_eq!(broken(&pages, "README.md", good), None);
    }
    assert_eq!(broken(&pages, "docs/README.md", "../README.md#one"), None);
    for bad in ["docs/README.md#three", "#two", "nowhere.md", "../docs/nowhere.md"] {
        assert!(broken(&pages, "docs/README.md", bad).is_some(), "{bad}");
    }
}

#[test]
fn every_page_is_in_the_list_of_pages() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    let listed = links(&index);
    let missing = |name: &String| !listed.iter().any(|link| format!("docs/{link}") == **name);
    let all = files(&["docs"], "md").into_keys().filter(|name| !name.contains("/examples/"));
    nothing(all.filter(|name| name != "docs/README.md" && missing(name)).collect());
}

/// Commands that nobody runs are not left in a page unseen: each block has a mark, and each page that runs something is
/// read by a test.
#[test]
fn every_page_with_commands_is_followed_by_a_test() {
    let tests: String = files(&["tests/suites/tests/real"], "rs").into_values().collect();
    let mut names: Vec<String> = files(&["docs", "crds", "charts", "operator"], "md").into_keys().collect();
    names.push("README.md".to_owned());
    let mut followed = 0;
    for name in names {
        Page::of(&name);
        let runs = fs::read_to_string(root().join(&name)).unwrap().contains("\n<!-- run");
        if runs {
            followed += 1;
            assert!(
                tests.contains(&format!("\"{name}\"")),
                "{name}: no test in tests/suites/tests/real follows it"
            );
        }
    }
    assert!(followed > 5, "hardly any page has commands");
}

/// What the page of the ceremony says that the programs say.
#[test]
fn messages_quoted_for_the_ceremony_are_those_of_the_programs() {
    let page = fs::read_to_string(root().join("docs/ceremony.md")).unwrap();
    let (_, table) = page.split_once("\n## What can go wrong\n").unwrap();
    let sources: String = files(&["operator"], "rs").into_values().collect();
    let rows = table.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    let quoted = |row: &&str| -> Vec<String> {
        let first = row.split('|').nth(1).unwrap().to_owned();
        first.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let messages: Vec<String> = rows.iter().flat_map(quoted).collect();
    assert!(rows.len() > 10 && messages.len() >= rows.len(), "{rows:?}");
    nothing(messages.into_iter().filter(|message| !sources.contains(message.as_str())).collect());
}

/// What the architecture says that nothing stops, readers are told in its words.
#[test]
fn every_threat_that_nothing_stops_is_told_to_readers() {
    let architecture = fs::read_to_string(root().join("operator/ARCHITECTURE.md")).unwrap();
    let (_, table) = architecture.split_once("\n## Threats\n").unwrap();
    let table = table.split("\n## ").next().unwrap();
    let page = fs::read_to_string(root().join("docs/threats.md")).unwrap();
    let (_, told) = page.split_once("\n## What nothing stops\n").unwrap();
    let threats: Vec<&str> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let (threat, stops) = (cells.next()?, cells.next()?);
            stops.trim_start_matches('*').starts_with("nothing").then_some(threat)
        })
        .collect();
    assert!(threats.len() >= 3, "{threats:?}");
    nothing(
        threats
            .into_iter()
            .filter(|threat| !told.contains(&format!("- **{threat}.**")))
            .map(str::to_owned)
            .collect(),
    );
}
