//! What a person does next about one Secret key: pure words, by the kind of credential and by how far its rotation is.

use touchseal_crds::rotation::RotationClass;

use super::state::{Due, Leave, Roll, State};

/// One line, without a capital and a full stop; empty when there is nothing to do.
pub fn next_step(class: Option<RotationClass>, state: &State) -> String {
    match state.not_served.as_deref() {
        Some("Sealed") => return "not served (Sealed): touchseal unseal".to_owned(),
        Some(reason) => return format!("not served ({reason}): see kubectl describe esec"),
        None => {}
    }
    if state.rolled_back {
        return "an older document is served: commit the newest one, or encrypt this one anew; revoke nothing before"
            .to_owned();
    }
    match &state.roll {
        Roll::Draining { .. } | Roll::Refreshing | Roll::Unknown => {
            waits(&state.roll, &last_step(class, state))
        }
        // One rotation is brought to its end before the next one begins.
        Roll::Drained(_) | Roll::None => {
            let next = state.due.map(|due| {
                let when = if due == Due::Overdue { "overdue" } else { "due soon" };
                format!("{when}: {}", begin(class))
            });
            let steps: Vec<String> = revocable(class, state).into_iter().chain(next).collect();
            steps.join("; then ")
        }
    }
}

/// What may be revoked now, as a step; None where there is nothing.
pub fn revocable(class: Option<RotationClass>, state: &State) -> Option<String> {
    let Roll::Drained(at) = &state.roll else { return None };
    if state.not_served.is_some() || state.rolled_back {
        return None;
    }
    match (&state.only, revoke(class)) {
        // It is not the value before the present one.
        (Some(only), _) if class != Some(RotationClass::InPlaceReset) => Some(revoke_only(only)),
        (_, "") => None,
        (_, step) => Some(format!("old value drained {}: {step}", at.0.strftime("%Y-%m-%d %H:%M UTC"))),
    }
}

fn last_step(class: Option<RotationClass>, state: &State) -> String {
    match &state.only {
        Some(only) if class != Some(RotationClass::InPlaceReset) => format!("then {}", revoke_only(only)),
        _ => then(class).to_owned(),
    }
}

fn revoke_only(only: &str) -> String {
    format!("revoke only {only}: the value in use was served before")
}

/// What a rotation that is under way waits for; empty for one that is not.
pub fn under_way(class: Option<RotationClass>, roll: &Roll) -> String {
    waits(roll, then(class))
}

fn waits(roll: &Roll, then: &str) -> String {
    match roll {
        Roll::Draining { pods, leave } => {
            let (who, their, them) = match pods {
                0 => ("pods hold".to_owned(), "their", "them"),
                1 => ("1 pod holds".to_owned(), "its", "it"),
                many => (format!("{many} pods hold"), "their", "them"),
            };
            let how = match leave {
                Leave::Rollout => format!("wait for {their} restart"),
                Leave::Restart => format!("restart {them}"),
                Leave::PointAt(name) => format!("point {their} pod template at Secret {name}"),
            };
            format!("{who} the old value: {how}, {then}")
        }
        Roll::Refreshing => format!("mounted files are being refreshed: wait, {then}"),
        Roll::Unknown => {
            "nobody knows which pods hold the old value: let the operator list and watch pods, or look yourself".to_owned()
        }
        Roll::Drained(_) | Roll::None => String::new(),
    }
}

/// How a rotation begins.
pub const fn begin(class: Option<RotationClass>) -> &'static str {
    match class {
        Some(RotationClass::DualKey) => {
            "make a second key at the service and commit it; keep the first for now"
        }
        Some(RotationClass::SwitchOver) => "give the idle user a new password and commit that user",
        Some(RotationClass::InPlaceReset) => "reset it at the service and commit the new value at once",
        Some(RotationClass::DeployBeforeRevoke) => {
            "issue the new one and commit it; the old one stays valid for now"
        }
        None => "make a new value and commit it; revoke the old one only once it is left",
    }
}

/// What follows when the last pod has left.
const fn then(class: Option<RotationClass>) -> &'static str {
    match class {
        Some(RotationClass::DualKey) => "then delete the first key",
        Some(RotationClass::SwitchOver) => "then lock the user that was left",
        Some(RotationClass::InPlaceReset) => "consumers fail until then",
        Some(RotationClass::DeployBeforeRevoke) => "only then revoke the old one",
        None => "then revoke the old value",
    }
}

