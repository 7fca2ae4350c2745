//! Where the documents' keys go, without their values: for those who follow a value to the Secret keys that hold it.

use std::collections::{BTreeMap, BTreeSet};

use touchseal_crds::encrypted_secret::{MergePolicy, Template};

use super::judge::{Judge, Known, Used};
use super::{MAX_COST, parse};

/// What a Secret's keys are made of.
#[derive(Debug)]
pub struct Serving {
    composed: BTreeMap<String, Used>,
    /// The documents' own keys are in the Secret, too.
    merged: bool,
}

impl Serving {
    /// Reads the templates. One that is wrong counts as made of every key: the Secret keeps what an earlier one made.
    pub fn of(template: &Template) -> Serving {
        let known = Known::without_values(None);
        let used = |text: &String| {
            let Ok(parsed) = parse::parse(text) else { return Used::everything() };
            let mut judge = Judge::new(&known, MAX_COST);
            judge.template(&parsed).map_or_else(|_| Used::everything(), |()| judge.into_used())
        };
        let composed = template.data.iter().map(|(key, text)| (key.clone(), used(text))).collect();
        Serving { composed, merged: template.merge_policy == Some(MergePolicy::Merge) }
    }

    /// The Secret keys that may hold something of a document's key.
    pub fn keys(&self, name: &str) -> BTreeSet<String> {
        let composed = self.composed.iter().filter(|(_, used)| used.has(name)).map(|(key, _)| key.clone());
        let kept = self.merged && !self.composed.contains_key(name);
        composed.chain(kept.then(|| name.to_owned())).collect()
    }
}
