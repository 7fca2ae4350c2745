//! Which form of which EncryptedSecret an entry of the ledger was last decided on. Watches and lists may be behind, each
//! operator's on its own, and what was served since must not be served anew in its older form.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

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
