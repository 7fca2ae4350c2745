//! The values that are in use: what was encrypted in the documents of a tree, each with the Secret key that it is served as.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;
use touchseal_crds::encrypted_secret::Mapping;
use touchseal_plan::template::Serving;
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
    /// The Secret keys that it is served as or is part of.
    pub secret_keys: Vec<String>,
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
        let keys = self.secret_keys.join(", ");
        match (keys.is_empty(), path.is_empty()) {
            (true, true) => self.of.clone(),
            (true, false) => format!("{}:{}", self.of, self.path),
            (false, false) if keys != path => format!("{}:{keys} ({})", self.of, self.path),
            (false, _) => format!("{}:{keys}", self.of),
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
            Ok(Reading::Other) => {}
            Ok(Reading::Doubtful) => {
                found.closed.push((
                    shown(candidate),
                    "it holds what sops writes, but is no sops document".to_owned(),
                ));
            }
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
        let path = file.path().display().to_string();
        let namespace = document.namespace.as_deref().or(namespace.filter(|_| file.is_manifest()));
        let key = Key {
            of: one_line(&path),
            namespace: None,
            object: None,
            secret_keys: Vec::new(),
            file: path,
            document: file.is_manifest().then(|| document.name.clone()),
            path: String::new(),
            last_modified: opened.document.metadata().last_modified().to_owned(),
        };
        // Several objects may have the same document, and each serves it.
        let is_same =
            |(text, of): (&str, Option<&str>)| text == document.text && of == document.namespace.as_deref();
        let here: Vec<&Object> = objects.iter().filter(|one| is_same((&one.text, one.namespace()))).collect();
        let before = &file.documents()[..index];
        if here.is_empty() {
            of_document(&opened, None, &key, &mut found.values);
        } else if !before.iter().any(|one| is_same((&one.text, one.namespace.as_deref()))) {
            for object in here {
                let of =
                    namespace.map_or_else(|| object.name.clone(), |one| format!("{one}/{}", object.name));
                let key = Key {
                    of: one_line(&of),
                    namespace: namespace.map(str::to_owned),
                    object: Some(object.name.clone()),
                    ..key.clone()
                };
                of_document(&opened, Some(object), &key, &mut found.values);
            }
        }
    }
    Ok(())
}

fn of_document(opened: &Opened, object: Option<&Object>, of: &Key, values: &mut Vec<Value>) {
    let plain = &opened.plain;
    let is_secret = is_secret_manifest(plain);
    for sealed in opened.document.sealed(plain) {
        let Some(bytes) = sealed.node.bytes() else { continue };
        let (secret_keys, packed) = match object {
            Some(object) => served_as(object, plain, &sealed),
            None => (Vec::new(), is_secret && starts_with(&sealed, "data")),
        };
        let bytes = match packed {
            true => unpacked(bytes),
            false => Zeroizing::new(bytes.to_vec()),
        };
        let path = if plain.format() == Format::Binary { String::new() } else { path_of(&sealed) };
        let key = Key { secret_keys, path, ..of.clone() };
        values.push(Value { key, bytes });
    }
}

/// An EncryptedSecret's inline document.
struct Object {
    name: String,
    namespace: Option<String>,
    text: String,
    /// The document's own name.
    document: Option<String>,
    mapping: Option<Mapping>,
    /// Where there are templates: what becomes of the documents' keys.
    serving: Option<Rc<Serving>>,
}

impl Object {
    fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
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
        let text = |path: &str| object.pointer(path).and_then(Json::as_str).map(str::to_owned);
        let name = text("/metadata/name").unwrap_or_default();
        let namespace = text("/metadata/namespace");
        let template = object.pointer("/spec/target/template").cloned();
        let template = template.and_then(|template| serde_json::from_value(template).ok());
        let serving = template.map(|template| Rc::new(Serving::of(&template)));
        let listed = object.pointer("/spec/documents").and_then(Json::as_array).cloned().unwrap_or_default();
        let is_one = object.get("kind").and_then(Json::as_str) == Some("EncryptedSecret");
        listed.into_iter().filter(move |_| is_one).filter_map(move |document| {
            let text = document.get("sops")?.as_str()?.to_owned();
            let own_name = document.get("name").and_then(Json::as_str).map(str::to_owned);
            let mapping = document.get("mapping").cloned();
            let mapping = mapping.and_then(|mapping| serde_json::from_value(mapping).ok());
            let (name, namespace, serving) = (name.clone(), namespace.clone(), serving.clone());
            Some(Object { name, namespace, text, document: own_name, mapping, serving })
        })
    };
    stream.iter().flat_map(items).flat_map(of_object).collect()
}

/// The Secret keys that a value comes to, as the operator maps and composes it, and whether it is base64 in the document.
fn served_as(object: &Object, plain: &Plain, sealed: &Sealed<'_>) -> (Vec<String>, bool) {
    let (names, packed) = given_as(object, plain, sealed);
    let Some(serving) = &object.serving else { return (names, packed) };
    let keys: BTreeSet<String> = names.iter().flat_map(|name| serving.keys(name)).collect();
    (keys.into_iter().collect(), packed)
}

/// The documents' keys that it comes to.
fn given_as(object: &Object, plain: &Plain, sealed: &Sealed<'_>) -> (Vec<String>, bool) {
    let first = match sealed.path.first() {
        Some(PathSegment::Key(key)) => *key,
        _ => return (Vec::new(), false),
    };
    let second = match sealed.path.get(1) {
        Some(PathSegment::Key(key)) => Some(*key),
        _ => None,
    };
    let one = |key: &str| (vec![key.to_owned()], false);
    match &object.mapping {
        Some(Mapping::File { key }) => one(key),
        None if plain.format() == Format::Binary => one(object.document.as_deref().unwrap_or("data")),
        None | Some(Mapping::Flat {}) => match second {
            Some(second) if plain.format() == Format::Ini && first == "DEFAULT" => one(second),
            Some(second) if plain.format() == Format::Ini => one(&format!("{first}.{second}")),
            _ => one(first),
        },
        Some(Mapping::Paths(paths)) => {
            let is_here =
                |node: Node<'_>| node.bytes().map(<[u8]>::as_ptr) == sealed.node.bytes().map(<[u8]>::as_ptr);
            let named = paths.iter().filter(|one| plain.lookup(&one.path).is_ok_and(is_here));
            (named.map(|one| one.key.clone()).collect(), false)
        }
        Some(Mapping::Manifest {}) => (second.map(str::to_owned).into_iter().collect(), first == "data"),
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
