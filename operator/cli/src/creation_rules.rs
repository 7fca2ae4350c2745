//! `.sops.yaml`: one creation rule a namespace, kept among the rules people wrote. Only lines of ours are touched, and
//! the result is read back before it counts: comments and foreign rules stay byte for byte. [`choose`] reads them.

mod choose;
mod error;

pub use choose::{Chosen, Config};
pub use error::ChooseError;

use serde_json::{Value, json};

use crate::error::Explain;

/// Files in a directory of the namespace's name, wherever that is.
pub const DEFAULT_PATH_REGEX: &str = "(^|/){namespace}/";

/// One rule of ours. A comment above it names keyring and namespace; by that it is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub keyring: String,
    pub namespace: String,
    /// Go regular expression over the path from `.sops.yaml` on.
    pub path_regex: String,
    /// `age1...`
    pub recipient: String,
    /// Recipients of older key generations: where one of them is written, the present one takes its place.
    pub previous: Vec<String>,
}

/// Why the file is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// It is not YAML, or not a map.
    #[error("read the creation rules: {0}")]
    Yaml(String),
    /// `creation_rules` is not a plain block list.
    #[error("update the creation rules: creation_rules is not written as a block list")]
    Flow,
    /// A rule of ours was edited so that there is no single recipient to replace.
    #[error("update the creation rules: the rule of namespace {0} was edited by hand")]
    Edited(String, String),
    /// The expression cannot be written on one line.
    #[error("update the creation rules: the path expression holds control characters")]
    PathRegex,
    /// Reading back gave something else than intended.
    #[error("update the creation rules: this file's layout is not understood")]
    Layout(String),
}

impl Explain for RulesError {
    fn hint(&self) -> String {
        match self {
            Self::Yaml(_) => "correct the file, or name another with --sops-yaml FILE".to_owned(),
            Self::PathRegex => "give another --path-regex".to_owned(),
            Self::Edited(_, recipient) | Self::Layout(recipient) => {
                format!("the file was not changed; write it yourself: age: {recipient}")
            }
            Self::Flow => {
                "the file was not changed; put each rule on lines of its own, beginning with a dash"
                    .to_owned()
            }
        }
    }
}

/// The file's text with the rules in it. New ones go first, because sops takes the first rule that matches.
pub fn merge(text: &str, rules: &[Rule]) -> Result<String, RulesError> {
    if rules.iter().any(|rule| rule.path_regex.chars().any(char::is_control)) {
        return Err(RulesError::PathRegex);
    }
    let before = read(text)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut new = Vec::new();
    for rule in rules {
        match lines.iter().position(|line| line.trim() == rule.marker()) {
            Some(at) => update(&mut lines, at, rule)?,
            None => new.push(rule),
        }
    }
    insert(&mut lines, &new)?;
    let mut after = lines.join("\n");
    after.push('\n');
    check(&after, &before, &new, rules)?;
    Ok(after)
}

/// The namespaces that rules of ours in this text are for.
pub fn namespaces(text: &str, keyring: &str) -> Vec<String> {
    let marker = Rule::marker_of(keyring, "");
    text.lines().filter_map(|line| line.trim().strip_prefix(&marker)).map(str::to_owned).collect()
}

impl Rule {
    fn marker(&self) -> String {
        Self::marker_of(&self.keyring, &self.namespace)
    }

    fn marker_of(keyring: &str, namespace: &str) -> String {
        format!("# touchseal: keyring {keyring}, namespace {namespace}")
    }

    fn lines(&self, indent: usize) -> [String; 3] {
        let pad = " ".repeat(indent);
        [
            format!("{pad}{}", self.marker()),
            format!("{pad}- path_regex: '{}'", self.path_regex.replace('\'', "''")),
            format!("{pad}  age: {}", self.recipient),
        ]
    }
}

