//! EncryptedSecrets brought down to one row a Secret key: filtered, sorted, and written as every command writes.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;
use touchseal_crds::EncryptedSecret;
use touchseal_crds::encrypted_secret::KeyStatus;
use touchseal_crds::rotation::RotationClass;

use super::advice::{next_step, revocable};
use super::state::{self, Due, Roll, State, Word};
use crate::duration::{age, span};
use crate::output::Table;

/// One Secret key, or one EncryptedSecret whose keys are not known yet.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub namespace: String,
    /// Name of the EncryptedSecret.
    pub secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Time>,
    /// Pods that hold an older value of the key, or may: they are counted for an EncryptedSecret as a whole, so none only
    /// where the key has no older value that anybody could hold. Absent where nobody may know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_consumers: Option<i32>,
    /// Whose pods those are, as `Deployment/web (2)`; the first few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stale_workloads: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<RotationClass>,
    pub state: Word,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_step: String,
    #[serde(skip)]
    pub detail: State,
}

impl Row {
    /// Whether there is an old value that nobody holds any more; also where the next one is due already.
    pub fn may_be_revoked(&self) -> bool {
        revocable(self.class, &self.detail).is_some()
    }
}

/// `--sort`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Namespace, name, key
    #[default]
    Name,
    /// The oldest value first
    Age,
    /// What is due first, first; what never is, last
    Due,
    /// Most stale consumers first
    Stale,
    /// What waits most urgently for a person, first
    State,
}

/// `--filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Filter {
    /// maxAge ends soon or has ended
    Due,
    /// maxAge has ended
    Overdue,
    /// Pods hold an older value, or nobody may know
    Stale,
    /// The old value was left and may be revoked
    Revocable,
    /// Its document is not served, or is an older one
    Trouble,
    /// No maxAge is set
    Ageless,
}

/// One row a key.
pub fn rows(objects: &[EncryptedSecret], now: Timestamp) -> Vec<Row> {
    objects
        .iter()
        .flat_map(|object| match object.status.as_ref().map(|status| status.keys.as_slice()) {
            None | Some([]) => vec![row(object, None, now)],
            Some(keys) => keys.iter().map(|key| row(object, Some(key), now)).collect(),
        })
        .collect()
}

fn row(object: &EncryptedSecret, key: Option<&KeyStatus>, now: Timestamp) -> Row {
    let detail = state::of(object, key, now);
    let class = object.spec.rotation.as_ref().and_then(|rotation| rotation.class);
    let status = object.status.as_ref();
    let consumers = status.and_then(|status| status.consumers.as_ref());
    let stale = consumers.filter(|consumers| consumers.known).and_then(|consumers| consumers.stale);
    let is_held = !key.is_some_and(|key| !key.replaced || matches!(detail.roll, Roll::Drained(_)));
    let workloads = consumers.filter(|_| is_held).map(|consumers| consumers.stale_workloads.as_slice());
    let workloads = workloads.unwrap_or_default();
    Row {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        secret: object.metadata.name.clone().unwrap_or_default(),
        key: key.map(|key| key.name.clone()),
        generation: status.and_then(|status| status.secret_generation),
        since: key.map(|key| key.since.clone()),
        due: key.and_then(|key| key.due.clone()),
        stale_consumers: stale.map(|pods| if is_held { pods } else { 0 }),
        stale_workloads: workloads.iter().map(|w| format!("{}/{} ({})", w.kind, w.name, w.pods)).collect(),
        class,
        state: detail.word(),
        next_step: next_step(class, &detail),
        detail,
    }
}

/// Keeps the rows that pass any of the filters; all, without one.
pub fn filter(rows: &mut Vec<Row>, filters: &[Filter]) {
    rows.retain(|row| filters.is_empty() || filters.iter().any(|filter| passes(row, *filter)));
}

