//! Documents -> content: parse, choose the keyring, decrypt, map, compose, digest. The only place of the operator where
//! plaintext comes into being.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use touchseal_crds::Reason;
use touchseal_crds::encrypted_secret::EncryptedSecretSpec;
use touchseal_keyring::DigestKey;
use touchseal_plan::{Content, Digests, LedgerEntry, LedgerKey, Opened, Trouble, mapping, template};
use touchseal_sops::{Document, Fault, Plain};

use crate::keys::{KeyringKeys, NamespaceKeys};
use crate::moved;
use crate::secrets::Fingerprinter;
use crate::sources::Source;

/// What opening needs to know.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The object's spec.
    pub spec: &'a EncryptedSecretSpec,
    /// Its documents, in the order of the spec.
    pub sources: &'a [Source],
    /// What opens documents of its namespace.
    pub keys: &'a NamespaceKeys,
    /// What the ledger knows of it.
    pub ledger: Option<&'a LedgerEntry>,
    /// Its name.
    pub name: &'a str,
    /// Compares contents within this process.
    pub fingerprinter: &'a Fingerprinter,
}

/// Opens all documents of one EncryptedSecret.
pub fn open(given: Given<'_>) -> (Opened, Option<Content>) {
    let keys = given.keys;
    match try_open(given) {
        Ok((digests, content)) => (Opened::Content(digests), Some(content)),
        Err(Closed::Sealed) => (Opened::Sealed { keyrings: keys.sealed.join(", ") }, None),
        Err(Closed::Refused { otherwise }) => {
            (Opened::Refused { keyrings: keys.refused.join(", "), otherwise }, None)
        }
        Err(Closed::Failed(trouble)) => (Opened::Failed(trouble), None),
    }
}

/// What is said where [`open`] panicked.
pub fn unreadable() -> Opened {
    let message = "touchseal could not read it; this is a fault of touchseal: please report it, and encrypt the documents again with sops";
    Opened::Failed(Trouble::new(Reason::InvalidDocument, message))
}

enum Closed {
    Sealed,
    Refused { otherwise: Option<String> },
    Failed(Trouble),
}

fn failed(reason: Reason, message: String) -> Closed {
    Closed::Failed(Trouble::new(reason, message))
}

fn try_open(given: Given<'_>) -> Result<(Digests, Content), Closed> {
    let Given { spec, sources, keys, ledger, name, fingerprinter } = given;
    let documents = parse(sources)?;
    let keyring = choose(&documents, sources, keys)?;
    let mut content = Content::default();
    let mut oldest = u32::MAX;
    let mut times = Times::default();
    for ((document, source), spec) in documents.iter().zip(sources).zip(&spec.documents) {
        let title = &source.title;
        let plain = document.decrypt_with(&keyring.opener).map_err(|error| {
            let (reason, hint) = match error.fault() {
                Fault::Recipients => (Reason::NoMatchingRecipient, recipients_hint(document, keys)),
                Fault::Tampered => (
                    Reason::DocumentTampered,
                    "restore the file from git history, or encrypt it again with sops".to_owned(),
                ),
                Fault::Author => (Reason::InvalidDocument, "encrypt it again with sops".to_owned()),
                Fault::Unsupported => {
                    (Reason::UnsupportedDocument, "encrypt it again without that feature".to_owned())
                }
            };
            failed(reason, format!("{title}: {error}; {hint}"))
        })?;
        mapping::add(&mut content, &plain, spec.mapping.as_ref(), spec.name.as_deref())
            .map_err(|error| failed(Reason::InvalidMapping, format!("{title}: {error}")))?;
        oldest = oldest.min(generation(&plain, keyring));
        times.take(&content, document.metadata().last_modified());
    }
    if let Some(template) = spec.target.as_ref().and_then(|target| target.template.as_ref()) {
        let composed = template::compose(content, template)
            .map_err(|error| failed(Reason::TemplateFailed, error.to_string()))?;
        times.compose(&composed.made_of);
        content = composed.content;
    }
    let digests = digest(&content, keyring, oldest, times, ledger, name, fingerprinter)?;
    Ok((digests, content))
}

/// Authenticated `lastmodified`s.
#[derive(Default)]
struct Times {
    newest: Option<Time>,
    keys: BTreeMap<String, Time>,
}

