//! The crate as its callers use it.

mod support;

use support::{Key, encrypt, encrypt_to_groups};
use touchseal_sops::limits::{MAX_ATTEMPTS, MAX_RECIPIENTS};
use touchseal_sops::{
    DecryptError, Document, Fault, Format, Kind, LookupError, Opener, OtherKey, ParseError, PathSegment,
    Plain, Selector,
};

const PLAIN: &str = "# c\na:\n    b:\n        - x\n        - c: s3cr3t\n\"tls.crt\": PEM\nnum: 5\nf: 1000000.5\nt: true\nd: 2026-01-02\nz: null\n";

fn opened(key: &Key) -> Plain {
    let sealed = encrypt(PLAIN.as_bytes(), Format::Yaml, &["--age", &key.recipient]);
    Document::parse(&sealed, Format::Yaml).expect("parse").decrypt(&[&key.identity]).expect("decrypt")
}

#[test]
fn values_are_found_as_a_secret_should_hold_them() {
    let plain = opened(&Key::generate());
    for (path, bytes) in [
        ("a.b[0]", "x"),
        ("a.b[1].c", "s3cr3t"),
        ("[\"tls.crt\"]", "PEM"),
        ("num", "5"),
        ("f", "1000000.5"),
        ("t", "true"),
        ("d", "2026-01-02T00:00:00Z"),
    ] {
        assert_eq!(plain.lookup(path).expect(path).bytes(), Some(bytes.as_bytes()), "{path}");
    }
    assert!(plain.lookup("z").expect("there").is_null());
    assert_eq!(plain.lookup("num").expect("there").kind(), Some(Kind::Int));
    assert_eq!(plain.lookup("a.x").err(), Some(LookupError::NotFound { at: 1 }));
    assert_eq!(plain.lookup("a.b[2]").err(), Some(LookupError::NotFound { at: 2 }));
    assert_eq!(plain.lookup("tls.crt").err(), Some(LookupError::NotFound { at: 0 }));
    assert_eq!(
        plain.get(&[PathSegment::Key("num"), PathSegment::Index(0)]).err(),
        Some(LookupError::NotFound { at: 1 })
    );
    let keys: Vec<&str> = plain.top_level().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "tls.crt", "num", "f", "t", "d", "z"]);
}

#[test]
fn what_was_encrypted_is_told_from_what_anybody_can_read() {
    let key = Key::generate();
    let of = |text: &str, format, arguments: &[&str]| {
        let sealed = encrypt(text.as_bytes(), format, &[&["--age", &key.recipient], arguments].concat());
        let document = Document::parse(&sealed, format).expect("parse");
        let plain = document.decrypt(&[&key.identity]).expect("decrypt");
        let shown = |one: touchseal_sops::Sealed<'_>| {
            let value = String::from_utf8(one.node.bytes().expect("a value").to_vec()).expect("text");
            format!("{} {:?} {value}", one.document, one.path)
        };
        document.sealed(&plain).into_iter().map(shown).collect::<Vec<_>>()
    };
    let text = "# c\nuser: x\ndata:\n    list:\n        # d\n        - one\n        # e\n        - two: 2\n    none: null\n    empty: \"\"\n";
    assert_eq!(
        of(text, Format::Yaml, &["--encrypted-regex", "^data$"]),
        [
            "0 [Key(\"data\"), Key(\"list\"), Index(0)] one",
            "0 [Key(\"data\"), Key(\"list\"), Index(1), Key(\"two\")] 2"
        ]
    );
    assert_eq!(of("a: x\n---\nb: y\n", Format::Yaml, &[]), ["0 [Key(\"a\")] x", "1 [Key(\"b\")] y"]);
    assert_eq!(of("A=x\n#c\nB=y\n", Format::Dotenv, &[]), ["0 [Key(\"A\")] x", "0 [Key(\"B\")] y"]);
    assert_eq!(of("whole\nfile\n", Format::Binary, &[]), ["0 [Key(\"data\")] whole\nfile\n"]);
}

