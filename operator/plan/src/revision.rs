//! Which form of which EncryptedSecret an entry of the ledger was last decided on, and which decisions may rest on an older one.
//! Watches and lists may be behind, each operator's on its own: what was served since must not be served anew in its older form,
//! and of what is gone nothing must be made.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::generation::LedgerEntry;
use crate::observed::{Observed, SecretSeen};

/// The beginning of its uid, and its metadata.generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision(String, i64);

impl Revision {
    /// Enough of a uid to tell namesakes apart.
    const DIGITS: usize = 8;

    /// Of an object as it was read.
    pub fn of(object: &ObjectMeta) -> Revision {
        let uid = object.uid.as_deref().unwrap_or_default().chars().take(Revision::DIGITS).collect();
        Revision(uid, object.generation.unwrap_or_default())
    }

    /// Whether it is a later one of this object, or of a namesake, which may have come before or after.
    pub fn may_be_later_than(&self, object: &ObjectMeta) -> bool {
        let Revision(uid, generation) = Revision::of(object);
        self.0 != uid || self.1 > generation
    }
}

/// Where an object comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// A watch told of it.
    ByWatch,
    /// It was in a list.
    ByList,
    /// The API server was asked for it, before the ledger was read.
    Asked,
}

/// Whether the API server is to be asked if the object is what it stores, before a decision is applied: where something was there
/// before, and the object was listed, or may be older than what the ledger has seen, or something is done that the ledger would
/// not refuse who knows less than another, as it does where a number is given out.
pub fn is_doubtful(observed: &Observed<'_>, decision: &Decision, came: Came) -> bool {
    let before = observed.ledger.as_ref();
    let writes = decision.secret.is_some() || decision.alias.is_some() || decision.ledger.is_some();
    let takes = !decision.remove.is_empty() || !decision.reown.is_empty();
    let gives = |entry: &LedgerEntry| before.is_none_or(|before| before.generation != entry.generation);
    let may_be_older = |entry: &LedgerEntry| {
        entry.object.as_ref().is_none_or(|of| of.may_be_later_than(&observed.object.metadata))
    };
    let began = before.is_some() || matches!(observed.secret, SecretSeen::Ours(_));
    let doubt = match came {
        Came::ByWatch => takes || !decision.ledger.as_ref().is_some_and(gives),
        Came::ByList => true,
        Came::Asked => false,
    };
    began && (writes || takes) && (doubt || before.is_some_and(may_be_older))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_form_and_a_namesake_may_have_been_overtaken() {
        let object = |uid: &str, generation: i64| ObjectMeta {
            uid: Some(uid.to_owned()),
            generation: Some(generation),
            ..ObjectMeta::default()
        };
        let (one, other) = ("11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "22222222-aaaa-4aaa-8aaa-aaaaaaaaaaaa");
        let of = Revision::of(&object(one, 3));
        let overtaken =
            [(one, 2), (one, 3), (one, 4), (other, 9)].map(|(uid, n)| of.may_be_later_than(&object(uid, n)));
        assert_eq!(overtaken, [true, false, false, true]);
        assert_eq!(serde_json::to_string(&of).unwrap(), r#"["11111111",3]"#);
    }
}