/// Exchanges our recipient in the item under a marker; whatever else people wrote into the rule stays, their own
/// recipients above all.
fn update(lines: &mut [String], marker: usize, rule: &Rule) -> Result<(), RulesError> {
    let edited = || RulesError::Edited(rule.namespace.clone(), rule.recipient.clone());
    let indent = indent_of(&lines[marker]);
    let item = marker + 1;
    if !lines.get(item).is_some_and(|line| indent_of(line) == indent && line.trim_start().starts_with('-')) {
        return Err(edited());
    }
    let end = (item + 1..lines.len())
        .find(|at| !lines[*at].trim().is_empty() && indent_of(&lines[*at]) <= indent)
        .unwrap_or(lines.len());
    let written: Vec<String> = lines[item..end].iter().flat_map(|line| recipients(line)).collect();
    if written.contains(&rule.recipient) {
        return Ok(());
    }
    let old = match (written.iter().find(|one| rule.previous.contains(one)), written.as_slice()) {
        (Some(old), _) | (None, [old]) => old.clone(),
        _ => return Err(edited()),
    };
    for line in &mut lines[item..end] {
        if recipients(line).contains(&old) {
            *line = line.replace(&old, &rule.recipient);
        }
    }
    Ok(())
}

/// The age recipients on a line, comments left out.
fn recipients(line: &str) -> Vec<String> {
    let code = line.split(" #").next().unwrap_or_default();
    let words = code.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| word.starts_with("age1")).map(str::to_owned).collect()
}

fn insert(lines: &mut Vec<String>, rules: &[&Rule]) -> Result<(), RulesError> {
    if rules.is_empty() {
        return Ok(());
    }
    let key = lines.iter().position(|line| line.starts_with("creation_rules:"));
    let at = match key {
        Some(at) => {
            let rest = lines[at]["creation_rules:".len()..].trim();
            if !(rest.is_empty() || rest.starts_with('#')) {
                return Err(RulesError::Flow);
            }
            at + 1
        }
        None => {
            lines.push("creation_rules:".to_owned());
            lines.len()
        }
    };
    let first =
        lines[at..].iter().find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let indent = first.filter(|line| line.trim_start().starts_with('-')).map_or(2, |line| indent_of(line));
    let block: Vec<String> = rules.iter().flat_map(|rule| rule.lines(indent)).collect();
    lines.splice(at..at, block);
    Ok(())
}

/// Reads the result back: the new rules first, then every rule that was there, in its order and unchanged but for the
/// recipient of those that are ours.
fn check(after: &str, before: &[Value], new: &[&Rule], rules: &[Rule]) -> Result<(), RulesError> {
    let layout =
        || RulesError::Layout(rules.iter().map(|rule| rule.recipient.as_str()).collect::<Vec<_>>().join(" "));
    let now = read(after).map_err(|_| layout())?;
    let (added, kept) = now.split_at_checked(new.len()).ok_or_else(layout)?;
    let added_right = added
        .iter()
        .zip(new)
        .all(|(got, rule)| *got == json!({ "path_regex": rule.path_regex, "age": rule.recipient }));
    let ours = |rule: &Value| rules.iter().any(|wanted| rule.to_string().contains(&wanted.recipient));
    let kept_right =
        kept.iter().zip(before).all(|(now, old)| now == old || (ours(now) && same_but_age(now, old)));
    if added_right && kept_right && kept.len() == before.len() { Ok(()) } else { Err(layout()) }
}

fn same_but_age(one: &Value, other: &Value) -> bool {
    let without = |rule: &Value| {
        let mut map = rule.as_object().cloned().unwrap_or_default();
        map.remove("age");
        map
    };
    without(one) == without(other)
}

