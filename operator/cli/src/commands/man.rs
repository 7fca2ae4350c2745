//! `touchseal man FOLDER`: the manual pages, made of the same definitions as the help.

use std::path::{Path, PathBuf};

use crate::args::Global;
use crate::error::{Exit, Failure};
use crate::files::{self, Existing};
use crate::output;
use crate::terminal;

#[derive(clap::Args, Debug)]
pub struct ManArgs {
    /// Folder to write the pages into, made if need be; those of an older version are replaced
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Runs it.
pub fn run(args: &ManArgs, global: &Global, command: clap::Command) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    std::fs::create_dir_all(&args.folder).map_err(|error| {
        let what = format!("make the folder {}: {error}", args.folder.display());
        Failure::new(Exit::Failed, what, "check the path and its permissions")
    })?;
    let pages = pages(command.disable_help_subcommand(true))?;
    for (name, page) in &pages {
        files::write(&args.folder.join(name), page, Existing::Replace, false)?;
    }
    terminal::say(&format!("{} pages written; to read the first: man {}", pages.len(), shown(&args.folder)));
    Ok(())
}

fn shown(folder: &Path) -> String {
    let path = folder.join("touchseal.1").display().to_string();
    let path = if path.contains('/') { path } else { format!("./{path}") };
    shlex::try_quote(&path).map_or_else(|_| path.clone(), std::borrow::Cow::into_owned)
}

/// One page a command: `touchseal-keyring-create.1`.
fn pages(mut command: clap::Command) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    command.build();
    let mut pages = Vec::new();
    page(&command, "touchseal", &mut pages)?;
    Ok(pages)
}

fn page(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
    let named = command.clone();
    let mut text = Vec::new();
    clap_mangen::Man::new(named).render(&mut text).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("make the page of {name}: {error}"),
            "this is a bug in touchseal: please report it",
        )
    })?;
    pages.push((format!("{name}.1"), text));
    for inner in command.get_subcommands() {
        page(inner, &format!("{name}-{}", inner.get_name()), pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::definition;

    #[test]
    fn every_command_and_every_flag_has_its_page() {
        fn visit(command: &clap::Command, name: &str, pages: &[(String, Vec<u8>)], seen: &mut usize) {
            let (_, text) = pages.iter().find(|(file, _)| *file == format!("{name}.1")).expect(name);
            let text = String::from_utf8(text.clone()).unwrap().replace("\\*(Aq", "'").replace('\\', "");
            assert!(text.contains(&format!(".TH {name} 1")), "{text}");
            assert!(text.contains(&command.get_about().unwrap().to_string()), "{name}: {text}");
            for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(text.contains(&format!("--{flag}")), "{name}: no --{flag}");
            }
            assert!(command.has_subcommands() || text.contains("Examples:"), "{name}");
            *seen += 1;
            for inner in command.get_subcommands() {
                visit(inner, &format!("{name}-{}", inner.get_name()), pages, seen);
            }
        }
        let command = definition("touchseal").disable_help_subcommand(true);
        let pages = pages(command.clone()).unwrap();
        let mut seen = 0;
        visit(&command, "touchseal", &pages, &mut seen);
        assert!(seen > 30 && seen == pages.len(), "{seen} of {}", pages.len());
    }
}
