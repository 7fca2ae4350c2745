//! This crate encrypts; real sops must decrypt, and change, what comes out. What sops wrote is printed as it was.

mod support;

use support::{Key, decrypt, encrypt, encrypt_to_groups};
use touchseal_sops::{
    Document, Edited, EncryptError, Format, Opener, OsRng, Recipient, Recipients, Rules, Selector,
};

const NOW: &str = "2026-01-31T08:00:00Z";

const YAML: &str = "# head\na:\n    # in a\n    b: 1\n    c: x # behind\n    # end of a\nl:\n    # one\n    - a: 1\n      # in\n      b: 2\n    #\n    # two\n    - b # behind\n    - 1.5\n    - []\n    - {}\n    # three\nf: 1e21\nt: 2026-01-02 03:04:05\nn: null\ne: \"\"\nb: true\ns_unencrypted: clear\nk: |\n    one\n     two\n\n    three\n# last\n";
const JSON: &str = "{\"z\": 1.5, \"a\": [1, \"<&>\\u2028\\u0001\", {\"d\": null, \"e\": {}, \"f\": []}], \"big\": 1e21, \"t\": true, \"e\": \"\", \"c_unencrypted\": [1, \"x\"]}";
const DOTENV: &str =
    "# comment\nA=1\nB=\"quoted\"\nC=a=b\nD=\n\nE=line\\nbreak\n#\nF_unencrypted= x \n#last\n";
const INI: &str = "top = 1\n; on other\nother = 2 ; behind\n\n# section comment\n[s]\n; on k\nk = v\nempty =\nq = \"\"\"one\ntwo\"\"\"\nh = `a#b`\n[t_unencrypted]\nx = ' y '\n";

const ALL: [(Format, &[u8]); 8] = [
    (Format::Yaml, YAML.as_bytes()),
    (Format::Yaml, b"a: 1\n---\n# only\n---\nb: 2\n"),
    (Format::Json, JSON.as_bytes()),
    (Format::Json, b"{}"),
    (Format::Dotenv, DOTENV.as_bytes()),
    (Format::Ini, INI.as_bytes()),
    (Format::Binary, b"\x00\xff raw\r\n"),
    (Format::Binary, b""),
];

fn to(keys: &[&Key]) -> Recipients {
    let parse = |key: &&Key| key.recipient.parse().expect("a recipient");
    Recipients::new(keys.iter().map(parse).collect()).expect("recipients")
}

fn seal(plain: &[u8], format: Format, key: &Key, rules: &Rules) -> Result<Vec<u8>, EncryptError> {
    Document::encrypt(plain, format, &to(&[key]), rules, NOW, &mut OsRng).map(|document| document.emit())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What sops itself makes of the plaintext: encrypted and decrypted again.
fn through_sops(plain: &[u8], format: Format, key: &Key, options: &[&str]) -> Vec<u8> {
    let options = [&["--age", key.recipient.as_str()], options].concat();
    decrypt(&encrypt(plain, format, &options), format, key).expect("sops decrypt")
}

#[test]
fn sops_decrypts_what_is_encrypted_here() {
    let key = Key::generate();
    for (format, plain) in ALL {
        let sealed = seal(plain, format, &key, &Rules::default()).expect("encrypt");
        let ours = decrypt(&sealed, format, &key).unwrap_or_else(|e| panic!("{e}\n{}", text(&sealed)));
        let theirs = through_sops(plain, format, &key, &[]);
        // sops makes an empty comment in a list an empty string.
        let theirs = text(&theirs).replace("    - \"\"\n", "    # \n");
        assert_eq!(text(&ours), theirs, "{format}");
        let opener = Opener::new().with_x25519(key.identity.clone());
        let plain = Document::parse(&sealed, format).expect("parse").decrypt_with(&opener).expect("decrypt");
        assert_eq!(text(&plain.emit().expect("emits")), text(&ours), "{format}");
    }
}

/// The shape of a document: ciphertexts and keys blotted out.
fn shape(document: &[u8]) -> String {
    let mut shape = String::new();
    for line in text(document).replace("\\n", "\n").lines() {
        let line = line.trim_end_matches(['"', ',']);
        let digits = line.trim_start();
        if digits.len() >= 20 && digits.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)) {
            continue;
        }
        let line = match line.find("ENC[") {
            Some(at) => format!("{}{}", &line[..at], line.rsplit("type:").next().unwrap_or("")),
            None => line.split("lastmodified").next().unwrap_or("").to_owned(),
        };
        shape.push_str(&line);
        shape.push('\n');
    }
    shape
}