fn passes(row: &Row, filter: Filter) -> bool {
    match filter {
        Filter::Due => row.detail.due.is_some(),
        Filter::Overdue => row.detail.due == Some(Due::Overdue),
        Filter::Stale => matches!(row.detail.roll, Roll::Draining { .. } | Roll::Refreshing | Roll::Unknown),
        Filter::Revocable => row.may_be_revoked(),
        Filter::Trouble => row.detail.not_served.is_some() || row.detail.rolled_back,
        Filter::Ageless => row.key.is_some() && row.due.is_none(),
    }
}

/// Sorts; what is equal stays in the order of its names.
pub fn sort(rows: &mut [Row], by: Sort) {
    rows.sort_by(|a, b| (&a.namespace, &a.secret, &a.key).cmp(&(&b.namespace, &b.secret, &b.key)));
    match by {
        Sort::Name => {}
        Sort::Age => rows.sort_by_key(|row| absent_last(row.since.as_ref())),
        Sort::Due => rows.sort_by_key(|row| absent_last(row.due.as_ref())),
        Sort::Stale => rows.sort_by_key(|row| std::cmp::Reverse(row.stale_consumers)),
        Sort::State => rows.sort_by_key(|row| row.state),
    }
}

fn absent_last(time: Option<&Time>) -> (bool, Option<Timestamp>) {
    (time.is_none(), time.map(|time| time.0))
}

/// For people.
pub fn text(rows: &[Row], now: Timestamp, wide: bool) -> String {
    if rows.is_empty() {
        return "nothing to show\n".to_owned();
    }
    const SHORT: [&str; 8] = ["NAMESPACE", "SECRET", "KEY", "GENERATION", "AGE", "DUE", "STALE", "NEXT STEP"];
    const WIDE: [&str; 11] = [
        "NAMESPACE",
        "SECRET",
        "KEY",
        "GENERATION",
        "AGE",
        "DUE",
        "STALE",
        "STATE",
        "CLASS",
        "WORKLOADS",
        "NEXT STEP",
    ];
    let mut table = Table::new(if wide { &WIDE } else { &SHORT });
    for row in rows {
        let mut cells = vec![
            row.namespace.clone(),
            row.secret.clone(),
            row.key.clone().unwrap_or_default(),
            row.generation.map(|number| number.to_string()).unwrap_or_default(),
            age(row.since.as_ref().map(|time| time.0), now),
            row.due.as_ref().map(|due| when(due.0, now)).unwrap_or_default(),
            stale(row),
        ];
        if wide {
            cells.push(format!("{:?}", row.state));
            cells.push(row.class.map(class).unwrap_or_default().to_owned());
            cells.push(row.stale_workloads.join(", "));
        }
        cells.push(row.next_step.clone());
        table.cells(cells);
    }
    table.render()
}

/// `?` is not zero: nobody may know.
pub fn stale(row: &Row) -> String {
    match row.stale_consumers {
        Some(pods) => pods.to_string(),
        None if row.key.is_some() => "?".to_owned(),
        None => String::new(),
    }
}

/// When something ends: `in 5d`, `3h ago`.
pub fn when(ends: Timestamp, now: Timestamp) -> String {
    match ends.as_second() - now.as_second() {
        left @ 1.. => format!("in {}", span(left.unsigned_abs())),
        past => format!("{} ago", span(past.unsigned_abs())),
    }
}

/// The class as it is written in a spec.
pub const fn class(class: RotationClass) -> &'static str {
    match class {
        RotationClass::DualKey => "dualKey",
        RotationClass::SwitchOver => "switchOver",
        RotationClass::InPlaceReset => "inPlaceReset",
        RotationClass::DeployBeforeRevoke => "deployBeforeRevoke",
    }
}

/// Names as kubectl takes them, each once; with its namespace where that was not given.
pub fn names(rows: &[Row], namespace: Option<&str>) -> String {
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        let place = if namespace.is_some() { String::new() } else { format!("-n {} ", row.namespace) };
        let name = format!("{place}encryptedsecret.touchseal.dev/{}\n", row.secret);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.concat()
}

#[cfg(test)]
mod tests;
