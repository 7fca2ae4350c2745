//! What is made gives back, by the mapping the operator uses, every byte that went in.

use std::path::PathBuf;

use touchseal_crds::encrypted_secret::DocumentFormat;
use touchseal_plan::{Content, mapping};
use touchseal_sops::Document;

use super::*;
use crate::commands::import::material::InCluster;

/// The Secret that comes of these parts: keys and values.
fn through(documents: Vec<Part>) -> BTreeMap<String, Vec<u8>> {
    let identity = age::x25519::Identity::generate();
    let target = encrypt::target(vec![identity.to_public().to_string()], String::new()).unwrap();
    let made = make(&material(documents), &target, false).unwrap();
    let object: Value = yaml::from_str(&made.text).unwrap();
    let spec: EncryptedSecretSpec = serde_json::from_value(object["spec"].clone()).unwrap();
    let mut content = Content::default();
    for source in &spec.documents {
        let text = source.sops.as_deref().unwrap();
        let name = source.name.as_deref().unwrap();
        let format = match source.format {
            Some(DocumentFormat::Binary) => Format::Binary,
            Some(_) => Format::Yaml,
            None => Format::from_file_name(name).unwrap_or(Format::Binary),
        };
        let plain = Document::parse(text.as_bytes(), format).unwrap().decrypt(&[&identity]).unwrap();
        mapping::add(&mut content, &plain, source.mapping.as_ref(), Some(name)).unwrap();
    }
    content.data.iter().map(|(key, value)| (key.clone(), value.to_vec())).collect()
}

fn material(documents: Vec<Part>) -> Material {
    Material {
        name: "app".to_owned(),
        namespace: "shop".to_owned(),
        from: vec!["x".to_owned()],
        plain: Vec::new(),
        cluster: InCluster::Unknown,
        folder: PathBuf::new(),
        secret_type: Some("example.com/x".to_owned()),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        documents,
        notes: Vec::new(),
    }
}

fn pair(key: &str, value: &[u8]) -> Pair {
    (key.to_owned(), Zeroizing::new(value.to_vec()))
}

fn values(pairs: &[(&str, &[u8])]) -> Part {
    Part::Values {
        name: "app.yaml".to_owned(),
        pairs: pairs.iter().map(|(key, value)| pair(key, value)).collect(),
    }
}

fn expected(pairs: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect()
}

#[test]
fn values_of_text_come_back_whatever_they_look_like() {
    let texts = [
        "",
        " ",
        "null",
        "yes",
        "1.10",
        "007",
        "1e3",
        "a: b",
        "- a",
        "#x",
        "'",
        "\"",
        "\\n",
        "{{ x }}",
        "ENC[AES256_GCM,data:x]",
        "a\nb\n",
        "\n",
        "\n\na",
        "  a\n b\n",
        "a\r\nb\r\n",
        "tab\there",
        "\ttab\n",
        "trail \nx\n",
        "ü\u{1f600}\n",
        "\u{feff}x",
        "\u{85}x\n\u{2028}",
        "\u{1b}[1A",
        "-----BEGIN X-----\nabc\n-----END X-----\n",
        "---\n",
        "...\nx\n",
        "2026-01-01",
        "0x10",
        "~",
        "*a",
        "&a",
        "!t x",
    ];
    let keys: Vec<String> = (0..texts.len()).map(|number| format!("k{number}")).collect();
    let pairs: Vec<(&str, &[u8])> = keys.iter().map(String::as_str).zip(texts.map(str::as_bytes)).collect();
    assert_eq!(through(vec![values(&pairs)]), expected(&pairs));
}

#[test]
fn so_do_bytes_that_are_no_text_and_names_that_mean_something() {
    for pairs in [
        &[("a", &b"\xff\x00\xfe"[..]), ("b", b"text"), ("c", b"a\0b")][..],
        &[("sops", b"x"), ("b", b"y\n")],
        &[("kind", b"Secret"), ("apiVersion", b"v1"), ("x", b"y")],
        &[("password_unencrypted", b"hunter2")],
        &[(".dockerconfigjson", b"{}"), ("tls.key", b"k"), ("yes", b"no"), ("1", b"2"), ("null", b"x")],
    ] {
        assert_eq!(through(vec![values(pairs)]), expected(pairs));
    }
}

#[test]
fn nothing_is_left_in_the_clear() {
    let target = nobody().unwrap();
    let pairs: &[(&str, &[u8])] =
        &[("a", b"hunter2"), ("b_unencrypted", b"hunter2"), ("sops", b"hunter2"), ("c", b"hunter2\xff")];
    for documents in [
        vec![values(pairs)],
        vec![values(&pairs[..1])],
        vec![Part::File { key: "x".to_owned(), bytes: pairs[0].1.to_vec().into() }],
    ] {
        let text = make(&material(documents), &target, true).unwrap().text;
        assert!(!text.contains("hunter2") && !text.contains(&STANDARD.encode("hunter2")[..8]), "{text}");
        assert!(text.contains("deletionPolicy: Retain") && text.contains("type: example.com/x"), "{text}");
    }
}

#[test]
fn whole_files_come_back_byte_for_byte() {
    let bytes: Vec<u8> = (0..=255).collect();
    let files: &[(&str, &[u8])] = &[
        ("settings.yaml", b"a: 1 # c\n\n\nb: [x]"),
        (".env", b"A=b\r\n"),
        ("keystore.jks", &bytes),
        ("app.json", b"{}"),
        ("empty.ini", b""),
    ];
    let parts =
        files.iter().map(|(key, bytes)| Part::File { key: (*key).to_owned(), bytes: bytes.to_vec().into() });
    assert_eq!(through(parts.collect()), expected(files));
}

#[test]
fn a_wrapped_document_must_be_for_the_namespace() {
    let [own, author, other] = ["own", "author", "other"].map(str::to_owned);
    let is_taken = |document: &[&String], listed: &[&String], own: &[&String]| {
        let owned = |all: &[&String]| all.iter().map(|one| (*one).clone()).collect::<Vec<_>>();
        let sops = Sops {
            name: "app.yaml".to_owned(),
            text: "x".to_owned(),
            format: Format::Yaml,
            mapping: None,
            recipients: owned(document),
            keys: Vec::new(),
        };
        let target = Target { listed: owned(listed), own: owned(own), ..nobody().unwrap() };
        make(&material(vec![Part::Sops(sops)]), &target, false).is_ok()
    };
    let both = [&own, &author];
    assert!(
        !is_taken(&[&author], &both, &[&own]),
        "the author's key is of the rule, but opens nothing there"
    );
    assert!(is_taken(&[&own], &both, &[&own]) && is_taken(&[&other, &own], &both, &[&author, &own]));
    assert!(!is_taken(&[&author], &both, &[]) && !is_taken(&[&own], &both, &[]), "nobody knows which it is");
    assert!(is_taken(&[&author, &other, &own], &both, &[]));
    assert!(is_taken(&[&other], &[], &[]), "whom to is not asked in a dry run");
}

#[test]
fn what_does_not_fit_is_refused_by_its_size() {
    let large = Part::File { key: "x".to_owned(), bytes: vec![7; 900 * 1024].into() };
    let refused = make(&material(vec![large]), &nobody().unwrap(), false).err().unwrap();
    assert!(refused.what().contains("shop/app") && refused.what().contains("bytes long"), "{refused}");
    let beyond = material(vec![Part::File { key: "x".to_owned(), bytes: vec![7; 1024 * 1024].into() }]);
    assert!(matches!(beyond.check(), Err(ImportError::TooLarge { .. })));
}
