//! Whom a new document is encrypted to, and what of it: as the command line says, else as the file's creation rule does.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use touchseal_sops::{Format, Recipients, Rules};

use super::counted;
use crate::creation_rules::{ChooseError, Chosen, Config};
use crate::error::{Exit, Explain, Failure, one_line};
use crate::local_keys::Identities;
use crate::terminal;
use crate::wrapping;

/// What is needed to encrypt a file.
pub struct Target {
    pub recipients: Recipients,
    pub rules: Rules,
    /// Columns an indent, where the rules say so.
    pub indent: Option<usize>,
    /// Whom that is, in words.
    pub why: String,
    /// Each of them.
    pub listed: Vec<String>,
    /// The namespace's own, any of which opens in it; empty if nobody can tell which of them that is.
    pub own: Vec<String>,
    /// Those that nothing vouches for, and why not.
    pub doubtful: (Vec<String>, String),
}

/// Decides for one file after the other.
pub struct Targets<'a> {
    keys: Identities,
    keyring_named: bool,
    namespace: Option<&'a str>,
    age: &'a [String],
    config: Option<&'a Path>,
    recipients: BTreeMap<String, String>,
    /// Files of rules that were said to hide others.
    nested: BTreeSet<String>,
}

/// Why it is not known whom to encrypt to.
#[derive(Debug, thiserror::Error)]
enum TargetError {
    #[error("encrypt {0}: nobody said whom to, and no .sops.yaml beside or above it has creation rules")]
    Nobody(String),
    #[error("--keyring needs the namespace to encrypt for")]
    NoNamespace,
}

impl Explain for TargetError {
    fn hint(&self) -> String {
        match self {
            Self::Nobody(_) => {
                "say it with --namespace NAME or --age RECIPIENT, or write rules: touchseal recipients -f FILE --for NAMESPACE --sops-yaml".to_owned()
            }
            Self::NoNamespace => "add --namespace NAME".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Nobody(_) => Exit::Failed,
            Self::NoNamespace => Exit::Usage,
        }
    }
}

impl<'a> Targets<'a> {
    pub fn new(
        keys: Identities,
        keyring_named: bool,
        namespace: Option<&'a str>,
        age: &'a [String],
        config: Option<&'a Path>,
    ) -> Self {
        Self {
            keys,
            keyring_named,
            namespace,
            age,
            config,
            recipients: BTreeMap::new(),
            nested: BTreeSet::new(),
        }
    }

