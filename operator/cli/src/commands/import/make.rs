//! From plaintext to a manifest: each part becomes one sops document, encrypted as `touchseal encrypt` does it, and what is
//! written is read back first.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use touchseal_crds::encrypted_secret::{
    DeletionPolicy, DocumentSource, EncryptedSecretSpec, Mapping, Target as SecretTarget,
};
use touchseal_sops::{Format, Rules, Selector};
use zeroize::Zeroizing;

use super::error::ImportError;
use super::material::{Material, Pair, Part, Sops};
use crate::commands::encrypt::{self, Target};
use crate::commands::wrap::{self, check_round_trip};
use crate::error::Failure;
use crate::yaml;

/// Largest text of a document that an EncryptedSecret takes.
const MAX_DOCUMENT: usize = 1024 * 1024;
/// sops leaves clear what stands under keys that end so.
const CLEAR_SUFFIX: &str = "_unencrypted";

/// A manifest that is complete.
pub struct Made {
    pub text: String,
}

/// Somebody whom nobody is: whether it can be encrypted is seen without knowing whom to.
pub fn nobody() -> Result<Target, Failure> {
    let target =
        encrypt::target(vec![age::x25519::Identity::generate().to_public().to_string()], String::new())?;
    Ok(Target { listed: Vec::new(), ..target })
}

/// The manifest of one Secret.
pub fn make(material: &Material, target: &Target, retain: bool) -> Result<Made, Failure> {
    let documents =
        material.documents.iter().map(|part| document(material, part, target)).collect::<Result<_, _>>()?;
    let secret = SecretTarget {
        type_: material.secret_type.clone(),
        labels: material.labels.clone(),
        annotations: material.annotations.clone(),
        ..SecretTarget::default()
    };
    let spec = EncryptedSecretSpec {
        documents,
        target: (secret != SecretTarget::default()).then_some(secret),
        deletion_policy: retain.then_some(DeletionPolicy::Retain),
        ..EncryptedSecretSpec::default()
    };
    let metadata = json!({ "name": material.name, "namespace": material.namespace });
    let object: Value = json!({ "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret", "metadata": metadata, "spec": spec });
    let text = yaml::to_string(&object).map_err(|_| ImportError::RoundTrip(material.label()))?;
    check_round_trip(&text, &object)?;
    Ok(Made { text })
}

fn document(material: &Material, part: &Part, target: &Target) -> Result<DocumentSource, Failure> {
    if let Part::Sops(sops) = part {
        return Ok(wrapped(material, sops, target)?);
    }
    let (name, format, text, mapping, selector) = match part {
        Part::File { key, bytes } => {
            // As sops keeps any file; the ending of its name would tell another format.
            let mapping = Some(Mapping::File { key: key.clone() });
            (key.clone(), Format::Binary, bytes.clone(), mapping, None)
        }
        Part::Values { name, pairs } if is_flat(pairs) => {
            (name.clone(), Format::Yaml, flat(material, pairs)?, None, None)
        }
        Part::Sops(_) => return Err(ImportError::RoundTrip(material.label()).into()),
        Part::Values { name, pairs } => {
            let selector = Selector::EncryptedRegex("^(data|stringData)$".to_owned());
            (
                name.clone(),
                Format::Yaml,
                manifest(material, pairs),
                Some(Mapping::Manifest {}),
                Some(selector),
            )
        }
    };
    let rules = selector.map(|selector| Rules { selector, ..Rules::default() });
    let label = format!("{}: {name}", material.label());
    let (sops, coverage) = encrypt::encrypt(Path::new(&label), &text, format, target, rules.as_ref())?;
    if mapping.is_none() && coverage.clear > 0 {
        return Err(ImportError::RoundTrip(material.label()).into());
    }
    if sops.len() > MAX_DOCUMENT {
        let (secret, size) = (material.label(), sops.len());
        return Err(
            ImportError::DocumentTooLarge { secret, document: name, size, limit: MAX_DOCUMENT }.into()
        );
    }
    let by_name = Format::from_file_name(&name);
    Ok(DocumentSource {
        name: Some(name),
        sops: Some(sops),
        config_map_key_ref: None,
        format: (by_name != Some(format)).then_some(wrap::word(format)),
        mapping,
    })
}

