//! `touchseal import`: plain files, Secret manifests and Secrets of the cluster become EncryptedSecret manifests. Needs no key
//! where the namespace's recipient is known. Plaintext is read into memory and written nowhere.

mod dotenv;
mod encrypted;
mod error;
mod files;
mod generator;
mod kept;
mod kind;
mod live;
mod make;
mod manifests;
mod material;
mod neighbours;
mod object;
mod plan;
mod registry;
mod settings;
mod tls;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::args::Global;
use crate::error::Failure;
use crate::files as disk;
use crate::files::Existing;
use crate::local_keys::{Identities, KeyArgs};
use crate::output::{self, Format};

use super::encrypt::{self, Consent, Targets};
use error::ImportError;
use kind::Kind;
use make::Made;
use material::Material;

#[derive(clap::Args, Debug)]
pub struct ImportArgs {
    /// Files; folders, of which the Secret manifests are taken; - for manifests on stdin
    #[arg(value_name = "FILE", required_unless_present = "from_secret")]
    files: Vec<PathBuf>,
    /// A Secret of the cluster, by its name; may be given several times
    #[arg(long, value_name = "NAME")]
    from_secret: Vec<String>,
    /// What the plain files are; default: told by their names and content
    #[arg(long = "as", value_enum, value_name = "KIND")]
    kind: Option<Kind>,
    /// Name of the EncryptedSecret and of its Secret, into which all files go; default: one for each file, called as it is
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// With --as file: the Secret key; default: the file's name
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Type of the Secret that plain files become; default: by what they are
    #[arg(long = "type", value_name = "TYPE")]
    secret_type: Option<String>,
    /// Keep the Secret when the EncryptedSecret is deleted
    #[arg(long)]
    retain: bool,
    /// Folder the manifests are written into; default: beside each file, of Secrets of the cluster the current one
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Replace manifests that are there
    #[arg(long)]
    force: bool,
    /// Show what would become of what, and write nothing; needs no recipient
    #[arg(long)]
    dry_run: bool,
    /// More age recipients to encrypt to, separated by commas
    #[arg(long, value_name = "RECIPIENT", value_delimiter = ',')]
    age: Vec<String>,
    /// Creation rules [default: SOPS_CONFIG, else .sops.yaml beside or above the manifests]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Encrypt to whomever a creation rule names, though nothing vouches for them, without asking
    #[arg(long)]
    accept_others: bool,
    #[command(flatten)]
    keys: KeyArgs,
}

/// Runs it. Nothing is written unless everything can be imported.
pub fn run(args: &ImportArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Wide, Format::Json, Format::Yaml])?;
    check(args)?;
    let namespace = global.namespace.as_deref();
    let mut found = files::gather(args, namespace)?;
    found.add(live::gather(&args.from_secret, args, global)?);
    let (materials, left_out) = (found.materials, found.left_out);
    if materials.is_empty() {
        plan::tell_left_out(&left_out);
        return Err(ImportError::Nothing.into());
    }
    for material in &materials {
        material.check()?;
    }
    let places = places(args, &materials)?;
    let (made, whom) = make_all(args, global, &materials, &places)?;
    if !args.dry_run {
        for (one, place) in made.iter().zip(&places) {
            disk::write(place, &one.text, existing(args), false)?;
        }
    }
    output::print(&plan::render(global.output, &materials, &places)?)?;
    plan::tell_left_out(&left_out);
    plan::tell_notes(&materials);
    whom.iter().for_each(|one| crate::terminal::say(one));
    plan::tell_next(&materials, &places, args.dry_run);
    Ok(())
}

fn check(args: &ImportArgs) -> Result<(), ImportError> {
    if args.key.is_some() && args.kind != Some(Kind::File) {
        return Err(ImportError::KeyAlone);
    }
    if args.key.is_some() && args.files.len() > 1 {
        return Err(ImportError::OneKey(args.files.len()));
    }
    if args.name.is_some() && args.from_secret.len() > 1 {
        return Err(ImportError::OneName(args.from_secret.len()));
    }
    if let Some(name) = args.from_secret.first() {
        args.not_plain(&format!("Secret {name}"))?;
    }
    if args.files.iter().any(|path| path == Path::new("-")) {
        args.not_plain("stdin")?;
    }
    Ok(())
}

impl ImportArgs {
    /// What comes from there is a Secret already: what is said of plain files would count for nothing.
    fn not_plain(&self, from: &str) -> Result<(), ImportError> {
        let of_plain_files = [
            ("--key", self.key.is_some()),
            ("--as", self.kind.is_some_and(|kind| kind != Kind::Secret)),
            ("--type", self.secret_type.is_some()),
        ];
        match of_plain_files.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(ImportError::NotPlain { flag, from: from.to_owned() }),
            None => Ok(()),
        }
    }
}

const fn existing(args: &ImportArgs) -> Existing {
    if args.force { Existing::Replace } else { Existing::Refuse }
}

/// Where each manifest goes. Told before any work is done for it.
fn places(args: &ImportArgs, materials: &[Material]) -> Result<Vec<PathBuf>, Failure> {
    let mut places = Vec::new();
    let mut seen = BTreeSet::new();
    for material in materials {
        let folder = args.to.as_ref().unwrap_or(&material.folder);
        let place = folder.join(format!("{}.esec.yaml", material.name));
        if !seen.insert(place.clone()) {
            return Err(ImportError::SamePlace(place).into());
        }
        disk::check_place(&place, existing(args))?;
        places.push(place);
    }
    Ok(places)
}

fn make_all(
    args: &ImportArgs,
    global: &Global,
    materials: &[Material],
    places: &[PathBuf],
) -> Result<(Vec<Made>, BTreeSet<String>), Failure> {
    if args.dry_run {
        let target = make::nobody()?;
        let made =
            materials.iter().map(|one| make::make(one, &target, args.retain)).collect::<Result<_, _>>()?;
        return Ok((made, BTreeSet::new()));
    }
    // They need not be there yet, so nobody can tell where they are but by the folder this runs in.
    let here = places.iter().map(|place| std::path::absolute(place).unwrap_or_else(|_| place.clone()));
    let keys = Identities::new(&args.keys, global, &here.collect::<Vec<_>>());
    let named = args.keys.keyring.is_some();
    let mut targets =
        Targets::new(keys, named, global.namespace.as_deref(), &args.age, args.config.as_deref());
    let mut consent = Consent::default();
    let (mut made, mut whom) = (Vec::new(), BTreeSet::new());
    for (material, place) in materials.iter().zip(places) {
        let target = targets.of_namespace_near(&material.namespace, place)?;
        whom.insert(format!("encrypted to {}", encrypt::named(&target)));
        consent.add(&target.doubtful.0, &target.doubtful.1, place);
        made.push(make::make(material, &target, args.retain)?);
    }
    consent.ask(args.accept_others)?;
    Ok((made, whom))
}
