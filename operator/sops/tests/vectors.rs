//! Every file of `tests/vectors/sops`, and how the files are made.
//!
//! A vector is a document `NAME` with one fault (or none) and `NAME.expect`, which says what the fault is, which layer
//! must refuse it and for what reason; `NAME.plain` is what a good one decrypts to. A good one is printed as it stands, or
//! else as in `NAME.emitted`: what older versions of sops wrote. Where the layer is `encrypt` the vector is plaintext, and
//! `rule` what to encrypt of it. `sops` says whether the real one takes the vector: where it does and we do not, we are
//! stricter on purpose. The directory is listed, so a file that is no part of a vector fails the test.
//! To make them anew: `cargo test -p touchseal-sops --test vectors -- --ignored make_vectors`.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use support::{Key, decrypt, encrypt, encrypt_to_groups, try_encrypt};
use touchseal_sops::{Document, Format, Opener, OsRng, Recipients, Rules, Selector};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/sops")
}

const IDENTITY: &str = "identity.txt";

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    layer: &'static str,
    reason: String,
}

#[test]
fn every_vector_comes_out_as_it_says() {
    let mut names: BTreeSet<String> = std::fs::read_dir(directory())
        .expect("the directory of vectors")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8"))
        .collect();
    assert!(names.remove(IDENTITY), "the identity the vectors are for");
    let documents: Vec<String> =
        names.iter().filter_map(|name| name.strip_suffix(".expect").map(str::to_owned)).collect();
    let mut failures = Vec::new();
    for name in &documents {
        names.remove(&format!("{name}.expect"));
        assert!(names.remove(name), "{name} is missing");
        let expected = Expected::read(name);
        let good = expected.outcome.get("layer").is_some_and(|layer| layer == "none");
        assert_eq!(
            names.remove(&format!("{name}.plain")),
            good,
            "{name}: a plain file exactly for good ones"
        );
        let emitted = names.remove(&format!("{name}.emitted"));
        assert!(good || !emitted, "{name} is refused, not printed");
        failures.extend(check(name, &expected).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(names.is_empty(), "files that are no part of a vector: {names:?}");
    assert!(documents.len() >= 40, "only {} vectors", documents.len());
}

/// What can be seen without a key: all that is in disorder is found, and nothing of a good document.
#[test]
fn the_form_of_every_vector_is_told_without_a_key() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for entry in std::fs::read_dir(directory()).expect("the directory of vectors") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
        let Some(name) = name.strip_suffix(".expect") else { continue };
        let expected = Expected::read(name);
        let of = |field: &str| expected.outcome.get(field).map(String::as_str);
        let format: Format = of("format").expect("a format").parse().expect("a format");
        let bytes = std::fs::read(directory().join(name)).expect("a vector");
        let (Ok(document), "decrypt" | "none") =
            (Document::parse(&bytes, format), of("layer").unwrap_or_default())
        else {
            continue;
        };
        let reason = of("reason").unwrap_or("none");
        let found = match document.inspect() {
            Ok(found) => (!found.open.is_empty(), found.mac, found.damaged_keys.len()),
            Err(problem) => {
                assert_eq!(reason, "Unsupported", "{name}: {problem}");
                continue;
            }
        };
        let mac = !matches!(reason, "MacMissing" | "MacDamaged") || found.1;
        // One holds a key of a plugin that is no age file.
        let damaged =
            if reason == "DataKeyDamaged" { found.2 } else { usize::from(name == "good-other-kinds.yaml") };
        assert_eq!(found, (reason == "NotCiphertext", mac, damaged), "{name}: {reason}");
        *seen.entry(reason.to_owned()).or_default() += 1;
    }
    for reason in ["NotCiphertext", "MacMissing", "none"] {
        assert!(seen.contains_key(reason), "no vector of {reason}: {seen:?}");
    }
}

struct Expected {
    outcome: BTreeMap<String, String>,
}

