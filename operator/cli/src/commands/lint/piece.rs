//! One file looked at for itself: what is wrong whoever reads it, and what of it others must be compared with. Knows no disk:
//! all that is shared by files comes with [`Rules`].

use std::path::{Path, PathBuf};

use memchr::memmem::Finder;
use serde_json::Value;
use touchseal_crds::{KeyringSpec, RecipientSpec};
use touchseal_keyring::{VerifiedManifest, manifest};
use touchseal_sops::limits;

use super::document::{self, Doc};
use super::finding::{Finding, Place, listed, shown};
use super::plain;
use super::rules::Rule;
use super::templates;
use super::tree::Source;
use crate::commands::encrypt::is_never_meant;
use crate::commands::verify::objects::{self, Judged};
use crate::creation_rules::{ChooseError, Chosen, Config};
use crate::documents::nodes::{self, Node};
use crate::documents::{Candidate, DocumentsError, Reading};
use crate::error::chain;

/// The creation rule of a file, if there is one that somebody could follow.
pub trait Rules: Sync {
    /// The rule for a file, and whether it names files at all.
    fn of(&self, path: &Path) -> Option<(Chosen, bool)>;
}

/// What a file holds.
#[derive(Debug)]
pub struct Piece {
    pub source: Source,
    pub findings: Vec<Finding>,
    pub documents: Vec<Doc>,
    pub objects: Vec<Object>,
    pub keyrings: Vec<(Place, String, VerifiedManifest)>,
    pub recipients: Vec<Published>,
    pub rules: Vec<OfRules>,
    pub fed: Vec<(Place, PathBuf)>,
    /// Lines whose comment says that something is meant, and what.
    pub allowed: Vec<(usize, Vec<Rule>)>,
}

/// An EncryptedSecret.
#[derive(Debug)]
pub struct Object {
    pub place: Place,
    pub name: String,
    pub namespace: Option<String>,
    pub target: String,
    /// All that its documents are encrypted to.
    pub recipients: Vec<String>,
}

/// A Recipient object.
#[derive(Debug)]
pub struct Published {
    pub keyring: String,
    pub namespace: String,
    pub spec: RecipientSpec,
}

/// A creation rule, where it stands.
#[derive(Debug)]
pub struct OfRules {
    pub place: Place,
    pub chosen: Chosen,
}

/// Words without which there is nothing to see in a file.
pub struct Words {
    secret: Finder<'static>,
    generator: Finder<'static>,
    touchseal: Finder<'static>,
    ciphertext: Finder<'static>,
    lastmodified: Finder<'static>,
}

impl Default for Words {
    fn default() -> Self {
        let word = Finder::new;
        Self {
            secret: word("Secret"),
            generator: word("secretGenerator"),
            touchseal: word("touchseal.dev/"),
            ciphertext: word("ENC[AES256_GCM,"),
            lastmodified: word("lastmodified"),
        }
    }
}

const ALLOW: &str = "touchseal-lint: allow ";
const RULES_FILES: [&str; 2] = [".sops.yaml", ".sops.yml"];

/// Looks at one file; `None` where nothing in it concerns anybody.
pub fn of(source: &Source, bytes: &[u8], words: &Words, rules: &dyn Rules) -> Option<Piece> {
    let name = source.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let has = |word: &Finder<'_>| word.find(bytes).is_some();
    let of_rules = RULES_FILES.contains(&name.as_str());
    let sops = has(&words.ciphertext) || has(&words.lastmodified);
    let manifest = is_manifest(&name)
        && (has(&words.touchseal)
            || has(&words.generator)
            || (has(&words.secret) && memchr::memmem::find(bytes, b"kind").is_some()));
    let chosen = rules.of(&source.path);
    if !(of_rules || sops || manifest || chosen.is_some()) {
        return None;
    }
    let mut piece = Piece::of(source);
    let text = std::str::from_utf8(bytes);
    if let Ok(text) = text {
        piece.allowed = allowed(text);
        if of_rules {
            piece.of_rules(text);
        }
        if sops || manifest {
            piece.documents(text, chosen.as_ref().map(|(chosen, _)| chosen));
        }
        if manifest {
            piece.manifest(text);
        }
    }
    let told = |finding: &Finding| matches!(finding.rule, Rule::PlaintextSecret | Rule::DocumentMalformed);
    if let Some((chosen, true)) = &chosen
        && piece.documents.is_empty()
        && !piece.findings.iter().any(told)
        && bytes.len() <= limits::MAX_BYTES
        && !bytes.is_empty()
        && !is_never_meant(&source.path, bytes)
    {
        let message = format!("it is plain text, and {} says whom to encrypt it to", chosen.place);
        piece.find(Place::FIRST, Rule::PlaintextDocument, &message);
    }
    Some(piece)
}

