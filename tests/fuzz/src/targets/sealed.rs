//! Structure-aware: the input describes a plaintext tree, which is sealed with the known data key by a second
//! implementation and must come out as it was. So any mutant passes the ciphers and the MAC.

use touchseal_sops::{Document, Format, Kind, Plain};

use super::Target;
use crate::known::opener;
use crate::seal::{self, CLEAR, Node, Options};

pub const SEALED: Target = Target { name: "sealed", run, vectors };

fn run(input: &[u8]) {
    let mut script = Script(input);
    match script.byte() % 8 {
        0 => dotenv(&mut script),
        1 => ini(&mut script),
        2 => binary(&mut script),
        shape => {
            let map = script.map(0);
            let text = seal::json(&map, Options { mac_only_encrypted: shape == 3 });
            for format in [Format::Json, Format::Yaml] {
                let plain = opened(&text, format);
                assert_eq!(tree(&plain, format), expected(&map, format), "{format} opens to another tree");
                assert!(plain.emit().is_some());
            }
        }
    }
}

fn opened(text: &str, format: Format) -> Plain {
    let document = Document::parse(text.as_bytes(), format);
    let document =
        document.map_err(|error| format!("{format} does not parse: {error}\n{text}")).expect("parses");
    let plain = document.decrypt_with(opener());
    plain.map_err(|error| format!("{format} does not open: {error}\n{text}")).expect("opens")
}

fn dotenv(script: &mut Script<'_>) {
    let map = script.pairs();
    let plain = opened(&seal::dotenv(&map), Format::Dotenv);
    let map: Vec<_> = map.into_iter().map(|(key, value)| (key, Node::Text(value))).collect();
    assert_eq!(tree(&plain, Format::Dotenv), map, "dotenv opens to another tree");
    assert!(plain.emit().is_some());
}

fn ini(script: &mut Script<'_>) {
    let mut sections = vec![("first".to_owned(), script.pairs())];
    while script.byte().is_multiple_of(4) && sections.len() < 4 {
        sections.push((format!("s{}", sections.len()), script.pairs()));
    }
    let plain = opened(&seal::ini(&sections), Format::Ini);
    let section = |keys: Vec<(String, Vec<u8>)>| {
        Node::Map(keys.into_iter().map(|(key, value)| (key, Node::Text(value))).collect())
    };
    let mut expected = vec![("DEFAULT".to_owned(), Node::Map(Vec::new()))];
    expected.extend(sections.into_iter().map(|(name, keys)| (name, section(keys))));
    assert_eq!(tree(&plain, Format::Ini), expected, "ini opens to another tree");
    assert!(plain.emit().is_some());
}

fn binary(script: &mut Script<'_>) {
    let content = script.0.to_vec();
    let text = seal::json(&[("data".to_owned(), Node::Text(content.clone()))], Options::default());
    let plain = opened(&text, Format::Binary);
    assert_eq!(plain.emit().map(|bytes| bytes.to_vec()), Some(content), "another file comes out");
}

/// What a format makes of a tree: a whole number in the clear is floating point in JSON.
fn expected(map: &[(String, Node)], format: Format) -> Vec<(String, Node)> {
    fn node(from: &Node, clear: bool) -> Node {
        match from {
            Node::Int(number) if clear => Node::Float(*number as f64),
            Node::List(items) => Node::List(items.iter().map(|item| node(item, clear)).collect()),
            Node::Map(inner) => Node::Map(entries(inner, clear)),
            other => other.clone(),
        }
    }
    fn entries(map: &[(String, Node)], clear: bool) -> Vec<(String, Node)> {
        map.iter().map(|(key, value)| (key.clone(), node(value, clear || key.ends_with(CLEAR)))).collect()
    }
    if format == Format::Json { entries(map, false) } else { map.to_vec() }
}

fn tree(plain: &Plain, format: Format) -> Vec<(String, Node)> {
    assert_eq!(plain.format(), format);
    plain.top_level().map(|(key, value)| (key.to_owned(), node(value))).collect()
}