impl Expected {
    fn read(name: &str) -> Expected {
        let text = read_text(&format!("{name}.expect"));
        let outcome = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once(": ").expect("a line `name: value`"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Expected { outcome }
    }
}

fn check(name: &str, expected: &Expected) -> Result<(), String> {
    let expect = |field: &str| expected.outcome.get(field).map(String::as_str);
    let mut bytes = std::fs::read(directory().join(name)).expect("a vector");
    if let Some(size) = expect("padded-to") {
        bytes.resize(size.parse().expect("a size"), b'\n');
    }
    let format: Format = expect("format").expect("a format").parse().expect("a known format");
    let (outcome, plain) = match expect("layer") {
        Some("encrypt") => (encrypted(&bytes, format, expect("rule")), None),
        _ => run(&bytes, format),
    };
    if Some(outcome.layer) != expect("layer") || Some(outcome.reason.as_str()) != expect("reason") {
        return Err(format!("{name}: {outcome:?} instead of {:?}", expected.outcome));
    }
    let Some(plain) = plain else { return Ok(()) };
    let expected = std::fs::read(directory().join(format!("{name}.plain"))).expect("what it decrypts to");
    if plain != expected {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&plain)));
    }
    let emitted = Document::parse(&bytes, format).expect("parses").emit();
    let as_emitted = std::fs::read(directory().join(format!("{name}.emitted")));
    let as_it_stands = bytes.trim_ascii_end().len() + 1;
    if emitted != as_emitted.as_deref().unwrap_or(&bytes[..as_it_stands.min(bytes.len())]) {
        return Err(format!("{name} is printed as {}", String::from_utf8_lossy(&emitted)));
    }
    let detected = Format::detect(&bytes);
    if detected == format { Ok(()) } else { Err(format!("{name}: detected as {detected}")) }
}

fn run(bytes: &[u8], format: Format) -> (Outcome, Option<Vec<u8>>) {
    let refused = |layer, reason: &str| (Outcome { layer, reason: reason.to_owned() }, None);
    let document = match Document::parse(bytes, format) {
        Ok(document) => document,
        Err(error) => return refused("parse", error.reason()),
    };
    let opener = Opener::new().with_x25519(identity());
    match document.decrypt_with(&opener) {
        Ok(plain) => {
            let plain = plain.emit().expect("emits").to_vec();
            (Outcome { layer: "none", reason: "none".to_owned() }, Some(plain))
        }
        Err(error) => refused("decrypt", error.reason()),
    }
}

fn rules(rule: Option<&str>) -> Rules {
    let Some((field, text)) = rule.and_then(|rule| rule.split_once(' ')) else { return Rules::default() };
    let selector = match field {
        "encrypted_regex" => Selector::EncryptedRegex(text.to_owned()),
        "encrypted_suffix" => Selector::EncryptedSuffix(text.to_owned()),
        "encrypted_comment_regex" => Selector::EncryptedCommentRegex(text.to_owned()),
        "unencrypted_comment_regex" => Selector::UnencryptedCommentRegex(text.to_owned()),
        _ => unreachable!("the rule {field}"),
    };
    Rules { selector, mac_only_encrypted: false }
}

fn encrypted(plaintext: &[u8], format: Format, rule: Option<&str>) -> Outcome {
    let recipient = identity().to_public().to_string().parse().expect("a recipient");
    let recipients = Recipients::new(vec![recipient]).expect("recipients");
    let now = "2026-01-31T08:00:00Z";
    let reason = match Document::encrypt(plaintext, format, &recipients, &rules(rule), now, &mut OsRng) {
        Ok(_) => "none",
        Err(error) => error.reason(),
    };
    Outcome { layer: "encrypt", reason: reason.to_owned() }
}

/// Whether the real sops takes a vector.
fn sops_takes(name: &str, expected: &Expected) -> bool {
    let expect = |field: &str| expected.outcome.get(field).map(String::as_str);
    let format: Format = expect("format").expect("a format").parse().expect("a known format");
    let mut bytes = std::fs::read(directory().join(name)).expect("a vector");
    if let Some(size) = expect("padded-to") {
        bytes.resize(size.parse().expect("a size"), b'\n');
    }
    let key = Key { recipient: identity().to_public().to_string(), identity: identity() };
    if expect("layer") != Some("encrypt") {
        return decrypt(&bytes, format, &key).is_ok();
    }
    let option = expect("rule").and_then(|rule| rule.split_once(' '));
    let option = option.map(|(field, text)| (format!("--{}", field.replace('_', "-")), text));
    let mut options = vec!["--age", key.recipient.as_str()];
    options.extend(option.iter().flat_map(|(option, text)| [option.as_str(), text]));
    try_encrypt(&bytes, format, &options).is_ok()
}

fn all() -> Vec<String> {
    let names = std::fs::read_dir(directory()).expect("the directory of vectors");
    let names =
        names.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8"));
    names.filter_map(|name| name.strip_suffix(".expect").map(str::to_owned)).collect()
}

#[test]
fn sops_takes_what_the_vectors_say_it_takes() {
    for name in all() {
        let expected = Expected::read(&name);
        let says = expected.outcome.get("sops").map(String::as_str);
        let takes = if sops_takes(&name, &expected) { "accepts" } else { "refuses" };
        assert_eq!(says, Some(takes), "{name}");
    }
}