#[test]
fn a_repeated_ini_section_is_ambiguous() {
    let key = Key::generate();
    let sealed = encrypt(b"[p]\na = 1\n[p]\na = 2\n[q]\na = 3\n", Format::Ini, &["--age", &key.recipient]);
    let plain =
        Document::parse(&sealed, Format::Ini).expect("parse").decrypt(&[&key.identity]).expect("decrypt");
    assert_eq!(plain.lookup("p.a").err(), Some(LookupError::Ambiguous { at: 0 }));
    assert_eq!(plain.lookup("q.a").expect("there").bytes(), Some(&b"3"[..]));
}

#[test]
fn nothing_prints_a_value() {
    let key = Key::generate();
    let plain = opened(&key);
    let node = plain.lookup("a.b[1].c").expect("there");
    let opener = Opener::new().with_x25519(key.identity.clone());
    for shown in [format!("{plain:?}"), format!("{node:?}"), format!("{opener:?}")] {
        assert!(!shown.contains("s3cr3t") && !shown.contains("SECRET-KEY"), "{shown}");
    }
    let sealed = encrypt(PLAIN.as_bytes(), Format::Yaml, &["--age", &key.recipient]);
    let clear = String::from_utf8(sealed).expect("UTF-8");
    let line = clear.lines().find(|line| line.starts_with("num: ")).expect("the line");
    for value in
        ["s3cr3t", "ENC[AES256_GCM,data:s3cr3t]", "5", "[s3cr3t]", "\"s3cr3t", "*s3cr3t", "!!int s3cr3t"]
    {
        let text = clear.replace(line, &format!("num: {value}"));
        let error = match Document::parse(text.as_bytes(), Format::Yaml) {
            Err(error) => format!("{error} {error:?}"),
            Ok(document) => {
                let error = document.decrypt_with(&opener).expect_err("refused");
                format!("{error} {error:?} {document:?} {:?}", document.metadata())
            }
        };
        assert!(!error.contains("s3cr3t"), "{error}");
    }
}

#[test]
fn metadata_tells_who_can_open_a_document_and_what_is_encrypted() {
    let (ours, other) = (Key::generate(), Key::generate());
    let both = format!("{},{}", other.recipient, ours.recipient);
    let sealed = encrypt(b"data: x\n", Format::Yaml, &["--age", &both, "--encrypted-regex", "^data$"]);
    let text = String::from_utf8(sealed).expect("UTF-8");
    let pgp = "    pgp:\n        - fp: A\n          enc: x\n    age:\n";
    let document =
        Document::parse(text.replacen("    age:\n", pgp, 1).as_bytes(), Format::Yaml).expect("parse");
    let recipients: Vec<&str> = document.age_recipients().collect();
    assert_eq!(recipients, [other.recipient.as_str(), ours.recipient.as_str()]);
    let metadata = document.metadata();
    assert_eq!(metadata.groups()[0].others(), [OtherKey::Pgp]);
    assert_eq!(metadata.threshold(), 1);
    assert_eq!(metadata.selector(), &Selector::EncryptedRegex("^data$".to_owned()));
    assert!(!metadata.mac_only_encrypted());
    assert_eq!(metadata.version(), "3.11.0");
    assert!(text.contains(metadata.last_modified()));
    let nobody = document.decrypt(&[]).expect_err("no identity");
    assert_eq!(nobody, DecryptError::NoMatchingKey { recipients: 3 });
    assert_eq!(nobody.fault(), Fault::Recipients);
    document.decrypt(&[&ours.identity]).expect("the second recipient");
}

#[test]
fn an_opener_finds_its_stanza_under_another_name_too() {
    let key = Key::generate();
    let sealed = encrypt(b"a: x\n", Format::Yaml, &["--age", &key.recipient]);
    let renamed = String::from_utf8(sealed).expect("UTF-8").replacen(&key.recipient, "somebody", 1);
    let document = Document::parse(renamed.as_bytes(), Format::Yaml).expect("parse");
    document.decrypt_with(&Opener::new().with_x25519(key.identity)).expect("opens");
}

