//! Tables of before, wanted and after. Namespace shop has key generations 1 to 3: `s1`, `s2` and `s3`, the last active.

use super::*;
use touchseal_crds::keyring::GenerationState;
use touchseal_crds::recipient::GenerationRecipient;

fn shop() -> RecipientSpec {
    let generation = |number: u32| GenerationRecipient {
        generation: number,
        state: if number == 3 { GenerationState::Active } else { GenerationState::Retiring },
        recipient: format!("s{number}"),
    };
    RecipientSpec { recipient: "s3".into(), key_generation: 3, generations: [3, 2, 1].map(generation).into() }
}

/// Groups are separated by `|`, recipients by spaces.
fn keys(text: &str) -> Keys {
    let words = |group: &str| group.split_whitespace().map(str::to_owned).collect();
    Keys { groups: text.split('|').map(words).collect(), threshold: None }
}

fn shown(keys: &Keys) -> String {
    keys.groups.iter().map(|group| group.join(" ")).collect::<Vec<_>>().join("|")
}

fn rekeyed(before: &str, drop_others: bool) -> Plan {
    let before = keys(before);
    plan(&before, &of_namespace(&before, &shop()).unwrap(), drop_others).unwrap()
}

#[test]
fn a_namespaces_document_moves_to_its_present_recipient_and_keeps_others() {
    for (before, keeping, dropping) in [
        ("s2", "s3", "s3"),
        ("s3", "s3", "s3"),
        ("me s1 you", "me s3 you", "s3"),
        ("s1 s2", "s3", "s3"),
        ("s2 s3", "s3", "s3"),
        ("me", "me s3", "s3"),
    ] {
        assert_eq!(shown(&rekeyed(before, false).after), keeping, "{before}");
        assert_eq!(shown(&rekeyed(before, true).after), dropping, "{before}");
    }
    let plan = rekeyed("me s1", false);
    assert_eq!(
        (plan.added, plan.removed, plan.kept),
        (vec!["s3".into()], vec!["s1".into()], vec!["me".into()])
    );
    assert!(rekeyed("me s3", false).is_empty());
    assert!(!rekeyed("me s3", true).is_empty());
}

#[test]
fn in_key_groups_only_the_namespaces_change() {
    assert_eq!(shown(&rekeyed("me s1|you", false).after), "me s3|you");
    let plain = keys("me|you");
    assert_eq!(of_namespace(&plain, &shop()), Err(PlanError::Groups(2)));
}

fn by_rule(before: &str, rule: &str, drop_others: bool) -> Result<String, PlanError> {
    let wanted = of_rule(keys(rule), Vec::new(), "shop", Some(&shop()))?;
    plan(&keys(before), &wanted, drop_others).map(|plan| shown(&plan.after))
}

#[test]
fn a_file_follows_its_rule_and_loses_older_keys_of_its_namespace() {
    for (before, rule, keeping, dropping) in [
        ("s1", "s3 dev", "s3 dev", "s3 dev"),
        ("old dev s2", "s3 dev", "old dev s3", "dev s3"),
        ("dev s3", "s3 dev", "dev s3", "dev s3"),
        ("old", "new", "old new", "new"),
    ] {
        assert_eq!(by_rule(before, rule, false).unwrap(), keeping, "{before} to {rule}");
        assert_eq!(by_rule(before, rule, true).unwrap(), dropping, "{before} to {rule}");
    }
}

#[test]
fn a_rule_of_an_older_generation_is_not_followed() {
    let stale = Err(PlanError::StaleRule { namespace: "shop".into(), found: 2, active: 3 });
    assert_eq!(by_rule("s2", "dev s2", false), stale);
}

#[test]
fn key_groups_that_change_leave_nobody_behind() {
    assert_eq!(by_rule("a b", "a|b", false).unwrap(), "a|b");
    assert_eq!(by_rule("a b me", "a|b", false), Err(PlanError::NoPlace("me".into())));
    assert_eq!(by_rule("a b me", "a|b", true).unwrap(), "a|b");
    let split = plan(&keys("a b"), &of_rule(keys("a|b"), Vec::new(), "shop", None).unwrap(), false).unwrap();
    assert!(!split.is_empty(), "the same recipients in other groups are other shares");
    let same = plan(&keys("a|b"), &of_rule(keys("a|b"), Vec::new(), "shop", None).unwrap(), false).unwrap();
    assert!(same.is_empty());
    let two = || Keys { threshold: Some(2), ..keys("a|b|c") };
    let all = keys("a|b|c");
    assert!(!plan(&all, &of_rule(two(), Vec::new(), "shop", None).unwrap(), false).unwrap().is_empty());
    let kept = plan(&two(), &of_rule(all, Vec::new(), "shop", None).unwrap(), false).unwrap();
    assert!(kept.is_empty(), "a rule without a threshold changes none");
}