fn read_text(name: &str) -> String {
    std::fs::read_to_string(directory().join(name)).expect("a text file of the vectors")
}

fn identity() -> age::x25519::Identity {
    read_text(IDENTITY)
        .lines()
        .find(|line| !line.starts_with('#'))
        .expect("an identity")
        .parse()
        .expect("an identity")
}

#[test]
#[ignore = "writes the vectors anew, with the real sops"]
fn make_vectors() {
    let directory = directory();
    for entry in std::fs::read_dir(&directory).expect("the directory") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("remove the old vectors");
    }
    let key = Key::generate();
    let text = key.identity.to_string();
    let header = "# The test identity all vectors are encrypted to. It protects nothing.";
    std::fs::write(directory.join(IDENTITY), format!("{header}\n{}\n", text.expose_secret())).expect("write");
    good(&key);
    good_metadata(&key);
    refused_by_parse(&key);
    refused_by_decrypt(&key);
    refused_by_encrypt(&key);
    for name in all() {
        let takes = if sops_takes(&name, &Expected::read(&name)) { "accepts" } else { "refuses" };
        let text = read_text(&format!("{name}.expect"));
        std::fs::write(directory.join(format!("{name}.expect")), format!("{text}sops: {takes}\n"))
            .expect("write");
    }
    println!("{} files", std::fs::read_dir(&directory).expect("the directory").count());
}

const YAML: &str = "# connection\ndatabase:\n    user: app\n    password: s3cr3t\n    port: 5432\n    tls: true\n    ratio: 0.25\nhosts:\n    # first\n    - a.example\n    - b.example\nempty: \"\"\nnote_unencrypted: in the clear\n";
const JSON: &str =
    "{\n\t\"user\": \"app\",\n\t\"port\": 5432,\n\t\"tags\": [\n\t\t\"a\",\n\t\t\"b\"\n\t]\n}\n";
const DOTENV: &str = "# settings\nUSER=app\nPASSWORD=s3cr3t\n";
const INI: &str = "[database]\nuser     = app\npassword = s3cr3t\n";

/// A good document in YAML, sealed anew.
fn yaml(key: &Key) -> String {
    String::from_utf8(encrypt(YAML.as_bytes(), Format::Yaml, &["--age", &key.recipient])).expect("UTF-8")
}

fn sealed(plain: &str, format: Format, key: &Key) -> String {
    String::from_utf8(encrypt(plain.as_bytes(), format, &["--age", &key.recipient])).expect("UTF-8")
}

fn write(name: &str, bytes: &[u8], fault: &str, format: Format, layer: &str, reason: &str, more: &str) {
    let directory = directory();
    let expect = format!("# {fault}\nformat: {format}\nlayer: {layer}\nreason: {reason}\n{more}");
    std::fs::write(directory.join(name), bytes).expect("write");
    std::fs::write(directory.join(format!("{name}.expect")), expect).expect("write");
}

