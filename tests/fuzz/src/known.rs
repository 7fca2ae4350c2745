//! What the targets know: the vectors' identity, the data key of one of them, and what good documents hold.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use age::x25519::Identity;
use touchseal_sops::{Document, Format, Kind, Node, Opener, Plain};

/// Where the vectors of `part` are (`sops`, `keyring`).
pub fn vectors(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors").join(part)
}

/// A vector of the sops crate.
pub struct Vector {
    pub name: String,
    format: String,
    pub bytes: Vec<u8>,
}

/// The vectors of the sops crate in a format, by name.
pub fn documents(format: Format) -> impl Iterator<Item = &'static Vector> {
    static ALL: LazyLock<Vec<Vector>> = LazyLock::new(all_documents);
    let format = format.to_string();
    ALL.iter().filter(move |vector| vector.format == format)
}

fn all_documents() -> Vec<Vector> {
    let folder = vectors("sops");
    let mut found: Vec<Vector> = std::fs::read_dir(&folder)
        .expect("the vectors")
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let expect = std::fs::read_to_string(folder.join(format!("{name}.expect"))).ok()?;
            let format = expect.lines().find_map(|line| line.strip_prefix("format: "))?.to_owned();
            let bytes = std::fs::read(folder.join(&name)).ok()?;
            // The largest ones cost more than they show here.
            (bytes.len() <= 64 * 1024).then_some(Vector { name, format, bytes })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The identity all vectors are encrypted to. It protects nothing.
pub fn identity() -> &'static Identity {
    static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
        let text = std::fs::read_to_string(vectors("sops").join("identity.txt")).expect("the identity");
        text.lines().find_map(|line| line.parse().ok()).expect("an identity")
    });
    &IDENTITY
}

pub fn opener() -> &'static Opener {
    static OPENER: LazyLock<Opener> = LazyLock::new(|| Opener::new().with_x25519(identity().clone()));
    &OPENER
}

/// A wrapped data key, as sops wrote it, and the data key.
pub struct Wrapped {
    pub armored: String,
    pub key: [u8; 32],
}

pub fn wrapped() -> &'static Wrapped {
    static WRAPPED: LazyLock<Wrapped> = LazyLock::new(|| {
        let bytes = std::fs::read(vectors("sops").join("good.json")).expect("a vector");
        let document: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        let armored = document["sops"]["age"][0]["enc"].as_str().expect("an age file").to_owned();
        let key = age::decrypt(identity(), armored.as_bytes()).expect("opens");
        Wrapped { armored, key: key.try_into().expect("a data key") }
    });
    &WRAPPED
}

/// What the MAC covers of every document that opens and was not made here: its values in order, as authenticated.
pub fn originals() -> &'static HashSet<Vec<u8>> {
    static ORIGINALS: LazyLock<HashSet<Vec<u8>>> = LazyLock::new(|| {
        let formats = [Format::Yaml, Format::Json, Format::Dotenv, Format::Ini, Format::Binary];
        let opened = formats.into_iter().flat_map(|format| {
            documents(format).filter_map(move |vector| {
                let document = Document::parse(&vector.bytes, format).ok()?;
                document.decrypt_with(opener()).ok().map(|plain| covered(&plain))
            })
        });
        let all: HashSet<Vec<u8>> = opened.collect();
        assert!(all.len() >= 5, "the vectors do not open");
        all
    });
    &ORIGINALS
}

/// The values of the first branch in order, each as the MAC takes it. (Nulls, empty strings and where one value ends and the
/// next begins are not covered by it.)
pub fn covered(plain: &Plain) -> Vec<u8> {
    let mut found = Vec::new();
    let mut stack: Vec<Node<'_>> = plain.top_level().map(|(_, node)| node).collect();
    stack.reverse();
    while let Some(node) = stack.pop() {
        let mut inner: Vec<Node<'_>> = match (node.entries(), node.items()) {
            (Some(entries), _) => entries.map(|(_, node)| node).collect(),
            (_, Some(items)) => items.collect(),
            _ => Vec::new(),
        };
        inner.reverse();
        stack.extend(inner);
        found.extend_from_slice(match (node.kind(), node.bytes()) {
            (Some(Kind::Bool), Some(b"true")) => b"True",
            (Some(Kind::Bool), _) => b"False",
            (_, bytes) => bytes.unwrap_or_default(),
        });
    }
    found
}