impl Piece {
    /// Of which nothing is known yet.
    pub fn of(source: &Source) -> Piece {
        Piece {
            source: source.clone(),
            findings: Vec::new(),
            documents: Vec::new(),
            objects: Vec::new(),
            keyrings: Vec::new(),
            recipients: Vec::new(),
            rules: Vec::new(),
            fed: Vec::new(),
            allowed: Vec::new(),
        }
    }

    /// Something is wrong here.
    pub fn find(&mut self, place: Place, rule: Rule, message: &str) {
        self.findings.push(Finding::new(&self.source.shown, place, rule, message));
    }

    /// sops documents, on their own or inside manifests.
    fn documents(&mut self, text: &str, chosen: Option<&Chosen>) {
        let candidate = Candidate { path: self.source.path.clone(), named: false };
        let file = match candidate.judge(text.to_owned(), None) {
            Ok(Reading::Documents(file)) => file,
            Ok(Reading::Other | Reading::Doubtful) => return,
            Err(problem) => {
                let (rule, line) = match &problem {
                    // What a template makes is judged where it is made.
                    DocumentsError::NotYaml { .. } if text.contains("{{") => return,
                    DocumentsError::NotYaml { line, .. } => (Rule::Unreadable, *line),
                    DocumentsError::NotSops { source, .. } => {
                        (Rule::DocumentMalformed, source.line().unwrap_or(1) as usize)
                    }
                    DocumentsError::Twice { .. } | DocumentsError::Shared { .. } => {
                        (Rule::ManifestInvalid, 1)
                    }
                    _ => (Rule::DocumentMalformed, 1),
                };
                return self.find(Place::line(line), rule, &problem.of_its_file());
            }
        };
        for (index, inside) in file.documents().iter().enumerate() {
            document::look(self, text, &file, index, inside, chosen);
        }
        let Ok((judged, agreed)) = objects::judge(&file) else { return };
        if !agreed {
            self.find(Place::FIRST, Rule::ManifestInvalid, objects::DISAGREEMENT);
        }
        let stream = nodes::parse(text).unwrap_or_default();
        let there = plain::objects(&stream).into_iter().filter(|node| {
            let kind = |key| plain::text(node, key).unwrap_or_default();
            kind("kind") == "EncryptedSecret" && kind("apiVersion").starts_with("touchseal.dev/")
        });
        let there: Vec<&Node> = there.collect();
        there.iter().for_each(|object| templates::look(self, text, object));
        let places: Vec<Option<usize>> = there.into_iter().map(Node::start).collect();
        for (index, object) in judged.into_iter().enumerate() {
            let start = places.get(index).copied().flatten().unwrap_or_default();
            let end = places.get(index + 1).copied().flatten().unwrap_or(usize::MAX);
            self.encrypted_secret(Place::of(text, start), object, start..end);
        }
    }

    fn encrypted_secret(&mut self, place: Place, object: Judged, extent: std::ops::Range<usize>) {
        let Judged { name, namespace, target, problems } = object;
        for problem in problems {
            self.find(place, Rule::ManifestInvalid, &format!("EncryptedSecret {}: {problem}", shown(&name)));
        }
        let within = self.documents.iter().filter(|document| extent.contains(&document.start));
        let recipients = within.flat_map(|document| document.recipients.clone()).collect();
        self.objects.push(Object { place, name, namespace, target, recipients });
    }

    /// Secrets, generators, Keyrings and Recipients.
    fn manifest(&mut self, text: &str) {
        let masked;
        let stream = match nodes::parse(text) {
            Ok(stream) => stream,
            Err(problem) => {
                masked = plain::without_templates(text);
                match nodes::parse(&masked) {
                    Ok(stream) if masked != text => stream,
                    _ => return self.unreadable(text, problem.line),
                }
            }
        };
        for object in plain::objects(&stream) {
            if let Some(found) = plain::secret(object) {
                let what = if found.keys.len() == 1 { "a value" } else { "values" };
                let keys = listed(&found.keys);
                let message =
                    format!("Secret {} has {what} in plain text: {keys}", shown(plain::name(object)));
                self.find(Place::of(text, found.start), Rule::PlaintextSecret, &message);
            }
            let (literals, fed) = plain::generators(object);
            if let Some(found) = literals {
                let message =
                    format!("a secretGenerator has literals in plain text: {}", listed(&found.keys));
                self.find(Place::of(text, found.start), Rule::PlaintextGenerator, &message);
            }
            let folder = self.source.path.parent().unwrap_or(Path::new("")).to_owned();
            self.fed.extend(fed.into_iter().map(|fed| (Place::of(text, fed.start), folder.join(fed.path))));
        }
        self.ours(text, &stream);
    }