fn good(key: &Key) {
    let put = |name: &str, what: &str, format, plain: &[u8], sealed: &[u8]| {
        write(name, sealed, what, format, "none", "none", "");
        std::fs::write(directory().join(format!("{name}.plain")), plain).expect("write");
    };
    let us = ["--age", key.recipient.as_str()];
    for (name, format, plain) in [
        ("good.yaml", Format::Yaml, YAML.as_bytes()),
        ("good.json", Format::Json, JSON.as_bytes()),
        ("good.env", Format::Dotenv, DOTENV.as_bytes()),
        ("good.ini", Format::Ini, INI.as_bytes()),
        ("good.bin", Format::Binary, b"\x00\xff raw\r\n"),
        ("good-two-documents.yaml", Format::Yaml, b"a: 1\n---\nb: 2\n"),
    ] {
        put(name, "Nothing is wrong.", format, plain, &encrypt(plain, format, &us));
    }
    let plain = b"a: x\nnote_unencrypted: |\n    |  # no comment\nb: x\n";
    let what = "The text of a block looks like the first line of a block with a comment.";
    put("good-block-of-a-header.yaml", what, Format::Yaml, plain, &encrypt(plain, Format::Yaml, &us));
    let regex = [&us[..], &["--encrypted-regex", "^(data|stringData)$", "--mac-only-encrypted"]].concat();
    let manifest = b"kind: Secret\nstringData:\n    a: x\n    port: 5\n";
    let what = "Only some values are encrypted, and only those are in the MAC.";
    put(
        "good-mac-only-encrypted.yaml",
        what,
        Format::Yaml,
        manifest,
        &encrypt(manifest, Format::Yaml, &regex),
    );
    let other = Key::generate();
    let both = format!("{},{}", other.recipient, key.recipient);
    let text = String::from_utf8(encrypt(YAML.as_bytes(), Format::Yaml, &["--age", &both])).expect("UTF-8");
    put(
        "good-second-recipient.yaml",
        "Ours is the second recipient.",
        Format::Yaml,
        YAML.as_bytes(),
        text.as_bytes(),
    );
    let plugin = "        - recipient: age1yubikey1qwerty\n          enc: |\n            -----BEGIN AGE ENCRYPTED FILE-----\n            YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHBpdi1wMjU2IEFBQUFBQSBBQUFBCkFB\n            -----END AGE ENCRYPTED FILE-----\n";
    let pgp =
        "    pgp:\n        - created_at: \"2026-01-01T00:00:00Z\"\n          enc: x\n          fp: ABCD\n";
    let kms = "    kms:\n        - arn: arn:aws:kms:x\n          created_at: \"2026-01-01T00:00:00Z\"\n          enc: x\n          aws_profile: \"\"\n";
    let others = format!("{pgp}{kms}    gcp_kms: []\n    hc_vault: null\n");
    let emitted = text.replacen("    age:\n", &format!("{kms}    age:\n{plugin}"), 1);
    let emitted = emitted.replacen("    unencrypted_suffix", &format!("{pgp}    unencrypted_suffix"), 1);
    std::fs::write(directory().join("good-other-kinds.yaml.emitted"), emitted).expect("write");
    let text = text.replacen("    age:\n", &format!("{others}    age:\n{plugin}"), 1);
    let what =
        "PGP, KMS and a plugin's recipient, whose data key is no age file we can read, stand before ours.";
    put("good-other-kinds.yaml", what, Format::Yaml, YAML.as_bytes(), text.as_bytes());
    let groups = [&[key.recipient.as_str()][..], &[&other.recipient, &key.recipient], &[&other.recipient]];
    let text = encrypt_to_groups(b"a: 1\n", &groups, 2);
    put("good-shamir.yaml", "Two of three key groups are needed and open.", Format::Yaml, b"a: 1\n", &text);
    let text = encrypt_to_groups(b"a: 1\n", &groups, 3);
    let what = "Three key groups are needed, two open.";
    write("shamir-too-few.yaml", &text, what, Format::Yaml, "decrypt", "NotEnoughShares", "");
}

/// The forms older versions wrote, and every option of today's.
fn good_metadata(key: &Key) {
    let put = |name: &str, what: &str, format, plain: &str, sealed: &str| {
        write(name, sealed.as_bytes(), what, format, "none", "none", "");
        std::fs::write(directory().join(format!("{name}.plain")), plain).expect("write");
    };
    let emitted = |name: &str, text: &str| {
        std::fs::write(directory().join(format!("{name}.emitted")), text).expect("write");
    };
    let age = ["--age", key.recipient.as_str()];
    let plain = "kind: x\n# pick\ndata: w\nnote_unencrypted: z\n";
    for (option, text) in [
        ("encrypted-regex", "^data$"),
        ("unencrypted-regex", "^kind$"),
        ("encrypted-suffix", "ta"),
        ("unencrypted-suffix", "nd"),
        ("encrypted-comment-regex", "pick"),
        ("unencrypted-comment-regex", "pick"),
    ] {
        let flag = format!("--{option}");
        let options = [&age[..], &[&flag, text]].concat();
        let sealed = encrypt(plain.as_bytes(), Format::Yaml, &options);
        let sealed = String::from_utf8(sealed).expect("UTF-8");
        put(&format!("good-{option}.yaml"), "A rule of what is encrypted.", Format::Yaml, plain, &sealed);
    }
    let flat = [&age[..], &["--mac-only-encrypted", "--encrypted-regex", "^(PASSWORD|password)$"]].concat();
    for (name, format, plain) in
        [("good-rule.env", Format::Dotenv, DOTENV), ("good-rule.ini", Format::Ini, INI)]
    {
        let sealed = String::from_utf8(encrypt(plain.as_bytes(), format, &flat)).expect("UTF-8");
        put(name, "A rule, and a MAC of encrypted values only, in flat metadata.", format, plain, &sealed);
    }
    let what = "As 3.7 wrote it: lists that are empty, and a comment in the metadata; printed as 3.11 does.";
    let sealed = yaml(key).replace("version: 3.11.0", "version: 3.7.3");
    let empties = "    kms: []\n    gcp_kms: []\n    azure_kv: []\n    hc_vault: []\n    # who\n    age:\n";
    let old = sealed.replacen("    age:\n", empties, 1).replacen("    unenc", "    pgp: []\n    unenc", 1);
    put("good-3.7.yaml", what, Format::Yaml, YAML, &old);
    emitted("good-3.7.yaml", &sealed);
    let json = self::sealed(JSON, Format::Json, key).replace("3.11.0", "3.7.3");
    let empties = "\t\t\"kms\": null,\n\t\t\"gcp_kms\": null,\n\t\t\"azure_kv\": null,\n\t\t\"hc_vault\": null,\n\t\t\"age\": [\n";
    let old = json.replacen("\t\t\"age\": [\n", empties, 1);
    let old = old.replacen("\t\t\"unenc", "\t\t\"pgp\": null,\n\t\t\"unenc", 1);
    put("good-3.7.json", "As 3.7 wrote it: null where a list is empty.", Format::Json, JSON, &old);
    emitted("good-3.7.json", &json);
    let bare = sealed.replacen("    unencrypted_suffix: _unencrypted\n", "", 1);
    put("good-bare.yaml", "No rule is written: sops has one for that.", Format::Yaml, YAML, &bare);
    let unquoted = sealed.replacen("lastmodified: \"", "lastmodified: ", 1).replacen("Z\"", "Z", 1);
    put(
        "good-unquoted-time.yaml",
        "A formatter took the quotes of the time away.",
        Format::Yaml,
        YAML,
        &unquoted,
    );
    emitted("good-unquoted-time.yaml", &sealed);
    let order =
        sealed.replacen("    version: 3.7.3\n", "", 1).replacen("sops:\n", "sops:\n    version: 3.7.3\n", 1);
    put("good-order.yaml", "The metadata in another order.", Format::Yaml, YAML, &order);
    emitted("good-order.yaml", &sealed);
    let groups = [&[key.recipient.as_str()][..], &[key.recipient.as_str()]];
    let split = String::from_utf8(encrypt_to_groups(b"a: 1\n", &groups, 2)).expect("UTF-8");
    let old = split.replacen("shamir_threshold: 2", "shamir_threshold: 2.0", 1);
    put(
        "good-shamir-float.yaml",
        "A threshold written as a floating point number.",
        Format::Yaml,
        "a: 1\n",
        &old,
    );
    emitted("good-shamir-float.yaml", &split);
}