/// A document as it is. It must be for the namespace: to whom is in the clear in it. Where nobody can tell which recipient is
/// the namespace's, it must be for each that a new document would be for.
fn wrapped(material: &Material, sops: &Sops, target: &Target) -> Result<DocumentSource, ImportError> {
    let (secret, document) = (material.label(), sops.name.clone());
    let is_for = |one: &String| sops.recipients.contains(one);
    let opens = target.own.iter().any(is_for) || target.own.is_empty() && target.listed.iter().all(is_for);
    if !opens {
        let document = material.from.first().cloned().unwrap_or(document);
        return Err(ImportError::Recipient { document, namespace: material.namespace.clone() });
    }
    if sops.text.len() > MAX_DOCUMENT {
        let size = sops.text.len();
        return Err(ImportError::DocumentTooLarge { secret, document, size, limit: MAX_DOCUMENT });
    }
    let by_name = Format::from_file_name(&document);
    Ok(DocumentSource {
        name: Some(document),
        sops: Some(sops.text.clone()),
        config_map_key_ref: None,
        format: (by_name != Some(sops.format)).then_some(wrap::word(sops.format)),
        mapping: sops.mapping.clone(),
    })
}

/// Whether the values can stand under their own names: text, and no name that means something to sops or to the mapping.
fn is_flat(pairs: &[Pair]) -> bool {
    let is_text = |value: &[u8]| std::str::from_utf8(value).is_ok_and(|text| !text.contains('\0'));
    let is_free = |key: &str| !["sops", "kind", "apiVersion"].contains(&key) && !key.ends_with(CLEAR_SUFFIX);
    pairs.iter().all(|(key, value)| is_free(key) && is_text(value))
}

/// `key: value` lines, read back by a second reader: what would be another value to somebody is not written.
fn flat(material: &Material, pairs: &[Pair]) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let mut text = Zeroizing::new(String::new());
    for (key, value) in pairs {
        line(&mut text, 0, key, &String::from_utf8_lossy(value));
    }
    let back = yaml::from_str::<BTreeMap<String, String>>(&text);
    let same = back.is_ok_and(|back| {
        let back: BTreeMap<String, Zeroizing<String>> =
            back.into_iter().map(|(key, value)| (key, Zeroizing::new(value))).collect();
        back.len() == pairs.len()
            && pairs
                .iter()
                .all(|(key, value)| back.get(key).is_some_and(|text| text.as_bytes() == value.as_slice()))
    });
    if same {
        Ok(Zeroizing::new(text.as_bytes().to_vec()))
    } else {
        Err(ImportError::RoundTrip(material.label()))
    }
}

/// A `kind: Secret` manifest: bytes that are no text stand under `data`, in base64.
fn manifest(material: &Material, pairs: &[Pair]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new("apiVersion: v1\nkind: Secret\nmetadata:\n  name: ".to_owned());
    text.push_str(&yaml::quoted(&material.name));
    text.push('\n');
    let is_text = |value: &[u8]| std::str::from_utf8(value).is_ok_and(|text| !text.contains('\0'));
    for (field, wanted) in [("stringData", true), ("data", false)] {
        let mut own = pairs.iter().filter(|(_, value)| is_text(value) == wanted).peekable();
        if own.peek().is_some() {
            let _ = writeln!(text, "{field}:");
        }
        for (key, value) in own {
            match std::str::from_utf8(value) {
                Ok(value) if wanted => line(&mut text, 2, key, value),
                _ => line(&mut text, 2, key, &Zeroizing::new(STANDARD.encode(value))),
            }
        }
    }
    Zeroizing::new(text.as_bytes().to_vec())
}

fn line(text: &mut String, indent: usize, key: &str, value: &str) {
    let value = Zeroizing::new(yaml::block(value, indent + 2).unwrap_or_else(|| yaml::quoted(value)));
    text.extend(std::iter::repeat_n(' ', indent));
    text.push_str(&yaml::quoted(key));
    text.push_str(": ");
    text.push_str(&value);
    if !text.ends_with('\n') {
        text.push('\n');
    }
}

#[cfg(test)]
#[path = "make_tests.rs"]
mod tests;
