//! The command line as a whole: global flags, as kubectl has them, and the list of commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::duration;
use crate::examples;
use crate::output::Format;
use touchseal_keyring::proof::Operator;

macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0  done
  1  failed
  2  the command line makes no sense
  3  refused for safety: forged, changed, unconfirmed, needed, last PIN try
  4  timed out waiting
  5  lint or audit found something"
    };
}

const EXIT_CODES: &str = exit_codes!();
const AFTER_HELP: &str = concat!(
    exit_codes!(),
    "\n\nThe PIN is asked for on the terminal or read from --pin-fd or --pin-file; it is never an argument or a variable."
);

/// Secrets in git as ciphertext, in the cluster as native Secrets, released by one touch of a YubiKey.
#[derive(Debug, Parser)]
#[command(name = "touchseal", version, after_help = AFTER_HELP, max_term_width = 80)]
#[command(arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The whole definition, for a program that is called so: the long help of every command ends with examples, and with the exit
/// codes if it can fail.
pub fn definition(program: &str) -> clap::Command {
    fn tell(command: clap::Command, path: &str, program: &str) -> clap::Command {
        let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
        let is_plain = command.get_name() == "completion";
        let about = command.get_after_help().map(ToString::to_string);
        let codes = (!is_plain).then(|| EXIT_CODES.to_owned());
        let sections: Vec<String> = [Some(examples::of(path, program)), about, codes]
            .into_iter()
            .flatten()
            .filter(|one| !one.is_empty())
            .collect();
        let told = command.after_long_help(sections.join("\n\n"));
        names.into_iter().fold(told, |command, name| {
            let path = format!("{path} {name}").trim().to_owned();
            command.mut_subcommand(name, |inner| tell(inner, &path, program))
        })
    }
    let whole = tell(<Cli as clap::CommandFactory>::command(), "", program).after_long_help(AFTER_HELP);
    if program == "touchseal" { whole } else { whole.bin_name(program.to_owned()) }
}

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Name of the kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Path to the kubeconfig file
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of documents that do not say, of the manifests that wrap and import make, or of the secrets that are shown (default: all) or waited for (default: the context's)
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// How long one request to the API server may take; 0 means for ever
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub request_timeout: Duration,
    /// How results are written
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        hide_default_value = true
    )]
    pub output: Format,
    /// Log to stderr: 0 warnings, 1 information, 4 debug, 6 everything
    #[arg(
        short,
        long = "v",
        global = true,
        value_name = "LEVEL",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub verbosity: u8,
}

/// Where the operator runs.
#[derive(Args, Clone, Debug)]
pub struct OperatorArgs {
    /// Namespace the operator runs in
    #[arg(long, value_name = "NAME", default_value = touchseal_crds::names::DEFAULT_OPERATOR_NAMESPACE)]
    pub operator_namespace: String,
}

/// Which pods are the operator's.
#[derive(Args, Clone, Debug)]
pub struct AccountArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
    /// ServiceAccount the operator runs as
    #[arg(long, value_name = "NAME", default_value = touchseal_crds::names::DEFAULT_SERVICE_ACCOUNT)]
    pub service_account: String,
}

impl AccountArgs {
    /// The account whose pods hold keys, or ask for them.
    pub fn account(&self) -> Operator<'_> {
        Operator { namespace: &self.operator.operator_namespace, service_account: &self.service_account }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a keyring, enrol and remove YubiKeys, rotate and retire its keys
    Keyring {
        #[command(subcommand)]
        command: commands::keyring::Command,
    },
    /// Print the age recipients of namespaces, or write them into .sops.yaml
    Recipients(commands::recipients::RecipientsArgs),
    /// Make an EncryptedSecret manifest of sops files
    Wrap(commands::wrap::WrapArgs),
    /// Turn plain files, Secret manifests and Secrets of the cluster into EncryptedSecret manifests
    Import(commands::import::ImportArgs),
    /// Encrypt plain files, as sops does, to a namespace or by creation rules
    Encrypt(commands::encrypt::EncryptArgs),
    /// Print a document's plaintext
    Decrypt(commands::decrypt::DecryptArgs),
    /// Open a document in your editor and put it back, encrypted as before
    Edit(commands::edit::EditArgs),
    /// Check files and manifests: complete, for the right recipients, and, with a key, unchanged
    Verify(commands::verify::VerifyArgs),
    /// Find what is exposed or would not open in a tree, without a key and without a cluster
    Lint(commands::lint::LintArgs),
    /// Show what Secrets a manifest makes, by its documents and templates, without the values
    Render(commands::render::RenderArgs),
    /// Find what was public once, before it was encrypted
    Audit {
        #[command(subcommand)]
        command: commands::audit::Command,
    },
    /// Move a tree's documents to the recipients they should have, with one operation of your YubiKey
    Rekey(commands::rekey::RekeyArgs),
    /// Show how old each Secret key is, when it is due, who holds an older value, and what to do next
    Rotation(commands::rotation::RotationArgs),
    /// After a leak: follow every exposed value until nobody uses it any more
    Incident {
        #[command(subcommand)]
        command: commands::incident::Command,
    },
    /// Release the master key to every waiting replica with one operation of your YubiKey
    Unseal(commands::unseal::UnsealArgs),
    /// Make every replica drop its keys now
    Seal(commands::seal::SealArgs),
    /// Show what is sealed or unsealed, by whom, and which secrets wait
    Status(commands::status::StatusArgs),
    /// Check reader, card and cluster, and say what to do about each finding
    Doctor(commands::doctor::DoctorArgs),
    /// Print the versions of touchseal and of the operator, and say where it matters that they differ
    Version(commands::version::VersionArgs),
    /// Print a completion script for a shell
    Completion(commands::completion::CompletionArgs),
    /// Write the manual pages into a folder
    Man(commands::man::ManArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        definition("touchseal").debug_assert();
    }

    #[test]
    fn every_command_that_can_fail_says_how_it_ends() {
        fn visit(command: &mut clap::Command, told: &mut Vec<(String, bool)>) {
            let help = command.render_long_help().to_string();
            told.push((command.get_name().to_owned(), help.contains("\nExit codes:\n  0  done\n")));
            command.get_subcommands_mut().for_each(|one| visit(one, told));
        }
        let mut told = Vec::new();
        visit(&mut definition("touchseal"), &mut told);
        let silent: Vec<&str> = told
            .iter()
            .filter(|(_, says)| !says)
            .map(|(name, _)| name.as_str())
            .filter(|name| *name != "help")
            .collect();
        assert_eq!(silent, ["completion"]);
    }

    /// What is typed stays in shell histories and process lists.
    #[test]
    fn no_flag_and_no_variable_takes_a_pin() {
        fn visit(command: &clap::Command) {
            for argument in command.get_arguments() {
                assert!(argument.get_env().is_none(), "{} reads a variable", argument.get_id());
                let name = argument.get_long().unwrap_or_default();
                assert!(!["pin", "puk", "new-pin", "new-puk", "management-key"].contains(&name), "--{name}");
            }
            command.get_subcommands().for_each(visit);
        }
        visit(&Cli::command());
    }
}
