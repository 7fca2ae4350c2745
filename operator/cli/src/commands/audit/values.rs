//! The values that are in use: what was encrypted in the documents of a tree, each with the Secret key that it is served as.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;
use touchseal_crds::encrypted_secret::Mapping;
use touchseal_sops::{Format, Node, PathSegment, Plain, Sealed};
use zeroize::Zeroizing;

use crate::documents::{self, Candidate, DocumentFile, Opened, Progress, Reading};
use crate::error::{Failure, one_line};
use crate::local_keys::Identities;

/// Which value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `namespace/name` of its EncryptedSecret, or its file.
    pub of: String,
    pub namespace: Option<String>,
    /// The EncryptedSecret.
    pub object: Option<String>,
    /// The Secret key it is served as, alone or among others.
    pub secret_key: Option<String>,
    pub file: String,
    /// The document, where a file holds several.
    pub document: Option<String>,
    /// Where it stands in the document: `database.hosts[0]`. Empty for a file that is encrypted as a whole.
    pub path: String,
    pub last_modified: String,
}

/// A value and its name.
pub struct Value {
    pub key: Key,
    pub bytes: Zeroizing<Vec<u8>>,
}

/// All there are, and which documents could not be looked into.
#[derive(Default)]
pub struct Values {
    pub documents: usize,
    pub values: Vec<Value>,
    /// File or document, and why.
    pub closed: Vec<(String, String)>,
}

impl Key {
    /// As it is told: `shop/app:PASSWORD`, and of a Secret key that holds several values which one.
    pub fn name(&self) -> String {
        let path = self.path.trim_start_matches("stringData.").trim_start_matches("data.");
        match &self.secret_key {
            Some(key) if key == path || path.is_empty() => format!("{}:{key}", self.of),
            Some(key) => format!("{}:{key} ({})", self.of, self.path),
            None if path.is_empty() => self.of.clone(),
            None => format!("{}:{}", self.of, self.path),
        }
    }
}

/// Opens every document below these paths.
///
/// # Errors
/// The keyring does not open, or there is no document.
pub fn read(
    paths: &[PathBuf],
    input_type: Option<Format>,
    namespace: Option<&str>,
    keys: &mut Identities,
) -> Result<Values, Failure> {
    let candidates = documents::find(paths)?;
    let mut progress = Progress::new(candidates.len());
    let mut found = Values::default();
    for candidate in &candidates {
        progress.file(&candidate.path);
        match candidate.read(input_type) {
            Ok(Reading::Documents(file)) => {
                progress.clear();
                of_file(&file, namespace, keys, &mut found)?;
            }
            Ok(Reading::Other | Reading::Doubtful) => {}
            Err(problem) => found.closed.push((shown(candidate), problem.of_its_file())),
        }
    }
    if found.documents == 0 && found.closed.is_empty() {
        return Err(documents::nothing_in(candidates.len()));
    }
    Ok(found)
}

fn of_file(
    file: &DocumentFile,
    namespace: Option<&str>,
    keys: &mut Identities,
    found: &mut Values,
) -> Result<(), Failure> {
    let objects = objects(file);
    for (index, document) in file.documents().iter().enumerate() {
        found.documents += 1;
        let opened = match file.open(index, keys, namespace) {
            Ok(opened) => opened,
            Err(failure) => {
                // No other document will fare better.
                if keys.failure().is_some() || keys.has_no_keyring() {
                    return Err(failure);
                }
                found.closed.push((file.label(index), failure.what().to_owned()));
                continue;
            }
        };
        let object = objects.iter().find(|object| object.text == document.text);
        let path = file.path().display().to_string();
        let namespace = document.namespace.as_deref().or(namespace.filter(|_| file.is_manifest()));
        let of = match (object, namespace) {
            (Some(object), Some(namespace)) => format!("{namespace}/{}", object.name),
            (Some(object), None) => object.name.clone(),
            (None, _) => path.clone(),
        };
        let key = Key {
            of: one_line(&of),
            namespace: namespace.filter(|_| object.is_some()).map(str::to_owned),
            object: object.map(|object| object.name.clone()),
            secret_key: None,
            file: path,
            document: file.is_manifest().then(|| document.name.clone()),
            path: String::new(),
            last_modified: opened.document.metadata().last_modified().to_owned(),
        };
        of_document(&opened, object, &key, &mut found.values);
    }
    Ok(())
}

