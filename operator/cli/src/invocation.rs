//! From the operating system's arguments to a command and an exit code; also under the names kubectl looks for.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::FromArgMatches;

use crate::args::{Cli, Command, definition};
use crate::commands;
use crate::complete;
use crate::error::{Exit, Failure};
use crate::{hardening, logs};

/// The name the program was called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// `touchseal`.
    Own,
    /// `kubectl-touchseal`: `kubectl touchseal`.
    Plugin,
    /// `kubectl_complete-touchseal`: kubectl asks for completions.
    PluginCompletion,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = Name::of(arguments.next().as_deref());
    let arguments: Vec<OsString> = arguments.collect();
    let ended = match name {
        Name::PluginCompletion => complete::answer(&command(name), &arguments),
        Name::Own | Name::Plugin => run(name, arguments),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // With stderr closed there is nobody left to tell; the exit code still says it.
            let _ = failure.print(&mut std::io::stderr());
            failure.exit().into()
        }
    }
}

fn run(name: Name, arguments: Vec<OsString>) -> Result<(), Failure> {
    let mut command = command(name);
    let parsed =
        command.try_get_matches_from_mut(std::iter::once(OsString::from("touchseal")).chain(arguments));
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    logs::install(cli.global.verbosity);
    hardening::harden();
    let global = &cli.global;
    match &cli.command {
        Command::Keyring { command } => commands::keyring::run(command, global),
        Command::Recipients(args) => commands::recipients::run(args, global),
        Command::Wrap(args) => commands::wrap::run(args, global),
        Command::Import(args) => commands::import::run(args, global),
        Command::Encrypt(args) => commands::encrypt::run(args, global),
        Command::Decrypt(args) => commands::decrypt::run(args, global),
        Command::Edit(args) => commands::edit::run(args, global),
        Command::Verify(args) => commands::verify::run(args, global),
        Command::Lint(args) => commands::lint::run(args, global),
        Command::Render(args) => commands::render::run(args, global),
        Command::Audit { command } => commands::audit::run(command, global),
        Command::Rekey(args) => commands::rekey::run(args, global),
        Command::Rotation(args) => commands::rotation::run(args, global),
        Command::Incident { command } => commands::incident::run(command, global),
        Command::Unseal(args) => commands::unseal::run(args, global),
        Command::Seal(args) => commands::seal::run(args, global),
        Command::Status(args) => commands::status::run(args, global),
        Command::Doctor(args) => commands::doctor::run(args, global),
        Command::Version(args) => commands::version::run(args, global),
        Command::Completion(args) => commands::completion::run(args, command.clone()),
        // Pages are found by the program's own name.
        Command::Man(args) => commands::man::run(args, global, definition("touchseal")),
    }
}

/// Help and version are no errors; anything else is two lines, as every other failure.
fn usage(error: &clap::Error) -> Result<(), Failure> {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            crate::output::print(&error.render().to_string())
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            crate::terminal::say(error.render().to_string().trim_end());
            Err(Failure::usage("no command was given", "choose one of the commands above"))
        }
        _ => {
            let text = error.render().to_string();
            let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let mut what = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let mut hint = "see --help".to_owned();
            let mut in_usage = false;
            for line in lines {
                if let Some(tip) = line.strip_prefix("tip: ") {
                    hint = tip.to_owned();
                } else if let Some(usage) = line.strip_prefix("Usage: ") {
                    hint = format!("{hint}; usage: {usage}");
                    in_usage = true;
                } else if line.starts_with("For more information") {
                    break;
                } else if in_usage {
                    hint = format!("{hint}, or {line}");
                } else {
                    what = format!("{what} {line}");
                }
            }
            Err(Failure::new(Exit::Usage, what, hint))
        }
    }
}

fn command(name: Name) -> clap::Command {
    match name {
        Name::Own => definition("touchseal"),
        Name::Plugin | Name::PluginCompletion => definition("kubectl touchseal"),
    }
}

impl Name {
    fn of(argv0: Option<&OsStr>) -> Self {
        let stem = argv0.map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
        match stem.strip_suffix(".exe").unwrap_or(stem) {
            "kubectl-touchseal" => Self::Plugin,
            "kubectl_complete-touchseal" => Self::PluginCompletion,
            _ => Self::Own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_it_is_called_by_decides() {
        let name = |argv0: &str| Name::of(Some(OsStr::new(argv0)));
        assert_eq!(name("/usr/local/bin/touchseal"), Name::Own);
        assert_eq!(name("kubectl-touchseal"), Name::Plugin);
        assert_eq!(name("bin/kubectl-touchseal.exe"), Name::Plugin);
        assert_eq!(name("/x/kubectl_complete-touchseal"), Name::PluginCompletion);
        assert_eq!(Name::of(None), Name::Own);
    }

    #[test]
    fn usage_is_printed_as_it_is_typed() {
        let help = |name| command(name).render_long_help().to_string();
        assert!(help(Name::Own).contains("Usage: touchseal "));
        assert!(help(Name::Plugin).contains("Usage: kubectl touchseal "));
    }

    #[test]
    fn help_is_a_command_too() {
        for words in
            [&["help"][..], &["help", "unseal"], &["help", "keyring", "create"], &["keyring", "help"]]
        {
            let words = words.iter().map(OsString::from).collect();
            let parsed = command(Name::Own).try_get_matches_from(
                std::iter::once(OsString::from("touchseal")).chain::<Vec<OsString>>(words),
            );
            assert_eq!(parsed.unwrap_err().kind(), clap::error::ErrorKind::DisplayHelp);
        }
    }

    #[test]
    fn a_wrong_command_line_is_two_lines_and_exit_code_2() {
        let failure = run(Name::Own, vec!["unseal".into(), "--serail".into(), "1".into()]).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert_eq!(failure.what(), "unexpected argument '--serail' found");
        assert!(failure.hint().contains("--serial"), "{}", failure.hint());
        let failure = run(Name::Own, vec!["rotation".into(), "bogus".into()]).unwrap_err();
        assert_eq!(failure.what(), "unrecognized subcommand 'bogus'");
        let both = "usage: touchseal rotation [OPTIONS], or touchseal rotation <COMMAND>";
        assert!(failure.hint().ends_with(both), "{}", failure.hint());
    }

    #[test]
    fn secret_generations_count_from_1() {
        for number in ["0", "-1"] {
            let failure = run(
                Name::Own,
                ["rotation", "wait", "app", "--generation", number].map(OsString::from).to_vec(),
            );
            let failure = failure.unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(failure.what().contains("not in 1.."), "{}", failure.what());
            assert!(!failure.hint().contains("-- -1"), "{}", failure.hint());
        }
    }
}