#[test]
fn documents_have_the_shape_sops_gives_them() {
    let key = Key::generate();
    for (format, plain) in ALL {
        let sealed = seal(plain, format, &key, &Rules::default()).expect("encrypt");
        let theirs = encrypt(plain, format, &["--age", &key.recipient]);
        let (ours, mut theirs) = (shape(&sealed), shape(&theirs).replace("    - \n", "    - comment]\n"));
        if format == Format::Ini {
            // sops writes the metadata of ini in no particular order.
            let (data, block) = theirs.split_once("[sops]\n").expect("the metadata");
            let mut lines: Vec<&str> = block.lines().collect();
            lines.sort_unstable();
            let mut expected: Vec<&str> =
                ours.split_once("[sops]\n").expect("the metadata").1.lines().collect();
            expected.sort_unstable();
            assert_eq!(lines, expected);
            theirs = format!("{data}[sops]\n{}", ours.split_once("[sops]\n").expect("the metadata").1);
        }
        assert_eq!(ours, theirs, "{format}");
    }
}

fn same(document: &[u8], format: Format) {
    let emitted = Document::parse(document, format).expect("parse").emit();
    assert_eq!(text(&emitted), text(document), "{format}");
}

const MANIFEST: &str = "apiVersion: v1\nkind: Secret\n# note\nstringData:\n  # inner\n  a: x\n  n: 5\n  flag: true\nlist:\n  # pick\n  - 1\n  - 2\nother: 1.50\n";

