//! Ages: when each Secret key's maxAge ends, and the condition that says so in advance.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use touchseal_crds::rotation::Rotation;
use touchseal_crds::{ConditionType, EncryptedSecret, EncryptedSecretStatus, Reason, duration};

use crate::conditions::{self, Say};
use crate::decision::Notice;
use crate::entry::LedgerEntry;

/// How long before the end of maxAge it is told, unless the spec says otherwise: 14 days, at most half of maxAge.
const NOTICE: i64 = 14 * 86_400;
/// Most keys a message names.
const NAMED: usize = 8;

/// What ages come to.
#[derive(Debug, Default)]
pub struct Due {
    /// Event, where the condition begins to say something else.
    pub notice: Option<Notice>,
    /// When it will say something else by itself.
    pub again: Option<Time>,
}

/// Puts the ages into the status: `due` of each key, and RotationDue while a maxAge ends soon or has ended.
pub fn tell(
    status: &mut EncryptedSecretStatus,
    object: &EncryptedSecret,
    entry: &LedgerEntry,
    now: &Time,
) -> Due {
    let mut keys: Vec<Age<'_>> = object.spec.rotation.iter().flat_map(|r| ages(r, entry)).collect();
    keys.sort_by(|a, b| (&a.due, a.name).cmp(&(&b.due, b.name)));
    for key in &mut status.keys {
        key.due = keys.iter().find(|age| age.name == key.name).map(|age| age.due.clone());
    }
    let again = keys.iter().flat_map(|age| [&age.told, &age.due]).filter(|time| *time > now).min().cloned();
    let overdue: Vec<&Age<'_>> = keys.iter().filter(|age| age.due <= *now).collect();
    let soon: Vec<&Age<'_>> = keys.iter().filter(|age| age.told <= *now && age.due > *now).collect();
    let (reason, message) = if !overdue.is_empty() {
        (Reason::Overdue, format!("maxAge has ended for {}; rotate them", names(&overdue)))
    } else if !soon.is_empty() {
        (Reason::DueSoon, format!("maxAge ends for {}; rotate them before", names(&soon)))
    } else {
        conditions::clear(&mut status.conditions, ConditionType::RotationDue);
        return Due { notice: None, again };
    };
    let type_ = ConditionType::RotationDue;
    let told = status.conditions.iter().any(|c| c.type_ == type_.as_str() && c.reason == reason.as_str());
    let say = Say { status: "True", reason, message: &message };
    conditions::set(&mut status.conditions, status.observed_generation, type_, say, now);
    let notice = (!told).then_some(Notice { warning: true, reason, message });
    Due { notice, again }
}

/// One key whose value may not stay for ever.
struct Age<'a> {
    name: &'a str,
    due: Time,
    told: Time,
}

fn ages<'a>(rotation: &'a Rotation, entry: &'a LedgerEntry) -> impl Iterator<Item = Age<'a>> {
    let seconds = |text: &Option<String>| text.as_deref().and_then(duration::seconds);
    let general = seconds(&rotation.max_age);
    let notice = seconds(&rotation.notice).unwrap_or(NOTICE);
    entry.keys.iter().filter_map(move |(name, key)| {
        let own = rotation.keys.iter().find(|own| own.name == *name);
        let max_age = own.map_or(general, |own| duration::seconds(&own.max_age)).filter(|age| *age > 0)?;
        let due = later(&key.since, max_age);
        let told = later(&due, -notice.min(max_age / 2));
        Some(Age { name, due, told })
    })
}

/// So many seconds later; never beyond the calendar.
pub(crate) fn later(time: &Time, seconds: i64) -> Time {
    let moved = Timestamp::from_second(time.0.as_second().saturating_add(seconds));
    Time(moved.unwrap_or(Timestamp::MAX))
}

fn names(keys: &[&Age<'_>]) -> String {
    let mut named: Vec<String> =
        keys.iter().take(NAMED).map(|age| format!("{} ({})", age.name, age.due.0)).collect();
    if keys.len() > NAMED {
        named.push(format!("{} more", keys.len() - NAMED));
    }
    named.join(", ")
}

#[cfg(test)]
#[path = "due_tests.rs"]
mod tests;
