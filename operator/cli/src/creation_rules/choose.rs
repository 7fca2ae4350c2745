//! Which creation rule a file is under, as sops 3.11 decides it (sops, `config/config.go`): the first rule whose `path_regex`
//! is found in the file's path from the folder of `.sops.yaml` on. Rules that name keys of other kinds than age are errors; PGP keys
//! beside age recipients only where something is to be encrypted.

use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use regex_lite::Regex;
use serde_json::{Map, Value};
use touchseal_sops::{Format, Rules, Selector};

use super::error::ChooseError;
use crate::files;

const NAME: &str = ".sops.yaml";
const MAX_LEVELS: usize = 100;
const MAX_BYTES: u64 = 1024 * 1024;
/// Fields of a rule that name keys nothing can be wrapped to here; in a key group `hc_vault` is the name of the fifth.
const OTHER_KEYS: [&str; 8] = [
    "kms",
    "gcp_kms",
    "azure_keyvault",
    "hc_vault_transit_uri",
    "hc_vault",
    "hckms",
    "plugins",
    "aws_profile",
];
const PGP: &str = "pgp";
type Select = fn(String) -> Selector;
const SELECTORS: [(&str, Select); 6] = [
    ("unencrypted_suffix", Selector::UnencryptedSuffix),
    ("encrypted_suffix", Selector::EncryptedSuffix),
    ("unencrypted_regex", Selector::UnencryptedRegex),
    ("encrypted_regex", Selector::EncryptedRegex),
    ("unencrypted_comment_regex", Selector::UnencryptedCommentRegex),
    ("encrypted_comment_regex", Selector::EncryptedCommentRegex),
];

/// A file of creation rules.
#[derive(Debug)]
pub struct Config {
    path: PathBuf,
    /// The path as it was found, for messages.
    shown: String,
    text: String,
    document: Map<String, Value>,
    patterns: OnceLock<Vec<Option<Regex>>>,
}

/// What the rule of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The rule, for messages: `rule 2 of .sops.yaml`.
    pub place: String,
    /// Recipients as they are written, by key group; never empty, nor is a group. None twice in a group.
    pub groups: Vec<Vec<String>>,
    /// How many groups are needed; `None` where the rule does not say.
    pub threshold: Option<usize>,
    /// PGP keys it names, of all groups: [`Config::choose`] does not let them pass.
    pub pgp: Vec<String>,
    /// What is encrypted.
    pub rules: Rules,
    /// The namespace in the comment above a rule that `touchseal recipients` wrote, with its keyring.
    pub written_for: Option<(String, String)>,
}

/// A rule and its line, and what is wrong with it if something is.
pub type Placed = (Option<usize>, Result<Chosen, ChooseError>);

impl Config {
    /// The file named with `--config` or in SOPS_CONFIG, else the nearest one in the file's folder or above. (sops itself
    /// begins in the folder it is run in; the nearest one is what people expect of a tree.)
    pub fn of(file: &Path, named: Option<&Path>) -> Result<Option<Self>, ChooseError> {
        let variable = std::env::var_os("SOPS_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(path) = named.map(Path::to_owned).or(variable) {
            return Self::read(&path).map(Some);
        }
        let file = absolute(file);
        let folders = file.ancestors().skip(1).take(MAX_LEVELS);
        let mut candidates = folders.map(|folder| folder.join(NAME));
        candidates.find(|path| path.is_file()).map(|path| Self::read(&path)).transpose()
    }

    /// The rules in the folders above, up to the repository's: they would count if these were not here. The nearest first;
    /// what cannot be read is left out.
    pub fn above(&self) -> Vec<Self> {
        let mut found = Vec::new();
        for folder in self.path.ancestors().skip(1).take(MAX_LEVELS) {
            found.extend(Self::read(&folder.join(NAME)).ok().filter(|rules| rules.path != self.path));
            if folder.join(".git").exists() {
                break;
            }
        }
        found
    }

    /// The path as it was found, for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Reads a file of rules.
    pub fn read(path: &Path) -> Result<Self, ChooseError> {
        Self::of_text(path, &files::read_text(path, MAX_BYTES)?)
    }

