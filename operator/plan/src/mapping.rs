//! Documents -> Secret keys: flat, whole file, single values by path, or a whole `kind: Secret` manifest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use touchseal_crds::encrypted_secret::{Mapping, PathKey};
use touchseal_sops::{Format, LookupError, Node, Plain};
use zeroize::Zeroizing;

use crate::content::Content;

/// Longest Secret key (Kubernetes: a DNS-1123 subdomain's length).
const MAX_KEY: usize = 253;
/// Most keys of one Secret. Each takes its name and a digest in the ledger and in the object's status, however short its
/// value is, and the ledger's room is shared with other tenants.
pub const MAX_KEYS: usize = 512;
/// Most paths of one `mapping.paths`: each gives a key of its own. The schema says so too, but an object may have been
/// stored under an older one.
pub const MAX_PATHS: usize = MAX_KEYS;
/// Largest sum of key names and values of one Secret, in bytes (Kubernetes: `MaxSecretSize`, of the values alone).
pub const MAX_SECRET_BYTES: usize = 1024 * 1024;
/// Secret key of a binary document that has no name.
const BINARY_KEY: &str = "data";

/// Why a document cannot become Secret keys. Names keys and paths, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Flat, and a top-level key holds a map or list.
    #[error(
        "key {key} holds a map or a list; use mapping.paths for single values or mapping.file for the whole file"
    )]
    NotScalar { key: String },
    /// A key holds null.
    #[error("key {key} holds null; give it a value or remove it")]
    Null { key: String },
    /// Not a Secret key.
    #[error(
        "{key:?} is no Secret key (letters, digits, '-', '_', '.'; at most {MAX_KEY}); map it with mapping.paths"
    )]
    BadKey { key: String },
    /// Two documents, or two paths, give the same key.
    #[error("key {key} comes up twice; a Secret key may come from one place only")]
    DuplicateKey { key: String },
    /// A path of `mapping.paths` leads nowhere.
    #[error("path {path}: {source}")]
    Path {
        /// The path as written.
        path: String,
        /// What is wrong with it.
        source: LookupError,
    },
    /// The document holds several YAML documents.
    #[error("the file holds {documents} YAML documents; keep one a file, or use mapping.file")]
    SeveralDocuments { documents: usize },
    /// `mapping.manifest`, and it is none.
    #[error("the document is not a `kind: Secret` manifest of apiVersion v1")]
    NotASecretManifest,
    /// Flat, and the document is a manifest.
    #[error("the document is a `kind: Secret` manifest; use mapping.manifest")]
    IsASecretManifest,
    /// `data` of a manifest is not base64.
    #[error("data.{key} is not base64; put plain text under stringData")]
    NotBase64 { key: String },
    /// The decrypted file cannot be written in its format.
    #[error("the decrypted document cannot be written as {format}")]
    Emit {
        /// Its format.
        format: Format,
    },
    /// More than a Secret can hold.
    #[error(
        "keys and values sum up to more than {MAX_SECRET_BYTES} bytes, the limit of a Secret; split the document"
    )]
    TooLarge,
    /// More keys than are kept account of.
    #[error(
        "it gives more than {MAX_KEYS} Secret keys; split it over several EncryptedSecrets, or use mapping.file for \
         the whole file under one key"
    )]
    TooManyKeys,
    /// More paths than a Secret may have keys.
    #[error(
        "mapping.paths lists {paths} paths, at most {MAX_PATHS} are allowed; split it over several EncryptedSecrets"
    )]
    TooManyPaths {
        /// How many.
        paths: usize,
    },
}

/// Adds what one document gives to `content`.
///
/// `name` is the document's file name, used as the key of a binary document without a mapping.
///
/// # Errors
/// The document does not fit the mapping; `content` is then to be thrown away.
pub fn add(
    content: &mut Content,
    plain: &Plain,
    mapping: Option<&Mapping>,
    name: Option<&str>,
) -> Result<(), MappingError> {
    match mapping {
        None if plain.format() == Format::Binary => file(content, plain, name.unwrap_or(BINARY_KEY)),
        None | Some(Mapping::Flat {}) => flat(content, plain),
        Some(Mapping::File { key }) => file(content, plain, key),
        Some(Mapping::Paths(paths)) => picked(content, plain, paths),
        Some(Mapping::Manifest {}) => manifest(content, plain),
    }
}

fn flat(content: &mut Content, plain: &Plain) -> Result<(), MappingError> {
    single(plain)?;
    if is_secret_manifest(plain) {
        return Err(MappingError::IsASecretManifest);
    }
    for (key, node) in plain.top_level() {
        if plain.format() == Format::Ini {
            // The stock section of an ini file holds the keys before the first header.
            for (inner, value) in node.entries().into_iter().flatten() {
                let full = if key == "DEFAULT" { inner.to_owned() } else { format!("{key}.{inner}") };
                put(content, &full, scalar(&full, value)?)?;
            }
            continue;
        }
        put(content, key, scalar(key, node)?)?;
    }
    Ok(())
}

fn file(content: &mut Content, plain: &Plain, key: &str) -> Result<(), MappingError> {
    let bytes = plain.emit().ok_or(MappingError::Emit { format: plain.format() })?;
    put(content, key, bytes)
}

fn picked(content: &mut Content, plain: &Plain, paths: &[PathKey]) -> Result<(), MappingError> {
    single(plain)?;
    if paths.len() > MAX_PATHS {
        return Err(MappingError::TooManyPaths { paths: paths.len() });
    }
    let mut finder = plain.finder();
    for PathKey { path, key } in paths {
        let node = finder.lookup(path).map_err(|source| MappingError::Path { path: path.clone(), source })?;
        put(content, key, scalar(path, node)?)?;
    }
    Ok(())
}