    /// For a file known as `path`.
    pub fn of(&mut self, path: &Path, format: Format) -> Result<Target, Failure> {
        if self.keyring_named && self.namespace.is_none() {
            return Err(TargetError::NoNamespace.into());
        }
        let named = self.named(self.namespace)?;
        let config = Config::of(path, self.config)?;
        let indent = match &config {
            Some(config) => config.indentation(format)?,
            None => None,
        };
        if let Some((listed, why)) = named {
            // Who says whom to encrypt to needs no rule for it.
            let rules = match config.map(|config| config.selection(path)).transpose() {
                Ok(rules) => rules.flatten(),
                Err(ChooseError::NoRule { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            return Ok(Target { rules: rules.unwrap_or_default(), indent, ..target(listed, why)? });
        }
        let nobody = || TargetError::Nobody(path.display().to_string());
        let config = config.ok_or_else(nobody)?;
        let Chosen { place, groups, threshold, rules, written_for, pgp: _ } =
            config.choose(path)?.ok_or_else(nobody)?;
        let recipients = wrapping::recipients(&groups, threshold, &HashSet::new())?;
        let mut listed: Vec<String> = Vec::new();
        for one in groups.into_iter().flatten() {
            if !listed.contains(&one) {
                listed.push(one);
            }
        }
        let written_for = self.hidden(&config, path).or(written_for);
        let doubtful = match &written_for {
            Some((keyring, namespace)) => {
                let told = self.keys.told_recipients(keyring, namespace)?;
                self.doubtful(keyring, namespace, &listed, &told)
            }
            None => (Vec::new(), String::new()),
        };
        let why = format!("{} by {place}", counted(listed.len(), "recipient"));
        Ok(Target { recipients, rules, indent, why, listed, own: Vec::new(), doubtful })
    }

    /// For a document inside the manifest of a namespace's object.
    pub fn of_namespace(&mut self, namespace: &str) -> Result<Target, Failure> {
        let (listed, why) = self.named(Some(namespace))?.unwrap_or_default();
        let own = listed.first().cloned().into_iter().collect();
        Ok(Target { own, ..target(listed, why)? })
    }

    /// For a new document of this namespace that will lie at `place`: to the recipient that is known or published, else by
    /// the rule that was written for the namespace, which takes neither a YubiKey nor a cluster, else out of the keyring.
    pub fn of_namespace_near(&mut self, namespace: &str, place: &Path) -> Result<Target, Failure> {
        let at_hand = self.keyring_named || self.keys.take_known();
        let known = at_hand && self.keys.known_recipients(namespace)?.is_some();
        if !known && !self.keyring_named {
            if let Some(target) = self.of_rule_for(namespace, place)? {
                return Ok(target);
            }
            let age = self.age();
            if !at_hand && !age.is_empty() && self.keys.keyring()?.is_none() {
                let why = counted(age.len(), "recipient");
                return target(age, why);
            }
        }
        self.of_namespace(namespace)
    }

    /// By the rule beside or above `place` that `touchseal recipients` wrote for the namespace.
    fn of_rule_for(&mut self, namespace: &str, place: &Path) -> Result<Option<Target>, Failure> {
        let Some(config) = Config::of(place, self.config)? else { return Ok(None) };
        let rules = config.every()?.into_iter().filter_map(|(_, rule)| rule.ok());
        let own = rules.filter_map(|rule| Some((rule.written_for.clone()?, rule)));
        let Some(((keyring, _), Chosen { place, groups, threshold, pgp, .. })) =
            own.into_iter().find(|((_, of), _)| of == namespace)
        else {
            return Ok(None);
        };
        let mut groups = groups;
        if let [group] = groups.as_mut_slice() {
            group.extend(self.age().into_iter().filter(|one| !group.contains(one)).collect::<Vec<_>>());
        }
        let recipients = wrapping::recipients(&groups, threshold, &HashSet::new())?;
        let mut listed: Vec<String> = groups.into_iter().flatten().collect();
        listed.sort();
        listed.dedup();
        let own = self.keys.told_recipients(&keyring, namespace)?;
        let mut doubtful = self.doubtful(&keyring, namespace, &listed, &own);
        doubtful.0.retain(|one| !self.age.contains(one));
        let without = if pgp.is_empty() { "" } else { ", without its PGP keys" };
        let why = format!("namespace {namespace} by {place}{without}");
        Ok(Some(Target { recipients, rules: Rules::default(), indent: None, why, listed, own, doubtful }))
    }

    /// Whether a rule picks this file out of a folder. A rule without a `path_regex` is for whatever is named.
    pub fn picks(&self, path: &Path) -> Result<bool, Failure> {
        match Config::of(path, self.config)?.map(|config| config.picks(path)).transpose() {
            Ok(picks) => Ok(picks.unwrap_or_default()),
            Err(ChooseError::NoRule { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Rules that lie deeper hide those above. They are said to; and what the topmost was written for still counts: who
    /// guards that file guards it for every folder.
    fn hidden(&mut self, config: &Config, path: &Path) -> Option<(String, String)> {
        if self.config.is_some() || std::env::var_os("SOPS_CONFIG").is_some_and(|set| !set.is_empty()) {
            return None;
        }
        let above = config.above();
        if let Some(top) = above.last()
            && self.nested.insert(config.shown().to_owned())
        {
            terminal::say(&format!(
                "note: the rules of {} count, not those of {} above (sops looks from the folder it runs in)",
                one_line(config.shown()),
                one_line(top.shown())
            ));
        }
        above.iter().rev().find_map(|rules| rules.choose_beside_pgp(path).ok().flatten()?.written_for)
    }

    /// Of a rule that was written for a namespace, the recipients that are not that namespace's own, as far as they are
    /// `told`, nor the person's.
    fn doubtful(
        &mut self,
        keyring: &str,
        namespace: &str,
        listed: &[String],
        told: &[String],
    ) -> (Vec<String>, String) {
        let mut doubtful: Vec<String> =
            listed.iter().filter(|one| !told.contains(one) && !self.keys.holds(one)).cloned().collect();
        // Where nobody knows the namespace's own, one may be it.
        if told.is_empty() && doubtful.len() == 1 {
            doubtful.clear();
        }
        let known = if told.is_empty() {
            "its rule is written for one recipient, that".to_owned()
        } else {
            "not the present recipient".to_owned()
        };
        (doubtful, format!("{known} of namespace {namespace} of keyring {keyring}"))
    }

    /// The recipients that the command line, or a manifest, names, in words, too.
    fn named(&mut self, namespace: Option<&str>) -> Result<Option<(Vec<String>, String)>, Failure> {
        let age = self.age();
        let Some(namespace) = namespace else {
            let why = counted(age.len(), "recipient");
            return Ok((!age.is_empty()).then_some((age, why)));
        };
        let own = match self.recipients.get(namespace) {
            Some(known) => known.clone(),
            None => self.keys.recipients(namespace)?.recipient,
        };
        self.recipients.insert(namespace.to_owned(), own.clone());
        let keyring = self.keys.keyring()?.map(|keyring| keyring.name().to_owned()).unwrap_or_default();
        let more = if age.is_empty() { String::new() } else { format!(" and {} more", age.len()) };
        let mut all = vec![own];
        for one in age {
            if !all.contains(&one) {
                all.push(one);
            }
        }
        Ok(Some((all, format!("namespace {namespace} of keyring {keyring}{more}"))))
    }

    /// `--age`, else what sops takes from SOPS_AGE_RECIPIENTS where no namespace is named.
    fn age(&self) -> Vec<String> {
        let text = match self.namespace {
            None if self.age.is_empty() => std::env::var("SOPS_AGE_RECIPIENTS").unwrap_or_default(),
            _ => self.age.join(","),
        };
        let mut all: Vec<String> = Vec::new();
        for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            if !all.iter().any(|known| known == one) {
                all.push(one.to_owned());
            }
        }
        all
    }
}

/// To these recipients, all of it.
pub fn target(listed: Vec<String>, why: String) -> Result<Target, Failure> {
    let recipients = wrapping::recipients(std::slice::from_ref(&listed), None, &HashSet::new())?;
    let doubtful = (Vec::new(), String::new());
    Ok(Target { recipients, rules: Rules::default(), indent: None, why, listed, own: Vec::new(), doubtful })
}
