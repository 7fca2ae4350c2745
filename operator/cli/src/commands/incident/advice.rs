//! What a person does next about what an incident lists: by the kind of credential, and by how far its rotation is, where
//! the EncryptedSecrets could be read. Pure words.

use std::collections::BTreeMap;

use jiff::Timestamp;
use touchseal_crds::EncryptedSecret;
use touchseal_crds::incident::{Remaining, RemainingState};
use touchseal_crds::rotation::RotationClass;

use super::scope::Safe;
use crate::commands::rotation::{Leave, Roll, begin, revoke, roll_of, under_way};

/// What is known of the EncryptedSecrets.
#[derive(Debug)]
pub struct Advice<'a> {
    objects: BTreeMap<(&'a str, &'a str), &'a EncryptedSecret>,
    exposed_at: Timestamp,
    now: Timestamp,
}

impl<'a> Advice<'a> {
    /// For an incident of that moment. Without objects it is general.
    pub fn new(objects: &'a [EncryptedSecret], exposed_at: Timestamp, now: Timestamp) -> Self {
        let place = |object: &'a EncryptedSecret| {
            Some((object.metadata.namespace.as_deref()?, object.metadata.name.as_deref()?))
        };
        let objects = objects.iter().filter_map(|object| Some((place(object)?, object))).collect();
        Self { objects, exposed_at, now }
    }

    /// What to do about something that remains.
    pub fn next_step(&self, entry: &Remaining) -> String {
        let object = self.objects.get(&(entry.namespace.as_str(), entry.name.as_str())).copied();
        let keys = object.and_then(|object| object.status.as_ref()).map(|status| status.keys.as_slice());
        let key = keys.unwrap_or_default().iter().find(|key| key.name == entry.key);
        let class = object.and_then(class);
        let roll = object.map_or(Roll::None, |object| roll_of(object, key, self.now));
        match entry.state {
            RemainingState::Removed => "revoke it at its service, then accept it with the reason".to_owned(),
            RemainingState::Unknown => {
                "find out which pods hold the old value; revoke it when none does, then accept it".to_owned()
            }
            RemainingState::Draining => match roll {
                Roll::Draining { .. } | Roll::Refreshing => under_way(class, &roll),
                _ => under_way(class, &Roll::Draining { pods: 0, leave: Leave::Restart }),
            },
            RemainingState::Exposed if entry.since.0 > self.exposed_at => {
                let why = match key {
                    Some(key) if key.replaced => "earlier values are forgotten, and this may be one of them",
                    Some(_) => "first served after the exposure, and nobody knows how old it was then",
                    None => "nobody knows how old it is",
                };
                format!("{why}: accept it if it is really new, otherwise {}", begin(class))
            }
            RemainingState::Exposed => match before_it(class, &roll) {
                Some(first) => format!("first {first}; then {}", begin(class)),
                None => begin(class).to_owned(),
            },
        }
    }
}

/// What the service and the pods are to be done with before there is a place for another value: of two keys or users both
/// are taken while pods hold the older one.
fn before_it(class: Option<RotationClass>, roll: &Roll) -> Option<String> {
    match (class, roll) {
        (
            Some(RotationClass::DualKey | RotationClass::SwitchOver),
            Roll::Draining { .. } | Roll::Refreshing | Roll::Unknown,
        ) => Some(format!("end the rotation under way ({})", under_way(class, roll))),
        (Some(RotationClass::DualKey), Roll::Drained(_)) => {
            Some("delete the first key at the service, if it is still there".to_owned())
        }
        _ => None,
    }
}

/// What to do about the old value of something that is safe.
pub fn revocation(safe: &Safe<'_>) -> &'static str {
    match revoke(class(safe.object)) {
        "" => "nothing: the reset ended the old value",
        words => words,
    }
}

fn class(object: &EncryptedSecret) -> Option<RotationClass> {
    object.spec.rotation.as_ref()?.class
}

#[cfg(test)]
#[path = "advice_tests.rs"]
mod tests;
