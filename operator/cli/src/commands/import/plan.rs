//! What becomes of what, and what a person does next. Names, never values.

use std::path::PathBuf;

use serde::Serialize;
use touchseal_crds::names::ADOPT_ANNOTATION;

use super::material::{InCluster, Material};
use crate::error::{Failure, one_line};
use crate::output::{self, Format, Table};
use crate::terminal::say;

/// Keys that a row shows.
const SHOWN: usize = 6;

/// One Secret, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'m> {
    namespace: &'m str,
    name: &'m str,
    #[serde(rename = "type")]
    type_: &'m str,
    from: &'m [String],
    manifest: String,
    keys: Vec<&'m str>,
    labels: &'m std::collections::BTreeMap<String, String>,
    annotations: Vec<&'m String>,
    /// Whether a Secret of the cluster is to be taken over.
    adopts: bool,
    notes: &'m [String],
}

/// The plan as text.
pub fn render(format: Format, materials: &[Material], places: &[PathBuf]) -> Result<String, Failure> {
    let rows: Vec<Row<'_>> = materials.iter().zip(places).map(|(one, place)| row(one, place)).collect();
    if !matches!(format, Format::Table | Format::Wide) {
        return output::machine(format, &rows);
    }
    let mut table = Table::new(&["SECRET", "TYPE", "FROM", "KEYS", "MANIFEST"]);
    for row in &rows {
        let shown = if format == Format::Wide { row.keys.len() } else { SHOWN };
        let more = row.keys.len().saturating_sub(shown);
        let mut keys = row.keys.iter().take(shown).copied().collect::<Vec<_>>().join(", ");
        if more > 0 {
            keys.push_str(&format!(" and {more} more"));
        }
        let secret = format!("{}/{}", row.namespace, row.name);
        table.row([secret, row.type_.to_owned(), row.from.join(", "), keys, row.manifest.clone()]);
    }
    Ok(table.render())
}

fn row<'m>(material: &'m Material, place: &std::path::Path) -> Row<'m> {
    Row {
        namespace: &material.namespace,
        name: &material.name,
        type_: material.secret_type.as_deref().unwrap_or("Opaque"),
        from: &material.from,
        manifest: shown(place),
        keys: material.keys().collect(),
        labels: &material.labels,
        annotations: material.annotations.keys().collect(),
        adopts: material.cluster == InCluster::Yes,
        notes: &material.notes,
    }
}

pub fn tell_left_out(left_out: &[(String, String)]) {
    for (which, why) in left_out {
        say(&format!("left out: {}: {}", one_line(which), one_line(why)));
    }
}

pub fn tell_notes(materials: &[Material]) {
    for material in materials {
        for note in &material.notes {
            say(&format!("note: {}: {}", material.label(), one_line(note)));
        }
    }
}

/// What is left to be done, in the order it is done in.
pub fn tell_next(materials: &[Material], places: &[PathBuf], dry_run: bool) {
    if dry_run {
        say("nothing was written; leave --dry-run out to write the manifests");
        return;
    }
    say("Next:");
    for material in materials.iter().filter(|one| one.cluster != InCluster::Unknown) {
        let when = if material.cluster == InCluster::Yes { "" } else { ", where the cluster has it" };
        say(&format!(
            "  let it be taken over{when}: kubectl annotate secret {name} -n {namespace} {ADOPT_ANNOTATION}={name}",
            name = material.name,
            namespace = material.namespace
        ));
    }
    let files: Vec<String> = places.iter().map(|place| shown(place)).collect();
    say(&format!("  commit and apply: {}", files.join(" ")));
    let mut plain: Vec<String> =
        materials.iter().flat_map(|one| &one.plain).map(|path| shown(path)).collect();
    plain.sort();
    plain.dedup();
    if !plain.is_empty() {
        say(&format!("  delete, when the Secrets are Ready: {}", plain.join(" ")));
        say(
            "  who could read these files has their values, in every commit and copy: touchseal audit git finds those in git; \
             exchange them, and follow that with touchseal incident open",
        );
    }
}

fn shown(path: &std::path::Path) -> String {
    let shown = path.display().to_string();
    one_line(shown.strip_prefix("./").unwrap_or(&shown))
}
