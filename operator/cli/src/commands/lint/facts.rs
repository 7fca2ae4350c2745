//! Which recipient is whose, as far as anybody can say without a key. Recipients are derived from the master key, so this is
//! what others wrote down: this laptop's memory of the keyrings in the tree, Recipient objects, and the creation rules that
//! `touchseal recipients` wrote. The first is worth more than the others, which whoever can write to the tree can write.

use std::collections::{BTreeMap, BTreeSet};

use touchseal_crds::keyring::GenerationState;
use touchseal_keyring::VerifiedManifest;

use super::piece::Piece;

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A creation rule, by the comment above it.
    Rule,
    /// A Recipient object in the tree.
    Published,
    /// This laptop saw the keyring open.
    Remembered,
}

/// One recipient of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub keyring: String,
    pub namespace: String,
    pub generation: Option<u32>,
    pub state: Option<GenerationState>,
    pub source: Source,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Facts {
    by_recipient: BTreeMap<String, Vec<Fact>>,
    /// The namespaces, with the best that is said of any recipient of theirs.
    namespaces: BTreeMap<String, Source>,
}

/// What this laptop remembers of a keyring: namespace, key generation, recipient.
pub type Memory<'m> = &'m dyn Fn(&VerifiedManifest) -> Vec<(String, u32, String)>;

impl Facts {
    /// Out of everything that was read.
    pub fn of(pieces: &[Piece], memory: Memory<'_>) -> Facts {
        let mut facts = Facts::default();
        let mut states: BTreeMap<(&str, u32), GenerationState> = BTreeMap::new();
        for (_, name, manifest) in pieces.iter().flat_map(|piece| &piece.keyrings) {
            for generation in &manifest.spec().generations {
                states.insert((name, generation.number), generation.state);
            }
            for (namespace, generation, recipient) in memory(manifest) {
                let state = states.get(&(name.as_str(), generation)).copied();
                let keyring = name.clone();
                let generation = Some(generation);
                facts.add(
                    &recipient,
                    Fact { keyring, namespace, generation, state, source: Source::Remembered },
                );
            }
        }
        for published in pieces.iter().flat_map(|piece| &piece.recipients) {
            for one in &published.spec.generations {
                // The keyring's manifest is signed, and so knows better.
                let signed = states.get(&(published.keyring.as_str(), one.generation)).copied();
                let fact = Fact {
                    keyring: published.keyring.clone(),
                    namespace: published.namespace.clone(),
                    generation: Some(one.generation),
                    state: signed.or(Some(one.state)),
                    source: Source::Published,
                };
                facts.add(&one.recipient, fact);
            }
        }
        facts.rules(pieces);
        facts
    }

    /// A rule that was written for a namespace names its recipient; with others beside it nobody can say which it is, but
    /// those that stand in rules of several namespaces are none of theirs.
    fn rules(&mut self, pieces: &[Piece]) {
        let written = || {
            let rules = pieces.iter().flat_map(|piece| &piece.rules);
            rules.filter_map(|rule| Some((rule.chosen.written_for.as_ref()?, rule)))
        };
        let mut homes: BTreeMap<&String, BTreeSet<&(String, String)>> = BTreeMap::new();
        for (home, rule) in written() {
            for recipient in rule.chosen.groups.iter().flatten() {
                homes.entry(recipient).or_default().insert(home);
            }
        }
        for ((keyring, namespace), rule) in written() {
            let alone = rule.chosen.groups.iter().flatten().count() == 1;
            for recipient in rule.chosen.groups.iter().flatten() {
                if alone || homes.get(recipient).is_some_and(|homes| homes.len() == 1) {
                    let (keyring, namespace) = (keyring.clone(), namespace.clone());
                    let fact =
                        Fact { keyring, namespace, generation: None, state: None, source: Source::Rule };
                    self.add(recipient, fact);
                }
            }
        }
    }

    fn add(&mut self, recipient: &str, fact: Fact) {
        let best = self.namespaces.entry(fact.namespace.clone()).or_insert(fact.source);
        *best = (*best).max(fact.source);
        let known = self.by_recipient.entry(recipient.to_owned()).or_default();
        if !known.contains(&fact) {
            known.push(fact);
        }
    }

    /// What is said of a recipient.
    pub fn of_recipient(&self, recipient: &str) -> &[Fact] {
        self.by_recipient.get(recipient).map_or(&[], Vec::as_slice)
    }

    /// The same by those whose word is worth more than a rule's.
    pub fn better_than_rules(&self, recipient: &str) -> Vec<&Fact> {
        self.of_recipient(recipient).iter().filter(|fact| fact.source > Source::Rule).collect()
    }

    /// The best that is said of any recipient of a namespace.
    pub fn of_namespace(&self, namespace: &str) -> Option<Source> {
        self.namespaces.get(namespace).copied()
    }
}