/// What to do once it has. Nobody tells Touchseal that it was done, so it says "if".
pub const fn revoke(class: Option<RotationClass>) -> &'static str {
    match class {
        Some(RotationClass::DualKey) => "delete the first key at the service if that is not done",
        Some(RotationClass::SwitchOver) => {
            "lock the user that was left, or change its password, if that is not done"
        }
        // The reset itself ended the old value.
        Some(RotationClass::InPlaceReset) => "",
        Some(RotationClass::DeployBeforeRevoke) => "revoke the old one if that is not done",
        None => "revoke it if that is not done",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    const CLASSES: [Option<RotationClass>; 5] = [
        Some(RotationClass::DualKey),
        Some(RotationClass::SwitchOver),
        Some(RotationClass::InPlaceReset),
        Some(RotationClass::DeployBeforeRevoke),
        None,
    ];

    fn state(roll: Roll, due: Option<Due>) -> State {
        State { roll, due, ..State::default() }
    }

    fn drained() -> Roll {
        Roll::Drained(Time(jiff::Timestamp::UNIX_EPOCH))
    }

    /// The words that make the difference, class by class in the order of [`CLASSES`].
    fn assert_says(state: &State, words: [&str; 5]) {
        for (class, wanted) in CLASSES.into_iter().zip(words) {
            let said = next_step(class, state);
            assert!(said.contains(wanted), "{class:?}: {said:?} lacks {wanted:?}");
            assert!(!said.ends_with('.') && !said.contains('\n'), "{said:?}");
        }
        let all: BTreeSet<String> = CLASSES.into_iter().map(|class| next_step(class, state)).collect();
        assert_eq!(all.len(), if words.iter().all(|word| *word == words[0]) { 1 } else { 5 }, "{all:?}");
    }

    #[test]
    fn a_rotation_that_is_due_begins_as_its_kind_asks() {
        let begins = ["second key", "idle user", "reset it", "issue the new one", "make a new value"];
        for (due, when) in [(Due::Soon, "due soon: "), (Due::Overdue, "overdue: ")] {
            assert_says(&state(Roll::None, Some(due)), begins);
            assert!(next_step(None, &state(Roll::None, Some(due))).starts_with(when));
            // Not before the one before it has ended.
            assert_says(&state(drained(), Some(due)), begins);
            let said = CLASSES.map(|class| next_step(class, &state(drained(), Some(due))));
            let first = format!(
                "delete the first key at the service if that is not done; then {when}make a second key"
            );
            assert!(
                said[0].starts_with("old value drained 1970-01-01 00:00 UTC: ")
                    && said[0].contains(&first)
                    && said[2].starts_with(when),
                "{said:?}"
            );
        }
    }

    #[test]
    fn one_that_is_under_way_is_finished_first_whatever_is_due() {
        let ends = [
            "delete the first key",
            "lock the user",
            "consumers fail",
            "only then revoke",
            "then revoke the old value",
        ];
        for due in [None, Some(Due::Soon), Some(Due::Overdue)] {
            assert_says(&state(Roll::Draining { pods: 3, leave: Leave::Restart }, due), ends);
            assert_says(&state(Roll::Refreshing, due), ends);
        }
        let said = |pods, leave| next_step(None, &state(Roll::Draining { pods, leave }, None));
        for (pods, leave, wanted) in [
            (1, Leave::Restart, "1 pod holds the old value: restart it, then"),
            (1, Leave::Rollout, "1 pod holds the old value: wait for its restart, then"),
            (2, Leave::Restart, "2 pods hold the old value: restart them, then"),
            (2, Leave::Rollout, "2 pods hold the old value: wait for their restart"),
            (
                2,
                Leave::PointAt("db-g2".to_owned()),
                "2 pods hold the old value: point their pod template at Secret db-g2, then",
            ),
        ] {
            let said = said(pods, leave);
            assert!(said.starts_with(wanted), "{said}");
        }
    }

    #[test]
    fn a_value_that_is_in_use_again_is_not_the_old_one() {
        let only = Some("what generation 4 held".to_owned());
        for class in CLASSES.into_iter().filter(|class| *class != Some(RotationClass::InPlaceReset)) {
            for roll in [drained(), Roll::Refreshing, Roll::Draining { pods: 1, leave: Leave::Restart }] {
                let said = next_step(class, &State { only: only.clone(), ..state(roll, None) });
                let end = "revoke only what generation 4 held: the value in use was served before";
                assert!(
                    said.ends_with(end) && !said.contains("first key") && !said.contains("lock"),
                    "{said}"
                );
            }
        }
        let said = revocable(None, &State { only, ..state(drained(), None) }).unwrap();
        assert!(said.starts_with("revoke only what generation 4 held"), "{said}");
        let back = State { rolled_back: true, ..state(drained(), None) };
        assert!(next_step(None, &back).ends_with("revoke nothing before"));
        assert_eq!(revocable(None, &back), None);
        assert!(revocable(None, &state(drained(), Some(Due::Overdue))).is_some());
    }

    #[test]
    fn nothing_is_revoked_on_ignorance() {
        for class in CLASSES {
            let said = next_step(class, &state(Roll::Unknown, Some(Due::Overdue)));
            assert!(
                said.contains("nobody knows") && !said.contains("revoke") && !said.contains("delete"),
                "{said}"
            );
        }
    }

    #[test]
    fn what_was_left_is_revoked_except_where_the_reset_did_it() {
        let words = [
            "delete the first key",
            "lock the user that was left",
            "",
            "revoke the old one if",
            "old value drained 1970-01-01 00:00 UTC: revoke it if that is not done",
        ];
        assert_says(&state(drained(), None), words);
        assert_eq!(next_step(Some(RotationClass::InPlaceReset), &state(drained(), None)), "");
    }

    #[test]
    fn without_anything_to_do_nothing_is_said() {
        for class in CLASSES {
            assert_eq!(next_step(class, &State::default()), "");
        }
    }

    #[test]
    fn what_is_not_served_or_older_than_it_was_comes_first() {
        let mut state = state(Roll::Draining { pods: 3, leave: Leave::Restart }, Some(Due::Overdue));
        state.rolled_back = true;
        assert_says(&state, ["older document"; 5]);
        state.not_served = Some("Sealed".to_owned());
        assert_says(&state, ["not served (Sealed): touchseal unseal"; 5]);
        state.not_served = Some("Conflict".to_owned());
        assert_says(&state, ["not served (Conflict): see kubectl describe esec"; 5]);
    }
}
