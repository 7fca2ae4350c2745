//! `touchseal keyring show`: what a manifest says, after verifying it.

use std::path::PathBuf;

use serde_json::{Value, json};
use touchseal_crds::keyring::{Holder, KeyringStatus};
use touchseal_keyring::{VerifiedManifest, manifest};

use super::counts;
use crate::args::Global;
use crate::cluster::Cluster;
use crate::error::{Exit, Explain, Failure};
use crate::manifest_file::ManifestFile;
use crate::output::{self, Format, Table};

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
pub struct ShowArgs {
    /// A manifest file
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name of a keyring in the cluster
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Why a keyring of the cluster cannot be shown or used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterKeyringError {
    /// There is none of that name.
    #[error("keyring {0} does not exist on this cluster")]
    Missing(String),
    /// Its manifest does not verify.
    #[error("verify keyring {0} of the cluster")]
    Invalid(String, #[source] touchseal_keyring::ManifestError),
}

impl Explain for ClusterKeyringError {
    fn hint(&self) -> String {
        match self {
            Self::Missing(_) => "kubectl get keyrings lists those there are; check --context".to_owned(),
            Self::Invalid(..) => "somebody changed it: apply the last version from git that verifies \
                                  (touchseal keyring show -f FILE)"
                .to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Missing(_) => Exit::Failed,
            Self::Invalid(..) => Exit::Refused,
        }
    }
}

/// Fetches and verifies a keyring of the cluster.
pub fn fetch(cluster: &Cluster, name: &str) -> Result<VerifiedManifest, Failure> {
    Ok(fetch_with_status(cluster, name)?.0)
}

/// The same with what the operator says of it.
pub fn fetch_with_status(
    cluster: &Cluster,
    name: &str,
) -> Result<(VerifiedManifest, KeyringStatus), Failure> {
    let keyring = cluster.keyring(name)?.ok_or_else(|| ClusterKeyringError::Missing(name.to_owned()))?;
    let verified = manifest::verify(&keyring.spec);
    let verified = verified.map_err(|error| ClusterKeyringError::Invalid(name.to_owned(), error))?;
    Ok((verified, keyring.status.unwrap_or_default()))
}

/// Runs it.
pub fn run(args: &ShowArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml, Format::Wide, Format::Name])?;
    let (name, verified, status) = match (&args.file, &args.name) {
        (Some(file), _) => {
            let file = ManifestFile::read(file)?;
            (file.name().to_owned(), file.verified().clone(), None)
        }
        (None, Some(name)) => {
            let (verified, status) = fetch_with_status(&Cluster::connect(global)?, name)?;
            (name.clone(), verified, Some(status))
        }
        (None, None) => return Err(Failure::usage("no keyring was named", "give -f FILE or NAME")),
    };
    match global.output {
        Format::Table | Format::Wide => {
            output::print(&text(&name, &verified, status.as_ref(), global.output == Format::Wide))
        }
        Format::Name => output::print(&format!("keyring.touchseal.dev/{name}\n")),
        format => output::print(&output::machine(format, &value(&name, &verified, status.as_ref()))?),
    }
}

fn text(name: &str, manifest: &VerifiedManifest, status: Option<&KeyringStatus>, wide: bool) -> String {
    let spec = manifest.spec();
    let mut out = format!(
        "keyring      {name}\nfingerprint  {}\nid           {}\nrevision     {}\nverified     signature and chain hold\n\n",
        manifest.fingerprint(),
        manifest.id(),
        spec.revision
    );
    if let Some(quorum) = spec.quorum {
        let all = spec.holders.len();
        out = out.replacen("\n\n", &format!("\nquorum       {quorum} of {all} holders open it\n\n"), 1);
    }
    if let Some(span) = &spec.seal_after {
        let line = format!("\nseals itself {span} after a holder's release\n\n");
        out = out.replacen("\n\n", &line, 1);
    }
    if manifest.enrols_in_an_emergency() {
        let line = "\nemergency    an unsealed operator enrols a holder for an administrator\n\n";
        out = out.replacen("\n\n", line, 1);
    }
    if manifest.seals_on_key_removal() {
        out = out.replacen("\n\n", "\npulled       a node's YubiKey that is pulled seals it\n\n", 1);
    }
    let mut holders = Table::new(&["HOLDER", "YUBIKEY", "SLOT", "PIN", "TOUCH", "RECIPIENT"]);
    for holder in &spec.holders {
        let (pin, touch) = policies(holder);
        let recipient = if wide { holder.recipient.clone() } else { short(&holder.recipient) };
        holders.row([
            holder.name.clone(),
            holder.serial.to_string(),
            holder.slot.clone(),
            pin,
            touch,
            recipient,
        ]);
    }
    out.push_str(&holders.render());
    out.push('\n');
    // How many documents need each is known in a cluster only.
    let mut headings = vec!["GENERATION", "STATE", "CREATED"];
    headings.extend(status.map(|_| "NEEDED BY"));
    let mut generations = Table::new(&headings);
    for generation in &spec.generations {
        let state = format!("{:?}", generation.state);
        let mut row = vec![generation.number.to_string(), state, generation.created_at.clone()];
        row.extend(status.map(|status| counts::needed_by(status, generation.number)));
        generations.cells(row);
    }
    out.push_str(&generations.render());
    if let Some(unclear) = status.and_then(counts::unclear) {
        out.push_str(&format!("\n{unclear}\n"));
    }
    if let Some(warning) = warning(manifest) {
        out.push_str(&format!("\nwarning: {warning}\n"));
    }
    out
}

