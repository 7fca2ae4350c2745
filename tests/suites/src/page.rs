//! A page of documentation as a test: its marked blocks are run in order, as a reader would run them. Marks are comments of
//! one line, which nobody sees who reads the page; `docs/README.md` lists them. Parsed strictly: a ```sh block without a
//! mark, or a mark that is not known, fails the page, so that nothing is left out by a slip.

mod read;

pub use read::Reading;

use std::fs;

use crate::world::repository;

/// A page, or a section of one.
#[derive(Clone, Debug)]
pub struct Page {
    /// Path from the repository's root.
    name: String,
    steps: Vec<Step>,
}

/// One thing its reader does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    /// The headings it stands under, outermost first.
    under: Vec<Heading>,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Heading {
    level: usize,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// `<!-- run -->`, `<!-- run: exit 3 -->`: the commands, and how the last of them ends. `<!-- run with: PROGRAM -->`: left out
    /// where this machine has no such program.
    Run { script: String, code: i32, with: Option<String> },
    /// `<!-- says -->`: lines that the commands before showed, in this order; `[..]` is anything, others may be between.
    Says { lines: Vec<String> },
    /// `<!-- file: PATH -->`: the block is written there.
    File { path: String, text: String },
    /// `<!-- do: NAME -->`: the test does something to the world.
    Do { name: String },
}

/// Programs whose lines are commands, also where a block is made by indenting: nobody could mark that one.
const PROGRAMS: [&str; 16] = [
    "age",
    "argocd",
    "buildah",
    "cargo",
    "cosign",
    "ctr",
    "curl",
    "docker",
    "flux",
    "git",
    "helm",
    "kubectl",
    "make",
    "skopeo",
    "sops",
    "touchseal",
];

/// A mark that waits for its block.
enum Mark {
    Run(i32, Option<String>),
    Says,
    File(String),
    NotRun,
}

