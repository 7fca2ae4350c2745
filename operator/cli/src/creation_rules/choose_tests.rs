//! The rules of sops, one at a time. `tests/rules.rs` holds them against sops itself.

use super::*;
use crate::error::Explain;
use std::fs;

fn config(text: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    fs::write(&path, text).unwrap();
    Config { path: PathBuf::from("/repo/.sops.yaml"), ..Config::read(&path).unwrap() }
}

fn chosen(text: &str) -> Chosen {
    config(text).choose(Path::new("/repo/shop/app.yaml")).unwrap().unwrap()
}

fn refused(text: &str) -> String {
    config(text).choose(Path::new("/repo/shop/app.yaml")).unwrap_err().to_string()
}

#[test]
fn the_first_rule_that_fits_is_the_one() {
    let text =
        "creation_rules:\n- path_regex: ^chat/\n  age: a\n- path_regex: app\\.yaml$\n  age: b\n- age: c\n";
    let place = |file: &str| config(text).choose(Path::new(file)).unwrap().unwrap().groups;
    assert_eq!(place("/repo/chat/app.yaml"), [["a"]]);
    assert_eq!(place("/repo/shop/app.yaml"), [["b"]]);
    assert_eq!(place("/repo/shop/../chat/x"), [["a"]], "paths are cleaned, not followed");
    assert_eq!(place("/repo/other"), [["c"]]);
    assert_eq!(place("/elsewhere/chat/x"), [["c"]], "a file elsewhere is its whole path");
    assert!(refused("creation_rules:\n- path_regex: ^chat/\n  age: a\n").contains("fits"));
    assert!(refused("creation_rules: []\n").contains("none in"));
    for none in ["", "# nothing\n", "stores: {}\n", "creation_rules:\n"] {
        assert_eq!(config(none).choose(Path::new("/repo/x")).unwrap(), None, "{none:?}");
    }
}

#[test]
fn recipients_are_a_string_a_list_or_groups() {
    assert_eq!(chosen("creation_rules:\n- age: >-\n    a,\n    b , a,\n").groups, [["a", "b"]]);
    assert_eq!(chosen("creation_rules:\n- age: [a, b]\n").groups, [["a", "b"]]);
    let text = "keys:\n- &me a\ncreation_rules:\n- shamir_threshold: 2\n  age: ignored\n  key_groups:\n  - age: [*me, 'b,c', a]\n  - merge:\n    - age: [d]\n    age: [e]\n";
    let several = chosen(text);
    assert_eq!(several.groups, [vec!["a", "b", "c"], vec!["d", "e"]]);
    assert_eq!(several.threshold, Some(2));
    assert_eq!(chosen("creation_rules:\n- age: a\n  shamir_threshold: 0\n").threshold, None);
    for none in ["- path_regex: x*\n", "- age: ','\n", "- key_groups: [{age: [a]}, {}]\n"] {
        assert!(refused(&format!("creation_rules:\n{none}")).contains("names no recipient"), "{none}");
    }
}

#[test]
fn keys_of_other_kinds_are_named_and_left_to_sops() {
    for (text, field) in [
        ("- age: a\n  pgp: ABCD\n", "pgp"),
        ("- age: a\n  kms: [arn]\n", "kms"),
        ("- key_groups:\n  - age: [a]\n  - hc_vault: [uri]\n", "hc_vault"),
        ("- key_groups:\n  - merge: [{azure_keyvault: [{key: x}]}]\n", "azure_keyvault"),
    ] {
        let error = config(&format!("creation_rules:\n{text}")).choose(Path::new("/repo/x")).unwrap_err();
        assert!(matches!(error, ChooseError::OtherKeys { field: found, .. } if found == field), "{error}");
        assert!(error.hint().contains("sops"));
    }
    assert_eq!(chosen("creation_rules:\n- age: a\n  pgp: ''\n  kms: []\n").groups, [["a"]]);
}