fn selectors() -> [(Selector, [&'static str; 2]); 6] {
    [
        (
            Selector::EncryptedRegex("^(data|stringData)$".into()),
            ["--encrypted-regex", "^(data|stringData)$"],
        ),
        (
            Selector::UnencryptedRegex("^(apiVersion|kind|other)$".into()),
            ["--unencrypted-regex", "^(apiVersion|kind|other)$"],
        ),
        (Selector::EncryptedSuffix("Data".into()), ["--encrypted-suffix", "Data"]),
        (Selector::UnencryptedSuffix("Version".into()), ["--unencrypted-suffix", "Version"]),
        (Selector::EncryptedCommentRegex("pick|inner".into()), ["--encrypted-comment-regex", "pick|inner"]),
        (
            Selector::UnencryptedCommentRegex("pick|inner".into()),
            ["--unencrypted-comment-regex", "pick|inner"],
        ),
    ]
}

#[test]
fn what_sops_wrote_is_printed_as_it_was() {
    let (key, other) = (Key::generate(), Key::generate());
    let both = format!("{},{}", other.recipient, key.recipient);
    for (format, plain) in ALL {
        // Several times: the order of ini's metadata is another each time.
        for _ in 0..3 {
            same(&encrypt(plain, format, &["--age", &both]), format);
        }
    }
    for (_, options) in selectors() {
        for extra in [&[][..], &["--mac-only-encrypted"]] {
            let options = [&["--age", key.recipient.as_str()], extra, &options[..]].concat();
            same(&encrypt(MANIFEST.as_bytes(), Format::Yaml, &options), Format::Yaml);
        }
    }
    for format in [Format::Json, Format::Dotenv, Format::Ini] {
        let plain = if format == Format::Json { "{\"a\": 1}" } else { "a=1\n" };
        let options = ["--age", &both, "--mac-only-encrypted", "--encrypted-regex", "a|#;`"];
        same(&encrypt(plain.as_bytes(), format, &options), format);
    }
    let groups = [&[key.recipient.as_str()][..], &[&other.recipient, &key.recipient], &[&other.recipient]];
    same(&encrypt_to_groups(b"a: 1\n", &groups, 2), Format::Yaml);
}

#[test]
fn sops_decrypts_under_every_rule() {
    let key = Key::generate();
    for (selector, options) in selectors() {
        for mac_only_encrypted in [false, true] {
            let rules = Rules { selector: selector.clone(), mac_only_encrypted };
            let sealed = seal(MANIFEST.as_bytes(), Format::Yaml, &key, &rules).expect("encrypt");
            let ours =
                decrypt(&sealed, Format::Yaml, &key).unwrap_or_else(|e| panic!("{e}\n{}", text(&sealed)));
            let extra: &[&str] = if mac_only_encrypted { &["--mac-only-encrypted"] } else { &[] };
            let options = [&["--age", key.recipient.as_str()], extra, &options[..]].concat();
            let theirs = encrypt(MANIFEST.as_bytes(), Format::Yaml, &options);
            assert_eq!(shape(&sealed), shape(&theirs), "{options:?}");
            assert_eq!(text(&ours), text(&decrypt(&theirs, Format::Yaml, &key).expect("sops decrypt")));
        }
    }
}

#[test]
fn what_sops_encrypts_and_cannot_decrypt_is_written_so_that_it_can() {
    let key = Key::generate();
    let rules = Rules { selector: Selector::EncryptedSuffix("_enc".into()), mac_only_encrypted: false };
    for plain in [
        "a: -0.0\n",
        "l:\n    - \"\\nline\"\n    - \"  \\n x\"\n",
        "l:\n    - k: v\n      a: \"\\n\\n two\"\n",
        "a: \"\\tone\\ntwo\"\n",
        "a: {} # only this\nb: [] # and that\n",
    ] {
        let theirs =
            encrypt(plain.as_bytes(), Format::Yaml, &["--age", &key.recipient, "--encrypted-suffix", "_enc"]);
        let opened =
            Document::parse(&theirs, Format::Yaml).map(|document| document.decrypt(&[&key.identity]).is_ok());
        assert_ne!(opened, Ok(true), "no difference: {plain}");
        let sealed =
            seal(plain.as_bytes(), Format::Yaml, &key, &rules).unwrap_or_else(|e| panic!("{e}: {plain}"));
        let printed =
            decrypt(&sealed, Format::Yaml, &key).unwrap_or_else(|e| panic!("{e}\n{}", text(&sealed)));
        let ours = Document::parse(&sealed, Format::Yaml)
            .expect("parse")
            .decrypt(&[&key.identity])
            .expect("decrypt");
        let ours = ours.emit().expect("emits");
        // sops prints -0 and, for a block that starts with a tab, null.
        assert!(
            plain.contains("-0.0")
                || plain.contains("\\t")
                || support::miscounted(&ours) == support::miscounted(&printed),
            "{}",
            text(&ours)
        );
        // What is printed here says the same when it is read again.
        let again = Document::parse(&sealed, Format::Yaml).expect("parse");
        let opener = Opener::new().with_x25519(key.identity.clone());
        let edit = again.edit(&opener, &ours, "2026-02-01T08:00:00Z", &mut OsRng).expect("edit");
        assert!(matches!(edit, Edited::Unchanged), "{plain}");
        let sealed = seal(&ours, Format::Yaml, &key, &rules).expect("encrypt what was printed");
        let ours_again = Document::parse(&sealed, Format::Yaml)
            .expect("parse")
            .decrypt(&[&key.identity])
            .expect("decrypt");
        assert_eq!(text(&ours_again.emit().expect("emits")), text(&ours));
    }
}

#[test]
fn a_rule_that_makes_what_cannot_be_read_is_refused() {
    let key = Key::generate();
    let rules = |selector| Rules { selector, mac_only_encrypted: false };
    // In a list a comment that is encrypted is a value to whoever decrypts, and hides the comment before it.
    let plain = b"l:\n    # pick\n    # other\n    - x\n";
    let picked = rules(Selector::EncryptedCommentRegex("pick".into()));
    let error = seal(plain, Format::Yaml, &key, &picked).expect_err("refused");
    assert!(matches!(error, EncryptError::NotReadBack { .. }), "{error}");
    let theirs =
        encrypt(plain, Format::Yaml, &["--age", &key.recipient, "--encrypted-comment-regex", "pick"]);
    decrypt(&theirs, Format::Yaml, &key).expect_err("sops cannot either");
    let matching = rules(Selector::UnencryptedCommentRegex("ENC".into()));
    let error = seal(b"# note\na: x\n", Format::Yaml, &key, &matching).expect_err("refused");
    assert!(matches!(error, EncryptError::CommentMatches { .. }), "{error}");
    for pattern in ["([", "\\p{Greek}", "(?=x)"] {
        let error = seal(b"a: x\n", Format::Yaml, &key, &rules(Selector::EncryptedRegex(pattern.into())))
            .expect_err("refused");
        assert_eq!(error, EncryptError::Selector { field: "encrypted_regex" }, "{pattern}");
    }
}

#[test]
fn plaintext_with_metadata_or_faults_is_refused() {
    let key = Key::generate();
    let seal = |plain: &[u8], format| seal(plain, format, &key, &Rules::default()).expect_err("refused");
    for (format, plain) in [
        (Format::Yaml, "sops: x\n"),
        (Format::Yaml, "a: x\n---\nsops: x\n"),
        (Format::Json, "{\"sops\": null}"),
        (Format::Dotenv, "A=1\nsops_version=x\n"),
        (Format::Ini, "[a]\nb = 1\n[sops]\nc = 1\n"),
    ] {
        assert_eq!(seal(plain.as_bytes(), format), EncryptError::AlreadyEncrypted, "{plain}");
    }
    for (format, plain) in [
        (Format::Yaml, ""),
        (Format::Yaml, "# only a comment\n"),
        (Format::Yaml, "- a\n"),
        (Format::Yaml, "a: 1\na: 2\n"),
        (Format::Yaml, "a: 18446744073709551615\n"),
        (Format::Json, ""),
        (Format::Json, "{\"a\": 1} x"),
        (Format::Json, "{\"a\": 1, \"a\": 2}"),
        (Format::Dotenv, "A\n"),
        (Format::Dotenv, "A=1\nA=2\n"),
        (Format::Ini, "[a\n"),
    ] {
        assert!(matches!(seal(plain.as_bytes(), format), EncryptError::Parse(_)), "{format}: {plain}");
    }
    assert!(matches!(seal(b"A=\xff\n", Format::Dotenv), EncryptError::Parse(_)));
    let large = vec![0; 800 * 1024];
    assert!(matches!(seal(&large, Format::Binary), EncryptError::TooLarge { .. }));
}

#[test]
fn other_recipients_are_wrapped_for_by_the_age_crate() {
    let key = Key::generate();
    let other = Box::new(key.identity.to_public());
    let recipients = Recipients::new(vec![Recipient::new("age1plugin1x".into(), other)]).expect("recipients");
    let document =
        Document::encrypt(b"a: x\n", Format::Yaml, &recipients, &Rules::default(), NOW, &mut OsRng)
            .expect("encrypt");
    let sealed = text(&document.emit());
    assert!(sealed.contains("recipient: age1plugin1x"), "{sealed}");
    let renamed = sealed.replace("age1plugin1x", &key.recipient);
    assert_eq!(text(&decrypt(renamed.as_bytes(), Format::Yaml, &key).expect("sops decrypt")), "a: x\n");
}

#[test]
fn no_error_and_nothing_printed_for_debugging_holds_a_value() {
    let key = Key::generate();
    for (format, plain) in [
        (Format::Yaml, "a: [s3cr3t\n"),
        (Format::Json, "{\"a\": \"s3cr3t\""),
        (Format::Dotenv, "s3cr3t\n"),
        (Format::Ini, "[s3cr3t\n"),
        (Format::Yaml, "l:\n    # pick\n    # s3cr3t\n    - s3cr3t\n"),
    ] {
        let rules =
            Rules { selector: Selector::EncryptedCommentRegex("pick".into()), mac_only_encrypted: false };
        let error = seal(plain.as_bytes(), format, &key, &rules).expect_err("refused");
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error}");
    }
}

#[test]
fn an_indentation_is_written_kept_and_read_by_sops() {
    let key = Key::generate();
    let opener = Opener::new().with_x25519(key.identity.clone());
    for (format, plain, edited) in [
        (
            Format::Yaml,
            "a:\n    l:\n        - x\n        - c: d\nb: e\n",
            "a:\n    l:\n        - x\n        - c: d\nb: f\n",
        ),
        (
            Format::Json,
            "{\"a\": {\"l\": [\"x\", {\"c\": \"d\"}]}, \"b\": \"e\"}",
            "{\"a\": {\"l\": [\"x\", {\"c\": \"d\"}]}, \"b\": \"f\"}",
        ),
    ] {
        let usual = seal(plain.as_bytes(), format, &key, &Rules::default()).expect("encrypt");
        for columns in [2, 3, 9] {
            let document = Document::parse(&usual, format).expect("parse").indented(columns);
            let sealed = document.emit();
            assert_ne!(text(&sealed), text(&usual), "{format} {columns}");
            decrypt(&sealed, format, &key).unwrap_or_else(|e| panic!("{e}\n{}", text(&sealed)));
            let again = Document::parse(&sealed, format).expect("parse");
            assert_eq!(text(&again.emit()), text(&sealed), "{format} {columns}");
            let changed = match again.edit(&opener, edited.as_bytes(), NOW, &mut OsRng).expect("edit") {
                Edited::Changed(document) => text(&document.emit()),
                Edited::Unchanged => panic!("b changed"),
            };
            let differ = text(&sealed).lines().zip(changed.lines()).filter(|(a, b)| a != b).count();
            assert!(differ <= 3, "{format} {columns}: only b, the MAC and the time\n{changed}");
        }
    }
}