    /// The rules that a file's text holds.
    pub fn of_text(path: &Path, text: &str) -> Result<Self, ChooseError> {
        let invalid = |problem: String| ChooseError::Yaml { rules: path.display().to_string(), problem };
        let document =
            if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
                Map::new()
            } else {
                match crate::yaml::from_str::<Value>(text).map_err(invalid)? {
                    Value::Object(map) => map,
                    _ => return Err(invalid("it is not a map".to_owned())),
                }
            };
        let absolute = absolute(path);
        let here = std::env::current_dir().ok();
        let shown = here.and_then(|here| absolute.strip_prefix(here).ok().map(Path::to_owned));
        let shown = shown.unwrap_or_else(|| absolute.clone()).display().to_string();
        Ok(Self { path: absolute, shown, text: text.to_owned(), document, patterns: OnceLock::new() })
    }

    /// The rule for a file; `None` where there are no rules at all.
    ///
    /// # Errors
    /// No rule fits, the one that does cannot be followed here, or one before it cannot be understood.
    pub fn choose(&self, file: &Path) -> Result<Option<Chosen>, ChooseError> {
        self.chosen(file, Pgp::Refused)
    }

    /// The same where nothing is encrypted to the file's PGP recipients, or nothing at all: a rule may name PGP keys, too.
    ///
    /// # Errors
    /// As [`Config::choose`].
    pub fn choose_beside_pgp(&self, file: &Path) -> Result<Option<Chosen>, ChooseError> {
        self.chosen(file, Pgp::Named)
    }

    fn chosen(&self, file: &Path, pgp: Pgp) -> Result<Option<Chosen>, ChooseError> {
        let Some((index, reading)) = self.find(file)? else { return Ok(None) };
        Ok(Some(Chosen { written_for: self.written_for(index), ..reading.chosen(pgp)? }))
    }

    /// What of a file is encrypted, whoever for.
    ///
    /// # Errors
    /// As [`Config::choose`], but for the keys.
    pub fn selection(&self, file: &Path) -> Result<Option<Rules>, ChooseError> {
        self.find(file)?.map(|(_, reading)| reading.rules()).transpose()
    }

    /// Whether the rule for a file says of which files it is.
    ///
    /// # Errors
    /// No rule fits, or one cannot be understood.
    pub fn picks(&self, file: &Path) -> Result<bool, ChooseError> {
        let Some((_, reading)) = self.find(file)? else { return Ok(false) };
        Ok(reading.text(reading.rule, "path_regex")?.is_some_and(|pattern| !pattern.is_empty()))
    }

    /// Every rule, with the line its item begins on (from 1) where that is known. It may name PGP keys, too.
    ///
    /// # Errors
    /// There is no list of rules.
    pub fn every(&self) -> Result<Vec<Placed>, ChooseError> {
        let chosen = |(index, reading): (usize, Reading<'_>)| {
            let chosen =
                reading.checked().map(|chosen| Chosen { written_for: self.written_for(index), ..chosen });
            (self.line_of(index).map(|line| line + 1), chosen)
        };
        Ok(self.readings()?.map(chosen).collect())
    }

    /// The columns an indent that files of this format are to be written with, where the rules say so.
    ///
    /// # Errors
    /// It is no number of columns.
    pub fn indentation(&self, format: Format) -> Result<Option<usize>, ChooseError> {
        let (store, field) = match format {
            Format::Yaml => ("yaml", "stores.yaml.indent"),
            Format::Json => ("json", "stores.json.indent"),
            Format::Binary => ("json_binary", "stores.json_binary.indent"),
            Format::Dotenv | Format::Ini => return Ok(None),
        };
        let usual = if format == Format::Yaml { 0 } else { -1 };
        let wanted = self.document.get("stores").and_then(|stores| stores.get(store)?.get("indent"));
        match wanted.map(Value::as_i64) {
            None => Ok(None),
            Some(Some(wanted)) if wanted == usual => Ok(None),
            Some(Some(wanted @ 0..=64)) => Ok(usize::try_from(wanted).ok()),
            Some(_) => Err(ChooseError::Indentation { rules: self.shown.clone(), field }),
        }
    }

    fn readings(&self) -> Result<impl Iterator<Item = (usize, Reading<'_>)>, ChooseError> {
        let rules: &[Value] = match self.document.get("creation_rules") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(rules)) => rules,
            Some(_) => {
                let problem = "creation_rules is not a list".to_owned();
                return Err(ChooseError::Yaml { rules: self.shown.clone(), problem });
            }
        };
        let reading = |index: usize| Reading {
            place: format!("rule {} of {}", index + 1, self.shown),
            rule: &rules[index],
        };
        Ok((0..rules.len()).map(move |index| (index, reading(index))))
    }

    fn find(&self, given: &Path) -> Result<Option<(usize, Reading<'_>)>, ChooseError> {
        if matches!(self.document.get("creation_rules"), None | Some(Value::Null)) {
            return Ok(None);
        }
        let subject = self.subject(&absolute(given));
        for (index, reading) in self.readings()? {
            let pattern = &self.patterns.get_or_init(|| self.compiled())[index];
            if match pattern {
                Some(pattern) => pattern.is_match(&subject),
                None => reading.fits(&subject)?,
            } {
                return Ok(Some((index, reading)));
            }
        }
        Err(ChooseError::NoRule { rules: self.shown.clone(), file: given.to_owned() })
    }

    /// Each rule's expression, made once for all files; `None` where there is none, or a wrong one.
    fn compiled(&self) -> Vec<Option<Regex>> {
        let pattern = |reading: Reading<'_>| {
            let text = reading.text(reading.rule, "path_regex").ok()?.filter(|text| !text.is_empty())?;
            reading.expression("path_regex", &text).ok()
        };
        self.readings().into_iter().flatten().map(|(_, reading)| pattern(reading)).collect()
    }

    /// What `path_regex` is searched in: the path from the folder of the rules on, the whole path for a file elsewhere.
    fn subject(&self, file: &Path) -> String {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        file.strip_prefix(folder).unwrap_or(file).to_string_lossy().into_owned()
    }

    fn written_for(&self, index: usize) -> Option<(String, String)> {
        let before = self.line_of(index)?.checked_sub(1)?;
        let comment = self.text.lines().nth(before)?.trim().strip_prefix("# touchseal: keyring ")?;
        let (keyring, namespace) = comment.split_once(", namespace ")?;
        Some((keyring.to_owned(), namespace.to_owned()))
    }

    /// Items of the list are counted in the text; a text where they do not add up says nothing.
    fn line_of(&self, index: usize) -> Option<usize> {
        let lines: Vec<&str> = self.text.lines().collect();
        let start = lines.iter().position(|line| line.starts_with("creation_rules:"))? + 1;
        let first = lines[start..].iter().find(|line| line.trim_start().starts_with('-'))?;
        let indent = first.len() - first.trim_start().len();
        let is_item = |line: &&str| {
            line.len() > indent && line[..indent].trim().is_empty() && line[indent..].starts_with('-')
        };
        let mut items = (start..lines.len()).filter(|at| lines.get(*at).is_some_and(is_item));
        items.nth(index)
    }
}

