//! Answers kubectl's completion protocol (that of cobra's `__complete`): one candidate a line, its description after a
//! tab, then `:` and a number that says whether file names may follow.

use std::ffi::OsString;

use clap::{Arg, Command};

use crate::error::{Failure, one_line};

const DEFAULT: u8 = 0;
const NO_FILES: u8 = 4;

/// Prints the candidates for the last of `words`.
pub fn answer(command: &Command, words: &[OsString]) -> Result<(), Failure> {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    crate::output::print(&render(command, &words))
}

fn render(command: &Command, words: &[String]) -> String {
    let mut command = command.clone();
    command.build();
    let (current, before) =
        words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let here = descend(&command, before);
    let (candidates, directive) = match before.last().and_then(|word| awaiting(here, word)) {
        Some(flag) => values(flag),
        None if current.starts_with('-') => (flags(here), NO_FILES),
        None if here.has_subcommands() => (subcommands(here), NO_FILES),
        None => here.get_positionals().next().map_or((Vec::new(), NO_FILES), values),
    };
    let mut out = String::new();
    for (text, help) in candidates.iter().filter(|(text, _)| text.starts_with(current)) {
        out.push_str(text);
        if !help.is_empty() {
            out.push('\t');
            out.push_str(help);
        }
        out.push('\n');
    }
    out.push_str(&format!(":{directive}\n"));
    out
}

/// The innermost command that the words name; values of flags are passed over.
fn descend<'a>(root: &'a Command, words: &[String]) -> &'a Command {
    let (mut here, mut words) = (root, words.iter());
    while let Some(word) = words.next() {
        if awaiting(here, word).is_some() {
            words.next();
        } else if let Some(inner) = here.find_subcommand(word) {
            here = inner;
        }
    }
    here
}

/// The flag that `word` is, if its value comes as the next word.
fn awaiting<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let named = |arg: &&Arg| {
        arg.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long))
            || arg.get_short().is_some_and(|short| word.strip_prefix('-') == Some(&short.to_string()))
    };
    command.get_arguments().find(named).filter(|arg| arg.get_action().takes_values())
}

fn subcommands(command: &Command) -> Vec<(String, String)> {
    let about = |c: &Command| c.get_about().map(|text| one_line(&text.to_string())).unwrap_or_default();
    command
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
        .map(|c| (c.get_name().to_owned(), about(c)))
        .collect()
}

fn flags(command: &Command) -> Vec<(String, String)> {
    let help = |arg: &Arg| arg.get_help().map(|text| one_line(&text.to_string())).unwrap_or_default();
    command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(|arg| arg.get_long().map(|long| (format!("--{long}"), help(arg))))
        .collect()
}

fn values(arg: &Arg) -> (Vec<(String, String)>, u8) {
    let known: Vec<_> = arg
        .get_possible_values()
        .iter()
        .map(|value| {
            let help = value.get_help().map(|text| one_line(&text.to_string())).unwrap_or_default();
            (value.get_name().to_owned(), help)
        })
        .collect();
    let files = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.starts_with("FILE")));
    (known, if files { DEFAULT } else { NO_FILES })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory;

    fn complete(words: &[&str]) -> String {
        render(&Cli::command(), &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn commands_flags_and_values_are_completed() {
        assert_eq!(
            complete(&["vers"]),
            "version\tPrint the versions of touchseal and of the operator, and say where it matters that they differ\n:4\n"
        );
        assert!(complete(&["keyring", ""]).starts_with("create\t"));
        assert!(complete(&["unseal", "--ser"]).contains("--serial\t"));
        let formats = complete(&["-n", "keyring", "status", "-o", "j"]);
        assert!(formats.starts_with("json") && formats.ends_with(":4\n"), "{formats}");
    }

    #[test]
    fn file_names_are_left_to_the_shell() {
        assert_eq!(complete(&["--kubeconfig", "x"]), ":0\n");
        assert_eq!(complete(&["wrap", "x"]), ":0\n");
        assert_eq!(complete(&["keyring", "show", "-f", ""]), ":0\n");
    }
}