fn of_document(opened: &Opened, object: Option<&Object>, of: &Key, values: &mut Vec<Value>) {
    let plain = &opened.plain;
    let is_secret = is_secret_manifest(plain);
    for sealed in opened.document.sealed(plain) {
        let Some(bytes) = sealed.node.bytes() else { continue };
        let (secret_key, packed) = match object {
            Some(object) => served_as(object, plain, &sealed),
            None => (None, is_secret && starts_with(&sealed, "data")),
        };
        let bytes = match packed {
            true => unpacked(bytes),
            false => Zeroizing::new(bytes.to_vec()),
        };
        let path = if plain.format() == Format::Binary { String::new() } else { path_of(&sealed) };
        let key = Key { secret_key, path, ..of.clone() };
        values.push(Value { key, bytes });
    }
}

/// An EncryptedSecret's inline document.
struct Object {
    name: String,
    text: String,
    /// The document's own name.
    document: Option<String>,
    mapping: Option<Mapping>,
}

/// What a manifest says of its documents besides their text; a second reading of the same file.
fn objects(file: &DocumentFile) -> Vec<Object> {
    let Some(stream) = file.text().ok().filter(|_| file.is_manifest()) else { return Vec::new() };
    let stream: Vec<Json> = crate::yaml::all_from_str(&stream).unwrap_or_default();
    let items = |object: &Json| match object.get("items").and_then(Json::as_array) {
        Some(items) => items.clone(),
        None => vec![object.clone()],
    };
    let of_object = |object: Json| {
        let name = object.pointer("/metadata/name").and_then(Json::as_str).unwrap_or_default().to_owned();
        let listed = object.pointer("/spec/documents").and_then(Json::as_array).cloned().unwrap_or_default();
        let is_one = object.get("kind").and_then(Json::as_str) == Some("EncryptedSecret");
        listed.into_iter().filter(move |_| is_one).filter_map(move |document| {
            let text = document.get("sops")?.as_str()?.to_owned();
            let own_name = document.get("name").and_then(Json::as_str).map(str::to_owned);
            let mapping = document.get("mapping").cloned();
            let mapping = mapping.and_then(|mapping| serde_json::from_value(mapping).ok());
            Some(Object { name: name.clone(), text, document: own_name, mapping })
        })
    };
    stream.iter().flat_map(items).flat_map(of_object).collect()
}

/// The Secret key that a value comes to, as the operator maps it, and whether it is base64 there.
fn served_as(object: &Object, plain: &Plain, sealed: &Sealed<'_>) -> (Option<String>, bool) {
    let first = match sealed.path.first() {
        Some(PathSegment::Key(key)) => *key,
        _ => return (None, false),
    };
    let second = match sealed.path.get(1) {
        Some(PathSegment::Key(key)) => Some(*key),
        _ => None,
    };
    match &object.mapping {
        Some(Mapping::File { key }) => (Some(key.clone()), false),
        None if plain.format() == Format::Binary => {
            (Some(object.document.clone().unwrap_or_else(|| "data".to_owned())), false)
        }
        None | Some(Mapping::Flat {}) => match second {
            Some(second) if plain.format() == Format::Ini && first == "DEFAULT" => {
                (Some(second.to_owned()), false)
            }
            Some(second) if plain.format() == Format::Ini => (Some(format!("{first}.{second}")), false),
            _ => (Some(first.to_owned()), false),
        },
        Some(Mapping::Paths(paths)) => {
            let is_here =
                |node: Node<'_>| node.bytes().map(<[u8]>::as_ptr) == sealed.node.bytes().map(<[u8]>::as_ptr);
            let named = paths.iter().find(|one| plain.lookup(&one.path).is_ok_and(is_here));
            (named.map(|one| one.key.clone()), false)
        }
        Some(Mapping::Manifest {}) => (second.map(str::to_owned), first == "data"),
    }
}

fn is_secret_manifest(plain: &Plain) -> bool {
    let text =
        |name: &str| plain.top_level().find(|(key, _)| *key == name).and_then(|(_, node)| node.bytes());
    text("kind") == Some(b"Secret") && text("apiVersion") == Some(b"v1")
}

fn starts_with(sealed: &Sealed<'_>, name: &str) -> bool {
    sealed.path.first() == Some(&PathSegment::Key(name))
}

/// What base64 stands for; the text itself where it is none.
fn unpacked(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let packed: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect());
    BASE64.decode(&*packed).map_or_else(|_| Zeroizing::new(text.to_vec()), Zeroizing::new)
}

fn path_of(sealed: &Sealed<'_>) -> String {
    let mut path = String::new();
    if sealed.document > 0 {
        path.push_str(&format!("#{}", sealed.document + 1));
    }
    for step in &sealed.path {
        match step {
            PathSegment::Index(index) => path.push_str(&format!("[{index}]")),
            PathSegment::Key(key) if path.is_empty() => path.push_str(key),
            PathSegment::Key(key) => path.push_str(&format!(".{key}")),
        }
    }
    one_line(&path)
}

fn shown(candidate: &Candidate) -> String {
    candidate.path.display().to_string()
}
