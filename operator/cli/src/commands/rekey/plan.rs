//! What becomes of a document's recipients: pure, from who they are and who they should be.

use touchseal_crds::RecipientSpec;

/// Recipients by key group, and how many groups are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    pub groups: Vec<Vec<String>>,
    pub threshold: Option<usize>,
}

/// Whom a document should be encrypted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub keys: Keys,
    /// PGP keys that its rule names: they stay.
    pub pgp: Vec<String>,
    /// The recipients of the document's namespace, if it is known: those of older key generations go.
    pub own: Option<RecipientSpec>,
}

/// What is to be done about one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub after: Keys,
    /// Recipients that come.
    pub added: Vec<String>,
    /// Recipients that go.
    pub removed: Vec<String>,
    /// Recipients that nobody asked for and that stay.
    pub kept: Vec<String>,
}

/// Why nothing can be decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The rules want other key groups, and somebody would be left without a place.
    #[error("its key groups change, and {0} has no place in the new ones")]
    NoPlace(String),
    /// The document has key groups and nobody says what they should be.
    #[error("it has {0} key groups, and none holds a key of its namespace")]
    Groups(usize),
    /// The rule names an older key generation.
    #[error(
        "its creation rule names key generation {found} of namespace {namespace}, and {active} is the active one"
    )]
    StaleRule { namespace: String, found: u32, active: u32 },
}

impl Plan {
    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

/// Who a namespace's document should be encrypted to: its present recipient, in every group that holds one of the
/// namespace's, else in the only group. Groups without one stay as they are.
pub fn of_namespace(before: &Keys, own: &RecipientSpec) -> Result<Wanted, PlanError> {
    let holds = |group: &Vec<String>| group.iter().any(|one| is_own(own, one));
    let only = before.groups.len() == 1;
    if !only && !before.groups.iter().any(holds) {
        return Err(PlanError::Groups(before.groups.len()));
    }
    let groups = before.groups.iter();
    let groups =
        groups.map(|group| if only || holds(group) { vec![own.recipient.clone()] } else { group.clone() });
    let keys = Keys { groups: groups.collect(), threshold: before.threshold };
    Ok(Wanted { keys, pgp: Vec::new(), own: Some(own.clone()) })
}

/// Who a file should be encrypted to: as its rule says. A rule that names the namespace's older keys is not followed.
pub fn of_rule(
    keys: Keys,
    pgp: Vec<String>,
    namespace: &str,
    own: Option<&RecipientSpec>,
) -> Result<Wanted, PlanError> {
    if let Some(own) = own {
        let older = own.generations.iter().find(|one| {
            one.recipient != own.recipient && keys.groups.iter().flatten().any(|text| *text == one.recipient)
        });
        if let Some(older) = older {
            let (found, active) = (older.generation, own.key_generation);
            return Err(PlanError::StaleRule { namespace: namespace.to_owned(), found, active });
        }
    }
    Ok(Wanted { keys, pgp, own: own.cloned() })
}

/// What changes. Recipients that stay keep their places; one that comes takes the place of its namespace's older one.
pub fn plan(before: &Keys, wanted: &Wanted, drop_others: bool) -> Result<Plan, PlanError> {
    let old = |text: &str| wanted.own.as_ref().is_some_and(|own| is_own(own, text) && text != own.recipient);
    let asked = |text: &String| wanted.keys.groups.iter().flatten().any(|one| one == text);
    let is_kept = |text: &String| !asked(text) && !old(text) && !drop_others;
    let count = wanted.keys.groups.len();
    if count != before.groups.len()
        && let Some(lost) = before.groups.iter().flatten().find(|text| is_kept(text))
    {
        return Err(PlanError::NoPlace(lost.clone()));
    }
    let none = Vec::new();
    let groups = wanted.keys.groups.iter().enumerate().map(|(index, wanted)| {
        let before = if count == before.groups.len() { &before.groups[index] } else { &none };
        group(before, wanted, &old, &is_kept)
    });
    // One group has no threshold. Where nobody says, what is stays as long as it fits, else all groups are needed.
    let present = before.threshold.filter(|_| count == before.groups.len());
    let threshold = (count > 1).then(|| wanted.keys.threshold.or(present).unwrap_or(count));
    let after = Keys { groups: groups.collect(), threshold };
    let mut plan = Plan {
        added: difference(&after.groups, &before.groups),
        removed: difference(&before.groups, &after.groups),
        kept: after.groups.iter().flatten().filter(|text| is_kept(text)).cloned().collect(),
        after,
    };
    // Groups that only change places are split anew: everybody's share is another one.
    if plan.is_empty() && !(same_groups(before, &plan.after)) {
        plan.added = plan.after.groups.iter().flatten().cloned().collect();
    }
    Ok(plan)
}

fn group(
    before: &[String],
    wanted: &[String],
    old: &dyn Fn(&str) -> bool,
    is_kept: &dyn Fn(&String) -> bool,
) -> Vec<String> {
    let mut coming = wanted.iter().filter(|text| !before.contains(text));
    let mut after = Vec::new();
    for text in before {
        if wanted.contains(text) || is_kept(text) {
            after.push(text.clone());
        } else if old(text) {
            after.extend(coming.next().cloned());
        }
    }
    after.extend(coming.cloned());
    after
}

/// Whether a recipient is the namespace's, of whichever key generation.
pub fn is_own(own: &RecipientSpec, text: &str) -> bool {
    own.recipient == text || own.generations.iter().any(|one| one.recipient == text)
}

fn difference(these: &[Vec<String>], those: &[Vec<String>]) -> Vec<String> {
    these
        .iter()
        .flatten()
        .filter(|text| !those.iter().flatten().any(|other| other == *text))
        .cloned()
        .collect()
}

fn same_groups(one: &Keys, other: &Keys) -> bool {
    let same =
        |(a, b): (&Vec<String>, &Vec<String>)| a.len() == b.len() && a.iter().all(|text| b.contains(text));
    let threshold =
        |keys: &Keys| (keys.groups.len() > 1).then(|| keys.threshold.unwrap_or(keys.groups.len()));
    one.groups.len() == other.groups.len()
        && threshold(one) == threshold(other)
        && one.groups.iter().zip(&other.groups).all(same)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
