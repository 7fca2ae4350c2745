//! Command lines that messages tell people to type are ones that can be typed: each is found in the sources, its placeholders
//! are filled in, and clap has to take it. A command that is only named, without anything behind it, has to exist.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;

use crate::args::definition;

/// Stands for whatever a placeholder does; a file, a name and a number alike.
const ANYTHING: &str = "2";

#[test]
fn every_command_in_a_message_can_be_typed() {
    let operator = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = 0;
    let mut wrong = Vec::new();
    for file in sources(&operator) {
        for line in lines(&fs::read_to_string(&file).unwrap()) {
            seen += 1;
            if let Err(problem) = check(&line) {
                wrong.push(format!("{}: touchseal {line}: {problem}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 60, "{seen} were found");
}

#[test]
fn one_that_cannot_be_typed_is_found() {
    for wrong in
        ["recipients --for {namespace} --sops-yaml", "keyring retire {old} -f {file} --treee DIR", "keyrings"]
    {
        assert!(check(wrong).is_err(), "{wrong}");
    }
    for right in ["unseal", "keyring", "keyring rotate", "keyring retire {old} -f {file} --tree DIR"] {
        assert_eq!(check(right), Ok(()), "{right}");
    }
    let source = "/// touchseal nothing --here\nx(\"do it: touchseal rekey \\\n   {0}, then touchseal keyring show -f FILE lists\");";
    assert_eq!(lines(source), ["rekey {0}", "keyring show -f FILE"]);
}

/// Examples have words of the shell in them, and a test of their own.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "examples.rs" {
            found.push(path);
        }
    }
    found
}

/// What follows `touchseal ` in the literals of a source, as far as it belongs to the command.
fn lines(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut code = String::new();
    for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
        // A literal that goes on in the next line.
        match line.strip_suffix('\\') {
            Some(begun) => code.push_str(begun),
            None => code.extend([line, "\n"]),
        }
    }
    let ends = ['"', '`', '\\', '\n', ')', ';', ',', '|'];
    let after = code.split("touchseal ").skip(1).map(|rest| rest.split(ends).next().unwrap_or_default());
    after.map(command).filter(|line| !line.is_empty()).collect()
}

/// Names of commands, then flags and placeholders; prose ends it. Prose alone, such as `touchseal could not`, is none.
fn command(text: &str) -> String {
    let mut here = definition("touchseal");
    here.build(); // so that every command has the global flags
    let mut words: Vec<&str> = Vec::new();
    let mut is_named = true;
    for word in text.split_whitespace() {
        let (word, ends) = match word.strip_suffix(['.', ':']) {
            Some(word) => (word, true),
            None => (word, false),
        };
        let next = here.find_subcommand(word).filter(|_| is_named).cloned();
        match next {
            Some(next) => here = next,
            None if words.is_empty() => break,
            None if word.starts_with('-') || is_placeholder(word) => is_named = false,
            None if words.last().is_some_and(|flag| takes_word(&here, flag)) => {}
            None => break,
        }
        words.push(word);
        if ends {
            break;
        }
    }
    words.join(" ")
}

fn is_placeholder(word: &str) -> bool {
    word.starts_with('{') || word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Whether the value of this flag follows it.
fn takes_word(command: &clap::Command, flag: &str) -> bool {
    let of = |arg: &clap::Arg| {
        arg.get_long().is_some_and(|long| flag == format!("--{long}"))
            || arg.get_short().is_some_and(|short| flag == format!("-{short}"))
    };
    command.get_arguments().any(|arg| of(arg) && arg.get_action().takes_values())
}

fn check(line: &str) -> Result<(), String> {
    let words = line.split_whitespace().map(|word| if is_placeholder(word) { ANYTHING } else { word });
    let parsed = definition("touchseal").try_get_matches_from(std::iter::once("touchseal").chain(words));
    let is_name = line.split(' ').all(|word| !word.starts_with('-') && !is_placeholder(word));
    match parsed.map_err(|error| error.kind()) {
        Ok(_) => Ok(()),
        // The command is named, not written out.
        Err(ErrorKind::MissingRequiredArgument | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
            if is_name =>
        {
            Ok(())
        }
        Err(kind) => Err(format!("{kind:?}")),
    }
}