/// What is only looked at is held against the age recipients of a rule of both.
#[test]
fn pgp_keys_beside_age_recipients_are_in_the_way_of_encrypting_alone() {
    let both = config("creation_rules:\n- age: a\n  pgp: ABCD\n");
    assert!(both.choose(Path::new("/repo/x")).is_err());
    let looked = both.choose_beside_pgp(Path::new("/repo/x")).unwrap().unwrap();
    let listed = both.every().unwrap().remove(0).1.unwrap();
    assert_eq!((&looked.groups[0], &looked.pgp[..]), (&vec!["a".to_owned()], &["ABCD".to_owned()][..]));
    assert_eq!(listed, looked);
    let only = config("creation_rules:\n- pgp: ABCD\n");
    assert!(matches!(only.every().unwrap()[..], [(_, Err(ChooseError::OtherKeys { .. }))]));
}

#[test]
fn one_way_to_say_what_is_encrypted() {
    for (field, select) in SELECTORS {
        let rules = chosen(&format!("creation_rules:\n- age: a\n  {field}: ^x$\n")).rules;
        assert_eq!(rules.selector, select("^x$".to_owned()));
    }
    let usual =
        chosen("creation_rules:\n- age: a\n  encrypted_regex: ''\n  mac_only_encrypted: true\n").rules;
    assert_eq!(usual, Rules { mac_only_encrypted: true, ..Rules::default() });
    assert!(
        refused("creation_rules:\n- age: a\n  encrypted_regex: x\n  encrypted_suffix: y\n")
            .contains("more than one")
    );
    assert!(refused("creation_rules:\n- age: a\n  encrypted_regex: '('\n").contains("encrypted_regex"));
    assert!(refused("creation_rules:\n- age: a\n  path_regex: '\\pL'\n").contains("path_regex"));
}

#[test]
fn an_expression_that_is_none_is_named_with_its_rule_and_its_fault() {
    let text = "creation_rules:\n- path_regex: ^chat/\n  age: a\n- path_regex: '('\n  age: b\n";
    let error = config(text).choose(Path::new("/repo/shop/app.yaml")).unwrap_err();
    let said = error.to_string();
    for part in [".sops.yaml", "rule 2", "path_regex \"(\"", "open group"] {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
    assert!(error.hint().contains("correct"), "{}", error.hint());
}

#[test]
fn indentation_is_told_where_it_is_not_the_usual() {
    let given = config("stores:\n  yaml: {indent: 2}\n  json: {indent: -1}\n  json_binary: {indent: 0}\n");
    let indentation = |format| given.indentation(format).unwrap();
    assert_eq!([Format::Yaml, Format::Json, Format::Binary].map(indentation), [Some(2), None, Some(0)]);
    assert_eq!(indentation(Format::Ini), None);
    let wrong = config("stores:\n  yaml: {indent: -2}\n  json: {indent: x}\n");
    for format in [Format::Yaml, Format::Json] {
        assert!(wrong.indentation(format).unwrap_err().to_string().contains("indent is no number"));
    }
}

#[test]
fn a_rule_of_ours_says_its_namespace() {
    let text = "creation_rules:\n  - path_regex: ^x\n    age: a\n  # touchseal: keyring main, namespace shop\n  - path_regex: ^shop/\n    age:\n      - b\n";
    assert_eq!(chosen(text).written_for, Some(("main".to_owned(), "shop".to_owned())));
    assert_eq!(config(text).choose(Path::new("/repo/x")).unwrap().unwrap().written_for, None);
}

#[test]
fn the_nearest_file_above_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    fs::write(dir.path().join(NAME), "creation_rules:\n- age: far\n").unwrap();
    let groups = || {
        let file = deep.join("new.yaml");
        Config::of(&file, None).unwrap().unwrap().choose(&file).unwrap().unwrap().groups
    };
    assert_eq!(groups(), [["far"]]);
    fs::write(dir.path().join("a").join(NAME), "creation_rules:\n- age: near\n  path_regex: ^b/new\n")
        .unwrap();
    assert_eq!(groups(), [["near"]]);
}