impl Page {
    /// Reads a page, by its path from the repository's root.
    pub fn of(name: &str) -> Page {
        let text = fs::read_to_string(repository().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        Page::parse(name, &text).unwrap_or_else(|complaint| panic!("{complaint}"))
    }

    /// The part under one heading.
    pub fn section(&self, heading: &str) -> Page {
        let steps: Vec<Step> = self
            .steps
            .iter()
            .filter(|step| step.under.iter().any(|over| over.text == heading))
            .cloned()
            .collect();
        assert!(!steps.is_empty(), "{}: nothing to do under the heading {heading:?}", self.name);
        Page { name: self.name.clone(), steps }
    }

    /// Everything but the part under one heading.
    pub fn without(&self, heading: &str) -> Page {
        let under = |step: &Step| step.under.iter().any(|over| over.text == heading);
        let steps: Vec<Step> = self.steps.iter().filter(|step| !under(step)).cloned().collect();
        assert!(steps.len() < self.steps.len(), "{}: nothing to do under the heading {heading:?}", self.name);
        Page { name: self.name.clone(), steps }
    }

    fn parse(name: &str, text: &str) -> Result<Page, String> {
        let mut steps = Vec::new();
        let mut under: Vec<Heading> = Vec::new();
        let mut mark: Option<Mark> = None;
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let number = index + 1;
            let fail = |problem: &str| Err(format!("{name}:{number}: {problem}"));
            let step = |what: What, under: &[Heading]| Step { line: number, under: under.to_vec(), what };
            if let Some(language) = line.trim_start().strip_prefix("```") {
                let indent = line.len() - line.trim_start().len();
                let mut block = String::new();
                loop {
                    match lines.next() {
                        None => return fail("this block has no end"),
                        Some((_, line)) if line.trim() == "```" => break,
                        Some((_, line)) => {
                            // A line that is indented less has nothing but its end there.
                            block.push_str(line.get(indent..).unwrap_or_default());
                            block.push('\n');
                        }
                    }
                }
                let shell = matches!(language, "sh" | "bash" | "console" | "shell");
                match mark.take() {
                    Some(Mark::Run(..)) if language != "sh" => return fail("only ```sh blocks are run"),
                    Some(Mark::Run(code, with)) => {
                        steps.push(step(What::Run { script: block, code, with }, &under));
                    }
                    Some(Mark::NotRun) => {}
                    Some(Mark::File(path)) => steps.push(step(What::File { path, text: block }, &under)),
                    Some(Mark::Says) if block.trim().is_empty() => return fail("this block says nothing"),
                    Some(Mark::Says) => {
                        let lines = block.lines().map(|line| line.trim_end().to_owned()).collect();
                        steps.push(step(What::Says { lines }, &under));
                    }
                    None if shell => {
                        return fail(
                            "a block of commands without a mark: <!-- run --> or <!-- not run: REASON -->",
                        );
                    }
                    None => {}
                }
                continue;
            }
            let comment = line.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
            if comment.is_none() && line.trim().is_empty() {
                continue;
            }
            if mark.is_some() {
                return fail("a mark stands directly before its block");
            }
            let indented = line.strip_prefix("    ").and_then(|rest| rest.split_whitespace().next());
            if indented.is_some_and(|word| PROGRAMS.contains(&word)) {
                return fail("commands stand in a ```sh block with a mark, not in an indented one");
            }
            if let Some(comment) = comment {
                let (word, rest) = comment.split_once(':').unwrap_or((comment, ""));
                match (word.trim(), rest.trim()) {
                    ("run", "") => mark = Some(Mark::Run(0, None)),
                    ("run", rest) => match rest.strip_prefix("exit ").map(str::parse) {
                        Some(Ok(code)) => mark = Some(Mark::Run(code, None)),
                        _ => return fail("run: exit NUMBER"),
                    },
                    ("run with", program) if !program.is_empty() => {
                        mark = Some(Mark::Run(0, Some(program.to_owned())));
                    }
                    ("says", "") => mark = Some(Mark::Says),
                    ("file", path) if !path.is_empty() => mark = Some(Mark::File(path.to_owned())),
                    ("not run", reason) if !reason.is_empty() => mark = Some(Mark::NotRun),
                    // Of another test, which applies the examples of a page.
                    ("example", name) if !name.is_empty() => {}
                    ("do", what) if !what.is_empty() => {
                        steps.push(step(What::Do { name: what.to_owned() }, &under));
                    }
                    _ => return fail("this mark is not known, or lacks its argument"),
                }
            } else if line.starts_with('#') {
                let level = line.chars().take_while(|c| *c == '#').count();
                under.retain(|heading| heading.level < level);
                under.push(Heading { level, text: line[level..].trim().to_owned() });
            }
        }
        if mark.is_some() {
            return Err(format!("{name}: ends with a mark that has no block"));
        }
        Ok(Page { name: name.to_owned(), steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> Vec<What> {
        Page::parse("page.md", text).unwrap().steps.into_iter().map(|step| step.what).collect()
    }

    fn refused(text: &str, words: &str) {
        let complaint = Page::parse("page.md", text).unwrap_err();
        assert!(complaint.contains(words), "{complaint}");
    }

    #[test]
    fn marked_blocks_are_steps_in_order() {
        let page = "\
# Page
<!-- file: a/b.yaml -->
```yaml
a: 1
```
1. An item:

   <!-- run: exit 3 -->
   ```sh
   cat a/b.yaml \\
     | false
   ```
   <!-- says -->
   ```text
   a: [..]
   ```
<!-- do: pull the plug -->
<!-- run with: toaster -->
```sh
toaster
```
<!-- not run: it would -->
```sh
rm -rf /
```
```yaml
shown: only
```
";
        let run = "cat a/b.yaml \\\n  | false\n".to_owned();
        let expected = [
            What::File { path: "a/b.yaml".to_owned(), text: "a: 1\n".to_owned() },
            What::Run { script: run, code: 3, with: None },
            What::Says { lines: vec!["a: [..]".to_owned()] },
            What::Do { name: "pull the plug".to_owned() },
            What::Run { script: "toaster\n".to_owned(), code: 0, with: Some("toaster".to_owned()) },
        ];
        assert_eq!(what(page), expected);
    }

    #[test]
    fn a_section_ends_where_the_next_of_its_rank_begins() {
        let page = Page::parse(
            "page.md",
            "# All\n## One\n<!-- do: a -->\n### Deep\n<!-- do: b -->\n## Two\n<!-- do: c -->\n",
        )
        .unwrap();
        let names = |page: Page| -> Vec<usize> { page.steps.iter().map(|step| step.line).collect() };
        assert_eq!(names(page.section("One")), [3, 5]);
        assert_eq!(names(page.section("Deep")), [5]);
        assert_eq!(names(page.section("All")), [3, 5, 7]);
        assert_eq!(names(page.without("One")), [7]);
        assert_eq!(names(page.without("Deep")), [3, 7]);
    }

    #[test]
    fn nothing_is_left_out_by_a_slip() {
        refused("```sh\ntrue\n```\n", "page.md:1: a block of commands without a mark");
        refused("<!-- rnu -->\n", "not known");
        refused("<!-- not run -->\n```sh\ntrue\n```\n", "not known, or lacks");
        refused("<!-- run with: -->\n```sh\ntrue\n```\n", "not known, or lacks");
        refused("<!-- run: 3 -->\n", "exit NUMBER");
        refused("<!-- run -->\n```yaml\na: 1\n```\n", "only ```sh");
        refused("<!-- run -->\nand then\n```sh\ntrue\n```\n", "directly before");
        refused("<!-- run -->\n", "no block");
        refused("So:\n\n    kubectl delete everything\n", "page.md:3: commands stand in a ```sh block");
        refused("<!-- says -->\n```text\n```\n", "says nothing");
        refused("```yaml\na: 1\n", "no end");
    }
}