/// Plaintext that is not encrypted.
fn refused_by_encrypt(key: &Key) {
    let put = |name: &str, what: &str, reason: &str, rule: &str, text: &[u8]| {
        let format = Format::from_file_name(name).unwrap_or(Format::Binary);
        let rule = if rule.is_empty() { String::new() } else { format!("rule: {rule}\n") };
        write(name, text, what, format, "encrypt", reason, &rule);
    };
    put("encrypt-again.yaml", "Encrypted already.", "AlreadyEncrypted", "", yaml(key).as_bytes());
    put("encrypt-sops.env", "A key that starts with sops_.", "AlreadyEncrypted", "", b"sops_x=1\n");
    let second = b"a: 1\n---\nsops: x\n";
    put(
        "encrypt-second.yaml",
        "Metadata in the second document: sops looks at the first only.",
        "AlreadyEncrypted",
        "",
        second,
    );
    put("encrypt-twice.json", "A key twice in one object.", "DuplicateKey", "", b"{\"a\": 1, \"a\": 2}");
    put("encrypt-twice.env", "A key twice.", "DuplicateKey", "", b"A=1\nA=2\n");
    put("encrypt-tail.json", "Text behind the object.", "SyntaxError", "", b"{\"a\": 1} {}");
    put("encrypt-empty.yaml", "Nothing at all.", "DocumentEmpty", "", b"");
    put(
        "encrypt-number.yaml",
        "A whole number beyond 64 bits with sign.",
        "Unsupported",
        "",
        b"a: 18446744073709551615\n",
    );
    let list = b"l:\n    # pick\n    # other\n    - x\n";
    let rule = "encrypted_comment_regex pick";
    put(
        "encrypt-hidden.yaml",
        "An encrypted comment of a list hides the one that decides.",
        "NotReadBack",
        rule,
        list,
    );
    put(
        "encrypt-key-of-quotes.ini",
        "A key in the clear with both kinds of quotes, of which sops makes another key.",
        "NotReadBack",
        "encrypted_suffix _enc",
        b"a `b\"c = x\n",
    );
    let rule = "unencrypted_comment_regex ENC";
    put(
        "encrypt-matching.yaml",
        "An encrypted comment would match.",
        "CommentMatches",
        rule,
        b"# note\na: x\n",
    );
    let rule = "encrypted_regex ([";
    put("encrypt-pattern.yaml", "A rule that is no pattern.", "Unsupported", rule, b"a: x\n");
}