/// Whether a rule may name PGP keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pgp {
    Refused,
    Named,
}

struct Reading<'r> {
    place: String,
    rule: &'r Value,
}

impl Reading<'_> {
    fn fits(&self, subject: &str) -> Result<bool, ChooseError> {
        let pattern = self.text(self.rule, "path_regex")?.unwrap_or_default();
        if pattern.is_empty() {
            return Ok(true);
        }
        Ok(self.expression("path_regex", &pattern)?.is_match(subject))
    }

    fn expression(&self, field: &'static str, pattern: &str) -> Result<Regex, ChooseError> {
        Regex::new(pattern).map_err(|error| ChooseError::Pattern {
            place: self.place.clone(),
            field,
            pattern: pattern.to_owned(),
            problem: error.to_string(),
        })
    }

    /// All of it, its expression, too.
    fn checked(&self) -> Result<Chosen, ChooseError> {
        self.fits("")?;
        self.chosen(Pgp::Named)
    }

    fn chosen(&self, allowed: Pgp) -> Result<Chosen, ChooseError> {
        let mut pgp = Vec::new();
        let groups = match self.rule.get("key_groups") {
            Some(Value::Array(groups)) if !groups.is_empty() => {
                groups.iter().map(|group| self.group(group, &mut pgp)).collect::<Result<_, _>>()?
            }
            _ => vec![self.keys(self.rule, &mut pgp)?],
        };
        let (place, empty) = (self.place.clone(), groups.iter().any(Vec::is_empty));
        if !pgp.is_empty() && (empty || allowed == Pgp::Refused) {
            return Err(ChooseError::OtherKeys { place, field: PGP });
        }
        if empty {
            return Err(ChooseError::NoKeys { place });
        }
        let threshold = match self.rule.get("shamir_threshold") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let wrong = || self.wrong("shamir_threshold", "not a number");
                let number = usize::try_from(value.as_u64().ok_or_else(wrong)?).map_err(|_| wrong())?;
                (number != 0).then_some(number)
            }
        };
        Ok(Chosen { place, groups, threshold, pgp, rules: self.rules()?, written_for: None })
    }

    /// A key group; what it merges comes first.
    fn group(&self, group: &Value, pgp: &mut Vec<String>) -> Result<Vec<String>, ChooseError> {
        let mut keys = Vec::new();
        if let Some(Value::Array(merged)) = group.get("merge") {
            for other in merged {
                keys.extend(self.group(other, pgp)?);
            }
        }
        keys.extend(self.keys(group, pgp)?);
        Ok(without_repetition(keys))
    }

    /// The age recipients; PGP keys go to `pgp`.
    fn keys(&self, map: &Value, pgp: &mut Vec<String>) -> Result<Vec<String>, ChooseError> {
        if let Some(field) = OTHER_KEYS.into_iter().find(|field| map.get(*field).is_some_and(is_set)) {
            return Err(ChooseError::OtherKeys { place: self.place.clone(), field });
        }
        pgp.extend(self.listed(map, PGP)?);
        Ok(without_repetition(self.listed(map, "age")?))
    }

    /// Keys are a list, or one string with commas; the items of a group's list may have commas, too.
    fn listed(&self, map: &Value, field: &'static str) -> Result<Vec<String>, ChooseError> {
        let listed: Vec<&str> = match map.get(field) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                texts.ok_or_else(|| self.wrong(field, "not a list of strings"))?
            }
            Some(_) => return Err(self.wrong(field, "neither a string nor a list of strings")),
        };
        let keys =
            listed.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|key| !key.is_empty());
        Ok(keys.map(str::to_owned).collect())
    }

    fn rules(&self) -> Result<Rules, ChooseError> {
        let mut selector = None;
        for (field, select) in SELECTORS {
            let Some(text) = self.text(self.rule, field)?.filter(|text| !text.is_empty()) else { continue };
            if field.ends_with("regex") {
                self.expression(field, &text)?;
            }
            if selector.replace(select(text)).is_some() {
                return Err(self.wrong(field, "more than one way to say what is encrypted"));
            }
        }
        let mac_only_encrypted = match self.rule.get("mac_only_encrypted") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(value)) => *value,
            Some(_) => return Err(self.wrong("mac_only_encrypted", "not true or false")),
        };
        let usual = Rules::default();
        Ok(Rules { selector: selector.unwrap_or(usual.selector), mac_only_encrypted })
    }

    /// A field of text. Numbers and the like are what they look like, as in sops.
    fn text(&self, map: &Value, field: &'static str) -> Result<Option<String>, ChooseError> {
        match map.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(_) => Err(self.wrong(field, "not a string")),
        }
    }

    fn wrong(&self, field: &'static str, problem: &'static str) -> ChooseError {
        ChooseError::Field { place: self.place.clone(), field, problem }
    }
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

fn without_repetition(keys: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(keys.len());
    for key in keys {
        if !kept.contains(&key) {
            kept.push(key);
        }
    }
    kept
}

/// The path without `.` and `..`, links not followed: what sops compares.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