fn manifest(content: &mut Content, plain: &Plain) -> Result<(), MappingError> {
    single(plain)?;
    if !is_secret_manifest(plain) {
        return Err(MappingError::NotASecretManifest);
    }
    for (field, node) in plain.top_level() {
        match field {
            "type" => content.type_ = node.bytes().map(|b| String::from_utf8_lossy(b).into_owned()),
            "stringData" => {
                for (key, value) in node.entries().into_iter().flatten() {
                    put(content, key, scalar(key, value)?)?;
                }
            }
            "data" => {
                for (key, value) in node.entries().into_iter().flatten() {
                    let text = scalar(key, value)?;
                    // Wrapped base64 is common in block scalars.
                    let packed: Zeroizing<Vec<u8>> =
                        Zeroizing::new(text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect());
                    let bytes = BASE64
                        .decode(&*packed)
                        .map_err(|_| MappingError::NotBase64 { key: key.to_owned() })?;
                    put(content, key, Zeroizing::new(bytes))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_secret_manifest(plain: &Plain) -> bool {
    let text =
        |name: &str| plain.top_level().find(|(key, _)| *key == name).and_then(|(_, node)| node.bytes());
    text("kind") == Some(b"Secret") && text("apiVersion") == Some(b"v1")
}

fn single(plain: &Plain) -> Result<(), MappingError> {
    match plain.documents() {
        1 => Ok(()),
        documents => Err(MappingError::SeveralDocuments { documents }),
    }
}

fn scalar(key: &str, node: Node<'_>) -> Result<Zeroizing<Vec<u8>>, MappingError> {
    match node.bytes() {
        Some(bytes) => Ok(Zeroizing::new(bytes.to_vec())),
        None if node.is_null() => Err(MappingError::Null { key: key.to_owned() }),
        None => Err(MappingError::NotScalar { key: key.to_owned() }),
    }
}

/// Whether a Secret can have such a key.
pub(crate) fn check_key(key: &str) -> Result<(), MappingError> {
    let plain_char = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let dots = key == "." || key == ".." || key.starts_with("..");
    if key.is_empty() || key.len() > MAX_KEY || dots || !key.bytes().all(plain_char) {
        let shown: String = key.chars().take(64).collect();
        return Err(MappingError::BadKey { key: shown });
    }
    Ok(())
}

/// Adds one key, if it may be in a Secret and there is room for it.
pub(crate) fn put(content: &mut Content, key: &str, value: Zeroizing<Vec<u8>>) -> Result<(), MappingError> {
    check_key(key)?;
    if content.data.len() >= MAX_KEYS && !content.data.contains_key(key) {
        return Err(MappingError::TooManyKeys);
    }
    content.size += key.len() + value.len();
    if content.size > MAX_SECRET_BYTES {
        return Err(MappingError::TooLarge);
    }
    match content.data.insert(key.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(MappingError::DuplicateKey { key: key.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_empty(content: &mut Content, keys: std::ops::Range<usize>) -> Result<(), MappingError> {
        keys.into_iter().try_for_each(|n| put(content, &format!("key{n}"), Zeroizing::new(Vec::new())))
    }

    #[test]
    fn a_secret_has_so_many_keys_however_little_they_hold() {
        let mut content = Content::default();
        assert_eq!(put_empty(&mut content, 0..MAX_KEYS), Ok(()));
        assert_eq!(put_empty(&mut content, 0..1), Err(MappingError::DuplicateKey { key: "key0".to_owned() }));
        let error = put_empty(&mut content, MAX_KEYS..MAX_KEYS + 1).unwrap_err();
        assert_eq!(error, MappingError::TooManyKeys);
        assert!(error.to_string().contains("mapping.file"), "{error}");
        assert_eq!(content.data.len(), MAX_KEYS);
    }

    #[test]
    fn a_list_of_too_many_paths_is_refused_before_any_is_looked_up() {
        let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/sops");
        let read = |name: &str| std::fs::read_to_string(format!("{vectors}/{name}")).unwrap();
        let identity = read("identity.txt");
        let identity = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
        let identity: age::x25519::Identity = identity.parse().unwrap();
        let document =
            touchseal_sops::Document::parse(read("good-second-recipient.yaml").as_bytes(), Format::Yaml);
        let plain = document.unwrap().decrypt(&[&identity]).unwrap();
        let paths = |count: usize| {
            let nowhere = PathKey { path: "no.where".to_owned(), key: "k".to_owned() };
            Mapping::Paths(vec![nowhere; count])
        };
        let refused = |count| add(&mut Content::default(), &plain, Some(&paths(count)), None).unwrap_err();
        assert!(matches!(refused(MAX_PATHS), MappingError::Path { .. }));
        assert_eq!(refused(MAX_PATHS + 1), MappingError::TooManyPaths { paths: MAX_PATHS + 1 });
    }

    #[test]
    fn names_count_like_values() {
        let filled = |size: usize| {
            let mut content = Content::default();
            put(&mut content, "k", Zeroizing::new(vec![0; size])).map(|()| content)
        };
        assert!(filled(MAX_SECRET_BYTES - 1).is_ok());
        assert_eq!(filled(MAX_SECRET_BYTES).err(), Some(MappingError::TooLarge));
        let mut content = filled(MAX_SECRET_BYTES - 6).unwrap();
        assert_eq!(put_empty(&mut content, 0..1), Ok(()));
        assert_eq!(put_empty(&mut content, 1..2), Err(MappingError::TooLarge));
    }
}
