//! `touchseal keyring rotate`: a new key generation, endorsed by the one before, which goes on opening what it opened.

use touchseal_keyring::manifest;

use super::change::{Change, ChangeArgs, ChangeError};
use super::pgp_key;
use crate::args::Global;
use crate::duration::now;
use crate::error::Failure;
use crate::secret_input::PinSource;
use crate::{local_keys, output, terminal};

#[derive(clap::Args, Debug)]
pub struct RotateArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs it.
pub fn run(args: &RotateArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    let change = Change::begin(&args.change.file, args.change.yes, args.change.dry_run)?;
    let before = change.manifest();
    let old = before.active_generation();
    change.accept()?;
    let holders = pgp_key::renewed(&before.spec().holders)?;
    let open = change.open(args.change.serial, &mut PinSource::new(&args.change.pin))?;
    let (spec, both) = manifest::rotate_for(before, &open, holders, &now()).map_err(ChangeError::Edit)?;
    open.seal();
    let (name, file) = (change.name().to_owned(), change.path().display().to_string());
    if change.end(&spec)? {
        local_keys::remember_known(&both)?;
        terminal::say(&format!("{file} rewritten: generation {} is the active one", old + 1));
    }
    both.seal();
    terminal::say(&next_steps(&name, &file, old));
    Ok(())
}

/// The order in which nothing stops working.
pub fn next_steps(name: &str, file: &str, old: u32) -> String {
    let new = old + 1;
    format!(
        "\nWhat generation {old} encrypted goes on opening. Next, in this order:\n\
         \x20 git commit, kubectl apply -f {file}\n\
         \x20     the operator drops its keys and asks: Secrets stay as they are meanwhile\n\
         \x20 touchseal unseal --keyring {name}\n\
         \x20     generation {new} is wrapped to holders only, so one of them releases it\n\
         \x20 touchseal recipients -f {file} --for NAMESPACE --sops-yaml\n\
         \x20     for each namespace that creation rules name\n\
         \x20 touchseal rekey DIR\n\
         \x20     then commit and apply the tree\n\
         \x20 touchseal keyring retire {old} -f {file} --tree DIR\n\
         \x20     refuses while anything needs generation {old}, and says what\n\
         It may be left at any of these steps for as long as you like."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_steps_fit_a_terminal() {
        let text = next_steps("prod", "prod.keyring.yaml", 1);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("keyring retire 1 ") && text.contains("generation 2 is wrapped"), "{text}");
    }
}