    /// A file that cannot be read as YAML is worth a word only if it looks like one that matters.
    fn unreadable(&mut self, text: &str, line: usize) {
        if self.findings.iter().any(|finding| finding.rule == Rule::Unreadable) {
            return;
        }
        let matters = |line: &str| {
            let line = line.trim_start();
            ["kind: Secret", "kind: Keyring", "secretGenerator:"].iter().any(|word| line.starts_with(word))
        };
        if text.lines().any(matters) {
            self.find(Place::line(line), Rule::Unreadable, "not valid YAML");
        }
    }

    /// Keyrings and Recipients, read as the programs read them.
    fn ours(&mut self, text: &str, stream: &[Node]) {
        let places = plain::objects(stream).into_iter().filter(|node| {
            let kind = plain::text(node, "kind").unwrap_or_default();
            let ours =
                plain::text(node, "apiVersion").is_some_and(|version| version.starts_with("touchseal.dev/"));
            ours && matches!(kind, "Keyring" | "Recipient")
        });
        let places: Vec<Place> =
            places.map(|node| Place::of(text, node.start().unwrap_or_default())).collect();
        let Some(first) = places.first().copied() else { return };
        let values: Vec<Value> = match crate::yaml::all_from_str(text) {
            Ok(values) => values,
            Err(problem) => return self.find(first, Rule::KeyringInvalid, &format!("read it: {problem}")),
        };
        let listed = |value: Value| match value.get("items").and_then(Value::as_array) {
            Some(items)
                if value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List")) =>
            {
                items.clone()
            }
            _ => vec![value],
        };
        let mut places = places.into_iter();
        for value in values.into_iter().flat_map(listed) {
            let field = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
            if !field("/apiVersion").starts_with("touchseal.dev/") {
                continue;
            }
            let (kind, name) = (field("/kind"), field("/metadata/name").to_owned());
            let namespace = field("/metadata/namespace").to_owned();
            if !matches!(kind, "Keyring" | "Recipient") {
                continue;
            }
            let place = places.next().unwrap_or(first);
            let spec = value.get("spec").cloned().unwrap_or_default();
            match kind {
                "Keyring" => self.keyring(place, name, serde_json::from_value(spec)),
                _ => match serde_json::from_value(spec) {
                    Ok(spec) => self.recipients.push(Published { keyring: name, namespace, spec }),
                    Err(_) => {
                        let message = format!("Recipient {}: it does not fit the schema", shown(&name));
                        self.find(place, Rule::ManifestInvalid, &message);
                    }
                },
            }
        }
    }

    fn keyring(&mut self, place: Place, name: String, spec: Result<KeyringSpec, serde_json::Error>) {
        let problem = match spec {
            Ok(spec) => match manifest::verify(&spec) {
                Ok(verified) => return self.keyrings.push((place, name, verified)),
                Err(problem) => chain(&problem),
            },
            Err(_) => "it does not fit the schema".to_owned(),
        };
        self.find(place, Rule::KeyringInvalid, &format!("Keyring {}: {problem}", shown(&name)));
    }

    /// The rules of a `.sops.yaml`, each for itself.
    fn of_rules(&mut self, text: &str) {
        let every = match Config::of_text(&self.source.path, text).and_then(|config| config.every()) {
            Ok(every) => every,
            Err(ChooseError::Yaml { problem, .. }) => {
                return self.find(Place::FIRST, Rule::CreationRules, &problem);
            }
            Err(problem) => return self.find(Place::FIRST, Rule::CreationRules, &chain(&problem)),
        };
        for (line, chosen) in every {
            let place = Place::line(line.unwrap_or(1));
            match chosen {
                Ok(chosen) => self.rules.push(OfRules { place, chosen }),
                Err(ChooseError::OtherKeys { .. }) => {}
                Err(problem) => self.find(place, Rule::CreationRules, &chain(&problem)),
            }
        }
    }
}

/// Names of files that manifests are kept in.
fn is_manifest(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| matches!(ending.as_str(), "yaml" | "yml" | "json" | "tpl" | "tmpl"))
}

/// Comments that say that something is meant.
fn allowed(text: &str) -> Vec<(usize, Vec<Rule>)> {
    if !text.contains(ALLOW) {
        return Vec::new();
    }
    let of_line = |(index, line): (usize, &str)| {
        let (before, rest) = line.split_once(ALLOW)?;
        let comment = before.trim_end().ends_with('#');
        let words = rest.split([' ', ',']).map(str::trim).filter(|word| !word.is_empty());
        let rules = words.map_while(|word| word.parse().ok()).collect();
        comment.then_some((index + 1, rules))
    };
    text.lines().enumerate().filter_map(of_line).collect()
}

#[cfg(test)]
#[path = "piece_tests.rs"]
mod tests;
