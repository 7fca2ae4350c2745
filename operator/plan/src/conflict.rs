//! Never touch what is not ours: whatever stands where a Secret or ConfigMap of ours is to be is left alone until it goes,
//! or its owner consents, and is watched meanwhile.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use touchseal_crds::Reason;
use touchseal_crds::names::ADOPT_ANNOTATION;
use touchseal_crds::rotation::Delivery;

use crate::decide::asked_type;
use crate::decision::SecretWrite;
use crate::deliver;
use crate::number::Place;
use crate::observed::{AliasSeen, Observed, Opened, SecretSeen, Trouble};

/// Whether something is in the way of `write`, or of what its delivery adds; `replace`: a Secret of ours has to be made anew.
pub fn check(
    observed: &Observed<'_>,
    seen: &SecretSeen,
    write: &SecretWrite,
    replace: bool,
) -> Result<(), Trouble> {
    match seen {
        SecretSeen::Foreign { .. } => main(observed, seen, write)?,
        SecretSeen::Ours(ours) if ours.immutable && !write.immutable && replace => {
            return Err(made_immutable(&write.name));
        }
        SecretSeen::Ours(_) | SecretSeen::Absent => {}
    }
    if let SecretSeen::Foreign { owner, .. } = &observed.previous {
        let name = deliver::previous_name(observed.object);
        return Err(in_the_way("Secret", &name, owner));
    }
    match &observed.alias {
        AliasSeen::Foreign { owner } if deliver::delivery(observed.object) == Delivery::Immutable => {
            Err(in_the_way("ConfigMap", &deliver::alias_name(observed.object), owner))
        }
        _ => Ok(()),
    }
}

/// Names of the foreign Secrets that are in the way.
pub fn watched(observed: &Observed<'_>, now: &Time) -> Vec<String> {
    let held = deliver::held(observed.ledger.as_ref(), &observed.others).unwrap_or(1);
    let next = match &observed.opened {
        Opened::Content(digests) => Place::of(observed).advance(digests, now).generation,
        _ => held,
    };
    let object = observed.object;
    let seen = [
        (&observed.secret, deliver::secret_name(object, held)),
        (&observed.fresh, deliver::secret_name(object, next)),
        (&observed.previous, deliver::previous_name(object)),
    ];
    let foreign = seen.into_iter().filter(|(seen, _)| matches!(seen, SecretSeen::Foreign { .. }));
    foreign.map(|(_, name)| name).collect()
}

fn in_the_way(kind: &str, name: &str, owner: &str) -> Trouble {
    let message =
        format!("{kind} {name} exists and belongs to {owner}; delete it, or choose another spec.target.name");
    Trouble::new(Reason::Conflict, message)
}

/// Kubelets never look at an immutable Secret again while any pod of their node refers to its name: a new one of that name
/// would reach nobody, and nobody could tell who has it.
fn made_immutable(secret: &str) -> Trouble {
    let message = format!(
        "somebody made Secret {secret} immutable, so kubelets go on serving what it holds now, also if it is made anew; \
         set spec.rotation.delivery to Immutable, or delete it while no pod refers to it"
    );
    Trouble::new(Reason::Conflict, message)
}

/// A foreign Secret in the place of the one that holds the newest content may be taken over, if it can be changed.
fn main(observed: &Observed<'_>, seen: &SecretSeen, write: &SecretWrite) -> Result<(), Trouble> {
    let SecretSeen::Foreign { consents, owner, type_, immutable, .. } = seen else { return Ok(()) };
    let secret = &write.name;
    if write.immutable {
        return Err(in_the_way("Secret", secret, owner));
    }
    if *consents && *immutable {
        return Err(Trouble::new(
            Reason::Conflict,
            format!("Secret {secret} consents to be taken over, but it is immutable; delete it"),
        ));
    }
    if *consents {
        let Some(asked) = asked_type(observed).filter(|asked| asked != type_) else { return Ok(()) };
        return Err(Trouble::new(
            Reason::Conflict,
            format!(
                "Secret {secret} consents to be taken over, but a Secret's type cannot change: it is {type_}, asked is \
                 {asked}; set spec.target.type to {type_}, or delete the Secret"
            ),
        ));
    }
    let name = observed.object.metadata.name.as_deref().unwrap_or_default();
    Err(Trouble::new(
        Reason::Conflict,
        format!(
            "Secret {secret} exists and belongs to {owner}; delete it, or let it be taken over: \
             kubectl annotate secret {secret} {ADOPT_ANNOTATION}={name}"
        ),
    ))
}
