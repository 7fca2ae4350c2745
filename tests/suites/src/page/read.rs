//! Reading a page at a laptop: its commands run in a terminal, in one bash after the other that hand on where they are
//! and what they exported; what asks is answered as a person would.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use touchseal_rig::scratch::Scratch;
use touchseal_rig::tools;

use super::{Page, Step, What};
use crate::binaries;
use crate::cli::{AUTHOR, Laptop, PIN, Said};
use crate::neighbours::on_path;
use crate::terminal::typist;

/// The longest that one block may take.
const BLOCK: Duration = Duration::from_secs(180);

const AS_TYPED: &str = r#"
set -euo pipefail
[ ! -f "$TOUCHSEAL_PAGE" ] || . "$TOUCHSEAL_PAGE"
trap 'code=$?; { export -p; printf "cd %q\n" "$PWD"; } >"$TOUCHSEAL_PAGE"; exit $code' EXIT
"#;

/// A person with a page before them, from one block to the next.
pub struct Reading<'l> {
    laptop: &'l Laptop,
    answers: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    /// Where a block leaves its environment for the next.
    left: Scratch,
    /// What the last block showed.
    shown: String,
}

impl<'l> Reading<'l> {
    /// At this laptop, in its folder, with the administrator's kubeconfig. The PIN is typed where it is asked for, and
    /// questions are answered with yes.
    pub fn at(laptop: &'l Laptop) -> Reading<'l> {
        let reading = Reading {
            laptop,
            answers: Vec::new(),
            environment: Vec::new(),
            left: Scratch::new("page").unwrap(),
            shown: String::new(),
        };
        reading.answer("PIN of YubiKey", PIN).answer("[y/N]", "yes")
    }

    /// What is typed whenever something asks this.
    pub fn answer(mut self, prompt: &str, typed: &str) -> Reading<'l> {
        self.answers.push((prompt.to_owned(), typed.to_owned()));
        self
    }

    /// More of an environment.
    pub fn with(mut self, name: &str, value: &str) -> Reading<'l> {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Follows a page that needs nothing done to the world.
    pub fn follow(&mut self, page: &Page) {
        self.follow_with(page, |name| panic!("nobody does {name:?}"));
    }

    /// Follows a page; `act` does what its `<!-- do: NAME -->` name.
    pub fn follow_with(&mut self, page: &Page, mut act: impl FnMut(&str)) {
        assert!(
            page.steps.iter().any(|step| matches!(step.what, What::Run { with: None, .. })),
            "{}: nothing in it is run",
            page.name
        );
        for step in &page.steps {
            self.take(page, step, &mut act);
        }
    }

    fn take(&mut self, page: &Page, step: &Step, act: &mut impl FnMut(&str)) {
        let at = format!("{}:{}", page.name, step.line);
        println!("{at}");
        match &step.what {
            What::Do { name } => act(name),
            What::File { path, text } => {
                let path = self.laptop.folder().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            What::Run { with: Some(program), .. } if on_path(program).is_none() => {
                println!("{at}: left out, for this machine has no {program}");
                self.shown.clear();
            }
            What::Run { script, code, .. } => {
                let said = self.run(script);
                self.shown = said.out.replace("\r\n", "\n");
                assert!(!self.shown.contains(PIN), "{at}: the PIN was shown");
                assert_eq!(
                    said.code, *code,
                    "{at}: the commands\n{script}\nended with {}, not with {code}:\n{}",
                    said.code, self.shown
                );
            }
            What::Says { lines } => {
                if let Some(missing) = missing(lines, &self.shown) {
                    panic!("{at}: no line {missing:?}, in its place, in what was shown:\n{}", self.shown);
                }
            }
        }
    }

    fn run(&self, script: &str) -> Said {
        let mut bash = Command::new("/bin/bash");
        bash.arg("-c").arg(format!("{AS_TYPED}{script}"));
        let mut command = typist(&bash, &self.answers, BLOCK);
        let programs = binaries::touchseal();
        let path = tools::path_behind([programs.parent().unwrap().to_owned(), tools::made()]).unwrap();
        self.laptop
            .at_home(&mut command)
            .env("HOME", self.laptop.home.path())
            .env("PATH", path)
            .env("SOPS_DISABLE_VERSION_CHECK", "1")
            .envs(AUTHOR)
            .env("TOUCHSEAL_PAGE", self.left.path().join("environment"))
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .output()
            .unwrap()
            .into()
    }
}

/// The first of `lines` that does not follow, in what was shown, on those before it.
fn missing<'l>(lines: &'l [String], shown: &str) -> Option<&'l str> {
    let mut shown = shown.lines().map(str::trim_end);
    lines.iter().map(String::as_str).find(|wanted| !shown.any(|line| like(wanted, line)))
}