fn refused_by_parse(key: &Key) {
    let put = |name: &str, what: &str, reason: &str, bytes: &[u8]| {
        let format = Format::from_file_name(name).unwrap_or(Format::Binary);
        write(name, bytes, what, format, "parse", reason, "");
    };
    let good = yaml(key);
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "nothing to change: {from}");
        good.replacen(from, to, 1).into_bytes()
    };
    put("empty.yaml", "Nothing at all.", "DocumentEmpty", b"");
    put("blank.json", "Nothing but blanks.", "DocumentEmpty", b" \n\n");
    put("plain.yaml", "Never encrypted.", "NotEncrypted", YAML.as_bytes());
    put("plain.json", "Never encrypted.", "NotEncrypted", JSON.as_bytes());
    put("plain.env", "Never encrypted.", "NotEncrypted", DOTENV.as_bytes());
    put("plain.ini", "Never encrypted.", "NotEncrypted", INI.as_bytes());
    put("not-utf8.yaml", "A byte that is no UTF-8.", "NotUtf8", &[good.as_bytes(), b"# \xff\n"].concat());
    put("syntax.yaml", "A bracket that is never closed.", "SyntaxError", &with("empty: \"\"", "empty: ["));
    put("syntax.json", "A comma too many.", "SyntaxError", b"{\"a\": 1,}");
    put("syntax.env", "A line without =.", "SyntaxError", b"A=1\nB\n");
    put("syntax.ini", "A section that is never closed.", "SyntaxError", b"[a\nb = c\n");
    put("list.yaml", "A list where a map must be.", "SyntaxError", b"- a\n- b\n");
    put("list.json", "A list where an object must be.", "SyntaxError", b"[1]");
    put(
        "duplicate-key.yaml",
        "A key twice in one map.",
        "DuplicateKey",
        &with("empty: \"\"", "empty: \"\"\nempty: \"\""),
    );
    put(
        "duplicate-sops.yaml",
        "Two sops blocks.",
        "DuplicateKey",
        &[good.as_bytes(), b"sops: {}\n"].concat(),
    );
    put(
        "duplicate-key.json",
        "A key twice in one object.",
        "DuplicateKey",
        br#"{"a": {"b": 1, "b": 2}, "sops": {}}"#,
    );
    put("duplicate-key.env", "A key twice.", "DuplicateKey", b"A=1\nA=2\nsops_mac=x\n");
    put(
        "duplicate-key.ini",
        "A key twice in one section.",
        "DuplicateKey",
        b"[a]\nb = 1\nb = 2\n[sops]\nmac = x\n",
    );
    put("key-not-text.yaml", "A number as a key.", "KeyNotText", &with("empty: \"\"", "5: \"\""));
    let bomb: String = (1..9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let below = level - 1;
        text + &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{below}"); 9].join(", "))
    });
    put("alias-bomb.yaml", "Aliases that expand to millions of values.", "TooManyValues", bomb.as_bytes());
    let many = format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(60), "*a, ".repeat(1000));
    put("alias-many.yaml", "One list of 60 values, a thousand times.", "TooManyValues", many.as_bytes());
    put("alias-to-itself.yaml", "An alias inside its anchor.", "SyntaxError", b"a: &a\n  b: *a\n");
    let brackets = |depth| format!("a: {}{}\n", "[".repeat(depth), "]".repeat(depth));
    put("deep.yaml", "Lists nested 100 deep.", "TooDeep", brackets(100).as_bytes());
    put(
        "very-deep.yaml",
        "Lists nested 5000 deep, beyond what the parser takes.",
        "SyntaxError",
        brackets(5000).as_bytes(),
    );
    let steps: String = (0..70).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    put("deep-block.yaml", "Maps nested 70 deep.", "TooDeep", steps.as_bytes());
    let braces = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    put("deep.json", "Objects nested 100 deep.", "TooDeep", braces.as_bytes());
    put("very-deep.json", "Lists nested 5000 deep.", "SyntaxError", "[".repeat(5000).as_bytes());
    let long = format!("{}: 1\nsops: {{}}\n", "k".repeat(1025));
    put(
        "long-key.yaml",
        "A key of 1025 bytes.",
        "KeyTooLong",
        format!("? {}", long.replacen(':', "\n:", 1)).as_bytes(),
    );
    put(
        "no-keys.yaml",
        "No keys are listed.",
        "MetadataInvalid",
        b"a: x\nsops:\n    lastmodified: \"2026-01-01T00:00:00Z\"\n    mac: x\n",
    );
    for (name, from, to) in [
        ("metadata-not-a-map.yaml", "sops:\n", "sops: x\nold:\n"),
        ("metadata-age-not-a-list.yaml", "    age:\n        - recipient", "    age:\n          recipient"),
        ("metadata-recipient-a-number.yaml", "recipient: age1", "recipient: 5 # age1"),
        ("metadata-enc-a-map.yaml", "enc: |\n", "enc:\n            a: |\n  "),
        ("metadata-mac-a-list.yaml", "    mac: ENC", "    mac: [] # ENC"),
        ("metadata-lastmodified-no-time.yaml", "lastmodified: \"2", "lastmodified: \"x2"),
        ("metadata-version-a-number.yaml", "version: 3.11.0", "version: 3"),
        (
            "metadata-mac-only-encrypted-text.yaml",
            "    version:",
            "    mac_only_encrypted: \"yes\"\n    version:",
        ),
        ("metadata-key-groups-not-a-list.yaml", "    version:", "    key_groups: 5\n    version:"),
        ("metadata-two-selectors.yaml", "    version:", "    encrypted_regex: x\n    version:"),
        (
            "metadata-threshold-text.yaml",
            "    age:\n",
            "    shamir_threshold: two\n    key_groups: []\n    age: []\n    old:\n",
        ),
    ] {
        let text = match name {
            "metadata-enc-a-map.yaml" => {
                good.replacen("enc: |\n", "enc: {}\n          old: |\n", 1).into_bytes()
            }
            _ => with(from, to),
        };
        put(name, "A metadata field of the wrong type or value.", "MetadataInvalid", &text);
    }
    let flat = sealed(DOTENV, Format::Dotenv, key);
    let gap = flat.replace("sops_age__list_0", "sops_age__list_7");
    put("metadata-list-with-a-gap.env", "A list that starts at 7.", "MetadataInvalid", gap.as_bytes());
    let huge = flat.replace("sops_age__list_0", "sops_age__list_4294967295");
    put(
        "metadata-huge-list.env",
        "A list index that would take gigabytes.",
        "MetadataInvalid",
        huge.as_bytes(),
    );
    let what = "One byte more than a document may have.";
    write(
        "too-large.yaml",
        good.as_bytes(),
        what,
        Format::Yaml,
        "parse",
        "DocumentTooLarge",
        "padded-to: 1048577\n",
    );
    write(
        "largest.yaml",
        good.as_bytes(),
        "As large as a document may be.",
        Format::Yaml,
        "none",
        "none",
        "padded-to: 1048576\n",
    );
    std::fs::write(directory().join("largest.yaml.plain"), YAML).expect("write");
}

