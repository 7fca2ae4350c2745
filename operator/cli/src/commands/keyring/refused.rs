//! A keyring that the operator refuses, and one it has not looked at: what a person does about it.

use touchseal_crds::{ConditionType, Keyring, Reason};

/// Why the operator refuses a keyring, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub message: String,
    pub hint: String,
}

/// `None` while the operator does not say that it refuses it.
pub fn refused(object: &Keyring, operator_namespace: &str) -> Option<Refused> {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let tampered = conditions.iter().find(|condition| {
        condition.type_ == ConditionType::Tampered.as_str() && condition.status == "True"
    })?;
    let is = |reasons: &[Reason]| reasons.iter().any(|reason| reason.as_str() == tampered.reason);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let forget = format!("kubectl delete configmap touchseal-pin-{name} -n {operator_namespace}");
    let hint = if is(&[Reason::FingerprintChanged, Reason::ManifestForked]) {
        format!("restore the old manifest from git; if the replacement is intended: {forget}")
    } else if is(&[Reason::ManifestRolledBack]) {
        format!(
            "apply the newest manifest from git, a backup may have brought an older one back; \
             if all newer ones are lost for good: {forget}"
        )
    } else {
        "apply the last version from git that verifies (touchseal keyring show -f FILE)".to_owned()
    };
    Some(Refused { message: tampered.message.clone(), hint })
}

/// Whether no operator has said anything about it.
pub fn is_new(object: &Keyring) -> bool {
    object.status.as_ref().is_none_or(|status| status.replicas.is_empty() && status.conditions.is_empty())
}
