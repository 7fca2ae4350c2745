//! Paths as text: what is found by a text is what is found by its steps.

use std::sync::LazyLock;

use touchseal_sops::{Document, Format, PathSegment, Plain};

use super::Target;
use crate::known::opener;
use crate::seal::{self, Node, Options};

pub const LOOKUP: Target = Target { name: "lookup", run, vectors };

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let found = plain().lookup(&text);
    if let Err(error) = found {
        assert!(error.to_string().len() < 200);
    }
    // Quoted, any text is one key.
    for quote in ['"', '\''] {
        if !text.contains(quote) {
            let quoted = plain().lookup(&format!("[{quote}{text}{quote}]")).map(touchseal_sops::Node::bytes);
            let plainly = plain().get(&[PathSegment::Key(&text)]).map(touchseal_sops::Node::bytes);
            assert_eq!(quoted, plainly, "a quoted key is another than the key");
        }
    }
    // Unquoted, what has no sign of its own is a key, and dots part keys.
    if !text.contains(['[', ']']) && text.split('.').all(|key| !key.is_empty()) {
        let steps: Vec<PathSegment<'_>> = text.split('.').map(PathSegment::Key).collect();
        let stepped = plain().get(&steps).map(touchseal_sops::Node::bytes);
        assert_eq!(
            found.map(touchseal_sops::Node::bytes),
            stepped,
            "a dotted path is another than its steps"
        );
    }
}

fn plain() -> &'static Plain {
    static PLAIN: LazyLock<Plain> = LazyLock::new(|| {
        let text = |text: &str| Node::Text(text.into());
        let inner = vec![("c".to_owned(), text("1")), ("tls.crt".to_owned(), text("2"))];
        let map = vec![
            (
                "a".to_owned(),
                Node::List(vec![text("0"), Node::Map(inner.clone()), Node::List(vec![text("3")])]),
            ),
            ("b".to_owned(), Node::Map(inner)),
            ("é [0]".to_owned(), text("4")),
        ];
        let document = seal::json(&map, Options::default());
        let document = Document::parse(document.as_bytes(), Format::Json).expect("parses");
        document.decrypt_with(opener()).expect("opens")
    });
    &PLAIN
}

fn vectors() -> Vec<Vec<u8>> {
    [
        "a",
        "a[0]",
        "a[1].c",
        "a[1][\"tls.crt\"]",
        "b['tls.crt']",
        "a[2][0]",
        "[\"é [0]\"]",
        "b.c",
        "b..c",
        "a[",
        "a[x]",
        "a[00]",
        "a[99999999999999999999]",
        "a[0]b",
        ".a",
        "[0]",
        "a.[0]",
        "a[\"b]",
    ]
    .map(|path| path.as_bytes().to_vec())
    .into()
}
