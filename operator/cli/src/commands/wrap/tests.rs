//! A document in the manifest is the document in git.

use super::*;
use serde::Deserialize;

fn object_of(document: &str) -> Value {
    json!({ "apiVersion": "touchseal.dev/v1alpha1", "spec": { "documents": [{ "name": "x.yaml", "sops": document }] } })
}

#[test]
fn documents_come_back_byte_for_byte_from_every_reader() {
    let documents = [
        "a: ENC[AES256_GCM,data:x,type:str]\nsops:\n    mac: y\n",
        "no line feed at the end",
        "three\n\n\n",
        "crlf: x\r\nsops: y\r\n",
        "  leading: blanks\n",
        "tab:\n\t- x\n",
        "trailing: blanks  \nx\n",
        "blank:\n   \nline\n",
        "\u{feff}bom: x\n",
        "umlaut: ä\nemoji: \u{1f600}\nnel: \u{85}\nls: \u{2028}\n",
        "{\n\t\"data\": \"ENC[]\",\n\t\"sops\": {}\n}",
        "# comment\n---\nx: |\n  y\n...\n",
    ];
    for document in documents {
        let object = object_of(document);
        let text = crate::yaml::to_string(&object).unwrap();
        check_round_trip(&text, &object).unwrap();
        let other: Value = Value::deserialize(serde_norway::Deserializer::from_str(&text)).unwrap();
        assert_eq!(other.pointer("/spec/documents/0/sops").unwrap(), document, "\n{text}");
    }
}

#[test]
fn what_sops_writes_is_a_block_people_can_read() {
    let text = crate::yaml::to_string(&object_of("a: ENC[]\nsops:\n    mac: y\n")).unwrap();
    assert!(text.contains("    sops: |\n      a: ENC[]\n      sops:\n          mac: y\n"), "{text}");
}

#[test]
fn a_difference_of_one_byte_is_noticed() {
    let object = object_of("a\n");
    let text = crate::yaml::to_string(&object_of("b\n")).unwrap();
    assert!(check_round_trip(&text, &object).is_err());
    assert!(check_round_trip("[", &object).is_err());
}

#[test]
fn a_path_ends_at_the_last_equals_sign() {
    let path = parse_path("a.\"b=c\"=KEY").unwrap();
    assert_eq!((path.path.as_str(), path.key.as_str()), ("a.\"b=c\"", "KEY"));
    for bad in ["a", "=KEY", "a="] {
        assert!(parse_path(bad).is_err(), "{bad}");
    }
}

#[test]
fn secret_keys_are_those_kubernetes_takes() {
    for good in ["tls.crt", ".dockerconfigjson", "DB_PASSWORD", "a-b"] {
        assert!(is_secret_key(good), "{good}");
    }
    for bad in ["", ".", "..", "..x", "a/b", "a b"] {
        assert!(!is_secret_key(bad), "{bad}");
    }
}

#[test]
fn a_new_version_goes_into_its_manifest_and_nothing_else_of_that_changes() {
    let folder = tempfile::tempdir().unwrap();
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cli/wrap.in");
    let (manifest, file) = (folder.path().join("app.esec.yaml"), folder.path().join("app.yaml"));
    let before = std::fs::read_to_string(from.join("app.esec.yaml")).unwrap();
    let sops = std::fs::read_to_string(from.join("app.yaml")).unwrap();
    let newer = sops.replace("version: 3.11.0", "version: 3.12.0");
    assert_ne!(sops, newer);
    std::fs::write(&manifest, &before).unwrap();
    std::fs::write(&file, &newer).unwrap();
    update::update(&manifest, std::slice::from_ref(&file), Some("shop")).unwrap();
    let after = std::fs::read_to_string(&manifest).unwrap();
    assert_eq!(after, before.replace("version: 3.11.0", "version: 3.12.0"));
    assert!(after.contains("# The database team") && after.contains("maxAge: 90d"));

    // What is no sops document, or of another format, never gets in.
    std::fs::write(&file, "password: plain\n").unwrap();
    assert!(update::update(&manifest, &[file], None).is_err());
    assert_eq!(std::fs::read_to_string(&manifest).unwrap(), after);
}
