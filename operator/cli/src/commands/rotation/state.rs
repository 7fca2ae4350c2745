//! How far each Secret key's rotation is, read off an EncryptedSecret's spec and status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Serialize;
use touchseal_crds::encrypted_secret::KeyStatus;
use touchseal_crds::rotation::{Delivery, Rollout, Rotation};
use touchseal_crds::{ConditionType, EncryptedSecret, EncryptedSecretStatus, Reason, duration};
use touchseal_plan::generation::came_with;
use touchseal_plan::incident::{GenerationRecord, left};

/// How long after the last consumer left a person is reminded to revoke, in seconds.
const REMINDED: i64 = 30 * 86_400;
/// `spec.rotation.notice` where it is not given, in seconds.
const NOTICE: i64 = 14 * 86_400;

/// What there is to say of one Secret key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Why the object is not Ready.
    pub not_served: Option<String>,
    /// Its documents are older than ones seen before.
    pub rolled_back: bool,
    /// Whether `maxAge` ends soon or has ended.
    pub due: Option<Due>,
    /// Where its last change stands.
    pub roll: Roll,
    /// The present value was served before: then this, and nothing else, may be revoked once it is left.
    pub only: Option<String>,
}

/// How `maxAge` stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It ends within the notice.
    Soon,
    /// It has ended.
    Overdue,
}

/// Where the last change of a value stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Roll {
    /// There was none, or it is long over.
    #[default]
    None,
    /// Pods hold the old value.
    Draining {
        /// How many.
        pods: i32,
        /// What makes them leave it.
        leave: Leave,
    },
    /// The kubelet has not had its time to refresh mounted files.
    Refreshing,
    /// Nobody may know.
    Unknown,
    /// The last pod has left the old value.
    Drained(Time),
}

/// What makes pods leave an old value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// A person restarts them.
    Restart,
    /// The operator restarts them.
    Rollout,
    /// Their pod template names another Secret: a restart alone changes nothing.
    PointAt(String),
}

/// One word for a table or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Word {
    NotServed,
    RolledBack,
    Draining,
    Refreshing,
    Unknown,
    Overdue,
    DueSoon,
    Drained,
    Current,
}

impl State {
    /// The most pressing of it.
    pub fn word(&self) -> Word {
        match (&self.roll, self.due) {
            _ if self.not_served.is_some() => Word::NotServed,
            _ if self.rolled_back => Word::RolledBack,
            (Roll::Draining { .. }, _) => Word::Draining,
            (Roll::Refreshing, _) => Word::Refreshing,
            (Roll::Unknown, _) => Word::Unknown,
            (_, Some(Due::Overdue)) => Word::Overdue,
            (_, Some(Due::Soon)) => Word::DueSoon,
            (Roll::Drained(_), None) => Word::Drained,
            (Roll::None, None) => Word::Current,
        }
    }
}

/// The state of one key, or with `None` of an object whose keys are not known.
pub fn of(object: &EncryptedSecret, key: Option<&KeyStatus>, now: Timestamp) -> State {
    State {
        not_served: not_served(object),
        rolled_back: is(object, ConditionType::RolledBack, "True"),
        due: key.and_then(|key| due(object.spec.rotation.as_ref(), key, now)),
        roll: roll_of(object, key, now),
        only: key.filter(|key| key.replaced && key.returned).map(|key| between(object, &key.name)),
    }
}

/// The value a key had before its present one, by the generation that held it.
pub fn between(object: &EncryptedSecret, key: &str) -> String {
    let generations = object.status.iter().flat_map(|status| &status.generations);
    let before = |number: i64| {
        let lower = generations.clone().map(|one| one.number).filter(|one| *one < number);
        lower.max().unwrap_or_else(|| number.saturating_sub(1))
    };
    let changed = generations
        .clone()
        .map(|one| (one.number, &one.changed[..], usize::try_from(one.changed_count).unwrap_or(usize::MAX)));
    match came_with(changed, key) {
        Some(number) => format!("what generation {} held", before(number)),
        None => "the value that was served in between".to_owned(),
    }
}

