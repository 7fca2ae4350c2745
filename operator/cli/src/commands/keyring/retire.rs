//! `touchseal keyring retire`: the master of an older key generation leaves the manifest, once nothing needs it any more:
//! no document of the tree, no creation rule, no EncryptedSecret of the cluster. What cannot be judged counts as needing it.

mod cluster;
mod need;
mod tree;

use std::collections::BTreeSet;
use std::path::PathBuf;

use touchseal_crds::keyring::GenerationState;
use touchseal_keyring::{VerifiedManifest, manifest};

use super::change::{Change, ChangeArgs, ChangeError};
use crate::args::Global;
use crate::error::{Exit, Explain, Failure};
use crate::output::Table;
use crate::secret_input::PinSource;
use crate::{local_keys, output, terminal};

use need::{Need, Own};

#[derive(clap::Args, Debug)]
pub struct RetireArgs {
    /// The key generation to retire
    #[arg(value_name = "GENERATION")]
    generation: u32,
    #[command(flatten)]
    change: ChangeArgs,
    /// A git tree whose documents must not need it: every file below; may be given several times
    #[arg(long, value_name = "DIR", required_unless_present = "no_tree")]
    tree: Vec<PathBuf>,
    /// Look at no tree: you are sure that no document anywhere needs it
    #[arg(long, conflicts_with = "tree")]
    no_tree: bool,
    /// Look at no cluster: you are sure that none uses the keyring
    #[arg(long)]
    no_cluster: bool,
    /// A namespace that plain files of the tree may be of; may be given several times
    #[arg(long, value_name = "NAMESPACE")]
    try_namespace: Vec<String>,
    /// Retire it although some things could not be judged; those that need it for certain still prevent it
    #[arg(long)]
    accept_unclear: bool,
}

/// Why it stays.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum RetireError {
    #[error("retire key generation {0}: it is the active one")]
    Active(u32),
    #[error("retire key generation {0}: it is retired already")]
    Already(u32),
    #[error("retire key generation {0}: the keyring has {1}")]
    Unknown(u32, u32),
    #[error("retire key generation {generation}: {needing} need it{}", and_unclear(*.unclear))]
    Needed { generation: u32, needing: usize, unclear: usize },
    #[error("retire key generation {generation}: of {unclear} it cannot be told whether they need it")]
    Unclear { generation: u32, unclear: usize },
}

fn and_unclear(unclear: usize) -> String {
    if unclear == 0 { String::new() } else { format!(", and of {unclear} more it cannot be told") }
}