/// Whether a line is as the page has it, `[..]` standing for anything.
fn like(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn page(text: &str) -> Page {
        Page::parse("page.md", text).unwrap()
    }

    fn read(text: &str) -> String {
        let laptop = Laptop::new(Path::new("/nonexistent/kubeconfig"));
        let mut reading = Reading::at(&laptop).answer("your name?", "alice");
        let mut done = Vec::new();
        reading.follow_with(&page(text), |name| done.push(name.to_owned()));
        format!("{}{}", reading.shown, done.join(","))
    }

    #[test]
    fn blocks_are_run_like_the_lines_of_one_terminal() {
        let shown = read(
            "\
<!-- file: sub/hello.txt -->
```text
hello
```
<!-- run -->
```sh
cd sub
export WHO=world
```
<!-- do: greet -->
<!-- run -->
```sh
printf 'your name? '; read -r name
[ -t 1 ] && echo \"$(cat hello.txt) $WHO, $name\"
```
<!-- says -->
```text
hello [..], alice
```
",
        );
        assert!(shown.contains("hello world, alice") && shown.ends_with("greet"), "{shown}");
    }

    #[test]
    fn what_takes_a_program_is_run_where_it_is() {
        let with = |program: &str| {
            read(&format!(
                "<!-- run -->\n```sh\ntrue\n```\n<!-- run with: {program} -->\n```sh\necho toast\n```\n<!-- do: it -->\n"
            ))
        };
        assert!(with("bash").contains("toast"));
        assert_eq!(with("no-such-toaster"), "it");
    }

    #[test]
    #[should_panic(expected = "nothing in it is run")]
    fn a_page_that_may_run_nothing_is_no_test_either() {
        read("<!-- run with: bash -->\n```sh\ntrue\n```\n");
    }

    #[test]
    #[should_panic(expected = "page.md:2: the commands")]
    fn a_command_that_fails_in_the_middle_fails_its_page() {
        read("<!-- run -->\n```sh\nfalse\ntrue\n```\n");
    }

    #[test]
    #[should_panic(expected = "ended with 0, not with 3")]
    fn a_command_that_does_not_end_as_announced_fails_its_page() {
        read("<!-- run: exit 3 -->\n```sh\ntrue\n```\n");
    }

    #[test]
    #[should_panic(expected = "no line \"goodbye\"")]
    fn what_was_not_said_fails_its_page() {
        read("<!-- run -->\n```sh\necho hello\n```\n<!-- says -->\n```text\ngoodbye\n```\n");
    }

    #[test]
    #[should_panic(expected = "nothing in it is run")]
    fn a_page_that_runs_nothing_is_no_test() {
        read("<!-- do: something -->\n");
    }

    #[test]
    fn anything_stands_for_anything_and_nothing_else_does() {
        for line in ["secret app created", "secret a b created"] {
            assert!(like("secret [..] created", line));
        }
        for line in ["a secret app created", "secret app created twice", "secret app"] {
            assert!(!like("secret [..] created", line), "{line}");
        }
        assert!(like("as it is", "as it is") && !like("as it is", "as it is not"));
        assert!(missing(&["b".to_owned(), "a".to_owned()], "a\nb\n").is_some(), "the order counts");
    }
}