/// Where the last change of one key stands. A value that replaced none has nothing before it that pods could hold or that
/// could be revoked.
pub fn roll_of(object: &EncryptedSecret, key: Option<&KeyStatus>, now: Timestamp) -> Roll {
    key.filter(|key| key.replaced).map_or(Roll::None, |key| roll(object, key, now))
}

/// The reason of Ready=False at the present spec; a Secret that was served once is served all the same, so only what
/// keeps a change out counts here.
fn not_served(object: &EncryptedSecret) -> Option<String> {
    let ready = condition(object, ConditionType::Ready);
    let seen = object.status.as_ref().and_then(|status| status.observed_generation);
    match ready {
        Some(ready) if seen == object.metadata.generation => {
            (ready.status != "True").then(|| ready.reason.clone())
        }
        _ => Some("Progressing".to_owned()),
    }
}

fn due(rotation: Option<&Rotation>, key: &KeyStatus, now: Timestamp) -> Option<Due> {
    let ends = key.due.as_ref()?.0;
    let whole = ends.as_second() - key.since.0.as_second();
    let notice = rotation.and_then(|rotation| rotation.notice.as_deref()).and_then(duration::seconds);
    let notice = notice.unwrap_or(NOTICE).min(whole / 2);
    match ends.as_second() - now.as_second() {
        ..=0 => Some(Due::Overdue),
        rest if rest <= notice => Some(Due::Soon),
        _ => None,
    }
}

fn roll(object: &EncryptedSecret, key: &KeyStatus, now: Timestamp) -> Roll {
    let Some(status) = &object.status else { return Roll::None };
    let generations: Vec<GenerationRecord> = status.generations.iter().map(Into::into).collect();
    if let Some(at) = left(&generations, &key.since) {
        let recent = now.as_second() - at.0.as_second() <= REMINDED;
        return if recent { Roll::Drained(at) } else { Roll::None };
    }
    match condition(object, ConditionType::Draining) {
        Some(draining) if draining.status == "True" && draining.reason == Reason::Refreshing.as_str() => {
            Roll::Refreshing
        }
        Some(draining) if draining.status == "True" => {
            let pods = status.consumers.as_ref().and_then(|consumers| consumers.stale).unwrap_or(0);
            Roll::Draining { pods, leave: leave(object, status) }
        }
        Some(draining) if draining.status == "Unknown" => Roll::Unknown,
        _ => Roll::None,
    }
}

fn leave(object: &EncryptedSecret, status: &EncryptedSecretStatus) -> Leave {
    let rotation = object.spec.rotation.as_ref();
    let workloads = status.consumers.as_ref().map(|c| c.stale_workloads.as_slice()).unwrap_or_default();
    // What an earlier delivery left is named by a number, too.
    let only_numbered = !workloads.is_empty() && workloads.iter().all(|w| w.uses == ["immutable"]);
    let is_immutable = rotation.and_then(|rotation| rotation.delivery) == Some(Delivery::Immutable);
    match &status.secret_name {
        Some(name) if is_immutable || only_numbered => Leave::PointAt(name.clone()),
        _ if rotation.and_then(|rotation| rotation.rollout) == Some(Rollout::Restart) => Leave::Rollout,
        _ => Leave::Restart,
    }
}

/// One condition of the object.
pub fn condition(object: &EncryptedSecret, wanted: ConditionType) -> Option<&Condition> {
    object.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == wanted.as_str())
}