impl Explain for RetireError {
    fn hint(&self) -> String {
        match self {
            Self::Active(_) => "add a newer one first: touchseal keyring rotate".to_owned(),
            Self::Already(_) => "there is nothing to do".to_owned(),
            Self::Unknown(..) => "touchseal keyring show -f FILE lists them".to_owned(),
            Self::Needed { .. } => {
                "nothing was changed; move them to the newer generation (touchseal recipients -f FILE --for NAMESPACE \
                 --sops-yaml, then touchseal rekey DIR), commit, apply, wait until they are Ready, and run it again"
                    .to_owned()
            }
            Self::Unclear { .. } => {
                "nothing was changed; put in order what is listed, name the namespaces of plain files with \
                 --try-namespace, or pass --accept-unclear if none of them matters"
                    .to_owned()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Needed { .. } | Self::Unclear { .. } => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

/// Runs it.
pub fn run(args: &RetireArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    let change = Change::begin(&args.change.file, args.change.yes, args.change.dry_run)?;
    let before = change.manifest();
    check(before, args.generation)?;
    let mut namespaces: BTreeSet<String> = args.try_namespace.iter().cloned().collect();
    namespaces.extend(global.namespace.clone());
    let mut needs = Vec::new();
    if !args.no_cluster {
        change.accept()?;
        let seen = cluster::look(global, change.name(), before, args.generation, args.change.yes)?;
        namespaces.extend(seen.namespaces);
        needs.extend(seen.needs);
    }
    namespaces.extend(local_keys::known_namespaces(before));
    let tree = match args.no_tree {
        true => None,
        false => Some(tree::survey(&args.tree, change.name(), namespaces)?),
    };
    // Nobody is asked for a touch for what is refused anyway: all of it that can be told without the keyring is told at once.
    let told =
        tree.iter().flat_map(|tree| tree.told(&Own::remembered(before, args.generation, &tree.namespaces)));
    refuse(&needs.iter().cloned().chain(told).collect::<Vec<_>>(), args)?;
    let open = change.open(args.change.serial, &mut PinSource::new(&args.change.pin))?;
    if let Some(tree) = tree {
        needs.extend(tree.needs(&Own::derive(&open, args.generation, &tree.namespaces)?));
        refuse(&needs, args)?;
    }
    let spec = manifest::retire(before, &open, args.generation).map_err(ChangeError::Edit)?;
    open.seal();
    for need in &needs {
        terminal::say(&format!("not judged: {}: {}", need.place, need.why));
    }
    let file = change.path().display().to_string();
    if change.end(&spec)? {
        terminal::say(&format!(
            "{file} rewritten: commit it and apply it; the operator follows without a YubiKey\n\
             git history keeps what was there: documents of generation {} and manifests that open them",
            args.generation
        ));
    }
    Ok(())
}

fn check(manifest: &VerifiedManifest, generation: u32) -> Result<(), RetireError> {
    let generations = &manifest.spec().generations;
    match generations.iter().find(|entry| entry.number == generation).map(|entry| entry.state) {
        Some(GenerationState::Retiring) => Ok(()),
        Some(GenerationState::Active) => Err(RetireError::Active(generation)),
        Some(GenerationState::Retired) => Err(RetireError::Already(generation)),
        None => Err(RetireError::Unknown(generation, manifest.active_generation())),
    }
}

/// Prints what stands in the way, and fails if it does.
fn refuse(needs: &[Need], args: &RetireArgs) -> Result<(), Failure> {
    let generation = args.generation;
    let unclear = needs.iter().filter(|need| !need.certain()).count();
    let needing = needs.len() - unclear;
    let error = match (needing, unclear) {
        (0, 0) => return Ok(()),
        (0, _) if args.accept_unclear => return Ok(()),
        (0, unclear) => RetireError::Unclear { generation, unclear },
        (needing, unclear) => RetireError::Needed { generation, needing, unclear },
    };
    let mut table = Table::new(&["WHERE", "NEEDS IT", "WHY"]);
    for need in needs {
        let certain = if need.certain() { "yes" } else { "unclear" };
        table.row([need.place.clone(), certain.to_owned(), need.why.to_string()]);
    }
    output::print(&table.render())?;
    Err(error.into())
}

#[cfg(test)]
mod tests {
    use super::need::Why;
    use super::*;
    use crate::card::testing::holder;

    const TIME: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn only_a_retiring_generation_is_retired() {
        let (spec, open) = manifest::create(vec![holder("anna", 1)], TIME).unwrap();
        let first = manifest::verify(&spec).unwrap();
        let (spec, open) = manifest::rotate(&first, &open, TIME).unwrap();
        let second = manifest::verify(&spec).unwrap();
        assert_eq!(check(&first, 1), Err(RetireError::Active(1)));
        assert_eq!(check(&second, 1), Ok(()));
        assert_eq!(check(&second, 2), Err(RetireError::Active(2)));
        assert_eq!(check(&second, 3), Err(RetireError::Unknown(3, 2)));
        let third = manifest::verify(&manifest::retire(&second, &open, 1).unwrap()).unwrap();
        assert_eq!(check(&third, 1), Err(RetireError::Already(1)));
    }

    #[test]
    fn what_is_certain_is_never_accepted_and_what_is_unclear_only_if_asked_for() {
        let args = |accept_unclear| RetireArgs {
            generation: 1,
            change: ChangeArgs {
                file: PathBuf::new(),
                serial: None,
                pin: crate::secret_input::PinArgs::default(),
                yes: false,
                dry_run: false,
            },
            tree: Vec::new(),
            no_tree: true,
            no_cluster: true,
            try_namespace: Vec::new(),
            accept_unclear,
        };
        let need = |why| Need { place: "app.yaml".to_owned(), why };
        let certain = need(Why::Recipient { namespace: "shop".to_owned() });
        let unclear = need(Why::NoNamespace);
        let exit = |needs: &[Need], accept| refuse(needs, &args(accept)).map_err(|failure| failure.exit());
        assert_eq!(exit(&[], false), Ok(()));
        assert_eq!(exit(std::slice::from_ref(&unclear), false), Err(Exit::Refused));
        assert_eq!(exit(std::slice::from_ref(&unclear), true), Ok(()));
        assert_eq!(exit(&[unclear, certain], true), Err(Exit::Refused));
    }
}
