//! What a person does next about one Secret key: pure words, by the kind of credential and by how far its rotation is.

use touchseal_crds::rotation::RotationClass;

use super::state::{Due, Leave, Roll, State};

/// One line, without a capital and a full stop; empty when there is nothing to do.
pub fn next_step(class: Option<RotationClass>, state: &State) -> String {
    if let Some(reason) = &state.not_served {
        return format!("not served ({reason}): see kubectl describe esec");
    }
    if state.rolled_back {
        return "an older document is served: commit the newest one, or encrypt this one anew".to_owned();
    }
    match (&state.roll, state.due) {
        (Roll::Draining { .. } | Roll::Refreshing | Roll::Unknown, _) => under_way(class, &state.roll),
        (Roll::Drained(_), None) => revoke(class).to_owned(),
        (Roll::None, None) => String::new(),
        (Roll::Drained(_) | Roll::None, Some(due)) => {
            let when = if due == Due::Overdue { "overdue" } else { "due soon" };
            format!("{when}: {}", begin(class))
        }
    }
}

/// What a rotation that is under way waits for; empty for one that is not.
pub fn under_way(class: Option<RotationClass>, roll: &Roll) -> String {
    match roll {
        Roll::Draining { pods, leave } => {
            let who = match pods {
                0 => "pods hold".to_owned(),
                1 => "1 pod holds".to_owned(),
                many => format!("{many} pods hold"),
            };
            let how = match leave {
                Leave::Rollout => "wait for their restart".to_owned(),
                Leave::Restart => "restart them".to_owned(),
                Leave::PointAt(name) => format!("point their pod templates at Secret {name}"),
            };
            format!("{who} the old value: {how}, {}", then(class))
        }
        Roll::Refreshing => format!("mounted files are being refreshed: wait, {}", then(class)),
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
        Some(RotationClass::SwitchOver) => "then lock the user they left",
        Some(RotationClass::InPlaceReset) => "they fail until then",
        Some(RotationClass::DeployBeforeRevoke) => "only then revoke the old one",
        None => "then revoke the old value",
    }
}

/// What to do once it has.
pub const fn revoke(class: Option<RotationClass>) -> &'static str {
    match class {
        Some(RotationClass::DualKey) => "delete the first key at the service now",
        Some(RotationClass::SwitchOver) => "lock the user that was left, or change its password, now",
        // The reset itself ended the old value.
        Some(RotationClass::InPlaceReset) => "",
        Some(RotationClass::DeployBeforeRevoke) => "revoke the old one now",
        None => "revoke the old value now",
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
        for roll in [Roll::None, drained()] {
            for (due, when) in [(Due::Soon, "due soon: "), (Due::Overdue, "overdue: ")] {
                assert_says(&state(roll.clone(), Some(due)), begins);
                assert!(next_step(None, &state(roll.clone(), Some(due))).starts_with(when));
            }
        }
    }

    #[test]
    fn one_that_is_under_way_is_finished_first_whatever_is_due() {
        let ends = [
            "delete the first key",
            "lock the user",
            "they fail",
            "only then revoke",
            "then revoke the old value",
        ];
        for due in [None, Some(Due::Soon), Some(Due::Overdue)] {
            assert_says(&state(Roll::Draining { pods: 3, leave: Leave::Restart }, due), ends);
            assert_says(&state(Roll::Refreshing, due), ends);
        }
        let said = |pods, leave| next_step(None, &state(Roll::Draining { pods, leave }, None));
        for (pods, leave, wanted) in [
            (1, Leave::Restart, "1 pod holds the old value: restart"),
            (2, Leave::Restart, "2 pods hold the old value: restart"),
            (2, Leave::Rollout, "2 pods hold the old value: wait for their restart"),
            (
                2,
                Leave::PointAt("db-g2".to_owned()),
                "2 pods hold the old value: point their pod templates at Secret db-g2, then",
            ),
        ] {
            let said = said(pods, leave);
            assert!(said.starts_with(wanted), "{said}");
        }
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
            "revoke the old one now",
            "revoke the old value",
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
        assert_says(&state, ["not served (Sealed)"; 5]);
    }
}
