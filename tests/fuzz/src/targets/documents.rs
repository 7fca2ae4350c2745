//! A whole document in each format: what opens holds what was encrypted, and what does not says nothing of its values.

use touchseal_sops::{DecryptError, Document, Format, ParseError, PathSegment};

use super::Target;
use crate::known::{covered, documents, opener, originals};

/// Stands in values of the seeds only.
pub const CANARY: &str = "s3cr3t-canary";

macro_rules! target {
    ($target:ident, $name:literal, $format:expr) => {
        pub const $target: Target =
            Target { name: $name, run: |input| open(input, $format), vectors: || seeds($format) };
    };
}

target!(YAML, "yaml", Format::Yaml);
target!(JSON, "json", Format::Json);
target!(DOTENV, "dotenv", Format::Dotenv);
target!(INI, "ini", Format::Ini);
target!(BINARY, "binary", Format::Binary);

/// Parses, decrypts, prints and looks up.
pub fn open(input: &[u8], format: Format) {
    let _ = Format::detect(input);
    let document = match Document::parse(input, format) {
        Ok(document) => document,
        Err(error) => return parse_error(&error),
    };
    let _ = document.age_recipients().count();
    assert!(!format!("{document:?}").contains(CANARY), "a value in the Debug form of a document");
    let plain = match document.decrypt_with(opener()) {
        Ok(plain) => plain,
        Err(error) => return decrypt_error(&error),
    };
    // Without the data key nobody can make another document; clear values of this kind of MAC are anybody's.
    if !document.metadata().mac_only_encrypted() && plain.documents() == 1 {
        assert!(originals().contains(&covered(&plain)), "opens to what was never encrypted");
    }
    assert!(plain.emit().is_some(), "opens and cannot be printed");
    let mut finder = plain.finder();
    for (key, _) in plain.top_level() {
        let found = finder.get(&[PathSegment::Key(key)]);
        assert!(found.is_ok() || format == Format::Ini, "a key that is there is not found");
    }
}

/// No message holds a value. Keys, and names of metadata fields, are shown on purpose: they are taken out first.
pub fn parse_error(error: &ParseError) {
    let shown = match error {
        ParseError::DuplicateKey { path } | ParseError::KeyTooLong { path } => path.to_string(),
        ParseError::Metadata { field, .. } | ParseError::MetadataUnsupported { field, .. } => field.clone(),
        _ => String::new(),
    };
    silent(&[error.to_string(), format!("{error:?}")], &shown);
    let _ = (error.reason(), error.fault());
}

pub fn decrypt_error(error: &DecryptError) {
    let shown = match error {
        DecryptError::NotCiphertext { path }
        | DecryptError::Value { path }
        | DecryptError::ValueType { path } => path.to_string(),
        DecryptError::DataKey { recipient } => recipient.clone(),
        _ => String::new(),
    };
    silent(&[error.to_string(), format!("{error:?}")], &shown);
    let _ = (error.reason(), error.fault());
}

/// That no message holds a value, but in what is `shown` on purpose.
pub fn silent(messages: &[String], shown: &str) {
    if shown.contains(CANARY) {
        return;
    }
    for message in messages {
        assert!(!message.contains(CANARY), "a value in a message");
        assert!(message.len() < 1000, "a message of {} bytes", message.len());
    }
}

/// The vectors, and documents of every construct with canaries in the clear, where a parser may quote them.
fn seeds(format: Format) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = documents(format).map(|vector| vector.bytes.clone()).collect();
    let good = documents(format).find(|vector| vector.name.starts_with("good.")).expect("a good vector");
    let good = std::str::from_utf8(&good.bytes).expect("UTF-8");
    for text in clear(format) {
        let text = text.replace("CANARY", CANARY);
        seeds.push(text.clone().into_bytes());
        // In front of a good document's values: it parses, and then fails on them.
        seeds.push(match format {
            Format::Json | Format::Binary => {
                let inner = text.trim_end().trim_start_matches('{').trim_end_matches('}');
                good.replacen('{', &format!("{{{inner}, "), 1).into_bytes()
            }
            _ => format!("{text}{good}").into_bytes(),
        });
    }
    seeds
}

/// Plaintext of every construct, with `CANARY` where values are.
pub fn clear(format: Format) -> &'static [&'static str] {
    match format {
        Format::Yaml => &[
            "a: &x [CANARY, {b: 'CANARY', \"c\": \"CANARY\\n\"}]\nd: *x\ne: |\n  CANARY\nf: >-\n  CANARY\n\n  x\n",
            "# CANARY\na: !!int 5 # CANARY\nb: !CANARY x\nc: ~\nd: 0x10\ne: 1e3\nf: 2026-01-02\n? g\n: - CANARY\n",
            "%YAML 1.2\n---\na: CANARY\n---\nb: CANARY\n...\n",
        ],
        Format::Json => &["{\"a\": [\"CANARY\", 1e3, true, null, {}], \"b\": \"\\u0041CANARY\"}\n"],
        Format::Dotenv => &["# CANARY\nA=CANARY\nB=CANARY\\nCANARY\n"],
        Format::Ini => &[
            "; CANARY\n[a]\nb = CANARY ; CANARY\nc = \"\"\"CANARY\nCANARY\"\"\"\nd = `CANARY`\ne = CANARY \\\n CANARY\n'f' : x\n",
        ],
        Format::Binary => &["{\"data\": \"CANARY\"}\n"],
    }
}