fn node(from: touchseal_sops::Node<'_>) -> Node {
    if let Some(entries) = from.entries() {
        return Node::Map(entries.map(|(key, value)| (key.to_owned(), node(value))).collect());
    }
    if let Some(items) = from.items() {
        return Node::List(items.map(node).collect());
    }
    let bytes = from.bytes().unwrap_or_default();
    let number = || std::str::from_utf8(bytes).expect("a number");
    match from.kind() {
        None => Node::Null,
        Some(Kind::Int) => Node::Int(number().parse().expect("a whole number")),
        Some(Kind::Float) => Node::Float(number().parse().expect("a number")),
        Some(Kind::Bool) => Node::Bool(bytes == b"true"),
        Some(Kind::Str | Kind::Time | Kind::Bytes) => Node::Text(bytes.to_vec()),
    }
}

/// Reads a tree off the input; anything is a tree.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(255)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()) % 80;
        let taken = length.min(self.0.len());
        self.0.split_off(..taken).unwrap_or_default().to_vec()
    }

    fn number(&mut self) -> [u8; 8] {
        std::array::from_fn(|_| self.byte())
    }

    /// Up to eight different keys with values.
    fn pairs(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut pairs = Vec::new();
        while !self.0.is_empty() && !self.byte().is_multiple_of(8) && pairs.len() < 8 {
            let (name, mut value) = (self.bytes(), self.bytes());
            let word: String =
                name.iter().filter(|b| b.is_ascii_alphanumeric()).map(|&b| char::from(b)).collect();
            let clear = self.byte().is_multiple_of(4);
            if clear {
                value = printable(&value);
            }
            let ending = if clear { CLEAR } else { "" };
            pairs.push((format!("k{}{word}{ending}", pairs.len()), value));
        }
        pairs
    }

    fn map(&mut self, depth: usize) -> Vec<(String, Node)> {
        let mut map: Vec<(String, Node)> = Vec::new();
        while !self.0.is_empty() && !self.byte().is_multiple_of(8) {
            let mut key = String::from_utf8_lossy(&self.bytes()).into_owned();
            // YAML takes no control characters but in escapes that JSON does not have.
            key.retain(|c| c >= ' ' && !matches!(c, '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}'..='\u{ffff}'));
            let node = self.node(depth + 1, false);
            if key != "sops" && !map.iter().any(|(other, _)| *other == key) {
                map.push((key, node));
            }
            let clear = format!("clear{}{CLEAR}", map.len());
            if self.byte().is_multiple_of(8) && !map.iter().any(|(other, _)| *other == clear) {
                map.push((clear, self.node(depth + 1, true)));
            }
        }
        map
    }

    fn node(&mut self, depth: usize, clear: bool) -> Node {
        match self.byte() % 12 {
            0 => Node::Null,
            // In the clear a JSON number is floating point, which does not hold every whole number.
            1 | 2 if clear => Node::Int(i64::from_le_bytes(self.number()) >> 11),
            1 | 2 => Node::Int(i64::from_le_bytes(self.number())),
            3 => Node::Bool(self.byte().is_multiple_of(2)),
            4 => {
                let number = f64::from_le_bytes(self.number());
                if number.is_finite() && !clear { Node::Float(number) } else { Node::Float(0.5) }
            }
            5 if depth < 12 && !clear => Node::Map(self.map(depth)),
            6 | 7 if depth < 12 => {
                let mut items = Vec::new();
                while !self.0.is_empty() && !self.byte().is_multiple_of(4) {
                    items.push(self.node(depth + 1, clear));
                }
                Node::List(items)
            }
            _ if clear => Node::Text(printable(&self.bytes())),
            _ => Node::Text(self.bytes()),
        }
    }
}

/// Text that means the same in every format: no sign that is special in any.
fn printable(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|b| b.is_ascii_alphanumeric() || *b == b'-').collect()
}

fn vectors() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..12u8)
        .map(|kind| {
            [&[kind, 1, 3], &b"key"[..], &[kind, 5], b"value", &[8, 1, 2], b"k2", &[kind, 3], b"v-2"].concat()
        })
        .collect();
    all.push([&[4, 1, 1, b'a', 5, 1, 1, b'b', 7, 1, 8, 2, b'x', b'y', 1, 1, 2, 0], &[0; 40][..]].concat());
    all.push([&[2][..], b"\x00\xff any bytes\n"].concat());
    all
}