fn read(text: &str) -> Result<Vec<Value>, RulesError> {
    let has_content = text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    if !has_content {
        return Ok(Vec::new());
    }
    let document: Value = crate::yaml::from_str(text).map_err(RulesError::Yaml)?;
    let map = document.as_object().ok_or_else(|| RulesError::Yaml("it is not a map".to_owned()))?;
    match map.get("creation_rules") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(rules)) => Ok(rules.clone()),
        Some(_) => Err(RulesError::Flow),
    }
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(namespace: &str, recipient: &str) -> Rule {
        Rule {
            keyring: "main".into(),
            namespace: namespace.into(),
            path_regex: DEFAULT_PATH_REGEX.replace("{namespace}", namespace),
            recipient: recipient.into(),
            previous: vec!["age1previous".into()],
        }
    }

    #[test]
    fn a_new_file_holds_the_rules_alone() {
        let text = merge("", &[rule("shop", "age1aaa"), rule("chat", "age1bbb")]).unwrap();
        let expected = "creation_rules:\n  # touchseal: keyring main, namespace shop\n  - path_regex: '(^|/)shop/'\n    age: age1aaa\n  \
                        # touchseal: keyring main, namespace chat\n  - path_regex: '(^|/)chat/'\n    age: age1bbb\n";
        assert_eq!(text, expected);
        assert_eq!(
            merge(&text, &[rule("shop", "age1aaa")]).unwrap(),
            text,
            "writing it again changes nothing"
        );
    }

    #[test]
    fn a_new_recipient_replaces_the_old_one_and_nothing_else() {
        let text = "# ours\ncreation_rules:\n# touchseal: keyring main, namespace shop\n- path_regex: deep/shop/.*\n  encrypted_regex: ^data$ # only these\n  \
                    age: age1old\n\n- age: age1other # catch-all\nstores:\n  yaml:\n    indent: 2\n";
        let after = merge(text, &[rule("shop", "age1new")]).unwrap();
        assert_eq!(after, text.replace("age1old", "age1new"));
    }

    #[test]
    fn recipients_that_people_add_stay() {
        let theirs = merge("", &[rule("shop", "age1previous")]).unwrap();
        for list in [
            "age1dev,age1previous # and us",
            "age1previous, age1dev",
            ">-\n      age1dev,\n      age1previous",
        ] {
            let theirs = theirs.replace("age: age1previous", &format!("age: {list}"));
            assert_eq!(merge(&theirs, &[rule("shop", "age1previous")]).unwrap(), theirs, "up to date");
            let after = merge(&theirs, &[rule("shop", "age1new")]).unwrap();
            assert_eq!(after, theirs.replace("age1previous", "age1new"));
        }
    }

    #[test]
    fn new_rules_go_before_those_that_would_shadow_them() {
        let text = "creation_rules: # all\n    - pgp: ABCD\n      path_regex: .*\n";
        let after = merge(text, &[rule("shop", "age1aaa")]).unwrap();
        let rules = read(&after).unwrap();
        assert_eq!(rules[0]["age"], "age1aaa");
        assert_eq!(rules[1]["pgp"], "ABCD");
        assert!(after.contains("\n    - path_regex: '(^|/)shop/'\n"), "{after}");
        let without = merge("stores: {}\n", &[rule("shop", "age1aaa")]).unwrap();
        assert!(without.starts_with("stores: {}\ncreation_rules:\n  # touchseal"), "{without}");
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        let rules = [rule("shop", "age1aaa")];
        assert_eq!(merge("creation_rules: []\n", &rules), Err(RulesError::Flow));
        assert!(matches!(merge("[]\n", &rules), Err(RulesError::Yaml(_))));
        assert!(matches!(merge("a: [\n", &rules), Err(RulesError::Yaml(_))));
        let several = merge("", &rules).unwrap().replace("age1aaa", "age1bbb,age1ccc");
        assert!(matches!(merge(&several, &rules), Err(RulesError::Edited(..))));
        assert!(matches!(
            merge("a: &x\n  creation_rules: y\n\"creation_rules\":\n- age: age1z\n", &rules),
            Err(RulesError::Layout(_))
        ));
        let control = Rule { path_regex: "a\nb".into(), ..rule("x", "age1x") };
        assert_eq!(merge("", &[control]), Err(RulesError::PathRegex));
    }
}
