//! No value is in any message: values of documents that are wrong in every way, one way at a time.

use touchseal_fuzz::known;
use touchseal_fuzz::seal::{self, Node, Options};
use touchseal_sops::{Document, EncryptError, Format, OsRng, Recipients, Rules};

const CANARY: &str = "s3cr3t-canary";

/// What stands in a value's place: `V` is the canary. Nothing here makes a key of it.
const YAML: &[&str] = &[
    "V",
    "'V",
    "\"V",
    "\"V\\q\"",
    "'V' V",
    "\"V\"V",
    "[V",
    "[V]]",
    "{b: V",
    "{b: V}}",
    "[V, {b: V}",
    "!V x",
    "!!int V",
    "!!float V",
    "!!bool V",
    "!!null V",
    "!!timestamp V",
    "!!binary V",
    "!<V> x",
    "&V",
    "*V",
    "|V",
    ">V",
    "|\n V\n\tV",
    "|9\n V",
    "@V",
    "`V",
    "%V",
    "- V",
    "V\n b",
    "\"V\n\tb",
    "0xV",
    "1e5V",
    "&a [*a, V]",
    "[!!map V]",
    "!!set V",
    "'V\n---\n'",
    "\"V\u{0}\"",
    "V\u{7}",
    "[V]: x",
    "ENC[V]",
    "ENC[AES256_GCM,data:V,iv:V,tag:V,type:V]",
    "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:V]",
    "\"ENC[AES256_GCM,data:V,iv:V,tag:V,type:str]V\"",
    "2026-13-45V",
    "[1, 2, V",
    "18446744073709551616V",
];
const JSON: &[&str] = &[
    "V",
    "\"V",
    "\"V\\q\"",
    "\"V\" V",
    "[\"V\"",
    "[\"V\"]]",
    "{\"b\": \"V\"",
    "\"V\n\"",
    "\"V\\u12\"",
    "1V",
    "1e999V",
    "tV",
    "nullV",
    "\"V\\ud800\"",
    "\"V\u{0}\"",
    "[\"V\",]",
    "\"V\"",
    "\"ENC[AES256_GCM,data:V,iv:V,tag:V,type:V]\"",
    "'V'",
];
const FLAT: &[&str] = &[
    "V",
    "\"V",
    "'V",
    "`V",
    "\"\"\"V",
    "V \\",
    "V \\\nV",
    "V\\nV",
    "\"V\" V",
    "# V",
    "; V",
    "ENC[V]",
    "ENC[AES256_GCM,data:V,iv:V,tag:V,type:V]",
    "\u{0}V",
    "V\u{7}",
];
/// Fields of the metadata whose content is nobody's business to repeat either.
const FIELDS: [&str; 11] = [
    "mac",
    "lastmodified",
    "version",
    "unencrypted_suffix",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "shamir_threshold",
    "mac_only_encrypted",
    "age",
    "key_groups",
    "pgp",
];

fn formats() -> [(Format, &'static [&'static str]); 5] {
    [
        (Format::Yaml, YAML),
        (Format::Json, JSON),
        (Format::Binary, JSON),
        (Format::Dotenv, FLAT),
        (Format::Ini, FLAT),
    ]
}

/// A sealed document with a place for a value, and its start without metadata.
fn around(format: Format, value: &str) -> (String, String) {
    let map = vec![("a".to_owned(), Node::Text(b"x".to_vec()))];
    let flat = vec![("a".to_owned(), b"x".to_vec())];
    let json = seal::json(&map, Options::default());
    match format {
        Format::Yaml => {
            let block: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            let start = format!("c: {value}\n");
            (format!("{start}sops: {}\n", block["sops"]), start)
        }
        Format::Json => {
            (json.replacen('{', &format!("{{\"c\": {value}, "), 1), format!("{{\"c\": {value}}}"))
        }
        Format::Binary => {
            (json.replacen("{\"a\":", &format!("{{\"data\": {value}, \"a\":"), 1), String::new())
        }
        Format::Dotenv => (format!("c={value}\n{}", seal::dotenv(&flat)), format!("c={value}\n")),
        Format::Ini => {
            let start = format!("[s]\nc = {value}\n");
            (format!("{start}{}", seal::ini(&[("t".to_owned(), flat)])), start)
        }
    }
}

/// The message of whatever refuses the text, and everything that can be printed on the way.
fn said(text: &str, format: Format) -> (bool, String) {
    match Document::parse(text.as_bytes(), format) {
        Err(error) => (true, format!("{error} {error:?} {}", error.reason())),
        Ok(document) => match document.decrypt_with(known::opener()) {
            Err(error) => (true, format!("{error} {error:?} {document:?}")),
            Ok(plain) => (false, format!("{document:?} {plain:?}")),
        },
    }
}

#[test]
fn no_value_is_in_a_message() {
    for (format, values) in formats() {
        let mut refused = 0;
        for value in values {
            let text = around(format, &value.replace('V', CANARY)).0;
            let (failed, said) = said(&text, format);
            refused += usize::from(failed);
            assert!(!said.contains(CANARY), "{format} {value:?}: {said}");
        }
        assert!(refused > values.len() / 2, "{format}: hardly anything was refused");
    }
}

#[test]
fn no_plaintext_is_in_a_message_of_the_way_back() {
    let recipient = known::identity().to_public().to_string().parse().expect("a recipient");
    let recipients = Recipients::new(vec![recipient]).expect("recipients");
    let mut refused = 0;
    for (format, values) in formats() {
        for value in values.iter().filter(|_| format != Format::Binary) {
            let text = around(format, &value.replace('V', CANARY)).1;
            let now = "2026-01-31T08:00:00Z";
            let encrypted =
                Document::encrypt(text.as_bytes(), format, &recipients, &Rules::default(), now, &mut OsRng);
            if let Err(error) = encrypted {
                refused += 1;
                assert!(!matches!(error, EncryptError::Time | EncryptError::Recipient { .. }), "{error}");
                let said = format!("{error} {error:?}");
                assert!(!said.contains(CANARY), "{format} {value:?}: {said}");
            }
        }
    }
    assert!(refused > 20, "only {refused} were refused");
}

#[test]
fn no_metadata_is_repeated_in_a_message() {
    let mut refused = 0;
    for field in FIELDS {
        for value in YAML {
            let value = value.replace('V', CANARY);
            for text in [
                format!("a: x\nsops:\n  lastmodified: \"2026-01-02T03:04:05Z\"\n  {field}: {value}\n"),
                format!("a: x\nsops:\n  {field}: {value}\n  age: [{{recipient: a, enc: {value}}}]\n"),
            ] {
                let (failed, said) = said(&text, Format::Yaml);
                refused += usize::from(failed);
                assert!(!said.contains(CANARY), "{field} {value:?}: {said}");
            }
        }
        for (format, head, line) in [
            (Format::Dotenv, "a=x\n", format!("sops_{field}={CANARY}\n")),
            (Format::Ini, "[a]\nb = x\n[sops]\n", format!("{field} = {CANARY}\n")),
        ] {
            let (failed, said) = said(&format!("{head}{line}"), format);
            refused += usize::from(failed);
            assert!(!said.contains(CANARY), "{format} {field}: {said}");
        }
    }
    assert!(refused > 500, "only {refused} were refused");
}