impl Times {
    /// The keys that `content` got just now come from a document of this time; whole seconds, as the ledger stores them.
    fn take(&mut self, content: &Content, last_modified: &str) {
        let Ok(time) = last_modified.parse::<Timestamp>() else { return };
        let Ok(time) = Timestamp::from_second(time.as_second()).map(Time) else { return };
        for key in content.data.keys() {
            if !self.keys.contains_key(key) {
                self.keys.insert(key.clone(), time.clone());
            }
        }
        self.newest = self.newest.take().max(Some(time));
    }

    /// A composed key is as old as the oldest document it is made of: who changes its template, or something else in it,
    /// makes no value of it younger, and none of its documents goes back unseen.
    fn compose(&mut self, made_of: &BTreeMap<String, BTreeSet<String>>) {
        let oldest =
            |names: &BTreeSet<String>| names.iter().filter_map(|name| self.keys.get(name)).min().cloned();
        let composed: Vec<_> = made_of.iter().map(|(key, names)| (key.clone(), oldest(names))).collect();
        for (key, time) in composed {
            match time {
                Some(time) => drop(self.keys.insert(key, time)),
                None => drop(self.keys.remove(&key)),
            }
        }
    }
}

fn parse(sources: &[Source]) -> Result<Vec<Document>, Closed> {
    let mut documents = Vec::with_capacity(sources.len());
    for source in sources {
        let document = Document::parse(&source.bytes, source.format).map_err(|error| {
            let reason = match error.fault() {
                Fault::Unsupported => Reason::UnsupportedDocument,
                _ => Reason::InvalidDocument,
            };
            failed(reason, format!("{}: {error}; commit the file exactly as sops wrote it", source.title))
        })?;
        documents.push(document);
    }
    Ok(documents)
}

/// The keyring that holds a key for every document. The recipients a document names are not authenticated: they only
/// choose which key is tried, and a wrong one opens nothing.
fn choose<'k>(
    documents: &[Document],
    sources: &[Source],
    keys: &'k NamespaceKeys,
) -> Result<&'k KeyringKeys, Closed> {
    let opens = |keyring: &KeyringKeys, document: &Document| {
        document.age_recipients().any(|recipient| keyring.recipients.contains_key(recipient))
    };
    if let Some(keyring) = keys.open.iter().find(|keyring| documents.iter().all(|d| opens(keyring, d))) {
        return Ok(keyring);
    }
    if !keys.sealed.is_empty() {
        return Err(Closed::Sealed);
    }
    let nobody_opens = documents.iter().zip(sources).find(|(d, _)| !keys.open.iter().any(|k| opens(k, d)));
    Err(match nobody_opens {
        // Which recipients a refused keyring has cannot be told, so this may be one of them: not its author's fault.
        Some((document, source)) if !keys.refused.is_empty() => Closed::Refused {
            otherwise: (!keys.open.is_empty())
                .then(|| format!("{}: {}", source.title, recipients_hint(document, keys))),
        },
        Some((document, source)) => failed(
            Reason::NoMatchingRecipient,
            format!("{}: not encrypted to this namespace; {}", source.title, recipients_hint(document, keys)),
        ),
        None => failed(
            Reason::NoMatchingRecipient,
            "the documents are encrypted under different keyrings; encrypt all of them to one".to_owned(),
        ),
    })
}

/// The oldest generation whose key was needed to open a document. Whom a document names decides nothing here: an entry
/// of a newer generation that opens nothing would make an older key look dispensable.
fn generation(plain: &Plain, keyring: &KeyringKeys) -> u32 {
    let needed = plain.opened_by().filter_map(|recipient| keyring.recipients.get(recipient)).min();
    needed.copied().unwrap_or(keyring.active)
}

fn recipients_hint(document: &Document, keys: &NamespaceKeys) -> String {
    if keys.open.is_empty() {
        return "there is no keyring in this cluster: apply its manifest".to_owned();
    }
    let have: Vec<&str> = document.age_recipients().take(4).collect();
    let have = if have.is_empty() { "no age recipient".to_owned() } else { have.join(", ") };
    let want: Vec<&str> = keys
        .open
        .iter()
        .filter_map(|k| k.recipients.iter().find(|(_, generation)| **generation == k.active))
        .map(|(recipient, _)| recipient.as_str())
        .collect();
    format!("it names {have}; this namespace's recipient is {} (sops updatekeys)", want.join(" or "))
}

