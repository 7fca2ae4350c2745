//! Documents made to hurt: whatever comes in, an answer comes out, soon, and never a value that was not encrypted.

mod support;

use std::time::{Duration, Instant};

use support::{Key, Random, encrypt};
use touchseal_sops::limits::MAX_BYTES;
use touchseal_sops::{Document, Format, Opener};

/// For one document of the largest size, in a build without optimisation on a busy machine. What takes quadratic time
/// takes minutes.
const SOON: Duration = Duration::from_secs(20);

fn filled(head: &str, unit: &str, tail: &str) -> String {
    let count = (MAX_BYTES - head.len() - tail.len()) / unit.len();
    format!("{head}{}{tail}", unit.repeat(count))
}

#[test]
fn the_largest_documents_are_answered_soon() {
    let numbered: String = (0..60_000).map(|n| format!("k{n}: x\n")).collect();
    let commented: String = (0..40_000).map(|n| format!("# {n}\nk{n}: x\n")).collect();
    let anchored: String = (0..40_000).map(|n| format!("k{n}: &a{n} x\n")).collect();
    let flat: String = (0..30_000).map(|n| format!("sops_age__list_{n}__map_enc=x\n")).collect();
    let cases = [
        (Format::Yaml, filled("a: ", "[", "")),
        (Format::Yaml, filled("a: ", "{a: ", "")),
        (Format::Yaml, filled("a: [", "x,", "]\n")),
        (Format::Yaml, filled("a: [", "[],", "]\n")),
        (Format::Yaml, filled("a: {", "? ", "}\n")),
        (Format::Yaml, filled("", "- ", "")),
        (Format::Yaml, filled("", "? ", "")),
        (Format::Yaml, filled("a: \"", "\\n", "\"\n")),
        (Format::Yaml, filled("a: '", "''", "'\n")),
        (Format::Yaml, filled("a: |\n", " x\n", "")),
        (Format::Yaml, filled("a: >\n", " x\n\n", "")),
        (Format::Yaml, filled("a: ", "x\n ", "\n")),
        (Format::Yaml, filled("a: x", " ", "\n")),
        (Format::Yaml, filled("a: x", "\n", "")),
        (Format::Yaml, filled("", "#\n", "")),
        (Format::Yaml, filled("a: x ", "#", "\n")),
        (Format::Yaml, filled("", "---\n", "")),
        (Format::Yaml, filled("", "%TAG !a! b\n", "")),
        (Format::Yaml, filled("a: ", "!", "")),
        (Format::Yaml, filled("a: &", "a", " x\n")),
        (Format::Yaml, filled("a: &a [", "*a,", "]\n")),
        (Format::Yaml, filled("a: &a x\nb: [", "*a,", "]\n")),
        (Format::Yaml, filled("{a: [", "x,", "]}\n")),
        (Format::Yaml, filled("- [", "[],", "]\n")),
        (Format::Yaml, filled("", "k", ": x\n")),
        (Format::Yaml, filled("a: ", "1", "\n")),
        (Format::Yaml, filled("a: [", "# x\n", "]\n")),
        (Format::Yaml, filled("a: [", "1 # x\n,", "]\n")),
        (Format::Yaml, numbered),
        (Format::Yaml, commented),
        (Format::Yaml, anchored),
        (Format::Json, filled("", "[", "")),
        (Format::Json, filled("[", "[],", "1]")),
        (Format::Json, filled("{\"a\": [", "1,", "1]}")),
        (Format::Json, filled("{\"a\": ", "1", "}")),
        (Format::Json, filled("{\"a\": 1e", "9", "}")),
        (Format::Json, filled("{\"a\": \"", "\\u0000", "\"}")),
        (Format::Binary, filled("{\"data\": \"", "A", "\"}")),
        (Format::Dotenv, filled("", "A=\n", "")),
        (Format::Dotenv, filled("A=", "\\n", "\n")),
        (Format::Dotenv, filled("sops_", "__map_a", "=x\n")),
        (Format::Dotenv, flat),
        (Format::Ini, filled("", "[a]\n", "")),
        (Format::Ini, filled("a = ", "\\\n", "\n")),
        (Format::Ini, filled("a = \"\"\"", "x\n", "")),
        (Format::Ini, filled("", "; x\n", "a = b\n")),
        (Format::Ini, filled("a = ", "#", "\n")),
    ];
    for (format, text) in cases {
        let start = Instant::now();
        let outcome = Document::parse(text.as_bytes(), format);
        let shown: String = text.chars().take(24).collect();
        assert!(start.elapsed() < SOON, "{format} {shown:?} took {:?}", start.elapsed());
        assert!(outcome.is_err(), "{format} {shown:?} is no encrypted document");
        let detected = Format::detect(text.as_bytes());
        assert!(
            start.elapsed() < SOON * 2,
            "{format} {shown:?}: detecting {detected} took {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn mutated_documents_open_to_what_was_encrypted_or_not_at_all() {
    const ROUNDS: usize = 3000;
    let key = Key::generate();
    let options = ["--age", key.recipient.as_str()];
    let yaml = "# c\na: x\nb:\n    - 1\n    - true\nc:\n    d: long enough a value\n    e: \"\"\nf_unencrypted: clear\n";
    let corpus: Vec<(Format, Vec<u8>)> = [
        (Format::Yaml, yaml),
        (Format::Json, "{\"a\": \"x\", \"b\": [1, true], \"f_unencrypted\": \"clear\"}"),
        (Format::Dotenv, "# c\nA=x\nB=y\nF_unencrypted=clear\n"),
        (Format::Ini, "[a]\n; c\nb = x\nf_unencrypted = clear\n[g]\nh = i\n"),
        (Format::Binary, "some bytes"),
    ]
    .into_iter()
    .map(|(format, plain)| (format, encrypt(plain.as_bytes(), format, &options)))
    .collect();
    let opener = Opener::new().with_x25519(key.identity);
    let mut random = Random(0x7ea1);
    for (format, sealed) in &corpus {
        let original = values(sealed, *format, &opener).expect("the original opens");
        let mut opened = 0;
        for round in 0..ROUNDS {
            let mutant = mutate(sealed, &mut random);
            if let Some(found) = values(&mutant, *format, &opener) {
                opened += 1;
                // What the MAC covers: the values, in order. Not keys of clear values, nor nulls and empty strings.
                assert_eq!(
                    found,
                    original,
                    "round {round}: {format} opens to other values:\n{}",
                    String::from_utf8_lossy(&mutant)
                );
            }
        }
        assert!(opened < ROUNDS, "{format}: every mutant opened");
    }
}

/// All values of a document in order, if it opens.
fn values(sealed: &[u8], format: Format, opener: &Opener) -> Option<Vec<u8>> {
    let plain = Document::parse(sealed, format).ok()?.decrypt_with(opener).ok()?;
    // Printing must not fail or panic either.
    plain.emit()?;
    let mut found = Vec::new();
    let mut stack: Vec<_> = plain.top_level().map(|(_, node)| node).collect();
    stack.reverse();
    while let Some(node) = stack.pop() {
        let mut inner: Vec<_> = match (node.entries(), node.items()) {
            (Some(entries), _) => entries.map(|(_, node)| node).collect(),
            (_, Some(items)) => items.collect(),
            _ => Vec::new(),
        };
        inner.reverse();
        stack.extend(inner);
        found.extend_from_slice(node.bytes().unwrap_or_default());
    }
    Some(found)
}

/// Changes, removes, inserts, copies or swaps bytes or lines, once to four times.
fn mutate(sealed: &[u8], random: &mut Random) -> Vec<u8> {
    const INSERTED: [&str; 24] = [
        "\n", " ", "    ", "#", "-", ":", "[", "]", "{", "}", "\"", "'", "&a ", "*a", "!", "|", ">", "\\",
        "\u{feff}", "---\n", "...\n", "null", "=", "\0",
    ];
    let mut bytes = sealed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => drop(bytes.remove(at)),
            2 => drop(bytes.splice(at..at, random.pick(&INSERTED).bytes())),
            3 => bytes.truncate(at.max(1)),
            4 => {
                let end = (at + random.below(60)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            5 => {
                let end = (at + random.below(60)).min(bytes.len() - 1);
                drop(bytes.drain(at..end));
            }
            _ => {
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&b| b == b'\n').collect();
                let (one, other) = (random.below(lines.len()), random.below(lines.len()));
                lines.swap(one, other);
                bytes = lines.concat();
            }
        }
        if bytes.is_empty() {
            bytes.push(b'x');
        }
    }
    bytes
}

#[test]
fn garbage_is_answered() {
    const ROUNDS: usize = 4000;
    const PIECES: [&str; 30] = [
        "a",
        "b: ",
        "- ",
        "\n",
        "  ",
        "\t",
        "? ",
        ": ",
        "#x",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&a ",
        "*a",
        "!t ",
        "!!str ",
        "|\n",
        ">-\n",
        "'",
        "\"",
        "\\",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\r",
        "é",
        "sops:",
        "=",
    ];
    let mut random = Random(0x9a2b);
    for _ in 0..ROUNDS {
        let text: String = (0..random.below(40)).map(|_| random.pick(&PIECES)).collect();
        for format in [Format::Yaml, Format::Json, Format::Dotenv, Format::Ini, Format::Binary] {
            let _ = Document::parse(text.as_bytes(), format);
        }
        let _ = Format::detect(text.as_bytes());
    }
}
