//! `touchseal recipients`: what authors of a namespace encrypt to; offline with a YubiKey, or as the cluster published it.

use std::path::PathBuf;

use serde::Serialize;
use touchseal_crds::RecipientSpec;
use touchseal_keyring::VerifiedManifest;

use super::keyring::fetch;
use crate::args::Global;
use crate::cluster::Cluster;
use crate::creation_rules::{self, Rule};
use crate::error::{Exit, Explain, Failure};
use crate::files::{self, Existing};
use crate::known::Store;
use crate::local_keys;
use crate::manifest_file::ManifestFile;
use crate::output::{self, Format, Table};
use crate::published::{self, NotDerived};
use crate::secret_input::{PinArgs, PinSource};
use crate::{card, terminal};

const MAX_RULES_BYTES: u64 = 1024 * 1024;

#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("source").args(["file", "keyring"]).required(true))]
pub struct RecipientsArgs {
    /// The keyring's manifest
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name of a keyring in the cluster
    #[arg(long, value_name = "NAME")]
    keyring: Option<String>,
    /// Namespaces, separated by commas
    #[arg(long = "for", value_name = "NAMESPACE", value_delimiter = ',', required = true)]
    namespaces: Vec<String>,
    /// Read what the operator published in the cluster: no YubiKey needed
    #[arg(long, requires = "keyring", conflicts_with = "file")]
    published: bool,
    /// Write them as creation rules into this file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = ".sops.yaml")]
    sops_yaml: Option<PathBuf>,
    /// Which files a namespace's rule is for; {namespace} stands for its name
    #[arg(long, value_name = "TEMPLATE", default_value = creation_rules::DEFAULT_PATH_REGEX)]
    path_regex: String,
    /// Serial number of the YubiKey, with several plugged in
    #[arg(long, value_name = "NUMBER")]
    serial: Option<u32>,
    #[command(flatten)]
    pin: PinArgs,
    /// Accept a keyring not seen before without asking
    #[arg(long)]
    yes: bool,
}

/// The recipients of one namespace.
#[derive(Debug, Serialize)]
struct Row {
    namespace: String,
    keyring: String,
    #[serde(flatten)]
    spec: RecipientSpec,
}

/// Why there is nothing to encrypt to.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no name of a namespace")]
struct NotANamespace(String);

impl Explain for NotANamespace {
    fn hint(&self) -> String {
        "use lower-case letters, digits and -, as kubectl get namespaces shows them".to_owned()
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Runs it.
pub fn run(args: &RecipientsArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml, Format::Wide])?;
    if let Some(bad) = args.namespaces.iter().find(|namespace| !is_label(namespace)) {
        return Err(NotANamespace(bad.clone()).into());
    }
    let rows = if args.published { as_published(args, global)? } else { derived(args, global)? };
    if let Some(path) = &args.sops_yaml {
        write_rules(path, &rows, &args.path_regex)?;
        return Ok(());
    }
    match (global.output, rows.as_slice()) {
        (Format::Table, [only]) => output::print(&format!("{}\n", only.spec.recipient)),
        (Format::Table | Format::Wide, _) => output::print(&table(&rows)),
        (format, _) => output::print(&output::machine(format, &rows)?),
    }
}

/// What the operator wrote; the keyring is judged as one of the cluster's.
fn as_published(args: &RecipientsArgs, global: &Global) -> Result<Vec<Row>, Failure> {
    let cluster = Cluster::connect(global)?;
    let keyring = args.keyring.clone().unwrap_or_default();
    let manifest = published::honest(&keyring, cluster.keyring(&keyring)?)?;
    Store::open()?.accept(Some(cluster.server()), &keyring, &manifest, args.yes)?;
    let row = |namespace: &String| {
        let spec = published::recipient(&cluster, &keyring, &manifest, namespace)?;
        Ok(Row { namespace: namespace.clone(), keyring: keyring.clone(), spec })
    };
    args.namespaces.iter().map(row).collect()
}

/// One operation of the YubiKey, whatever the number of namespaces.
fn derived(args: &RecipientsArgs, global: &Global) -> Result<Vec<Row>, Failure> {
    let (name, server, manifest): (String, Option<String>, VerifiedManifest) =
        match (&args.file, &args.keyring) {
            (Some(path), _) => {
                let file = ManifestFile::read(path)?;
                (file.name().to_owned(), None, file.verified().clone())
            }
            (None, name) => {
                let (cluster, name) = (Cluster::connect(global)?, name.clone().unwrap_or_default());
                let manifest = fetch(&cluster, &name)?;
                (name, Some(cluster.server().to_owned()), manifest)
            }
        };
    Store::open()?.accept(server.as_deref(), &name, &manifest, args.yes)?;
    let open = card::unlock(&name, &manifest, args.serial, &mut PinSource::new(&args.pin))?;
    let rows = args
        .namespaces
        .iter()
        .map(|namespace| {
            let spec = open.recipient_spec(namespace).map_err(NotDerived::of(namespace))?;
            local_keys::remember(&manifest, namespace, &spec);
            Ok(Row { namespace: namespace.clone(), keyring: name.clone(), spec })
        })
        .collect::<Result<_, NotDerived>>()?;
    open.seal();
    Ok(rows)
}

fn write_rules(path: &std::path::Path, rows: &[Row], template: &str) -> Result<(), Failure> {
    let rules: Vec<Rule> = rows
        .iter()
        .map(|row| Rule {
            keyring: row.keyring.clone(),
            namespace: row.namespace.clone(),
            path_regex: template.replace("{namespace}", &row.namespace),
            recipient: row.spec.recipient.clone(),
            previous: row.spec.generations.iter().skip(1).map(|old| old.recipient.clone()).collect(),
        })
        .collect();
    let before = if path.exists() { Some(files::read_text(path, MAX_RULES_BYTES)?) } else { None };
    let after = creation_rules::merge(before.as_deref().unwrap_or_default(), &rules)?;
    if before.as_deref() == Some(after.as_str()) {
        terminal::say(&format!("{} is up to date", path.display()));
        return Ok(());
    }
    files::write(path, &after, Existing::Replace, false)?;
    terminal::say(&format!("{} written; files encrypted before need: touchseal rekey FILE", path.display()));
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new(&["NAMESPACE", "KEY", "RECIPIENT"]);
    for row in rows {
        table.row([row.namespace.clone(), row.spec.key_generation.to_string(), row.spec.recipient.clone()]);
    }
    table.render()
}

/// A DNS label (RFC 1123).
fn is_label(name: &str) -> bool {
    name.len() <= 63 && !name.contains('.') && super::keyring::is_object_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_labels() {
        assert!(is_label("shop-1"));
        for bad in ["", "a.b", "Shop", "a/b", &"a".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
    }
}
