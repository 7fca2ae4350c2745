//! `touchseal keyring holders`: who opens a keyring, and when each last did.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use touchseal_crds::keyring::{Holder, KeyringStatus, UnsealRecord};
use touchseal_keyring::manifest;

use super::show::{ClusterKeyringError, policies, warning};
use crate::args::Global;
use crate::cluster::Cluster;
use crate::duration::age;
use crate::error::Failure;
use crate::manifest_file::ManifestFile;
use crate::output::{self, Format, Table};
use crate::terminal;

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
pub struct HoldersArgs {
    /// A manifest file; it does not tell when a holder was last used
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name of a keyring in the cluster
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// A holder and the newest unseal that is known of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(flatten)]
    holder: Holder,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_use: Option<Timestamp>,
}

/// Runs it.
pub fn run(args: &HoldersArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[Format::Json, Format::Yaml, Format::Wide])?;
    let (verified, status) = match (&args.file, &args.name) {
        (Some(file), _) => (ManifestFile::read(file)?.verified().clone(), None),
        (None, Some(name)) => {
            let keyring = Cluster::connect(global)?.keyring(name)?;
            let keyring = keyring.ok_or_else(|| ClusterKeyringError::Missing(name.clone()))?;
            let verified = manifest::verify(&keyring.spec)
                .map_err(|error| ClusterKeyringError::Invalid(name.clone(), error))?;
            (verified, keyring.status)
        }
        (None, None) => return Err(Failure::usage("no keyring was named", "give -f FILE or NAME")),
    };
    let rows = rows(&verified.spec().holders, status.as_ref());
    match global.output {
        Format::Table | Format::Wide => {
            output::print(&table(&rows, global.output == Format::Wide, args.name.is_some()))?;
        }
        format => return output::print(&output::machine(format, &rows)?),
    }
    if let Some(warning) = warning(&verified) {
        terminal::say(&format!("warning: {warning}"));
    }
    Ok(())
}

/// Newest unseals as the status tells them: of each holder, of all, and of each replica.
fn rows(holders: &[Holder], status: Option<&KeyringStatus>) -> Vec<Row> {
    let records = || {
        let replicas = status.into_iter().flat_map(|status| &status.replicas);
        let newest = status.and_then(|status| status.last_unseal.as_ref());
        replicas.filter_map(|replica| replica.unsealed_by.as_ref()).chain(newest)
    };
    let of = |holder: &Holder, record: &UnsealRecord| {
        let is = |serial, name: &str| serial == holder.serial && name == holder.name;
        is(record.serial, &record.holder) || record.with.iter().any(|with| is(with.serial, &with.holder))
    };
    let remembered = |holder: &Holder| {
        let uses = status.into_iter().flat_map(|status| &status.holders);
        let own = uses.filter(|one| one.holder == holder.name && one.serial == holder.serial);
        own.map(|one| one.last_used.0).max()
    };
    let row = |holder: &Holder| Row {
        last_use: records()
            .filter(|record| of(holder, record))
            .map(|record| record.at.0)
            .chain(remembered(holder))
            .max(),
        holder: holder.clone(),
    };
    holders.iter().map(row).collect()
}

fn table(rows: &[Row], wide: bool, cluster: bool) -> String {
    let mut headings = vec!["HOLDER", "YUBIKEY", "SLOT", "PIN", "TOUCH"];
    headings.extend(cluster.then_some("LAST USE"));
    headings.extend(wide.then_some("RECIPIENT"));
    let mut table = Table::new(&headings);
    for Row { holder, last_use } in rows {
        let (pin, touch) = policies(holder);
        let mut cells = vec![holder.name.clone(), holder.serial.to_string(), holder.slot.clone(), pin, touch];
        if cluster {
            let ago = last_use.map(|at| format!("{} ago", age(Some(at), Timestamp::now())));
            cells.push(ago.unwrap_or_else(|| "not known".to_owned()));
        }
        cells.extend(wide.then(|| holder.recipient.clone()));
        table.cells(cells);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;
    use serde_json::json;

    #[test]
    fn the_newest_unseal_of_each_holder_is_its_last_use() {
        let record =
            |name: &str, serial: u32, at: &str| json!({ "holder": name, "serial": serial, "at": at });
        let replica = |pod: &str, by| json!({ "pod": pod, "state": "Unsealed", "since": "2026-01-01T00:00:00Z", "unsealedBy": by });
        let status: KeyringStatus = serde_json::from_value(json!({
            "holders": [{ "holder": "dora", "serial": 4, "lastUsed": "2025-01-03T00:00:00Z" }],
            "lastUnseal": record("ben", 2, "2026-01-03T00:00:00Z"),
            "replicas": [
                replica("a", record("anna", 1, "2026-01-01T00:00:00Z")),
                replica("b", record("anna", 1, "2026-01-02T00:00:00Z")),
                replica("c", record("carl", 9, "2026-01-04T00:00:00Z")),
            ],
        }))
        .unwrap();
        let holders = [holder("anna", 1), holder("ben", 2), holder("carl", 3), holder("dora", 4)];
        let used: Vec<_> = rows(&holders, Some(&status)).into_iter().map(|row| row.last_use).collect();
        let at = |text: &str| Some(text.parse().unwrap());
        assert_eq!(
            used,
            [at("2026-01-02T00:00:00Z"), at("2026-01-03T00:00:00Z"), None, at("2025-01-03T00:00:00Z")],
            "carl's was another YubiKey"
        );
        let table = table(&rows(&holders, Some(&status)), false, true);
        assert!(table.contains("LAST USE") && table.contains("not known"), "{table}");
    }
}