fn refused_by_decrypt(key: &Key) {
    let put = |name: &str, what: &str, reason: &str, text: String| {
        let format = Format::from_file_name(name).unwrap_or(Format::Binary);
        write(name, text.as_bytes(), what, format, "decrypt", reason, "");
    };
    let good = yaml(key);
    let line =
        |of: &str| good.lines().find(|line| line.trim_start().starts_with(of)).expect("the line").to_owned();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "nothing to change: {from}");
        good.replacen(from, to, 1)
    };
    let (user, password) = (line("user:"), line("password:"));
    let seal = |line: &str| line.split_once(": ").expect("a pair").1.to_owned();
    put("other-recipient.yaml", "Encrypted to somebody else.", "NoMatchingKey", yaml(&Key::generate()));
    put(
        "value-bit.yaml",
        "One character of a value.",
        "ValueTampered",
        with(&password, &flip(&password, "data:")),
    );
    put(
        "value-iv.yaml",
        "One character of a nonce.",
        "ValueTampered",
        with(&password, &flip(&password, "iv:")),
    );
    put(
        "value-tag.yaml",
        "One character of a tag.",
        "ValueTampered",
        with(&password, &flip(&password, "tag:")),
    );
    put(
        "value-type.yaml",
        "A string that is now a number.",
        "Unsupported",
        with(&password, &password.replace("type:str", "type:int")),
    );
    put(
        "value-no-type.yaml",
        "A type nobody knows.",
        "Unsupported",
        with(&password, &password.replace("type:str", "type:secret")),
    );
    put("value-tail.yaml", "Text behind a value.", "NotCiphertext", with(&password, &format!("{password}x")));
    let more = password.replace("type:str]", "type:str,more:x]");
    put("value-field.yaml", "A field more in a value.", "NotCiphertext", with(&password, &more));
    put(
        "value-moved.yaml",
        "A value under another key.",
        "ValueTampered",
        with(&seal(&password), &seal(&user)),
    );
    put("value-clear.yaml", "A value in the clear.", "NotCiphertext", with(&seal(&password), "guessed"));
    put("value-number.yaml", "A number in the clear.", "NotCiphertext", with(&seal(&password), "5"));
    put("value-removed.yaml", "A value is gone.", "MacMismatch", with(&format!("{password}\n"), ""));
    put("value-nulled.yaml", "A value is now null.", "MacMismatch", with(&seal(&password), "null"));
    put("value-emptied.yaml", "A value is now empty.", "MacMismatch", with(&seal(&password), "\"\""));
    put(
        "clear-value.yaml",
        "A value in the clear was changed.",
        "MacMismatch",
        with("in the clear", "in the dark"),
    );
    put(
        "clear-value-added.yaml",
        "A value in the clear was added.",
        "MacMismatch",
        with("note_unencrypted", "a_unencrypted: x\nnote_unencrypted"),
    );
    let swapped = good.replacen(&user, "@", 1).replacen(&password, &user, 1).replacen('@', &password, 1);
    put("key-order.yaml", "Two keys changed places.", "MacMismatch", swapped);
    put(
        "key-renamed.yaml",
        "A key of an encrypted value has another name.",
        "ValueTampered",
        with("password:", "passwort:"),
    );
    let hosts: Vec<&str> =
        good.lines().filter(|line| line.starts_with("    - ENC") && !line.contains("comment")).collect();
    let list = good.replacen(hosts[0], "@", 1).replacen(hosts[1], hosts[0], 1).replacen('@', hosts[1], 1);
    put("list-order.yaml", "Two values of a list changed places.", "MacMismatch", list);
    put(
        "mac-bit.yaml",
        "One character of the MAC.",
        "MacDamaged",
        with(&line("mac:"), &flip(&line("mac:"), "data:")),
    );
    put("mac-missing.yaml", "The MAC is gone.", "MacMissing", with(&format!("{}\n", line("mac:")), ""));
    put("mac-empty.yaml", "The MAC is empty.", "MacMissing", with(&seal(&line("mac:")), "\"\""));
    let other = yaml(key);
    let mac = other.lines().find(|line| line.trim_start().starts_with("mac:")).expect("the MAC");
    put(
        "mac-of-another.yaml",
        "The MAC of another document.",
        "MacDamaged",
        with(&seal(&line("mac:")), &seal(mac)),
    );
    let time = line("lastmodified:");
    put(
        "lastmodified.yaml",
        "Another time of last modification.",
        "MacDamaged",
        with(&time, "    lastmodified: \"2020-01-01T00:00:00Z\""),
    );
    put(
        "lastmodified-zone.yaml",
        "The same time, written otherwise.",
        "MacDamaged",
        with(&time, &time.replace('Z', "+00:00")),
    );
    put(
        "selector.yaml",
        "Another rule of what is encrypted.",
        "NotCiphertext",
        with("unencrypted_suffix: _unencrypted", "unencrypted_suffix: _x"),
    );
    put(
        "selector-all-clear.yaml",
        "A rule by which nothing is encrypted.",
        "MacMismatch",
        with("unencrypted_suffix: _unencrypted", "encrypted_suffix: _x"),
    );
    put(
        "selector-bad-pattern.yaml",
        "A rule that is no pattern.",
        "Unsupported",
        with("unencrypted_suffix: _unencrypted", "encrypted_regex: (["),
    );
    put(
        "mac-only-encrypted.yaml",
        "The MAC is said to cover less.",
        "MacMismatch",
        with("    version:", "    mac_only_encrypted: true\n    version:"),
    );
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let armor = lines.iter().position(|line| line.contains("BEGIN AGE")).expect("an age file");
    lines[armor + 4] = flip(&lines[armor + 4], "            ");
    put("data-key.yaml", "One character of the wrapped data key.", "DataKeyDamaged", lines.join("\n") + "\n");
    for (name, format, plain) in [
        ("value.json", Format::Json, JSON),
        ("value.env", Format::Dotenv, DOTENV),
        ("value.ini", Format::Ini, INI),
        ("value.bin", Format::Binary, "x\n"),
    ] {
        let text = sealed(plain, format, key);
        let at = text
            .rfind("ENC[AES256_GCM,data:")
            .map(|_| text.find("type:str").expect("a string"))
            .expect("a value");
        let start = text[..at].rfind("data:").expect("data");
        let changed = format!("{}{}", &text[..start], flip(&text[start..], "data:"));
        put(name, "One character of a value.", "ValueTampered", changed);
    }
}

/// Changes the first base64 character behind `field`.
fn flip(text: &str, field: &str) -> String {
    let at = text.find(field).expect("the field") + field.len();
    let other = if text[at..].starts_with('A') { "B" } else { "A" };
    // The first of four characters stands for six bits of the first byte: always significant.
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}
