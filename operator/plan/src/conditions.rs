//! Setting conditions so that an unchanged state gives unchanged conditions: the one place that moves a transition time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use touchseal_crds::{ConditionType, Reason};

/// Longest message of a condition, in bytes (the API allows 32768; people read one line).
const MAX_MESSAGE: usize = 1024;

/// What a condition is to say.
#[derive(Clone, Copy, Debug)]
pub struct Say<'a> {
    /// True, False or Unknown.
    pub status: &'a str,
    /// Why.
    pub reason: Reason,
    /// For people; cut where it is too long.
    pub message: &'a str,
}

/// Sets one condition; its transition time moves only when its status does.
pub fn set(
    conditions: &mut Vec<Condition>,
    observed_generation: Option<i64>,
    type_: ConditionType,
    say: Say<'_>,
    now: &Time,
) {
    let place = conditions.iter_mut().find(|c| c.type_ == type_.as_str());
    let last_transition_time = match &place {
        Some(before) if before.status == say.status => before.last_transition_time.clone(),
        _ => now.clone(),
    };
    let condition = Condition {
        type_: type_.as_str().to_owned(),
        status: say.status.to_owned(),
        reason: say.reason.as_str().to_owned(),
        message: cut(say.message),
        observed_generation,
        last_transition_time,
    };
    match place {
        Some(before) => *before = condition,
        None => conditions.push(condition),
    }
}

/// Removes a condition that is only ever present when true.
pub fn clear(conditions: &mut Vec<Condition>, type_: ConditionType) {
    conditions.retain(|c| c.type_ != type_.as_str());
}

fn cut(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let end = (0..=MAX_MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &message[..end])
}