/// What is wrong with a valid keyring.
pub fn warning(manifest: &VerifiedManifest) -> Option<String> {
    manifest::single_holder(manifest.spec()).map(|(_, message)| message)
}

fn value(name: &str, manifest: &VerifiedManifest, status: Option<&KeyringStatus>) -> Value {
    let spec = manifest.spec();
    let generations: Vec<_> = spec
        .generations
        .iter()
        .map(|entry| json!({ "number": entry.number, "state": entry.state, "createdAt": entry.created_at }))
        .collect();
    let mut value = json!({
        "name": name,
        "fingerprint": manifest.fingerprint().to_string(),
        "id": manifest.id().to_string(),
        "revision": spec.revision,
        "holders": spec.holders,
        "quorum": spec.quorum.unwrap_or(1),
        "sealAfter": spec.seal_after,
        "onKeyRemoval": spec.on_key_removal,
        "emergencyEnrolment": spec.emergency_enrolment,
        "generations": generations,
        "warnings": warning(manifest).into_iter().collect::<Vec<_>>(),
    });
    if let Some(status) = status {
        value["documents"] = json!(status.documents);
        value["documentsUnclear"] = json!(status.documents_unclear);
    }
    value
}

/// Its policies in words, PIN then touch.
pub fn policies(holder: &Holder) -> (String, String) {
    let pin = holder.pin_policy.map(|policy| format!("{policy:?}").to_lowercase());
    let touch = holder.touch_policy.map(|policy| format!("{policy:?}").to_lowercase());
    (pin.unwrap_or_else(|| "unknown".into()), touch.unwrap_or_else(|| "unknown".into()))
}

fn short(recipient: &str) -> String {
    match recipient.char_indices().nth(24) {
        Some((at, _)) => format!("{}...", &recipient[..at]),
        None => recipient.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;

    fn keyring(holders: Vec<Holder>) -> VerifiedManifest {
        manifest::verify(&manifest::create(holders, "2026-01-01T00:00:00Z").unwrap().0).unwrap()
    }

    #[test]
    fn one_yubikey_is_too_few() {
        assert!(warning(&keyring(vec![holder("anna", 1)])).is_some());
        let mut twice = holder("anna-again", 2);
        twice.serial = 1;
        assert!(warning(&keyring(vec![holder("anna", 1), twice])).is_some());
        assert_eq!(warning(&keyring(vec![holder("anna", 1), holder("ben", 2)])), None);
        let quorum = |count: u32| {
            let holders = (1..=count).map(|serial| holder(&format!("h{serial}"), serial)).collect();
            manifest::verify(&manifest::create_with(holders, Some(2), "2026-01-01T00:00:00Z").unwrap().0)
                .unwrap()
        };
        assert!(warning(&quorum(2)).is_some_and(|said| said.contains("all 2 YubiKeys are needed")));
        assert_eq!(warning(&quorum(3)), None);
        assert!(text("main", &quorum(3), None, false).contains("\nquorum       2 of 3 holders open it\n"));
    }

    #[test]
    fn the_text_names_what_people_compare() {
        let manifest = keyring(vec![holder("anna", 1)]);
        let text = text("main", &manifest, None, false);
        assert!(
            text.contains(&manifest.fingerprint().to_string()) && text.contains("warning: only YubiKey 1"),
            "{text}"
        );
    }
}
