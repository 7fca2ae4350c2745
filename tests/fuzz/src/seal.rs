//! A second writer of sops documents, independent of the crate under test: what is sealed here with a known data key must
//! come out as it went in. JSON text, which is YAML as well, and the flat formats.

use aes_gcm::aead::generic_array::typenum::U32;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256, Sha512};

use crate::known;

/// A plaintext tree.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Null,
    Text(Vec<u8>),
    Int(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What is authenticated for a scalar.
    pub fn text(&self) -> Vec<u8> {
        match self {
            Node::Text(text) => text.clone(),
            Node::Int(number) => number.to_string().into_bytes(),
            Node::Float(number) => number.to_string().into_bytes(),
            Node::Bool(value) => if *value { "True" } else { "False" }.into(),
            Node::Null | Node::List(_) | Node::Map(_) => Vec::new(),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Node::Int(_) => "int",
            Node::Float(_) => "float",
            Node::Bool(_) => "bool",
            _ => "str",
        }
    }
}

/// Values under keys with this ending stay in the clear.
pub const CLEAR: &str = "_unencrypted";
const TIME: &str = "2026-01-02T03:04:05Z";

/// How a document is sealed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    pub mac_only_encrypted: bool,
}

/// Seals a map as one line of JSON.
pub fn json(map: &[(String, Node)], options: Options) -> String {
    let mut sealer = Sealer::new(options);
    let mut out = String::from("{");
    sealer.map(&mut out, map, &mut String::new(), false);
    if out.len() > 1 {
        out.push_str(", ");
    }
    let mut block = block(&sealer.mac(), "unencrypted_suffix", CLEAR);
    if options.mac_only_encrypted {
        block["mac_only_encrypted"] = json!(true);
    }
    out.push_str(&format!("\"sops\": {block}}}"));
    out
}

/// A `sops` block for our recipient.
pub fn block(mac: &str, selector: &str, text: &str) -> serde_json::Value {
    json!({
        "age": [{"recipient": known::identity().to_public().to_string(), "enc": known::wrapped().armored}],
        "lastmodified": TIME,
        "mac": mac,
        selector: text,
        "version": "3.11.0",
    })
}

/// Seals a dotenv file.
pub fn dotenv(map: &[(String, Vec<u8>)]) -> String {
    let mut sealer = Sealer::new(Options::default());
    let mut out = String::new();
    for (key, value) in map {
        let sealed = sealer.leaf(&Node::Text(value.clone()), &format!("{key}:"), key.ends_with(CLEAR));
        out.push_str(&format!("{key}={}\n", sealed.as_str().unwrap_or_default()));
    }
    for (name, value) in sealer.flat_block() {
        out.push_str(&format!("sops_{name}={value}\n"));
    }
    out
}

/// The keys of a flat file or section.
pub type Pairs = Vec<(String, Vec<u8>)>;

/// Seals an ini file of sections.
pub fn ini(sections: &[(String, Pairs)]) -> String {
    let mut sealer = Sealer::new(Options::default());
    let mut out = String::new();
    for (section, keys) in sections {
        out.push_str(&format!("[{section}]\n"));
        for (key, value) in keys {
            let path = format!("{section}:{key}:");
            let sealed = sealer.leaf(&Node::Text(value.clone()), &path, key.ends_with(CLEAR));
            out.push_str(&format!("{key} = {}\n", sealed.as_str().unwrap_or_default()));
        }
    }
    out.push_str("[sops]\n");
    for (name, value) in sealer.flat_block() {
        out.push_str(&format!("{name} = {value}\n"));
    }
    out
}

struct Sealer {
    cipher: AesGcm<Aes256, U32>,
    mac: Sha512,
    count: u64,
    options: Options,
}

impl Sealer {
    fn new(options: Options) -> Sealer {
        let mut mac = Sha512::new();
        if options.mac_only_encrypted {
            mac.update(Sha256::digest(b"sops"));
        }
        Sealer { cipher: AesGcm::new((&known::wrapped().key).into()), mac, count: 0, options }
    }

    /// Nonces are counted: the same input must always make the same document.
    fn seal(&mut self, plain: &[u8], kind: &str, additional: &[u8]) -> String {
        self.count += 1;
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&self.count.to_le_bytes());
        let mut data = plain.to_vec();
        let tag = self
            .cipher
            .encrypt_in_place_detached(Nonce::<U32>::from_slice(&nonce), additional, &mut data)
            .expect("AES-GCM seals");
        let [data, iv, tag] = [&data[..], &nonce, &tag].map(|bytes| STANDARD.encode(bytes));
        format!("ENC[AES256_GCM,data:{data},iv:{iv},tag:{tag},type:{kind}]")
    }

    fn leaf(&mut self, node: &Node, path: &str, clear: bool) -> serde_json::Value {
        let text = node.text();
        if !(clear && self.options.mac_only_encrypted) {
            self.mac.update(&text);
        }
        let shown = || String::from_utf8_lossy(&text).into_owned();
        match node {
            Node::Null => serde_json::Value::Null,
            Node::Text(empty) if empty.is_empty() => json!(""),
            Node::Text(_) if clear => json!(shown()),
            Node::Int(number) if clear => json!(number),
            Node::Float(number) if clear => json!(number),
            Node::Bool(value) if clear => json!(value),
            _ => json!(self.seal(&text, node.word(), path.as_bytes())),
        }
    }

    fn map(&mut self, out: &mut String, map: &[(String, Node)], path: &mut String, clear: bool) {
        for (index, (key, node)) in map.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { "" });
            out.push_str(&format!("{}: ", json!(key)));
            let length = path.len();
            path.push_str(key);
            path.push(':');
            self.node(out, node, path, clear || key.ends_with(CLEAR));
            path.truncate(length);
        }
    }

    fn node(&mut self, out: &mut String, node: &Node, path: &mut String, clear: bool) {
        match node {
            Node::Map(map) => {
                out.push('{');
                self.map(out, map, path, clear);
                out.push('}');
            }
            Node::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    self.node(out, item, path, clear);
                }
                out.push(']');
            }
            leaf => out.push_str(&self.leaf(leaf, path, clear).to_string()),
        }
    }

    fn mac(&mut self) -> String {
        let digest = hex::encode_upper(self.mac.finalize_reset());
        self.seal(digest.as_bytes(), "str", TIME.as_bytes())
    }

    fn flat_block(&mut self) -> Vec<(&'static str, String)> {
        vec![
            ("age__list_0__map_enc", known::wrapped().armored.replace('\n', "\\n")),
            ("age__list_0__map_recipient", known::identity().to_public().to_string()),
            ("lastmodified", TIME.to_owned()),
            ("mac", self.mac()),
            ("unencrypted_suffix", CLEAR.to_owned()),
            ("version", "3.11.0".to_owned()),
        ]
    }
}