/// Whether a condition has this status.
pub fn is(object: &EncryptedSecret, wanted: ConditionType, status: &str) -> bool {
    condition(object, wanted).is_some_and(|condition| condition.status == status)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-06-01T00:00:00Z";

    fn object(spec: Value, status: Value) -> EncryptedSecret {
        serde_json::from_value(json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
            "metadata": { "name": "db", "namespace": "shop", "generation": 1 },
            "spec": { "documents": [], "rotation": spec }, "status": status,
        }))
        .unwrap()
    }

    fn condition(type_: &str, status: &str, reason: &str) -> Value {
        json!({ "type": type_, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-05-01T00:00:00Z" })
    }

    /// Rotated on the first of May; `draining` is what the operator says of it.
    fn rotated(draining: Option<Value>, drained: Option<&str>) -> EncryptedSecret {
        let ready = condition("Ready", "True", "Materialised");
        let conditions: Vec<Value> = std::iter::once(ready).chain(draining).collect();
        let mut before = json!({ "number": 1, "since": "2026-01-01T00:00:00Z", "changedCount": 2 });
        if let Some(drained) = drained {
            before["drained"] = json!(drained);
        }
        object(
            json!({ "rollout": "Restart" }),
            json!({
                "observedGeneration": 1, "conditions": conditions, "secretGeneration": 2,
                "keys": [{ "name": "password", "since": "2026-05-01T00:00:00Z", "replaced": true }],
                "generations": [{ "number": 2, "since": "2026-05-01T00:00:00Z", "changedCount": 1 }, before],
                "consumers": { "known": true, "current": 1, "stale": 3 },
            }),
        )
    }

    fn state(object: &EncryptedSecret) -> State {
        of(object, object.status.as_ref().unwrap().keys.first(), NOW.parse().unwrap())
    }

    #[test]
    fn a_change_is_under_way_until_the_generation_before_it_is_left() {
        let draining = |status, reason| rotated(Some(condition("Draining", status, reason)), None);
        for (object, wanted) in [
            (draining("True", "StaleConsumers"), Roll::Draining { pods: 3, leave: Leave::Rollout }),
            (draining("True", "Refreshing"), Roll::Refreshing),
            (draining("Unknown", "ConsumersUnknown"), Roll::Unknown),
            (draining("False", "Drained"), Roll::None),
            (rotated(None, None), Roll::None),
            (
                rotated(Some(condition("Draining", "True", "StaleConsumers")), Some("2026-05-02T00:00:00Z")),
                Roll::Drained(Time("2026-05-02T00:00:00Z".parse().unwrap())),
            ),
        ] {
            assert_eq!(state(&object).roll, wanted);
        }
    }

    #[test]
    fn pods_that_name_a_generation_leave_it_by_naming_another_secret() {
        let mut object = rotated(Some(condition("Draining", "True", "StaleConsumers")), None);
        let status = object.status.as_mut().unwrap();
        status.secret_name = Some("db-g2".to_owned());
        object.spec.rotation.as_mut().unwrap().delivery = Some(Delivery::Immutable);
        let to = |name: &str| Roll::Draining { pods: 3, leave: Leave::PointAt(name.to_owned()) };
        assert_eq!(state(&object).roll, to("db-g2"));

        // After a change back to InPlace: nothing but pods that name an old generation, then one that does not.
        object.spec.rotation.as_mut().unwrap().delivery = None;
        let status = object.status.as_mut().unwrap();
        status.secret_name = Some("db".to_owned());
        let workload = |uses: &str| {
            serde_json::from_value(json!({ "kind": "Deployment", "name": uses, "pods": 1, "uses": [uses] }))
        };
        let workloads = &mut status.consumers.as_mut().unwrap().stale_workloads;
        workloads.push(workload("immutable").unwrap());
        assert_eq!(state(&object).roll, to("db"));
        object
            .status
            .as_mut()
            .unwrap()
            .consumers
            .as_mut()
            .unwrap()
            .stale_workloads
            .push(workload("env").unwrap());
        assert_eq!(state(&object).roll, Roll::Draining { pods: 3, leave: Leave::Rollout });
    }

    #[test]
    fn a_key_that_replaced_nothing_has_no_old_value_to_wait_for_or_to_revoke() {
        let draining = |status, reason| rotated(Some(condition("Draining", status, reason)), None);
        for mut object in [
            draining("True", "StaleConsumers"),
            draining("True", "Refreshing"),
            draining("Unknown", "ConsumersUnknown"),
            rotated(None, Some("2026-05-02T00:00:00Z")),
        ] {
            // Neither one that was added with generation 2 nor one that was there before.
            for since in ["2026-05-01T00:00:00Z", "2026-01-01T00:00:00Z"] {
                let key = &mut object.status.as_mut().unwrap().keys[0];
                (key.replaced, key.since) = (false, Time(since.parse().unwrap()));
                assert_eq!(state(&object), State::default(), "{object:?}");
            }
        }
    }

    #[test]
    fn a_value_that_was_served_before_is_told_from_the_one_in_between() {
        let mut object = rotated(None, Some("2026-05-02T00:00:00Z"));
        assert_eq!(state(&object).only, None);
        let status = object.status.as_mut().unwrap();
        status.keys[0].returned = true;
        assert_eq!(state(&object).only.as_deref(), Some("the value that was served in between"));
        object.status.as_mut().unwrap().generations[0].changed = vec!["password".to_owned()];
        assert_eq!(state(&object).only.as_deref(), Some("what generation 1 held"));
        object.status.as_mut().unwrap().keys[0].replaced = false;
        assert_eq!(state(&object).only, None, "it went and came back, with none in between");
    }

    #[test]
    fn a_reminder_to_revoke_ends_after_a_month() {
        let object = rotated(None, Some("2026-05-02T00:00:00Z"));
        assert_eq!(state(&object).word(), Word::Drained);
        let later = "2026-06-02T00:00:00Z".parse().unwrap();
        let key = object.status.as_ref().unwrap().keys.first();
        assert_eq!(of(&object, key, later).word(), Word::Current);
    }

    #[test]
    fn due_dates_warn_in_time_and_at_most_half_way() {
        let key = |since: &str, due: &str| -> KeyStatus {
            serde_json::from_value(json!({ "name": "k", "since": since, "replaced": true, "due": due }))
                .unwrap()
        };
        let year = "2025-06-01T00:00:00Z";
        let week = Rotation { notice: Some("7d".to_owned()), ..Rotation::default() };
        for (rotation, key, wanted) in [
            (None, key(year, "2026-06-01T00:00:00Z"), Some(Due::Overdue)),
            (None, key(year, "2026-06-01T00:00:01Z"), Some(Due::Soon)),
            (None, key(year, "2026-06-15T00:00:00Z"), Some(Due::Soon)),
            (None, key(year, "2026-06-15T00:00:01Z"), None),
            (Some(&week), key(year, "2026-06-08T00:00:01Z"), None),
            (Some(&week), key(year, "2026-06-08T00:00:00Z"), Some(Due::Soon)),
            // Ten days in all: five of notice.
            (None, key("2026-05-28T00:00:00Z", "2026-06-07T00:00:00Z"), None),
        ] {
            assert_eq!(due(rotation, &key, NOW.parse().unwrap()), wanted, "{key:?}");
        }
        assert_eq!(due(None, &KeyStatus { due: None, ..key(year, year) }, NOW.parse().unwrap()), None);
    }

    #[test]
    fn an_old_ready_says_nothing_about_a_new_spec() {
        let mut object = rotated(None, None);
        assert_eq!(state(&object).not_served, None);
        object.metadata.generation = Some(2);
        assert_eq!(state(&object).word(), Word::NotServed);
        object.metadata.generation = Some(1);
        object.status.as_mut().unwrap().conditions[0].status = "False".to_owned();
        object.status.as_mut().unwrap().conditions[0].reason = "Sealed".to_owned();
        assert_eq!(state(&object).not_served.as_deref(), Some("Sealed"));
    }
}