/// The ledger's digest of one value of the EncryptedSecret `name`.
pub fn digest_of(key: &DigestKey, name: &str, secret_key: &str, value: &[u8]) -> String {
    let digest = key.digest(&[name.as_bytes(), secret_key.as_bytes(), value]);
    BASE64.encode(&digest[..16])
}

fn digest(
    content: &Content,
    keyring: &KeyringKeys,
    oldest_generation: u32,
    times: Times,
    ledger: Option<&LedgerEntry>,
    name: &str,
    fingerprinter: &Fingerprinter,
) -> Result<Digests, Closed> {
    let under = |generation: u32| -> Option<BTreeMap<String, String>> {
        let key = keyring.digests.get(&generation)?;
        Some(content.data.iter().map(|(k, v)| (k.clone(), digest_of(key, name, k, v))).collect())
    };
    let key = LedgerKey { keyring: keyring.id.clone(), generation: keyring.active };
    let keys = under(keyring.active).ok_or_else(|| {
        failed(Reason::ApiError, format!("keyring {} has no Active generation", keyring.name))
    })?;
    let older = ledger
        .filter(|entry| entry.key.keyring == keyring.id)
        .map(LedgerEntry::key_generations)
        .into_iter()
        .flatten()
        .filter(|generation| *generation != keyring.active)
        .filter_map(|generation| Some((generation, under(generation)?)))
        .collect();
    let of_keyring = ledger.filter(|entry| entry.key.keyring == keyring.id);
    let elsewhere = of_keyring.map(|entry| {
        let now = under(entry.key.generation);
        moved::known(content, entry, now.as_ref(), &keyring.digests, name)
    });
    let fingerprint = fingerprinter.of(content.data.iter().map(|(k, v)| (k.as_str(), v.as_slice())));
    Ok(Digests {
        keyring: keyring.name.clone(),
        key,
        oldest_generation,
        keys,
        older,
        modified: times.keys,
        elsewhere: elsewhere.unwrap_or_default(),
        fingerprint,
        type_: content.type_.clone(),
        last_modified: times.newest,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use touchseal_sops::{Format, Opener};

    use super::*;

    #[test]
    fn a_composed_key_is_as_old_as_the_oldest_document_in_it() {
        let at = |second| Time(Timestamp::from_second(second).unwrap());
        let keys = [("host", 30), ("user", 20), ("password", 10), ("url", 5)];
        let keys = keys.map(|(key, time)| (key.to_owned(), at(time))).into();
        let mut times = Times { keys, newest: None };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let made_of = [
            ("dsn", names(&["host", "user"])),
            ("url", names(&["host"])),
            ("user", names(&["password", "user"])),
            ("fixed", names(&[])),
        ];
        times.compose(&made_of.map(|(key, of)| (key.to_owned(), of)).into());
        let found = |key: &str| times.keys.get(key).map(|time| time.0.as_second());
        assert_eq!(
            (found("dsn"), found("url"), found("user"), found("fixed")),
            (Some(20), Some(30), Some(10), None)
        );
    }

    const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/sops");

    #[test]
    fn the_generation_is_the_one_whose_key_opened_and_not_the_newest_named() {
        let read = |name: &str| std::fs::read_to_string(format!("{VECTORS}/{name}")).unwrap();
        let identity = read("identity.txt");
        let identity = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
        let old: age::x25519::Identity = identity.parse().unwrap();
        let new = age::x25519::Identity::generate();
        let [old_recipient, new_recipient] = [&old, &new].map(|key| key.to_public().to_string());
        let keyring = KeyringKeys {
            name: "main".to_owned(),
            id: String::new(),
            active: 2,
            opener: Opener::new().with_x25519(new).with_x25519(old),
            recipients: HashMap::from([(old_recipient.clone(), 1), (new_recipient.clone(), 2)]),
            digests: BTreeMap::new(),
        };
        let text = read("good-second-recipient.yaml");
        let renamed = text.replace(&old_recipient, &new_recipient);
        assert_ne!(text, renamed);
        for text in [text, renamed] {
            let document = Document::parse(text.as_bytes(), Format::Yaml).unwrap();
            let plain = document.decrypt_with(&keyring.opener).unwrap();
            assert_eq!(generation(&plain, &keyring), 1);
        }
    }
}
