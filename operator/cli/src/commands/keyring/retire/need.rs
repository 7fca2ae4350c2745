//! Whether a document needs a key generation: pure, from the recipients it lists and those the keyring has.

use std::collections::BTreeMap;
use std::fmt;

use touchseal_crds::RecipientSpec;
use touchseal_keyring::{OpenKeyring, VerifiedManifest};

use crate::local_keys;
use crate::published::NotDerived;

/// Something that stands in the way, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// A file, a document in it, or an object of the cluster.
    pub place: String,
    pub why: Why,
}

/// Why it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is encrypted to the generation, and to no other of its namespace.
    Recipient { namespace: String },
    /// New documents would be.
    Rule { namespace: String },
    /// The operator opened it with a generation that is not newer.
    Served { generation: i64 },
    /// None of its recipients is of a namespace that is known.
    NoNamespace,
    /// The operator has not served it as it is now.
    NotServed { reason: String },
    /// It cannot be read.
    Unreadable { problem: String },
}

/// The recipients of every namespace that matters.
#[derive(Debug)]
pub struct Own {
    /// Recipient to namespace and generation.
    all: BTreeMap<String, (String, u32)>,
    generation: u32,
}

impl Need {
    /// True where it is known to need the generation.
    pub const fn certain(&self) -> bool {
        matches!(self.why, Why::Recipient { .. } | Why::Rule { .. } | Why::Served { .. })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recipient { namespace } => write!(f, "encrypted for namespace {namespace} under it alone"),
            Self::Rule { namespace } => {
                write!(f, "creation rules name its recipient of namespace {namespace}")
            }
            Self::Served { generation } => write!(f, "served with the key of generation {generation}"),
            Self::NoNamespace => f.write_str("none of its recipients is of a known namespace"),
            Self::NotServed { reason } => write!(f, "not served as it is now ({reason})"),
            Self::Unreadable { problem } => write!(f, "cannot be read: {problem}"),
        }
    }
}

impl Own {
    /// Every live generation's recipient of these namespaces.
    pub fn derive<'n>(
        open: &OpenKeyring,
        generation: u32,
        namespaces: impl IntoIterator<Item = &'n String>,
    ) -> Result<Self, NotDerived> {
        let mut own = Self { all: BTreeMap::new(), generation };
        for namespace in namespaces {
            own.add(namespace, open.recipient_spec(namespace).map_err(NotDerived::of(namespace))?);
        }
        Ok(own)
    }

    /// Those of them that earlier runs with the keyring open left on this laptop.
    pub fn remembered<'n>(
        manifest: &VerifiedManifest,
        generation: u32,
        namespaces: impl IntoIterator<Item = &'n String>,
    ) -> Self {
        let mut own = Self { all: BTreeMap::new(), generation };
        let known = local_keys::remembered(manifest, namespaces);
        known.into_iter().for_each(|(namespace, spec)| own.add(&namespace, spec));
        own
    }

    fn add(&mut self, namespace: &str, spec: RecipientSpec) {
        let own = spec.generations.into_iter();
        self.all.extend(own.map(|one| (one.recipient, (namespace.to_owned(), one.generation))));
    }

    /// What a document with these key groups needs. `known` tells that its namespace is among those derived: then having
    /// none of its recipients means that this keyring does not open it.
    pub fn judge(&self, groups: &[Vec<String>], known: bool) -> Option<Why> {
        let of = |recipient: &String| self.all.get(recipient);
        for group in groups {
            let others = |namespace: &str| {
                group
                    .iter()
                    .filter_map(of)
                    .any(|(own, generation)| own == namespace && *generation != self.generation)
            };
            for (namespace, generation) in group.iter().filter_map(of) {
                if *generation == self.generation && !others(namespace) {
                    return Some(Why::Recipient { namespace: namespace.clone() });
                }
            }
        }
        let ours = groups.iter().flatten().any(|recipient| of(recipient).is_some());
        if ours || known { None } else { Some(Why::NoNamespace) }
    }

    /// The namespace of which creation rules name the generation's recipient.
    pub fn in_rules(&self, text: &str) -> Option<Why> {
        let mut named = self.all.iter().filter(|(_, (_, generation))| *generation == self.generation);
        let (_, (namespace, _)) = named.find(|(recipient, _)| text.contains(recipient.as_str()))?;
        Some(Why::Rule { namespace: namespace.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;
    use touchseal_keyring::manifest;

    const TIME: &str = "2026-01-01T00:00:00Z";

    fn rotated() -> OpenKeyring {
        let (spec, open) = manifest::create(vec![holder("anna", 1)], TIME).unwrap();
        manifest::rotate(&manifest::verify(&spec).unwrap(), &open, TIME).unwrap().1
    }

    #[test]
    fn a_document_needs_the_generation_it_has_no_newer_recipient_beside() {
        let open = rotated();
        let own = Own::derive(&open, 1, &["shop".to_owned(), "chat".to_owned()]).unwrap();
        let of = |namespace: &str| {
            let mut all =
                open.recipient_spec(namespace).unwrap().generations.into_iter().map(|one| one.recipient);
            (all.next().unwrap(), all.next().unwrap())
        };
        let ((new, old), (chat, _)) = (of("shop"), of("chat"));
        let other = "age1stranger".to_owned();
        let shop = Some(Why::Recipient { namespace: "shop".to_owned() });
        let group = |recipients: &[&String]| recipients.iter().map(|one| (*one).clone()).collect::<Vec<_>>();

        assert_eq!(own.judge(&[group(&[&old])], true), shop);
        assert_eq!(
            own.judge(&[group(&[&old, &other])], false),
            shop,
            "another key does not open it in the cluster"
        );
        assert_eq!(own.judge(&[group(&[&old, &chat])], false), shop, "another namespace's key neither");
        assert_eq!(own.judge(&[group(&[&old, &new])], true), None);
        assert_eq!(own.judge(&[group(&[&new])], true), None);
        assert_eq!(own.judge(&[group(&[&new]), group(&[&old])], true), shop, "each key group counts");
        assert_eq!(own.judge(&[group(&[&other])], false), Some(Why::NoNamespace));
        assert_eq!(own.judge(&[group(&[&other])], true), None);

        assert_eq!(
            own.in_rules(&format!("- age: {other},{old}\n")),
            Some(Why::Rule { namespace: "shop".to_owned() })
        );
        assert_eq!(own.in_rules(&format!("- age: {new}\n")), None);
    }
}