#[test]
fn plaintext_tells_whose_key_opened_it_and_not_who_is_named() {
    let (old, new) = (Key::generate(), Key::generate());
    let opener = Opener::new().with_x25519(new.identity.clone()).with_x25519(old.identity.clone());
    let by = |text: &str| -> Vec<String> {
        let document = Document::parse(text.as_bytes(), Format::Yaml).expect("parse");
        document.decrypt_with(&opener).expect("opens").opened_by().map(str::to_owned).collect()
    };
    let sealed =
        |to: &str| String::from_utf8(encrypt(b"a: x\n", Format::Yaml, &["--age", to])).expect("UTF-8");
    let to_old = sealed(&old.recipient);
    assert_eq!(by(&to_old), [old.recipient.as_str()]);
    // Under the other's name, and beside an entry of the other's that opens nothing.
    assert_eq!(by(&to_old.replacen(&old.recipient, &new.recipient, 1)), [old.recipient.as_str()]);
    let entry = to_old.find("        - recipient:").expect("the entry");
    let end = to_old.find("    lastmodified:").expect("the end of the list");
    let fake = to_old[entry..end].replacen(&old.recipient, &new.recipient, 1);
    let both = format!("{}{fake}{}", &to_old[..entry], &to_old[entry..]);
    assert_eq!(by(&both), [old.recipient.as_str()]);
    // Encrypted to both, in whatever order: the one added first is preferred.
    for to in [[&old, &new], [&new, &old]] {
        let to = to.map(|key| key.recipient.as_str()).join(",");
        assert_eq!(by(&sealed(&to)), [new.recipient.as_str()]);
    }
    let groups = encrypt_to_groups(b"a: x\n", &[&[&new.recipient], &[&old.recipient]], 2);
    let text = String::from_utf8(groups).expect("UTF-8");
    assert_eq!(by(&text), [new.recipient.as_str(), old.recipient.as_str()]);
}

#[test]
fn who_lists_many_recipients_does_not_make_us_try_them_all() {
    let (key, stranger) = (Key::generate(), Key::generate());
    let both = format!("{},{}", stranger.recipient, key.recipient);
    let text = String::from_utf8(encrypt(b"a: x\n", Format::Yaml, &["--age", &both])).expect("UTF-8");
    let entry = "        - recipient:";
    let start = text.find(entry).expect("the stranger");
    let end = text.rfind(entry).expect("ours");
    let listed =
        |count: usize| format!("{}{}{}", &text[..start], text[start..end].repeat(count), &text[end..]);
    let parse = |count: usize| Document::parse(listed(count).as_bytes(), Format::Yaml);
    let few = parse(MAX_ATTEMPTS - 1).expect("parse");
    few.decrypt(&[&key.identity]).expect("the last attempt");
    let many = parse(MAX_ATTEMPTS).expect("parse");
    assert!(matches!(many.decrypt(&[&key.identity]), Err(DecryptError::NoMatchingKey { .. })));
    many.decrypt_with(&Opener::new().with_x25519(key.identity)).expect("an opener knows which is its own");
    let refused = parse(MAX_RECIPIENTS).expect_err("too many");
    assert_eq!((refused.reason(), refused.fault()), ("MetadataInvalid", Fault::Author));
}

#[test]
fn messages_name_the_key_and_the_line() {
    let text = "a:\n  b: 1\n  b: 2\nsops: {}\n";
    let error = Document::parse(text.as_bytes(), Format::Yaml).expect_err("twice");
    assert_eq!(error.to_string(), "line 3: a.b: the key occurs twice");
    assert!(matches!(error, ParseError::DuplicateKey { .. }));
    let hostile = format!("{}\u{7}: 1\n", "k".repeat(400));
    let error = Document::parse(hostile.repeat(2).as_bytes(), Format::Dotenv).expect_err("no dotenv");
    assert!(error.to_string().len() < 200, "{error}");
}

#[test]
fn formats_are_told_by_name() {
    for (name, format) in [
        ("a.yaml", Some(Format::Yaml)),
        ("secrets.enc.yml", Some(Format::Yaml)),
        ("a.json", Some(Format::Json)),
        (".env", Some(Format::Dotenv)),
        ("a.ini", Some(Format::Ini)),
        ("tls.key", None),
        ("yaml", None),
    ] {
        assert_eq!(Format::from_file_name(name), format, "{name}");
    }
}
